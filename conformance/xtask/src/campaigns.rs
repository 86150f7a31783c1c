//! What is tried at random, and how often: little for every change, much by `cargo xtask long`.

/// A block of property tests whose number of cases is set in its source.
pub(crate) struct Campaign {
    pub(crate) package: &'static str,
    /// Which tests of the package, as `cargo test` is told.
    pub(crate) arguments: &'static [&'static str],
    /// The file with the block, from the top of the checkout.
    pub(crate) source: &'static str,
    pub(crate) what: &'static str,
    /// Cases per property when nothing else is asked for.
    pub(crate) usual: u32,
    /// What a case costs compared with the others: cheap ones get more cases in a long run.
    cost: Cost,
}

enum Cost {
    Cheap,
    Usual,
    /// Megabytes in each case.
    Dear,
}

impl Campaign {
    const fn new(
        package: &'static str,
        arguments: &'static [&'static str],
        source: &'static str,
        usual: u32,
        cost: Cost,
        what: &'static str,
    ) -> Self {
        Self { package, arguments, source, what, usual, cost }
    }

    /// Its cases per property in a long run with this many for the usual one.
    pub(crate) fn cases(&self, base: u32) -> u32 {
        match self.cost {
            Cost::Cheap => base.saturating_mul(5),
            Cost::Usual => base,
            Cost::Dear => base / 20,
        }
        .max(1)
    }
}

/// Every block of properties in the workspace; a test compares the table with the sources.
pub(crate) const PROPERTIES: &[Campaign] = &[
    Campaign::new(
        "eventwire-protocol",
        &["--test", "adw_adopted"],
        "protocol/tests/adw_adopted.rs",
        1024,
        Cost::Cheap,
        "hostile paths and frames of the kanban's producers",
    ),
    Campaign::new(
        "eventwire-protocol",
        &["--test", "product"],
        "protocol/tests/product.rs",
        1024,
        Cost::Cheap,
        "frames of Product Demo, there and back",
    ),
    Campaign::new(
        "eventwire-protocol",
        &["--test", "shared_context_events"],
        "protocol/tests/shared_context_events.rs",
        256,
        Cost::Cheap,
        "messages of contexts, there and back, and who may see them",
    ),
    Campaign::new(
        "eventwire-protocol",
        &["--test", "hostile_dialects"],
        "protocol/tests/hostile_dialects.rs",
        256,
        Cost::Cheap,
        "spoilt commands and events of the older systems",
    ),
    Campaign::new(
        "eventwire-commands",
        &["--test", "queue_laws"],
        "transports/commands/tests/queue_laws.rs",
        1_000,
        Cost::Usual,
        "the queue of commands, against a naive one",
    ),
    Campaign::new(
        "eventwire-commands",
        &["--lib", "lines::"],
        "transports/commands/src/lines.rs",
        500,
        Cost::Usual,
        "what goes to a webhook and what a cancellation names, against a list",
    ),
    Campaign::new(
        "eventwire-systems",
        &["--test", "monadic_conversation"],
        "transports/systems/tests/monadic_conversation.rs",
        256,
        Cost::Usual,
        "what is kept of a conversation, against a list",
    ),
    Campaign::new(
        "eventwire-systems",
        &["--test", "shared_context_store"],
        "transports/systems/tests/shared_context_store.rs",
        256,
        Cost::Usual,
        "messages since an id, against the whole history",
    ),
    Campaign::new(
        "eventwire-schemas",
        &["--test", "diff"],
        "schemas/tests/diff.rs",
        256,
        Cost::Usual,
        "what diff calls safe is never refused by an independent validator",
    ),
    Campaign::new(
        "eventwire-schemas",
        &["--test", "flavors"],
        "schemas/tests/flavors.rs",
        4,
        Cost::Usual,
        "flavors of the schemas agree with what they are made of",
    ),
    Campaign::new(
        "eventwire-schemas",
        &["--test", "instances"],
        "schemas/tests/instances.rs",
        16,
        Cost::Usual,
        "generated values, for the schemas and the decoder alike",
    ),
    Campaign::new(
        "eventwire-memory",
        &["--test", "dialects"],
        "transports/memory/tests/dialects.rs",
        48,
        Cost::Usual,
        "clients of every dialect on one hub, whatever is published",
    ),
    Campaign::new(
        "eventwire-protocol",
        &["--test", "bucket_laws"],
        "protocol/tests/bucket_laws.rs",
        256,
        Cost::Cheap,
        "how many new targets a connection may begin, against a list of all it began",
    ),
    Campaign::new(
        "eventwire-protocol",
        &["--test", "routing_laws"],
        "protocol/tests/routing_laws.rs",
        256,
        Cost::Usual,
        "who receives an event, against a naive model",
    ),
    Campaign::new(
        "eventwire-protocol",
        &["--test", "shares_laws"],
        "protocol/tests/shares_laws.rs",
        512,
        Cost::Cheap,
        "fair shares of a bounded resource, against a list",
    ),
    Campaign::new(
        "eventwire-protocol",
        &["--test", "delivery_laws"],
        "protocol/tests/delivery_laws.rs",
        256,
        Cost::Usual,
        "mailboxes keep their promises",
    ),
    Campaign::new(
        "eventwire-protocol",
        &["--test", "resume_laws"],
        "protocol/tests/resume_laws.rs",
        1024,
        Cost::Cheap,
        "a resumed reader gets the log without hole or duplicate",
    ),
    Campaign::new(
        "eventwire-protocol",
        &["--test", "machine"],
        "protocol/tests/machine.rs",
        256,
        Cost::Usual,
        "random histories of connections and events against a model",
    ),
    Campaign::new(
        "eventwire-protocol",
        &["--lib", "frame::"],
        "protocol/src/frame.rs",
        256,
        Cost::Cheap,
        "texts that are cut within a surrogate pair",
    ),
    Campaign::new(
        "eventwire-hub",
        &["--lib", "deferred::"],
        "transports/hub/src/deferred.rs",
        256,
        Cost::Cheap,
        "bytes of newest values that wait for room, against a plain sum",
    ),
    Campaign::new(
        "eventwire-hub",
        &["--lib", "fair_queue::"],
        "transports/hub/src/fair_queue.rs",
        256,
        Cost::Cheap,
        "publishers that take turns",
    ),
    Campaign::new(
        "eventwire-hub",
        &["--test", "history"],
        "transports/hub/tests/history.rs",
        300,
        Cost::Cheap,
        "the history within its bounds, against a naive list",
    ),
    Campaign::new(
        "eventwire-hub",
        &["--test", "missed_values"],
        "transports/hub/tests/missed_values.rs",
        256,
        Cost::Usual,
        "gaps of evicted newest values, and who gets them",
    ),
    Campaign::new(
        "eventwire-hub",
        &["--lib", "places::"],
        "transports/hub/src/places.rs",
        256,
        Cost::Cheap,
        "places of connections, against a plain list",
    ),
    Campaign::new(
        "eventwire-hub",
        &["--lib", "rates::"],
        "transports/hub/src/rates.rs",
        256,
        Cost::Cheap,
        "rates of holders, against a bucket filled step by step",
    ),
    Campaign::new(
        "eventwire-protocol",
        &["--test", "work_laws"],
        "protocol/tests/work_laws.rs",
        256,
        Cost::Usual,
        "shares of the work of commands, against a naive bookkeeper",
    ),
    Campaign::new(
        "eventwire-hub",
        &["--lib", "unfinished::ledger::"],
        "transports/hub/src/unfinished/ledger.rs",
        256,
        Cost::Cheap,
        "readers that share the budget of unfinished bytes",
    ),
    Campaign::new(
        "eventwire-hub",
        &["--lib", "metered::frames::"],
        "transports/hub/src/metered/frames.rs",
        256,
        Cost::Usual,
        "frames that are followed and cut while they are read",
    ),
    Campaign::new(
        "eventwire-memory",
        &["--test", "resume"],
        "transports/memory/tests/resume.rs",
        100,
        Cost::Usual,
        "clients cut off at random points of a running hub",
    ),
    Campaign::new(
        "eventwire-memory",
        &["--test", "revocation_model"],
        "transports/memory/tests/revocation_model.rs",
        256,
        Cost::Usual,
        "revocations against a naive list, with clocks that are apart and restarts",
    ),
    Campaign::new(
        "eventwire-memory",
        &["--test", "lagging"],
        "transports/memory/tests/lagging.rs",
        256,
        Cost::Usual,
        "mailboxes of a few frames that overflow",
    ),
    Campaign::new(
        "eventwire-sse",
        &["--test", "resume"],
        "transports/sse/tests/resume.rs",
        100,
        Cost::Usual,
        "event streams cut at any byte",
    ),
    Campaign::new(
        "eventwire-sse",
        &["--lib", "encode::"],
        "transports/sse/src/encode.rs",
        256,
        Cost::Usual,
        "event streams in small pieces",
    ),
    Campaign::new(
        "eventwire-websocket",
        &["--test", "frames"],
        "transports/websocket/tests/frames.rs",
        400,
        Cost::Usual,
        "hostile bytes on a WebSocket",
    ),
    Campaign::new(
        "eventwire-websocket",
        &["--test", "handshake"],
        "transports/websocket/tests/handshake.rs",
        256,
        Cost::Cheap,
        "hostile headers in a handshake",
    ),
    Campaign::new(
        "eventwire-websocket",
        &["--lib", "queue::"],
        "transports/websocket/src/queue.rs",
        256,
        Cost::Usual,
        "frames on a socket that takes little at a time",
    ),
    Campaign::new(
        "eventwire-client",
        &["--test", "session_model"],
        "transports/client/tests/session_model.rs",
        512,
        Cost::Cheap,
        "every event once and in order over any number of connections and changes of transport",
    ),
    Campaign::new(
        "eventwire-client",
        &["--lib", "event_stream::"],
        "transports/client/src/event_stream.rs",
        256,
        Cost::Cheap,
        "event streams in any pieces, as the client reads them",
    ),
    Campaign::new(
        "eventwire-client",
        &["--lib", "reconnect::"],
        "transports/client/src/reconnect.rs",
        256,
        Cost::Cheap,
        "waits between attempts",
    ),
    Campaign::new(
        "eventwire-agents",
        &["--lib", "paths::"],
        "transports/agents/src/paths.rs",
        4096,
        Cost::Cheap,
        "hostile paths in transcripts",
    ),
    Campaign::new(
        "eventwire-agents",
        &["--test", "laws", "--", "--skip", "a_line_around_the_limit"],
        "transports/agents/tests/laws.rs",
        96,
        Cost::Usual,
        "transcripts cut anywhere, the reader crashing and going on",
    ),
    Campaign::new(
        "eventwire-agents",
        &["--test", "laws", "a_line_around_the_limit"],
        "transports/agents/tests/laws.rs",
        12,
        Cost::Dear,
        "the same with lines as long as can be",
    ),
];

/// Tests in which timing decides what happens, so that doing them again is another test.
pub(crate) struct Series {
    pub(crate) package: &'static str,
    pub(crate) arguments: &'static [&'static str],
    /// Their file, from the top of the checkout.
    pub(crate) source: &'static str,
    pub(crate) what: &'static str,
}

pub(crate) const SERIES: &[Series] = &[
    Series {
        package: "eventwire-client",
        arguments: &["--test", "scripted_server"],
        source: "transports/client/tests/scripted_server.rs",
        what: "a server killed in mid-stream, restarted, draining, silent",
    },
    Series {
        package: "eventwire-client",
        arguments: &["--test", "credentials"],
        source: "transports/client/tests/credentials.rs",
        what: "tokens that end and are replaced, over both transports and TLS",
    },
    Series {
        package: "eventwire-gateway",
        arguments: &["--test", "rust_client"],
        source: "transports/gateway/tests/rust_client.rs",
        what: "the Rust client: 1,000 switches of transport in each run, lines that break, a gateway that is killed",
    },
    Series {
        package: "eventwire-agents",
        arguments: &["--test", "watch"],
        source: "transports/agents/tests/watch.rs",
        what: "files that grow, are cut, rotated and replaced; the reader stopped and started",
    },
    Series {
        package: "eventwire-gateway",
        arguments: &["--test", "transports"],
        source: "transports/gateway/tests/transports.rs",
        what: "the same scenarios over all transports, with cut connections",
    },
    Series {
        package: "eventwire-gateway",
        arguments: &["--test", "gateway", "--", "flow_08", "second_signal"],
        source: "transports/gateway/tests/gateway.rs",
        what: "a gateway with clients, ended by signals",
    },
];

/// Random topologies of tenants, each connection and event judged over every path on which the core decides.
pub(crate) mod isolation {
    pub(crate) const SOURCE: &str = "protocol/tests/isolation.rs";
    /// Optimized: the long run has a thousand times as many cases.
    pub(crate) const ARGUMENTS: &[&str] =
        &["test", "--release", "-p", "eventwire-protocol", "--test", "isolation", "--", "--nocapture"];
    /// The variable with the number of cases.
    pub(crate) const VARIABLE: &str = "ISOLATION_CASES";
    /// Cases of `cargo xtask test`, and of a long run when nothing else is asked for.
    pub(crate) const USUAL: u64 = 100_000;
    pub(crate) const LONG: u64 = 100_000_000;
}

/// The send queue under explored schedules.
pub(crate) mod schedules {
    pub(crate) const SOURCE: &str = "transports/hub/tests/send_queue_model.rs";
    pub(crate) const ARGUMENTS: &[&str] =
        &["test", "--workspace", "--features", "eventwire-hub/shuttle", "--test", "send_queue_model"];
    /// For each model and each of the two schedulers, when nothing else is asked for.
    pub(crate) const USUAL: u32 = 1_500;
}

/// Clients of the gateway that are cut off while agents write.
pub(crate) mod cuts {
    pub(crate) const SOURCE: &str = "transports/gateway/tests/agents.rs";
    pub(crate) const ARGUMENTS: &[&str] = &["test", "-p", "eventwire-gateway", "--test", "agents", "log_06"];
    /// Clients over WebSocket, as many over server-sent events, and how often each is cut off: usually, and in a long
    /// run, which takes other points each time.
    pub(crate) const USUAL: (u32, u32) = (10, 10);
    pub(crate) const LONG: (u32, u32) = (20, 50);
}

/// The sizes of `cargo xtask test`.
pub(crate) fn usual_sizes() -> String {
    let (least, most) = PROPERTIES
        .iter()
        .fold((u32::MAX, 0), |(least, most), property| (least.min(property.usual), most.max(property.usual)));
    let cases = std::env::var("PROPTEST_CASES").map_or_else(
        |_| format!("{least} to {most} cases per property, most often 256"),
        |asked| format!("{asked} cases per property (PROPTEST_CASES)"),
    );
    let (clients, cuts) = cuts::USUAL;
    format!(
        "sizes: reduced, as for every change: {cases}; {} cases of isolation; {} schedules per model; {} cut points; \
         `cargo xtask long` runs the large ones",
        isolation::USUAL,
        schedules::USUAL,
        2 * clients * cuts
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("node_modules") && !path.ends_with("target") {
                rust_files(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    /// The cases per property of each block of properties in a source.
    fn blocks(text: &str) -> Vec<u32> {
        let opens = |line: &str| ["proptest! {", "prop_state_machine! {"].iter().any(|start| line.trim() == *start);
        let number = |text: &str, after: &str| {
            let (_, rest) = text.split_once(after)?;
            let digits: String = rest.chars().take_while(|letter| letter.is_ascii_digit() || *letter == '_').collect();
            digits.replace('_', "").parse::<u32>().ok()
        };
        let mut lines = text.lines();
        let mut found = Vec::new();
        while lines.any(opens) {
            let settings = lines.clone().find(|line| !line.trim().is_empty()).unwrap_or_default();
            found.push(if !settings.contains("proptest_config") {
                256
            } else if let Some(times) = number(settings, "support::config(") {
                256 * times
            } else {
                number(settings, "cases: ").or_else(|| number(settings, "with_cases(")).unwrap()
            });
        }
        found
    }

    #[test]
    fn every_block_of_properties_is_in_the_table_with_its_cases() {
        let mut files = Vec::new();
        for part in ["protocol", "transports", "schemas", "conformance"] {
            rust_files(&root().join(part), &mut files);
        }
        let mut there = BTreeMap::new();
        for file in files {
            let blocks = blocks(&std::fs::read_to_string(&file).unwrap());
            if !blocks.is_empty() {
                there.insert(file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(), blocks);
            }
        }
        let mut listed: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for property in PROPERTIES {
            listed.entry(property.source.to_owned()).or_default().push(property.usual);
        }
        assert_eq!(listed, there);
    }

    #[test]
    fn the_other_sizes_are_those_of_the_sources() {
        let holds = |source: &str, text: &str| std::fs::read_to_string(root().join(source)).unwrap().contains(text);
        assert_eq!((isolation::USUAL, isolation::LONG), (100_000, 100_000_000));
        assert!(holds(isolation::SOURCE, "USUAL: u64 = 100_000;"));
        assert!(holds(isolation::SOURCE, &format!("{:?}", isolation::VARIABLE)));
        assert_eq!(schedules::USUAL, 1_500);
        assert!(holds(schedules::SOURCE, "unwrap_or(1_500)"));
        assert!(holds(cuts::SOURCE, &format!("if long {{ {:?} }} else {{ {:?} }}", cuts::LONG, cuts::USUAL)));
    }

    #[test]
    fn a_long_run_tries_more_of_everything_and_never_nothing() {
        for property in PROPERTIES {
            assert!(property.cases(15_000) > property.usual, "{}", property.source);
            assert!(property.cases(1) > 0, "{}", property.source);
        }
    }
}
