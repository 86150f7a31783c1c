//! protocol of Eventwire.
