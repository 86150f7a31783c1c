//! What one browser session stands at, as far as events and commands have said: a pure reducer.
//!
//! A page that opens is told all of it at once. The application's own store stays the truth: what is kept here is bounded,
//! and gone after a restart, and an application that publishes `chat.past_messages` or `chat.parameters` replaces it.
//!
//! Unknown is not empty (MON-15): of a conversation that began before this process, messages are told only once the
//! application has said which there are.

use std::collections::VecDeque;

use eventwire_protocol::{
    Event,
    event::chat::{
        Apps, ChangeStatus, ConversationMessage, DisplaySample, EditSuccess, Fragment, McpStatus, MessageImage,
        MessageStatus, Parameters, PastMessages, PrivacyState, Stats,
    },
};
use serde_json::{Map, Value};

/// How much of one session is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConversationBounds {
    /// Messages; the oldest go first.
    pub messages: usize,
    /// Bytes of messages, roughly; the oldest go first, but the newest stays.
    pub bytes: usize,
}

impl Default for ConversationBounds {
    /// 1,000 messages, as many as the system of origin keeps, and 4 MiB.
    fn default() -> Self {
        Self { messages: 1_000, bytes: 4 * 1024 * 1024 }
    }
}

/// The parameter with the language of a page.
const LANGUAGE: &str = "ui_language";

/// What one browser session stands at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversation {
    apps: Option<Apps>,
    /// Unknown until a page or the application says them.
    parameters: Option<Map<String, Value>>,
    /// The language that a page asked for, which is no parameter before there are others.
    language: Option<Value>,
    messages: VecDeque<Kept>,
    /// Whether there may be messages of before that the application has not said.
    is_partial: bool,
    /// The answer that is being written.
    answer: Option<Answer>,
    /// Whether an answer may be under way of which no part was seen.
    is_in_the_middle: bool,
    /// Bytes of apps and parameters, roughly.
    fixed_bytes: usize,
    stats: Option<Stats>,
    mcp_status: Option<McpStatus>,
    privacy: Option<PrivacyState>,
    bytes: usize,
}

/// An answer that is being written: the text so far.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    text: String,
    /// The number of the last part.
    sequence: Option<u64>,
    mid: Option<String>,
    /// Whether the text has everything from its beginning on.
    is_whole: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Kept {
    message: ConversationMessage,
    bytes: usize,
    /// What somebody wished to write in its place. The event that confirms it need not repeat it.
    proposed: Option<String>,
}

impl Conversation {
    /// A conversation that began before this process, of which nothing is known yet (MON-15).
    pub fn of_before() -> Self {
        Self { is_partial: true, is_in_the_middle: true, ..Self::default() }
    }

    /// Takes in an event. Says whether something may be another now.
    pub fn apply(&mut self, event: &Event, bounds: ConversationBounds) -> bool {
        match event {
            Event::ChatApps(apps) => {
                self.apps = Some(apps.clone());
                self.recount();
            }
            Event::ChatParameters(Parameters { parameters, .. }) => {
                self.parameters = Some(parameters.clone());
                self.recount();
            }
            Event::ChatPastMessages(PastMessages { messages, .. }) => {
                self.is_partial = false;
                self.messages.clear();
                self.bytes = 0;
                messages.iter().for_each(|message| self.put(message.clone()));
            }
            Event::ChatFragment(part) => self.write(part, bounds),
            Event::ChatFragmentWithAudio(part) => self.write(&part.fragment, bounds),
            Event::ChatStreamingComplete(_)
            | Event::ChatClearFragments(_)
            | Event::ChatCleared(_)
            | Event::ChatCancel(_) => self.end_answer(),
            // Whether the answer goes on the error does not say.
            Event::ChatError(_) => {
                if let Some(answer) = &mut self.answer {
                    answer.is_whole = false;
                }
            }
            Event::ChatUser(said) => self.put(said.message.clone()),
            Event::ChatHtml(said) => {
                self.end_answer();
                self.put(said.message.clone());
            }
            Event::ChatDisplaySample(sample) => self.put(self.sampled(sample)),
            Event::ChatEditSuccess(edit) => self.edit(edit),
            Event::ChatChangeStatus(ChangeStatus { messages }) => messages.iter().for_each(|status| {
                if let Some(kept) = self.kept(&status.mid) {
                    kept.message.active = Some(status.active);
                }
            }),
            Event::ChatStats(stats) => self.stats = Some(stats.clone()),
            Event::ChatMcpStatus(status) => self.mcp_status = Some(status.clone()),
            Event::ChatPrivacyState(state) => self.privacy = Some(state.clone()),
            _ => return false,
        }
        self.fit(bounds);
        true
    }

    /// Changes parameters, and leaves the others as they are. Gives all of them.
    pub fn merged(&self, changes: Map<String, Value>) -> Map<String, Value> {
        let mut parameters = self.parameters.clone().unwrap_or_default();
        parameters.extend(self.language.clone().map(|language| (LANGUAGE.to_owned(), language)));
        parameters.extend(changes);
        parameters
    }

    /// Takes the language of a page that asks for everything. Where no parameters are known it makes none known.
    pub fn set_language(&mut self, language: Value) {
        match &mut self.parameters {
            Some(parameters) => drop(parameters.insert(LANGUAGE.to_owned(), language)),
            None => self.language = Some(language),
        }
        self.recount();
    }

    /// Forgets messages and parameters. After that the messages are known: there are none.
    pub fn reset(&mut self) {
        self.messages.clear();
        self.bytes = 0;
        self.is_partial = false;
        self.end_answer();
        self.parameters = None;
        self.language = None;
        self.stats = None;
        self.recount();
    }

    /// Adds a part to the answer that is being written. One that grows over the bounds is not told.
    fn write(&mut self, part: &Fragment, bounds: ConversationBounds) {
        let goes_on = |answer: &Answer| !part.is_first && answer.mid == part.mid;
        let is_start = part.is_first || part.sequence == Some(0) || (part.sequence.is_none() && !self.is_in_the_middle);
        let begin = || Answer { text: String::new(), sequence: None, mid: part.mid.clone(), is_whole: is_start };
        let mut answer = self.answer.take().filter(goes_on).unwrap_or_else(begin);
        answer.is_whole &= answer.text.len() + part.content.len() <= bounds.bytes;
        if answer.is_whole {
            answer.text.push_str(&part.content);
            answer.sequence = part.sequence.or(answer.sequence);
        } else {
            answer.text = String::new();
        }
        self.answer = Some(answer);
    }

    fn end_answer(&mut self) {
        self.answer = None;
        self.is_in_the_middle = false;
    }

    /// The answer that is being written, as one part: the text so far, with the number of its last part (MON-16).
    pub fn answer(&self) -> Option<Event> {
        let answer = self.answer.as_ref().filter(|answer| answer.is_whole && !answer.text.is_empty())?;
        let Answer { text, sequence, mid, .. } = answer;
        Some(Fragment { content: text.clone(), sequence: *sequence, is_first: true, mid: mid.clone() }.into())
    }

    /// Counts the bytes of apps and parameters anew.
    fn recount(&mut self) {
        let parameters = self.parameters.iter().flatten();
        let parameters: usize = parameters.map(|(name, value)| name.len() + size(value)).sum();
        let apps = self.apps.iter().flat_map(|apps| &apps.apps).map(|(name, value)| name.len() + size(value));
        self.fixed_bytes = parameters + apps.sum::<usize>();
    }

    /// Remembers what a message is to say once that is confirmed; `None` takes it back.
    pub fn propose(&mut self, mid: &str, text: Option<String>) {
        if let Some(kept) = self.kept(mid) {
            kept.proposed = text;
            self.weigh(mid);
        }
    }

    /// Deletes a message. Says whether there was one.
    pub fn delete(&mut self, mid: &str) -> bool {
        let before = self.messages.len();
        self.messages.retain(|kept| kept.message.mid != mid);
        self.bytes = self.messages.iter().map(|kept| kept.bytes).sum();
        self.messages.len() < before
    }

    /// How many bytes it takes, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes + self.fixed_bytes + self.answer.as_ref().map_or(0, |answer| answer.text.len() + 64)
    }

    /// Its messages, oldest first.
    pub fn messages(&self) -> impl ExactSizeIterator<Item = &ConversationMessage> {
        self.messages.iter().map(|kept| &kept.message)
    }

    /// What a page that opens is told before the lists of voices, which are everybody's, and behind them, in the order of
    /// the system of origin. Nothing, if nothing is known. `budget` is how many bytes the frames may have together, roughly.
    pub fn told(&self, budget: usize) -> (Vec<Event>, Vec<Event>) {
        let said =
            self.apps.is_some() || self.stats.is_some() || self.parameters.is_some() || !self.messages.is_empty();
        let mut before: Vec<Event> = Vec::new();
        let mut after: Vec<Event> = Vec::new();
        let past = PastMessages { messages: Vec::new(), from_initial_load: Some(true), from_import: None };
        // Numbers of a conversation of which a part is known would be wrong.
        let stats = (said && (!self.is_partial || self.stats.is_some())).then(|| self.stats());
        before.extend(self.apps().map(Event::from));
        if let Some(parameters) = self.parameters.clone().filter(|parameters| !parameters.is_empty()) {
            before.push(Parameters { parameters, from_param_update: None, from_import: None }.into());
        }
        if said && !self.is_partial {
            let left = budget.saturating_sub(self.bytes() - self.bytes);
            before.push(PastMessages { messages: self.newest(left), ..past }.into());
        }
        before.extend(stats.clone().map(Event::from));
        after.extend(self.mcp_status.clone().map(Event::from));
        after.extend(self.change_status().filter(|_| !self.is_partial).map(Event::from));
        after.extend(stats.map(Event::from));
        after.extend(self.privacy.clone().map(Event::from));
        (before, after)
    }

    /// Whether messages of before may be missing: the application has not said which there are (MON-15).
    pub fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// The messages alone, for pages in which one of them is to go.
    pub fn told_messages(&self, budget: usize) -> Event {
        PastMessages { messages: self.newest(budget), from_initial_load: Some(true), from_import: None }.into()
    }

    /// The apps, with the one that a tab of the session chose.
    fn apps(&self) -> Option<Apps> {
        let mut apps = self.apps.clone()?;
        let chosen = self.parameters.as_ref().and_then(|parameters| parameters.get("app_name")?.as_str());
        if let Some(name) = chosen.filter(|name| apps.apps.contains_key(*name)) {
            apps.current_app_name = Some(name.to_owned());
        }
        Some(apps)
    }

    /// As many of the newest messages as fit. Pictures go before messages do.
    fn newest(&self, budget: usize) -> Vec<ConversationMessage> {
        let mut left = budget;
        let mut newest = VecDeque::new();
        for kept in self.messages.iter().rev() {
            let bare = kept.bytes - kept.message.images.iter().flatten().map(image_size).sum::<usize>();
            let mut message = kept.message.clone();
            let bytes = if kept.bytes <= left {
                kept.bytes
            } else if bare <= left {
                message.images = None;
                bare
            } else {
                break;
            };
            left -= bytes;
            newest.push_front(message);
        }
        newest.into()
    }

    /// What the application counted, or what can be counted here: pages wait for it.
    fn stats(&self) -> Stats {
        let changed = self.change_status().is_some();
        if let Some(stats) = &self.stats {
            return Stats { changed, ..stats.clone() };
        }
        let active = self.messages().filter(|message| message.active != Some(false)).count();
        Stats {
            changed,
            count_messages: self.messages.len() as u64,
            count_active_messages: active as u64,
            count_total_system_tokens: None,
            count_total_input_tokens: None,
            count_total_output_tokens: None,
            count_total_active_tokens: None,
            count_all_tokens: None,
            encoding_name: None,
            error: None,
        }
    }

    /// The messages that the model no longer sees, if there are any.
    fn change_status(&self) -> Option<ChangeStatus> {
        let unseen = self.messages().filter(|message| message.active == Some(false));
        let messages: Vec<_> =
            unseen.map(|message| MessageStatus { mid: message.mid.clone(), active: false }).collect();
        (!messages.is_empty()).then_some(ChangeStatus { messages })
    }

    fn kept(&mut self, mid: &str) -> Option<&mut Kept> {
        self.messages.iter_mut().rev().find(|kept| kept.message.mid == mid)
    }

    /// Puts a message where the one of the same name is, or behind the others.
    fn put(&mut self, mut message: ConversationMessage) {
        let mid = message.mid.clone();
        match self.kept(&mid) {
            Some(kept) => {
                message.active = message.active.or(kept.message.active);
                kept.message = message;
                kept.proposed = None;
            }
            None => self.messages.push_back(Kept { message, bytes: 0, proposed: None }),
        }
        self.weigh(&mid);
    }

    fn sampled(&self, sample: &DisplaySample) -> ConversationMessage {
        let text = sample.text.clone().or_else(|| sample.html.clone()).unwrap_or_default();
        ConversationMessage {
            mid: sample.mid.clone(),
            role: sample.role.clone(),
            text,
            html: sample.html.clone(),
            lang: None,
            app_name: None,
            active: None,
            thinking: None,
            images: None,
            monadic: None,
            tokens: None,
            metadata: None,
        }
    }

    fn edit(&mut self, edit: &EditSuccess) {
        let Some(kept) = self.kept(&edit.mid) else { return };
        let text = edit.text.clone().or_else(|| kept.proposed.take()).or_else(|| edit.html.clone());
        kept.proposed = None;
        if let Some(text) = text {
            kept.message.text = text;
        }
        // Markup of the text as it was would show that text again.
        kept.message.html = edit.html.clone();
        kept.message.role = edit.role.clone();
        if edit.images.is_some() {
            kept.message.images = edit.images.clone();
        }
        self.weigh(&edit.mid);
    }

    /// Counts the bytes of a message anew.
    fn weigh(&mut self, mid: &str) {
        let Some(kept) = self.kept(mid) else { return };
        let before = kept.bytes;
        kept.bytes = message_size(&kept.message) + kept.proposed.as_ref().map_or(0, String::len);
        let after = kept.bytes;
        self.bytes = self.bytes + after - before;
    }

    /// Lets the oldest messages go until the others are within the bounds.
    pub fn fit(&mut self, bounds: ConversationBounds) {
        while self.messages.len() > bounds.messages || (self.bytes > bounds.bytes && self.messages.len() > 1) {
            let Some(oldest) = self.messages.pop_front() else { return };
            self.bytes -= oldest.bytes;
        }
    }
}

/// Roughly what a message takes as JSON.
fn message_size(message: &ConversationMessage) -> usize {
    let optional = [&message.html, &message.lang, &message.app_name, &message.thinking];
    let texts: usize = optional.into_iter().flatten().map(String::len).sum();
    let images: usize = message.images.iter().flatten().map(image_size).sum();
    let metadata = message.metadata.iter().flatten().map(|(name, value)| name.len() + size(value));
    128 + message.mid.len() + message.text.len() + texts + images + metadata.sum::<usize>()
}

fn image_size(image: &MessageImage) -> usize {
    let optional = [&image.mime_type, &image.mask_for, &image.display_data];
    let texts: usize = optional.into_iter().flatten().map(String::len).sum();
    64 + image.title.len() + image.data.len() + texts
}

/// Roughly what a value takes as JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 3,
        Value::Array(items) => items.iter().map(size).sum::<usize>() + 2,
        Value::Object(members) => members.iter().map(|(name, value)| name.len() + 4 + size(value)).sum::<usize>() + 2,
        _ => 8,
    }
}
