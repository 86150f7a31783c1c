//! File system events, boiled down to "look there again".
//!
//! The operating system's events (through `notify`) are hints: several writes come as one, a burst overflows, a rename
//! comes as a removal and a creation. So nothing is read out of an event but a place to look at, a [`Touch`], and touches
//! that were not taken yet are kept once each. Only the directories whose entries matter are watched, each for itself:
//! whatever else agents keep below their directories costs nothing, and links are not followed.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use eventwire_protocol::id::AdwId;
use notify::{
    Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind},
};

use crate::{
    paths::{IMAGES_DIRECTORY, STATE_FILE, TRANSCRIPT_FILE, plan_spec_file},
    role::RoleName,
};

/// Most different touches that wait; beyond, everything is looked at again instead.
const MAX_TOUCHES: usize = 10_000;

/// A place to look at again. The order is the order in which they are taken: the larger ones first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Touch {
    /// The root came, went or changed its place.
    Root,
    /// A run's directory came or went.
    Run(AdwId),
    /// A directory in a run's directory may have come or gone.
    Entry(AdwId, RoleName),
    /// A run's state file.
    State(AdwId),
    /// A run's plan.
    Spec(AdwId),
    /// A role's transcript.
    Transcript(AdwId, RoleName),
    /// A role's screenshots.
    Images(AdwId, RoleName),
}

/// Touches on their way from the operating system's thread to the reading thread.
#[derive(Default)]
pub(crate) struct Signals {
    state: Mutex<SignalState>,
    changed: Condvar,
}

#[derive(Default)]
struct SignalState {
    touches: BTreeSet<Touch>,
    stopped: bool,
}

/// What a wait ended with.
pub(crate) enum Woken {
    /// These places are to be looked at; none when the time was up.
    Touched(BTreeSet<Touch>),
    /// Nobody wants events any more.
    Stopped,
}

impl Signals {
    /// Asks for a look at a place.
    pub(crate) fn touch(&self, touch: Touch) {
        let mut state = self.lock();
        if state.touches.len() >= MAX_TOUCHES {
            state.touches.clear();
            state.touches.insert(Touch::Root);
        } else {
            state.touches.insert(touch);
        }
        self.changed.notify_all();
    }

    /// Ends the reading.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Waits for touches, at most until `deadline`.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Woken {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return Woken::Stopped;
            }
            if !state.touches.is_empty() {
                return Woken::Touched(std::mem::take(&mut state.touches));
            }
            let Some(deadline) = deadline else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Woken::Touched(BTreeSet::new());
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, SignalState> {
        // The state is a set and a flag; both are whole after any panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the reading when the one who wanted the events goes away.
pub(crate) struct StopOnDrop(pub(crate) Arc<Signals>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Where the root is looked for, and where it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// The root as it was named, absolute.
    pub(crate) requested: PathBuf,
    /// The root without links, while it exists.
    pub(crate) found: Option<PathBuf>,
}

/// The operating system's watcher with the directories it watches.
pub(crate) struct Watch {
    watcher: RecommendedWatcher,
    places: Arc<Mutex<Places>>,
}

impl Watch {
    /// A watcher that watches nothing yet.
    pub(crate) fn new(places: Places, signals: Arc<Signals>) -> notify::Result<Self> {
        let places = Arc::new(Mutex::new(places));
        let known = places.clone();
        let handler = move |event: notify::Result<Event>| {
            let places = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match event {
                Ok(event) => touches(&places, &event).into_iter().for_each(|touch| signals.touch(touch)),
                Err(error) => {
                    tracing::warn!(%error, "agents: file system events were lost, looking at everything again");
                    signals.touch(Touch::Root);
                }
            }
        };
        let watcher = RecommendedWatcher::new(handler, Config::default().with_follow_symlinks(false))?;
        Ok(Self { watcher, places })
    }

    /// Where the root is now.
    pub(crate) fn set_found(&mut self, found: Option<PathBuf>) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).found = found;
    }

    /// Watches the entries of a directory. Watching it again does no harm, and is needed after an event about the
    /// directory itself: the watcher drops what it takes for gone.
    pub(crate) fn add(&mut self, directory: &Path) {
        if let Err(error) = self.watcher.watch(directory, RecursiveMode::NonRecursive) {
            match error.kind {
                // Gone again; its parent tells when it is back.
                notify::ErrorKind::PathNotFound => {}
                notify::ErrorKind::MaxFilesWatch => tracing::error!(
                    "agents: the system allows no more watched directories; some runs stay unseen (raise fs.inotify.max_user_watches)"
                ),
                _ => tracing::warn!(%error, "agents: a directory cannot be watched"),
            }
        }
    }

    /// Stops watching a directory; one that is not watched is left alone.
    pub(crate) fn remove(&mut self, directory: &Path) {
        let _ = self.watcher.unwatch(directory);
    }
}

/// Which places an event is about.
fn touches(places: &Places, event: &Event) -> Vec<Touch> {
    if event.need_rescan() {
        return vec![Touch::Root];
    }
    let comes_or_goes = match event.kind {
        // Our own reading, among others.
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => return Vec::new(),
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => true,
        EventKind::Modify(_) => false,
        EventKind::Any | EventKind::Other => true,
    };
    event.paths.iter().filter_map(|path| touch(places, path, comes_or_goes)).collect()
}

fn touch(places: &Places, path: &Path, comes_or_goes: bool) -> Option<Touch> {
    let inside = places.found.as_deref().and_then(|root| path.strip_prefix(root).ok());
    let Some(inside) = inside.filter(|inside| !inside.as_os_str().is_empty()) else {
        let leads_there = inside.is_some() || places.requested.starts_with(path);
        return (leads_there && comes_or_goes).then_some(Touch::Root);
    };
    let names: Option<Vec<&str>> = inside
        .components()
        .map(|component| match component {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    let names = names?;
    let (first, rest) = names.split_first()?;
    let adw_id: AdwId = first.parse().ok()?;
    let role = |name: &str| name.parse::<RoleName>().ok();
    match rest {
        [] => comes_or_goes.then_some(Touch::Run(adw_id)),
        [file] if *file == STATE_FILE => Some(Touch::State(adw_id)),
        [file] if *file == plan_spec_file(adw_id) => Some(Touch::Spec(adw_id)),
        [entry] if comes_or_goes => Some(Touch::Entry(adw_id, role(entry)?)),
        [name, file] if *file == TRANSCRIPT_FILE => Some(Touch::Transcript(adw_id, role(name)?)),
        [name, directory] if *directory == IMAGES_DIRECTORY && comes_or_goes => {
            Some(Touch::Images(adw_id, role(name)?))
        }
        [name, directory, _] if *directory == IMAGES_DIRECTORY => Some(Touch::Images(adw_id, role(name)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, Flag, MetadataKind, RemoveKind};

    use super::*;

    fn places() -> Places {
        Places { requested: "/r/agents".into(), found: Some("/r/agents".into()) }
    }

    fn seen(kind: EventKind, path: &str) -> Vec<Touch> {
        touches(&places(), &Event::new(kind).add_path(path.into()))
    }

    #[test]
    fn an_event_becomes_the_place_to_look_at() {
        let id: AdwId = "29fb6a3e".parse().unwrap();
        let planner: RoleName = "planner".parse().unwrap();
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let created = EventKind::Create(CreateKind::Any);
        for (kind, path, touch) in [
            (created, "/r/agents", Touch::Root),
            (EventKind::Remove(RemoveKind::Folder), "/r", Touch::Root),
            (created, "/r/agents/29fb6a3e", Touch::Run(id)),
            (created, "/r/agents/29fb6a3e/planner", Touch::Entry(id, planner.clone())),
            (written, "/r/agents/29fb6a3e/adw_state.json", Touch::State(id)),
            (written, "/r/agents/29fb6a3e/29fb6a3e_plan_spec.md", Touch::Spec(id)),
            (written, "/r/agents/29fb6a3e/planner/raw_output.jsonl", Touch::Transcript(id, planner.clone())),
            (created, "/r/agents/29fb6a3e/planner/review_img", Touch::Images(id, planner.clone())),
            (written, "/r/agents/29fb6a3e/planner/review_img/1.png", Touch::Images(id, planner)),
        ] {
            assert_eq!(seen(kind, path), [touch], "{path}");
        }
    }

    #[test]
    fn what_does_not_matter_touches_nothing() {
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        for (kind, path) in [
            (EventKind::Access(AccessKind::Open(AccessMode::Any)), "/r/agents/29fb6a3e/planner/raw_output.jsonl"),
            (written, "/r/agents/29fb6a3e/planner/notes.txt"),
            (written, "/r/agents/29fb6a3e/notes.txt"),
            (EventKind::Create(CreateKind::Any), "/r/agents/too_long_1"),
            (EventKind::Create(CreateKind::Any), "/r/other"),
            (EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)), "/r/agents"),
            (EventKind::Create(CreateKind::Any), "/r/agents/29fb6a3e/a b"),
        ] {
            assert_eq!(seen(kind, path), [], "{path}");
        }
    }

    #[test]
    fn an_overflow_makes_everything_worth_a_look() {
        let event = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert_eq!(touches(&places(), &event), [Touch::Root]);
        let signals = Signals::default();
        for number in 0..=MAX_TOUCHES {
            let role = format!("r{number}").parse().unwrap();
            signals.touch(Touch::Transcript("29fb6a3e".parse().unwrap(), role));
        }
        let Woken::Touched(touches) = signals.wait(None) else { panic!("stopped") };
        assert_eq!(touches.into_iter().collect::<Vec<_>>(), [Touch::Root]);
    }

    #[test]
    fn touches_that_wait_are_kept_once_and_the_larger_come_first() {
        let signals = Signals::default();
        let id: AdwId = "29fb6a3e".parse().unwrap();
        for touch in [Touch::State(id), Touch::Run(id), Touch::State(id)] {
            signals.touch(touch);
        }
        let Woken::Touched(touches) = signals.wait(None) else { panic!("stopped") };
        assert_eq!(touches.into_iter().collect::<Vec<_>>(), [Touch::Run(id), Touch::State(id)]);
    }
}
