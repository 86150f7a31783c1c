//! The gateway of Eventwire: one process that serves every transport, and the commands that speak to it.
//!
//! Nothing of the protocol is decided here. The hub runs it, the adapters bind it to sockets; this crate reads the settings, opens
//! the port, puts the adapters behind one guard and stops cleanly.

#[allow(dead_code)]
mod answer;
pub mod api_keys;
pub mod cli;
pub mod command;
pub mod config;
#[allow(dead_code)]
mod head;
mod http_client;
#[allow(dead_code)]
mod inspector;
#[allow(dead_code)]
mod paths;
pub mod reference;
#[allow(dead_code)]
mod server;
mod terminal;
