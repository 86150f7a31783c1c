//! Where settings come from, which place wins, and what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

use std::path::{Path, PathBuf};

use clap::FromArgMatches as _;
use eventwire_gateway::cli::{Cli, Command};
use eventwire_gateway::config::{self, Layer, Settings, Sources};

/// A directory with an `eventwire.toml` of this text.
fn directory(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(config::DEFAULT_FILE), text).unwrap();
    directory
}

fn flags(line: &str) -> Layer {
    let arguments = ["eventwire", "serve"].into_iter().chain(line.split_whitespace());
    let matches = eventwire_gateway::cli::command().try_get_matches_from(arguments).unwrap();
    match Cli::from_arg_matches(&matches).unwrap().command {
        Command::Serve(arguments) => arguments.settings,
        other => panic!("{other:?}"),
    }
}

fn sources(line: &str, environment: &[(&str, &str)], directory: &Path) -> Sources {
    Sources {
        flags: flags(line),
        file: None,
        environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        directory: directory.to_owned(),
    }
}

fn load(line: &str, environment: &[(&str, &str)], file: &str) -> Result<Settings, String> {
    let directory = directory(file);
    let told = config::load(&sources(line, environment, directory.path())).map_err(|error| error.to_string());
    told.map_err(|told| told.replace(&format!("{}/", directory.path().display()), ""))
}

#[test]
fn nothing_said_means_the_defaults() {
    let nowhere = tempfile::tempdir().unwrap();
    assert_eq!(config::load(&sources("", &[], nowhere.path())).unwrap(), Settings::default());
    assert_eq!(load("", &[], "").unwrap(), Settings::default());
    assert_eq!(Settings::default().listen[0].to_string(), "127.0.0.1:4800");
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let file = "heartbeat_seconds = 11\nping_seconds = 11\ndrain_seconds = 11";
    let environment = [("EVENTWIRE_HEARTBEAT_SECONDS", "22"), ("EVENTWIRE_PING_SECONDS", "22")];
    let settings = load("--heartbeat-seconds 33", &environment, file).unwrap();
    assert_eq!((settings.heartbeat_seconds, settings.ping_seconds, settings.drain_seconds), (33, 22, 11));
    assert_eq!(settings.history_seconds, Settings::default().history_seconds);
}

#[test]
fn every_setting_is_read_from_all_three_places() {
    let written = |key: &str| match key {
        "listen" => "127.0.0.2:81=monadic",
        "static" => "monadic=/some/where",
        "upstream" | "commands_webhook" | "product_lookup_url" | "context_query_url" | "jwt_jwks_url" => {
            "http://localhost:5000"
        }
        "context_times" => "iso",
        "product_jwt_issuer"
        | "product_jwt_audience"
        | "product_cookie"
        | "jwt_issuer"
        | "jwt_audience"
        | "jwt_claim" => "of-my-own",
        "jwt_leeway_seconds" => "33",
        "port_file"
        | "agents"
        | "api_keys_file"
        | "jwt_key_file"
        | "session_secret_file"
        | "state_file"
        | "product_jwt_key_file"
        | "commands_secret_file"
        | "commands_ca_file"
        | "audit" => "/some/where",
        "from_start" | "no_sample" | "insecure" | "proxy_protocol" => "true",
        "trusted_proxies" => "10.0.0.7,fd00::/8",
        "progress_enabled" | "socketio" | "jwt_require_iat" => "false",
        // The other value is refused beside api_keys_file.
        "single_user" => "false",
        "replay" => "2.5",
        "allowed_hosts" => "a.example,[::2]",
        "allowed_origins" => "https://a.example,https://b.example",
        "anonymous" => "monadic,adw",
        "anonymous_scope" => "adw:29fb6a3e,room:*",
        "jwt_grants" => "2",
        "product_users" => "separate",
        "log" => "debug",
        "log_format" => "json",
        "unfinished_bytes" => "48 MiB",
        "subscription_bytes" => "32 MiB",
        "checkpoint_bytes" => "8 MiB",
        key if key.ends_with("_bytes") => "3 MiB",
        _ => "77",
    };
    let mut environment = Vec::new();
    let mut file = String::new();
    let mut arguments = Vec::new();
    for setting in config::describe() {
        let value = written(&setting.key);
        environment.push((format!("EVENTWIRE_{}", setting.key.to_ascii_uppercase()), value));
        arguments.push(format!("--{}={}", setting.key.replace('_', "-"), value.replace(' ', "")));
        let is_list = ["allowed_", "anonymous", "trusted_proxies"].iter().any(|start| setting.key.starts_with(start));
        let quoted = value.split(',').map(|value| format!("{value:?}")).collect::<Vec<_>>().join(", ");
        let bare = ["true", "false"].contains(&value) || value.parse::<f64>().is_ok();
        let value = if is_list {
            format!("[{quoted}]")
        } else if bare {
            value.to_owned()
        } else {
            quoted
        };
        file.push_str(&format!("{} = {value}\n", setting.key));
    }
    let environment = environment.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>();
    let from_environment = load("", &environment, "").unwrap();
    assert_eq!(load("", &[], &file).unwrap(), from_environment);
    assert_eq!(load(&arguments.join(" "), &[], "").unwrap(), from_environment);

    let values = |settings: &Settings| serde_json::to_value(settings).unwrap();
    let (said, default) = (values(&from_environment), values(&Settings::default()));
    let said = said.as_object().unwrap();
    assert_eq!(said.len(), config::describe().len(), "Layer and Settings have different fields");
    for (key, value) in said {
        assert!(key == "single_user" || Some(value) != default.get(key), "{key} stayed at its default");
    }
}

#[test]
fn an_unknown_name_in_the_file_is_refused_with_its_line_and_the_nearest_one() {
    for (file, expected) in [
        (
            "\nlisten = 1\nheartbeat_second = 3",
            "eventwire.toml:3: heartbeat_second is not a setting; did you mean heartbeat_seconds?",
        ),
        ("port = 80", "eventwire.toml:1: port is not a setting; did you mean listen?"),
        ("Listen = 80", "eventwire.toml:1: Listen is not a setting; did you mean listen?"),
        ("[server]\nlisten = 80", "eventwire.toml:1: server is not a setting; `eventwire serve --help` lists them"),
    ] {
        assert_eq!(load("", &[], file).unwrap_err(), expected);
    }
}

#[test]
fn an_unknown_name_in_the_environment_is_refused_with_the_nearest_one() {
    for (name, expected) in [
        ("EVENTWIRE_LISTN", "environment: EVENTWIRE_LISTN is not a setting; did you mean EVENTWIRE_LISTEN?"),
        ("EVENTWIRE_PORT", "environment: EVENTWIRE_PORT is not a setting; did you mean EVENTWIRE_LISTEN?"),
        ("EVENTWIRE_listen", "environment: EVENTWIRE_listen is not a setting; did you mean EVENTWIRE_LISTEN?"),
        // Near to no setting, and about access: a gateway without it may be open.
        (
            "EVENTWIRE_JWT_KEY_FIL",
            "environment: EVENTWIRE_JWT_KEY_FIL is not a setting; did you mean EVENTWIRE_JWT_KEY_FILE?",
        ),
        (
            "EVENTWIRE_QQQQQ_AUTH",
            "environment: EVENTWIRE_QQQQQ_AUTH is not a setting; `eventwire serve --help` lists them",
        ),
    ] {
        assert_eq!(load("", &[(name, "81")], "").unwrap_err(), expected);
    }
}

#[test]
fn a_variable_that_is_near_to_no_setting_is_ignored_with_a_note() {
    let named = |name: &str| Sources { environment: vec![(name.into(), "1.2".into())], ..Sources::default() };
    for name in ["EVENTWIRE_VERSION", "EVENTWIRE_QQQ", "EVENTWIRE_IMAGE_SHA256"] {
        let (settings, notes) = config::load_with_notes(&named(name)).unwrap();
        assert_eq!(settings, Settings::default());
        assert_eq!(notes, [format!("{name} is in the environment and is not a setting; it is ignored")]);
    }
}

#[test]
fn a_log_level_that_is_none_is_refused_with_the_one_that_is_meant() {
    for (log, expected) in [
        ("warning", "did you mean warn?"),
        ("verbose", "did you mean debug?"),
        ("info,eventwire_hub=loud", "\"loud\" of eventwire_hub is not a level"),
    ] {
        let error = load(&format!("--log {log}"), &[], "").unwrap_err();
        assert!(error.contains(expected) && error.contains("there are off, error, warn"), "{error}");
    }
    for log in ["INFO", "off", "info,eventwire_hub=debug", "warn, tower=trace"] {
        assert!(load("", &[("EVENTWIRE_LOG", log)], "").is_ok(), "{log}");
    }
}

#[test]
fn variables_that_are_not_settings_are_left_alone() {
    let environment = [
        ("EVENTWIRE_URL", "http://127.0.0.1:1"),
        ("EVENTWIRE_TOKEN", "ew_x"),
        ("EVENTWIRE_SHARED", "/somewhere"),
        ("EVENTWIRE_LONG", "1"),
        ("EVENTWIRELISTEN", "1"),
        ("PATH", "/bin"),
        // Kubernetes, beside a Service called eventwire or eventwire-gateway.
        ("EVENTWIRE_SERVICE_HOST", "10.0.0.1"),
        ("EVENTWIRE_SERVICE_PORT", "80"),
        ("EVENTWIRE_SERVICE_PORT_HTTP", "80"),
        ("EVENTWIRE_PORT", "tcp://10.0.0.1:80"),
        ("EVENTWIRE_PORT_80_TCP_PROTO", "tcp"),
        ("EVENTWIRE_GATEWAY_SERVICE_HOST", "10.0.0.1"),
        ("EVENTWIRE_GATEWAY_PORT_80_TCP", "tcp://10.0.0.1:80"),
    ];
    assert_eq!(load("", &environment, "").unwrap(), Settings::default());
}

#[test]
fn an_empty_variable_counts_as_absent() {
    let settings = load("", &[("EVENTWIRE_LISTEN", ""), ("EVENTWIRE_AGENTS", "")], "listen = 81").unwrap();
    assert_eq!(settings.listen[0].to_string(), "127.0.0.1:81");
    assert_eq!(settings.agents, None);
}

#[test]
fn a_value_that_cannot_be_read_is_told_with_its_place() {
    for (environment, file, expected) in [
        (
            vec![("EVENTWIRE_PING_SECONDS", "soon")],
            "",
            "environment: EVENTWIRE_PING_SECONDS: invalid value 'soon': invalid digit",
        ),
        (
            vec![("EVENTWIRE_LISTEN", "example.org:80")],
            "",
            "environment: EVENTWIRE_LISTEN: invalid value 'example.org:80': expected an IP",
        ),
        (
            vec![("EVENTWIRE_LOG_FORMAT", "xml")],
            "",
            "environment: EVENTWIRE_LOG_FORMAT: invalid value 'xml' [possible values: text, json]",
        ),
        (vec![("EVENTWIRE_FROM_START", "maybe")], "", "environment: EVENTWIRE_FROM_START: invalid value 'maybe'"),
        (
            vec![],
            "listen = 1\nping_seconds = \"soon\"",
            "eventwire.toml:2: ping_seconds: invalid type: string \"soon\", expected u64",
        ),
        (vec![], "mailbox_bytes = -1", "eventwire.toml:1: mailbox_bytes: expected a number of bytes"),
        (vec![], "history_bytes = \"lots\"", "eventwire.toml:1: history_bytes: expected a number of bytes"),
        (vec![], "replay = 0.0", "eventwire.toml:1: replay: expected a speed between 0.01 and 1000"),
        (vec![], "log_format = \"xml\"", "eventwire.toml:1: log_format: unknown variant `xml`"),
        (vec![], "listen = 1\n\nlisten = 2", "eventwire.toml:3: not TOML: duplicate key"),
        (vec![], "listen = ", "eventwire.toml:1: not TOML: "),
    ] {
        let told = load("", &environment, file).unwrap_err();
        assert!(told.starts_with(expected) && !told.contains('\n'), "expected {expected}\n    told {told}");
    }
}

#[test]
fn values_out_of_bounds_and_contradictions_are_refused() {
    for (line, expected) in [
        ("--heartbeat-seconds 0", "heartbeat_seconds = 0: must lie between 1 and 86400"),
        ("--mailbox-frames 0", "mailbox_frames = 0: at least 1"),
        ("--unfinished-bytes 16MiB", "unfinished_bytes = 16 MiB: must be at least 20 MiB"),
        ("--work-per-second 15", "work_per_second = 15: must be at least 16"),
        ("--subscription-bytes 1KiB", "subscription_bytes = 1 KiB: must be at least 1 MiB"),
        ("--checkpoint-bytes 1KiB", "checkpoint_bytes = 1 KiB: must be at least 64 KiB"),
        ("--mailbox-bytes 10kB", "mailbox_bytes = 10000: must be at least 64 KiB"),
        ("--allowed-hosts b.example:8080", "allowed_hosts: \"b.example:8080\" is not a host name"),
        ("--allowed-hosts https://b.example", "allowed_hosts: \"https://b.example\" is not a host name"),
        ("--allowed-origins null", "allowed_origins: \"null\" is not an origin"),
        ("--allowed-origins https://a.example/", "allowed_origins: \"https://a.example/\" is not an origin"),
        ("--allowed-origins a.example", "allowed_origins: \"a.example\" is not an origin"),
        ("--from-start", "from_start is set without agents"),
        ("--proxy-protocol", "proxy_protocol is set without trusted_proxies"),
        ("--allowed-origins http://a.example/.localhost", "allowed_origins: \"http://a.example/.localhost\" is not"),
        ("--jwt-leeway-seconds 61", "jwt_leeway_seconds = 61: must lie between 0 and 60"),
        ("--jwt-max-seconds 59", "jwt_max_seconds = 59: must lie between 60 and"),
        (
            "--jwt-issuer me",
            "jwt_issuer and jwt_audience say something of tokens, and neither jwt_key_file nor jwt_jwks_url is set",
        ),
    ] {
        let told = load(line, &[], "").unwrap_err();
        assert!(told.starts_with(expected), "expected {expected}\n    told {told}");
    }
}

#[test]
fn a_named_file_is_read_instead_and_must_be_there() {
    let other = tempfile::tempdir().unwrap();
    let path = other.path().join("other.toml");
    std::fs::write(&path, "listen = 82\nagents = \"runs\"").unwrap();
    let here = directory("listen = 81");

    let mut named = sources("", &[], here.path());
    named.file = Some(path.clone());
    let settings = config::load(&named).unwrap();
    assert_eq!(settings.listen[0].to_string(), "127.0.0.1:82");
    assert_eq!(settings.agents, Some(other.path().join("runs")), "a path in a file is relative to the file");

    let by_variable = sources("", &[("EVENTWIRE_CONFIG", path.to_str().unwrap())], here.path());
    assert_eq!(config::load(&by_variable).unwrap().listen[0].to_string(), "127.0.0.1:82");

    named.file = Some(PathBuf::from("/does/not/exist.toml"));
    let told = config::load(&named).unwrap_err().to_string();
    assert!(told.starts_with("/does/not/exist.toml: cannot be read: "), "{told}");
}

#[test]
fn the_reference_says_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/configuration.md");
    let generated = eventwire_gateway::reference::configuration();
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &generated).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == generated,
        "docs/reference/configuration.md is stale: run `BLESS=1 cargo test -p eventwire-gateway --test configuration` and commit it"
    );
}

#[test]
fn variables_of_the_older_systems_are_honored_or_explained() {
    let load = |line: &str, environment: &[(&str, &str)]| {
        let nowhere = tempfile::tempdir().unwrap();
        config::load_with_notes(&sources(line, environment, nowhere.path())).map_err(|error| error.to_string())
    };
    let monitoring = [("MONITORING_HOST", "127.0.0.2"), ("MONITORING_PORT", "3100"), ("FLASK_SECRET_KEY", "hush")];
    let (settings, notes) = load("--listen 0 --listen amiga", &monitoring).unwrap();
    assert_eq!(settings.listen[1].to_string(), "127.0.0.2:3100=amiga");
    assert_eq!(notes.len(), 3);
    assert!(notes[2].starts_with("FLASK_SECRET_KEY signs nothing here") && !notes[2].contains("hush"), "{notes:?}");
    // An address in our own words wins, and a person is told.
    let (settings, notes) = load("--listen 3000=amiga", &monitoring).unwrap();
    assert_eq!(settings.listen[0].to_string(), "127.0.0.1:3000=amiga");
    assert!(notes[0].contains("MONITORING_HOST is not used: --listen says where"), "{notes:?}");
    // Variables of a system that nobody listens for are somebody else's.
    assert_eq!(load("--listen 0", &monitoring).unwrap().1, [""; 0]);

    let one = |line: &str, name: &str, value: &str| load(line, &[(name, value)]).unwrap().0;
    assert!(!one("--listen monadic", "WEBSOCKET_PROGRESS_ENABLED", "false").progress_enabled);
    assert!(one("--listen monadic", "WEBSOCKET_PROGRESS_ENABLED", "0").progress_enabled, "only false turns it off");
    assert!(one("--listen monadic --progress-enabled", "WEBSOCKET_PROGRESS_ENABLED", "false").progress_enabled);
    assert_eq!(one("--listen monadic", "EXTRA_LOGGING", "true").log, "debug");
    assert_eq!(one("--listen shared_context", "LOG_LEVEL", "WARNING").log, "warn");
    assert_eq!(one("--listen shared_context --log error", "LOG_LEVEL", "DEBUG").log, "error");
    assert_eq!(one("--listen amiga", "CORS_ORIGINS", "https://a.example").allowed_origins, ["https://a.example"]);
    assert_eq!(one("--listen adw", "BACKEND_PORT", "9200").listen[0].to_string(), "127.0.0.1:9200=adw");
    assert_eq!(one("--listen adw_trigger", "WEBSOCKET_PORT", "").listen[0].to_string(), "adw_trigger");

    let told = load("--listen amiga", &[("MONITORING_PORT", "many")]).unwrap_err();
    assert_eq!(told, "environment: MONITORING_PORT: expected a port");
    assert!(load("--listen shared_context", &[("LOG_LEVEL", "loud")]).is_err());
}

#[test]
fn anonymous_names_dialects_whose_pages_have_no_place_for_a_key() {
    assert_eq!(load("--anonymous monadic,adw_trigger", &[], "").unwrap().anonymous, ["monadic", "adw_trigger"]);
    for name in ["product", "canonical", "amigo"] {
        let told = load(&format!("--anonymous {name}"), &[], "").unwrap_err();
        assert!(told.contains("is none of monadic, amiga"), "{told}");
    }
}

#[test]
fn two_listeners_do_not_share_an_address() {
    assert!(load("--listen 0 --listen 0=adw", &[], "").is_ok());
    let told = load("--listen 81 --listen 81=adw", &[], "").unwrap_err();
    assert_eq!(told, "listen: 127.0.0.1:81 stands twice; each listener needs an address of its own");
    // One variable of two older systems.
    let told = load("--listen shared_context --listen adw_trigger", &[("WEBSOCKET_PORT", "9000")], "").unwrap_err();
    assert!(told.contains("127.0.0.1:9000 stands twice"), "{told}");
}

#[test]
fn single_user_is_for_one_person_on_one_machine() {
    assert!(load("--single-user --listen monadic", &[], "").unwrap().single_user);
    for line in ["--single-user --listen 0.0.0.0:1=monadic --insecure", "--single-user --api-keys-file keys.toml"] {
        assert!(load(line, &[], "").unwrap_err().contains("single_user is for one person"), "{line}");
    }
}
