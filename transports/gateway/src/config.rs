//! The settings of the gateway and where they come from.
//!
//! A setting has one name in three spellings: `heartbeat_seconds` in the TOML file, `EVENTWIRE_HEARTBEAT_SECONDS` in the environment,
//! `--heartbeat-seconds` on the command line. Flags win over the environment, the environment over the file, the file over the
//! defaults. [`Layer`] is what one of these places says, [`Settings`] what came out. A name that nobody knows is refused with the
//! nearest one that exists: a misspelt setting that is silently ignored looks exactly like a setting that does not work.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::path::{Path, PathBuf};

use clap::{Args as _, FromArgMatches as _};
use eventwire_hub::guard::{HostPort, parse_origin};
use eventwire_protocol::Dialect;
use eventwire_protocol::limits::{self, StreamBounds};
use figment::Figment;
use figment::providers::Serialized;
use serde::{Deserialize, Serialize};

pub use self::value::{
    AuditTo, ByteSize, ContextTimes, For, Listen, Listener, LogFormat, Network, ProductUsers, Speed, default_port,
};

mod inherited;
mod value;

/// Prefix of every setting in the environment.
pub const ENV_PREFIX: &str = "EVENTWIRE_";
/// File that is read from the working directory when no other is named.
pub const DEFAULT_FILE: &str = "eventwire.toml";

/// Variables with the prefix that are not settings: what the client commands read, and what the tests of this project use.
const ENV_NOT_SETTINGS: [&str; 5] = ["CONFIG", "URL", "TOKEN", "SHARED", "LONG"];

/// Parts of a name that is about access.
const ACCESS_WORDS: [&str; 11] =
    ["ANONYMOUS", "AUTH", "JWKS", "JWT", "KEY", "KEYS", "ORIGIN", "ORIGINS", "PROXIES", "PROXY", "SECRET"];

/// Words people write for a setting whose name looks nothing like them.
const SYNONYMS: [(&str, &str); 21] = [
    ("address", "listen"),
    ("agents_dir", "agents"),
    ("agents_root", "agents"),
    ("api_key", "api_keys_file"),
    ("audit_log", "audit"),
    ("bind", "listen"),
    ("cors", "allowed_origins"),
    ("format", "log_format"),
    ("host", "listen"),
    ("hosts", "allowed_hosts"),
    ("jwks", "jwt_jwks_url"),
    ("jwt_key", "jwt_key_file"),
    ("jwt_secret", "jwt_key_file"),
    ("keys", "api_keys_file"),
    ("level", "log"),
    ("origins", "allowed_origins"),
    ("port", "listen"),
    ("proxies", "trusted_proxies"),
    ("trust_proxy", "trusted_proxies"),
    ("speed", "replay"),
    ("verbose", "log"),
];

/// A configuration that cannot be used; the text is one line and says where the mistake is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// What one place says about the settings; absent means that it says nothing.
#[derive(Debug, Clone, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Layer {
    /// Where to listen, any number of times: an address (`127.0.0.1:4800`, `[::1]:4800`, `localhost:4800` or a port alone; port 0
    /// takes a free one), with `=DIALECT` for the clients of an older system (`127.0.0.1:4567=monadic`), or a dialect alone for
    /// the address where that system's frontends look: monadic, product, amiga, shared_context, adw, adw_trigger. An address that
    /// other machines can reach needs api_keys_file or jwt_key_file (or insecure)
    #[arg(long, value_name = "ADDRESS[=DIALECT]", value_delimiter = ',', help_heading = "Network")]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "value::one_or_many")]
    pub listen: Option<Vec<Listener>>,

    /// Directory with the pages of an application, served by a listener at every path that is not its own; with `DIALECT=` for
    /// the listener of that dialect
    #[arg(
        id = "static",
        long = "static",
        value_name = "[DIALECT=]DIRECTORY",
        value_delimiter = ',',
        help_heading = "Network"
    )]
    #[serde(rename = "static", skip_serializing_if = "Option::is_none", deserialize_with = "value::one_or_many")]
    pub pages: Option<Vec<For>>,

    /// HTTP server to which a listener hands every request that is not its own, upgrades and cookies included:
    /// `http://127.0.0.1:5000`; with `DIALECT=` for the listener of that dialect
    #[arg(long, value_name = "[DIALECT=]URL", value_delimiter = ',', help_heading = "Network")]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "value::one_or_many")]
    pub upstream: Option<Vec<For>>,

    /// File that receives the bound addresses (IP:PORT and a newline for each listener, in their order) once the gateway accepts
    /// connections; for scripts that let it take a free port
    #[arg(long, value_name = "FILE", help_heading = "Network")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_file: Option<PathBuf>,

    /// Most connections at one time, shared fairly: one more displaces one of the client with the most, or is answered 503.
    /// Lowered at the start when the limit of open files is lower
    #[arg(long, value_name = "COUNT", help_heading = "Network")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<usize>,

    /// Whether canonical listeners serve Socket.IO at /socket.io. Listeners of AMIGA always do; where it is off, an application
    /// behind static or upstream gets the path
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, help_heading = "Network")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socketio: Option<bool>,

    /// Seconds over which the connections are told to leave after SIGTERM or SIGINT; a second signal ends at once
    #[arg(long, value_name = "SECONDS", help_heading = "Network")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_seconds: Option<u64>,

    /// Root directory with one directory per agent run, agents/{adw_id}/{role}/raw_output.jsonl. It may appear later. Without it a
    /// small sample run plays
    #[arg(long, value_name = "DIRECTORY", help_heading = "Agent runs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agents: Option<PathBuf>,

    /// Read the agent runs that are there already from their start, not only what is appended from now on
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, help_heading = "Agent runs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_start: Option<bool>,

    /// Play the runs that are there already at a readable pace, so many times faster: 1, 10x, 0.5. In the order planner,
    /// implementor, tester, reviewer, documenter, others by name
    #[arg(long, value_name = "SPEED", help_heading = "Agent runs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<Speed>,

    /// Do not play the sample run when no agents directory is set
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, help_heading = "Agent runs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_sample: Option<bool>,

    /// TOML file with the API keys that are accepted; turns authentication on. `eventwire api-key` makes an entry. Read again when it
    /// changes, and on SIGHUP
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_keys_file: Option<PathBuf>,

    /// File with the keys that verify tokens (JWT); turns authentication on, alone or beside api_keys_file. A JWK set, a public key
    /// in PEM (RS256, ES256, EdDSA), else a secret of at least 32 bytes (HS256). Read again when it changes, and on SIGHUP
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_key_file: Option<PathBuf>,

    /// URL of the JWK set in which an issuer publishes the keys of its tokens, in place of jwt_key_file; needs jwt_issuer. https, or
    /// http on this machine. Read at the start, as often as the issuer says, on SIGHUP, and when a token names an unknown key
    #[arg(long, value_name = "URL", help_heading = "Access")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_jwks_url: Option<String>,

    /// The issuer (iss) that tokens must have
    #[arg(long, value_name = "ISSUER", help_heading = "Access")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_issuer: Option<String>,

    /// The audience (aud) that tokens must have; unset, one that has any is refused
    #[arg(long, value_name = "AUDIENCE", help_heading = "Access")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_audience: Option<String>,

    /// The claim with what a token grants: an object with the members role, permissions, adws, rooms, sessions, users,
    /// browser_sessions, global and history_from, as in api_keys_file
    #[arg(long, value_name = "NAME", help_heading = "Access")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_claim: Option<String>,

    /// What a token grants that does not name users, browser_sessions or global: with 1 all of them, with 2 none, as in an
    /// api_keys_file of that version
    #[arg(long, value_name = "VERSION", help_heading = "Access")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_grants: Option<u8>,

    /// Seconds by which the clocks of issuer and gateway may be apart; a connection is closed so long after its token's end
    #[arg(long, value_name = "SECONDS", help_heading = "Access")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_leeway_seconds: Option<u64>,

    /// Longest life of a token in seconds, from its issue (iat) to its end (exp); longer ones are refused
    #[arg(long, value_name = "SECONDS", help_heading = "Access")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_max_seconds: Option<u64>,

    /// Whether a token must say when it was issued (iat). Without iat only what is left of its life is judged, and a revocation of
    /// its user refuses every such token for good
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, help_heading = "Access")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_require_iat: Option<bool>,

    /// File in which revocations outlive a restart; made if it is absent, readable by its owner alone. Unset, revocations are kept in
    /// memory, and a restart forgets them
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_file: Option<PathBuf>,

    /// Dialects of older systems whose pages may connect without credentials although api_keys_file or jwt_key_file is set, comma
    /// separated: monadic, amiga, shared_context, adw. Strangers may listen there and ask the application; they may not publish
    #[arg(long, value_name = "DIALECT,..", value_delimiter = ',', help_heading = "Access")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<Vec<String>>,

    /// What these strangers may listen to, comma separated: adw:ID, room:NAME, session:ID, with * for all of a kind, or none.
    /// Holders of keys and tokens may listen to it as well. Unset, strangers listen to every agent run, room and context
    #[arg(long, value_name = "TARGET,..", value_delimiter = ',', help_heading = "Access")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous_scope: Option<Vec<String>>,

    /// Serve an address that other machines can reach without authentication: everybody there may publish and subscribe
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, help_heading = "Access")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure: Option<bool>,

    /// Host names that requests may carry beside the loopback names, comma separated, without port; * for any. A request for any
    /// other host is refused, which stops DNS rebinding
    #[arg(long, value_name = "HOST,..", value_delimiter = ',', help_heading = "Access")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_hosts: Option<Vec<String>>,

    /// Web origins whose pages may connect beside loopback origins, comma separated, as browsers write them:
    /// `https://app.example.org`; * for any
    #[arg(long, value_name = "ORIGIN,..", value_delimiter = ',', help_heading = "Access")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_origins: Option<Vec<String>>,

    /// Proxies whose headers Forwarded and X-Forwarded-For name the client, comma separated: addresses and networks, such as
    /// 10.0.0.7,10.1.0.0/16. Of any other peer these headers are removed
    #[arg(long, value_name = "ADDRESS,..", value_delimiter = ',', help_heading = "Access")]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "value::one_or_many")]
    pub trusted_proxies: Option<Vec<Network>>,

    /// Whether connections from trusted_proxies begin with a header of the PROXY protocol, version 1 or 2
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, help_heading = "Access")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<bool>,

    /// Whether clients of Monadic Chat are told of progress (chat.wait)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, help_heading = "Older systems")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_enabled: Option<bool>,

    /// Events for Monadic Chat that name no session go to everybody there, as in an installation for one person. Refused with
    /// api_keys_file or jwt_key_file, and on addresses that other machines can reach
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, help_heading = "Older systems")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub single_user: Option<bool>,

    /// File with the secret behind the ids of browser sessions, at least 16 bytes; without it the ids are others after a restart
    #[arg(long, value_name = "FILE", help_heading = "Older systems")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_secret_file: Option<PathBuf>,

    /// URL that says who is behind the session cookie of a page of Product Demo: asked with the page's cookies, it answers 200 and
    /// `{"userId": ..}`, or 401. Without it and without product_jwt_key_file nobody is known there, and every socket is closed
    #[arg(long, value_name = "URL", help_heading = "Older systems")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_lookup_url: Option<String>,

    /// File with the key that the tokens in Product Demo's session cookie are signed with: a public key in PEM (RS256, ES256, EdDSA), else
    /// a secret of at least 32 bytes (HS256)
    #[arg(long, value_name = "FILE", help_heading = "Older systems")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_jwt_key_file: Option<PathBuf>,

    /// The issuer (iss) that these tokens must have
    #[arg(long, value_name = "ISSUER", help_heading = "Older systems")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_jwt_issuer: Option<String>,

    /// The audience (aud) that these tokens must have; unset, one that has any is refused
    #[arg(long, value_name = "AUDIENCE", help_heading = "Older systems")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_jwt_audience: Option<String>,

    /// Name of Product Demo's session cookie
    #[arg(long, value_name = "NAME", help_heading = "Older systems")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_cookie: Option<String>,

    /// Whether a user of Product Demo is the user of the same id that API keys and tokens name. Needed where both are known; with
    /// separate, Product Demo's user ID is user product:ID, and events of its types for user:ID are for it
    #[arg(long, value_name = "WHOM", help_heading = "Older systems")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_users: Option<ProductUsers>,

    /// URL that is asked for the messages and the particulars of contexts, with one POST for each question; without it Shared
    /// Context answers from what was published here
    #[arg(long, value_name = "URL", help_heading = "Older systems")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_query_url: Option<String>,

    /// How clients of Shared Context are told the time of a message
    #[arg(long, value_name = "FORM", help_heading = "Older systems")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_times: Option<ContextTimes>,

    /// URL of a back end that is called with what clients ask of the application, one POST for each command, signed with the
    /// secret in commands_secret_file. Without it a back end reads GET /v1/commands
    #[arg(long, value_name = "URL", help_heading = "Back end")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commands_webhook: Option<String>,

    /// File with the secret that signs what goes to commands_webhook, at least 16 bytes
    #[arg(long, value_name = "FILE", help_heading = "Back end")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commands_secret_file: Option<PathBuf>,

    /// PEM file with certificates of authorities that commands_webhook may be certified by, beside those that browsers trust
    #[arg(long, value_name = "FILE", help_heading = "Back end")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commands_ca_file: Option<PathBuf>,
    /// Most events kept per stream for those who reconnect
    #[arg(long, value_name = "COUNT", help_heading = "History")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_events: Option<usize>,

    /// Most resident bytes per stream: a number, or with KiB, MiB, GiB
    #[arg(long, value_name = "BYTES", help_heading = "History")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_bytes: Option<ByteSize>,

    /// Seconds that an event is kept
    #[arg(long, value_name = "SECONDS", help_heading = "History")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_seconds: Option<u64>,

    /// Most events kept per stream of an agent run
    #[arg(long, value_name = "COUNT", help_heading = "History")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_adw_events: Option<usize>,

    /// Most resident bytes per stream of an agent run
    #[arg(long, value_name = "BYTES", help_heading = "History")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_adw_bytes: Option<ByteSize>,

    /// Seconds that an event of an agent run is kept
    #[arg(long, value_name = "SECONDS", help_heading = "History")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_adw_seconds: Option<u64>,

    /// Most resident bytes of all streams together; the oldest of the largest publisher go first
    #[arg(long, value_name = "BYTES", help_heading = "History")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_realm_bytes: Option<ByteSize>,

    /// Most resident bytes of the newest values; the oldest of the largest publisher go first
    #[arg(long, value_name = "BYTES", help_heading = "History")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_bytes: Option<ByteSize>,

    /// Most resident bytes of the ids of publications, kept for 10 minutes; the oldest of the largest publisher go first
    #[arg(long, value_name = "BYTES", help_heading = "History")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_bytes: Option<ByteSize>,

    /// Most resident bytes of the places that sources of events have reached, such as those in the transcripts of agents; the
    /// oldest of the largest source go first
    #[arg(long, value_name = "BYTES", help_heading = "History")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_bytes: Option<ByteSize>,

    /// Most frames waiting for one connection; a slower reader is fed from the history
    #[arg(long, value_name = "COUNT", help_heading = "Connections")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mailbox_frames: Option<usize>,

    /// Most bytes waiting for one connection
    #[arg(long, value_name = "BYTES", help_heading = "Connections")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mailbox_bytes: Option<ByteSize>,

    /// Most bytes of messages and request bodies that have begun and not ended, over all connections. Above, reading pauses, and
    /// then the client with the most is closed with 1013 or answered 503
    #[arg(long, value_name = "BYTES", help_heading = "Connections")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfinished_bytes: Option<ByteSize>,

    /// Units of work that commands may cause a second for each processor; a plain command is 16. Above, clients that cause more
    /// than their share wait
    #[arg(long, value_name = "UNITS", help_heading = "Connections")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work_per_second: Option<u32>,

    /// Most bytes that the subscriptions of all connections take. Above, the connection with the most of the client with the
    /// most is closed with 1013
    #[arg(long, value_name = "BYTES", help_heading = "Connections")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_bytes: Option<ByteSize>,

    /// Seconds between two connection.heartbeat events
    #[arg(long, value_name = "SECONDS", help_heading = "Connections")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_seconds: Option<u64>,

    /// Seconds between two WebSocket pings; two without an answer close the connection
    #[arg(long, value_name = "SECONDS", help_heading = "Connections")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping_seconds: Option<u64>,

    /// What is logged: error, warn, info, debug, trace, or directives such as info,eventwire_hub=debug
    #[arg(long, value_name = "LEVEL", help_heading = "Logging")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,

    /// How log lines are written to standard error
    #[arg(long, value_name = "FORMAT", help_heading = "Logging")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,

    /// Where the audit log goes, one JSON line for each connection, refusal, revocation, kick and reload: off, stderr, or a file,
    /// which is created for its owner alone, appended to, and opened again on SIGHUP
    #[arg(long, value_name = "FILE", help_heading = "Logging")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditTo>,
}

/// The settings that hold, after all layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is documented once, at the field of the same name in `Layer`")]
pub struct Settings {
    pub listen: Vec<Listener>,
    #[serde(rename = "static")]
    pub pages: Vec<For>,
    pub upstream: Vec<For>,
    pub port_file: Option<PathBuf>,
    pub max_connections: usize,
    pub socketio: bool,
    pub drain_seconds: u64,
    pub agents: Option<PathBuf>,
    pub from_start: bool,
    pub replay: Option<Speed>,
    pub no_sample: bool,
    pub api_keys_file: Option<PathBuf>,
    pub jwt_key_file: Option<PathBuf>,
    pub jwt_jwks_url: Option<String>,
    pub jwt_issuer: Option<String>,
    pub jwt_audience: Option<String>,
    pub jwt_claim: String,
    pub jwt_grants: u8,
    pub jwt_leeway_seconds: u64,
    pub jwt_max_seconds: u64,
    pub jwt_require_iat: bool,
    pub state_file: Option<PathBuf>,
    pub anonymous: Vec<String>,
    pub anonymous_scope: Option<Vec<String>>,
    pub insecure: bool,
    pub allowed_hosts: Vec<String>,
    pub allowed_origins: Vec<String>,
    pub trusted_proxies: Vec<Network>,
    pub proxy_protocol: bool,
    pub progress_enabled: bool,
    pub single_user: bool,
    pub session_secret_file: Option<PathBuf>,
    pub context_query_url: Option<String>,
    pub context_times: ContextTimes,
    pub commands_webhook: Option<String>,
    pub commands_secret_file: Option<PathBuf>,
    pub commands_ca_file: Option<PathBuf>,
    pub product_lookup_url: Option<String>,
    pub product_jwt_key_file: Option<PathBuf>,
    pub product_jwt_issuer: Option<String>,
    pub product_jwt_audience: Option<String>,
    pub product_cookie: String,
    pub product_users: Option<ProductUsers>,
    pub history_events: usize,
    pub history_bytes: ByteSize,
    pub history_seconds: u64,
    pub history_adw_events: usize,
    pub history_adw_bytes: ByteSize,
    pub history_adw_seconds: u64,
    pub history_realm_bytes: ByteSize,
    pub latest_bytes: ByteSize,
    pub idempotency_bytes: ByteSize,
    pub checkpoint_bytes: ByteSize,
    pub mailbox_frames: usize,
    pub mailbox_bytes: ByteSize,
    pub unfinished_bytes: ByteSize,
    pub work_per_second: u32,
    pub subscription_bytes: ByteSize,
    pub heartbeat_seconds: u64,
    pub ping_seconds: u64,
    pub log: String,
    pub log_format: LogFormat,
    pub audit: AuditTo,
}

impl Settings {
    /// Whether the logins of Product Demo are known, by a lookup or by tokens.
    pub fn knows_product_users(&self) -> bool {
        self.product_lookup_url.is_some() || self.product_jwt_key_file.is_some()
    }

    /// Whether those who come have to say who they are, by an API key or a token (AUTH-05).
    pub fn authenticates(&self) -> bool {
        self.api_keys_file.is_some() || self.jwt_key_file.is_some() || self.jwt_jwks_url.is_some()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: vec![Listener::default()],
            pages: Vec::new(),
            upstream: Vec::new(),
            port_file: None,
            max_connections: 10_000,
            socketio: true,
            drain_seconds: 5,
            agents: None,
            from_start: false,
            replay: None,
            no_sample: false,
            api_keys_file: None,
            jwt_key_file: None,
            jwt_jwks_url: None,
            jwt_issuer: None,
            jwt_audience: None,
            jwt_claim: "eventwire".to_owned(),
            jwt_grants: 1,
            jwt_leeway_seconds: limits::EXPIRY_GRACE.as_secs(),
            jwt_max_seconds: limits::MAX_TOKEN_AGE.as_secs(),
            jwt_require_iat: true,
            state_file: None,
            anonymous: Vec::new(),
            anonymous_scope: None,
            insecure: false,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            progress_enabled: true,
            single_user: false,
            session_secret_file: None,
            context_query_url: None,
            context_times: ContextTimes::ByPath,
            commands_webhook: None,
            commands_secret_file: None,
            commands_ca_file: None,
            product_lookup_url: None,
            product_jwt_key_file: None,
            product_jwt_issuer: None,
            product_jwt_audience: None,
            product_cookie: "connect.sid".to_owned(),
            product_users: None,
            history_events: StreamBounds::DEFAULT.events,
            history_bytes: ByteSize::of(StreamBounds::DEFAULT.bytes),
            history_seconds: StreamBounds::DEFAULT.age.as_secs(),
            history_adw_events: StreamBounds::ADW.events,
            history_adw_bytes: ByteSize::of(StreamBounds::ADW.bytes),
            history_adw_seconds: StreamBounds::ADW.age.as_secs(),
            history_realm_bytes: ByteSize::of(limits::REALM_BYTES),
            latest_bytes: ByteSize::of(limits::LATEST_BYTES),
            idempotency_bytes: ByteSize::of(limits::IDEMPOTENCY_BYTES),
            checkpoint_bytes: ByteSize::of(limits::CHECKPOINT_BYTES),
            mailbox_frames: limits::MAILBOX_FRAMES,
            mailbox_bytes: ByteSize::of(limits::MAILBOX_BYTES),
            unfinished_bytes: ByteSize::of(limits::UNFINISHED_BYTES),
            work_per_second: limits::WORK_PER_SECOND,
            subscription_bytes: ByteSize::of(limits::SUBSCRIPTION_BYTES),
            heartbeat_seconds: limits::HEARTBEAT.as_secs(),
            ping_seconds: limits::PING.as_secs(),
            log: "info".to_owned(),
            log_format: LogFormat::Text,
            audit: AuditTo::Off,
        }
    }
}

/// Where the layers are read from; what `serve` was started with, so that a test can say it instead.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The flags of the command line.
    pub flags: Layer,
    /// The file named by `--config`.
    pub file: Option<PathBuf>,
    /// The environment, variables of others included.
    pub environment: Vec<(OsString, OsString)>,
    /// Directory in which [`DEFAULT_FILE`] is looked for.
    pub directory: PathBuf,
}

impl Sources {
    /// The environment and the working directory of this process.
    #[must_use]
    pub fn of_process(flags: Layer, file: Option<PathBuf>) -> Self {
        Self { flags, file, environment: std::env::vars_os().collect(), directory: PathBuf::new() }
    }
}

/// One setting, as it is documented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Name in the file; flag and variable are spelt from it.
    pub key: String,
    /// Group of related settings.
    pub heading: String,
    /// Placeholder for the value.
    pub value_name: String,
    /// What it means.
    pub help: String,
    /// Default, as it would be written in the file; `None` when the setting is unset by default.
    pub default: Option<String>,
}

/// Every setting, in the order of [`Layer`].
#[must_use]
pub fn describe() -> Vec<Described> {
    let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
    layer_command()
        .get_arguments()
        .map(|argument| {
            let key = argument.get_id().to_string();
            Described {
                heading: argument.get_help_heading().unwrap_or_default().to_owned(),
                value_name: argument
                    .get_value_names()
                    .and_then(<[_]>::first)
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                help: argument.get_help().map(ToString::to_string).unwrap_or_default(),
                default: defaults.get(&key).filter(|value| !value.is_null()).map(written),
                key,
            }
        })
        .collect()
}

/// A default as the file would have it; of a list with one member, that member.
fn written(value: &serde_json::Value) -> String {
    match value.as_array().map(Vec::as_slice) {
        Some([only]) => only.to_string(),
        _ => value.to_string(),
    }
}

/// Puts the layers together and checks what came out.
///
/// # Errors
/// An unknown name, a value that cannot be read, a file that is not there, settings that contradict each other.
pub fn load(sources: &Sources) -> Result<Settings, ConfigError> {
    load_with_notes(sources).map(|(settings, _)| settings)
}

/// As [`load`], and notes for the operator: variables that are ignored, and what variables of older systems do.
///
/// # Errors
/// As [`load`].
pub fn load_with_notes(sources: &Sources) -> Result<(Settings, Vec<String>), ConfigError> {
    let mut notes = Vec::new();
    let environment = environment_layer(&sources.environment, &mut notes)?;
    let named = sources.file.clone().or_else(|| {
        let named = sources.environment.iter().find(|(name, value)| name == "EVENTWIRE_CONFIG" && !value.is_empty());
        named.map(|(_, value)| PathBuf::from(value))
    });
    let file = match named {
        Some(file) => read_file(&file)?,
        None => {
            let file = sources.directory.join(DEFAULT_FILE);
            if file.exists() { read_file(&file)? } else { Layer::default() }
        }
    };
    let over = |lowest: &Layer| -> Result<Settings, ConfigError> {
        Figment::from(Serialized::defaults(Settings::default()))
            .merge(Serialized::defaults(lowest))
            .merge(Serialized::defaults(&file))
            .merge(Serialized::defaults(&environment))
            .merge(Serialized::defaults(&sources.flags))
            .extract()
            .map_err(|error| ConfigError(one_line(&error.to_string())))
    };
    // Which of the older systems' variables count depends on which systems are listened for.
    let listeners = over(&Layer::default())?.listen;
    let inherited = inherited::Inherited::read(&sources.environment, &listeners)?;
    let mut settings = over(&inherited.layer)?;
    for listener in &mut settings.listen {
        *listener = inherited.place(*listener);
    }
    check(&settings)?;
    notes.extend(inherited.notes);
    Ok((settings, notes))
}

fn layer_command() -> clap::Command {
    Layer::augment_args(
        clap::Command::new("eventwire").no_binary_name(true).disable_help_flag(true).disable_version_flag(true),
    )
}

fn known_keys() -> Vec<String> {
    layer_command().get_arguments().map(|argument| argument.get_id().to_string()).collect()
}

/// What the environment says. An empty variable counts as absent, as in `docker compose` files that pass every variable on.
///
/// A variable that is not a setting stops the gateway where it is a near miss of one or is about access: a mistyped
/// `EVENTWIRE_JWT_KEY_FILE` must not start an open gateway. Every other one is a note: platforms and images set variables with
/// the name of the service in front.
fn environment_layer(variables: &[(OsString, OsString)], notes: &mut Vec<String>) -> Result<Layer, ConfigError> {
    let known = known_keys();
    let mut arguments: Vec<OsString> = Vec::new();
    for (name, value) in variables {
        let Some(key) = name.to_str().and_then(|name| name.strip_prefix(ENV_PREFIX)) else {
            continue;
        };
        if ENV_NOT_SETTINGS.contains(&key) || is_service_link(key, value) {
            continue;
        }
        let setting = key.to_ascii_lowercase();
        if key != key.to_ascii_uppercase() || !known.contains(&setting) {
            let spell = |key: &str| format!("{ENV_PREFIX}{}", key.to_ascii_uppercase());
            if meant(&setting, &known).is_none() && !is_about_access(key) {
                notes.push(format!("{ENV_PREFIX}{key} is in the environment and is not a setting; it is ignored"));
                continue;
            }
            return Err(ConfigError(format!(
                "environment: {ENV_PREFIX}{key} is not a setting{}",
                suggestion(&setting, &known, spell),
            )));
        }
        if value.is_empty() {
            continue;
        }
        let mut argument = OsString::from(format!("--{}=", setting.replace('_', "-")));
        argument.push(value);
        // Alone first, so that a mistake is told with the name of its variable.
        layer_command().try_get_matches_from([&argument]).map_err(|error| {
            let flag = format!("--{}", setting.replace('_', "-"));
            ConfigError(format!("environment: {ENV_PREFIX}{key}: {}", value_error(&error, &flag)))
        })?;
        arguments.push(argument);
    }
    let matches = layer_command().try_get_matches_from(arguments);
    matches
        .and_then(|matches| Layer::from_arg_matches(&matches))
        .map_err(|error| ConfigError(format!("environment: {}", one_line(&error.to_string()))))
}

/// Kubernetes sets such variables in every pod beside a Service whose name begins with `eventwire`; they are nobody's mistake.
fn is_service_link(key: &str, value: &OsStr) -> bool {
    let address = value
        .to_str()
        .is_some_and(|value| ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme)));
    let marked = format!("_{key}");
    let numbered =
        marked.split_once("_PORT_").is_some_and(|(_, rest)| rest.starts_with(|first: char| first.is_ascii_digit()));
    marked.ends_with("_SERVICE_HOST")
        || marked.contains("_SERVICE_PORT")
        || numbered
        || (marked.ends_with("_PORT") && address)
}

/// What a file says. Relative paths in it are relative to the file.
fn read_file(file: &Path) -> Result<Layer, ConfigError> {
    let at = |line: usize, what: &dyn Display| ConfigError(format!("{}:{line}: {what}", file.display()));
    let text = std::fs::read_to_string(file)
        .map_err(|error| ConfigError(format!("{}: cannot be read: {error}", file.display())))?;
    let line_of = |offset: usize| text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;

    let entries: std::collections::BTreeMap<toml::Spanned<String>, toml::Value> =
        toml::from_str(&text).map_err(|error| {
            at(error.span().map_or(1, |span| line_of(span.start)), &format!("not TOML: {}", one_line(error.message())))
        })?;
    let known = known_keys();
    for (key, value) in &entries {
        let (line, name) = (line_of(key.span().start), key.get_ref());
        if !known.contains(name) {
            return Err(at(line, &format!("{name} is not a setting{}", suggestion(name, &known, str::to_owned))));
        }
        let alone = toml::Table::from_iter([(name.clone(), value.clone())]);
        alone.try_into::<Layer>().map_err(|error| at(line, &format!("{name}: {}", one_line(error.message()))))?;
    }
    let mut layer: Layer = toml::from_str(&text).map_err(|error| at(1, &one_line(error.message())))?;

    let directory = file.parent().unwrap_or(Path::new(""));
    let paths = [
        &mut layer.agents,
        &mut layer.api_keys_file,
        &mut layer.jwt_key_file,
        &mut layer.port_file,
        &mut layer.session_secret_file,
        &mut layer.state_file,
        &mut layer.commands_secret_file,
        &mut layer.commands_ca_file,
        &mut layer.product_jwt_key_file,
    ];
    for path in paths.into_iter().flatten() {
        *path = directory.join(&*path);
    }
    if let Some(AuditTo::File(path)) = &mut layer.audit {
        *path = directory.join(&*path);
    }
    for pages in layer.pages.iter_mut().flatten() {
        pages.value = directory.join(&pages.value).to_string_lossy().into_owned();
    }
    Ok(layer)
}

/// Levels of the log.
const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Refuses a word that is neither a level nor a directive. `EnvFilter` takes every other word for the name of a module, and logs
/// nothing but that module.
fn check_log(log: &str) -> Result<(), ConfigError> {
    for word in log.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let (module, level) = word.rsplit_once('=').map_or((None, word), |(module, level)| (Some(module), level));
        let is_level = |level: &str| LOG_LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level));
        // A directive may also name a span and its fields, in brackets.
        let is_span = word.ends_with(']');
        if !is_level(level) && !is_span {
            let hint = match level.to_ascii_lowercase().as_str() {
                "warning" => "; did you mean warn?",
                "verbose" => "; did you mean debug?",
                "critical" | "fatal" => "; did you mean error?",
                _ => "",
            };
            let of = module.map(|module| format!(" of {module}")).unwrap_or_default();
            return Err(ConfigError(format!(
                "log = {log:?}: {level:?}{of} is not a level{hint}; there are {}, and directives such as info,eventwire_hub=debug",
                LOG_LEVELS.join(", ")
            )));
        }
    }
    Ok(())
}

/// What no single setting can say about itself.
fn check(settings: &Settings) -> Result<(), ConfigError> {
    let at_least_one = [
        ("max_connections", settings.max_connections),
        ("history_events", settings.history_events),
        ("history_adw_events", settings.history_adw_events),
        ("mailbox_frames", settings.mailbox_frames),
    ];
    if let Some((name, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
        return Err(ConfigError(format!("{name} = 0: at least 1 is needed")));
    }
    if settings.work_per_second < limits::WORK_OF_COMMAND {
        return Err(ConfigError(format!(
            "work_per_second = {}: must be at least {}, one command a second",
            settings.work_per_second,
            limits::WORK_OF_COMMAND
        )));
    }
    const DAY: u64 = 86_400;
    let seconds = [
        ("heartbeat_seconds", settings.heartbeat_seconds, 1..=DAY),
        ("ping_seconds", settings.ping_seconds, 1..=DAY),
        ("history_seconds", settings.history_seconds, 1..=366 * DAY),
        ("history_adw_seconds", settings.history_adw_seconds, 1..=366 * DAY),
        ("drain_seconds", settings.drain_seconds, 0..=DAY),
        ("jwt_leeway_seconds", settings.jwt_leeway_seconds, 0..=60),
        ("jwt_max_seconds", settings.jwt_max_seconds, 60..=31 * DAY),
    ];
    if let Some((name, value, bounds)) = seconds.iter().find(|(_, value, bounds)| !bounds.contains(value)) {
        return Err(ConfigError(format!("{name} = {value}: must lie between {} and {}", bounds.start(), bounds.end())));
    }
    let bytes = [
        ("history_bytes", settings.history_bytes, 1 << 20),
        ("history_adw_bytes", settings.history_adw_bytes, 1 << 20),
        ("history_realm_bytes", settings.history_realm_bytes, 1 << 20),
        ("latest_bytes", settings.latest_bytes, 1 << 21),
        ("idempotency_bytes", settings.idempotency_bytes, 1 << 16),
        ("checkpoint_bytes", settings.checkpoint_bytes, 1 << 16),
        ("mailbox_bytes", settings.mailbox_bytes, 1 << 16),
        // A message of Monadic Chat has up to 16 MiB, and a tenth is reserved for credentials.
        ("unfinished_bytes", settings.unfinished_bytes, 20 << 20),
        ("subscription_bytes", settings.subscription_bytes, 1 << 20),
    ];
    if let Some((name, value, least)) = bytes.iter().find(|(_, value, least)| value.0 < *least) {
        return Err(ConfigError(format!(
            "{name} = {value}: must be at least {}, or one large event fills it",
            ByteSize(*least)
        )));
    }
    if let Some(name) = settings.anonymous.iter().find(|name| open_dialect(name).is_none()) {
        return Err(ConfigError(format!(
            "anonymous: {name:?} is none of monadic, amiga, shared_context, adw; product knows its users by their cookie"
        )));
    }
    if let Some(words) = &settings.anonymous_scope {
        crate::public::read(words).map_err(|what| ConfigError(format!("anonymous_scope: {what}")))?;
        if settings.anonymous.is_empty() {
            return Err(ConfigError(
                "anonymous_scope says what strangers may listen to, and anonymous lets none in: set both or neither"
                    .to_owned(),
            ));
        }
    }
    if crate::api_keys::GrantsVersion::from_number(settings.jwt_grants).is_none() {
        return Err(ConfigError(format!("jwt_grants = {}: must be 1 or 2", settings.jwt_grants)));
    }
    if settings.authenticates() && settings.knows_product_users() && settings.product_users.is_none() {
        return Err(ConfigError(
            "Product Demo knows its users and so do api_keys_file or jwt_key_file: set product_users to same or separate, which \
             says whether user ada of the one is user ada of the other"
                .to_owned(),
        ));
    }
    if let Some(host) = settings.allowed_hosts.iter().find(|host| !is_host(host)) {
        return Err(ConfigError(format!(
            "allowed_hosts: {host:?} is not a host name; write it without scheme, port and path, such as events.example.org"
        )));
    }
    if let Some(origin) = settings.allowed_origins.iter().find(|origin| !is_origin(origin)) {
        return Err(ConfigError(format!(
            "allowed_origins: {origin:?} is not an origin; write scheme and host, such as https://app.example.org"
        )));
    }
    if settings.proxy_protocol && settings.trusted_proxies.is_empty() {
        return Err(ConfigError(
            "proxy_protocol is set without trusted_proxies: name the proxies that send the header".to_owned(),
        ));
    }
    check_log(&settings.log)?;
    if settings.listen.is_empty() {
        return Err(ConfigError("listen is empty: name at least one address".to_owned()));
    }
    for (at, listener) in settings.listen.iter().enumerate() {
        let address = listener.listen().0;
        if address.port() != 0 && settings.listen.iter().take(at).any(|other| other.listen().0 == address) {
            return Err(ConfigError(format!(
                "listen: {address} stands twice; each listener needs an address of its own"
            )));
        }
    }
    for (name, values) in [("static", &settings.pages), ("upstream", &settings.upstream)] {
        for value in values {
            check_for(name, value, &settings.listen)?;
        }
    }
    for upstream in &settings.upstream {
        let url: Option<http::Uri> = upstream.value.parse().ok();
        if !url.is_some_and(|url| url.scheme_str() == Some("http") && url.host().is_some()) {
            return Err(ConfigError(format!(
                "upstream: {:?} is not the address of an HTTP server; write it as http://127.0.0.1:5000",
                upstream.value
            )));
        }
    }
    let is_loopback = settings.listen.iter().all(|listener| listener.listen().is_loopback());
    if settings.single_user && (settings.authenticates() || !is_loopback) {
        return Err(ConfigError(
            "single_user is for one person on one machine: not with api_keys_file or jwt_key_file, and on loopback addresses only"
                .to_owned(),
        ));
    }
    let takes_tokens = settings.jwt_key_file.is_some() || settings.jwt_jwks_url.is_some();
    if !takes_tokens && (settings.jwt_issuer.is_some() || settings.jwt_audience.is_some()) {
        return Err(ConfigError(
            "jwt_issuer and jwt_audience say something of tokens, and neither jwt_key_file nor jwt_jwks_url is set: no token would \
             be taken"
                .to_owned(),
        ));
    }
    if let Some(url) = &settings.jwt_jwks_url {
        crate::jwks::parse_url(url).map_err(|what| ConfigError(format!("jwt_jwks_url: {what}")))?;
        if settings.jwt_issuer.is_none() {
            return Err(ConfigError(
                "jwt_jwks_url needs jwt_issuer: the keys that are published there are for the tokens of that issuer alone"
                    .to_owned(),
            ));
        }
    }
    if settings.from_start && settings.agents.is_none() {
        return Err(ConfigError(
            "from_start is set without agents: name the directory whose runs are to be read".to_owned(),
        ));
    }
    Ok(())
}

/// Whether it is clear which listener a value belongs to.
fn check_for(name: &str, value: &For, listeners: &[Listener]) -> Result<(), ConfigError> {
    match value.dialect {
        Some(dialect) if listeners.iter().all(|listener| listener.dialect != dialect) => Err(ConfigError(format!(
            "{name}: {value}: there is no listener for {}; add --listen {}",
            dialect.as_str(),
            dialect.as_str()
        ))),
        None if listeners.len() > 1 => Err(ConfigError(format!(
            "{name}: {value}: there are several listeners; say for which one, as in monadic={value}"
        ))),
        _ => Ok(()),
    }
}

/// The dialect of this name, if its pages may be let in without a key.
pub(crate) fn open_dialect(name: &str) -> Option<Dialect> {
    let dialect = Dialect::from_name(name.trim())?.family();
    [Dialect::Monadic, Dialect::Amiga, Dialect::SharedContext, Dialect::Adw].contains(&dialect).then_some(dialect)
}

/// A host as a Host header has it, without the port, or `*`.
fn is_host(text: &str) -> bool {
    text == "*" || HostPort::parse(text).is_some_and(|named| named.host == text)
}

/// An origin as a browser writes it, or `*`. `null` is none: every sandboxed frame has it.
fn is_origin(text: &str) -> bool {
    text == "*" || parse_origin(text).is_some()
}

/// The end of a sentence that says what was probably meant.
fn suggestion(written: &str, known: &[String], spell: impl Fn(&str) -> String) -> String {
    match meant(written, known) {
        Some(key) => format!("; did you mean {}?", spell(&key)),
        None => "; `eventwire serve --help` lists them".to_owned(),
    }
}

/// The setting that a name is a near miss of.
fn meant(written: &str, known: &[String]) -> Option<String> {
    let plain = written.to_ascii_lowercase().replace('-', "_");
    let synonym = SYNONYMS.iter().find(|(word, _)| *word == plain).map(|(_, key)| (*key).to_owned());
    let nearest = || {
        let scored = known.iter().map(|key| (strsim::jaro_winkler(&plain, key), key));
        scored.filter(|(score, _)| *score > 0.75).max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, key)| key.clone())
    };
    synonym.or_else(nearest)
}

/// Whether the name is about access: a gateway that starts without such a setting is more open than its operator wants.
fn is_about_access(key: &str) -> bool {
    key.split('_').any(|part| ACCESS_WORDS.contains(&part.to_ascii_uppercase().as_str()))
}

/// What a mistake in the value of one argument is, without the name of the flag that nobody wrote.
fn value_error(error: &clap::Error, flag: &str) -> String {
    let text = one_line(&error.to_string());
    match text.split_once(&format!(" for '{flag}")) {
        Some((what, rest)) => format!("{what}{}", rest.split_once('\'').map_or("", |(_, rest)| rest)),
        None => text,
    }
}

/// A message of several lines as one, without usage and hints that fill a screen.
#[must_use]
pub fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let kept = lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let joined = kept.collect::<Vec<_>>().join(" ");
    joined.strip_prefix("error: ").unwrap_or(&joined).to_owned()
}
