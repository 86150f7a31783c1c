//! What pages ask, of the hub and of the application.

use std::time::Duration;

use eventwire_hub::Hub;
use serde_json::json;

use super::*;

const TRIGGER: &str = r#"{"type":"trigger_workflow","data":{"workflow_type":"adw_plan_iso","adw_id":null,
    "issue_number":"66","issue_type":"chore","issue_json":{"title":"x"},"model_set":"base","trigger_reason":"x"}}"#;

#[tokio::test]
async fn trap_t6_a_ping_gets_its_own_number_back_on_its_own_connection() {
    let hub = Hub::new();
    let adw = system(&hub);
    for path in ["/ws", "/ws/trigger"] {
        let mut one = page(&adw, &hub, path, "").await;
        let mut other = page(&adw, &hub, path, "").await;
        let ping = json!({"type": "ping", "timestamp": 1_762_370_560_123_u64, "healthCheck": true});
        let pong = answered(&mut one, &ping).await.remove(0);
        assert_eq!((&pong["type"], &pong["timestamp"]), (&json!("pong"), &json!(1_762_370_560_123_u64)));
        assert_eq!(pong["connection_id"], one.id().to_string());
        assert!(pong["data"]["timestamp"].as_str().unwrap().ends_with('Z'));
        let bare = answered(&mut one, &json!({"type": "ping"})).await.remove(0);
        assert!(bare["timestamp"].is_number());
        assert!(told(&mut other).await.is_empty());
    }
}

#[tokio::test]
async fn adw_02_one_clients_bad_message_disturbs_nobody_and_the_socket_stays_open() {
    let hub = Hub::new();
    let adw = system(&hub);
    let mut bad = page(&adw, &hub, "/ws/trigger", "").await;
    let mut good = page(&adw, &hub, "/ws/trigger", "").await;
    for frame in [
        "{",
        "\u{0}",
        "[]",
        "{}",
        "{\"type\":\"launch\"}",
        "{\"type\":\"trigger_workflow\",\"data\":{\"workflow_type\":\"../x\"}}",
        "{\"type\":\"register_session\",\"data\":{}}",
        "{\"type\":\"workflow_log\",\"data\":{}}",
        "{\"type\":\"subscribe\"}",
        "{\"type\":\"subscribe\",\"adw_id\":\"../etc\"}",
        "{\"type\":\"subscribe\",\"adw_id\":\"29fb6a3ee\"}",
        "{\"type\":\"unsubscribe\",\"adw_id\":7}",
    ] {
        let error = error(&mut bad, frame).await;
        assert_eq!(error["error_type"], "validation_error", "{frame}");
        assert!(told(&mut good).await.is_empty(), "{frame}");
    }
    bad.send_bytes(&b"\xff\xfe"[..]).await.unwrap();
    assert_eq!(names(&told(&mut bad).await), ["error"]);
    // A refused subscription was none: both still hear of everything.
    text_block(&hub, "29fb6a3e").await;
    assert_eq!(names(&told(&mut bad).await), ["text_block"]);
    assert_eq!(names(&told(&mut good).await), ["text_block"]);
}

#[tokio::test]
async fn adw_02_a_message_over_the_limit_is_refused_politely() {
    let hub = Hub::new();
    let settings = Settings { max_message_bytes: 64, ..Settings::default() };
    let adw = Adw::new(hub.clone(), Arc::new(NoBackEnd), settings);
    assert_eq!(adw.max_message_bytes(), 64);
    let mut one = page(&adw, &hub, "/ws", "").await;
    let long = json!({"type": "ping", "filler": "x".repeat(64)}).to_string();
    assert_eq!(error(&mut one, &long).await["error_code"], "too_large");
    assert_eq!(system(&hub).max_message_bytes(), 16 << 20);
}

#[tokio::test]
async fn adw_04_a_workflow_is_asked_of_the_back_end_which_answers_with_events() {
    let hub = Hub::new();
    let back_end = Arc::new(BackEnd::default());
    let adw = Adw::new(hub.clone(), back_end.clone(), Settings::default());
    let mut one = page(&adw, &hub, "/ws/trigger", "").await;
    let mut other = page(&adw, &hub, "/ws/trigger", "").await;
    one.send_text(TRIGGER).await.unwrap();
    assert!(told(&mut one).await.is_empty(), "accepted: the answer is the back end's");
    let command = back_end.0.lock().unwrap().remove(0);
    assert_eq!((command.name.as_str(), command.dialect.as_str()), ("trigger_workflow", "adw"));
    assert_eq!((command.connection_id, command.urgent), (one.id(), false));
    assert_eq!(command.data["workflow_type"], "adw_plan_iso");
    assert_eq!(adw.total_workflows_triggered(), 1);

    let to = format!("connection:{}", command.connection_id);
    let status = json!({"adw_id": "abcd1234", "workflow_name": "w", "status": "started", "message": "Starting"});
    publish(&hub, "adw.status_update", &to, &status).await;
    let response = json!({"status": "accepted", "adw_id": "abcd1234", "workflow_name": "w", "message": "ok"});
    publish(&hub, "adw.trigger_response", &to, &response).await;
    let frames = told(&mut one).await;
    assert_eq!(names(&frames), ["status_update", "trigger_response"]);
    assert_eq!(frames[1]["data"]["status"], "accepted");
    assert!(told(&mut other).await.is_empty());
}

#[tokio::test]
async fn trap_t8_without_a_back_end_only_the_one_who_asked_is_told() {
    let hub = Hub::new();
    let adw = system(&hub);
    let mut one = page(&adw, &hub, "/ws/trigger", "").await;
    let mut other = page(&adw, &hub, "/ws/trigger", "").await;
    let error = error(&mut one, TRIGGER).await;
    assert_eq!((&error["error_code"], &error["error_type"]), (&json!("unavailable"), &json!("system_error")));
    assert!(told(&mut other).await.is_empty());
    assert_eq!(adw.total_workflows_triggered(), 0);
}

#[tokio::test]
async fn adw_04_nobody_starts_a_workflow_on_a_run_out_of_reach() {
    let hub = with_keys();
    let back_end = Arc::new(BackEnd::default());
    let adw = Adw::new(hub.clone(), back_end.clone(), Settings::default());
    let mut ann = page(&adw, &hub, "/ws/trigger", "ann").await;
    let build = |run: &str| {
        json!({"type": "trigger_workflow", "data": {"workflow_type": "adw_build_iso", "adw_id": run}}).to_string()
    };
    assert_eq!(error(&mut ann, &build("bbbbbbbb")).await["error_code"], "forbidden");
    ann.send_text(build("aaaaaaaa")).await.unwrap();
    assert!(told(&mut ann).await.is_empty());
    let commands = back_end.0.lock().unwrap();
    assert_eq!(commands.len(), 1);
    assert_eq!(commands[0].user_id, Some("ann".parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn bug_b4_thirty_workflows_a_minute_and_then_a_limit_in_words_that_the_page_knows() {
    let hub = Hub::new();
    let back_end = Arc::new(BackEnd::default());
    let adw = Adw::new(hub.clone(), back_end.clone(), Settings::default());
    let mut eager = page(&adw, &hub, "/ws/trigger", "").await;
    let mut other = page(&adw, &hub, "/ws/trigger", "").await;
    for _ in 0..30 {
        eager.send_text(TRIGGER).await.unwrap();
        assert!(told(&mut eager).await.is_empty());
    }
    let refused = error(&mut eager, TRIGGER).await;
    assert_eq!(refused["error_code"], "rate_limited");
    assert!(["validation_error", "workflow_error", "system_error"].contains(&refused["error_type"].as_str().unwrap()));
    assert!(refused["message"].as_str().unwrap().contains("30 workflows a minute"));
    // The limit is each connection's own, and of workflows only.
    other.send_text(TRIGGER).await.unwrap();
    assert!(told(&mut other).await.is_empty());
    assert_eq!(names(&answered(&mut eager, &json!({"type": "ping"})).await), ["pong"]);
    tokio::time::advance(Duration::from_secs(61)).await;
    eager.send_text(TRIGGER).await.unwrap();
    assert!(!names(&told(&mut eager).await).contains(&"error"));
    assert_eq!(back_end.names().len(), 32);
}

#[tokio::test]
async fn adw_05_a_session_is_registered_with_or_without_a_back_end() {
    let hub = Hub::new();
    let back_end = Arc::new(BackEnd::default());
    let register = json!({"type": "register_session", "data": {"session_id": "board-1", "client_info": {"tab": 1}}});
    for adw in [system(&hub), Adw::new(hub.clone(), back_end.clone(), Settings::default())] {
        let mut one = page(&adw, &hub, "/ws/trigger", "").await;
        let mut other = page(&adw, &hub, "/ws/trigger", "").await;
        let frames = answered(&mut one, &register).await;
        assert_eq!(names(&frames), ["session_registered"]);
        assert_eq!(frames[0]["data"]["session_id"], "board-1");
        assert!(frames[0]["data"]["message"].is_string());
        assert!(told(&mut other).await.is_empty());
    }
    assert_eq!(back_end.names(), ["register_session"]);
}

#[tokio::test]
async fn adw_05_a_ticket_is_answered_by_the_back_end_and_its_troubles_are_no_error_frames() {
    let hub = Hub::new();
    let ticket = json!({"type": "ticket_notification", "data": {"id": 66, "title": "x"}});
    let back_end = Arc::new(BackEnd::default());
    let with = Adw::new(hub.clone(), back_end.clone(), Settings::default());
    let mut one = page(&with, &hub, "/ws/trigger", "").await;
    assert!(answered(&mut one, &ticket).await.is_empty());
    assert_eq!(back_end.names(), ["ticket_notification"]);
    let complete = json!({"id": 66, "title": "x"});
    for (data, id) in [(complete, "66"), (json!({"id": "66"}), "66"), (json!({"title": "x"}), "")] {
        let without = system(&hub);
        let mut one = page(&without, &hub, "/ws/trigger", "").await;
        let frames = answered(&mut one, &json!({"type": "ticket_notification", "data": data})).await;
        assert_eq!(names(&frames), ["ticket_notification_response"]);
        let answer = &frames[0]["data"];
        assert_eq!((&answer["status"], &answer["ticket_id"]), (&json!("error"), &json!(id)));
        assert!(answer["error"].is_string() && answer["message"].is_string() && answer["timestamp"].is_string());
    }
}

#[tokio::test]
async fn adw_05_a_line_of_a_page_goes_to_the_watchers_of_the_run_if_the_page_may_publish() {
    let line = |run: &str| {
        json!({"type": "workflow_log", "data": {
            "adw_id": run, "workflow_name": "adw_plan_iso", "message": "line", "level": "INFO",
            "timestamp": "2025-11-05T19:22:35.4Z",
        }})
    };
    let hub = Hub::new();
    let adw = system(&hub);
    let mut one = page(&adw, &hub, "/ws/trigger", "").await;
    let mut elsewhere = page(&adw, &hub, "/ws/trigger", "").await;
    answered(&mut elsewhere, &json!({"type": "subscribe", "adw_id": "bbbbbbbb"})).await;
    let frames = answered(&mut one, &line("aaaaaaaa")).await;
    assert_eq!(names(&frames), ["workflow_log"]);
    assert_eq!(frames[0]["data"]["timestamp"], "2025-11-05T19:22:35.400000Z");
    assert!(told(&mut elsewhere).await.is_empty());

    let hub = with_keys();
    let adw = system(&hub);
    let mut ann = page(&adw, &hub, "/ws/trigger", "ann").await;
    let mut producer = page(&adw, &hub, "/ws/trigger", "producer").await;
    assert_eq!(error(&mut ann, &line("aaaaaaaa").to_string()).await["error_code"], "forbidden");
    assert_eq!(error(&mut producer, &line("cccccccc").to_string()).await["error_code"], "forbidden");
    assert_eq!(names(&answered(&mut producer, &line("aaaaaaaa")).await), ["workflow_log"]);
    assert_eq!(names(&told(&mut ann).await), ["workflow_log"]);
}
