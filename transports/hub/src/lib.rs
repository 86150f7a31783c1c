//! hub of Eventwire.
