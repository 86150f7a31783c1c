//! The gateway of Eventwire: one process that serves every transport, and the commands that speak to it.
//!
//! Nothing of the protocol is decided here. The hub runs it, the adapters bind it to sockets; this crate reads the settings, opens
//! the port, puts the adapters behind one guard and stops cleanly.
//!
//! Terms are defined in the [glossary](https://github.com/eventwire/eventwire/blob/main/docs/glossary.md); the
//! [architecture](https://github.com/eventwire/eventwire/blob/main/docs/architecture.md) maps the code.

mod agents;
pub mod api_keys;
mod audit;
pub mod cli;
pub mod command;
mod command_backend;
pub mod config;
mod credential_file;
mod documents;
mod files;
mod http_client;
mod inspector;
mod jwks;
pub mod jwt;
pub mod keyring;
mod login_keys;
mod metrics;
mod metrics_source;
mod pages;
mod paths;
mod pipeline;
mod places;
mod preflight;
mod proxy;
mod proxy_protocol;
mod public;
pub mod reference;
mod reload;
mod response;
mod router;
mod routes;
mod runs;
mod sample;
pub mod serve;
mod server;
mod socketio;
pub mod state_file;
mod systems;
mod terminal;

/// The examples in the README run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
