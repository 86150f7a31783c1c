//! The gateway of Eventwire: one process that serves every transport, and the commands that speak to it.
//!
//! Nothing of the protocol is decided here. The hub runs it, the adapters bind it to sockets; this crate reads the settings, opens
//! the port, puts the adapters behind one guard and stops cleanly.

pub mod api_keys;
pub mod cli;
pub mod command;
pub mod config;
#[allow(dead_code)] mod answer;
#[allow(dead_code)] mod head;
#[allow(dead_code)] mod inspector;
#[allow(dead_code)] mod paths;
mod http_client;
pub mod reference;
mod terminal;
