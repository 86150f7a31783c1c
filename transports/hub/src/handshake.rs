//! What every transport over HTTP reads in the head of a request: its query, its token, what the peer calls itself.
//!
//! Pure text in, values out, so that WebSocket, server-sent events and the publishing API cannot differ in what they take
//! for a key, a token or a target. Nothing here is looked up or believed: targets are judged by the hub when it connects
//! the client, and a token by its authenticator.

use eventwire_protocol::{ErrorBody, ErrorCode, Position, Target, limits, resume::Cursor};

use crate::{
    auth::{Credentials, Principal, Secret},
    hub::Hub,
};

/// Longest token that is read, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Longest name of credentials, in bytes: the `jti` of a token, the name of an API key.
pub const MAX_CREDENTIAL_ID_BYTES: usize = 256;
/// The id of the last event in a query, as polyfills of `EventSource` write it.
const LAST_EVENT_ID: &str = "lastEventId";
/// The same under the name of the header.
const HEADER_IN_QUERY: &str = "Last-Event-ID";
/// Keys of the query of a WebSocket, and of an event stream.
const KEYS: [&str; 8] = ["to", "since", "adw", "context", "room", "observe", "cursor", "ticket"];
const STREAM_KEYS: [&str; 10] =
    ["to", "since", "adw", "context", "room", "observe", "cursor", "ticket", LAST_EVENT_ID, HEADER_IN_QUERY];
/// How much of a user agent is kept, in characters.
const USER_AGENT_CHARS: usize = 256;

fn wrong(message: String) -> ErrorBody {
    ErrorBody::new(ErrorCode::InvalidPayload, message)
}

/// Text of a request, safe and short enough to be shown to its sender.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// Reads a query, `a=1&b=2`, as the names and values in it, in order, each name at most once (WS-04).
///
/// Percent-encoding is undone; what it encodes and is not UTF-8 becomes U+FFFD, which no identifier holds.
///
/// # Errors
/// `invalid_payload`, naming the key, when it is not one of `known` or stands twice. The HTTP status is 400.
pub fn pairs(query: &str, known: &[&'static str]) -> Result<Vec<(&'static str, String)>, ErrorBody> {
    let mut pairs: Vec<(&'static str, String)> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let Some(name) = known.iter().find(|known| **known == name).copied() else {
            let there = if known.is_empty() {
                "this path takes none".into()
            } else {
                format!("there are {}", known.join(", "))
            };
            return Err(wrong(format!("no query key {:?} here; {there}", shown(&name))));
        };
        if pairs.iter().any(|(of, _)| *of == name) {
            return Err(wrong(format!("query key {name} stands twice; separate several values with commas")));
        }
        pairs.push((name, value.into_owned()));
    }
    Ok(pairs)
}

/// The query of a request that opens a connection: what the client wants from the start, and where it stood (WS-04,
/// SSE-01).
///
/// | key | meaning |
/// |---|---|
/// | `to` | targets, separated by commas: `adw:29fb6a3e,room:tasks`; `*` is everything an observer may see |
/// | `since` | a number of the history that the server has: the targets begin with what comes after it, 0 is everything kept |
/// | `adw` | ADWs, separated by commas; older spelling |
/// | `context` | contexts, separated by commas; older spelling |
/// | `room` | rooms, separated by commas; older spelling |
/// | `observe` | `1`: everything an observer may see; `0`: not; older spelling |
/// | `cursor` | the place up to which an earlier connection received everything, as the server gave it out |
/// | `ticket` | in place of a token, what `POST /v1/tickets` gave out (AUTH-12) |
///
/// ```
/// use eventwire_hub::handshake::ConnectQuery;
///
/// let query = ConnectQuery::parse("to=adw:29fb6a3e,room:tasks&since=0")?;
/// assert_eq!(query.targets, ["adw:29fb6a3e", "room:tasks"]);
/// # Ok::<(), eventwire_protocol::ErrorBody>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectQuery {
    /// Targets for [`ConnectRequest::targets`](crate::ConnectRequest::targets), at most 256, in the order of the query.
    /// They are not judged here: the hub accepts or refuses each on its own.
    pub targets: Vec<String>,
    /// The place to resume from.
    pub cursor: Option<Cursor>,
    /// The place that an event source writes into the query, because it cannot set the header `Last-Event-ID`. It counts
    /// more than `cursor`.
    pub last_event_id: Option<Cursor>,
    /// Where the targets begin when nothing else says so.
    pub since: Option<Position>,
    /// What is shown in place of a token. Any text: one that cannot be a ticket is refused like one that is none.
    pub ticket: Option<Secret>,
}

impl ConnectQuery {
    /// Reads the query of a WebSocket, without its question mark; an empty one is fine.
    ///
    /// # Errors
    /// `invalid_payload` for an unknown, repeated or empty key, an unreadable cursor or number, `since` without a target or
    /// beside `cursor`; `too_many_subscriptions` for more than 256 targets. The HTTP status is 400, whatever the code.
    pub fn parse(query: &str) -> Result<Self, ErrorBody> {
        Self::read(query, &KEYS)
    }

    /// Reads the query of an event stream, which may hold the id of the last event as well: `lastEventId`, or the name of the
    /// header, of which the former counts (SSE-02).
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_of_event_stream(query: &str) -> Result<Self, ErrorBody> {
        Self::read(query, &STREAM_KEYS)
    }

    fn read(query: &str, known: &[&'static str]) -> Result<Self, ErrorBody> {
        let mut read = Self::default();
        for (name, value) in pairs(query, known)? {
            let kind = match (name, value.as_str()) {
                ("cursor", text) => {
                    read.cursor = Some(cursor("cursor", text)?);
                    continue;
                }
                // What an event source writes before its first event.
                (LAST_EVENT_ID | HEADER_IN_QUERY, "") => continue,
                (LAST_EVENT_ID, text) => {
                    read.last_event_id = Some(cursor(name, text)?);
                    continue;
                }
                (HEADER_IN_QUERY, text) => {
                    let last = cursor(name, text)?;
                    read.last_event_id.get_or_insert(last);
                    continue;
                }
                ("since", text) => {
                    read.since = Some(number("since", text)?);
                    continue;
                }
                ("ticket", text) => {
                    read.ticket = Some(Secret::new(text.trim_ascii()));
                    continue;
                }
                ("observe", "0") => continue,
                ("observe", "1") => {
                    read.targets.push("*".into());
                    continue;
                }
                ("observe", other) => return Err(wrong(format!("observe must be 1 or 0, not {:?}", shown(other)))),
                ("context", _) => "session",
                (kind, _) => kind,
            };
            for id in value.split(',') {
                if id.is_empty() {
                    return Err(wrong(format!("query key {name} has an empty value; leave it out, or name a target")));
                }
                read.targets.push(if kind == "to" { id.to_owned() } else { format!("{kind}:{id}") });
            }
        }
        if read.since.is_some() && read.cursor.is_some() {
            return Err(wrong("since and cursor both say where to begin; leave one out".to_owned()));
        }
        if read.since.is_some() && read.targets.is_empty() {
            return Err(wrong("since says where targets begin, and there is none; name one with to".to_owned()));
        }
        if read.targets.len() > limits::MAX_SUBSCRIPTIONS {
            return Err(ErrorBody::new(
                ErrorCode::TooManySubscriptions,
                format!(
                    "a connection may have {} subscriptions, not {}",
                    limits::MAX_SUBSCRIPTIONS,
                    read.targets.len()
                ),
            ));
        }
        Ok(read)
    }
}

impl ConnectQuery {
    /// Where the connection begins: at the cursor, or at `since` in the history that the server has. `None` is now.
    ///
    /// # Errors
    /// What the history says when it cannot be reached.
    pub async fn begin(&self, hub: &Hub) -> Result<Option<Cursor>, ErrorBody> {
        if let Some(cursor) = self.last_event_id.as_ref().or(self.cursor.as_ref()) {
            return Ok(Some(cursor.clone()));
        }
        let Some(since) = self.since else { return Ok(None) };
        let (epoch, head) = hub.head().await?;
        let targets: Vec<Target> = self.targets.iter().filter_map(|target| target.parse().ok()).collect();
        // Everything includes what a connection receives without asking (LOG-11).
        let low = if targets.contains(&Target::Realm) { since } else { head };
        Ok(Some(Cursor { epoch, low, others: targets.into_iter().map(|target| (target, since)).collect() }))
    }
}

/// Reads a sequence number in the query key `what`.
fn number(what: &str, text: &str) -> Result<Position, ErrorBody> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let position = text.parse().ok().filter(|_| digits).and_then(Position::new);
    position.ok_or_else(|| wrong(format!("{what} must be a sequence number, 0 for the oldest event that is kept")))
}

/// Reads a cursor that came back from a client, in the query or in the header `what`.
///
/// # Errors
/// `invalid_payload`; the HTTP status is 400.
pub fn cursor(what: &str, text: &str) -> Result<Cursor, ErrorBody> {
    text.parse().map_err(|error| wrong(format!("{what}: {error}; connect without one to start from now")))
}

/// A header that may stand once and holds visible ASCII. `None` when it is absent.
///
/// Two servers that disagree about which of two values counts are a way around every check between them.
///
/// # Errors
/// `invalid_payload`, naming the header; the HTTP status is 400.
pub fn single<'a>(header: &str, values: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<&'a str>, ErrorBody> {
    let mut values = values.into_iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(wrong(format!("the header {header} stands twice")));
    }
    match std::str::from_utf8(value) {
        Ok(text) if text.bytes().all(|b| matches!(b, b' '..=b'~')) => Ok(Some(text)),
        _ => Err(wrong(format!("the header {header} holds other than visible ASCII characters"))),
    }
}

/// The token in the values of the header `Authorization` (RFC 6750, section 2.1). `None` when the header is absent or of
/// another scheme, which is not for us.
///
/// # Errors
/// `unauthorized` when a bearer token is there but is empty, too long or not of the characters of a token, and when the
/// header stands twice. The message never repeats the token.
pub fn bearer<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<Secret>, ErrorBody> {
    let unreadable =
        || ErrorBody::new(ErrorCode::Unauthorized, "unreadable credentials: Authorization: Bearer <token>");
    let Some(value) = single("authorization", values).map_err(|_| unreadable())? else { return Ok(None) };
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    token_of(token).map(Some).ok_or_else(unreadable)
}

/// Who a request comes from that shows a ticket or a token, or nothing (AUTH-12).
///
/// # Errors
/// `unauthorized`, also for a ticket beside a token, of which only one can be meant; then the ticket is still good.
pub async fn authenticate_request(
    hub: &Hub,
    ticket: Option<&Secret>,
    credentials: &Credentials,
) -> Result<Principal, ErrorBody> {
    match ticket {
        Some(_) if credentials.token.is_some() => {
            Err(ErrorBody::new(ErrorCode::Unauthorized, "show a ticket or a token, not both"))
        }
        Some(ticket) => {
            let peer = credentials.peer;
            let redeemed = async {
                // A ticket is not spent on a connection that will not be.
                if let Some(holder) = hub.holder_of_ticket(ticket, peer) {
                    hub.check_room(&holder)?;
                }
                hub.redeem_ticket(ticket)
            };
            let principal = hub.attempt(peer, ticket, redeemed).await?;
            hub.let_in(&principal, peer)?;
            Ok(principal)
        }
        None => hub.authenticate(credentials).await,
    }
}

/// A text as a token: 1 to [`MAX_TOKEN_BYTES`] of `A-Za-z0-9-._~+/=:`, `None` otherwise. White space around it is not part of
/// it: a token that was read from a file ends with a line feed.
pub fn token_of(text: &str) -> Option<Secret> {
    let text = text.trim_ascii();
    let fits = (1..=MAX_TOKEN_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=:".contains(&b));
    fits.then(|| Secret::new(text))
}

/// Whether the browser speaks TLS to the server in front, by the values of `X-Forwarded-Proto`, else of `Forwarded` (RFC 7239).
/// It decides whether a cookie is `Secure`. A peer that sends them itself decides about its own cookie and nothing else.
pub fn is_behind_tls<'a, I: IntoIterator<Item = &'a [u8]>>(proto: I, forwarded: I) -> bool {
    // Each server in front appends; the last word is that of the nearest.
    fn last<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<String> {
        let value = std::str::from_utf8(values.into_iter().last()?).ok()?;
        value.rsplit(',').next().map(|last| last.trim().to_ascii_lowercase())
    }
    let proto = last(proto).or_else(|| {
        let last = last(forwarded)?;
        last.split(';').find_map(|pair| Some(pair.trim().strip_prefix("proto=")?.trim_matches('"').to_owned()))
    });
    proto.as_deref() == Some("https")
}

/// What a peer calls itself, safe to be shown: without control characters and cut to 256 characters. `None` when nothing
/// is left.
pub fn user_agent(value: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(value);
    let text: String = text.chars().filter(|c| !c.is_control()).take(USER_AGENT_CHARS).collect();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(query: &str) -> String {
        let error = ConnectQuery::parse(query).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidPayload, "{query}");
        error.message.into_owned()
    }

    #[test]
    fn ws_04_a_query_names_what_is_wanted_and_where_the_client_stood() {
        let query =
            "room=tasks&adw=29fb6a3e,9f3a77c2&context=a%3Ab&observe=1&cursor=9f3a77c2d1e05b64-4711%2Cglobal%3D12";
        let read = ConnectQuery::parse(query).unwrap();
        assert_eq!(read.targets, ["room:tasks", "adw:29fb6a3e", "adw:9f3a77c2", "session:a:b", "*"]);
        assert_eq!(read.cursor.unwrap().to_string(), "9f3a77c2d1e05b64-4711,global=12");
        assert_eq!(ConnectQuery::parse("").unwrap(), ConnectQuery::default());
        assert_eq!(ConnectQuery::parse("observe=0").unwrap(), ConnectQuery::default());
    }

    #[test]
    fn ws_04_to_names_any_target_and_since_where_the_targets_begin() {
        let read = ConnectQuery::parse("to=adw:29fb6a3e,session:a,*&room=tasks&since=17").unwrap();
        assert_eq!(read.targets, ["adw:29fb6a3e", "session:a", "*", "room:tasks"]);
        assert_eq!(read.since, Position::new(17));
        assert!(refused("to=room:a&since=0&cursor=9f3a77c2d1e05b64-1").contains("since and cursor"));
        assert!(refused("since=0").contains("name one with to"));
        for text in ["", "-1", "+1", "1e3", "x", "99999999999999999999"] {
            assert!(refused(&format!("to=room:a&since={text}")).contains("since must be"), "{text}");
        }
    }

    #[test]
    fn sse_02_the_query_of_an_event_stream_may_hold_the_last_id_under_either_name() {
        let read = |query: &str| ConnectQuery::parse_of_event_stream(query).unwrap();
        let id = |query: &str| read(query).last_event_id.map(|cursor| cursor.to_string());
        let (one, two) = ("9f3a77c2d1e05b64-1", "9f3a77c2d1e05b64-2");
        assert_eq!(id(&format!("lastEventId={one}&room=a")).as_deref(), Some(one));
        assert_eq!(id(&format!("Last-Event-ID={one}")).as_deref(), Some(one));
        assert_eq!(id(&format!("Last-Event-ID={two}&lastEventId={one}")).as_deref(), Some(one));
        assert_eq!(id(&format!("lastEventId={one}&Last-Event-ID={two}")).as_deref(), Some(one));
        assert_eq!(id("lastEventId=&Last-Event-ID="), None);
        assert!(ConnectQuery::parse_of_event_stream("lastEventId=7").is_err());
        assert!(refused(&format!("lastEventId={one}")).contains("lastEventId"), "only of event streams");
    }

    #[tokio::test]
    async fn sse_02_the_last_id_counts_more_than_the_cursor_and_since_only_without_either() {
        let hub = Hub::new();
        let begin = async |query: &str| {
            let read = ConnectQuery::parse_of_event_stream(query).unwrap();
            read.begin(&hub).await.unwrap().map(|cursor| cursor.to_string())
        };
        let (one, two) = ("9f3a77c2d1e05b64-1", "9f3a77c2d1e05b64-2");
        assert_eq!(begin(&format!("cursor={two}&lastEventId={one}")).await.as_deref(), Some(one));
        assert_eq!(begin(&format!("to=room:a&since=0&lastEventId={one}")).await.as_deref(), Some(one));
        assert_eq!(begin(&format!("cursor={two}")).await.as_deref(), Some(two));
        let (epoch, _) = hub.head().await.unwrap();
        assert_eq!(begin("to=room:a,adw:bad&since=3").await, Some(format!("{epoch}-0,room:a=3")));
        assert_eq!(begin("to=*&since=3").await, Some(format!("{epoch}-3,*=3")));
        assert_eq!(begin("to=room:a").await, None);
    }

    #[test]
    fn auth_12_a_ticket_in_a_query_is_never_printed_and_stands_once() {
        let read = ConnectQuery::parse("ticket=hush%26more&room=x").unwrap();
        assert_eq!(read.ticket.as_ref().map(Secret::reveal), Some("hush&more"));
        assert!(!format!("{read:?}").contains("hush"));
        assert!(!refused("ticket=hush&ticket=hush").contains("hush"));
        assert!(!refused("ticket=hush&adw=").contains("hush"));
    }

    #[test]
    fn ws_04_unknown_repeated_and_empty_keys_are_refused_by_name() {
        assert!(refused("adws=29fb6a3e").contains("adws"));
        assert!(refused("adw=29fb6a3e&adw=9f3a77c2").contains("adw stands twice"));
        assert!(refused("adw=29fb6a3e&a%64w=9f3a77c2").contains("adw stands twice"));
        for query in ["adw", "adw=", "room=a,,b", "observe", "observe=yes", "observe=1&observe=0", "=1", "token=x"] {
            refused(query);
        }
        assert!(!refused("%0a%1b[31m=1").contains('\u{1b}'));
        assert!(pairs("a=1", &[]).is_err());
    }

    #[test]
    fn sse_03_a_cursor_that_was_never_given_out_is_refused() {
        for text in
            ["", "1", "x-1", "9f3a77c2d1e05b64-01", "9f3a77c2d1e05b64-1%0aevent:x", "9f3a77c2d1e05b64-1,global=%ff"]
        {
            assert!(refused(&format!("cursor={text}")).contains("cursor"));
        }
    }

    #[test]
    fn limit_01_a_query_names_no_more_targets_than_a_connection_may_have() {
        let rooms = |count: usize| format!("room={}", vec!["r"; count].join(","));
        assert_eq!(ConnectQuery::parse(&rooms(256)).unwrap().targets.len(), 256);
        assert_eq!(ConnectQuery::parse(&rooms(257)).unwrap_err().code, ErrorCode::TooManySubscriptions);
    }

    #[test]
    fn auth_01_only_one_well_formed_bearer_token_is_read_and_it_is_not_repeated() {
        let token = |text: &str| Some(Secret::new(text));
        assert_eq!(bearer([&b"Bearer key-1"[..]]).unwrap(), token("key-1"));
        assert_eq!(bearer([&b"bEARER  a.b_c~d+e/f=="[..]]).unwrap(), token("a.b_c~d+e/f=="));
        assert_eq!(bearer([]).unwrap(), None);
        assert_eq!(bearer([&b"Basic bWU6c2VjcmV0"[..]]).unwrap(), None);
        let long = format!("Bearer {}", "x".repeat(MAX_TOKEN_BYTES + 1));
        for values in [
            vec![&b"Bearer"[..]],
            vec![&b"Bearer "[..]],
            vec![&b"Bearer hush hush"[..]],
            vec![&b"Bearer hush\xff"[..]],
            vec![&b"Bearer hush,"[..]],
            vec![&b"Bearer hush"[..], &b"Bearer hush"[..]],
            vec![long.as_bytes()],
        ] {
            let error = bearer(values).unwrap_err();
            assert_eq!(error.code, ErrorCode::Unauthorized);
            assert!(!error.message.contains("hush"));
        }
    }

    #[test]
    fn auth_01_white_space_around_a_token_or_a_ticket_is_not_part_of_it() {
        for text in ["key-1", " key-1", "key-1\n", "\t key-1 \r\n"] {
            assert_eq!(token_of(text), Some(Secret::new("key-1")), "{text:?}");
        }
        for text in ["", " \n", "key 1", "key\n1"] {
            assert_eq!(token_of(text), None, "{text:?}");
        }
        assert_eq!(bearer([&b"Bearer   key-1  "[..]]).unwrap(), Some(Secret::new("key-1")));
        let query = ConnectQuery::parse("ticket=%20hush%0A").unwrap();
        assert_eq!(query.ticket, Some(Secret::new("hush")));
    }

    #[test]
    fn auth_02_a_header_that_decides_something_may_stand_once() {
        assert_eq!(single("host", [&b"localhost"[..]]).unwrap(), Some("localhost"));
        assert_eq!(single("host", []).unwrap(), None);
        assert!(single("host", [&b"localhost"[..], &b"evil.example"[..]]).is_err());
        assert!(single("host", [&b"local\xc3\xa9"[..]]).is_err());
    }

    #[test]
    fn auth_12_a_cookie_is_secure_where_the_front_speaks_tls() {
        for (proto, forwarded, secure) in [
            (&[][..], &[][..], false),
            (&["https"], &[], true),
            (&["HTTPS "], &[], true),
            (&["http"], &[], false),
            (&["http", "https"], &[], true),
            (&["https, http"], &[], false),
            (&["http, https"], &[], true),
            (&[], &["for=1.2.3.4;proto=https"], true),
            (&[], &["proto=https, for=1.2.3.4; proto=\"http\""], false),
            (&["http"], &["proto=https"], false),
        ] {
            let bytes = |values: &[&'static str]| values.iter().map(|value| value.as_bytes()).collect::<Vec<_>>();
            assert_eq!(is_behind_tls(bytes(proto), bytes(forwarded)), secure, "{proto:?} {forwarded:?}");
        }
    }

    #[test]
    fn a_user_agent_is_kept_short_and_printable() {
        assert_eq!(user_agent(b" Mozilla/5.0\x1b[31m\t").as_deref(), Some("Mozilla/5.0[31m"));
        assert_eq!(user_agent(&[b'x'; 1000]).unwrap().len(), 256);
        assert_eq!(user_agent(b"\t "), None);
    }
}
