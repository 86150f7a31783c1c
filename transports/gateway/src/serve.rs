//! `eventwire serve`: settings become a hub, the hub gets its transports and sources, and everything stops in order.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use eventwire_agents::{AgentsSource, Mode, Speed};
use eventwire_http::Api;
use eventwire_hub::history::MemoryBounds;
use eventwire_hub::{Audit, Guard, Hub, NoAuthentication, Secret, SessionKey, Settings as HubSettings, WorkBounds};
use eventwire_protocol::delivery::MailboxBounds;
use eventwire_protocol::limits::StreamBounds;
use eventwire_protocol::{AdwId, Dialect, PublicScope};
use eventwire_systems::amiga::Amiga;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing_subscriber::EnvFilter;

use crate::agents::HubSink;
use crate::cli::{Failure, ServeArgs};
use crate::command_backend::BackEnd;
use crate::config::{self, For, LogFormat, Settings, Sources};
use crate::credential_file::{self, Holds};
use crate::files::Directory;
use crate::jwt::Accepted;
use crate::login_keys::OpenGateway;
use crate::pages::{Pages, Upstream};
use crate::pipeline::Pipeline;
use crate::places::{self, SocketPlaces};
use crate::proxy::{Others, Proxies};
use crate::reload::Configured;
use crate::router::{Mounted, Router, SocketIo};
use crate::state_file::StateFile;
use crate::terminal::{Color, Pen, colored};
use crate::{audit, metrics, metrics_source, public, routes, sample, server, socketio, systems};

/// Below so many open files nothing useful can be served.
const FEWEST_FILES: u64 = 64;
/// Below so many a person is told that they will not last long.
const FEW_FILES: u64 = 1_024;
/// Files that the gateway needs for itself: listener, runtime, transcripts being read.
const OWN_FILES: u64 = 48;
/// More open files than this are not asked for; some systems allow a billion.
const MOST_FILES: u64 = 1 << 20;

/// Serves until a signal comes.
///
/// # Errors
/// Settings that cannot be used (exit code 2); an address that cannot be listened on, too few open files (exit code 1).
pub fn run(flags: ServeArgs) -> Result<ExitCode, Failure> {
    let (settings, notes) = config::load_with_notes(&Sources::of_process(flags.settings, flags.config))?;
    start_logging(&settings)?;
    let files = raise_file_limit()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(&settings, &notes, files));
    // Reading of standard input or a transcript may be blocked somewhere; the end does not wait for it.
    runtime.shutdown_background();
    ended
}

async fn serve(settings: &Settings, notes: &[String], files: u64) -> Result<ExitCode, Failure> {
    let mut stops = Stops::new()?;
    // Before anything else: until it is asked for, SIGHUP ends the process (AUTH-20).
    let hangups = signal(SignalKind::hangup())?;
    let credentials = Configured::read(settings)?;
    warn_of_older_grants(settings);
    let (accepted, authenticates) = (credentials.accepted.clone(), credentials.authenticates());
    let mut listeners = Vec::new();
    for listener in &settings.listen {
        let address = listener.listen().0;
        eventwire_hub::guard::check_bind(address, authenticates, settings.insecure)
            .map_err(|error| Failure::Usage(error.message.into_owned()))?;
        let bound = TcpListener::bind(address).await.map_err(|error| cannot_listen(address, &error))?;
        listeners.push(Listening { address: bound.local_addr()?, dialect: listener.dialect, listener: bound });
    }

    let (audit, audit_log) =
        audit::open(&settings.audit).map_err(|error| Failure::Usage(format!("audit {}: {error}", settings.audit)))?;
    let audit_log = Arc::new(audit_log);
    tokio::spawn(audit::summarize(audit.clone()));
    if audit_log.is_on() {
        tokio::spawn(audit::reopen_on_hangup(Arc::clone(&audit_log), signal(SignalKind::hangup())?));
    }

    let remembered = systems::Remembered::new(settings);
    let hub = hub(settings, accepted.clone(), authenticates, &remembered, audit)?;
    let login_keys = credentials.accepted.logins.clone();
    credentials.follow(&hub, hangups).await;
    let access = Access::of(settings, &accepted);
    let back_end = BackEnd::of(settings, &hub)?;
    let runs = Runs::of(settings)?;
    let mut systems = systems::all(settings, &hub, login_keys, &back_end.sink(), remembered, runs.root())?;
    let amiga = Amiga::new(
        hub.clone(),
        back_end.sink(),
        metrics_source::of(&hub, runs.root()),
        eventwire_systems::amiga::Settings::default(),
    );
    let socketio = socketio::server(&hub, &amiga);
    systems.mounted.push(Mounted::new(&hub, Arc::new(amiga)));
    let api = Api::new(hub.clone()).fallback(systems.fallback);
    let routes = metrics::mount(&hub, &back_end, back_end.mount(&hub, routes::all(&hub, runs.root(), api)));
    runs.follow(&hub).await?;

    let (stop, stopped) = watch::channel(false);
    let free = usize::try_from(files - OWN_FILES.min(files)).unwrap_or(usize::MAX);
    let places = free.saturating_sub(places::files_beside(free)).max(free / 2).min(settings.max_connections);
    if places < settings.max_connections {
        tracing::info!(
            max_connections = places,
            open_files = files,
            "the limit of open files allows fewer connections"
        );
    }
    let notes = [notes, &systems::notes(settings), &state_notes(settings)].concat();
    let block = StartBlock::new(&listeners, &access, &notes, &runs);
    let addresses: Vec<SocketAddr> = listeners.iter().map(|listening| listening.address).collect();
    let places = SocketPlaces::new(places, hub.clone());
    let proxies = Arc::new(proxies(settings));
    let mut serving = JoinSet::new();
    for Listening { dialect, listener, .. } in listeners {
        let socketio = match dialect {
            Dialect::Amiga => SocketIo::At(socketio::routes(&socketio)),
            Dialect::Canonical if settings.socketio => SocketIo::At(socketio::routes(&socketio)),
            Dialect::Canonical => SocketIo::Off,
            _ => SocketIo::None,
        };
        let site = Router { dialect, systems: systems.mounted.clone(), socketio, pages: pages(settings, dialect)? };
        let front = Arc::new(Pipeline::new(hub.clone(), Arc::clone(&routes), site).behind(Arc::clone(&proxies)));
        serving.spawn(server::serve(listener, front, places.clone(), server::Deadlines::default(), stopped.clone()));
    }
    if let Some(file) = &settings.port_file {
        write_port_file(file, &addresses)?;
    }
    block.write(settings.log_format);

    stops.first().await;
    tracing::info!(connections = hub.connection_count(), seconds = settings.drain_seconds, "stopping");
    let stopping = async {
        hub.drain(Duration::from_secs(settings.drain_seconds)).await;
        socketio.shut_down().await;
        let _ = stop.send(true);
        while serving.join_next().await.is_some() {}
    };
    let ended = tokio::select! {
        () = stopping => {
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        () = stops.second() => Err(Failure::Failed("stopped at once by a second signal".to_owned())),
    };
    audit::log_refusals(hub.audit());
    audit_log.finish().await;
    ended
}

/// A listener that is open.
struct Listening {
    address: SocketAddr,
    dialect: Dialect,
    listener: TcpListener,
}

/// What is said at the start about revocations, where there is something to revoke.
fn state_notes(settings: &Settings) -> Vec<String> {
    let logins = settings.product_lookup_url.is_some() || settings.product_jwt_key_file.is_some();
    let forgets = settings.state_file.is_none() && (settings.authenticates() || logins);
    let note = "revocations are kept in memory, and a restart forgets them: set state_file";
    forgets.then(|| note.to_owned()).into_iter().collect()
}

/// What is reached only because the settings are older than the grants that could confine it.
fn warn_of_older_grants(settings: &Settings) {
    if settings.jwt_key_file.is_some() && settings.jwt_grants == 1 {
        tracing::warn!(
            "a token that does not name users, browser_sessions or global reaches all of them: let your issuer name them and set \
             jwt_grants = 2"
        );
    }
    if settings.authenticates() && !settings.anonymous.is_empty() && settings.anonymous_scope.is_none() {
        tracing::warn!(
            "strangers may listen to every agent run, room and context: set anonymous_scope to what they should see"
        );
    }
}

/// Whose word about clients is taken. Where nothing keeps others out but the address, a proxy must not let them in (AUTH-24).
fn proxies(settings: &Settings) -> Proxies {
    let is_open = !settings.authenticates() && !settings.insecure;
    let others = if is_open { Others::LoopbackOnly } else { Others::Served };
    Proxies::new(settings.trusted_proxies.clone(), settings.proxy_protocol, others)
}

/// Whether only programs on this machine reach any of the listeners.
fn is_loopback(settings: &Settings) -> bool {
    settings.listen.iter().all(|listener| listener.listen().is_loopback())
}

/// The application's pages on the listeners of a dialect.
fn pages(settings: &Settings, dialect: Dialect) -> Result<Pages, Failure> {
    let of = |values: &[For]| {
        let found = values.iter().find(|value| value.dialect.is_none_or(|of| of == dialect));
        found.map(|value| value.value.clone())
    };
    match (of(&settings.pages), of(&settings.upstream)) {
        (Some(_), Some(_)) => Err(Failure::Usage(format!(
            "static and upstream are both set for the listener of {}; one of them has the pages",
            dialect.as_str()
        ))),
        (Some(directory), None) => {
            let directory = Path::new(&directory);
            if !directory.is_dir() {
                return Err(Failure::Usage(format!("static: {} is not a directory", directory.display())));
            }
            Ok(Pages::Directory(Box::new(Directory::new(directory))))
        }
        (None, Some(url)) => Upstream::new(&url)
            .map(|upstream| Pages::Upstream(Box::new(upstream)))
            .ok_or_else(|| Failure::Usage(format!("upstream: {url:?} is not the address of an HTTP server"))),
        (None, None) => Ok(Pages::None),
    }
}

fn hub(
    settings: &Settings,
    accepted: Accepted,
    authenticates: bool,
    remembered: &systems::Remembered,
    audit: Audit,
) -> Result<Hub, Failure> {
    let bounds = |events, bytes: config::ByteSize, seconds| StreamBounds {
        events,
        bytes: bytes.as_usize(),
        age: Duration::from_secs(seconds),
    };
    let mut builder = remembered.taps().into_iter().fold(Hub::builder().audit(audit), |builder, tap| builder.tap(tap));
    if let Some(file) = &settings.session_secret_file {
        builder = builder.session_key(read_session_secret(file)?);
    }
    if let Some(file) = &settings.state_file {
        let (state, entries) = StateFile::open(file).map_err(Failure::Usage)?;
        tracing::info!(entries = entries.len(), "the state file was read");
        builder = builder.state(state, entries);
    }
    let builder = builder
        .settings(HubSettings {
            mailbox: MailboxBounds { frames: settings.mailbox_frames, bytes: settings.mailbox_bytes.as_usize() },
            heartbeat: Duration::from_secs(settings.heartbeat_seconds),
            ping: Duration::from_secs(settings.ping_seconds),
            guard: Guard {
                allowed_hosts: settings.allowed_hosts.clone(),
                allowed_origins: settings.allowed_origins.clone(),
            },
            max_connections: settings.max_connections,
            anonymous: settings.anonymous.iter().filter_map(|name| config::open_dialect(name)).collect(),
            anonymous_scope: public_scope(settings)?,
            product_users: settings.product_users.map(Into::into).unwrap_or_default(),
            expiry_grace: Duration::from_secs(settings.jwt_leeway_seconds),
            max_token_age: Duration::from_secs(settings.jwt_max_seconds),
            require_issued_at: settings.jwt_require_iat,
            unfinished_bytes: settings.unfinished_bytes.0,
            work: WorkBounds::for_processors(settings.work_per_second, eventwire_hub::processors()),
            subscription_bytes: settings.subscription_bytes.as_usize(),
        })
        .memory_bounds(MemoryBounds {
            adw: bounds(settings.history_adw_events, settings.history_adw_bytes, settings.history_adw_seconds),
            other: bounds(settings.history_events, settings.history_bytes, settings.history_seconds),
            realm_bytes: settings.history_realm_bytes.as_usize(),
            latest_bytes: settings.latest_bytes.as_usize(),
            idempotency_bytes: settings.idempotency_bytes.as_usize(),
            checkpoint_bytes: settings.checkpoint_bytes.as_usize(),
            ..MemoryBounds::default()
        });
    if authenticates {
        return Ok(builder.authenticator(accepted).build());
    }
    let grants = match is_loopback(settings) {
        true if settings.trusted_proxies.is_empty() => NoAuthentication::loopback(),
        true => NoAuthentication::by_address(),
        false => NoAuthentication::insecure(),
    };
    Ok(builder.authenticator(OpenGateway { grants, logins: accepted.logins }).build())
}

/// What strangers may listen to.
fn public_scope(settings: &Settings) -> Result<Option<Arc<PublicScope>>, Failure> {
    let scope = settings.anonymous_scope.as_deref().map(public::read).transpose();
    scope.map(|scope| scope.map(Arc::new)).map_err(|what| Failure::Usage(format!("anonymous_scope: {what}")))
}

fn read_session_secret(file: &Path) -> Result<SessionKey, Failure> {
    let wrong =
        |what: &dyn std::fmt::Display| Failure::Usage(format!("session_secret_file {}: {what}", file.display()));
    let text = credential_file::read(file, Holds::Secret)
        .map_err(|error| Failure::Usage(format!("session_secret_file {error}")))?;
    SessionKey::of_secret(&Secret::new(text.trim())).map_err(|error| wrong(&error.message))
}

/// Who may do what, as it is told at the start.
enum Access {
    Credentials {
        keys: Option<usize>,
        token_keys: Option<usize>,
    },
    Machine {
        proxied: bool,
    },
    /// Trusted proxies let clients of other machines in.
    Proxies,
    All,
}

impl Access {
    fn of(settings: &Settings, accepted: &Accepted) -> Self {
        let keys = accepted.keys.as_ref().map(|keys| keys.len());
        match accepted.tokens.as_ref().map(|tokens| tokens.key_count()) {
            token_keys if keys.is_some() || token_keys.is_some() => Self::Credentials { keys, token_keys },
            _ if !is_loopback(settings) => Self::All,
            _ if !settings.trusted_proxies.is_empty() => Self::Proxies,
            _ => Self::Machine { proxied: !settings.allowed_hosts.is_empty() },
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Credentials { keys, token_keys } => {
                let keys = keys.map(|count| counted(count, "API key"));
                let tokens = token_keys.map(|count| match count {
                    0 => "tokens (JWT), whose keys could not be read yet from jwt_jwks_url".to_owned(),
                    count => format!("tokens (JWT) of {}", counted(count, "key")),
                });
                keys.into_iter().chain(tokens).collect::<Vec<_>>().join(", and ")
            }
            Self::Machine { proxied: false } => {
                "all who reach this port, also through a proxy, may do everything (no api_keys_file)".to_owned()
            }
            Self::Machine { proxied: true } => {
                "all who reach this port, also through a proxy, may do everything (allowed_hosts without api_keys_file)"
                    .to_owned()
            }
            Self::Proxies => {
                "INSECURE: all whom trusted_proxies let through may publish and subscribe (no api_keys_file)".to_owned()
            }
            Self::All => "INSECURE: all who reach this address may publish and subscribe".to_owned(),
        }
    }

    fn is_risky(&self) -> bool {
        matches!(self, Self::All | Self::Proxies | Self::Machine { proxied: true })
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("one {what}") } else { format!("{count} {what}s") }
}

/// Where agent runs come from.
enum Runs {
    Watched { root: PathBuf, mode: Mode },
    Sample { unpacked: sample::Unpacked, speed: Speed },
    Nowhere,
}

impl Runs {
    fn of(settings: &Settings) -> Result<Self, Failure> {
        let wrong = |error: &dyn std::fmt::Display| Failure::Usage(format!("replay: {error}"));
        let speed =
            settings.replay.map(|speed| Speed::new(speed.factor())).transpose().map_err(|error| wrong(&error))?;
        match &settings.agents {
            Some(root) if root.exists() && !root.is_dir() => {
                Err(Failure::Usage(format!("agents: {} is not a directory", root.display())))
            }
            Some(root) => {
                let mode = match speed {
                    Some(speed) => Mode::Replay(speed),
                    None if settings.from_start => Mode::FromStart,
                    None => Mode::Tail,
                };
                Ok(Self::Watched { root: root.clone(), mode })
            }
            None if settings.no_sample => Ok(Self::Nowhere),
            None => match sample::unpack() {
                Ok(unpacked) => Ok(Self::Sample { unpacked, speed: speed.unwrap_or(Speed::LIFE) }),
                Err(error) => {
                    tracing::warn!(%error, "the sample run cannot be unpacked; going on without it");
                    Ok(Self::Nowhere)
                }
            },
        }
    }

    fn root(&self) -> Option<&Path> {
        match self {
            Self::Watched { root, .. } => Some(root),
            Self::Sample { unpacked, .. } => Some(unpacked.root()),
            Self::Nowhere => None,
        }
    }

    /// Begins to read. The reading ends with the process.
    async fn follow(&self, hub: &Hub) -> Result<(), Failure> {
        let (Some(root), mode) = (self.root(), self.mode()) else { return Ok(()) };
        let sink = HubSink::new(hub.clone()).await.map_err(|error| Failure::Failed(error.to_string()))?;
        let (source, sink) = (AgentsSource::new(root), Arc::new(sink));
        let watched = matches!(self, Self::Watched { .. });
        tokio::spawn(async move {
            let mut ended = source.clone().mode(mode).run(Arc::clone(&sink)).await;
            if ended.is_ok() && watched && matches!(mode, Mode::Replay(_)) {
                // The past is told; what comes is told as it comes.
                ended = source.mode(Mode::Tail).run(sink).await;
            }
            if let Err(error) = ended {
                tracing::error!(%error, "agent runs are no longer followed");
            }
        });
        Ok(())
    }

    fn mode(&self) -> Mode {
        match self {
            Self::Watched { mode, .. } => *mode,
            Self::Sample { speed, .. } => Mode::Replay(*speed),
            Self::Nowhere => Mode::Tail,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Watched { root, mode } => {
                let how = match mode {
                    Mode::Tail => "what comes from now on".to_owned(),
                    Mode::FromStart => "from the start".to_owned(),
                    Mode::Replay(speed) => format!("replayed at speed {speed}"),
                };
                let there = if root.is_dir() { "" } else { ", waiting for it to appear" };
                format!("{} ({how}{there}){}", root.display(), not_runs(root))
            }
            Self::Sample { .. } => format!("the sample run {} (set agents to watch your own)", sample::ADW_ID),
            Self::Nowhere => "none (set agents to watch a directory)".to_owned(),
        }
    }
}

/// Most names of directories that are shown.
const MAX_SHOWN_NAMES: usize = 3;

/// What is said of directories in an agents root whose names are no ids of runs, so that they are not read.
fn not_runs(root: &Path) -> String {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let names = directories.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut others: Vec<String> =
        names.filter(|name| !name.starts_with('.') && name.parse::<AdwId>().is_err()).collect();
    others.sort();
    let shown: Vec<String> = others.iter().take(MAX_SHOWN_NAMES).map(|name| format!("{name:?}")).collect();
    let more = others.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    match shown.as_slice() {
        [] => String::new(),
        shown => format!(
            "; not read: {}{more}: the directory of a run (ADW) is named with exactly 8 ASCII letters and digits",
            shown.join(", ")
        ),
    }
}

/// What an operator reads first: where the gateway listens, who may do what, and what needs attention.
struct StartBlock {
    rows: Vec<(&'static str, String)>,
    /// The row that is a warning, where access is risky.
    risky: bool,
}

impl StartBlock {
    fn new(listeners: &[Listening], access: &Access, notes: &[String], runs: &Runs) -> Self {
        let mut rows: Vec<(&'static str, String)> = Vec::new();
        for listening in listeners {
            let name = if listening.dialect == Dialect::Canonical { "open" } else { listening.dialect.as_str() };
            rows.push((name, format!("http://{}/", reachable(listening.address))));
        }
        rows.push((ACCESS, access.text()));
        rows.extend(notes.iter().map(|note| ("note", note.clone())));
        rows.push(("agents", runs.text()));
        Self { rows, risky: access.is_risky() }
    }

    /// Writes the block to standard error: for people, or as log lines where those are JSON.
    fn write(&self, format: LogFormat) {
        match format {
            LogFormat::Text => {
                let _ = io::stderr().write_all(self.text(Pen::new(colored(&io::stderr()))).as_bytes());
            }
            LogFormat::Json => {
                for (name, text) in &self.rows {
                    if *name == ACCESS && self.risky {
                        tracing::warn!(start = *name, version = env!("CARGO_PKG_VERSION"), "{text}");
                    } else {
                        tracing::info!(start = *name, version = env!("CARGO_PKG_VERSION"), "{text}");
                    }
                }
            }
        }
    }

    fn text(&self, pen: Pen) -> String {
        let width = self.rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default().max(8);
        let mut block = pen.paint(Color::Bold, concat!("eventwire ", env!("CARGO_PKG_VERSION"))) + "\n";
        for (name, text) in &self.rows {
            let text = match *name {
                ACCESS if self.risky => pen.paint(Color::Yellow, text),
                _ if text.starts_with("http://") => pen.paint(Color::Cyan, text),
                _ => text.clone(),
            };
            let _ = writeln!(block, "  {name:<width$} {text}");
        }
        block
    }
}

/// The row of the start block that says who may do what.
const ACCESS: &str = "access";

/// The address to open: nobody can open 0.0.0.0, though everything is listened on.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        other => other.ip(),
    };
    SocketAddr::new(ip, address.port())
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failure {
    let what = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there, perhaps another gateway: stop it, or choose another with --listen"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address: choose another with --listen".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "the system does not allow it: choose a port from 1024 on with --listen".to_owned()
        }
        _ => error.to_string(),
    };
    Failure::Failed(format!("cannot listen on {address}: {what}"))
}

/// Written beside and renamed: whoever waits for the file never reads half of it.
fn write_port_file(file: &Path, addresses: &[SocketAddr]) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Failed(format!("port_file {}: {error}", file.display()));
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let lines: String = addresses.iter().map(|address| format!("{address}\n")).collect();
    std::fs::write(&beside, lines).map_err(failed)?;
    std::fs::rename(&beside, file).map_err(failed)
}

/// Raises the limit of open files as far as the system lets us, and says what it is.
fn raise_file_limit() -> Result<u64, Failure> {
    let files = rlimit::increase_nofile_limit(MOST_FILES)?;
    if files < FEWEST_FILES {
        return Err(Failure::Failed(format!(
            "this process may open {files} files, and at least {FEWEST_FILES} are needed: raise the limit (ulimit -n, LimitNOFILE)"
        )));
    }
    if files < FEW_FILES {
        tracing::warn!(
            open_files = files,
            "few connections are possible: raise the limit of open files (ulimit -n, LimitNOFILE)"
        );
    }
    Ok(files)
}

fn start_logging(settings: &Settings) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&settings.log).map_err(|error| {
        Failure::Usage(format!("log = {:?}: {}", settings.log, config::one_line(&error.to_string())))
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match settings.log_format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(colored(&io::stderr())).with_target(io::stderr().is_terminal()).try_init(),
    };
    started.map_err(|error| Failure::Failed(error.to_string()))
}

/// The signals that end the process.
struct Stops {
    terminate: Signal,
    interrupt: Signal,
}

impl Stops {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn first(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    async fn second(&mut self) {
        self.first().await;
    }
}
