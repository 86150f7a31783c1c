//! Places for connections (LIMIT-05): who has how many, and which connection makes room where there is none. Pure: the caller
//! passes the time, closes what is displaced, and reports when it has gone.
//!
//! The hub keeps the places of its connections in one [`Places`], and a server those of its sockets in another.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use eventwire_protocol::shares::{Decision, Shares};

use crate::holder::Holder;

/// How many connections of a holder are looked at for activity before one is displaced.
const LOOKS: usize = 32;

/// Displaced connections that may exist beside those that have a place, until they have gone.
pub fn most_leaving(bound: usize) -> usize {
    (bound / 8).clamp(16, 1_024)
}

/// What a place is used for; of a holder's places the first in this order is displaced first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// A socket between two requests. It also makes room for a newcomer of its own holder.
    Idle,
    /// A socket whose first request is not complete.
    Head,
    /// An open connection: a WebSocket, a stream of events, a polling session.
    Open,
    /// A request that is being answered.
    Request,
}

/// What became of a request for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Entered<I> {
    /// There was room.
    Admitted,
    /// There is room because this one has lost its place. It has to be closed, and reported with [`Places::leave`].
    Displaced(I),
    /// There is none for this holder.
    Refused,
}

/// When something was last heard from a peer, in the time of its [`Places`]. Set without a lock.
#[derive(Debug, Default)]
pub struct Activity(AtomicU64);

impl Activity {
    /// Notes that something was heard now.
    pub fn touch(&self, now: Duration) {
        self.0.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When something was heard last, in whole milliseconds.
    pub fn last(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

#[derive(Clone, Debug)]
struct Entry {
    holder: Holder,
    stage: Stage,
    since: Duration,
    activity: Arc<Activity>,
}

/// The places of one server or hub, shared fairly (LIMIT-04).
#[derive(Debug)]
pub struct Places<I> {
    shares: Shares<Holder>,
    entries: HashMap<I, Entry>,
    /// The places of each holder, the first to be displaced first.
    order: HashMap<Holder, BTreeSet<(Stage, Duration, I)>>,
    /// Displaced connections that have not gone.
    leaving: HashSet<I>,
    most_leaving: usize,
}

impl<I: Copy + Ord + Hash> Places<I> {
    /// `bound` free places, of which `reserve` are kept for holders with credentials. In addition, at most `most_leaving`
    /// displaced connections exist until they have gone.
    pub fn new(bound: usize, reserve: usize, most_leaving: usize) -> Self {
        Self {
            shares: Shares::new(bound as u64, reserve as u64),
            entries: HashMap::new(),
            order: HashMap::new(),
            leaving: HashSet::new(),
            most_leaving,
        }
    }

    /// How many places are taken.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no place is taken.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Who has the place; `None` once it is displaced.
    pub fn holder(&self, id: &I) -> Option<&Holder> {
        self.entries.get(id).map(|entry| &entry.holder)
    }

    /// Whether a connection has lost its place and has not gone.
    pub fn is_leaving(&self, id: &I) -> bool {
        self.leaving.contains(id)
    }

    /// Whether [`enter`](Self::enter) would give the holder a place.
    pub fn has_room(&self, holder: &Holder) -> bool {
        match self.shares.decide(holder, holder.standing(), 1) {
            Decision::Admit => true,
            Decision::Evict(_) => self.leaving.len() < self.most_leaving,
            Decision::Refuse => matches!(self.own_room(holder), Room::Of(_)),
        }
    }

    /// Gives a place only if no other has to make room.
    pub fn enter_free(
        &mut self,
        id: I,
        holder: &Holder,
        stage: Stage,
        activity: &Arc<Activity>,
        now: Duration,
    ) -> bool {
        let free = self.shares.decide(holder, holder.standing(), 1) == Decision::Admit;
        if free {
            self.insert(id, holder, stage, activity, now);
        }
        free
    }

    /// Gives a place. Where there is none, the largest holder loses the first of its connections in the order of [`Stage`],
    /// of several in one stage the one that has been idle longest. Nothing is displaced for a holder that is refused.
    pub fn enter(
        &mut self,
        id: I,
        holder: &Holder,
        stage: Stage,
        activity: &Arc<Activity>,
        now: Duration,
    ) -> Entered<I> {
        let displaced = match self.room(holder) {
            Room::Free => None,
            Room::Of(holder) => self.displace(&holder),
            Room::None => return Entered::Refused,
        };
        self.insert(id, holder, stage, activity, now);
        displaced.map_or(Entered::Admitted, Entered::Displaced)
    }

    /// Moves a place to the account of another holder, which needs room of its own there. Refused, the place stays as it was.
    pub fn transfer(&mut self, id: &I, holder: &Holder, now: Duration) -> Entered<I> {
        let Some(entry) = self.entries.get(id).cloned() else { return Entered::Refused };
        if entry.holder == *holder {
            return Entered::Admitted;
        }
        self.remove(id);
        let entered = self.enter(*id, holder, entry.stage, &entry.activity, now);
        if entered == Entered::Refused {
            self.insert(*id, &entry.holder, entry.stage, &entry.activity, entry.since);
        }
        entered
    }

    /// Notes what a place is used for from now on.
    pub fn set_stage(&mut self, id: &I, stage: Stage, now: Duration) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let Some(order) = self.order.get_mut(&entry.holder) else { return };
        order.remove(&(entry.stage, entry.since, *id));
        (entry.stage, entry.since) = (stage, now);
        order.insert((stage, now, *id));
    }

    /// Takes the place of a connection that has to be closed for a reason of the caller's. Says whether it had one.
    pub fn expel(&mut self, id: &I) -> bool {
        let had = self.remove(id).is_some();
        if had {
            self.leaving.insert(*id);
        }
        had
    }

    /// Notes that a connection has gone.
    pub fn leave(&mut self, id: &I) {
        self.remove(id);
        self.leaving.remove(id);
    }

    /// Where the room for one more of a holder comes from.
    fn room(&mut self, holder: &Holder) -> Room {
        let (standing, may_displace) = (holder.standing(), self.leaving.len() < self.most_leaving);
        match self.shares.decide(holder, standing, 1) {
            Decision::Admit => Room::Free,
            Decision::Evict(largest) if may_displace => {
                // Only if that is enough: shares may still refuse.
                self.shares.release(&largest, 1);
                let enough = self.shares.decide(holder, standing, 1) == Decision::Admit;
                self.shares.add(largest.clone(), largest.standing(), 1);
                if enough { Room::Of(largest) } else { self.own_room(holder) }
            }
            Decision::Refuse => self.own_room(holder),
            Decision::Evict(_) => Room::None,
        }
    }

    fn own_room(&self, holder: &Holder) -> Room {
        // The other half is for newcomers of other holders, which a holder that displaces itself all the time must not delay.
        let may_displace = self.leaving.len() < self.most_leaving.div_ceil(2);
        if may_displace && self.own_idle(holder).is_some() { Room::Of(holder.clone()) } else { Room::None }
    }

    fn own_idle(&self, holder: &Holder) -> Option<I> {
        let (stage, _, id) = self.order.get(holder)?.first()?;
        (*stage == Stage::Idle).then_some(*id)
    }

    fn displace(&mut self, holder: &Holder) -> Option<I> {
        let order = self.order.get_mut(holder)?;
        // A second chance for those that were active since they were put in order.
        for _ in 0..LOOKS {
            let first @ (stage, since, id) = *order.first()?;
            let Some(entry) = self.entries.get_mut(&id) else { break };
            let last = entry.activity.last();
            if last <= since {
                break;
            }
            order.remove(&first);
            entry.since = last;
            order.insert((stage, last, id));
        }
        let (.., id) = *order.first()?;
        self.expel(&id);
        Some(id)
    }

    fn insert(&mut self, id: I, holder: &Holder, stage: Stage, activity: &Arc<Activity>, since: Duration) {
        self.remove(&id);
        self.shares.add(holder.clone(), holder.standing(), 1);
        self.order.entry(holder.clone()).or_default().insert((stage, since, id));
        self.entries.insert(id, Entry { holder: holder.clone(), stage, since, activity: activity.clone() });
    }

    fn remove(&mut self, id: &I) -> Option<Entry> {
        let entry = self.entries.remove(id)?;
        self.shares.release(&entry.holder, 1);
        if let Some(order) = self.order.get_mut(&entry.holder) {
            order.remove(&(entry.stage, entry.since, *id));
            if order.is_empty() {
                self.order.remove(&entry.holder);
            }
        }
        Some(entry)
    }
}

/// Where the room for one more comes from.
enum Room {
    /// There is some.
    Free,
    /// From a place of this holder.
    Of(Holder),
    /// There is none.
    None,
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::Ipv4Addr};

    use proptest::prelude::*;

    use super::*;

    fn peer(last: u8) -> Holder {
        Holder::of_peer(Some(Ipv4Addr::new(10, 0, 0, last).into()))
    }

    fn user(name: &str) -> Holder {
        Holder::Principal(name.into())
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn enter(places: &mut Places<u32>, id: u32, holder: &Holder, stage: Stage) -> Entered<u32> {
        places.enter(id, holder, stage, &Arc::default(), at(id.into()))
    }

    #[test]
    fn limit_05_a_full_house_makes_room_from_the_largest_holder_idle_ones_first() {
        let mut places = Places::new(10, 1, 4);
        for id in 0..9 {
            let stage = if id == 5 { Stage::Idle } else { Stage::Open };
            assert_eq!(enter(&mut places, id, &peer(1), stage), Entered::Admitted);
        }
        assert_eq!(enter(&mut places, 20, &peer(2), Stage::Open), Entered::Displaced(5));
        assert_eq!(enter(&mut places, 21, &peer(2), Stage::Open), Entered::Displaced(0));
        assert!(places.is_leaving(&5) && places.is_leaving(&0));
        // The tenth is for credentials.
        assert_eq!(enter(&mut places, 22, &user("ada"), Stage::Open), Entered::Admitted);
        assert_eq!(enter(&mut places, 10, &peer(1), Stage::Open), Entered::Refused);
    }

    #[test]
    fn limit_05_an_idle_socket_makes_room_for_its_own_holder_and_no_open_one_does() {
        let mut places = Places::new(3, 0, 4);
        for id in 0..3 {
            assert_eq!(enter(&mut places, id, &peer(1), Stage::Open), Entered::Admitted);
        }
        assert_eq!(enter(&mut places, 3, &peer(1), Stage::Request), Entered::Refused);
        assert!(!places.has_room(&peer(1)));
        places.set_stage(&1, Stage::Idle, at(9));
        assert!(places.has_room(&peer(1)));
        assert_eq!(enter(&mut places, 3, &peer(1), Stage::Request), Entered::Displaced(1));
    }

    #[test]
    fn limit_05_the_connection_that_was_idle_longest_goes() {
        let mut places = Places::new(3, 0, 4);
        let activities: Vec<Arc<Activity>> = (0..3).map(|_| Arc::default()).collect();
        for (id, activity) in (0..).zip(&activities) {
            assert_eq!(places.enter(id, &peer(1), Stage::Open, activity, at(0)), Entered::Admitted);
        }
        for (activity, second) in activities.iter().zip([30, 10, 20]) {
            activity.touch(at(second));
        }
        assert_eq!(enter(&mut places, 7, &peer(2), Stage::Open), Entered::Displaced(1));
    }

    #[test]
    fn limit_05_displaced_connections_that_do_not_go_are_bounded() {
        let mut places = Places::new(4, 0, 1);
        for id in 0..4 {
            assert_eq!(enter(&mut places, id, &peer(1), Stage::Open), Entered::Admitted);
        }
        assert_eq!(enter(&mut places, 4, &peer(2), Stage::Open), Entered::Displaced(0));
        assert_eq!(enter(&mut places, 5, &peer(3), Stage::Open), Entered::Refused);
        places.leave(&0);
        assert_eq!(enter(&mut places, 5, &peer(3), Stage::Open), Entered::Displaced(1));
    }

    #[test]
    fn limit_05_a_place_moves_to_the_principal_that_shows_credentials() {
        let mut places = Places::new(10, 1, 4);
        for id in 0..9 {
            assert_eq!(enter(&mut places, id, &peer(1), Stage::Open), Entered::Admitted);
        }
        assert_eq!(places.transfer(&3, &user("ada"), at(20)), Entered::Admitted);
        assert_eq!((places.holder(&3), places.len()), (Some(&user("ada")), 9));
        assert_eq!(enter(&mut places, 9, &peer(2), Stage::Open), Entered::Admitted);
        // Refused, it stays with the peer.
        let mut places = Places::new(4, 0, 4);
        for (id, holder) in (0..).zip([user("ada"), user("ada"), user("tom"), peer(1)]) {
            assert_eq!(enter(&mut places, id, &holder, Stage::Open), Entered::Admitted);
        }
        assert_eq!(places.transfer(&3, &user("ada"), at(20)), Entered::Refused);
        assert_eq!(places.holder(&3), Some(&peer(1)));
    }

    #[test]
    fn limit_05_a_holder_that_displaces_itself_leaves_room_for_others_to_displace_it() {
        let mut places = Places::new(4, 0, 4);
        for id in 0..4 {
            assert_eq!(enter(&mut places, id, &peer(1), Stage::Idle), Entered::Admitted);
        }
        // None of the displaced has gone yet.
        assert_eq!(enter(&mut places, 4, &peer(1), Stage::Idle), Entered::Displaced(0));
        assert_eq!(enter(&mut places, 5, &peer(1), Stage::Idle), Entered::Displaced(1));
        assert_eq!(enter(&mut places, 6, &peer(1), Stage::Idle), Entered::Refused);
        assert_eq!(enter(&mut places, 7, &peer(2), Stage::Idle), Entered::Displaced(2));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Enter(u8, Stage),
        Transfer(usize, u8),
        Stage(usize, Stage),
        Leave(usize),
    }

    fn stage() -> impl Strategy<Value = Stage> {
        prop_oneof![Just(Stage::Idle), Just(Stage::Head), Just(Stage::Open), Just(Stage::Request)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..5u8, stage()).prop_map(|(who, stage)| Step::Enter(who, stage)),
            2 => (0..40usize, 0..5u8).prop_map(|(which, who)| Step::Transfer(which, who)),
            2 => (0..40usize, stage()).prop_map(|(which, stage)| Step::Stage(which, stage)),
            2 => (0..40usize).prop_map(Step::Leave),
        ]
    }

    fn who(number: u8) -> Holder {
        if number < 3 { peer(number) } else { user(&number.to_string()) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Against a plain list of who holds what, which is counted anew after every step.
        #[test]
        fn limit_05_no_history_exceeds_the_places_or_displaces_from_a_smaller_holder(
            bound in 1..24usize,
            steps in prop::collection::vec(step(), 1..160),
        ) {
            let mut places = Places::new(bound, bound / 10, 3);
            let mut model: BTreeMap<u32, (u8, Stage)> = BTreeMap::new();
            let mut leaving: Vec<u32> = Vec::new();
            let held = |model: &BTreeMap<u32, (u8, Stage)>, who: u8| model.values().filter(|(of, _)| *of == who).count();
            for (number, step) in (0_u32..).zip(steps) {
                let nth = |model: &BTreeMap<u32, (u8, Stage)>, which: usize| {
                    model.keys().copied().nth(which % model.len().max(1))
                };
                match step {
                    Step::Enter(asker, stage) => {
                        let has_room = places.has_room(&who(asker));
                        let entered = enter(&mut places, number, &who(asker), stage);
                        // The question alone may be more hopeful, never less.
                        prop_assert!(has_room || entered == Entered::Refused);
                        if let Entered::Displaced(id) = entered {
                            let (of, was) = model.remove(&id).unwrap();
                            let larger = held(&model, of) > held(&model, asker);
                            prop_assert!(larger || (of == asker && was == Stage::Idle), "{of} gave way to {asker}");
                            leaving.push(id);
                        }
                        if entered != Entered::Refused {
                            model.insert(number, (asker, stage));
                        }
                    }
                    Step::Transfer(which, to) => {
                        let Some(id) = nth(&model, which) else { continue };
                        let entered = places.transfer(&id, &who(to), at(number.into()));
                        if let Entered::Displaced(other) = entered {
                            model.remove(&other);
                            leaving.push(other);
                        }
                        if entered != Entered::Refused {
                            model.entry(id).and_modify(|(of, _)| *of = to);
                        }
                    }
                    Step::Stage(which, stage) => {
                        let Some(id) = nth(&model, which) else { continue };
                        places.set_stage(&id, stage, at(number.into()));
                        model.entry(id).and_modify(|(_, of)| *of = stage);
                    }
                    Step::Leave(which) => {
                        let all: Vec<u32> = model.keys().chain(&leaving).copied().collect();
                        let Some(id) = all.get(which % all.len().max(1)).copied() else { continue };
                        places.leave(&id);
                        model.remove(&id);
                        leaving.retain(|it| *it != id);
                    }
                }
                prop_assert_eq!(places.len(), model.len());
                prop_assert!(places.len() <= bound && leaving.len() <= 3);
                let strangers = (0..3).map(|who| held(&model, who)).sum::<usize>();
                prop_assert!(strangers <= bound - bound / 10);
                for (id, (of, _)) in &model {
                    prop_assert_eq!(places.holder(id), Some(&who(*of)));
                }
                for id in &leaving {
                    prop_assert!(places.is_leaving(id));
                }
            }
        }
    }
}
