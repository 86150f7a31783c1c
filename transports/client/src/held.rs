//! Calls that wait to become commands. What is asked for at once becomes one command, and no command is sent faster than the
//! limits of the connection allow (LIMIT-02, LIMIT-12). Pure: what waits, and in which order.

use std::collections::VecDeque;

use eventwire_protocol::{address::Target, event::connection, id::Position, limits::MAX_SUBSCRIPTIONS};
use serde_json::Value;

use crate::client::Waiting;

/// The targets of one caller, and where it waits for its answer.
pub(crate) type Caller = (Vec<Target>, Waiting);

/// Targets that are wanted, or no longer wanted, by one command.
pub(crate) struct Batch {
    /// Whether they are wanted.
    pub(crate) wanted: bool,
    /// Each target once, with the position to begin after.
    pub(crate) targets: Vec<(Target, Option<Position>)>,
    pub(crate) callers: Vec<Caller>,
}

pub(crate) enum Held {
    Batch(Batch),
    Ping(Option<Value>, Waiting),
    Authenticate(String, Waiting),
}

impl Held {
    /// How many targets it asks for.
    pub(crate) fn targets(&self) -> usize {
        match self {
            Held::Batch(batch) if batch.wanted => batch.targets.len(),
            _ => 0,
        }
    }
}

/// What waits, in the order in which it is sent.
#[derive(Default)]
pub(crate) struct Calls {
    waiting: VecDeque<Held>,
}

impl Calls {
    /// A change of targets goes with the last command of its kind that waits, unless one behind that is about the same
    /// targets.
    pub(crate) fn change(&mut self, wanted: bool, targets: Vec<(Target, Option<Position>)>, waiting: Waiting) {
        let names = targets.iter().map(|(target, _)| target.clone()).collect();
        for held in self.waiting.iter_mut().rev() {
            let Held::Batch(batch) = held else { continue };
            if batch.wanted == wanted && batch.takes(&targets) {
                for (target, since) in targets {
                    if !batch.names(&target) {
                        batch.targets.push((target, since));
                    }
                }
                batch.callers.push((names, waiting));
                return;
            }
            if targets.iter().any(|(target, _)| batch.names(target)) {
                break;
            }
        }
        self.push(Held::Batch(Batch { wanted, targets, callers: vec![(names, waiting)] }));
    }

    pub(crate) fn push(&mut self, held: Held) {
        self.waiting.push_back(held);
    }

    /// What was refused for now goes first again.
    pub(crate) fn again(&mut self, batch: Batch) {
        self.waiting.push_front(Held::Batch(batch));
    }

    pub(crate) fn first(&self) -> Option<&Held> {
        self.waiting.front()
    }

    pub(crate) fn take(&mut self) -> Option<Held> {
        self.waiting.pop_front()
    }
}

impl Batch {
    fn names(&self, target: &Target) -> bool {
        self.targets.iter().any(|(named, _)| named == target)
    }

    /// Whether these go with it: there is room, and no target is asked for from two positions.
    fn takes(&self, targets: &[(Target, Option<Position>)]) -> bool {
        let agrees = |(target, since): &(Target, Option<Position>)| {
            self.targets.iter().all(|(named, position)| named != target || position == since)
        };
        self.targets.len() + targets.len() <= MAX_SUBSCRIPTIONS && targets.iter().all(agrees)
    }
}

/// The part of an answer that is about the targets of one caller.
pub(crate) fn part_of(answer: &connection::Subscribed, targets: &[Target]) -> connection::Subscribed {
    let mut part = answer.clone();
    part.streams.retain(|stream| targets.contains(&stream.to));
    part.refused.retain(|refused| targets.iter().any(|target| target.to_string() == refused.to));
    part
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn change(calls: &mut Calls, wanted: bool, to: &str, since: Option<u64>) {
        let targets = vec![(to.parse().unwrap(), since.and_then(Position::new))];
        calls.change(wanted, targets, oneshot::channel().0);
    }

    fn rest(calls: &mut Calls) -> Vec<String> {
        std::iter::from_fn(|| calls.take())
            .map(|held| match held {
                Held::Batch(batch) => {
                    let names: Vec<_> = batch.targets.iter().map(|(target, _)| target.to_string()).collect();
                    format!("{}{} for {}", if batch.wanted { "+" } else { "-" }, names.join(","), batch.callers.len())
                }
                Held::Ping(..) => "ping".to_owned(),
                Held::Authenticate(..) => "authenticate".to_owned(),
            })
            .collect()
    }

    #[test]
    fn what_is_asked_for_at_once_is_one_command() {
        let mut calls = Calls::default();
        change(&mut calls, true, "room:a", None);
        calls.push(Held::Ping(None, oneshot::channel().0));
        change(&mut calls, false, "room:x", None);
        change(&mut calls, true, "room:b", Some(4));
        change(&mut calls, true, "room:a", None);
        change(&mut calls, false, "room:y", None);
        assert_eq!(rest(&mut calls), ["+room:a,room:b for 3", "ping", "-room:x,room:y for 2"]);
    }

    #[test]
    fn the_order_of_what_concerns_one_target_is_kept_and_no_command_is_too_large() {
        let mut calls = Calls::default();
        change(&mut calls, true, "room:a", None);
        change(&mut calls, false, "room:a", None);
        change(&mut calls, true, "room:a", None);
        change(&mut calls, true, "room:a", Some(7));
        change(&mut calls, true, "room:b", None);
        assert_eq!(rest(&mut calls), ["+room:a for 1", "-room:a for 1", "+room:a for 1", "+room:a,room:b for 2"]);
        for number in 0..300 {
            change(&mut calls, true, &format!("room:r{number}"), None);
        }
        assert_eq!((calls.first().unwrap().targets(), calls.waiting.len()), (MAX_SUBSCRIPTIONS, 2));
    }
}
