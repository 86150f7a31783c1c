//! agents of Eventwire.
