//! Where workflows post what they do, and where the state of one is read.

use std::collections::BTreeSet;

use eventwire_hub::Hub;
use eventwire_protocol::{AdwId, ErrorCode};
use eventwire_systems::adw::AgentState;
use serde_json::{Map, json};

use super::*;

/// Of one path: a full body, the members that it needs, the members that the answer repeats, and the frame that a page of
/// `/ws` reads for it.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Posted {
    path: String,
    body: Value,
    #[serde(default)]
    required: Vec<String>,
    #[serde(default)]
    echo: Vec<String>,
    frame: Value,
}

fn paths() -> Vec<Posted> {
    serde_json::from_str(include_str!("paths.json")).unwrap()
}

/// The body without a member; `data.x` is a member of its `data`.
fn without(body: &Value, member: &str) -> Value {
    let mut body = body.clone();
    match member.split_once('.') {
        None => drop(body.as_object_mut().unwrap().remove(member)),
        Some((outer, inner)) => drop(body[outer].as_object_mut().unwrap().remove(inner)),
    }
    body
}

/// A refusal in the manner of the path's own server, that names what is wrong.
fn check_refusal(path: &str, (status, body): &(u16, Value), named: &str) {
    if matches!(path, "/api/workflow-updates" | "/api/stage-event") {
        assert_eq!(*status, 400, "{path} {named}: {body}");
        assert!(body["error"].as_str().unwrap().contains(named), "{path} {named}: {body}");
    } else {
        assert_eq!(*status, 422, "{path} {named}: {body}");
        let detail = &body["detail"][0];
        assert!(detail["msg"].as_str().unwrap().contains(named), "{path} {named}: {body}");
        assert_eq!(detail["loc"][0], "body");
    }
}

#[tokio::test]
async fn adw_06_every_path_is_answered_as_before_and_what_it_tells_is_read_by_pages() {
    let hub = Hub::new();
    let adw = system(&hub);
    let mut watcher = page(&adw, &hub, "/ws", "").await;
    let mut elsewhere = page(&adw, &hub, "/ws", "").await;
    answered(&mut elsewhere, &json!({"type": "subscribe", "adw_id": "bbbbbbbb"})).await;
    let mut served = BTreeSet::new();
    for Posted { path, body, required, echo, mut frame } in paths() {
        let (status, answer) = post(&adw, &path, &body).await;
        assert_eq!((status, &answer["status"]), (200, &json!("success")), "{path}: {answer}");
        assert_eq!(answer["adw_id"], "29fb6a3e");
        assert!(answer["message"].as_str().is_some_and(|text| !text.is_empty()));
        for member in &echo {
            assert_eq!(answer[member], body[member], "{path}");
        }
        let frames = told(&mut watcher).await;
        assert_eq!(frames.len(), 1, "{path}: {frames:?}");
        if frame["data"].get("timestamp").is_none() {
            assert!(frames[0]["data"]["timestamp"].is_string());
            frame["data"]["timestamp"] = frames[0]["data"]["timestamp"].clone();
        }
        assert_eq!(frames[0], frame, "{path}");
        for member in &required {
            let answer = post(&adw, &path, &without(&body, member)).await;
            check_refusal(&path, &answer, member.rsplit('.').next().unwrap());
        }
        for bad in [json!("../etc/p"), json!("29fb6a3ee"), json!(""), json!(7), json!(["29fb6a3e"])] {
            let mut body = body.clone();
            match path.as_str() {
                "/api/workflow-updates" => body["data"]["adw_id"] = bad,
                _ => body["adw_id"] = bad,
            }
            check_refusal(&path, &post(&adw, &path, &body).await, "adw_id");
        }
        check_refusal(&path, &post(&adw, &path, &json!([])).await, "object");
        assert!(told(&mut watcher).await.is_empty(), "{path} published what it refused");
        served.insert(path);
    }
    assert!(told(&mut elsewhere).await.is_empty());
    let posts = adw.routes().iter().filter(|route| route.methods.contains(&Method::POST));
    assert_eq!(posts.map(|route| route.pattern.to_owned()).collect::<BTreeSet<_>>(), served);
}

#[tokio::test]
async fn adw_06_choices_that_do_not_exist_are_400_and_members_of_a_wrong_kind_are_named() {
    let hub = Hub::new();
    let adw = system(&hub);
    let mut watcher = page(&adw, &hub, "/ws", "").await;
    let tool = json!({"adw_id": "29fb6a3e", "tool_name": "Read", "phase": "during"});
    let (status, body) = post(&adw, "/api/tool-execution", &tool).await;
    assert_eq!(status, 400);
    assert!(body["detail"].as_str().unwrap().contains("phase"));
    for (path, body) in [
        ("/api/workflow-updates", json!({"type": "launch", "data": {"adw_id": "29fb6a3e"}})),
        ("/api/stage-event", json!({"adw_id": "29fb6a3e", "to_stage": "planning"})),
        ("/api/stage-event", json!({"adw_id": "29fb6a3e", "to_stage": "plan", "from_stage": "done"})),
        ("/api/stage-event", json!({"adw_id": "29fb6a3e", "event_type": "stage_lost", "stage_name": "plan"})),
        ("/api/stage-event", json!({"adw_id": "29fb6a3e", "event_type": "stage_started"})),
        ("/api/stage-event", json!({"adw_id": "29fb6a3e", "event_type": "stage_started", "stage_name": 7})),
    ] {
        let (status, answer) = post(&adw, path, &body).await;
        assert_eq!(status, 400, "{body}");
        assert!(answer["error"].is_string(), "{body}: {answer}");
    }
    for (path, mut body, named) in [
        ("/api/agent-log-entry", json!({"message": "m", "level": "LOUD"}), "level"),
        ("/api/agent-log-entry", json!({"message": "m", "context": []}), "sequence"),
        ("/api/agent-thinking", json!({"content": "m", "duration_ms": -1}), "-1"),
        ("/api/tool-execution", json!({"tool_name": "Read", "phase": "post", "success": "yes"}), "yes"),
        ("/api/file-operation", json!({"file_path": "a", "operation": "touch"}), "operation"),
        ("/api/agent-state-update", json!({"event_type": "log_entry", "data": []}), "data"),
        ("/api/agent-state-update", json!({"event_type": "text_block", "data": {}}), "content"),
        ("/api/agent-state-update", json!({"event_type": "text_block", "data": {}, "timestamp": 7}), "timestamp"),
    ] {
        body["adw_id"] = "29fb6a3e".into();
        check_refusal(path, &post(&adw, path, &body).await, named);
    }
    assert!(told(&mut watcher).await.is_empty());
}

#[tokio::test]
async fn adw_06_what_the_orchestrator_reports_of_its_stages_moves_the_ticket() {
    let hub = Hub::new();
    let adw = system(&hub);
    let mut watcher = page(&adw, &hub, "/ws", "").await;
    for (event_type, wanted) in [
        ("stage_started", Some(("plan", "build"))),
        ("stage_completed", Some(("build", "test"))),
        ("stage_failed", Some(("build", "errored"))),
        ("stage_skipped", None),
        ("workflow_started", Some(("backlog", "build"))),
        ("workflow_completed", Some(("build", "ready-to-merge"))),
        ("workflow_failed", Some(("build", "errored"))),
    ] {
        let body = json!({
            "adw_id": "29fb6a3e", "event_type": event_type, "stage_name": "build", "previous_stage": "plan",
            "next_stage": "test", "workflow_name": "w",
        });
        let (status, answer) = post(&adw, "/api/stage-event", &body).await;
        assert_eq!((status, &answer["event_type"]), (200, &json!(event_type)), "{answer}");
        let frames = told(&mut watcher).await;
        let moved = frames.first().map(|frame| {
            assert_eq!(frame["type"], "stage_transition");
            (frame["data"]["from_stage"].as_str().unwrap(), frame["data"]["to_stage"].as_str().unwrap())
        });
        assert_eq!(moved, wanted, "{event_type}");
    }
    let last =
        json!({"adw_id": "29fb6a3e", "event_type": "stage_completed", "stage_name": "review", "next_stage": null});
    assert_eq!(post(&adw, "/api/stage-event", &last).await.0, 200);
    assert!(told(&mut watcher).await.is_empty());
}

#[tokio::test]
async fn adw_06_a_change_of_state_can_be_told_in_the_trigger_servers_way_too() {
    let hub = Hub::new();
    let adw = Adw::new(hub.clone(), Arc::new(NoBackEnd), Settings { agent_updated_too: true, ..Settings::default() });
    let mut watcher = page(&adw, &hub, "/ws/trigger", "").await;
    let body = json!({
        "adw_id": "29fb6a3e", "event_type": "state_change", "data": {"branch_name": "b"},
        "timestamp": "2025-11-05T19:22:35.5Z",
    });
    let (status, answer) = post(&adw, "/api/agent-state-update", &body).await;
    assert_eq!((status, &answer["timestamp"]), (200, &json!("2025-11-05T19:22:35.5Z")));
    let frames = told(&mut watcher).await;
    assert_eq!(names(&frames), ["agent_summary_update", "agent_updated"]);
    assert_eq!(frames[1]["data"]["state"], json!({"branch_name": "b"}));
    assert_eq!(frames[0]["timestamp"], "2025-11-05T19:22:35.500000Z");
}

#[tokio::test]
async fn adw_06_publishing_needs_a_key_that_reaches_the_run_and_a_body_that_is_json_and_not_too_large() {
    let hub = with_keys();
    let adw = system(&hub);
    let mut ann = page(&adw, &hub, "/ws", "ann").await;
    for (path, manner) in [("/api/agent-thinking", "detail"), ("/api/stage-event", "error")] {
        let body = json!({"adw_id": "aaaaaaaa", "content": "hm", "to_stage": "plan"});
        for (key, wanted) in [("", 401), ("nobody", 401), ("ann", 403), ("stranger", 403), ("producer", 200)] {
            let (status, answer) = post_as(&adw, path, key, &body).await;
            assert_eq!(status, wanted, "{path} {key}: {answer}");
            assert_eq!(answer.get(manner).is_some(), wanted != 200, "{path} {key}: {answer}");
        }
        assert_eq!(told(&mut ann).await.len(), 1);
        let typed = |content_type: Option<&'static str>| {
            let mut headers = headers("producer");
            headers.extend(content_type.map(|value| (header::CONTENT_TYPE, HeaderValue::from_static(value))));
            headers
        };
        for content_type in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
            let (status, _) = ask(&adw, Method::POST, path, typed(content_type), body.to_string().into_bytes()).await;
            assert_eq!(status, 415, "{content_type:?}");
        }
        let json_type = || typed(Some("application/json"));
        let large = format!("{{\"adw_id\":\"aaaaaaaa\",\"content\":\"{}\"}}", "x".repeat(1 << 20));
        assert_eq!(ask(&adw, Method::POST, path, json_type(), large.into_bytes()).await.0, 413);
        for bad in [&b"{"[..], b"\xff", b"", b"{\"adw_id\":1,\"adw_id\":2}", b"null"] {
            let (status, _) = ask(&adw, Method::POST, path, json_type(), bad.to_vec()).await;
            assert_eq!(status, if manner == "detail" { 422 } else { 400 }, "{bad:?}");
        }
        assert!(told(&mut ann).await.is_empty());
    }
}

#[tokio::test]
async fn adw_07_paths_are_made_fit_to_be_shown_or_refused() {
    let hub = Hub::new();
    let adw = system(&hub);
    let mut watcher = page(&adw, &hub, "/ws", "").await;
    for (path, member, extra) in [
        ("/api/file-operation", "file_path", json!({"operation": "read"})),
        ("/api/screenshot-available", "screenshot_path", json!({})),
        ("/api/spec-created", "spec_path", json!({})),
    ] {
        for bad in ["../../etc/passwd", "a/../../b", "..\\..\\x", "/", "a\u{0}"] {
            let mut body = extra.clone();
            body["adw_id"] = "29fb6a3e".into();
            body[member] = bad.into();
            check_refusal(path, &post(&adw, path, &body).await, member);
        }
    }
    let outside = json!({"adw_id": "29fb6a3e", "spec_path": "/etc/passwd"});
    check_refusal("/api/spec-created", &post(&adw, "/api/spec-created", &outside).await, "spec_path");
    let inside = "/home/ada/repo/trees/29fb6a3e/src/app.js";
    let read = json!({"adw_id": "29fb6a3e", "file_path": inside, "operation": "read"});
    assert_eq!(post(&adw, "/api/file-operation", &read).await.0, 200);
    let frames = told(&mut watcher).await;
    assert_eq!((frames.len(), &frames[0]["data"]["file_path"]), (1, &json!("src/app.js")));
}

/// Runs on a disk that is none.
struct Runs;

impl AgentState for Runs {
    fn state(&self, adw_id: AdwId) -> Result<Option<Map<String, Value>>, ErrorBody> {
        match adw_id.as_str() {
            "29fb6a3e" => Ok(Some(Map::from_iter([("branch_name".to_owned(), json!("chore-66"))]))),
            "toolarge" => Err(ErrorBody::new(ErrorCode::TooLarge, "the file has more than 1048576 bytes")),
            "unreadab" => Err(ErrorBody::new(ErrorCode::Internal, "the file cannot be read")),
            _ => Ok(None),
        }
    }
}

#[tokio::test]
async fn adw_11_the_state_of_a_run_is_read_by_those_who_may_watch_it() {
    let with_runs = |hub: &Hub| {
        let settings = Settings { agents: Some(Arc::new(Runs)), ..Settings::default() };
        Adw::new(hub.clone(), Arc::new(NoBackEnd), settings)
    };
    let get = async |adw: &Adw, id: &str, key: &str| {
        ask(adw, Method::GET, &format!("/api/agent-state/{id}"), headers(key), Vec::new()).await
    };
    let hub = Hub::new();
    let adw = with_runs(&hub);
    let (status, body) = get(&adw, "29fb6a3e", "").await;
    assert_eq!((status, &body["adw_id"]), (200, &json!("29fb6a3e")));
    assert_eq!(body["state"], json!({"branch_name": "chore-66"}));
    assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
    for (id, wanted) in [
        ("29fb6a3", 400),
        ("..%2Fetc%2F", 400),
        ("29fb6a3ee", 400),
        ("abcdefgh", 404),
        ("toolarge", 413),
        ("unreadab", 500),
    ] {
        let (status, body) = get(&adw, id, "").await;
        assert_eq!(status, wanted, "{id}");
        assert!(body["detail"].is_string(), "{body}");
    }
    assert_eq!(get(&system(&hub), "29fb6a3e", "").await.0, 404);
    let adw = with_runs(&with_keys());
    for (key, id, wanted) in [("", "aaaaaaaa", 401), ("ann", "bbbbbbbb", 403), ("ann", "aaaaaaaa", 404)] {
        assert_eq!(get(&adw, id, key).await.0, wanted, "{key} {id}");
    }
}
