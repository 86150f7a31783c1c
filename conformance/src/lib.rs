//! conformance of Eventwire.
