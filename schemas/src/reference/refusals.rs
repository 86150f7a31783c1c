//! The page of refusals: error codes and close codes, and what a client does next.

use std::fmt::Write;

use eventwire_protocol::close::AfterClose;
use eventwire_protocol::{CloseCode, ErrorCode};

use super::{GENERATED, cell};

/// The page.
pub(super) fn page() -> String {
    let mut page = format!(
        "# Errors and closes\n\n{GENERATED}\n\n\
         A refusal has a `code` for programs and a `message` for people, which says what was wrong, where, and what to do. The\n\
         same codes come in `connection.error`, in the body of an HTTP answer (as `error`), and in the `results` of a batch.\n\
         A reader takes a code that it does not know for a refusal without a name: it shows the message and goes by\n\
         `retryable`.\n\n\
         ## Error codes\n\n\
         | code | HTTP | again? | meaning | what to do |\n| --- | --- | --- | --- | --- |\n"
    );
    for code in ErrorCode::ALL {
        let _ = writeln!(
            page,
            "| `{code}` | {} | {} | {} | {} |",
            code.http_status(),
            if code.retryable() { "yes" } else { "no" },
            cell(code.meaning()),
            cell(advice(*code)),
        );
    }
    page.push_str(
        "\n\"Again?\" says whether the same request may succeed later (`retryable`). Where it may, wait: as\n\
         long as `retry_after_ms` of `connection.error` or the header `Retry-After` says; where neither is there, with exponential\n\
         backoff and jitter.\n\n\
         ## Close codes\n\n\
         Why a WebSocket is closed. Without a close frame the browser says 1006: connect again.\n\n\
         | code | meaning | what to do |\n| --- | --- | --- |\n",
    );
    for code in CloseCode::ALL {
        let next = match code.next() {
            AfterClose::Reconnect => "Connect again, with backoff, and resume.",
            AfterClose::RefreshToken => "Get a new token, then connect again.",
            AfterClose::Stop => "Stay away: connecting again would end the same way.",
        };
        let _ = writeln!(page, "| {} | {} | {next} |", code.as_u16(), cell(code.meaning()));
    }
    page.push_str(
        "\nHow a server closes stands in [WS](../spec/WS.md), how it is full or slow in [FLOW](../spec/FLOW.md).\n",
    );
    page
}

/// What whoever was refused does next.
pub(crate) fn advice(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::MalformedFrame => "Mend the sender; compare with the schemas.",
        ErrorCode::InvalidUtf8 => "Send UTF-8.",
        ErrorCode::DuplicateKey => "Name each member once.",
        ErrorCode::TooDeep => "Send flatter JSON; see [limits](limits.md).",
        ErrorCode::TooLarge => "Send less at once; see [limits](limits.md).",
        ErrorCode::UnknownType => "Use a type of the [catalog](events.md), or vendor space: `_family.name`.",
        ErrorCode::UnknownCommand => "Use one of the [commands](commands.md); the message lists them.",
        ErrorCode::InvalidPayload => {
            "Mend the member that the message names; validate with the schemas before you send."
        }
        ErrorCode::InvalidId => "Use an id of the form that the message describes.",
        ErrorCode::MissingTarget => "Say in `to` whom the event is for.",
        ErrorCode::AudienceNotAllowed => "Address one of the kinds that the message lists.",
        ErrorCode::SubjectMismatch => "Address the event to what its payload speaks of.",
        ErrorCode::Unauthorized => "Get valid credentials and send the request again with them.",
        ErrorCode::Forbidden => "Ask for the permission that the message names; without it nothing changes.",
        ErrorCode::HostNotAllowed => {
            "Use a host name that the server is known by, or have its operator allow this one."
        }
        ErrorCode::OriginNotAllowed => "Have the operator allow the page's origin.",
        ErrorCode::NotFound => "Check the path or the id.",
        ErrorCode::MethodNotAllowed => "Use a method of the header `Allow`.",
        ErrorCode::UnsupportedMediaType => "Send the content type that the message names.",
        ErrorCode::NotAcceptable => "Accept the content type that the message names.",
        ErrorCode::RateLimited => "Wait as long as `retry_after_ms` says, then go on more slowly.",
        ErrorCode::TooManySubscriptions => "Unsubscribe from what is no longer shown, or ask for wider targets.",
        ErrorCode::TooManyItems => "Split the request.",
        ErrorCode::Conflict => "Use a new idempotency key for another body.",
        ErrorCode::Fenced => "Read the stream's newest number, decide again, and send with that.",
        ErrorCode::Unavailable => "Wait as long as `Retry-After` says, then try again.",
        ErrorCode::Timeout => "Try again; send the body without long pauses.",
        ErrorCode::UpgradeRequired => "Open a WebSocket here, or use the path for HTTP that the message names.",
        ErrorCode::UnsupportedSubprotocol => "Offer a subprotocol that the message names, or none.",
        ErrorCode::UnsupportedVersion => "Use a WebSocket library of version 13 (RFC 6455).",
        ErrorCode::Internal => "Try again later, and tell the operator if it stays.",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_02_every_code_says_what_to_do() {
        for code in ErrorCode::ALL {
            assert!(advice(*code).ends_with('.') || advice(*code).ends_with('`'), "{code}");
            assert!(code.meaning().len() > 10, "{code}");
        }
        for code in CloseCode::ALL {
            assert!(code.meaning().len() > 10, "{code:?}");
        }
    }
}
