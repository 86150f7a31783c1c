//! sse of Eventwire.
