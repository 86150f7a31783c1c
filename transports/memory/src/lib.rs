//! memory of Eventwire.
