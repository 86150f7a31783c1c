//! http of Eventwire.
