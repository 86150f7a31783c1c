//! Shared Context without sockets: who is in a context, what its clients ask, and what they are told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod shared_context_common;

use std::{collections::BTreeSet, time::Duration};

use eventwire_hub::{Hub, NoAuthentication, Secret};
use eventwire_protocol::{CloseCode, ContextId, Dialect, ErrorCode, SessionId};
use eventwire_systems::{
    Admission,
    answer::full,
    shared_context::{Bounds, KeptStore, MOST_ANSWER_BYTES, Settings, Times},
};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use shared_context_common::{World, kinds, message, text};

const NONE: [Value; 0] = [];

#[tokio::test]
async fn ctx_01_whoever_opens_the_path_is_in_the_context_without_a_further_word() {
    let world = World::new();
    let mut page = world.join("/ws/session_abc123", "maria").await;
    let frames = page.hear().await;
    assert_eq!(kinds(&frames), ["connected"]);
    assert_eq!(frames[0]["session_id"], "session_abc123");
    assert!(frames[0]["server_time"].as_str().unwrap().ends_with("+00:00"));
    let mut elsewhere = world.join("/ws/session_def456", "maria").await;
    elsewhere.hear().await;

    world.publish("session_abc123", message(1, "claude", "public", "hello")).await;
    assert_eq!(kinds(&page.hear().await), ["new_message"]);
    assert_eq!(elsewhere.hear().await, NONE);

    page.client.leave().await;
    world.publish("session_abc123", message(2, "claude", "public", "nobody is here")).await;
    assert_eq!(world.hub.connection_count(), 1);
}

#[tokio::test]
async fn ctx_01_a_page_that_joins_is_sent_nothing_of_before_and_reloads_once_per_update() {
    let world = World::new();
    world.publish("s", message(1, "claude", "public", "before")).await;
    let update = json!({"type": "session_update", "session_id": "s", "agent_id": "claude", "message_count": 1});
    world.publish("s", update.clone()).await;
    // The published page reloads on each update: it leaves, joins and subscribes again.
    let mut reloads = 0;
    world.publish("s", update.clone()).await;
    for _ in 0..5 {
        let mut page = world.join("/ws/s", "maria").await;
        let mut frames = page.hear().await;
        frames.extend(page.ask(json!({"type": "subscribe", "session_id": "s"})).await);
        reloads += kinds(&frames).iter().filter(|kind| **kind == "session_update").count();
        page.client.leave().await;
    }
    assert_eq!(reloads, 0);
    let mut page = world.join("/ws/s", "maria").await;
    assert_eq!(kinds(&page.hear().await), ["connected"]);
    world.publish("s", update).await;
    assert_eq!(kinds(&page.hear().await), ["session_update"]);
    world.publish("s", message(2, "claude", "public", "after")).await;
    let frames = page.hear().await;
    assert_eq!((frames.len(), &frames[0]["data"]["id"]), (1, &json!(2)));
    // What was missed is asked for, and is not replayed.
    let missed = page.ask(json!({"tool": "get_messages", "arguments": {"session_id": "s"}})).await;
    assert_eq!(missed[0]["result"]["count"], 2);
}

/// How long a page waits between two attempts is its own affair (its text says one thing and its code another): whoever
/// comes back is let in each time, and has what was missed.
#[tokio::test]
async fn trap_t13_a_page_may_come_back_at_whatever_pace_it_likes() {
    let world = World::new();
    for attempt in 1..=8 {
        world.publish("s", message(attempt, "claude", "public", "while it was away")).await;
        let mut page = world.join("/ws/s", "maria").await;
        assert_eq!(kinds(&page.hear().await), ["connected"]);
        let arguments = json!({"session_id": "s", "since_id": attempt - 1});
        let missed = page.ask(json!({"tool": "get_messages", "arguments": arguments})).await;
        assert_eq!(missed[0]["result"]["messages"][0]["id"], json!(attempt));
        assert_eq!(missed[0]["result"]["count"], 1);
        page.client.leave().await;
    }
    assert_eq!(world.hub.connection_count(), 0);
}

#[tokio::test]
async fn ctx_02_no_path_leads_into_what_is_not_a_context() {
    let world = World::new();
    let session = world.hub.browser_session(&Secret::new("cookie-value-of-maria")).to_string();
    let long = "x".repeat(129);
    for (path, reason) in [
        ("/ws/", "Missing session_id"),
        ("/mcp/", "Missing session_id"),
        ("/ws/trigger", "trigger is not a session id"),
        ("/ws/%74rigger", "trigger is not a session id"),
        ("/mcp/trigger", "trigger is not a session id"),
        (&format!("/ws/{session}"), "session_id"),
        (&format!("/ws/%7E{}", &session[1..]), "session_id"),
        (&format!("/ws/{long}"), "session_id"),
        ("/ws/..%2f..%2fetc", "session_id"),
        ("/ws/a%2Fprivate%2Fotto", "session_id"),
        ("/ws/%20", "session_id"),
        ("/ws/%00", "session_id"),
        ("/ws/%ff", "session_id"),
        ("/ws/%zz", "session_id"),
        ("/ws/a%0d%0ab", "session_id"),
        ("/ws/*", "session_id"),
    ] {
        match world.admit(path, Some("maria"), Dialect::SharedContext).await {
            Admission::Close(CloseCode::Policy, said) => assert!(said.contains(reason), "{path}: {said}"),
            _ => panic!("{path} was admitted"),
        }
    }
    assert_eq!(world.hub.connection_count(), 0);
    // What is allowed in an id may come percent-encoded, and is the same context.
    let mut page = world.join("/ws/a%3Ab%40c", "maria").await;
    assert_eq!(page.hear().await[0]["session_id"], "a:b@c");
}

/// The value of somebody's cookie is a name like any other: a context by that name, and not their session.
#[tokio::test]
async fn ctx_02_the_value_of_a_cookie_is_no_way_into_a_session() {
    let world = World::new();
    let session = world.hub.browser_session(&Secret::new("cookie-value-of-maria"));
    let mut thief = world.join("/ws/cookie-value-of-maria", "otto").await;
    thief.hear().await;
    let member = &world.hub.connections()[0];
    assert_eq!(member.session_id, None);
    assert_eq!(member.subscriptions, ["session:cookie-value-of-maria".parse().unwrap()]);
    world.hub.session(SessionId::Browser(session)).publish(text(1, "otto", "public", "for one browser")).await.unwrap();
    assert_eq!(thief.hear().await, NONE);
    let found = thief.ask(json!({"tool": "get_messages", "arguments": {"session_id": "cookie-value-of-maria"}})).await;
    assert_eq!(found[0]["result"]["count"], 0);
}

#[tokio::test]
async fn ctx_02_strangers_and_those_without_permission_get_no_connection() {
    let world = World::new();
    for token in [None, Some("nonsense")] {
        match world.admit("/ws/s", token, Dialect::SharedContext).await {
            Admission::Refuse(error) => assert_eq!(error.code, ErrorCode::Unauthorized),
            _ => panic!("{token:?} was admitted"),
        }
    }
    match world.admit("/ws/s", Some("outsider"), Dialect::SharedContext).await {
        Admission::Close(CloseCode::Policy, reason) => assert!(reason.contains("session:s"), "{reason}"),
        _ => panic!("an outsider was admitted"),
    }
    assert_eq!(world.hub.connection_count(), 0);
}

#[tokio::test]
async fn ctx_03_subscribing_acknowledges_the_context_of_the_path_and_joins_another_only_with_permission() {
    let world = World::new();
    let mut page = world.join("/ws/lobby", "outsider").await;
    page.hear().await;
    let own = [json!({"type": "subscribed", "session_id": "lobby", "status": "success"})];
    for frame in [json!({"type": "subscribe", "session_id": "lobby"}), json!({"type": "subscribe"})] {
        assert_eq!(page.ask(frame).await, own);
    }
    for words in ["subscribe:lobby", "subscribe:s", "subscribe:"] {
        assert_eq!(page.say(words).await, own, "{words}");
    }
    let refused = page.ask(json!({"type": "subscribe", "session_id": "s"})).await;
    assert_eq!(refused, [json!({"type": "error", "message": "your credentials do not reach session:s"})]);
    let refused = page.ask(json!({"tool": "subscribe", "id": "1", "arguments": {"session_id": "s"}})).await;
    assert_eq!(kinds(&refused), ["tool_result"]);
    assert_eq!(refused[0]["result"]["error"], "your credentials do not reach session:s");
    for hostile in ["trigger", "~0123456789abcdef0123456789abcdef", "s/private/maria", "*"] {
        let refused = page.ask(json!({"type": "subscribe", "session_id": hostile})).await;
        assert_eq!(kinds(&refused), ["error"], "{hostile}");
    }
    world.publish("s", message(1, "claude", "public", "not for outsiders")).await;
    assert_eq!(page.hear().await, NONE);
    for tool in ["get_messages", "get_session_info"] {
        let peek = page.ask(json!({"tool": tool, "arguments": {"session_id": "s"}})).await;
        assert_eq!(peek[0]["result"]["error"], "your credentials do not reach session:s", "{peek:?}");
        assert!(!peek[0].to_string().contains("not for outsiders"));
    }
    let mut agent = world.join("/mcp/lobby", "claude").await;
    agent.hear().await;
    assert_eq!(kinds(&agent.ask(json!({"type": "subscribe", "session_id": "s"})).await), ["subscribed"]);
    world.publish("s", message(2, "claude", "public", "for two contexts")).await;
    assert_eq!(kinds(&agent.hear().await), ["new_message"]);
}

#[tokio::test]
async fn ctx_06_three_tools_answer_in_three_forms() {
    let world = World::new();
    world.publish("session_abc123", message(43, "claude", "public", "hello")).await;
    let mut agent = world.join("/mcp/session_abc123", "claude").await;
    agent.hear().await;
    let arguments = json!({"session_id": "session_abc123", "since_id": 42});
    let result = |tool: &str| match tool {
        "subscribe" => json!({"status": "subscribed", "session_id": "session_abc123"}),
        "get_messages" => json!({
            "session_id": "session_abc123", "count": 1, "since_id": 42,
            "messages": [{
                "id": 43, "session_id": "session_abc123", "sender": "claude", "sender_type": "claude",
                "content": "hello", "visibility": "public", "message_type": null, "metadata": null,
                "timestamp": "2025-08-13T14:48:21.000000+00:00", "parent_message_id": null,
            }],
        }),
        _ => json!({
            "session_id": "session_abc123", "status": "active",
            "session": {
                "id": "session_abc123", "purpose": null, "created_at": null, "is_active": true, "created_by": null,
                "updated_at": "2025-08-13T14:48:21.000000+00:00", "metadata": null,
            },
        }),
    };
    for tool in ["subscribe", "get_messages", "get_session_info"] {
        let mut expected = vec![json!({"type": "tool_result", "tool": tool, "result": result(tool)})];
        if tool == "subscribe" {
            expected.push(json!({"type": "subscribed", "session_id": "session_abc123", "status": "success"}));
        }
        assert_eq!(agent.ask(json!({"tool": tool, "arguments": arguments})).await, expected);

        expected[0]["id"] = json!(7);
        assert_eq!(agent.ask(json!({"tool": tool, "arguments": arguments, "id": 7})).await, expected);

        for method in [format!("/tools/{tool}"), tool.to_owned()] {
            let asked = json!({"jsonrpc": "2.0", "id": "a", "method": method, "params": arguments});
            assert_eq!(agent.ask(asked).await, [json!({"jsonrpc": "2.0", "id": "a", "result": result(tool)})]);
            let unheard = json!({"jsonrpc": "2.0", "method": method, "params": arguments});
            assert_eq!(agent.ask(unheard).await, NONE);
        }
    }
    let hello = agent.ask(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize"})).await;
    assert_eq!(hello[0]["result"]["status"], "connected");
    assert_eq!(hello[0]["result"]["session_id"], "session_abc123");
}

#[tokio::test]
async fn collision_c5_what_acknowledges_a_subscription_says_success_and_its_result_says_subscribed() {
    let world = World::new();
    let mut agent = world.join("/mcp/s", "claude").await;
    agent.hear().await;
    let frames = agent.ask(json!({"tool": "subscribe", "arguments": {"session_id": "s"}})).await;
    assert_eq!(frames[0]["result"]["status"], "subscribed");
    assert_eq!(frames[1]["status"], "success");
}

#[tokio::test]
async fn collision_c3_a_ping_in_text_is_answered_in_text_and_one_in_json_in_json() {
    let world = World::new();
    let mut page = world.join("/ws/s", "maria").await;
    let mut tab = world.join("/ws/s", "maria").await;
    page.hear().await;
    tab.hear().await;
    page.client.send_text("ping").await.unwrap();
    assert_eq!(&page.client.next_frame().await.unwrap().bytes[..], b"pong");
    assert_eq!(page.ask(json!({"type": "ping"})).await, [json!({"type": "pong"})]);
    assert_eq!(tab.client.drain().await, []);
}

#[tokio::test]
async fn ctx_05_bad_frames_are_told_to_their_sender_and_the_socket_stays_open() {
    let world = World::new();
    let mut page = world.join("/ws/s", "maria").await;
    let mut other = world.join("/ws/s", "maria").await;
    page.hear().await;
    other.hear().await;
    for (frame, message) in [
        ("hello", "Unknown command"),
        (r#"{"type":"foo"}"#, "Unknown message type: foo"),
        (r#"{"tool":"foo","arguments":{}}"#, "Unknown tool: foo"),
        ("{", "not readable as JSON"),
        ("\u{1}", "Unknown command"),
    ] {
        let told = page.say(frame).await;
        assert_eq!(kinds(&told), ["error"], "{frame}");
        assert!(told[0]["message"].as_str().unwrap().starts_with(message), "{told:?}");
    }
    page.client.send_bytes(&b"\xff\xfe"[..]).await.unwrap();
    assert_eq!(kinds(&page.hear().await), ["error"]);
    let refused = page.say(&"x".repeat((1 << 20) + 1)).await;
    assert!(refused[0]["message"].as_str().unwrap().contains("over the limit"), "{refused:?}");
    // As large as a frame may be.
    assert_eq!(page.say(&format!("ping{}", " ".repeat((1 << 20) - 4))).await, [Value::Null]);
    assert_eq!(other.hear().await, NONE);
    world.publish("s", message(1, "claude", "public", "still here")).await;
    assert_eq!(kinds(&page.hear().await), ["new_message"]);
}

/// Two people with two tabs each, two agents, and somebody without a name, in one context: who sees what, live and later.
#[tokio::test]
async fn ctx_07_route_04_who_sees_a_message_live_is_who_finds_it_later() {
    let world = World::new();
    let people = ["maria", "maria", "otto", "otto", "claude", "gemini", "nameless"];
    let mut clients = Vec::new();
    for (place, token) in people.iter().enumerate() {
        let path = if place % 2 == 0 { "/ws/s" } else { "/mcp/s" };
        let mut client = world.join(path, token).await;
        client.hear().await;
        clients.push(client);
    }
    let mut stranger = world.join("/ws/other", "maria").await;
    stranger.hear().await;
    let mut id = 0;
    let mut seen: Vec<BTreeSet<u64>> = vec![BTreeSet::new(); clients.len()];
    for sender in ["maria", "otto", "claude", "elsewhere"] {
        for visibility in ["public", "private", "agent_only"] {
            id += 1;
            world.publish("s", message(id, sender, visibility, &format!("{visibility} of {sender}"))).await;
            for (place, client) in clients.iter_mut().enumerate() {
                let agent = ["claude", "gemini"].contains(&people[place]);
                let due = match visibility {
                    "public" => true,
                    "private" => people[place] == sender,
                    _ => agent || people[place] == sender,
                };
                let frames = client.hear().await;
                assert_eq!(frames.len(), usize::from(due), "{} {visibility} of {sender}: {frames:?}", people[place]);
                if due {
                    assert_eq!(frames[0]["data"]["visibility"], visibility);
                    seen[place].insert(id);
                }
            }
        }
    }
    assert_eq!(stranger.hear().await, NONE);
    for (place, client) in clients.iter_mut().enumerate() {
        let found = client.ask(json!({"tool": "get_messages", "arguments": {"session_id": "s"}})).await;
        let ids: BTreeSet<u64> =
            found[0]["result"]["messages"].as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect();
        assert_eq!(ids, seen[place], "{}", people[place]);
        assert_eq!(found[0]["result"].get("truncated"), None);
    }
    // The same, asked from outside of the context by somebody whose claims reach it.
    let found = stranger.ask(json!({"tool": "get_messages", "arguments": {"session_id": "s"}})).await;
    assert_eq!(found[0]["result"]["count"], seen[0].len());
}

#[tokio::test]
async fn ctx_07_without_authentication_private_parts_reach_nobody() {
    let world = World::with(NoAuthentication::loopback(), Bounds::default());
    let mut page = world.join("/ws/s", "").await;
    page.hear().await;
    for (id, visibility) in [(1, "private"), (2, "agent_only"), (3, "public")] {
        world.publish("s", message(id, "anonymous", visibility, "x")).await;
    }
    let live = page.hear().await;
    assert_eq!((live.len(), &live[0]["data"]["id"]), (1, &json!(3)));
    let found = page.ask(json!({"tool": "get_messages", "arguments": {"session_id": "s"}})).await;
    assert_eq!((&found[0]["result"]["count"], &found[0]["result"]["messages"][0]["id"]), (&json!(1), &json!(3)));
}

#[tokio::test]
async fn ctx_07_at_most_50_messages_come_and_the_rest_behind_the_last_of_them() {
    let world = World::new();
    // Those of another, in between, take no place in the answer.
    for id in 1..=240 {
        let sender = if id % 2 == 0 { "maria" } else { "otto" };
        world.publish("s", message(id, sender, "private", "x")).await;
    }
    let mut page = world.join("/ws/s", "maria").await;
    page.hear().await;
    let (mut since, mut all) = (0, Vec::new());
    for expected in [50, 50, 20, 0] {
        let asked = json!({"tool": "get_messages", "arguments": {"session_id": "s", "since_id": since}});
        let found = page.ask(asked).await.remove(0);
        let rows = found["result"]["messages"].as_array().unwrap();
        assert_eq!((rows.len(), &found["result"]["count"]), (expected, &json!(expected)));
        all.extend(rows.iter().map(|row| row["id"].as_u64().unwrap()));
        since = all.last().copied().unwrap();
    }
    assert_eq!(all, (1..=120).map(|half| half * 2).collect::<Vec<u64>>());
}

#[tokio::test]
async fn ctx_07_an_answer_is_bounded_in_bytes_and_never_empty_while_there_is_a_message() {
    let world = World::new();
    for id in 1..=12 {
        world.publish("s", message(id, "maria", "public", &"\u{1f600}".repeat(50_000))).await;
    }
    let mut page = world.join("/ws/s", "maria").await;
    page.hear().await;
    let (mut since, mut all) = (0, Vec::new());
    while since < 12 {
        let asked = json!({"tool": "get_messages", "arguments": {"session_id": "s", "since_id": since}});
        let frame = page.ask(asked).await.remove(0);
        assert!(frame.to_string().len() < MOST_ANSWER_BYTES + 1000);
        let rows = frame["result"]["messages"].as_array().unwrap();
        all.extend(rows.iter().map(|row| row["id"].as_u64().unwrap()));
        since = *all.last().expect("an answer holds at least one message");
    }
    assert_eq!(all, (1..=12).collect::<Vec<u64>>());
}

#[tokio::test]
async fn ctx_07_messages_before_the_permission_begins_are_not_shown() {
    let world = World::new();
    for (id, time) in [(1, "2025-08-13T14:00:00Z"), (2, "2025-08-13T15:00:00Z")] {
        let mut event = message(id, "claude", "public", "x");
        event["data"]["timestamp"] = json!(time);
        world.publish("s", event).await;
    }
    let mut late = world.join("/ws/s", "newcomer").await;
    late.hear().await;
    let found = late.ask(json!({"tool": "get_messages", "arguments": {"session_id": "s"}})).await;
    assert_eq!((&found[0]["result"]["count"], &found[0]["result"]["messages"][0]["id"]), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn ctx_07_what_is_kept_stays_within_its_bounds() {
    let bounds = Bounds { messages: 10, context_bytes: 40_000, contexts: 3, bytes: 60_000, past_floors: 8 };
    let kept = KeptStore::new(bounds);
    let hub = Hub::builder().tap(kept.clone()).build();
    for id in 1..200_u64 {
        let context: ContextId = format!("s{}", id % 7).parse().unwrap();
        let event = text(id, "claude", "public", &"x".repeat(usize::try_from(id).unwrap() * 50));
        hub.session(context).publish(event).await.unwrap();
        let (contexts, bytes) = kept.size();
        assert!(contexts <= bounds.contexts && bytes <= bounds.bytes, "{contexts} {bytes}");
    }
    assert!(kept.size().1 > 10_000);
}

#[tokio::test]
async fn ctx_08_a_context_is_known_from_the_first_event_and_its_times_are_those_that_all_may_know() {
    let world = World::new();
    let mut page = world.join("/ws/s", "maria").await;
    page.hear().await;
    let ask = json!({"tool": "get_session_info", "arguments": {"session_id": "s"}});
    let missing = page.ask(ask.clone()).await;
    assert_eq!(missing[0]["result"], json!({"error": "Session not found", "session_id": "s"}));
    let mut secret = message(1, "otto", "private", "x");
    secret["data"]["timestamp"] = json!("2025-08-13T15:00:00+00:00");
    world.publish("s", secret).await;
    page.hear().await;
    let known = page.ask(ask.clone()).await.remove(0);
    assert_eq!(known["result"]["status"], "active");
    assert_eq!(known["result"]["session"]["updated_at"], Value::Null);
    let data = json!({"agent_id": "claude", "key": "k", "value": "v", "session_id": "s", "updated_at": "2025-08-13T14:50:00Z"});
    world.publish("s", json!({"type": "memory_update", "data": data})).await;
    page.hear().await;
    let known = page.ask(ask).await.remove(0);
    assert_eq!(known["result"]["session"]["updated_at"], "2025-08-13T14:50:00.000000+00:00");
}

#[tokio::test]
async fn trap_t1_pages_get_milliseconds_and_agents_get_text_of_the_same_message() {
    for (times, page, agent) in
        [(Times::ByPath, true, false), (Times::Milliseconds, true, true), (Times::Iso, false, false)]
    {
        let world = World::set(Settings { times });
        let mut clients = [world.join("/ws/s", "maria").await, world.join("/mcp/s", "claude").await];
        for client in &mut clients {
            client.hear().await;
        }
        world.publish("s", message(1, "claude", "public", "x")).await;
        for (client, millis) in clients.iter_mut().zip([page, agent]) {
            let timestamp = client.hear().await.remove(0)["data"]["timestamp"].clone();
            let expected =
                if millis { json!(1_755_096_501_000_u64) } else { json!("2025-08-13T14:48:21.000000+00:00") };
            assert_eq!(timestamp, expected, "{times:?}");
        }
    }
}

#[tokio::test]
async fn ctx_13_whoever_asks_for_the_variant_of_agents_gets_it_on_whatever_path() {
    let world = World::set(Settings { times: Times::Milliseconds });
    for (asked, path) in [
        (Dialect::SharedContextTools, "/ws/s"),
        (Dialect::SharedContextTools, "/mcp/s"),
        (Dialect::SharedContext, "/mcp/s"),
    ] {
        let admitted = world.admit(path, Some("maria"), asked).await;
        let Admission::Connect { request, .. } = admitted else { panic!("refused") };
        assert_eq!(request.dialect, asked);
    }
}

#[tokio::test]
async fn ctx_12_that_somebody_is_typing_is_told_to_the_others_under_the_name_of_the_claims() {
    let world = World::new();
    let mut maria = world.join("/ws/s", "maria").await;
    let mut tab = world.join("/ws/s", "maria").await;
    let mut otto = world.join("/ws/s", "otto").await;
    let mut nameless = world.join("/ws/s", "nameless").await;
    let mut elsewhere = world.join("/ws/t", "otto").await;
    for client in [&mut maria, &mut tab, &mut otto, &mut nameless, &mut elsewhere] {
        client.hear().await;
    }
    let lie = json!({"type": "typing", "is_typing": true, "agent_id": "otto", "user": "otto"});
    assert_eq!(maria.ask(lie).await, NONE);
    let told = otto.hear().await;
    assert_eq!(kinds(&told), ["typing"]);
    assert_eq!((&told[0]["agent_id"], &told[0]["is_typing"]), (&json!("maria"), &json!(true)));
    assert_eq!(told[0]["session_id"], "s");
    assert_eq!(kinds(&nameless.hear().await), ["typing"]);
    assert_eq!(tab.hear().await, NONE);
    assert_eq!(elsewhere.hear().await, NONE);

    // Only where one is.
    let refused = maria.ask(json!({"type": "typing", "is_typing": true, "session_id": "t"})).await;
    assert_eq!(kinds(&refused), ["error"]);
    assert_eq!(elsewhere.hear().await, NONE);

    nameless.ask(json!({"type": "typing", "is_typing": true})).await;
    assert_eq!(otto.hear().await[0]["agent_id"], "anonymous");
    // Whoever leaves has stopped.
    maria.client.leave().await;
    let stopped = tokio::time::timeout(Duration::from_secs(5), otto.client.next_frame()).await;
    let stopped = stopped.unwrap().unwrap().value();
    assert_eq!((&stopped["agent_id"], &stopped["is_typing"]), (&json!("maria"), &json!(false)));
    // It is not kept for those who come later.
    let mut late = world.join("/ws/s", "otto").await;
    assert_eq!(kinds(&late.hear().await), ["connected"]);
}

#[tokio::test]
async fn ctx_11_a_back_end_broadcasts_an_event_as_it_built_it() {
    let world = World::new();
    let mut page = world.join("/ws/session_abc123", "maria").await;
    page.hear().await;
    let time = "2025-08-13T14:48:21.000000+00:00";
    for event in [
        message(43, "claude", "public", "hello"),
        json!({
            "type": "session_update", "session_id": "session_abc123", "agent_id": "claude", "timestamp": time,
            "message_count": 12,
        }),
        json!({"type": "memory_update", "data": {
            "agent_id": "claude", "key": "plan", "value": "{}", "session_id": "session_abc123", "scope": "session",
            "created_at": time, "updated_at": time,
        }}),
        json!({
            "type": "typing", "session_id": "session_abc123", "agent_id": "claude", "is_typing": true, "timestamp": time,
        }),
    ] {
        let (status, answer) = world.broadcast("/broadcast/session_abc123", Some("backend"), &event.to_string()).await;
        assert_eq!((status, answer), (StatusCode::OK, json!({"success": true, "session_id": "session_abc123"})));
        let mut frame = page.hear().await.remove(0);
        if event["type"] == "new_message" {
            frame["data"]["timestamp"] = event["data"]["timestamp"].clone();
        }
        assert_eq!(frame, event);
    }
}

#[tokio::test]
async fn ctx_11_what_is_no_event_of_the_context_is_told_and_goes_to_nobody() {
    let world = World::new();
    let mut pages = vec![world.join("/ws/s", "maria").await, world.join("/ws/t", "maria").await];
    for page in &mut pages {
        page.hear().await;
    }
    let update = |session: &str| json!({"type": "session_update", "session_id": session}).to_string();
    let answer = json!({"type": "tool_result", "tool": "get_messages", "result": {"session_id": "s", "messages": []}});
    for (path, body, part) in [
        ("/broadcast/s", "{".to_owned(), "not readable"),
        ("/broadcast/s", "[]".to_owned(), "object"),
        ("/broadcast/s", json!({"type": "foo"}).to_string(), "foo"),
        ("/broadcast/s", update("t"), "another session"),
        ("/broadcast/s", update("~0123456789abcdef0123456789abcdef"), "session_id"),
        ("/broadcast/trigger", update("s"), "trigger"),
        ("/broadcast/%7e0123456789abcdef0123456789abcdef", update("s"), "session_id"),
        ("/broadcast/s", message(1, "a", "admin_only", "x").to_string(), "visibility"),
        ("/broadcast/s", message(1, "a", "public", &"x".repeat(100_001)).to_string(), "content"),
        ("/broadcast/s", answer.to_string(), "addressed"),
    ] {
        let (status, answer) = world.broadcast(path, Some("backend"), &body).await;
        assert_eq!((status, &answer["success"]), (StatusCode::OK, &json!(false)), "{body} {answer}");
        assert!(answer["error"].as_str().unwrap().contains(part), "{body} {answer}");
    }
    let fine = message(1, "claude", "public", "x").to_string();
    for (path, token, status) in [
        ("/broadcast/s", None, StatusCode::UNAUTHORIZED),
        ("/broadcast/s", Some("nonsense"), StatusCode::UNAUTHORIZED),
        ("/broadcast/s", Some("maria"), StatusCode::FORBIDDEN),
        ("/broadcast/t", Some("backend-of-s"), StatusCode::FORBIDDEN),
    ] {
        let (given, answer) = world.broadcast(path, token, &fine).await;
        assert_eq!((given, &answer["success"]), (status, &json!(false)), "{token:?}");
    }
    // What a page of another site can send without asking first is not read.
    for content_type in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let request = Request::post("/broadcast/s")
            .header("authorization", "Bearer backend")
            .header("content-type", content_type)
            .body(full(fine.clone()));
        let (given, _) = world.answer(request.unwrap()).await;
        assert_eq!(given, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
    }
    let (given, _) = world.broadcast("/broadcast/s", Some("backend"), &" ".repeat((1 << 20) + 1)).await;
    assert_eq!(given, StatusCode::PAYLOAD_TOO_LARGE);
    for page in &mut pages {
        assert_eq!(page.hear().await, NONE);
    }
}

#[tokio::test]
async fn ctx_14_health_says_what_pages_of_every_release_look_for() {
    let world = World::new();
    let ask = |host: &str| world.answer(Request::get("/health").header("host", host).body(full("")).unwrap());
    let (status, health) = ask("127.0.0.1:8080").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&health["status"], &health["websocket_support"]), (&json!("healthy"), &json!(true)));
    assert_eq!(health["config"], json!({"websocket_port": 8080, "websocket_host": "127.0.0.1"}));
    assert_eq!(health["endpoints"]["websocket"], "/ws/{session_id}");
    assert!(health["timestamp"].is_string() && health["version"].as_str().unwrap().starts_with(char::is_numeric));
    assert_eq!(ask("events.example.org").await.1.get("config"), None);
    let (status, _) = world.answer(Request::get("/ws/s").body(full("")).unwrap()).await;
    assert_eq!(status, StatusCode::UPGRADE_REQUIRED);
}
