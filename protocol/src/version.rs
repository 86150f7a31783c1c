//! The version of the protocol (VER-01): one word in the path, the subprotocol and the schema ids.

/// Version of the wire protocol.
pub const PROTOCOL: &str = "v1";
/// WebSocket subprotocol of the canonical dialect.
pub const SUBPROTOCOL: &str = "eventwire.v1";
/// Prefix of the subprotocol that carries a token, base64url without padding.
pub const TOKEN_SUBPROTOCOL_PREFIX: &str = "eventwire.token.";
/// Name and version of this implementation.
pub const SERVER: &str = concat!("eventwire/", env!("CARGO_PKG_VERSION"));
