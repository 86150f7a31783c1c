//! schemas of Eventwire.
