//! What is kept of a conversation, held against a list that knows no shortcut.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use eventwire_protocol::{Event, EventType};
use eventwire_systems::monadic::{Conversation, ConversationBounds};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json, value::to_raw_value};

const MOST: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    User(&'static str, String),
    Html(&'static str, String, Option<bool>),
    Sample(&'static str, Option<String>, Option<String>),
    Past(Vec<(&'static str, String)>),
    Change(Vec<(&'static str, bool)>),
    Propose(&'static str, Option<String>),
    Edit(&'static str, Option<String>, Option<String>),
    Delete(&'static str),
    Parameters(Vec<(&'static str, u8)>),
    Merge(Vec<(&'static str, u8)>),
    Reset,
    /// Empties the text area of the answer; no message goes.
    Cleared,
    Fragment(String),
}

fn step() -> impl Strategy<Value = Step> {
    let mid = || select(vec!["a", "b", "c", "d", "e", "f"]);
    let text = || "[a-z<\"]{0,6}";
    let name = || select(vec!["app_name", "model", "x"]);
    prop_oneof![
        (mid(), text()).prop_map(|(mid, text)| Step::User(mid, text)),
        (mid(), text(), any::<Option<bool>>()).prop_map(|(mid, text, active)| Step::Html(mid, text, active)),
        (mid(), option::of(text()), option::of(text())).prop_map(|(mid, text, html)| Step::Sample(mid, text, html)),
        vec((mid(), text()), 0..6).prop_map(Step::Past),
        vec((mid(), any::<bool>()), 0..4).prop_map(Step::Change),
        (mid(), option::of(text())).prop_map(|(mid, text)| Step::Propose(mid, text)),
        (mid(), option::of(text()), option::of(text())).prop_map(|(mid, text, html)| Step::Edit(mid, text, html)),
        mid().prop_map(Step::Delete),
        vec((name(), any::<u8>()), 0..3).prop_map(Step::Parameters),
        vec((name(), any::<u8>()), 0..3).prop_map(Step::Merge),
        Just(Step::Reset),
        Just(Step::Cleared),
        text().prop_map(Step::Fragment),
    ]
}

/// One message, as the list has it.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    mid: String,
    text: String,
    html: Option<String>,
    active: Option<bool>,
}

/// The list: what was said, what was wished, and the parameters.
#[derive(Default)]
struct List {
    said: Vec<Said>,
    wishes: Vec<(String, String)>,
    parameters: Map<String, Value>,
    /// The answer that is being written.
    answer: String,
}

impl List {
    fn place(&self, mid: &str) -> Option<usize> {
        (0..self.said.len()).find(|place| self.said[*place].mid == mid)
    }

    fn say(&mut self, mid: &str, text: &str, html: Option<&str>, active: Option<bool>) {
        self.wishes.retain(|(of, _)| of != mid);
        let mut said = Said { mid: mid.into(), text: text.into(), html: html.map(Into::into), active };
        match self.place(mid) {
            Some(place) => {
                if active.is_none() {
                    said.active = self.said[place].active;
                }
                self.said[place] = said;
            }
            None => self.said.push(said),
        }
        if self.said.len() > MOST {
            let gone = self.said.remove(0);
            self.wishes.retain(|(of, _)| *of != gone.mid);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::User(mid, text) => self.say(mid, text, None, None),
            Step::Html(mid, text, active) => {
                self.answer.clear();
                self.say(mid, text, Some("<p></p>"), *active);
            }
            Step::Sample(mid, text, html) => {
                let shown = text.clone().or(html.clone()).unwrap_or_default();
                self.say(mid, &shown, html.as_deref(), None);
            }
            Step::Past(messages) => {
                self.said.clear();
                self.wishes.clear();
                // Bounded once they are all there, so the newest stay.
                for (mid, text) in messages {
                    let said = Said { mid: (*mid).into(), text: text.clone(), html: None, active: None };
                    match self.place(mid) {
                        Some(place) => self.said[place] = said,
                        None => self.said.push(said),
                    }
                }
                while self.said.len() > MOST {
                    self.said.remove(0);
                }
            }
            Step::Change(messages) => {
                for (mid, active) in messages {
                    if let Some(place) = self.place(mid) {
                        self.said[place].active = Some(*active);
                    }
                }
            }
            Step::Propose(mid, wish) => {
                self.wishes.retain(|(of, _)| of != mid);
                if let (Some(_), Some(wish)) = (self.place(mid), wish) {
                    self.wishes.push(((*mid).into(), wish.clone()));
                }
            }
            Step::Edit(mid, text, html) => {
                let wish = self.wishes.iter().find(|(of, _)| of == mid).map(|(_, wish)| wish.clone());
                if let Some(place) = self.place(mid) {
                    if let Some(text) = text.clone().or(wish).or(html.clone()) {
                        self.said[place].text = text;
                    }
                    self.said[place].html = html.clone();
                }
                self.wishes.retain(|(of, _)| of != mid);
            }
            Step::Delete(mid) => {
                self.said.retain(|said| said.mid != *mid);
                self.wishes.retain(|(of, _)| of != mid);
            }
            Step::Parameters(parameters) => self.parameters = object(parameters),
            Step::Merge(changes) => self.parameters.extend(object(changes)),
            Step::Reset => *self = Self::default(),
            Step::Cleared => self.answer.clear(),
            Step::Fragment(text) => self.answer.push_str(text),
        }
    }
}

fn object(members: &[(&str, u8)]) -> Map<String, Value> {
    members.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
}

fn event(event_type: EventType, data: Value) -> Event {
    Event::from_payload(event_type, &to_raw_value(&data).unwrap()).unwrap()
}

fn message(mid: &str, text: &str) -> Value {
    json!({ "mid": mid, "role": "user", "text": text })
}

/// Puts a step to work on what is to be tested.
fn apply(conversation: &mut Conversation, step: &Step) {
    let bounds = ConversationBounds { messages: MOST, ..ConversationBounds::default() };
    let event = match step {
        Step::User(mid, text) => event(EventType::ChatUser, json!({ "message": message(mid, text) })),
        Step::Html(mid, text, active) => {
            let mut message = message(mid, text);
            message["html"] = json!("<p></p>");
            message["active"] = json!(active);
            event(EventType::ChatHtml, json!({ "message": message }))
        }
        Step::Sample(mid, text, html) => {
            event(EventType::ChatDisplaySample, json!({ "mid": mid, "role": "user", "text": text, "html": html }))
        }
        Step::Past(messages) => {
            let messages: Vec<Value> = messages.iter().map(|(mid, text)| message(mid, text)).collect();
            event(EventType::ChatPastMessages, json!({ "messages": messages }))
        }
        Step::Change(messages) => {
            let messages: Vec<Value> =
                messages.iter().map(|(mid, active)| json!({ "mid": mid, "active": active })).collect();
            event(EventType::ChatChangeStatus, json!({ "messages": messages }))
        }
        Step::Edit(mid, text, html) => event(
            EventType::ChatEditSuccess,
            json!({ "content": "ok", "mid": mid, "role": "user", "text": text, "html": html }),
        ),
        Step::Parameters(parameters) => event(EventType::ChatParameters, json!({ "parameters": object(parameters) })),
        Step::Merge(changes) => {
            let merged = conversation.merged(object(changes));
            event(EventType::ChatParameters, json!({ "parameters": merged, "from_param_update": true }))
        }
        Step::Cleared => event(EventType::ChatCleared, json!({})),
        Step::Fragment(text) => event(EventType::ChatFragment, json!({ "content": text })),
        Step::Propose(mid, wish) => return conversation.propose(mid, wish.clone()),
        Step::Delete(mid) => {
            conversation.delete(mid);
            return;
        }
        Step::Reset => return conversation.reset(),
    };
    assert!(conversation.apply(&event, bounds));
}

proptest! {
    #[test]
    fn mon_05_what_is_kept_is_what_a_list_of_everything_would_say(steps in vec(step(), 0..40)) {
        let (mut conversation, mut list) = (Conversation::default(), List::default());
        for step in &steps {
            apply(&mut conversation, step);
            list.step(step);
            let kept: Vec<Said> = conversation
                .messages()
                .map(|it| Said { mid: it.mid.clone(), text: it.text.clone(), html: it.html.clone(), active: it.active })
                .collect();
            prop_assert_eq!(kept, list.said.clone(), "after {:?}", step);
            prop_assert_eq!(conversation.merged(Map::new()), list.parameters.clone());
            let answer = conversation.answer().map(|part| match part {
                Event::ChatFragment(part) => part.content,
                other => panic!("{other:?}"),
            });
            prop_assert_eq!(answer.unwrap_or_default(), list.answer.clone(), "after {:?}", step);
        }
        conversation.apply(&event(EventType::ChatCancel, json!({})), ConversationBounds::default());
        // What is told says the same, and the sizes that were counted on the way are those of what is there.
        let (before, after) = conversation.told(usize::MAX / 4);
        for event in &before {
            if let Event::ChatPastMessages(past) = event {
                prop_assert_eq!(past.messages.len(), list.said.len());
                prop_assert_eq!(past.from_initial_load, Some(true));
            }
        }
        let unseen = list.said.iter().filter(|said| said.active == Some(false)).count();
        let told: usize = after.iter().map(|event| match event {
            Event::ChatChangeStatus(change) => change.messages.len(),
            _ => 0,
        }).sum();
        prop_assert_eq!(told, unseen);
        for said in &list.said {
            conversation.propose(&said.mid, None);
        }
        let messages: Vec<Value> = conversation.messages().map(|it| serde_json::to_value(it).unwrap()).collect();
        let mut fresh = Conversation::default();
        for event in [
            event(EventType::ChatPastMessages, json!({ "messages": messages })),
            event(EventType::ChatParameters, json!({ "parameters": list.parameters })),
        ] {
            fresh.apply(&event, ConversationBounds::default());
        }
        prop_assert_eq!(conversation.bytes(), fresh.bytes());
        conversation.reset();
        prop_assert_eq!(conversation.bytes(), 0);
    }

    #[test]
    fn mon_14_however_much_is_said_what_is_kept_and_told_stays_within_its_bounds(
        sizes in vec((0_usize..400, 0_usize..400), 1..30), bytes in 200_usize..4_000, budget in 0_usize..4_000,
    ) {
        let bounds = ConversationBounds { messages: 10, bytes };
        let mut conversation = Conversation::default();
        for (place, (text, image)) in sizes.iter().enumerate() {
            let mut said = message(&place.to_string(), &"x".repeat(*text));
            said["images"] = json!([{ "title": "a", "data": "y".repeat(*image) }]);
            conversation.apply(&event(EventType::ChatHtml, json!({ "message": said })), bounds);
            prop_assert!(conversation.messages().len() <= 10);
            prop_assert!(conversation.bytes() <= bytes || conversation.messages().len() == 1);
            // The newest is always there.
            prop_assert_eq!(&conversation.messages().last().unwrap().mid, &place.to_string());
        }
        let Event::ChatPastMessages(past) = conversation.told_messages(budget) else { panic!("another event") };
        let written: usize = past.messages.iter().map(|it| it.text.len() + it.images.iter().flatten().map(|image| image.data.len()).sum::<usize>()).sum();
        prop_assert!(written <= budget);
        // They are the newest ones, in order.
        let kept: Vec<&str> = conversation.messages().map(|it| it.mid.as_str()).collect();
        let told: Vec<&str> = past.messages.iter().map(|it| it.mid.as_str()).collect();
        prop_assert!(kept.ends_with(&told));
    }
}
