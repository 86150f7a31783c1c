//! Sockets, and who hears of which run.

use std::{collections::BTreeSet, time::Duration};

use eventwire_hub::Hub;
use eventwire_memory::{Closed, MemoryClient};
use eventwire_protocol::{AudienceKind, ErrorCode, EventType, catalog};
use eventwire_systems::Admission;
use serde_json::json;

use super::*;

#[tokio::test]
async fn trap_t7_both_sockets_are_there_and_what_is_known_of_a_page_is_listed() {
    let hub = Hub::new();
    let adw = system(&hub);
    let mut plain = page(&adw, &hub, "/ws", "").await;
    let mut trigger = page(&adw, &hub, "/ws/trigger", "").await;
    assert!(adw.routes().iter().all(|route| !route.own_listener_only));
    text_block(&hub, "29fb6a3e").await;
    let (plain_frame, trigger_frame) = (told(&mut plain).await.remove(0), told(&mut trigger).await.remove(0));
    assert!(plain_frame.get("timestamp").is_none());
    assert_eq!(trigger_frame["timestamp"], plain_frame["data"]["timestamp"]);
    assert_eq!(trigger_frame["data"], plain_frame["data"]);

    answered(&mut trigger, &json!({"type": "subscribe", "adw_id": "29fb6a3e"})).await;
    let info = hub.connections();
    assert_eq!((info[0].dialect, info[1].dialect), ("adw", "adw_trigger"));
    assert_eq!(
        (info[0].user_agent.as_deref(), info[0].remote_address.clone()),
        (Some("Mozilla/5.0"), PEER.map(|peer| peer.to_string()))
    );
    assert!(info[0].subscriptions.is_empty());
    assert_eq!(info[1].subscriptions, ["adw:29fb6a3e".parse().unwrap()]);
}

#[tokio::test]
async fn adw_01_strangers_are_refused_where_keys_are_needed() {
    let hub = with_keys();
    let adw = system(&hub);
    for key in ["", "nobody"] {
        let Admission::Refuse(error) = admit(&adw, "/ws/trigger", key).await else { panic!("{key:?} got in") };
        assert_eq!(error.code, ErrorCode::Unauthorized);
    }
}

#[tokio::test]
async fn adw_03_two_users_with_two_tabs_hear_of_their_own_runs_and_of_nothing_else() {
    let hub = with_keys();
    let adw = system(&hub);
    let mut tabs = Vec::new();
    // Of each user, one tab that never subscribed and one that did.
    for (user, own, others) in [("ann", "aaaaaaaa", "bbbbbbbb"), ("bob", "bbbbbbbb", "aaaaaaaa")] {
        let silent = page(&adw, &hub, "/ws", user).await;
        let mut subscribed = page(&adw, &hub, "/ws/trigger", user).await;
        let acknowledged = answered(&mut subscribed, &json!({"type": "subscribe", "adw_id": own})).await;
        assert_eq!(acknowledged[0]["data"]["status"], "subscribed");
        let refused = json!({"type": "subscribe", "adw_id": others}).to_string();
        assert_eq!(error(&mut subscribed, &refused).await["error_code"], "forbidden");
        tabs.push((own, vec![silent, subscribed]));
    }
    let mut about_runs = BTreeSet::new();
    for (event_type, example) in catalog::examples() {
        let spec = event_type.spec();
        if spec.family != "adw" || !spec.audiences.contains(&AudienceKind::Adw) {
            continue;
        }
        about_runs.insert(spec.name);
        for run in ["aaaaaaaa", "bbbbbbbb", "cccccccc"] {
            let mut data = example.clone();
            if data.get("adw_id").is_some() {
                data["adw_id"] = run.into();
            }
            publish(&hub, spec.name, &format!("adw:{run}"), &data).await;
            for (own, tabs) in &mut tabs {
                for tab in tabs {
                    let frames = told(tab).await;
                    let wanted = spec.name.strip_prefix("adw.").filter(|_| run == *own);
                    assert_eq!(names(&frames), Vec::from_iter(wanted), "{} of {run} to {own}", spec.name);
                }
            }
        }
    }
    // Thirteen of the first table of the system's events and eight of the second.
    assert_eq!(about_runs.len(), 21, "{about_runs:?}");
}

#[tokio::test]
async fn adw_03_verbatim_output_needs_its_own_permission() {
    let hub = with_keys();
    let adw = system(&hub);
    let mut ann = page(&adw, &hub, "/ws", "ann").await;
    let mut producer = page(&adw, &hub, "/ws", "producer").await;
    let chunk = json!({"adw_id": "aaaaaaaa", "agent_role": "planner", "content": "{}", "is_complete": false});
    publish(&hub, "adw.agent_output_chunk", "adw:aaaaaaaa", &chunk).await;
    assert_eq!(names(&told(&mut ann).await), ["agent_output_chunk"]);
    assert!(told(&mut producer).await.is_empty());
}

#[tokio::test]
async fn trap_t9_subscriptions_narrow_and_an_emptied_set_hears_nothing_of_runs() {
    let hub = Hub::new();
    let adw = system(&hub);
    let mut watcher = page(&adw, &hub, "/ws", "").await;
    let heard = async |page: &mut MemoryClient, run: &str| {
        text_block(&hub, run).await;
        told(page).await.len()
    };
    assert_eq!(heard(&mut watcher, "aaaaaaaa").await, 1);
    let ack = answered(&mut watcher, &json!({"type": "subscribe", "adw_id": "bbbbbbbb"})).await;
    assert_eq!((&ack[0]["type"], &ack[0]["data"]["adw_id"]), (&json!("subscription_ack"), &json!("bbbbbbbb")));
    assert_eq!((heard(&mut watcher, "aaaaaaaa").await, heard(&mut watcher, "bbbbbbbb").await), (0, 1));
    let ack = answered(&mut watcher, &json!({"type": "unsubscribe", "adw_id": "bbbbbbbb"})).await;
    assert_eq!(ack[0]["data"]["status"], "unsubscribed");
    assert_eq!((heard(&mut watcher, "aaaaaaaa").await, heard(&mut watcher, "bbbbbbbb").await), (0, 0));
    // What is about no run goes to everybody all the same.
    publish(&hub, "adw.system_log", "global", &json!({"level": "info", "message": "x"})).await;
    assert_eq!(names(&told(&mut watcher).await), ["system_log"]);
}

#[tokio::test]
async fn adw_08_every_frame_of_the_trigger_server_has_its_time_beside_its_type() {
    let hub = Hub::new();
    let adw = system(&hub);
    let mut watcher = page(&adw, &hub, "/ws/trigger", "").await;
    for (event_type, example) in catalog::examples() {
        let spec = event_type.spec();
        if spec.family != "adw" {
            continue;
        }
        let to = match (spec.audiences[0], example["adw_id"].as_str()) {
            (AudienceKind::Adw, Some(run)) => format!("adw:{run}"),
            (AudienceKind::Connection, _) => format!("connection:{}", watcher.id()),
            _ => "global".to_owned(),
        };
        publish(&hub, spec.name, &to, &example).await;
        let frame = told(&mut watcher).await.remove(0);
        assert_eq!(frame["timestamp"], frame["data"]["timestamp"], "{event_type}");
        assert!(frame["timestamp"].is_string());
        if event_type == EventType::AdwFileChanged {
            assert_eq!(frame["data"]["operation"], "modify");
        }
    }
}

#[tokio::test]
async fn adw_09_the_servers_heartbeat_comes_and_never_a_ping_and_a_drain_says_come_back() {
    let settings = eventwire_hub::Settings { heartbeat: Duration::from_millis(20), ..Default::default() };
    let hub = Hub::builder().settings(settings).build();
    let adw = system(&hub);
    let mut one = page(&adw, &hub, "/ws", "").await;
    let _other = page(&adw, &hub, "/ws/trigger", "").await;
    // One that was made before the other came counts one.
    let frame = loop {
        let frame = tokio::time::timeout(Duration::from_secs(10), one.next_frame()).await.unwrap().unwrap().value();
        assert_eq!(frame["type"], "heartbeat");
        if frame["data"]["active_connections"] == 2 {
            break frame;
        }
    };
    let data = &frame["data"];
    assert_eq!(data["server_status"], "healthy");
    assert!(data["timestamp"].as_str().unwrap().ends_with('Z') && data["server_time"].is_string(), "{data}");
    assert!(data.get("adw_id").is_none());

    hub.drain(Duration::from_millis(50)).await;
    let end = loop {
        match one.next_frame().await {
            Ok(frame) => assert_eq!(frame.kind(), "heartbeat"),
            Err(end) => break end,
        }
    };
    let Closed::ByServer(code, _) = end else { panic!("{end:?}") };
    // A kanban page never returns after 1000.
    assert_eq!(code.as_u16(), 1012);
}

#[tokio::test]
async fn adw_10_and_flow_10_a_page_that_connects_or_subscribes_is_told_nothing_twice() {
    let hub = with_keys();
    let adw = system(&hub);
    let summary = async |percent: u32| {
        let data = json!({"adw_id": "aaaaaaaa", "status": "in_progress", "progress_percent": percent});
        publish(&hub, "adw.agent_summary_update", "adw:aaaaaaaa", &data).await;
        let data =
            json!({"adw_id": "aaaaaaaa", "workflow_name": "adw_plan_iso", "status": "in_progress", "message": "x"});
        publish(&hub, "adw.status_update", "adw:aaaaaaaa", &data).await;
    };
    summary(10).await;
    summary(20).await;
    for path in ["/ws", "/ws/trigger"] {
        let Admission::Connect { request, handler, .. } = admit(&adw, path, "ann").await else { panic!() };
        let mut ann = MemoryClient::connect_as(&hub, *request, handler).await.unwrap();
        assert_eq!(names(&told(&mut ann).await), ["connection_ack"]);
        // A page sends its subscription again whenever it is back.
        for _ in 0..3 {
            let heard = answered(&mut ann, &json!({"type": "subscribe", "adw_id": "aaaaaaaa"})).await;
            assert_eq!(names(&heard), ["subscription_ack"], "{path}");
        }
        // What is published from then on comes once.
        summary(30).await;
        assert_eq!(names(&told(&mut ann).await), ["agent_summary_update", "status_update"], "{path}");
        let heard = answered(&mut ann, &json!({"type": "subscribe", "adw_id": "aaaaaaaa"})).await;
        assert_eq!(names(&heard), ["subscription_ack"], "{path}");
    }
}
