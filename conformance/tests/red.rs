//! The suite against targets that are broken on purpose: a runner that cannot fail proves nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails says so by panicking"
)]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use eventwire_conformance::{
    case::{Case, Level, Need},
    cases,
    principals::{Principal, Principals},
    report::{self, Quiet, Report},
    target::{
        ClientFrame, Dial, Fault, HttpAnswer, HttpRequest, Link, Receipt, Received, Target, memory::MemoryTarget,
    },
};
use serde_json::{Value, json};

/// One thing that the target does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    /// Nothing: the wrapper itself changes nothing.
    None,
    /// What a session receives reaches another connection too.
    LeaksSessions,
    /// Every third logged frame of a connection is lost.
    DropsFrames,
    /// The first frame of a replay comes twice.
    RepeatsOnResume,
    /// `prev` is always 0.
    ForgetsPrev,
    /// Nobody is told what is missing.
    HidesGaps,
    /// `unsubscribe` is confirmed and not carried out.
    KeepsOnSending,
    /// Two frames change places.
    Reorders,
    /// Whatever a client sends is answered by nothing.
    IsMute,
    /// A bad frame ends the connection.
    HangsUp,
    /// What is refused is told to be accepted.
    AcceptsEverything,
}

/// The hub in this process, with a defect before it.
struct Broken {
    inner: MemoryTarget,
    defect: Defect,
    /// Frames that somebody else is to receive as well: who got them, and which.
    leaked: Arc<Mutex<Vec<(usize, String)>>>,
    links: Mutex<usize>,
}

struct BrokenLink {
    inner: Box<dyn Link>,
    defect: Defect,
    leaked: Arc<Mutex<Vec<(usize, String)>>>,
    number: usize,
    ready: VecDeque<Received>,
    logged: usize,
    replaying: bool,
    held: Option<Received>,
}

#[async_trait]
impl Target for Broken {
    fn name(&self) -> String {
        format!("a target that {:?}", self.defect)
    }

    fn faces(&self) -> &[Need] {
        self.inner.faces()
    }

    async fn connect(&self, dial: &Dial) -> Result<Box<dyn Link>, Fault> {
        let inner = self.inner.connect(dial).await?;
        let number = {
            let mut links = self.links.lock().unwrap();
            *links += 1;
            *links
        };
        let (defect, leaked) = (self.defect, self.leaked.clone());
        let ready = VecDeque::new();
        Ok(Box::new(BrokenLink { inner, defect, leaked, number, ready, logged: 0, replaying: false, held: None }))
    }

    async fn publish(&self, principal: Option<&Principal>, items: &[Value]) -> Result<Vec<Receipt>, Fault> {
        let receipts = self.inner.publish(principal, items).await?;
        Ok(match self.defect {
            Defect::AcceptsEverything => receipts.iter().map(|_| Receipt::Accepted(None)).collect(),
            _ => receipts,
        })
    }

    async fn http(&self, request: &HttpRequest) -> Result<HttpAnswer, Fault> {
        self.inner.http(request).await
    }
}

#[async_trait]
impl Link for BrokenLink {
    async fn send(&mut self, frame: &ClientFrame) -> Result<(), Fault> {
        if self.defect == Defect::KeepsOnSending
            && let ClientFrame::Text(bytes) = frame
            && let Ok(mut command) = serde_json::from_slice::<Value>(bytes)
            && command["type"] == "unsubscribe"
        {
            // Of something nobody has, so that it is confirmed without effect.
            let streams = command["data"]["streams"].clone();
            command["data"]["streams"] = json!([{"to": "room:nobody-is-here"}]);
            self.inner.send(&ClientFrame::Text(command.to_string().into_bytes())).await?;
            let Received::Frame { text, .. } = self.inner.receive().await? else { return Ok(()) };
            let mut answer: Value = serde_json::from_str(&text).unwrap();
            answer["data"]["streams"] = streams;
            self.ready.push_back(Received::Frame { text: answer.to_string(), cursor: None });
            return Ok(());
        }
        self.inner.send(frame).await
    }

    async fn receive(&mut self) -> Result<Received, Fault> {
        loop {
            if let Some(received) = self.ready.pop_front() {
                return Ok(received);
            }
            if self.defect == Defect::LeaksSessions {
                let mut leaked = self.leaked.lock().unwrap();
                if let Some(at) = leaked.iter().position(|(from, _)| *from != self.number) {
                    let (_, text) = leaked.remove(at);
                    return Ok(Received::Frame { text, cursor: None });
                }
            }
            let received = self.inner.receive().await?;
            self.tamper(received);
        }
    }
}

impl BrokenLink {
    fn tamper(&mut self, received: Received) {
        let Received::Frame { text, cursor } = &received else { return self.ready.push_back(received) };
        let mut frame: Value = serde_json::from_str(text).unwrap();
        let kind = frame["type"].as_str().unwrap().to_owned();
        let is_logged = frame.get("seq").is_some();
        if is_logged {
            self.logged += 1;
        }
        match self.defect {
            Defect::LeaksSessions if frame["to"].as_str().unwrap().starts_with("session:") => {
                self.leaked.lock().unwrap().push((self.number, text.clone()));
            }
            Defect::DropsFrames if is_logged && self.logged.is_multiple_of(3) => return,
            Defect::RepeatsOnResume if kind == "connection.replaying" => self.replaying = true,
            Defect::RepeatsOnResume if is_logged && std::mem::take(&mut self.replaying) => {
                self.ready.push_back(received.clone());
            }
            Defect::ForgetsPrev if is_logged => {
                frame["prev"] = json!(0);
                self.ready.push_back(Received::Frame { text: frame.to_string(), cursor: cursor.clone() });
                return;
            }
            Defect::HidesGaps if kind == "connection.gap" => return,
            Defect::Reorders if is_logged => match self.held.take() {
                None => return self.held = Some(received),
                Some(before) => {
                    self.ready.push_back(received);
                    return self.ready.push_back(before);
                }
            },
            Defect::IsMute if kind == "connection.pong" || kind == "connection.error" => return,
            Defect::HangsUp if kind == "connection.error" => {
                let reason = "bad frame".to_owned();
                return self.ready.push_back(Received::Closed { code: 4000, reason });
            }
            _ => {}
        }
        // What is held back comes before anything that is not logged, so that the suite ends.
        if !is_logged && let Some(before) = self.held.take() {
            self.ready.push_back(before);
        }
        self.ready.push_back(received);
    }
}

async fn run(defect: Defect, choose: impl Fn(&Case) -> bool) -> Report {
    let principals = Principals::builtin().unwrap();
    let inner = MemoryTarget::start(&principals).unwrap();
    let target = Broken { inner, defect, leaked: Arc::default(), links: Mutex::new(0) };
    let mut chosen = cases::all().unwrap();
    chosen.retain(choose);
    let mut count = 0;
    let nonce = || {
        count += 1;
        format!("t{count:04}")
    };
    report::run(&chosen, &target, &principals, nonce, &mut Quiet).await.unwrap()
}

/// Every case that has to see the defect does; the rest of the suite is not asked, since waiting for what never comes
/// takes its time.
async fn sees(defect: Defect, ids: &[&str]) {
    let report = run(defect, |case| ids.contains(&case.id.as_str())).await;
    assert_eq!(report.cases.len(), ids.len(), "{defect:?}: a case has another name now");
    let blind: Vec<_> = report.cases.iter().filter(|entry| entry.outcome == "passed").map(|entry| &entry.id).collect();
    assert!(blind.is_empty(), "{defect:?} is not seen by {blind:?}");
    assert!(!report.holds());
}

#[tokio::test]
async fn the_wrapper_itself_changes_nothing() {
    let report = run(Defect::None, |_| true).await;
    let failed: Vec<_> = report.cases.iter().filter(|entry| entry.outcome != "passed").collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(report.holds() && report.passed >= 40);
}

#[tokio::test]
async fn a_leak_between_sessions_is_seen() {
    sees(Defect::LeaksSessions, &["ROUTE-01-session-every-tab", "ROUTE-01-session-sender-is-no-exception"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_frame_is_seen() {
    sees(Defect::DropsFrames, &["LOG-02-prev-chains-a-stream", "LOG-06-since-0", "LOG-06-cut-off-in-the-middle"]).await;
}

#[tokio::test]
async fn a_frame_that_comes_twice_on_resume_is_seen() {
    let ids = ["LOG-06-since-0", "LOG-06-cut-off-in-the-middle", "LOG-06-again-and-again", "LOG-06-observer-resumes"];
    sees(Defect::RepeatsOnResume, &ids).await;
}

#[tokio::test]
async fn a_broken_chain_is_seen() {
    sees(Defect::ForgetsPrev, &["LOG-02-interleaved-streams-keep-their-chains", "LOG-02-prev-chains-a-stream"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_gap_that_is_not_told_is_seen() {
    sees(Defect::HidesGaps, &["LOG-05-foreign-epoch", "LOG-05-each-stream-is-told"]).await;
}

#[tokio::test]
async fn an_unsubscribe_without_effect_is_seen() {
    sees(Defect::KeepsOnSending, &["ROUTE-02-emptied-set-receives-nothing", "ROUTE-02-only-what-is-left"]).await;
}

#[tokio::test]
async fn another_order_is_seen() {
    sees(Defect::Reorders, &["LOG-02-prev-chains-a-stream", "LOG-06-since-0", "LOG-02-the-same-number-for-everyone"])
        .await;
}

#[tokio::test(start_paused = true)]
async fn silence_is_seen() {
    sees(Defect::IsMute, &["CMD-04-ping-echo", "CMD-02-malformed"]).await;
}

#[tokio::test]
async fn a_connection_that_a_bad_frame_ends_is_seen() {
    sees(Defect::HangsUp, &["CMD-02-malformed", "ENV-07-duplicate-key"]).await;
}

#[tokio::test]
async fn a_refusal_that_is_not_told_is_seen() {
    sees(Defect::AcceptsEverything, &["EVT-02-audience-not-allowed", "ROUTE-07-missing-target-reaches-nobody"]).await;
}

#[tokio::test]
async fn a_recommendation_that_is_not_followed_is_a_warning_and_no_failure() {
    let principals = Principals::builtin().unwrap();
    let inner = MemoryTarget::start(&principals).unwrap();
    let target = Broken { inner, defect: Defect::ForgetsPrev, leaked: Arc::default(), links: Mutex::new(0) };
    let mut chosen = cases::all().unwrap();
    chosen.retain(|case| case.id == "LOG-02-prev-chains-a-stream" || case.id == "ROUTE-01-room-members");
    chosen.iter_mut().for_each(|case| case.level = Level::Should);
    let mut count = 0;
    let nonce = || {
        count += 1;
        format!("t{count:04}")
    };
    let report = report::run(&chosen, &target, &principals, nonce, &mut Quiet).await.unwrap();
    assert_eq!((report.passed, report.failed, report.warned), (1, 0, 1));
    assert!(report.holds());
    assert_eq!(report.to_string(), "1 passed, 0 failed");
}

#[tokio::test]
async fn a_missing_prerequisite_fails_and_a_run_without_cases_proves_nothing() {
    let principals = Principals::builtin().unwrap();
    let mut chosen = cases::all().unwrap();
    chosen.retain(|case| case.id == "ROUTE-01-user-every-device");
    // A hub that knows none of the keys.
    let stranger = Principals::builtin().unwrap().with_operator_token("another");
    let target = MemoryTarget::start(&stranger).unwrap();
    let report = report::run(&chosen, &target, &principals, || "t0001".to_owned(), &mut Quiet).await.unwrap();
    assert_eq!((report.passed, report.failed), (0, 1));
    let report = report::run(&[], &target, &principals, || "t0001".to_owned(), &mut Quiet).await.unwrap();
    assert!(!report.holds());
}
