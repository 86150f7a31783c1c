//! The items of one target, for programs that show several targets at once.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use eventwire_protocol::{
    address::{Audience, Target},
    catalog::Event,
    frame::Incoming,
};
use futures_util::Stream;
use tokio::sync::mpsc;

use crate::{
    client::{ITEMS, Items, parse_target},
    error::BuildError,
    session::Item,
};

/// What an item is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Concern {
    /// Every target: a state of the connection, or a gap of everything that an observer sees.
    All,
    /// One target: its events, its gaps, its replay, its refusal.
    Target(Target),
    /// None of them.
    Connection,
}

impl Item {
    /// What the item is about.
    pub fn concern(&self) -> Concern {
        let of_stream = |stream: &str| match (stream.parse::<Target>(), stream.parse::<Audience>()) {
            (Ok(Target::Realm), _) => Concern::All,
            (Ok(target), _) => Concern::Target(target),
            (_, Ok(audience)) => audience.target().map_or(Concern::Connection, Concern::Target),
            _ => Concern::Connection,
        };
        match self {
            Item::State(_) => Concern::All,
            Item::Gap(gap) => of_stream(&gap.stream),
            Item::Refused(refused) => refused.to.parse().map_or(Concern::Connection, Concern::Target),
            Item::Unreadable { .. } => Concern::Connection,
            Item::Event(frame) => match (frame.to.target(), &frame.data) {
                (Some(target), _) => Concern::Target(target),
                (None, Incoming::Known(event)) => match &**event {
                    Event::ConnectionReplaying(replaying) => Concern::Target(replaying.stream.clone()),
                    Event::ConnectionRecovered(recovered) => Concern::Target(recovered.stream.clone()),
                    _ => Concern::Connection,
                },
                (None, Incoming::Unknown) => Concern::Connection,
            },
        }
    }
}

/// Gives each target its own [`TargetItems`]. Made by [`Items::scoped`]; cheap to clone.
///
/// ```no_run
/// use eventwire_client::{Client, Item};
///
/// # async fn show() -> Result<(), Box<dyn std::error::Error>> {
/// let (_client, items) = Client::builder("http://127.0.0.1:4800")
///     .subscribe_since("adw:29fb6a3e", 0)
///     .subscribe_since("adw:81c0d2aa", 0)
///     .build()?;
/// let scopes = items.scoped();
/// for run in ["adw:29fb6a3e", "adw:81c0d2aa"] {
///     let mut items = scopes.target(run)?;
///     tokio::spawn(async move {
///         while let Some(item) = items.next().await {
///             match item {
///                 Item::Event(event) => println!("{run} {} {}", event.time, event.kind),
///                 Item::Gap(gap) => println!("{run}: load it again: {:?}", gap.reason),
///                 Item::Refused(refused) => println!("{run}: {}", refused.message),
///                 _ => {}
///             }
///         }
///     });
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Scopes {
    shared: Arc<Mutex<Readers>>,
    /// Dropped with the last handle, which the task that hands out waits for.
    _handle: mpsc::Sender<()>,
}

#[derive(Debug, Default)]
struct Readers {
    scopes: Vec<Scope>,
    /// The last item was handed out.
    ended: bool,
}

#[derive(Debug)]
struct Scope {
    /// `None` takes what concerns no other.
    target: Option<Target>,
    items: mpsc::Sender<Item>,
}

/// The items of one target: its events, its gaps, its refusal, and every state of the connection. At most 256 wait; a
/// reader that takes none holds up the others then.
#[derive(Debug)]
pub struct TargetItems {
    items: mpsc::Receiver<Item>,
}

impl TargetItems {
    /// The next item; `None` after the last one. Cancel safe.
    pub async fn next(&mut self) -> Option<Item> {
        self.items.recv().await
    }
}

impl Stream for TargetItems {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        self.items.poll_recv(context)
    }
}

impl Items {
    /// Hands the items out by target. What concerns a target that no reader asked for goes to [`Scopes::rest`], or is
    /// dropped. The client goes on as long as there is a [`Scopes`] or a reader. Must be called within a tokio runtime.
    pub fn scoped(self) -> Scopes {
        let (handle, handles) = mpsc::channel(1);
        let shared = Arc::new(Mutex::new(Readers::default()));
        tokio::spawn(hand_out(self, shared.clone(), handles));
        Scopes { shared, _handle: handle }
    }
}

impl Scopes {
    /// The items of one target, from now on. To subscribe it is another call: [`Builder::subscribe`](crate::Builder::subscribe),
    /// or [`Client::subscribe`](crate::Client::subscribe) after this one, so that no item is missed.
    ///
    /// # Errors
    /// [`BuildError::Target`]: it is none.
    pub fn target(&self, to: &str) -> Result<TargetItems, BuildError> {
        let target = parse_target(to).map_err(|source| BuildError::Target { to: to.to_owned(), source })?;
        Ok(self.reader(Some(target)))
    }

    /// The items that concern no target with a reader of its own, and every state.
    pub fn rest(&self) -> TargetItems {
        self.reader(None)
    }

    fn reader(&self, target: Option<Target>) -> TargetItems {
        let (sender, items) = mpsc::channel(ITEMS);
        let mut readers = lock(&self.shared);
        if !readers.ended {
            readers.scopes.push(Scope { target, items: sender });
        }
        TargetItems { items }
    }
}

fn lock(shared: &Mutex<Readers>) -> std::sync::MutexGuard<'_, Readers> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The readers that an item goes to.
fn readers_of(scopes: &mut Vec<Scope>, item: &Item) -> Vec<mpsc::Sender<Item>> {
    scopes.retain(|scope| !scope.items.is_closed());
    let concern = item.concern();
    let takes = |scope: &&Scope| match (&concern, &scope.target) {
        (Concern::All, _) => true,
        (Concern::Target(of), Some(target)) => of == target,
        (Concern::Target(_) | Concern::Connection, _) => false,
    };
    let mut readers: Vec<_> = scopes.iter().filter(takes).map(|scope| scope.items.clone()).collect();
    if readers.is_empty() {
        readers.extend(scopes.iter().filter(|scope| scope.target.is_none()).map(|scope| scope.items.clone()));
    }
    readers
}

async fn hand_out(mut items: Items, shared: Arc<Mutex<Readers>>, mut handles: mpsc::Receiver<()>) {
    let mut has_handles = true;
    loop {
        let item = tokio::select! {
            item = items.next() => item,
            _ = handles.recv(), if has_handles => {
                has_handles = false;
                continue;
            }
        };
        // The readers see the end when the senders are gone.
        let Some(item) = item else { break };
        let (readers, is_read) = {
            let mut shared = lock(&shared);
            let readers = readers_of(&mut shared.scopes, &item);
            (readers, !shared.scopes.is_empty())
        };
        if !is_read && !has_handles {
            return;
        }
        for reader in readers {
            // A reader that was dropped meanwhile takes no more.
            let _ = reader.send(item.clone()).await;
        }
    }
    *lock(&shared) = Readers { scopes: Vec::new(), ended: true };
}

#[cfg(test)]
mod tests {
    use eventwire_protocol::{error::ErrorCode, event::connection, frame::EventFrame};
    use serde_json::json;

    use super::*;
    use crate::session::{Gap, GapReason, State};

    fn event(kind: &str, to: &str, data: serde_json::Value) -> Item {
        let frame = json!({"type": kind, "time": "2026-11-20T23:40:01Z", "to": to, "data": data});
        Item::Event(EventFrame::decode(&frame.to_string()).unwrap())
    }

    fn gap(stream: &str) -> Item {
        Item::Gap(Gap { stream: stream.to_owned(), reason: GapReason::Hole, from_seq: None, to_seq: None })
    }

    #[test]
    fn an_item_concerns_the_target_that_it_names() {
        let me = "connection:c0000000000000001";
        let refused = connection::RefusedStream {
            to: "adw:aaaaaaaa".to_owned(),
            code: ErrorCode::Forbidden,
            message: String::new(),
        };
        for item in [
            event("_a.b", "adw:aaaaaaaa", json!({})),
            event("_a.b", "adw:aaaaaaaa/raw", json!({})),
            event("connection.replaying", me, json!({"stream": "adw:aaaaaaaa", "from": 0})),
            event("connection.recovered", me, json!({"stream": "adw:aaaaaaaa", "recovered": 0, "upto": 0})),
            gap("adw:aaaaaaaa"),
            gap("adw:aaaaaaaa/raw"),
            Item::Refused(refused),
        ] {
            assert_eq!(item.concern(), Concern::Target("adw:aaaaaaaa".parse().unwrap()), "{item:?}");
        }
        for item in [gap("*"), Item::State(State::Closed { code: 1000, reason: String::new() })] {
            assert_eq!(item.concern(), Concern::All, "{item:?}");
        }
        for item in [event("connection.closing", me, json!({"reason": "restart"})), gap("nonsense")] {
            assert_eq!(item.concern(), Concern::Connection, "{item:?}");
        }
    }

    #[tokio::test]
    async fn each_reader_gets_its_target_and_every_state_and_the_rest_goes_to_the_rest() {
        let (sender, stream) = mpsc::channel(16);
        let scopes = Items { stream }.scoped();
        let (mut a, mut again, mut rest) =
            (scopes.target("room:a").unwrap(), scopes.target("room:a").unwrap(), scopes.rest());
        let dropped = scopes.target("room:c").unwrap();
        drop(dropped);
        for item in [
            event("_a.b", "room:a", json!({})),
            gap("room:b"),
            gap("room:a"),
            event("_a.b", "room:c", json!({})),
            Item::State(State::Closed { code: 1000, reason: String::new() }),
        ] {
            sender.send(item).await.unwrap();
        }
        drop(sender);
        async fn all(items: &mut TargetItems) -> Vec<Concern> {
            let mut all = Vec::new();
            while let Some(item) = items.next().await {
                all.push(item.concern());
            }
            all
        }
        let to = |to: &str| Concern::Target(to.parse().unwrap());
        assert_eq!(all(&mut a).await, [to("room:a"), to("room:a"), Concern::All]);
        assert_eq!(all(&mut again).await, [to("room:a"), to("room:a"), Concern::All]);
        assert_eq!(all(&mut rest).await, [to("room:b"), to("room:c"), Concern::All]);
        assert!(scopes.target("nonsense").is_err() && scopes.target("*").is_ok());
    }
}
