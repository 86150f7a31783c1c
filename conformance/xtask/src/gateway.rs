//! A gateway under test: started on a free loopback port, always stopped.

use std::net::SocketAddr;
use std::time::Duration;

use crate::machine::Workspace;
use crate::process::{self, Outcome, Running, capture};

/// The address that the documentation uses: the gateway's default.
pub(crate) const DOCUMENTED: &str = "127.0.0.1:4800";

/// A free port of the system's choice, nothing but what the test sends, and a quick end.
const CONFIGURATION: &str = "listen = \"127.0.0.1:0\"\nno_sample = true\ndrain_seconds = 1\n";

/// How long a gateway may take until it prints its address.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Whom a gateway lets in.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    /// Everybody: it knows no keys.
    Open,
    /// The principals of the conformance suite, by their public keys.
    Keys,
}

/// A running gateway.
pub(crate) struct Gateway {
    running: Running,
    address: SocketAddr,
    access: Access,
}

impl Gateway {
    /// Starts the built binary for the step `name`, without agents and without the sample run.
    ///
    /// The port is chosen by the system, so that steps and developers do not meet. Errors quote the gateway's own last
    /// line.
    pub(crate) fn start(workspace: &Workspace, name: &str, access: Access) -> Result<Self, String> {
        let scratch = workspace.scratch()?;
        let write = |file: &str, text: &str| {
            let path = scratch.join(file);
            std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display())).map(|()| path)
        };
        let mut settings = CONFIGURATION.to_owned();
        if let Access::Keys = access {
            let file = format!("{name}.keys.toml");
            write(&file, &suite_keys(workspace)?)?;
            // Relative to the configuration, which is beside it.
            settings.push_str(&format!("api_keys_file = {file:?}\n"));
        }
        let configuration = write(&format!("{name}.toml"), &settings)?;
        let binary = workspace.binaries()?.join("eventwire");
        let mut command = workspace.command(&binary.to_string_lossy());
        command.arg("serve").arg("--config").arg(&configuration);
        let log = scratch.join(format!("{name}.gateway.log"));
        let (running, address) = process::start_server(&mut command, &log, START_LIMIT)
            .map_err(|why| format!("the gateway did not start: {why}"))?;
        Ok(Self { running, address, access })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as an address to open.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whom it lets in.
    pub(crate) fn access(&self) -> Access {
        self.access
    }

    /// Stops it as Ctrl-C would. Errors when it had already ended, or does not end cleanly.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        if let Some(how) = self.running.has_ended() {
            return Err(format!("the gateway ended while it was in use: {how:?}"));
        }
        match self.running.stop() {
            Outcome::Succeeded => Ok(()),
            other => other.require("stopping the gateway"),
        }
    }
}

/// The keys of the conformance suite as an `api_keys_file`.
fn suite_keys(workspace: &Workspace) -> Result<String, String> {
    let binary = workspace.binaries()?.join("eventwire-conformance");
    let (outcome, keys) = capture(workspace.command(&binary.to_string_lossy()).arg("keys"), Duration::from_secs(60));
    outcome.require("eventwire-conformance keys").map(|()| keys)
}
