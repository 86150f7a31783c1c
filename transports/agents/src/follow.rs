//! Following an agents root: what is there, what changes, in which order it is told.
//!
//! Every look at a directory first watches it and then lists it, so nothing falls between. A run is told in a fixed
//! order: state, plan, roles in the order of the workflow, screenshots. State files, plans and screenshots are written in
//! several steps; they are looked at once they have been quiet for a moment, and at the latest after a while.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use eventwire_protocol::id::AdwId;

use crate::{
    SourceError,
    batch::{Step, publish_outputs, publish_run},
    event::AgentEvent,
    paths::{AccessError, AgentsRoot, IMAGES_DIRECTORY, STATE_FILE, plan_spec_file},
    port::{Port, Stopped},
    role::RoleName,
    run::{MAX_ANNOUNCED_FILES, Run, RunCheckpoint},
    sink::{Checkpoint, CheckpointKey, CheckpointValue, MAX_BATCH_EVENTS},
    state::{MAX_STATE_BYTES, RunState},
    tail::{RoleCheckpoint, Tail},
    transcript::{Output, warning},
    watch::{Places, Signals, Touch, Watch, Woken},
};

/// Most role directories of one run that are followed.
pub const MAX_ROLES: usize = 512;

/// How long a file must be quiet, and how long it is waited for at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settling {
    pub(crate) quiet: Duration,
    pub(crate) longest: Duration,
}

/// How a run is met that has never been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meeting {
    /// All of it is told.
    Tell,
    /// What is there already is taken in silently; only what comes later is told.
    TakeIn,
}

/// Why a look was cut short.
enum Cut {
    Stopped,
    Access(AccessError),
}

impl From<Stopped> for Cut {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<AccessError> for Cut {
    fn from(error: AccessError) -> Self {
        Self::Access(error)
    }
}

/// One run that is followed.
struct LiveRun {
    run: Run,
    tails: BTreeMap<RoleName, Tail>,
    /// There are more roles than are followed, and it has been said.
    crowded: bool,
}

struct Due {
    quiet: Instant,
    latest: Instant,
}

pub(crate) struct Follower {
    requested: PathBuf,
    from_start: bool,
    settling: Settling,
    port: Port,
    signals: Arc<Signals>,
    watch: Watch,
    /// The nearest existing directory on the way to the root.
    ancestor: Option<PathBuf>,
    root: Option<AgentsRoot>,
    runs: BTreeMap<AdwId, LiveRun>,
    due: BTreeMap<Touch, Due>,
}

impl Follower {
    pub(crate) fn new(
        requested: PathBuf,
        from_start: bool,
        settling: Settling,
        port: Port,
        signals: Arc<Signals>,
    ) -> Result<Self, SourceError> {
        let places = Places { requested: requested.clone(), found: None };
        let watch = Watch::new(places, signals.clone()).map_err(SourceError::Watch)?;
        Ok(Self {
            requested,
            from_start,
            settling,
            port,
            signals,
            watch,
            ancestor: None,
            root: None,
            runs: BTreeMap::new(),
            due: BTreeMap::new(),
        })
    }

    /// Follows the root until nobody wants events any more.
    pub(crate) fn follow(mut self) {
        // Ending is the one way out; there is nothing to clean up.
        let _ = self.run();
    }

    fn run(&mut self) -> Result<(), Stopped> {
        self.look_at_root(if self.from_start { Meeting::Tell } else { Meeting::TakeIn })?;
        self.port.caught_up()?;
        loop {
            let deadline = self.due.values().map(|due| due.quiet.min(due.latest)).min();
            let Woken::Touched(touches) = self.signals.wait(deadline) else {
                return Ok(());
            };
            for touch in touches {
                self.touched(touch)?;
            }
            let now = Instant::now();
            let ready: Vec<Touch> = self
                .due
                .iter()
                .filter(|(_, due)| due.quiet <= now || due.latest <= now)
                .map(|(touch, _)| touch.clone())
                .collect();
            for touch in ready {
                self.due.remove(&touch);
                self.settled(touch)?;
            }
        }
    }

    fn touched(&mut self, touch: Touch) -> Result<(), Stopped> {
        match touch {
            Touch::Root => self.look_at_root(Meeting::Tell),
            Touch::Run(adw_id) => self.look_at_run(adw_id, Meeting::Tell),
            Touch::Entry(adw_id, name) => {
                let known = self.runs.get(&adw_id).is_some_and(|live| live.tails.contains_key(&name));
                let there = self.root.as_ref().is_some_and(|root| root.directory(adw_id, &[name.as_str()]).is_ok());
                if known || there { self.look_at_run(adw_id, Meeting::Tell) } else { Ok(()) }
            }
            Touch::Transcript(adw_id, role) => self.look(adw_id, |look| look.transcript(&role)),
            Touch::State(_) | Touch::Spec(_) | Touch::Images(..) => {
                let now = Instant::now();
                let latest = now + self.settling.longest;
                let quiet = now + self.settling.quiet;
                self.due.entry(touch).or_insert(Due { quiet, latest }).quiet = quiet;
                Ok(())
            }
        }
    }

    fn settled(&mut self, touch: Touch) -> Result<(), Stopped> {
        match touch {
            Touch::State(adw_id) => self.look(adw_id, |look| look.state(Settled::Yes)),
            Touch::Spec(adw_id) => self.look(adw_id, |look| look.spec()),
            Touch::Images(adw_id, role) => {
                // The directory itself may be new.
                self.watch_images(adw_id, &role);
                self.look(adw_id, |look| look.images(&role))
            }
            Touch::Root | Touch::Run(_) | Touch::Entry(..) | Touch::Transcript(..) => Ok(()),
        }
    }

    /// Finds the root, or the nearest directory in which it or a directory on the way to it can appear.
    fn look_at_root(&mut self, meeting: Meeting) -> Result<(), Stopped> {
        loop {
            let nearest = nearest_directory(&self.requested);
            if self.ancestor != nearest
                && let Some(left) = self.ancestor.take()
            {
                self.watch.remove(&left);
            }
            if let Some(nearest) = &nearest {
                self.watch.add(nearest);
            }
            let settled = nearest_directory(&self.requested) == nearest;
            self.ancestor = nearest;
            if settled {
                break;
            }
        }
        let root = AgentsRoot::open(&self.requested).ok();
        if self.root != root {
            self.leave();
        }
        self.watch.set_found(root.as_ref().map(|root| root.path().to_owned()));
        let Some(root) = root else {
            return Ok(());
        };
        self.watch.add(root.path());
        let listed = root.runs();
        self.root = Some(root);
        let present = match listed {
            Ok(present) => present,
            Err(error) => {
                tracing::warn!(%error, "agents: the agents root cannot be listed");
                return Ok(());
            }
        };
        let gone: Vec<AdwId> = self.runs.keys().filter(|id| !present.contains(id)).copied().collect();
        for adw_id in gone {
            self.forget(adw_id);
        }
        for adw_id in present {
            self.look_at_run(adw_id, meeting)?;
        }
        Ok(())
    }

    /// The root is gone, or is another one now.
    fn leave(&mut self) {
        let runs: Vec<AdwId> = self.runs.keys().copied().collect();
        for adw_id in runs {
            self.forget(adw_id);
        }
        if let Some(root) = self.root.take() {
            self.watch.remove(root.path());
        }
    }

    /// Drops a run from memory. What the sink keeps of it stays: if the run comes back, nothing is repeated.
    fn forget(&mut self, adw_id: AdwId) {
        let Some(live) = self.runs.remove(&adw_id) else {
            return;
        };
        let Some(root) = &self.root else {
            return;
        };
        let directory = root.path().join(adw_id.as_str());
        for role in live.tails.keys() {
            self.watch.remove(&directory.join(role.as_str()).join(IMAGES_DIRECTORY));
            self.watch.remove(&directory.join(role.as_str()));
        }
        self.watch.remove(&directory);
    }

    /// Looks at a whole run: watches its directories, then tells what is new in them.
    fn look_at_run(&mut self, adw_id: AdwId, meeting: Meeting) -> Result<(), Stopped> {
        let Some(root) = self.root.clone() else {
            return Ok(());
        };
        let directory = match root.directory(adw_id, &[]) {
            Ok(directory) => directory,
            Err(error) => {
                complain(&error);
                self.forget(adw_id);
                return Ok(());
            }
        };
        self.watch.add(&directory);
        let roles = match root.roles(adw_id, MAX_ROLES + 1) {
            Ok(roles) => roles,
            Err(error) => {
                complain(&error);
                return Ok(());
            }
        };
        for role in roles.iter().take(MAX_ROLES) {
            self.watch.add(&directory.join(role.as_str()));
            self.watch_images(adw_id, role);
        }
        match self.meet(adw_id)? {
            Known::New if meeting == Meeting::TakeIn => return self.take_in(adw_id, &roles),
            // From here on a restart must not mistake the run for one that it never met.
            Known::New => self.look(adw_id, |look| Ok(publish_run(look.port, &look.live.run, adw_id, Vec::new())?))?,
            Known::Before => {}
        }
        self.tell(adw_id, &roles)
    }

    /// Tells what is new in a run, in the order of the workflow.
    fn tell(&mut self, adw_id: AdwId, roles: &[RoleName]) -> Result<(), Stopped> {
        self.look(adw_id, |look| look.state(Settled::NotYet))?;
        self.look(adw_id, |look| look.spec())?;
        self.look(adw_id, |look| look.roles(roles))?;
        for role in roles.iter().take(MAX_ROLES) {
            self.look(adw_id, |look| look.transcript(role))?;
        }
        for role in roles.iter().take(MAX_ROLES) {
            self.look(adw_id, |look| look.images(role))?;
        }
        Ok(())
    }

    /// Takes in what is there of a run without telling it, and remembers all of it in one go.
    fn take_in(&mut self, adw_id: AdwId, roles: &[RoleName]) -> Result<(), Stopped> {
        self.look(adw_id, |look| {
            let mut entries = Vec::new();
            // What these say is dropped; that they were said is remembered.
            if let Ok(bytes) = look.root.read(look.adw_id, &[STATE_FILE], MAX_STATE_BYTES) {
                look.live.run.state_changed(&bytes, look.root.repository());
            }
            let file = plan_spec_file(look.adw_id);
            if look.root.file(look.adw_id, &[&file]).is_ok() {
                look.live.run.spec_found(&file, 0, "");
            }
            for role in roles.iter().take(MAX_ROLES) {
                for name in look.root.screenshots(look.adw_id, role, MAX_ANNOUNCED_FILES).unwrap_or_default() {
                    look.live.run.screenshot_found(&image_path(role, &name), role);
                }
                let worktree = look.live.run.worktree().map(str::to_owned);
                let tail = read_on(&mut look.live.tails, look.port, look.adw_id, role)?;
                tail.set_worktree(worktree.as_deref());
                let mut outputs = Vec::new();
                let mut started = false;
                if let Ok(mut open) = tail.open(look.root, &mut outputs) {
                    while tail.advance(&mut open, &mut outputs).unwrap_or(false) {
                        started |= outputs.drain(..).any(|output| output == Output::RoleStarted);
                    }
                }
                let key = CheckpointKey { adw_id: look.adw_id, role: Some(role.clone()) };
                entries.push((key, CheckpointValue::Role(tail.checkpoint())));
                if started {
                    look.live.run.role_started(role);
                }
            }
            let key = CheckpointKey { adw_id: look.adw_id, role: None };
            entries.push((key, CheckpointValue::Run(look.live.run.checkpoint())));
            look.port.publish(Vec::new(), Checkpoint { entries })?;
            Ok(())
        })
    }

    /// Has the run in memory afterwards, as it was left if it was known before.
    fn meet(&mut self, adw_id: AdwId) -> Result<Known, Stopped> {
        if self.runs.contains_key(&adw_id) {
            return Ok(Known::Before);
        }
        let stored = self.port.load(CheckpointKey { adw_id, role: None })?;
        let (known, checkpoint) = match stored {
            Some(CheckpointValue::Run(checkpoint)) => (Known::Before, checkpoint),
            _ => (Known::New, RunCheckpoint::default()),
        };
        let run = Run::restore(adw_id, checkpoint);
        self.runs.insert(adw_id, LiveRun { run, tails: BTreeMap::new(), crowded: false });
        Ok(known)
    }

    fn watch_images(&mut self, adw_id: AdwId, role: &RoleName) {
        if let Some(root) = &self.root
            && let Ok(images) = root.directory(adw_id, &[role.as_str(), IMAGES_DIRECTORY])
        {
            self.watch.add(&images);
        }
    }

    /// Looks at one thing of a run that is followed. What cannot be opened is skipped; it was complained about.
    fn look(&mut self, adw_id: AdwId, look: impl FnOnce(&mut Look<'_>) -> Result<(), Cut>) -> Result<(), Stopped> {
        let (Some(root), Some(live)) = (&self.root, self.runs.get_mut(&adw_id)) else {
            return Ok(());
        };
        match look(&mut Look { adw_id, root, port: &self.port, signals: &self.signals, live }) {
            Ok(()) => Ok(()),
            Err(Cut::Stopped) => Err(Stopped),
            Err(Cut::Access(error)) => {
                complain(&error);
                Ok(())
            }
        }
    }
}

/// Whether a file has been quiet for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Yes,
    NotYet,
}

/// Whether a run was known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Before,
    New,
}

/// One run, and all that is needed to tell what is new in it.
struct Look<'a> {
    adw_id: AdwId,
    root: &'a AgentsRoot,
    port: &'a Port,
    signals: &'a Signals,
    live: &'a mut LiveRun,
}

impl Look<'_> {
    fn state(&mut self, settled: Settled) -> Result<(), Cut> {
        let events = match self.root.read(self.adw_id, &[STATE_FILE], MAX_STATE_BYTES) {
            // Perhaps half written; what is wrong with it is said when it has been quiet.
            Ok(bytes) if settled == Settled::NotYet && RunState::parse(&bytes).is_err() => {
                self.signals.touch(Touch::State(self.adw_id));
                return Ok(());
            }
            Ok(bytes) => self.live.run.state_changed(&bytes, self.root.repository()),
            Err(error @ AccessError::TooLarge { .. }) => {
                // The reason is the same every time, so it is said once.
                self.live.run.state_changed(error.to_string().as_bytes(), None)
            }
            Err(error) => return Err(error.into()),
        };
        self.publish(events)
    }

    fn spec(&mut self) -> Result<(), Cut> {
        let file = plan_spec_file(self.adw_id);
        let found = match self.root.file(self.adw_id, &[&file]) {
            Ok((_, metadata)) => (metadata.len() > 0).then_some(metadata.len()),
            Err(error) if error.is_missing() => {
                self.live.run.keep_announced(&file, &BTreeSet::new());
                None
            }
            Err(error) => return Err(error.into()),
        };
        let Some(size_bytes) = found else {
            return Ok(());
        };
        let event = self.live.run.spec_found(&file, size_bytes, &self.root.name());
        self.publish(event.into_iter().collect())
    }

    fn images(&mut self, role: &RoleName) -> Result<(), Cut> {
        let names = match self.root.screenshots(self.adw_id, role, MAX_ANNOUNCED_FILES + 1) {
            Ok(names) => names,
            Err(error) if error.is_missing() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let paths: BTreeSet<String> = names.iter().map(|name| image_path(role, name)).collect();
        self.live.run.keep_announced(&image_path(role, ""), &paths);
        let mut events = Vec::new();
        for path in &paths {
            events.extend(self.live.run.screenshot_found(path, role));
            if events.len() >= MAX_BATCH_EVENTS {
                self.publish(std::mem::take(&mut events))?;
            }
        }
        self.publish(events)
    }

    /// Drops the roles that are gone, and says once when there are too many.
    fn roles(&mut self, present: &[RoleName]) -> Result<(), Cut> {
        self.live.tails.retain(|role, _| present.contains(role));
        let crowded = present.len() > MAX_ROLES;
        if crowded && !std::mem::replace(&mut self.live.crowded, crowded) {
            let message = format!("More than {MAX_ROLES} role directories; the others are not followed");
            self.publish(vec![warning(self.adw_id, None, "too_many_roles", message).into()])?;
        }
        Ok(())
    }

    fn transcript(&mut self, role: &RoleName) -> Result<(), Cut> {
        let worktree = self.live.run.worktree().map(str::to_owned);
        let (adw_id, root, port) = (self.adw_id, self.root, self.port);
        let LiveRun { run, tails, .. } = &mut *self.live;
        let tail = read_on(tails, port, adw_id, role)?;
        tail.set_worktree(worktree.as_deref());
        let mut outputs = Vec::new();
        let mut open = match tail.open(root, &mut outputs) {
            Ok(open) => open,
            Err(error) if error.is_missing() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let after = tail.checkpoint();
        publish_outputs(port, run, adw_id, role, outputs, &Step { before: after.clone(), after })?;
        loop {
            let before = tail.checkpoint();
            let mut outputs = Vec::new();
            let more = tail
                .advance(&mut open, &mut outputs)
                .map_err(|error| AccessError::Io(format!("{adw_id}/{role}"), error))?;
            let step = Step { before, after: tail.checkpoint() };
            publish_outputs(port, run, adw_id, role, outputs, &step)?;
            if !more {
                return Ok(());
            }
        }
    }

    fn publish(&mut self, events: Vec<AgentEvent>) -> Result<(), Cut> {
        if !events.is_empty() {
            publish_run(self.port, &self.live.run, self.adw_id, events)?;
        }
        Ok(())
    }
}

/// The reading of a role's transcript; where it was left if it was known before.
fn read_on<'a>(
    tails: &'a mut BTreeMap<RoleName, Tail>,
    port: &Port,
    adw_id: AdwId,
    role: &RoleName,
) -> Result<&'a mut Tail, Stopped> {
    match tails.entry(role.clone()) {
        Entry::Occupied(known) => Ok(known.into_mut()),
        Entry::Vacant(new) => {
            let key = CheckpointKey { adw_id, role: Some(role.clone()) };
            let at = match port.load(key)? {
                Some(CheckpointValue::Role(at)) => at,
                _ => RoleCheckpoint::default(),
            };
            Ok(new.insert(Tail::new(adw_id, role.clone(), at)))
        }
    }
}

/// A screenshot's path below its run's directory.
fn image_path(role: &RoleName, name: &str) -> String {
    format!("{role}/{IMAGES_DIRECTORY}/{name}")
}

/// The nearest directory above `path` that exists.
fn nearest_directory(path: &Path) -> Option<PathBuf> {
    path.ancestors().skip(1).find(|ancestor| ancestor.is_dir()).map(Path::to_owned)
}

fn complain(error: &AccessError) {
    match error {
        AccessError::Missing(_) => {}
        error => tracing::warn!(%error, "agents: skipped"),
    }
}
