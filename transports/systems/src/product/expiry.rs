//! Logins that end (PRD-07): announced every minute while less than five are left, then over.

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
use tokio::time::MissedTickBehavior;

use super::{Shared, presence::Login};

/// Logins that are asked about at one time.
const AT_ONCE: usize = 16;

/// Looks at the logins every so often, until the system is gone.
pub(super) async fn watch(shared: Weak<Shared>, every: Duration) {
    let mut ticks = tokio::time::interval(every.max(Duration::from_secs(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is now.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        look(&shared).await;
    }
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

async fn look(shared: &Arc<Shared>) {
    let notice = i64::try_from(shared.settings.expiry_notice.as_micros()).unwrap_or(i64::MAX);
    let now = shared.hub.now();
    let soon = |end: &Time| *end < now.plus_micros(notice);
    let logins: Vec<(ConnectionId, Login)> = {
        let table = shared.state.table();
        let ending = table.logins.iter().filter(|(_, login)| login.expires_at.as_ref().is_some_and(soon));
        ending.map(|(id, login)| (*id, login.clone())).collect()
    };
    let fates: Vec<(ConnectionId, Login, Fate)> = stream::iter(logins)
        .map(|(id, login)| async move {
            let fate = fate(shared, id, &login, now, soon).await;
            (id, login, fate)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    // Of a user with several logins the one that ends last counts: a page of it may be told that nothing is wrong.
    let mut ends: BTreeMap<UserId, (Time, Holder)> = BTreeMap::new();
    for (id, login, fate) in fates {
        match fate {
            Fate::Lives => {}
            Fate::Ends(end) => {
                let (last, _) = ends.entry(login.user).or_insert((end, login.holder));
                *last = (*last).max(end);
            }
            Fate::Over => {
                shared.hub.close(id, CloseCode::Policy, "Session expired");
            }
            Fate::Unknown => {
                shared.hub.close(id, CloseCode::Restart, "Authentication is unavailable");
            }
        }
    }
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

/// Asks again whose the login is: a page that is used renews it without the socket knowing.
async fn fate(shared: &Arc<Shared>, id: ConnectionId, login: &Login, now: Time, soon: impl Fn(&Time) -> bool) -> Fate {
    let end = match shared.user_behind(&login.shown).await {
        Ok(Some(found)) if found.user == login.user => found.expires_at,
        // Nobody's any more, or somebody else's: a connection does not change hands.
        Ok(_) => return Fate::Over,
        Err(_) => match login.expires_at {
            Some(end) if end <= now => return Fate::Unknown,
            known => known,
        },
    };
    if let Some(login) = shared.state.table().logins.get_mut(&id) {
        login.expires_at = end;
    }
    match end {
        Some(end) if end <= now => Fate::Over,
        Some(end) if soon(&end) => Fate::Ends(end),
        _ => Fate::Lives,
    }
}
