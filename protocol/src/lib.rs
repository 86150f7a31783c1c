//! Stub while the modules land.
pub mod address; pub mod catalog; pub mod claims; pub mod close; pub mod command; pub mod dialect; pub mod envelope; pub mod error; pub mod event; pub mod frame; pub mod id; pub mod limits; pub mod time; pub mod version;
