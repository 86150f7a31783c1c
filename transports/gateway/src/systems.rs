//! The older systems, put together from the settings.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use eventwire_http::Fallback;
use eventwire_hub::{CommandSink, Hub, Principal, Receipt, Tap};
use eventwire_protocol::dialect::Adopted;
use eventwire_protocol::{Dialect, ErrorBody, ErrorCode};
use eventwire_systems::System;
use eventwire_systems::adw::{self, Adw};
use eventwire_systems::monadic::{self, Monadic};
use eventwire_systems::product::{self, Product};
use eventwire_systems::shared_context::{self, ContextStore, KeptStore, QueryStore, SharedContext};

use crate::cli::Failure;
use crate::config::{ContextTimes, ProductUsers, Settings};
use crate::login_keys::LoginKeys;
use crate::router::Mounted;
use crate::runs::States;

/// What the systems remember of published events. Made before the hub, which is told of it.
pub(crate) struct Remembered {
    monadic: Arc<monadic::State>,
    /// Unless a back end is asked for them.
    contexts: Option<Arc<KeptStore>>,
}

impl Remembered {
    pub(crate) fn new(settings: &Settings) -> Self {
        let keep = || KeptStore::new(shared_context::Bounds::default());
        Self { monadic: monadic::State::new(), contexts: settings.context_query_url.is_none().then(keep) }
    }

    /// What the hub has to tell of every event.
    pub(crate) fn taps(&self) -> Vec<Arc<dyn Tap>> {
        let always: Arc<dyn Tap> = self.monadic.clone();
        std::iter::once(always).chain(self.contexts.clone().map(|contexts| contexts as Arc<dyn Tap>)).collect()
    }
}

/// The systems, as the rest of the gateway knows them.
pub(crate) struct Systems {
    /// With what takes their sockets.
    pub(crate) mounted: Vec<Mounted>,
    /// What becomes of events that their back ends publish without a target.
    pub(crate) fallback: Arc<dyn Fallback>,
}

/// Asks Monadic Chat, the only one with an answer.
struct ToEveryPage(Arc<Monadic>);

#[async_trait]
impl Fallback for ToEveryPage {
    async fn publish(
        &self,
        principal: &Principal,
        dialect: Dialect,
        event: Adopted,
    ) -> Option<Result<Receipt, ErrorBody>> {
        if dialect.family() != Dialect::Monadic {
            return None;
        }
        match self.0.adopt(principal, event, None).await {
            Ok(receipts) => {
                let nobody = Receipt { seq: None, prev: None, repeated: false };
                Some(Ok(receipts.into_iter().next().unwrap_or(nobody)))
            }
            Err(error) if error.code == ErrorCode::MissingTarget => None,
            Err(error) => Some(Err(error)),
        }
    }

    fn silences(&self, dialect: Dialect, event: &Adopted) -> bool {
        dialect.family() == Dialect::Monadic && self.0.silences(event.kind, &event.data, event.time.is_some())
    }
}

/// Every system, over one hub and one sink for what their clients ask of the application.
///
/// # Errors
/// Settings that cannot be used.
pub(crate) fn all(
    settings: &Settings,
    hub: &Hub,
    keys: Option<Arc<LoginKeys>>,
    commands: &Arc<dyn CommandSink>,
    remembered: Remembered,
    agents: Option<&Path>,
) -> Result<Systems, Failure> {
    let of_monadic =
        monadic::Settings { progress_enabled: settings.progress_enabled, single_user: settings.single_user };
    let of_product = product::Settings {
        cookie: settings.product_cookie.clone(),
        users: users(settings, keys)?,
        ..Default::default()
    };
    let of_adw = adw::Settings {
        agents: agents.map(|root| Arc::new(States::new(root)) as Arc<dyn adw::AgentState>),
        ..adw::Settings::default()
    };
    let contexts: Arc<dyn ContextStore> = match (remembered.contexts, &settings.context_query_url) {
        (Some(kept), _) => kept,
        (None, url) => Arc::new(
            QueryStore::new(url.as_deref().unwrap_or_default())
                .map_err(|error| Failure::Usage(format!("context_query_url: {}", error.message)))?,
        ),
    };
    let times = match settings.context_times {
        ContextTimes::ByPath => shared_context::Times::ByPath,
        ContextTimes::Milliseconds => shared_context::Times::Milliseconds,
        ContextTimes::Iso => shared_context::Times::Iso,
    };
    let monadic = Arc::new(Monadic::new(hub.clone(), Arc::clone(commands), remembered.monadic, of_monadic));
    let fallback = Arc::new(ToEveryPage(Arc::clone(&monadic)));
    let systems: Vec<Arc<dyn System>> = vec![
        monadic,
        Arc::new(Product::new(hub.clone(), Arc::clone(commands), of_product)),
        Arc::new(SharedContext::new(hub.clone(), contexts, shared_context::Settings { times })),
        Arc::new(Adw::new(hub.clone(), Arc::clone(commands), of_adw)),
    ];
    Ok(Systems { mounted: systems.into_iter().map(|system| Mounted::new(hub, system)).collect(), fallback })
}

/// What a person is told at the start about the systems that are listened for.
pub(crate) fn notes(settings: &Settings) -> Vec<String> {
    let listens = |family| settings.listen.iter().any(|listener| listener.dialect.family() == family);
    let mut notes = Vec::new();
    if settings.authenticates() && !settings.anonymous.is_empty() {
        notes.push(format!("strangers may listen as clients of {}", settings.anonymous.join(", ")));
        notes.push(match &settings.anonymous_scope {
            Some(scope) => format!("strangers see {}", scope.join(", ")),
            None => "strangers see every agent run, room and context (set anonymous_scope)".to_owned(),
        });
    }
    if settings.authenticates() && settings.knows_product_users() {
        notes.push(match settings.product_users {
            Some(ProductUsers::Separate) => {
                "user ID of Product Demo is user product:ID here, and no user of keys and tokens (product_users = separate)"
                    .to_owned()
            }
            _ => "user ID of Product Demo is user ID of keys and tokens (product_users = same)".to_owned(),
        });
    }
    if listens(Dialect::Product) && settings.product_lookup_url.is_none() && settings.product_jwt_key_file.is_none() {
        notes.push(
            "nobody is known to product, so its sockets are closed: set product_lookup_url or product_jwt_key_file"
                .to_owned(),
        );
    }
    if [Dialect::Monadic, Dialect::Product, Dialect::Adw].into_iter().any(listens) {
        notes.push(match &settings.commands_webhook {
            Some(_) => "what clients ask of the application goes to commands_webhook".to_owned(),
            None => "what clients ask of the application is read from /v1/commands".to_owned(),
        });
    }
    notes
}

/// Who knows the users of Product Demo.
fn users(settings: &Settings, keys: Option<Arc<LoginKeys>>) -> Result<Arc<dyn product::UserResolver>, Failure> {
    match (&settings.product_lookup_url, keys) {
        (Some(_), Some(_)) => Err(Failure::Usage(
            "product_lookup_url and product_jwt_key_file are both set; one of them says who somebody is".to_owned(),
        )),
        (Some(url), None) => match product::LookupUsers::new(url) {
            Ok(users) => Ok(Arc::new(users)),
            Err(error) => Err(Failure::Usage(format!("product_lookup_url: {}", error.message))),
        },
        (None, Some(keys)) => Ok(keys),
        (None, None) => Ok(Arc::new(product::KnowsNobody)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auth_09_the_start_says_whom_strangers_may_listen_as_whatever_credentials_others_need() {
        let strangers = |keys: Option<&str>, tokens: Option<&str>| {
            let settings = Settings {
                anonymous: vec!["adw".to_owned()],
                api_keys_file: keys.map(Into::into),
                jwt_key_file: tokens.map(Into::into),
                ..Settings::default()
            };
            notes(&settings).iter().any(|note| note == "strangers may listen as clients of adw")
        };
        assert!(strangers(Some("keys.toml"), None));
        assert!(strangers(None, Some("tokens.pem")));
        assert!(!strangers(None, None), "then nobody is a stranger");
    }
}
