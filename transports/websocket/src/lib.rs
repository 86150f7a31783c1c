//! websocket of Eventwire.
