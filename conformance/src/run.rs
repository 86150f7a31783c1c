//! The runner: plays the steps of one case against a target.
//!
//! Nothing here waits for silence. That a client has *nothing* is proven by a fence: an event to that connection alone,
//! published after everything else, so that whatever the server still owed the client comes before it. Every case ends
//! with such a fence for every client, and fails when something is left over; a duplicate or a leak therefore shows in
//! every case, not only in those that look for it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use crate::{
    case,
    case::{Case, Case as CaseSpec, Level, Need, Over, Published, Relation, Step, Target as SubscribeTarget},
    matching::{self, Remembered, shorten},
    principals::{NOBODY, OPERATOR, Principal, Principals},
    scope::{Scope, Unknown},
    target::{ClientFrame, Dial, Fault, HttpRequest, Link, Receipt, Received, Target},
};

/// How long a target may take over anything a case waits for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A type that no case uses otherwise.
const FENCE: &str = "_conformance.fence";

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every step held.
    Passed,
    /// A MUST does not hold, and why.
    Failed(String),
    /// A SHOULD does not hold, and why.
    Warned(String),
}

/// Why a case stopped.
#[derive(Clone, Debug, thiserror::Error)]
enum Stop {
    #[error("{0}")]
    Differs(String),
    #[error(transparent)]
    Unknown(#[from] Unknown),
    #[error(transparent)]
    Fault(#[from] Fault),
}

type Held<T = ()> = Result<T, Stop>;

fn differs<T>(why: impl Into<String>) -> Held<T> {
    Err(Stop::Differs(why.into()))
}

/// Plays a case. `nonce` is five lower-case alphanumerics that no other case of this target had.
pub async fn run_case(case: &Case, target: &dyn Target, principals: &Principals, nonce: String) -> Outcome {
    let mut stage = Stage { target, principals, scope: Scope::new(nonce), clients: BTreeMap::new(), fences: 0 };
    match stage.play(case).await {
        Ok(()) => Outcome::Passed,
        Err(why) if case.level == Level::Must => Outcome::Failed(why),
        Err(why) => Outcome::Warned(why),
    }
}

/// What to say of cases that need the keys of the suite, when the target does not know them.
pub async fn missing_keys(target: &dyn Target, principals: &Principals) -> Option<String> {
    let named = principals.known().find_map(|principal| Some((principal, principal.user.as_deref()?)));
    let (principal, user) = named?;
    let said = match target.connect(&Dial { principal: Some(principal.clone()), ..Dial::default() }).await {
        Ok(mut link) => match timeout_at(Instant::now() + PATIENCE, link.receive()).await {
            Ok(Ok(Received::Frame { text, .. })) => text,
            other => format!("{other:?}"),
        },
        Err(fault) => fault.to_string(),
    };
    let welcome: Value = serde_json::from_str(&said).unwrap_or_default();
    if welcome.pointer("/data/user_id").and_then(Value::as_str) == Some(user) {
        return None;
    }
    let why = if welcome.is_object() { format!("it does not call {} {user}", principal.name) } else { said };
    Some(format!(
        "missing prerequisite: the server does not know the suite's keys ({}); start it with what \
         `eventwire-conformance keys` prints, or say --open if it asks for none",
        shorten(&why)
    ))
}

/// One frame as it came.
#[derive(Clone, Debug)]
struct Frame {
    json: Value,
}

impl Frame {
    fn text(&self, pointer: &str) -> &str {
        self.json.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    fn seq(&self) -> Option<u64> {
        self.json.get("seq").and_then(Value::as_u64)
    }

    fn is(&self, event_type: &str) -> bool {
        self.text("/type") == event_type
    }
}

/// What the runner knows of one client of the case, over all of its connections.
struct Client {
    link: Option<Box<dyn Link>>,
    dial: Dial,
    connection: String,
    epoch: String,
    /// Received and not yet expected.
    inbox: VecDeque<Frame>,
    /// Every logged frame it ever received.
    seen: Vec<Frame>,
    targets: BTreeSet<String>,
    /// Last `seq`, or the head that `subscribed` named, of each subscription.
    positions: BTreeMap<String, u64>,
    cursor: Option<String>,
    closed: Option<u16>,
}

/// A case being played.
struct Stage<'a> {
    target: &'a dyn Target,
    principals: &'a Principals,
    scope: Scope,
    clients: BTreeMap<String, Client>,
    fences: u32,
}

impl Stage<'_> {
    async fn play(&mut self, case: &CaseSpec) -> Result<(), String> {
        if let Some(need) = case.needs.iter().find(|need| !self.target.faces().contains(need)) {
            return Err(format!("missing prerequisite: {} has no {}", self.target.name(), need.name()));
        }
        for (index, step) in case.steps.iter().enumerate() {
            self.step(step).await.map_err(|why| format!("step {} ({}): {why}", index + 1, step.name()))?;
        }
        self.nothing_is_left(None).await.map_err(|why| format!("after the last step: {why}"))
    }

    async fn step(&mut self, step: &Step) -> Held {
        match step {
            Step::Connect(connect) => self.connect(connect).await,
            Step::Subscribe(subscribe) => self.subscribe(subscribe).await,
            Step::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe).await,
            Step::Command(command) => self.command(command).await,
            Step::Raw(raw) => self.raw(raw).await,
            Step::Publish(publish) => self.publish(publish).await,
            Step::Expect(expect) => self.expect(expect).await,
            Step::ReadUntil(until) => self.read_until(until).await,
            Step::ReadAll(name) => self.read_all(&name.client).await,
            Step::ExpectNothing(nothing) => self.nothing_is_left(nothing.client.as_deref()).await,
            Step::Drop(name) => {
                self.client(&name.client)?.link = None;
                Ok(())
            }
            Step::Reconnect(reconnect) => self.reconnect(reconnect).await,
            Step::Closed(closed) => self.closed(closed).await,
            Step::Http(http) => self.http(http).await,
            Step::Compare(compare) => self.compare(compare),
            Step::Chain(chain) => self.chain(chain),
            Step::SameHistory(same) => self.same_history(same),
            Step::Joined(joined) => self.joined(joined),
        }
    }

    fn client(&mut self, name: &str) -> Held<&mut Client> {
        match self.clients.get_mut(name) {
            Some(client) => Ok(client),
            None => differs(format!("the case never connected a client {name}")),
        }
    }

    fn principal(&self, name: Option<&str>) -> Held<Option<Principal>> {
        match name.unwrap_or(OPERATOR) {
            NOBODY => Ok(None),
            name => match self.principals.named(name) {
                Some(principal) => Ok(Some(principal.clone())),
                None => differs(format!("principals.json has no {name}")),
            },
        }
    }

    // Connections ------------------------------------------------------------------------------------------------

    async fn connect(&mut self, step: &case::Connect) -> Held {
        let mut texts = |list: &[String]| list.iter().map(|text| self.scope.text(text)).collect::<Result<Vec<_>, _>>();
        let mut dial = Dial {
            adw: texts(&step.adw)?,
            context: texts(&step.context)?,
            room: texts(&step.room)?,
            observe: step.observe,
            over: step.over,
            principal: self.principal(step.principal.as_deref())?,
            ..Dial::default()
        };
        if let Some(other) = &step.cursor_from {
            dial.cursor = self.client(other)?.cursor.clone();
        }
        if let Some(cursor) = &step.cursor {
            dial.cursor = Some(self.scope.text(cursor)?);
        }
        if let Some(ticket) = &step.ticket {
            dial.ticket = Some(self.scope.text(ticket)?);
            dial.principal = dial.principal.filter(|_| step.principal.is_some());
        }
        match (self.target.connect(&dial).await, &step.refused) {
            (Ok(link), None) => self.greet(&step.client, dial, link, step.greeting.as_deref()).await,
            (Err(Fault::Refused { code, .. }), Some(expected)) if code == *expected => Ok(()),
            (Ok(_), Some(expected)) => differs(format!("the connection was accepted, not refused with {expected}")),
            (Err(Fault::Refused { code, message }), Some(expected)) => {
                differs(format!("refused with {code} instead of {expected}: {message}"))
            }
            (Err(fault), _) => Err(fault.into()),
        }
    }

    /// Takes the welcome off a new connection, and the `subscribed` of an initial set.
    async fn greet(&mut self, name: &str, dial: Dial, link: Box<dyn Link>, greeting: Option<&[Value]>) -> Held {
        let mut client = match self.clients.remove(name) {
            Some(known) => Client { link: Some(link), inbox: VecDeque::new(), closed: None, ..known },
            None => Client {
                link: Some(link),
                dial: dial.clone(),
                connection: String::new(),
                epoch: String::new(),
                inbox: VecDeque::new(),
                seen: Vec::new(),
                targets: BTreeSet::new(),
                positions: BTreeMap::new(),
                cursor: None,
                closed: None,
            },
        };
        let nonce = self.scope.nonce().to_owned();
        let welcome = client.next(&nonce).await?;
        if !welcome.is("connection.welcome") {
            return differs(format!("the first frame is {}, not connection.welcome", welcome.text("/type")));
        }
        client.connection = welcome.text("/data/connection_id").to_owned();
        client.epoch = welcome.text("/data/epoch").to_owned();
        self.scope.set(format!("connection:{name}"), json!(client.connection));
        self.scope.set(format!("epoch:{name}"), json!(client.epoch));
        match greeting {
            Some(patterns) => {
                let mut patterns = patterns.iter();
                if let Some(first) = patterns.next() {
                    let first = self.scope.fill(first)?;
                    self.check(&first, &welcome, "the welcome")?;
                }
                for (index, pattern) in patterns.enumerate() {
                    let pattern = self.scope.fill(pattern)?;
                    let frame = client.next(&nonce).await?;
                    client.note_subscribed(&frame);
                    self.check(&pattern, &frame, &format!("frame {} of the greeting", index + 2))?;
                }
            }
            None if dial.has_initial_set() || dial.over == Some(Over::Sse) => {
                let subscribed = client.next(&nonce).await?;
                if !subscribed.is("connection.subscribed") {
                    return differs(format!(
                        "the initial set is answered by {}, not by connection.subscribed",
                        subscribed.text("/type")
                    ));
                }
                client.note_subscribed(&subscribed);
                self.check(&json!({"data": {"refused": []}}), &subscribed, "the answer to the initial set")?;
            }
            None => {}
        }
        self.clients.insert(name.to_owned(), client);
        Ok(())
    }

    async fn reconnect(&mut self, step: &case::Reconnect) -> Held {
        let client = self.client(&step.client)?;
        client.link = None;
        let mut dial = client.dial.clone();
        let over_sse = dial.over == Some(Over::Sse);
        if over_sse {
            dial.cursor = client.cursor.clone().filter(|_| step.resume);
            dial.cursor_as_last_event_id = true;
        } else {
            // The one `subscribe` that follows names the same set, with positions.
            dial = Dial { principal: dial.principal, over: dial.over, ..Dial::default() };
        }
        let epoch = client.epoch.clone();
        let streams: Vec<Value> =
            client.positions.iter().map(|(to, since)| json!({"to": to, "since": since})).collect();
        let link = self.target.connect(&dial).await?;
        self.greet(&step.client, dial, link, None).await?;
        if step.resume && !over_sse && !streams.is_empty() {
            let command = json!({"type": "subscribe", "data": {"epoch": epoch, "streams": streams}});
            let expected = json!({"type": "connection.subscribed", "data": {"refused": []}});
            self.ask(&step.client, command, &expected).await?;
        }
        Ok(())
    }

    async fn closed(&mut self, step: &case::Closed) -> Held {
        let nonce = self.scope.nonce().to_owned();
        let client = self.client(&step.client)?;
        let code = client.wait_for_close(&nonce).await?;
        if step.discard {
            client.inbox.clear();
        }
        match code == step.code {
            true => Ok(()),
            false => differs(format!("closed with {code}, not with {}", step.code)),
        }
    }

    // Commands ---------------------------------------------------------------------------------------------------

    async fn subscribe(&mut self, step: &case::Subscribe) -> Held {
        let mut streams = Vec::new();
        let mut has_position = false;
        for target in &step.to {
            streams.push(match target {
                SubscribeTarget::Bare(to) => json!({"to": self.scope.text(to)?}),
                SubscribeTarget::Since(target) => {
                    has_position = true;
                    json!({"to": self.scope.text(&target.to)?, "since": self.scope.fill(&target.since)?})
                }
            });
        }
        let mut data = json!({"streams": streams});
        let epoch = match &step.epoch {
            Some(epoch) => Some(self.scope.text(epoch)?),
            None if has_position => Some(self.client(&step.client)?.epoch.clone()),
            None => None,
        };
        if let (Some(epoch), Some(data)) = (epoch, data.as_object_mut()) {
            data.insert("epoch".to_owned(), json!(epoch));
        }
        let mut refused = BTreeMap::new();
        for (to, code) in &step.refused {
            refused.insert(self.scope.text(to)?, code.clone());
        }
        let named = |frame: &Frame, list: &str| -> BTreeSet<String> {
            let entries = frame.json.pointer(list).and_then(Value::as_array).cloned().unwrap_or_default();
            entries.iter().filter_map(|entry| entry.get("to")?.as_str().map(str::to_owned)).collect()
        };
        let asked: Vec<String> = streams.iter().map(|stream| text_of(stream, "to")).collect();
        let reply = self
            .ask(&step.client, json!({"type": "subscribe", "data": data}), &json!({"type": "connection.subscribed"}))
            .await?;
        let expected: BTreeSet<String> =
            asked.iter().filter(|to| !refused.contains_key(*to)).map(|to| root_of(to).to_owned()).collect();
        let accepted = named(&reply, "/data/streams");
        if accepted != expected {
            return differs(format!(
                "subscribed to {accepted:?}, not to {expected:?}: {}",
                shorten(&reply.json.to_string())
            ));
        }
        let turned_away: BTreeMap<String, String> = reply
            .json
            .pointer("/data/refused")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|entry| (text_of(entry, "to"), text_of(entry, "code")))
            .collect();
        if turned_away != refused {
            return differs(format!("refused {turned_away:?}, not {refused:?}"));
        }
        Ok(())
    }

    async fn unsubscribe(&mut self, step: &case::Unsubscribe) -> Held {
        let mut streams = Vec::new();
        for to in &step.to {
            streams.push(json!({"to": self.scope.text(to)?}));
        }
        let expected = json!({"type": "connection.unsubscribed", "data": {"streams": streams}});
        self.ask(&step.client, json!({"type": "unsubscribe", "data": {"streams": streams}}), &expected).await?;
        let client = self.client(&step.client)?;
        for stream in &streams {
            let to = text_of(stream, "to");
            client.targets.remove(&to);
            client.positions.remove(&to);
        }
        Ok(())
    }

    async fn command(&mut self, step: &case::Command) -> Held {
        let send = self.scope.fill(&step.send)?;
        let reply = self.scope.fill(&step.reply)?;
        self.ask(&step.client, send, &reply).await.map(|_| ())
    }

    /// Sends a command and waits for the frame that answers it. Frames before it stay in the inbox.
    async fn ask(&mut self, name: &str, mut command: Value, expected: &Value) -> Held<Frame> {
        self.fences += 1;
        let id = match command.get("id").and_then(Value::as_str) {
            Some(id) => id.to_owned(),
            None => format!("q{}", self.fences),
        };
        if let Some(command) = command.as_object_mut() {
            command.insert("id".to_owned(), json!(id));
        }
        let nonce = self.scope.nonce().to_owned();
        let client = self.client(name)?;
        client.send(ClientFrame::Text(command.to_string().into_bytes())).await?;
        let reply = client.wait_for(&nonce, |frame| frame.text("/data/re") == id).await?;
        client.note_subscribed(&reply);
        self.check(expected, &reply, "the reply")?;
        Ok(reply)
    }

    async fn raw(&mut self, step: &case::Raw) -> Held {
        let frame = match (&step.text, &step.hex, &step.binary) {
            (Some(text), None, None) => {
                let mut whole = self.scope.text(step.before.as_deref().unwrap_or_default())?;
                whole.push_str(&self.scope.text(text)?.repeat(step.times.unwrap_or(1)));
                whole.push_str(&self.scope.text(step.after.as_deref().unwrap_or_default())?);
                ClientFrame::Text(whole.into_bytes())
            }
            (None, Some(hex), None) => ClientFrame::Text(hex_bytes(hex)?),
            (None, None, Some(hex)) => ClientFrame::Binary(hex_bytes(hex)?),
            _ => return differs("a raw step has exactly one of text, hex, binary"),
        };
        let client = self.client(&step.client)?;
        for _ in 0..step.frames.unwrap_or(1) {
            match client.send(frame.clone()).await {
                // A flood may be ended before it is over; a step behind it says whether that is right.
                Err(Stop::Fault(Fault::Broken(_))) if step.frames.is_some() => break,
                sent => sent?,
            }
        }
        Ok(())
    }

    // Publishing -------------------------------------------------------------------------------------------------

    async fn publish(&mut self, step: &case::Publish) -> Held {
        let principal = self.principal(step.principal.as_deref())?;
        let mut items = Vec::new();
        for n in 1..=step.times.unwrap_or(1) {
            self.scope.set("n", json!(n));
            items.push(self.scope.fill(&step.event)?);
        }
        let receipts = self.target.publish(principal.as_ref(), &items).await;
        let receipts = match (receipts, &step.expect) {
            (Err(Fault::Refused { code, .. }), Published::Error(expected)) if code == *expected => return Ok(()),
            (receipts, _) => receipts?,
        };
        for (receipt, item) in receipts.iter().zip(&items) {
            match (receipt, &step.expect) {
                (Receipt::Accepted(_), Published::Accepted) => {}
                (Receipt::Refused(code), Published::Error(expected)) if code == expected => {}
                (receipt, expected) => {
                    return differs(format!(
                        "expected {expected:?}, found {receipt:?} for {}",
                        shorten(&item.to_string())
                    ));
                }
            }
        }
        if let Some(name) = &step.remember {
            match receipts.last() {
                Some(Receipt::Accepted(Some(seq))) => self.scope.set(name.clone(), json!(seq)),
                other => return differs(format!("there is no seq to remember: {other:?}")),
            }
        }
        Ok(())
    }

    // Expectations -----------------------------------------------------------------------------------------------

    async fn expect(&mut self, step: &case::Expect) -> Held {
        let nonce = self.scope.nonce().to_owned();
        let patterns = self.unroll(&step.frames)?;
        if step.any_order {
            return self.expect_any_order(&step.client, &patterns, &nonce).await;
        }
        for (index, pattern) in patterns.iter().enumerate() {
            let frame = match self.client(&step.client)?.next(&nonce).await {
                Ok(frame) => frame,
                Err(why) => {
                    return differs(format!(
                        "{} waits for frame {} of {}, {}: {why}",
                        step.client,
                        index + 1,
                        patterns.len(),
                        matching::brief(pattern)
                    ));
                }
            };
            // What an earlier frame of this step made known may be used by a later one.
            let pattern = self.scope.fill(pattern)?;
            self.check(&pattern, &frame, &format!("{} frame {} of {}", step.client, index + 1, patterns.len()))?;
        }
        Ok(())
    }

    async fn expect_any_order(&mut self, name: &str, patterns: &[Value], nonce: &str) -> Held {
        let mut open = Vec::new();
        for pattern in patterns {
            open.push(self.scope.fill(pattern)?);
        }
        while !open.is_empty() {
            let frame = self.client(name)?.next(nonce).await?;
            let mut remembered = Remembered::new();
            let fits = open.iter().position(|pattern| matching::matches(pattern, &frame.json, &mut remembered).is_ok());
            match fits {
                Some(index) => open.remove(index),
                None => return differs(format!("{name} received {}", shorten(&frame.json.to_string()))),
            };
            self.remember(remembered);
        }
        Ok(())
    }

    async fn read_until(&mut self, step: &case::ReadUntil) -> Held {
        let nonce = self.scope.nonce().to_owned();
        let pattern = step.frame.as_ref().map(|pattern| self.scope.fill(pattern)).transpose()?;
        loop {
            if step.count.is_some_and(|count| self.client(&step.client).is_ok_and(|client| client.seen.len() >= count))
            {
                // Everything that was counted is taken.
                self.client(&step.client)?.inbox.clear();
                return Ok(());
            }
            let frame = self.client(&step.client)?.next(&nonce).await?;
            let mut remembered = Remembered::new();
            if pattern.as_ref().is_some_and(|pattern| matching::matches(pattern, &frame.json, &mut remembered).is_ok())
            {
                self.remember(remembered);
                return Ok(());
            }
        }
    }

    async fn read_all(&mut self, name: &str) -> Held {
        let connection = self.client(name)?.connection.clone();
        self.fence(name, &connection).await?;
        self.client(name)?.inbox.clear();
        Ok(())
    }

    /// Writes out `$repeat`, with `${n}` filled in and everything else left for later.
    fn unroll(&mut self, patterns: &[Value]) -> Held<Vec<Value>> {
        let mut unrolled = Vec::new();
        for pattern in patterns {
            match (pattern.get("$repeat").and_then(Value::as_u64), pattern.get("$frame")) {
                (Some(times), Some(frame)) => {
                    let from = pattern.get("$from").and_then(Value::as_u64).unwrap_or(1);
                    for n in from..from + times {
                        self.scope.set("n", json!(n));
                        unrolled.push(self.scope.fill(frame)?);
                    }
                }
                _ => unrolled.push(pattern.clone()),
            }
        }
        Ok(unrolled)
    }

    fn check(&mut self, pattern: &Value, frame: &Frame, what: &str) -> Held {
        let mut remembered = Remembered::new();
        let matched = matching::matches(pattern, &frame.json, &mut remembered);
        self.remember(remembered);
        match matched {
            Ok(()) => Ok(()),
            Err(why) => differs(format!("{what}: {why} in {}", shorten(&frame.json.to_string()))),
        }
    }

    fn remember(&mut self, remembered: Remembered) {
        for (name, value) in remembered {
            self.scope.set(name, value);
        }
    }

    /// Proves by a fence that a client, or every connected one, has nothing more to get.
    async fn nothing_is_left(&mut self, only: Option<&str>) -> Held {
        let names: Vec<String> = match only {
            Some(name) => vec![name.to_owned()],
            None => self.clients.keys().cloned().collect(),
        };
        for name in names {
            let (connected, connection) = {
                let client = self.client(&name)?;
                (client.link.is_some() && client.closed.is_none(), client.connection.clone())
            };
            if connected {
                self.fence(&name, &connection).await?;
            } else if only.is_some() {
                return differs(format!("{name} is not connected, so a fence cannot reach it"));
            }
            if let Some(frame) = self.client(&name)?.inbox.front() {
                return differs(format!("{name} received {}", shorten(&frame.json.to_string())));
            }
        }
        Ok(())
    }

    async fn fence(&mut self, name: &str, connection: &str) -> Held {
        self.fences += 1;
        let mark = format!("fence-{}-{}", self.scope.nonce(), self.fences);
        let item = json!({
            "type": FENCE,
            "to": format!("connection:{connection}"),
            "data": {"mark": mark},
        });
        let operator = self.principal(None)?;
        match self.target.publish(operator.as_ref(), &[item]).await?.as_slice() {
            [Receipt::Accepted(_)] => {}
            other => return differs(format!("the fence for {name} was not accepted: {other:?}")),
        }
        let nonce = self.scope.nonce().to_owned();
        self.client(name)?
            .wait_for(&nonce, |frame| frame.is(FENCE) && frame.text("/data/mark") == mark)
            .await
            .map(|_| ())
    }

    // HTTP -------------------------------------------------------------------------------------------------------

    async fn http(&mut self, step: &case::Http) -> Held {
        let mut headers = BTreeMap::new();
        for (name, value) in &step.headers {
            headers.insert(name.to_ascii_lowercase(), self.scope.text(value)?);
        }
        let body = match (&step.body, &step.body_text, &step.body_hex) {
            (Some(body), None, None) => {
                headers.entry("content-type".to_owned()).or_insert_with(|| "application/json".to_owned());
                self.scope.fill(body)?.to_string().into_bytes()
            }
            (None, Some(text), None) => self.scope.text(text)?.repeat(step.times.unwrap_or(1)).into_bytes(),
            (None, None, Some(hex)) => hex_bytes(hex)?,
            (None, None, None) => Vec::new(),
            _ => return differs("an http step has at most one of body, body_text, body_hex"),
        };
        let request = HttpRequest {
            principal: self.principal(step.principal.as_deref())?,
            method: step.method.clone(),
            path: self.scope.text(&step.path)?,
            headers,
            body,
            half: step.half,
        };
        let answer = match tokio::time::timeout(PATIENCE, self.target.http(&request)).await {
            Ok(answer) => answer?,
            Err(_) => return differs(format!("no answer to {} {} within {PATIENCE:?}", step.method, step.path)),
        };
        if step.half {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        if step.status != Some(answer.status) {
            return differs(format!("status {} instead of {:?}: {}", answer.status, step.status, shorten(&text)));
        }
        for (name, part) in &step.answer_headers {
            let found = answer.headers.get(&name.to_ascii_lowercase()).cloned().unwrap_or_default();
            if !found.to_ascii_lowercase().contains(&part.to_ascii_lowercase()) {
                return differs(format!("header {name} is {found:?}, expected {part:?}"));
            }
        }
        let mut patterns = Vec::new();
        if let Some(code) = &step.error {
            patterns.push(json!({"error": {"code": code, "message": "$string"}}));
        }
        if let Some(pattern) = &step.body_match {
            patterns.push(self.scope.fill(pattern)?);
        }
        let frame = Frame { json: serde_json::from_str(&text).unwrap_or(Value::String(text)) };
        for pattern in patterns {
            self.check(&pattern, &frame, "the answer")?;
        }
        Ok(())
    }

    // What was seen ----------------------------------------------------------------------------------------------

    fn compare(&mut self, step: &case::Compare) -> Held {
        let (left, right) = (self.scope.fill(&step.left)?, self.scope.fill(&step.right)?);
        let (Some(a), Some(b)) = (left.as_u64(), right.as_u64()) else {
            return differs(format!("{left} and {right} are not both numbers"));
        };
        let holds = match step.is {
            Relation::Less => a < b,
            Relation::Equal => a == b,
            Relation::Greater => a > b,
        };
        if holds { Ok(()) } else { differs(format!("{a} is not {:?} {b}", step.is)) }
    }

    fn history(&mut self, name: &str, to: &str) -> Held<Vec<Frame>> {
        Ok(self.client(name)?.seen.iter().filter(|frame| frame.text("/to") == to).cloned().collect())
    }

    fn chain(&mut self, step: &case::Chain) -> Held {
        let to = self.scope.text(&step.to)?;
        let frames = self.history(&step.client, &to)?;
        if frames.len() != step.count {
            return differs(format!("{} has {} logged frames of {to}, not {}", step.client, frames.len(), step.count));
        }
        let mut before = match &step.after {
            Some(after) => self.scope.fill(after)?.as_u64(),
            None => None,
        };
        for frame in frames {
            let (prev, seq) = (frame.json.get("prev").and_then(Value::as_u64), frame.seq());
            if before.is_some() && prev != before {
                return differs(format!("prev is {prev:?} where {before:?} came before, in {}", frame.json));
            }
            if seq <= before && before.is_some() {
                return differs(format!("seq {seq:?} comes after {before:?}"));
            }
            before = seq;
        }
        Ok(())
    }

    fn same_history(&mut self, step: &case::SameHistory) -> Held {
        let to = self.scope.text(&step.to)?;
        let mut first: Option<(String, Vec<Value>)> = None;
        for name in &step.clients {
            let frames: Vec<Value> = self.history(name, &to)?.into_iter().map(|frame| frame.json).collect();
            if frames.len() != step.count {
                return differs(format!("{name} has {} logged frames of {to}, not {}", frames.len(), step.count));
            }
            match &first {
                None => first = Some((name.clone(), frames)),
                Some((other, expected)) => {
                    if let Some((a, b)) = expected.iter().zip(&frames).find(|(a, b)| a != b) {
                        return differs(format!(
                            "{other} has {} where {name} has {}",
                            matching::brief(a),
                            matching::brief(b)
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn joined(&mut self, step: &case::Joined) -> Held {
        let to = self.scope.text(&step.to)?;
        let expected = self.scope.text(&step.is)?;
        let pointer = format!("/data/{}", step.field);
        let text: String = self
            .history(&step.client, &to)?
            .iter()
            .filter(|frame| frame.is(&step.event_type))
            .map(|frame| frame.text(&pointer).to_owned())
            .collect();
        match text == expected {
            true => Ok(()),
            false => differs(format!("the parts make {text:?}, not {expected:?}")),
        }
    }
}

impl Client {
    async fn send(&mut self, frame: ClientFrame) -> Held {
        match &mut self.link {
            Some(link) => Ok(link.send(&frame).await?),
            None => differs("the client is not connected"),
        }
    }

    /// The next frame: from the inbox, or from the connection.
    async fn next(&mut self, nonce: &str) -> Held<Frame> {
        match self.inbox.pop_front() {
            Some(frame) => Ok(frame),
            None => self.pull(nonce, Instant::now() + PATIENCE).await,
        }
    }

    /// Reads until a frame is the one. Those before it go to the inbox.
    async fn wait_for(&mut self, nonce: &str, is_it: impl Fn(&Frame) -> bool) -> Held<Frame> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let frame = self.pull(nonce, deadline).await?;
            if is_it(&frame) {
                return Ok(frame);
            }
            self.inbox.push_back(frame);
        }
    }

    async fn wait_for_close(&mut self, nonce: &str) -> Held<u16> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(code) = self.closed {
                return Ok(code);
            }
            match self.pull(nonce, deadline).await {
                Ok(frame) => self.inbox.push_back(frame),
                Err(why) if self.closed.is_none() => return Err(why),
                Err(_) => {}
            }
        }
    }

    /// The next frame of the connection that concerns this case.
    async fn pull(&mut self, nonce: &str, deadline: Instant) -> Held<Frame> {
        loop {
            let Some(link) = &mut self.link else { return differs("the client is not connected") };
            let (text, cursor) = match timeout_at(deadline, link.receive()).await {
                Err(_) => return differs(format!("nothing came within {PATIENCE:?}")),
                Ok(Ok(Received::Frame { text, cursor })) => (text, cursor),
                Ok(Ok(Received::Closed { code, reason })) => {
                    self.closed = Some(code);
                    return differs(format!("the server closed the connection: {code} {reason}"));
                }
                Ok(Err(fault)) => {
                    self.closed = Some(1006);
                    return Err(fault.into());
                }
            };
            let frame = Frame { json: well_formed(&text)? };
            if cursor.is_some() {
                self.cursor = cursor;
            }
            self.note_logged(&frame);
            if !frame.is("connection.heartbeat") && !self.is_foreign(&frame, &text, nonce) {
                return Ok(frame);
            }
        }
    }

    /// Events of others that this client has every right to see: on a server that does other work beside this suite.
    fn is_foreign(&self, frame: &Frame, text: &str, nonce: &str) -> bool {
        let to = frame.text("/to");
        let is_shared = to == "global" || to.starts_with("user:") || self.targets.contains("*");
        is_shared && !to.starts_with("connection:") && !text.contains(nonce)
    }

    fn note_logged(&mut self, frame: &Frame) {
        let Some(seq) = frame.seq() else { return };
        self.seen.push(frame.clone());
        let root = root_of(frame.text("/to")).to_owned();
        let is_target = self.targets.contains(&root);
        if is_target || !self.targets.contains("*") {
            self.positions.insert(root, seq);
        }
        if let Some(position) = self.positions.get_mut("*") {
            *position = seq.max(*position);
        }
    }

    fn note_subscribed(&mut self, frame: &Frame) {
        if !frame.is("connection.subscribed") {
            return;
        }
        for stream in frame.json.pointer("/data/streams").and_then(Value::as_array).into_iter().flatten() {
            let to = text_of(stream, "to");
            let head = stream.get("head").and_then(Value::as_u64).unwrap_or(0);
            self.targets.insert(to.clone());
            self.positions.entry(to).or_insert(head);
        }
    }
}

/// The shape that every frame has, whatever it says.
fn well_formed(text: &str) -> Held<Value> {
    let bad = |why: &str| differs(format!("a frame {why}: {}", shorten(text)));
    let Ok(frame) = serde_json::from_str::<Value>(text) else { return bad("is not JSON") };
    let shape = json!({"type": "$string", "time": "$time", "to": "$string", "data": "$object"});
    if let Err(why) = matching::matches(&shape, &frame, &mut Remembered::new()) {
        return bad(&format!("has not the shape of one ({why})"));
    }
    match (frame.get("seq").and_then(Value::as_u64), frame.get("prev").and_then(Value::as_u64)) {
        (None, None) if frame.get("seq").is_none() && frame.get("prev").is_none() => Ok(frame),
        (Some(seq), Some(prev)) if prev < seq && seq < 1 << 53 => Ok(frame),
        _ => bad("has a seq and prev that do not fit"),
    }
}

/// What one subscribes to in order to receive a stream: the audience without its part.
fn root_of(to: &str) -> &str {
    to.split_once('/').map_or(to, |(root, _)| root)
}

fn text_of(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn hex_bytes(hex: &str) -> Held<Vec<u8>> {
    let pair = |at: usize| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    match (0..hex.len()).step_by(2).map(pair).collect() {
        Some(bytes) => Ok(bytes),
        None => differs(format!("{hex:?} is not hexadecimal")),
    }
}

/// What a case needs by what its steps do. A case that does not say so is a mistake in the suite.
pub fn derived_needs(case: &Case) -> BTreeSet<Need> {
    let mut needs = BTreeSet::new();
    let acts_as = |principal: &Option<String>| match principal.as_deref() {
        None | Some(OPERATOR) => None,
        Some(_) => Some(Need::Keys),
    };
    for step in &case.steps {
        match step {
            Step::Connect(connect) => {
                needs.extend(acts_as(&connect.principal));
                needs.extend(connect.over.map(|over| match over {
                    Over::Sse => Need::Sse,
                    Over::Websocket => Need::Websocket,
                }));
            }
            Step::Publish(publish) => needs.extend(acts_as(&publish.principal)),
            Step::Http(http) => {
                needs.insert(Need::Http);
                needs.extend(acts_as(&http.principal));
            }
            Step::Raw(raw) if raw.binary.is_some() => {
                needs.insert(Need::Websocket);
            }
            Step::Closed(closed) if closed.code == 1006 => {
                needs.insert(Need::Websocket);
            }
            _ => {}
        }
    }
    needs
}
