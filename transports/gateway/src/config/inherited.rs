//! The environment variables of the systems that the gateway takes the place of.
//!
//! Their operators have these in files and scripts. What has a meaning here is honored, below everything that is said in the
//! gateway's own words; what has none is explained at the start, so that nobody believes it to be in force.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use eventwire_protocol::Dialect;

use super::{ConfigError, Layer, Listen, Listener, default_port};

/// What a variable does here.
#[derive(Clone, Copy)]
enum Effect {
    /// The host of the listener that is named by its dialect alone.
    Host,
    /// Its port.
    Port,
    /// `true` means log = debug.
    Verbose,
    /// The log level, in Python's words.
    LogLevel,
    /// The allowed origins, separated by commas.
    Origins,
    /// Only `false` turns progress off.
    Progress,
    /// Nothing; this is why.
    None(&'static str),
}

use Effect::{Host, LogLevel, None as Nothing, Origins, Port, Progress, Verbose};

const AT_THE_PRODUCER: &str = "belongs to the program that publishes, which reads it itself";

/// The variable, the dialect whose listener it is about, and what it does.
const VARIABLES: &[(&str, Dialect, Effect)] = &[
    ("WEBSOCKET_PROGRESS_ENABLED", Dialect::Monadic, Progress),
    ("EXTRA_LOGGING", Dialect::Monadic, Verbose),
    (
        "MAX_STORED_MESSAGES",
        Dialect::Monadic,
        Nothing("is the back end's bound; the gateway shows a new page at most 1,000 messages"),
    ),
    ("OPENAI_CODE_PROGRESS_ENABLED", Dialect::Monadic, Nothing(AT_THE_PRODUCER)),
    ("OPENAI_CODE_PROGRESS_INTERVAL", Dialect::Monadic, Nothing(AT_THE_PRODUCER)),
    ("OPENAI_CODE_TIMEOUT", Dialect::Monadic, Nothing(AT_THE_PRODUCER)),
    ("MONITORING_HOST", Dialect::Amiga, Host),
    ("MONITORING_PORT", Dialect::Amiga, Port),
    ("MONITORING_DEBUG", Dialect::Amiga, Verbose),
    ("CORS_ORIGINS", Dialect::Amiga, Origins),
    ("FLASK_SECRET_KEY", Dialect::Amiga, Nothing("signs nothing here; api_keys_file says who may do what")),
    ("JWT_SECRET_KEY", Dialect::Amiga, Nothing("is not read; jwt_key_file names a file with the key of tokens")),
    ("MONITORING_AUTO_RESTART", Dialect::Amiga, Nothing("is the business of what starts the gateway")),
    ("SHARED_CONTEXT_HOST", Dialect::SharedContext, Host),
    (
        "SHARED_CONTEXT_PORT",
        Dialect::SharedContext,
        Nothing("is the port of the pages; put their server behind a listener with --upstream shared_context=URL"),
    ),
    ("WEBSOCKET_HOST", Dialect::SharedContext, Host),
    ("WEBSOCKET_PORT", Dialect::SharedContext, Port),
    ("WEBSOCKET_HOST", Dialect::SharedContextTools, Host),
    ("WEBSOCKET_PORT", Dialect::SharedContextTools, Port),
    ("LOG_LEVEL", Dialect::SharedContext, LogLevel),
    ("BACKEND_HOST", Dialect::Adw, Host),
    ("BACKEND_PORT", Dialect::Adw, Port),
    ("WEBSOCKET_PORT", Dialect::AdwTrigger, Port),
    ("WEBSOCKET_URL", Dialect::Adw, Nothing(AT_THE_PRODUCER)),
    ("DISABLE_WEBSOCKET_NOTIFICATIONS", Dialect::Adw, Nothing(AT_THE_PRODUCER)),
    ("VITE_BACKEND_URL", Dialect::Adw, Nothing("belongs to the build of the pages")),
];

/// What the variables say, and what a person is told about them.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    /// What they set.
    pub(super) layer: Layer,
    /// Host and port for listeners that are named by their dialect alone.
    addresses: BTreeMap<usize, (Option<IpAddr>, Option<u16>)>,
    /// One line for each variable that was found.
    pub(super) notes: Vec<String>,
}

impl Inherited {
    /// Reads the variables of the systems whose dialects are listened for. An empty variable counts as absent.
    pub(super) fn read(variables: &[(OsString, OsString)], listeners: &[Listener]) -> Result<Self, ConfigError> {
        let mut read = Self::default();
        for (name, dialect, effect) in VARIABLES {
            let set = variables.iter().rev().find(|(of, value)| of.to_str() == Some(*name) && !value.is_empty());
            let value = set.and_then(|(_, value)| value.to_str());
            let theirs = |listener: &&Listener| listener.dialect == *dialect;
            if let Some(value) = value
                && let Some(listener) = listeners.iter().find(theirs)
            {
                read.one(name, value.trim(), *listener, *effect)?;
            }
        }
        Ok(read)
    }

    fn one(&mut self, name: &str, value: &str, listener: Listener, effect: Effect) -> Result<(), ConfigError> {
        let wrong = |what: &str| ConfigError(format!("environment: {name}: {what}"));
        let dialect = listener.dialect;
        let note = match effect {
            Host | Port if listener.address.is_some() => {
                format!("is not used: --listen says where, {listener}")
            }
            Host => {
                let host = if value == "localhost" { "127.0.0.1" } else { value };
                let host = host.parse().map_err(|_| wrong("expected an IP address"))?;
                self.address(dialect).0 = Some(host);
                format!("is where {} is listened for", dialect.as_str())
            }
            Port => {
                let port = value.parse().map_err(|_| wrong("expected a port"))?;
                self.address(dialect).1 = Some(port);
                format!("is where {} is listened for", dialect.as_str())
            }
            Verbose if value.eq_ignore_ascii_case("true") || value == "1" => {
                self.layer.log = Some("debug".to_owned());
                "means log = debug".to_owned()
            }
            Verbose => "means no more than usual".to_owned(),
            LogLevel => {
                let level = match value.to_ascii_lowercase().as_str() {
                    "debug" => "debug",
                    "info" => "info",
                    "warning" | "warn" => "warn",
                    "error" | "critical" => "error",
                    _ => return Err(wrong("expected DEBUG, INFO, WARNING, ERROR or CRITICAL")),
                };
                self.layer.log = Some(level.to_owned());
                format!("means log = {level}")
            }
            Origins => {
                self.layer.allowed_origins = Some(value.split(',').map(|origin| origin.trim().to_owned()).collect());
                "means allowed_origins".to_owned()
            }
            Progress => {
                let enabled = !value.eq_ignore_ascii_case("false");
                self.layer.progress_enabled = Some(enabled);
                format!("means progress_enabled = {enabled}")
            }
            Nothing(why) => why.to_owned(),
        };
        self.notes.push(format!("{name} {note}"));
        Ok(())
    }

    fn address(&mut self, dialect: Dialect) -> &mut (Option<IpAddr>, Option<u16>) {
        self.addresses.entry(dialect.index()).or_default()
    }

    /// The listener, at the address that the variables give it.
    pub(super) fn place(&self, listener: Listener) -> Listener {
        match (listener.address, self.addresses.get(&listener.dialect.index())) {
            (None, Some((host, port))) => {
                let host = host.unwrap_or(Ipv4Addr::LOCALHOST.into());
                let address = SocketAddr::new(host, port.unwrap_or(default_port(listener.dialect)));
                Listener { address: Some(Listen(address)), ..listener }
            }
            _ => listener,
        }
    }
}
