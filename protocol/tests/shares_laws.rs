//! The laws of fair shares (LIMIT-04), held against a list of what was taken.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

use eventwire_protocol::shares::{Decision, Shares, Standing};
use proptest::{collection::vec, prelude::*};

/// What one holder took at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Item {
    holder: u8,
    amount: u64,
}

/// Odd holders are anonymous.
fn standing(holder: u8) -> Standing {
    if holder % 2 == 1 { Standing::Anonymous } else { Standing::Authenticated }
}

fn held(items: &[Item], counts: impl Fn(u8) -> bool) -> u64 {
    items.iter().filter(|item| counts(item.holder)).map(|item| item.amount).sum()
}

/// Takes as a caller does: evicts what it is told to, until the answer is yes or no.
fn take(shares: &mut Shares<u8>, items: &mut Vec<Item>, item: Item) -> (bool, Vec<Item>) {
    let mut evicted = Vec::new();
    loop {
        match shares.decide(&item.holder, standing(item.holder), item.amount) {
            Decision::Admit => {
                shares.add(item.holder, standing(item.holder), item.amount);
                items.push(item);
                return (true, evicted);
            }
            Decision::Evict(from) => {
                assert_ne!(from, item.holder);
                assert!(held(items, |it| it == from) > held(items, |it| it == item.holder) + item.amount);
                let at = items.iter().position(|it| it.holder == from).expect("an evicted holder holds something");
                let gone = items.remove(at);
                shares.release(&from, gone.amount);
                evicted.push(gone);
            }
            Decision::Refuse => return (false, evicted),
        }
    }
}

#[test]
fn limit_04_a_lone_peer_uses_everything_but_the_reserve_and_makes_room_for_a_newcomer() {
    let (mut shares, mut items) = (Shares::new(100, 10), Vec::new());
    for _ in 0..90 {
        assert_eq!(take(&mut shares, &mut items, Item { holder: 1, amount: 1 }), (true, vec![]));
    }
    assert!(!take(&mut shares, &mut items, Item { holder: 1, amount: 1 }).0, "the reserve is for credentials");
    assert!(take(&mut shares, &mut items, Item { holder: 2, amount: 1 }).1.is_empty(), "credentials take the reserve");
    let (admitted, evicted) = take(&mut shares, &mut items, Item { holder: 3, amount: 1 });
    assert_eq!((admitted, evicted.len(), evicted[0].holder), (true, 1, 1));
}

#[test]
fn limit_04_under_pressure_a_holder_may_have_the_bound_divided_by_the_holders() {
    let (mut shares, mut items) = (Shares::new(100, 0), Vec::new());
    for holder in [2, 4] {
        for _ in 0..40 {
            assert!(take(&mut shares, &mut items, Item { holder, amount: 1 }).0);
        }
    }
    for _ in 0..10 {
        assert!(take(&mut shares, &mut items, Item { holder: 2, amount: 1 }).0);
    }
    assert!(!take(&mut shares, &mut items, Item { holder: 2, amount: 1 }).0, "half of it is its share");
    assert!(take(&mut shares, &mut items, Item { holder: 4, amount: 1 }).0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is taken and given back: the bound and the reserve are kept, the ledger agrees with the list, nothing is
    /// refused below pressure, and a holder with nothing gets one unit as long as another of its kind has three.
    #[test]
    fn limit_04_no_holder_takes_what_another_needs(
        bound in 10_u64..60,
        percent in 0_u64..50,
        steps in vec((0_u8..6, prop_oneof![3 => Just(1), 1 => 2_u64..12], prop::bool::weighted(0.3), any::<prop::sample::Index>()), 1..300),
    ) {
        let reserve = bound * percent / 100;
        let (mut shares, mut items) = (Shares::new(bound, reserve), Vec::new());
        for (holder, amount, gives_back, which) in steps {
            if gives_back && !items.is_empty() {
                let item: Item = items.remove(which.index(items.len()));
                shares.release(&item.holder, item.amount);
                continue;
            }
            let before = items.clone();
            let item = Item { holder, amount };
            let (admitted, evicted) = take(&mut shares, &mut items, item);
            let total = held(&before, |_| true);
            let strangers = held(&before, |it| standing(it) == Standing::Anonymous);
            let open = standing(holder) == Standing::Authenticated || strangers + amount <= bound - reserve;
            if open && (total + amount) * 100 <= bound * 80 {
                prop_assert!(admitted && evicted.is_empty(), "refused below pressure");
            }
            let largest = (0..6_u8).filter(|it| *it != holder && (standing(*it) == standing(holder)))
                .map(|it| held(&before, |of| of == it)).max().unwrap();
            if amount == 1 && held(&before, |it| it == holder) == 0 && largest >= 3 {
                prop_assert!(admitted, "a newcomer is shut out by a holder of {largest}");
            }
            prop_assert_eq!(shares.total(), held(&items, |_| true));
            prop_assert!(shares.total() <= bound);
            prop_assert!(held(&items, |it| standing(it) == Standing::Anonymous) <= bound - reserve);
            for it in 0..6 {
                prop_assert_eq!(shares.held(&it), held(&items, |of| of == it));
            }
        }
    }

    /// A cache takes first and evicts then. Whatever is taken, the bound holds after evicting, and what an entry is taken from
    /// held more than its share before; with anonymous holders the share of the open part counts.
    #[test]
    fn limit_10_only_a_holder_above_its_share_gives_something_up(
        takes in vec((0_u8..6, 1_u64..40), 1..80),
        (bound, reserve) in (40_u64..200, 0_u64..20),
    ) {
        let mut shares = Shares::new(bound, reserve);
        let mut items: Vec<Item> = Vec::new();
        for (holder, amount) in takes {
            shares.add(holder, standing(holder), amount);
            items.push(Item { holder, amount });
            while let Some(from) = shares.overdrawn().copied() {
                let total = held(&items, |_| true);
                prop_assert!(total > bound, "nothing is evicted within the bound");
                let is_stranger = |holder| standing(holder) == Standing::Anonymous;
                let strangers = held(&items, is_stranger);
                let peers = |holder: u8| strangers <= bound - reserve || is_stranger(holder);
                let most = (0..6).filter(|it| peers(*it)).map(|it| held(&items, |of| of == it)).max().unwrap();
                prop_assert_eq!(held(&items, |it| it == from), most);
                let holders = (0..6).filter(|it| held(&items, |of| of == *it) > 0).count() as u64;
                prop_assert!(most > (bound - reserve) / holders, "{most} is a share or less");
                if !is_stranger(from) {
                    prop_assert!(total - strangers > reserve, "the reserve is for credentials");
                }
                let at = items.iter().position(|it| it.holder == from).unwrap();
                let gone = items.remove(at);
                shares.release(&from, gone.amount);
            }
            prop_assert!(held(&items, |_| true) <= bound);
            prop_assert_eq!(shares.total(), held(&items, |_| true));
        }
    }
}
