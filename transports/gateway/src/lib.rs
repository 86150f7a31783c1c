//! gateway of Eventwire.
