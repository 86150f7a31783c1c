//! Every reason to close a connection, in one table (WS-05): code, meaning, and what the client does next.

macro_rules! close_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $next:ident;)+) => {
        /// Why the server closes a connection.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum CloseCode {
            $($(#[doc = $doc])+ $name,)+
        }

        impl CloseCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The number in the WebSocket close frame (RFC 6455, section 7.4).
            pub const fn as_u16(self) -> u16 {
                match self { $(Self::$name => $code,)+ }
            }

            /// The code of this number, if it is one of ours.
            pub const fn from_u16(number: u16) -> Option<Self> {
                match number { $($code => Some(Self::$name),)+ _ => None }
            }

            /// Why a connection is closed with it, for people.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ }
            }

            /// What the client does next.
            pub const fn next(self) -> AfterClose {
                match self { $(Self::$name => AfterClose::$next,)+ }
            }
        }
    };
}

/// What a client does after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AfterClose {
    /// Connect again, with backoff, and resume.
    Reconnect,
    /// Get a new token first, then connect again.
    RefreshToken,
    /// Stay away: connecting again would end the same way.
    Stop,
}

close_codes! {
    /// The work of the connection is done.
    Normal = 1000, Stop;
    /// The server or the page goes away.
    GoingAway = 1001, Reconnect;
    /// The client broke the WebSocket protocol (RFC 6455).
    Breach = 1002, Stop;
    /// A text frame was not UTF-8 (RFC 6455, section 8.1).
    NotText = 1007, Stop;
    /// A policy of the server forbids the connection; an administrator closed it.
    Policy = 1008, Stop;
    /// A frame was so large that it could not even be refused politely.
    TooLarge = 1009, Reconnect;
    /// The server restarts; `connection.closing` said when to return.
    Restart = 1012, Reconnect;
    /// The server has no room, and this holder has the most of it, or its message came too slowly (LIMIT-04, LIMIT-09).
    TryAgainLater = 1013, Reconnect;
    /// The client does not speak the protocol.
    Protocol = 4000, Stop;
    /// The credentials are missing, wrong or expired.
    Unauthorized = 4001, RefreshToken;
    /// Two transport pings stayed unanswered.
    PingTimeout = 4002, Reconnect;
    /// The credentials do not allow the connection.
    Forbidden = 4003, Stop;
    /// The socket accepted nothing for too long.
    SlowConsumer = 4008, Reconnect;
    /// A newer connection took this one's place.
    Replaced = 4009, Stop;
    /// Too many refused commands.
    RateLimited = 4029, Reconnect;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ws_05_close_codes_are_unique_and_legal() {
        for code in CloseCode::ALL {
            assert_eq!(CloseCode::from_u16(code.as_u16()), Some(*code));
            // RFC 6455, 7.4.2: 1000-1015 as registered, 4000-4999 for applications.
            assert!(matches!(code.as_u16(), 1000..=1002 | 1007..=1009 | 1012..=1013 | 4000..=4999));
        }
        assert_eq!(CloseCode::from_u16(1006), None);
    }
}
