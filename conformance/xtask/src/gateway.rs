//! A gateway under test: started on a free loopback port, always stopped.

use std::net::SocketAddr;
use std::time::Duration;

use crate::machine::Workspace;
use crate::process::{self, Outcome, Running, capture};

/// The listeners, and the addresses under which the documentation knows them: their defaults. The first is the gateway's.
pub(crate) const LISTENERS: [(&str, &str); 7] = [
    ("canonical", "127.0.0.1:4800"),
    ("monadic", "127.0.0.1:4567"),
    ("product", "127.0.0.1:5634"),
    ("amiga", "127.0.0.1:3000"),
    ("shared_context", "127.0.0.1:8080"),
    ("adw", "127.0.0.1:9104"),
    ("adw_trigger", "127.0.0.1:8500"),
];

/// Nothing but what the test sends, and a quick end.
const CONFIGURATION: &str = "no_sample = true\ndrain_seconds = 1\n";

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
    /// In the order of [`LISTENERS`].
    addresses: Vec<SocketAddr>,
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
        let listeners = LISTENERS.map(|(dialect, _)| format!("\"127.0.0.1:0={dialect}\""));
        let (ports, runs) = (format!("{name}.ports"), format!("{name}.agents"));
        // No runs: a folder that is there and stays empty.
        let folder = scratch.join(&runs);
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut settings =
            format!("{CONFIGURATION}listen = [{}]\nport_file = {ports:?}\nagents = {runs:?}\n", listeners.join(", "));
        if let Access::Keys = access {
            let file = format!("{name}.keys.toml");
            let keys = write(&file, &suite_keys(workspace)?)?;
            // Where the umask lets the group write, the gateway would refuse the file.
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&keys, mode).map_err(|error| format!("{}: {error}", keys.display()))?;
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
        // The file is written before the address is printed.
        let text = std::fs::read_to_string(scratch.join(&ports)).map_err(|error| format!("{ports}: {error}"))?;
        let addresses: Vec<SocketAddr> = text.lines().filter_map(|line| line.parse().ok()).collect();
        if addresses.len() != LISTENERS.len() || addresses.first() != Some(&address) {
            return Err(format!("{ports} does not name every listener: {text}"));
        }
        Ok(Self { running, addresses, address, access })
    }

    /// A text of the documentation, with the addresses of this gateway in the place of the defaults.
    pub(crate) fn place(&self, text: &str) -> String {
        self.pairs().fold(text.to_owned(), |text, (documented, address)| {
            text.replace(&documented.replace("127.0.0.1", "localhost"), &address).replace(documented, &address)
        })
    }

    /// What was printed, with the addresses that the documentation knows.
    pub(crate) fn displace(&self, said: &str) -> String {
        self.pairs().fold(said.to_owned(), |said, (documented, address)| said.replace(&address, documented))
    }

    fn pairs(&self) -> impl Iterator<Item = (&'static str, String)> {
        LISTENERS.iter().zip(&self.addresses).map(|((_, documented), address)| (*documented, address.to_string()))
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
