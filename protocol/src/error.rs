//! Every way to be refused, in one table: code, HTTP status, whether trying again can help.
//!
//! The same code goes into `connection.error`, into the body of an HTTP answer and into the `results` of a batch, so a
//! sender learns one vocabulary (HTTP-02, CMD-03).

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $status:literal, $again:ident;)+) => {
        /// What went wrong, as a word that programs compare.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, schemars::JsonSchema)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[doc = $doc])+ $name,)+
            /// A code of a later version, as a reader of this one sees it. Never sent.
            #[schemars(skip)]
            Unknown,
        }

        impl<'de> Deserialize<'de> for ErrorCode {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(match &*Cow::<str>::deserialize(deserializer)? {
                    $($code => Self::$name,)+
                    _ => Self::Unknown,
                })
            }
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The code as it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ Self::Unknown => "unknown" }
            }

            /// The HTTP status of an answer that carries this code.
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$name => $status,)+ Self::Unknown => 500 }
            }

            /// What the code says, for people.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),+).trim_ascii(),)+
                    Self::Unknown => "A code of a later version.",
                }
            }

            /// Whether the same request may succeed later.
            pub const fn retryable(self) -> bool {
                match self { $(Self::$name => error_codes!(@ $again),)+ Self::Unknown => false }
            }
        }
    };
    (@ retry) => { true };
    (@ final) => { false };
}

error_codes! {
    /// The text is not a JSON object of the expected shape.
    MalformedFrame = "malformed_frame", 400, final;
    /// The bytes are not UTF-8.
    InvalidUtf8 = "invalid_utf8", 400, final;
    /// One JSON object has the same key twice.
    DuplicateKey = "duplicate_key", 400, final;
    /// JSON is nested deeper than the limit.
    TooDeep = "too_deep", 400, final;
    /// A frame, event, batch or body is over its size limit.
    TooLarge = "too_large", 413, final;
    /// No event of this type is in the catalog.
    UnknownType = "unknown_type", 422, final;
    /// No command of this type exists.
    UnknownCommand = "unknown_command", 422, final;
    /// The payload does not fit its type.
    InvalidPayload = "invalid_payload", 422, final;
    /// An identifier breaks the rules of its kind.
    InvalidId = "invalid_id", 422, final;
    /// An event names no audience; there is no default.
    MissingTarget = "missing_target", 422, final;
    /// The catalog does not allow this event to go to this kind of audience.
    AudienceNotAllowed = "audience_not_allowed", 422, final;
    /// The payload speaks of another subject than the audience it is addressed to.
    SubjectMismatch = "subject_mismatch", 422, final;
    /// No valid credentials came with the request.
    Unauthorized = "unauthorized", 401, final;
    /// The credentials do not allow this.
    Forbidden = "forbidden", 403, final;
    /// The Host header names none of the allowed hosts.
    HostNotAllowed = "host_not_allowed", 403, final;
    /// The Origin header names none of the allowed origins.
    OriginNotAllowed = "origin_not_allowed", 403, final;
    /// Nothing is there.
    NotFound = "not_found", 404, final;
    /// The path exists, but not for this method.
    MethodNotAllowed = "method_not_allowed", 405, final;
    /// The body is of a content type that this path does not read.
    UnsupportedMediaType = "unsupported_media_type", 415, final;
    /// The client accepts no content type that this path writes.
    NotAcceptable = "not_acceptable", 406, final;
    /// Too many commands or requests; wait `retry_after_ms`.
    RateLimited = "rate_limited", 429, retry;
    /// The connection has as many subscriptions as it may have.
    TooManySubscriptions = "too_many_subscriptions", 422, final;
    /// More items in one request than the limit.
    TooManyItems = "too_many_items", 413, final;
    /// The idempotency key was used with another body.
    Conflict = "conflict", 409, final;
    /// Another writer was faster: `expected_prev` is not the last event of the stream.
    Fenced = "fenced", 409, final;
    /// The server is starting, draining or full.
    Unavailable = "unavailable", 503, retry;
    /// The client took too long.
    Timeout = "timeout", 408, retry;
    /// This path wants a WebSocket upgrade.
    UpgradeRequired = "upgrade_required", 426, final;
    /// None of the offered subprotocols is spoken here.
    UnsupportedSubprotocol = "unsupported_subprotocol", 400, final;
    /// The WebSocket version is not 13.
    UnsupportedVersion = "unsupported_version", 426, final;
    /// A fault of the server; it has been logged.
    Internal = "internal", 500, retry;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: a code for programs and one line for people. Never carries another connection's data or a host path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ErrorBody {
    /// What went wrong, as a word that programs compare.
    pub code: ErrorCode,
    /// What was wrong, where, and what to do, in one line.
    pub message: Cow<'static, str>,
}

impl ErrorBody {
    /// A refusal of this code with its sentence.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_02_codes_are_written_as_serde_writes_them() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert!((400..600).contains(&code.http_status()));
        }
    }

    #[test]
    fn ver_02_a_code_of_a_later_version_is_read() {
        assert_eq!(serde_json::from_str::<ErrorCode>("\"from_the_future\"").unwrap(), ErrorCode::Unknown);
    }
}
