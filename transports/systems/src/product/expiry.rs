//! Logins that end (PRD-07): announced every minute while less than five are left, and over at their end.
//!
//! Each login has a time at which it is due: its end, and its beginning where it ends before the next minute is over. Besides,
//! all logins that end soon are looked at once a minute.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use eventwire_hub::Holder;
use eventwire_protocol::{
    CloseCode, ConnectionId, Time, UserId,
    event::product::{LoginStatus, SessionExpiring},
};
use futures_util::stream::{self, StreamExt as _};
use tokio::time::Instant;

use super::{
    Shared,
    presence::{Login, Watch},
};

/// Logins that are asked about at one time.
const AT_ONCE: usize = 16;

/// Looks at logins when they are due and all that end soon every so often, until the system is gone.
pub(super) async fn watch(shared: Weak<Shared>, every: Duration) {
    let every = every.max(Duration::from_secs(1));
    let mut tick = Instant::now() + every;
    loop {
        let (changed, wait) = {
            let Some(shared) = shared.upgrade() else { return };
            let now = shared.hub.now();
            let due = shared.state.table().logins.values().filter_map(|login| due(login, now, every)).min();
            (shared.state.changed(), due.map(|due| until(due, now)))
        };
        // The tick bounds the sleep, so that a wall clock that is set is believed after a minute.
        let wake = wait.map_or(tick, |wait| tick.min(Instant::now() + wait));
        tokio::select! {
            () = tokio::time::sleep_until(wake) => {}
            () = changed.notified() => {}
        }
        let Some(shared) = shared.upgrade() else { return };
        let is_tick = Instant::now() >= tick;
        if is_tick {
            tick = Instant::now() + every;
        }
        let logins = take_due(&shared, is_tick, every);
        if !logins.is_empty() {
            // Whoever answers slowly for one login holds no other up.
            tokio::spawn(async move { look(&shared, logins).await });
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn until(moment: Time, now: Time) -> Duration {
    let micros = moment.as_unix_micros().saturating_sub(now.as_unix_micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// When a login is to be looked at, apart from the tick.
fn due(login: &Login, now: Time, every: Duration) -> Option<Time> {
    let end = login.expires_at?;
    match login.watch {
        Watch::New if end < now.plus_micros(micros(every)) => Some(now),
        Watch::New | Watch::Seen => Some(end),
        Watch::Asked | Watch::Over => None,
    }
}

/// The logins that are to be looked at now.
fn take_due(shared: &Arc<Shared>, is_tick: bool, every: Duration) -> Vec<(ConnectionId, Login)> {
    let now = shared.hub.now();
    let soon = now.plus_micros(micros(shared.settings.expiry_notice));
    let mut table = shared.state.table();
    let logins = table.logins.iter_mut().filter_map(|(id, login)| {
        let due = due(login, now, every)?;
        let ends_soon = login.expires_at.is_some_and(|end| end < soon);
        let is_due = due <= now || (is_tick && ends_soon);
        login.watch = if is_due { Watch::Asked } else { Watch::Seen };
        is_due.then(|| (*id, login.clone()))
    });
    logins.collect()
}

/// What became of a login that was to end soon.
enum Fate {
    /// It goes on.
    Lives,
    /// It ends at this time, soon.
    Ends(Time),
    /// It is over.
    Over,
    /// It is over as far as is known, and whether it was renewed cannot be told.
    Unknown,
}

async fn look(shared: &Arc<Shared>, logins: Vec<(ConnectionId, Login)>) {
    let notice = micros(shared.settings.expiry_notice);
    let now = shared.hub.now();
    let soon = |end: &Time| *end < now.plus_micros(notice);
    let fates: Vec<(Login, Fate)> = stream::iter(logins)
        .map(|(id, login)| async move {
            let (fate, end) = fate(shared, &login, now, soon).await;
            if let Some(login) = shared.state.table().logins.get_mut(&id) {
                login.watch = if matches!(fate, Fate::Over | Fate::Unknown) { Watch::Over } else { Watch::Seen };
                login.expires_at = end.unwrap_or(login.expires_at);
            }
            // At once: another login of this look may be answered slowly.
            match fate {
                Fate::Over => drop(shared.hub.close(id, CloseCode::Policy, "Session expired")),
                Fate::Unknown => drop(shared.hub.close(id, CloseCode::Restart, "Authentication is unavailable")),
                Fate::Lives | Fate::Ends(_) => {}
            }
            (login, fate)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    // Of a user with several logins the one that ends last counts: a page of it may be told that nothing is wrong.
    let mut ends: BTreeMap<UserId, (Time, Holder)> = BTreeMap::new();
    for (login, fate) in fates {
        if let Fate::Ends(end) = fate {
            let (last, _) = ends.entry(login.user).or_insert((end, login.holder));
            *last = (*last).max(end);
        }
    }
    // The ends may be other ones now.
    shared.state.changed().notify_one();
    for (user, (end, holder)) in ends {
        let lasts_longer = shared
            .state
            .table()
            .logins
            .values()
            .any(|login| login.user == user && login.expires_at.as_ref().is_none_or(|end| !soon(end)));
        if lasts_longer {
            continue;
        }
        let left = end.as_unix_micros().saturating_sub(now.as_unix_micros()).div_euclid(1_000_000);
        let expiring =
            SessionExpiring { status: LoginStatus::ExpiringSoon, expires_in_seconds: u64::try_from(left).unwrap_or(0) };
        if let Err(error) = shared.hub.user(user).on_account_of(holder).publish(expiring).await {
            tracing::warn!(%error, "that a login ends soon could not be told");
        }
    }
}

/// Asks again whose the login is: a page that is used renews it without the socket knowing. Gives its end as well, where that
/// is known.
async fn fate(
    shared: &Arc<Shared>,
    login: &Login,
    now: Time,
    soon: impl Fn(&Time) -> bool,
) -> (Fate, Option<Option<Time>>) {
    let end = match shared.user_behind(&login.shown).await {
        Ok(Some(found)) if found.user == login.user => found.expires_at,
        // Nobody's any more, or somebody else's: a connection does not change hands.
        Ok(_) => return (Fate::Over, None),
        Err(_) => match login.expires_at {
            Some(end) if end <= now => return (Fate::Unknown, None),
            known => known,
        },
    };
    let fate = match end {
        Some(end) if end <= now => Fate::Over,
        Some(end) if soon(&end) => Fate::Ends(end),
        _ => Fate::Lives,
    };
    (fate, Some(end))
}
