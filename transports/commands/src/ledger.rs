//! Whose commands wait: fair shares of what a back end has not taken yet (LIMIT-13).
//!
//! Both kinds of back end bound their commands by number and by bytes, and both shares are kept here. The ledger names the
//! commands that have to go; taking them out is the queue's.
//!
//! Urgent commands have a reserve of their own: a holder whose share is full of its own turns can still cancel them.

use eventwire_hub::Holder;
use eventwire_protocol::shares::{Decision, Shares};

/// Part of each bound that is reserved for holders with credentials.
const RESERVE: u64 = 10;

/// The reserve of urgent commands beside each bound: one part in so many, rounded up.
const URGENT_PART: usize = 16;

/// Where a command counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// Among all commands.
    Common,
    /// In the reserve of urgent commands.
    Urgent,
}

/// What each holder has waiting.
#[derive(Debug)]
pub(crate) struct Ledger {
    common: Part,
    urgent: Part,
}

/// One account, in commands and in bytes.
#[derive(Debug)]
struct Part {
    commands: Shares<Holder>,
    bytes: Shares<Holder>,
}

fn amount(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

impl Ledger {
    /// An empty ledger of so many commands and bytes, and of a reserve for urgent ones beside them.
    pub(crate) fn new(commands: usize, bytes: usize) -> Self {
        Self {
            common: Part::new(commands, bytes),
            urgent: Part::new(commands.div_ceil(URGENT_PART), bytes.div_ceil(URGENT_PART)),
        }
    }

    /// Which commands go so that a holder may add one of `size` bytes, and where it counts; `None` when its share is used up.
    /// An urgent command that finds no room among all takes the reserve. What goes is released here. `newest` names the newest
    /// command of a holder on an account that may go and is not among those it is passed, and its size.
    pub(crate) fn make_room<T: Clone>(
        &mut self,
        holder: &Holder,
        size: usize,
        is_urgent: bool,
        mut newest: impl FnMut(&Holder, Account, &[T]) -> Option<(T, usize)>,
    ) -> Option<(Account, Vec<T>)> {
        let accounts = [Account::Common, Account::Urgent];
        let open = accounts.into_iter().take(if is_urgent { 2 } else { 1 });
        open.into_iter().find_map(|account| {
            let newest = |holder: &Holder, going: &[T]| newest(holder, account, going);
            Some((account, self.part(account).make_room(holder, size, newest)?))
        })
    }

    /// A command of a holder waits.
    pub(crate) fn add(&mut self, holder: Holder, account: Account, size: usize) {
        self.part(account).add(holder, size);
    }

    /// A command of a holder is over.
    pub(crate) fn release(&mut self, holder: &Holder, account: Account, size: usize) {
        self.part(account).release(holder, size);
    }

    fn part(&mut self, account: Account) -> &mut Part {
        match account {
            Account::Common => &mut self.common,
            Account::Urgent => &mut self.urgent,
        }
    }
}

impl Part {
    fn new(commands: usize, bytes: usize) -> Self {
        let shares = |bound: usize| Shares::new(amount(bound), amount(bound) / RESERVE);
        Self { commands: shares(commands), bytes: shares(bytes) }
    }

    fn make_room<T: Clone>(
        &mut self,
        holder: &Holder,
        size: usize,
        mut newest: impl FnMut(&Holder, &[T]) -> Option<(T, usize)>,
    ) -> Option<Vec<T>> {
        let mut going: Vec<T> = Vec::new();
        let mut released: Vec<(Holder, usize)> = Vec::new();
        loop {
            let standing = holder.standing();
            // An empty command takes no share of bytes, whatever others have.
            let of_bytes = if size == 0 { Decision::Admit } else { self.bytes.decide(holder, standing, amount(size)) };
            let largest = match (self.commands.decide(holder, standing, 1), of_bytes) {
                (Decision::Admit, Decision::Admit) => return Some(going),
                (Decision::Refuse, _) | (_, Decision::Refuse) => None,
                (Decision::Evict(largest), _) | (_, Decision::Evict(largest)) => Some(largest),
            };
            let found = largest.and_then(|largest| newest(&largest, &going).map(|found| (largest, found)));
            let Some((largest, (command, freed))) = found else {
                // Nothing is taken from anyone for a command that is refused in the end.
                for (holder, size) in released {
                    self.add(holder, size);
                }
                return None;
            };
            self.release(&largest, freed);
            released.push((largest, freed));
            going.push(command);
        }
    }

    fn add(&mut self, holder: Holder, size: usize) {
        let standing = holder.standing();
        self.commands.add(holder.clone(), standing, 1);
        self.bytes.add(holder, standing, amount(size));
    }

    fn release(&mut self, holder: &Holder, size: usize) {
        self.commands.release(holder, 1);
        self.bytes.release(holder, amount(size));
    }
}
