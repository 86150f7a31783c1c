//! A pot: what many holders keep in one bounded memory, each oldest first (LIMIT-10).
//!
//! Every entry is on the account of the holder that brought it, at the resident bytes that it costs. Nothing is refused:
//! an entry goes in, and while the pot holds more than its bound, [`Pot::overdrawn`] names the oldest entry of the largest
//! account. Entries live in chunks of slots and are linked twice: in a lane, the order in which entries age, and in the
//! order of their account. So every operation takes the time of a look at the order of accounts, whatever the pot holds.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    num::NonZeroU32,
};

use eventwire_protocol::{
    Time,
    shares::{Shares, Standing},
};

use crate::holder::Holder;

/// Where an entry is, until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot(NonZeroU32);

impl Slot {
    fn new(chunk: u32, place: u32) -> Option<Self> {
        chunk.checked_mul(CHUNK)?.checked_add(place)?.checked_add(1).and_then(NonZeroU32::new).map(Self)
    }

    fn chunk(self) -> usize {
        ((self.0.get() - 1) / CHUNK) as usize
    }

    fn place(self) -> usize {
        ((self.0.get() - 1) % CHUNK) as usize
    }
}

/// Slots that are allocated together, and given back together.
const CHUNK: u32 = 256;

/// An account of the pot: a holder that has an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Account(u32);

/// Resident bytes of an account: its row, and its places in the ledger and in the table of holders.
const ACCOUNT_BYTES: u64 = 320;

/// The first and the last of a linked order.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    oldest: Option<Slot>,
    newest: Option<Slot>,
}

/// The neighbors in a linked order.
#[derive(Clone, Copy, Debug, Default)]
struct Links {
    older: Option<Slot>,
    newer: Option<Slot>,
}

#[derive(Debug)]
struct Node<T> {
    item: T,
    since: Time,
    /// Without the slot itself.
    cost: u32,
    account: Account,
    lane: Links,
    own: Links,
}

/// Which of the two orders an entry ages in; a pot whose entries all live equally long uses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// The usual one.
    First,
    /// The other one.
    Second,
}

#[derive(Debug)]
enum Place<T> {
    Free(Option<u32>),
    Used(Node<T>),
}

#[derive(Debug)]
struct Chunk<T> {
    places: Vec<Place<T>>,
    free: Option<u32>,
    used: u32,
}

#[derive(Debug)]
struct Row<O> {
    holder: O,
    own: Ends,
    entries: u64,
}

/// On whose account an entry is.
pub(super) trait Owner: Clone + Eq + Hash {
    /// Whether it may use what is reserved for credentials.
    fn standing(&self) -> Standing;
}

impl Owner for Holder {
    fn standing(&self) -> Standing {
        self.standing()
    }
}

/// Entries of many holders under one bound.
#[derive(Debug)]
pub(super) struct Pot<T, O = Holder> {
    chunks: Vec<Chunk<T>>,
    /// Chunks with a free slot. The lowest is filled first, so that high ones become empty and are given back.
    open: BTreeSet<u32>,
    lanes: [Ends; 2],
    accounts: HashMap<O, Account>,
    rows: Vec<Option<Row<O>>>,
    free_rows: Vec<Account>,
    bytes: Shares<Account>,
    /// Of a pot that is bounded in entries, too.
    counts: Option<Shares<Account>>,
    len: usize,
}

/// A tenth of a bound is reserved for holders with credentials (LIMIT-04).
fn ledger(bound: usize) -> Shares<Account> {
    let bound = u64::try_from(bound).unwrap_or(u64::MAX);
    Shares::new(bound, bound / 10)
}

impl<T, O: Owner> Pot<T, O> {
    /// An empty pot of so many bytes, and of so many entries where that is bounded.
    pub(super) fn new(bytes: usize, entries: Option<usize>) -> Self {
        Self {
            chunks: Vec::new(),
            open: BTreeSet::new(),
            lanes: [Ends::default(); 2],
            accounts: HashMap::new(),
            rows: Vec::new(),
            free_rows: Vec::new(),
            bytes: ledger(bytes),
            counts: entries.map(ledger),
            len: 0,
        }
    }

    /// Resident bytes of one slot.
    pub(super) const SLOT_BYTES: usize = size_of::<Place<T>>();

    /// Resident bytes of everything.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.total()
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn node(&self, slot: Slot) -> Option<&Node<T>> {
        match self.chunks.get(slot.chunk())?.places.get(slot.place())? {
            Place::Used(node) => Some(node),
            Place::Free(_) => None,
        }
    }

    fn node_mut(&mut self, slot: Slot) -> Option<&mut Node<T>> {
        match self.chunks.get_mut(slot.chunk())?.places.get_mut(slot.place())? {
            Place::Used(node) => Some(node),
            Place::Free(_) => None,
        }
    }

    /// An entry.
    pub(super) fn get(&self, slot: Slot) -> Option<&T> {
        self.node(slot).map(|node| &node.item)
    }

    /// An entry, to be changed. What it costs stays.
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.node_mut(slot).map(|node| &mut node.item)
    }

    /// When an entry came.
    pub(super) fn since(&self, slot: Slot) -> Option<Time> {
        self.node(slot).map(|node| node.since)
    }

    /// The resident bytes of an entry, its slot included.
    pub(super) fn cost(&self, slot: Slot) -> usize {
        self.node(slot).map_or(0, |node| node.cost as usize + Self::SLOT_BYTES)
    }

    /// The holder on whose account an entry is.
    pub(super) fn holder(&self, slot: Slot) -> Option<&O> {
        self.row(self.node(slot)?.account).map(|row| &row.holder)
    }

    /// The entry of a lane that came first.
    pub(super) fn oldest(&self, lane: Lane) -> Option<Slot> {
        self.lane(lane)?.oldest
    }

    /// The newest entry of a holder.
    pub(super) fn newest_of(&self, holder: &O) -> Option<Slot> {
        self.accounts.get(holder).and_then(|account| self.row(*account))?.own.newest
    }

    /// The entry that came next in the same lane.
    pub(super) fn newer(&self, slot: Slot) -> Option<Slot> {
        self.node(slot)?.lane.newer
    }

    /// The oldest entry of the account that has to give something up; `None` while the bounds hold.
    pub(super) fn overdrawn(&self) -> Option<Slot> {
        let payer = self.bytes.overdrawn().or_else(|| self.counts.as_ref()?.overdrawn())?;
        self.row(*payer)?.own.oldest
    }

    fn row(&self, account: Account) -> Option<&Row<O>> {
        self.rows.get(account.0 as usize)?.as_ref()
    }

    fn row_mut(&mut self, account: Account) -> Option<&mut Row<O>> {
        self.rows.get_mut(account.0 as usize)?.as_mut()
    }

    fn lane(&self, lane: Lane) -> Option<&Ends> {
        match lane {
            Lane::First => self.lanes.first(),
            Lane::Second => self.lanes.last(),
        }
    }

    fn lane_mut(&mut self, lane: Option<Lane>) -> Option<&mut Ends> {
        match lane? {
            Lane::First => self.lanes.first_mut(),
            Lane::Second => self.lanes.last_mut(),
        }
    }

    /// Takes an entry on the account of a holder; without a lane it does not age. `cost` is in resident bytes, without the
    /// slot. `None` when the pot has used up its slots, 2^32 of them.
    pub(super) fn push(&mut self, holder: &O, lane: Option<Lane>, since: Time, cost: usize, item: T) -> Option<Slot> {
        let account = self.open_account(holder);
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        let node = Node { item, since, cost, account, lane: Links::default(), own: Links::default() };
        let Some(slot) = self.place(node) else {
            self.close_account(account);
            return None;
        };
        if let Some(row) = self.row_mut(account) {
            row.entries += 1;
        }
        self.link_lane(slot, lane);
        self.link_own(slot, account);
        self.bytes.add(account, holder.standing(), u64::from(cost) + Self::SLOT_BYTES as u64);
        if let Some(counts) = &mut self.counts {
            counts.add(account, holder.standing(), 1);
        }
        self.len += 1;
        Some(slot)
    }

    /// Takes an entry out. `lane` is the one that it went into.
    pub(super) fn remove(&mut self, slot: Slot, lane: Option<Lane>) -> Option<T> {
        let node = self.node(slot)?;
        let (account, cost, lane_links) = (node.account, node.cost, node.lane);
        self.unlink_own(slot);
        let Links { older, newer } = lane_links;
        match older.and_then(|older| self.node_mut(older)) {
            Some(older) => older.lane.newer = newer,
            None => {
                if let Some(ends) = self.lane_mut(lane) {
                    ends.oldest = newer;
                }
            }
        }
        match newer.and_then(|newer| self.node_mut(newer)) {
            Some(newer) => newer.lane.older = older,
            None => {
                if let Some(ends) = self.lane_mut(lane) {
                    ends.newest = older;
                }
            }
        }
        self.bytes.release(&account, u64::from(cost) + Self::SLOT_BYTES as u64);
        if let Some(counts) = &mut self.counts {
            counts.release(&account, 1);
        }
        if let Some(row) = self.row_mut(account) {
            row.entries -= 1;
        }
        self.close_account(account);
        self.len -= 1;
        self.vacate(slot)
    }

    /// Makes an entry the newest of its account.
    pub(super) fn renew(&mut self, slot: Slot) {
        let Some(account) = self.node(slot).map(|node| node.account) else { return };
        self.unlink_own(slot);
        self.link_own(slot, account);
    }

    fn link_lane(&mut self, slot: Slot, lane: Option<Lane>) {
        let Some(ends) = self.lane_mut(lane) else { return };
        let before = ends.newest.replace(slot);
        ends.oldest.get_or_insert(slot);
        if let Some(node) = self.node_mut(slot) {
            node.lane.older = before;
        }
        if let Some(before) = before.and_then(|before| self.node_mut(before)) {
            before.lane.newer = Some(slot);
        }
    }

    fn link_own(&mut self, slot: Slot, account: Account) {
        let Some(row) = self.row_mut(account) else { return };
        let before = row.own.newest.replace(slot);
        row.own.oldest.get_or_insert(slot);
        if let Some(node) = self.node_mut(slot) {
            node.own = Links { older: before, newer: None };
        }
        if let Some(before) = before.and_then(|before| self.node_mut(before)) {
            before.own.newer = Some(slot);
        }
    }

    fn unlink_own(&mut self, slot: Slot) {
        let Some(node) = self.node(slot) else { return };
        let (account, Links { older, newer }) = (node.account, node.own);
        match older.and_then(|older| self.node_mut(older)) {
            Some(older) => older.own.newer = newer,
            None => {
                if let Some(row) = self.row_mut(account) {
                    row.own.oldest = newer;
                }
            }
        }
        match newer.and_then(|newer| self.node_mut(newer)) {
            Some(newer) => newer.own.older = older,
            None => {
                if let Some(row) = self.row_mut(account) {
                    row.own.newest = older;
                }
            }
        }
    }

    fn open_account(&mut self, holder: &O) -> Account {
        if let Some(account) = self.accounts.get(holder) {
            return *account;
        }
        let row = Some(Row { holder: holder.clone(), own: Ends::default(), entries: 0 });
        let account = match self.free_rows.pop() {
            Some(account) => {
                if let Some(place) = self.rows.get_mut(account.0 as usize) {
                    *place = row;
                }
                account
            }
            None => {
                self.rows.push(row);
                // There are no more accounts than slots.
                Account(u32::try_from(self.rows.len() - 1).unwrap_or(u32::MAX))
            }
        };
        self.accounts.insert(holder.clone(), account);
        self.bytes.add(account, holder.standing(), ACCOUNT_BYTES);
        account
    }

    /// Closes an account without entries.
    fn close_account(&mut self, account: Account) {
        if self.row(account).is_none_or(|row| row.entries > 0) {
            return;
        }
        self.bytes.release(&account, ACCOUNT_BYTES);
        if let Some(row) = self.rows.get_mut(account.0 as usize).and_then(Option::take) {
            self.accounts.remove(&row.holder);
            self.free_rows.push(account);
        }
    }

    fn place(&mut self, node: Node<T>) -> Option<Slot> {
        let at = match self.open.first() {
            Some(at) => *at,
            None => {
                let at = u32::try_from(self.chunks.len()).ok()?;
                Slot::new(at, CHUNK)?;
                self.chunks.push(Chunk { places: Vec::new(), free: None, used: 0 });
                self.open.insert(at);
                at
            }
        };
        let chunk = self.chunks.get_mut(at as usize)?;
        let place = match chunk.free {
            Some(free) => {
                let place = chunk.places.get_mut(free as usize)?;
                let Place::Free(next) = place else { return None };
                chunk.free = *next;
                *place = Place::Used(node);
                free
            }
            None => {
                if chunk.places.is_empty() {
                    chunk.places.reserve_exact(CHUNK as usize);
                }
                chunk.places.push(Place::Used(node));
                u32::try_from(chunk.places.len()).ok()? - 1
            }
        };
        chunk.used += 1;
        if chunk.used == CHUNK {
            self.open.remove(&at);
        }
        Slot::new(at, place)
    }

    fn vacate(&mut self, slot: Slot) -> Option<T> {
        let at = u32::try_from(slot.chunk()).ok()?;
        let chunk = self.chunks.get_mut(slot.chunk())?;
        let place = chunk.places.get_mut(slot.place())?;
        let Place::Used(node) = std::mem::replace(place, Place::Free(chunk.free)) else { return None };
        chunk.free = u32::try_from(slot.place()).ok();
        chunk.used -= 1;
        if chunk.used == 0 {
            *chunk = Chunk { places: Vec::new(), free: None, used: 0 };
        }
        self.open.insert(at);
        Some(node.item)
    }
}

/// Resident bytes of one place in an index of slots, a hash table that is half full at worst.
pub(super) const INDEX_BYTES: usize = 12;
