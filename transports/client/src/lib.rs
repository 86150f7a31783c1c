//! client of Eventwire.
