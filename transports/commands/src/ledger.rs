//! Whose commands wait: fair shares of what a back end has not taken yet (LIMIT-13).
//!
//! Both kinds of back end bound their commands by number and by bytes, and both shares are kept here. The ledger names the
//! commands that have to go; taking them out is the queue's.

use eventwire_hub::Holder;
use eventwire_protocol::shares::{Decision, Shares};

/// Part of each bound that is reserved for holders with credentials.
const RESERVE: u64 = 10;

/// What each holder has waiting, in commands and in bytes.
#[derive(Debug)]
pub(crate) struct Ledger {
    commands: Shares<Holder>,
    bytes: Shares<Holder>,
}

fn amount(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

impl Ledger {
    /// An empty ledger of so many commands and bytes.
    pub(crate) fn new(commands: usize, bytes: usize) -> Self {
        let shares = |bound: usize| Shares::new(amount(bound), amount(bound) / RESERVE);
        Self { commands: shares(commands), bytes: shares(bytes) }
    }

    /// Which commands go so that a holder may add one of `size` bytes; `None` when its share is used up. They are released
    /// here. `newest` names the newest command of a holder that may go and is not among those it is passed, and its size.
    pub(crate) fn make_room<T: Clone>(
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

    /// A command of a holder waits.
    pub(crate) fn add(&mut self, holder: Holder, size: usize) {
        let standing = holder.standing();
        self.commands.add(holder.clone(), standing, 1);
        self.bytes.add(holder, standing, amount(size));
    }

    /// A command of a holder is over.
    pub(crate) fn release(&mut self, holder: &Holder, size: usize) {
        self.commands.release(holder, 1);
        self.bytes.release(holder, amount(size));
    }
}
