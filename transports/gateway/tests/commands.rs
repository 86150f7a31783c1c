//! The client commands against a running gateway: what they print, and how they end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use common::{Gateway, Socket, api_key, eventwire, finish, note, publish, run, write_private};
use serde_json::{Value, json};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))).collect()
}

#[test]
fn publish_sends_one_event_and_prints_its_number() {
    let gateway = Gateway::start(&[]);
    let ended =
        run(&["publish", "--url", &gateway.url(), "--type", "_a.b", "--to", "room:x", "--data", "{\"n\":1}"], "");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    assert_eq!(lines(&ended.stdout), [json!({"type": "_a.b", "to": "room:x", "seq": 1})]);
    let from_pipe =
        run(&["publish", "--url", &gateway.url(), "--type", "_a.b", "--to", "room:x", "--data", "-"], "{\"n\":2}");
    assert_eq!(lines(&from_pipe.stdout)[0]["seq"], 2, "{from_pipe:?}");
    let file = gateway.directory.path().join("payload.json");
    std::fs::write(&file, "{\"n\":3}").unwrap();
    let from_file = run(
        &[
            "publish",
            "--url",
            &gateway.url(),
            "--type",
            "_a.b",
            "--to",
            "room:x",
            "--data",
            &format!("@{}", file.display()),
        ],
        "",
    );
    assert_eq!(lines(&from_file.stdout)[0]["seq"], 3, "{from_file:?}");
}

#[test]
fn publish_sends_lines_in_order_and_tells_which_were_refused() {
    let gateway = Gateway::start(&[]);
    let mut input = String::new();
    for number in 0..1_500 {
        input.push_str(&note("room:x", number).to_string());
        input.push('\n');
        if number == 700 {
            input.push_str("\n{\"type\":\"_a.b\",\"data\":{}}\n");
        }
    }
    let ended = run(&["publish", "--url", &gateway.url()], &input);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    // The 701 events before it, and the empty line.
    assert!(ended.stderr.starts_with("eventwire: event 703: missing_target: "), "{}", ended.stderr);
    let numbers = lines(&ended.stdout).iter().filter_map(|result| result["seq"].as_u64()).collect::<Vec<_>>();
    assert_eq!(numbers, (1..=1_500).collect::<Vec<_>>());
}

#[test]
fn publish_skips_a_mark_and_goes_on_behind_a_line_that_cannot_be_sent() {
    let gateway = Gateway::start(&[]);
    let mut input = format!("\u{feff}{}\n", note("room:x", 1));
    // Larger than a request may be.
    input.push_str(
        &note("room:x", 2).to_string().replace("}}", &format!(",\"text\":\"{}\"}}}}\n", "x".repeat(9 << 20))),
    );
    input.push_str(&note("room:x", 3).to_string());
    let ended = run(&["publish", "--url", &gateway.url()], &input);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.starts_with("eventwire: event 2: too_large: an event of 94"), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    let results = lines(&ended.stdout);
    assert_eq!((&results[0]["seq"], &results[2]["seq"]), (&json!(1), &json!(2)), "{results:?}");
    assert_eq!(results[1]["error"]["code"], "too_large");

    let data = "\u{feff}{\"n\":1}";
    let arguments = ["publish", "--url", &gateway.url(), "--type", "_a.b", "--to", "room:x", "--data", "-"];
    let ended = run(&arguments, data);
    assert_eq!((ended.code, lines(&ended.stdout)[0]["seq"].as_u64()), (Some(0), Some(3)), "{ended:?}");
}

/// A proxy before a gateway that passes no upgrades on.
async fn without_upgrades(gateway: std::net::SocketAddr) -> std::net::SocketAddr {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = vec![0; 4_096];
                let read = near.read(&mut head).await.unwrap_or(0);
                if head.starts_with(b"GET /v1/ws") {
                    let answer = "HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    let _ = near.write_all(answer.as_bytes()).await;
                    return;
                }
                let mut far = tokio::net::TcpStream::connect(gateway).await.unwrap();
                far.write_all(&head[..read]).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tail_falls_back_to_an_event_stream_and_explains_426() {
    let gateway = Gateway::start(&[]);
    publish(&gateway, note("room:x", 1)).await;
    let url = format!("http://{}", without_upgrades(gateway.address).await);
    let arguments: Vec<String> =
        ["tail", "--url", &url, "room:x", "--since", "0", "--count", "1"].map(str::to_owned).to_vec();
    let ended = tokio::task::spawn_blocking(move || run(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), ""))
        .await
        .unwrap();
    assert_eq!((ended.code, lines(&ended.stdout)[0]["seq"].as_u64()), (Some(0), Some(1)), "{ended:?}");
    assert!(ended.stderr.contains("does not pass the header Upgrade on"), "{}", ended.stderr);
    assert!(ended.stderr.trim_end().ends_with("trying server-sent events"), "{}", ended.stderr);
}

#[test]
fn tail_prints_frames_as_they_were_sent() {
    let gateway = Gateway::start(&[]);
    for (event_type, to) in [("_a.b", "room:x"), ("_a.c", "room:x"), ("_a.b", "room:y")] {
        let ended = run(&["publish", "--url", &gateway.url(), "--type", event_type, "--to", to], "");
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    let tail = |arguments: &[&str]| {
        let ended = run(&[&["tail", "--url", &gateway.url(), "--since", "0"], arguments].concat(), "");
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        lines(&ended.stdout).into_iter().map(|frame| frame["seq"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(tail(&["--count", "3"]), [1, 2, 3]);
    assert_eq!(tail(&["room:x", "--count", "2"]), [1, 2]);
    assert_eq!(tail(&["room:x", "room:y", "--type", "_a.b", "--count", "2"]), [1, 3]);
    assert_eq!(tail(&["--type", "_a.*", "--count", "1"]), [1]);
    assert_eq!(tail(&["room:x,room:y", "--count", "3"]), [1, 2, 3]);
    assert_eq!(tail(&["--to", "room:y", "--count", "1"]), [3]);
}

#[test]
fn tail_ends_when_the_program_that_reads_it_has_ended() {
    let gateway = Gateway::start(&[]);
    let sent = run(&["publish", "--url", &gateway.url(), "--type", "_a.b", "--to", "room:x", "--data", "{}"], "");
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let mut command = eventwire(&["tail", "--url", &gateway.url(), "room:x", "--since", "0"]);
    let mut tail = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut reader = std::io::BufReader::new(tail.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
    assert!(line.contains("\"_a.b\""), "{line}");
    // As `head -1` does. No further event comes.
    drop(reader);
    let deadline = std::time::Instant::now() + common::PATIENCE;
    let ended = loop {
        match tail.try_wait().unwrap() {
            Some(status) => break status,
            None if std::time::Instant::now() > deadline => {
                let _ = tail.kill();
                panic!("still there");
            }
            None => std::thread::sleep(std::time::Duration::from_millis(20)),
        }
    };
    assert!(ended.success(), "{ended}");
}

#[tokio::test]
async fn tail_prints_the_largest_event_there_can_be() {
    let gateway = Gateway::start(&[]);
    let mut event = json!({"type": "_a.b", "to": "room:x", "data": {"text": ""}});
    let room = (1 << 20) - event.to_string().len();
    event["data"]["text"] = "x".repeat(room).into();
    publish(&gateway, event).await;
    let ended = run(&["tail", "--url", &gateway.url(), "room:x", "--since", "0", "--count", "1"], "");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    assert_eq!(lines(&ended.stdout)[0]["data"]["text"].as_str().unwrap().len(), room);
}

#[tokio::test]
async fn tail_goes_on_after_the_gateway_was_away() {
    let first = Gateway::start(&[]);
    let address = first.address.to_string();
    let mut child = eventwire(&["tail", "--url", &first.url(), "room:x", "--count", "2"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let watched = async |gateway: &Gateway| {
        while common::get(gateway, "/health").await.json()["active_connections"] != 1 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    common::soon("the command", watched(&first)).await;
    publish(&first, note("room:x", 1)).await;
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    assert_eq!(lines(&line)[0]["data"]["number"], 1);
    assert_eq!(first.ended_by("TERM").code, Some(0));

    let second = Gateway::start_as(&["serve", "--no-sample", "--listen", &address]);
    common::soon("the command again", watched(&second)).await;
    publish(&second, note("room:x", 2)).await;
    line.clear();
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    assert_eq!(lines(&line)[0]["data"]["number"], 2);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn explain_says_for_each_connection_which_rule_decided() {
    let gateway = Gateway::start(&[]);
    let (mut watching, welcome) = Socket::connect(&gateway, "").await;
    watching.subscribe(&["adw:aaaaaaaa"]).await;
    let (_other, other) = Socket::connect(&gateway, "").await;
    let url = gateway.url();
    let ask = move |more: Vec<String>| {
        let arguments =
            ["explain", "--url", &url, "--type", "adw.text_block", "--to", "adw:aaaaaaaa"].map(str::to_owned);
        let arguments = arguments.into_iter().chain(more).collect::<Vec<_>>();
        let ended = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), "");
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        lines(&ended.stdout).remove(0)
    };
    let id = |welcome: &Value| welcome["data"]["connection_id"].as_str().unwrap().to_owned();
    let all = ask(Vec::new());
    let verdicts = all["connections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["connection_id"].as_str().unwrap().to_owned(), row["delivered"] == true));
    let mut expected = vec![(id(&welcome), true), (id(&other), false)];
    let mut verdicts = verdicts.collect::<Vec<_>>();
    verdicts.sort();
    expected.sort();
    assert_eq!(verdicts, expected, "{all}");
    let one = ask(vec!["--connection".to_owned(), id(&other)]);
    assert_eq!(one["connections"].as_array().unwrap().len(), 1, "{one}");
    let row = &one["connections"][0];
    assert!(row["rule"].as_str().is_some_and(|rule| rule.starts_with("ROUTE-")) && row["reason"].is_string(), "{row}");
}

#[test]
fn what_cannot_be_done_is_told_in_one_line_with_its_exit_code() {
    let gateway = Gateway::start(&[]);
    let (url, nobody) = (gateway.url(), "http://127.0.0.1:1");
    let url = url.as_str();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["publish", "--url", nobody, "--type", "_a.b", "--to", "global"], 1, "is the gateway running?"),
        (&["tail", "--url", nobody], 1, "is the gateway running?"),
        (&["explain", "--url", nobody, "--type", "_a.b", "--to", "global"], 1, "is the gateway running?"),
        (&["publish", "--url", "ftp://x", "--type", "_a.b", "--to", "global"], 2, "http://"),
        (&["publish", "--url", url, "--type", "_a.b"], 2, "--to"),
        (&["publish", "--url", url, "--type", "_a.b", "--to", "global", "--data", "7"], 2, "must be a JSON object"),
        (&["publish", "--url", url, "--type", "_a.b", "--to", "global", "--data", "{"], 2, "is not JSON"),
        (&["publish", "--url", url, "--type", "_a.b", "--to", "global", "--data", "@/nowhere"], 2, "/nowhere"),
        (&["publish", "--url", url, "--type", "adw.text_block", "--to", "global"], 1, "audience_not_allowed"),
        (&["explain", "--url", url, "--type", "adw.nothing", "--to", "global"], 1, "unknown_type"),
        (&["tail", "--url", url, "adw:nope"], 2, "adw:nope"),
        (&["tail", "--url", url, "--type", "adw.text_blok"], 2, "did you mean adw.text_block?"),
        (&["tail", "--url", url, "--token-file", "/nowhere"], 2, "--token-file /nowhere"),
        (&["tial"], 2, "tail"),
        (&["api-key", "--permission", "root"], 2, "root"),
        (&["api-key", "--adw", "nope"], 2, "adws"),
    ];
    for (arguments, code, expected) in cases {
        let ended = run(arguments, "");
        assert_eq!((ended.code, ended.stderr.lines().count()), (Some(*code), 1), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.starts_with("eventwire: ") && ended.stderr.contains(expected), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn a_key_is_read_from_a_file_or_the_environment() {
    let made = api_key(&["--name", "ci"]);
    let directory = tempfile::tempdir().unwrap();
    let (keys, token) = (directory.path().join("keys.toml"), directory.path().join("token"));
    write_private(&keys, &toml::to_string(&json!({"key": [made["entry"]]})).unwrap());
    write_private(&token, &format!("{}\n", made["key"].as_str().unwrap()));
    let gateway = Gateway::start(&["--api-keys-file", keys.to_str().unwrap()]);
    let publish = ["publish", "--url", &gateway.url(), "--type", "_a.b", "--to", "room:x"];

    let without = run(&publish, "");
    assert!(without.code == Some(1) && without.stderr.contains("unauthorized"), "{without:?}");
    let by_file = run(&[&publish[..], &["--token-file", token.to_str().unwrap()]].concat(), "");
    assert_eq!(by_file.code, Some(0), "{by_file:?}");
    let by_environment = finish(eventwire(&publish).env("EVENTWIRE_TOKEN", made["key"].as_str().unwrap()), "");
    assert_eq!(by_environment.code, Some(0), "{by_environment:?}");
    let refused = finish(eventwire(&["tail", "--url", &gateway.url()]).env("EVENTWIRE_TOKEN", "wrong"), "");
    assert!(refused.code == Some(1) && refused.stderr.contains("401"), "{refused:?}");
}

#[test]
fn help_and_version_are_answers_and_no_errors() {
    for (arguments, expected) in [
        (&["--version"][..], concat!("eventwire ", env!("CARGO_PKG_VERSION"))),
        (&["--help"], "Exit codes: 0 done, 1 failed, 2 wrong command line or configuration."),
        (&["serve", "--help"], "EVENTWIRE_HEARTBEAT_SECONDS"),
        (&["tail", "--help"], "room:<name>"),
    ] {
        let ended = run(arguments, "");
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        assert!(ended.stdout.contains(expected), "{arguments:?}: {}", ended.stdout);
    }
}
