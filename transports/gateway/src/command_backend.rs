//! The back end that gets what clients ask of the application: it reads a stream, or a webhook is called (CMD-09).

use std::path::Path;
use std::sync::Arc;

use eventwire_commands::{Feed, FeedSettings, Webhook, WebhookSettings, certificates, tell_sender};
use eventwire_hub::{CommandSink, Hub, Secret};
use futures_util::FutureExt as _;

use crate::cli::Failure;
use crate::config::Settings;
use crate::credential_file::{self, Holds};
use crate::pipeline::Routes;

/// Where the paths of the stream begin.
const PREFIX: &str = "/v1/commands";

/// How commands reach the back end.
#[derive(Clone)]
pub(crate) enum BackEnd {
    /// It reads `GET /v1/commands`.
    Feed(Feed),
    /// It is called.
    Webhook(Webhook),
}

impl BackEnd {
    /// What the settings say. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Settings that cannot be used.
    pub(crate) fn of(settings: &Settings, hub: &Hub) -> Result<Self, Failure> {
        let on_failure = tell_sender(hub.clone());
        let Some(url) = &settings.commands_webhook else {
            return match (&settings.commands_secret_file, &settings.commands_ca_file) {
                (None, None) => Ok(Self::Feed(Feed::new(hub.clone(), FeedSettings::default(), on_failure))),
                _ => Err(Failure::Usage(
                    "commands_secret_file and commands_ca_file are for a webhook: set commands_webhook".to_owned(),
                )),
            };
        };
        let Some(file) = &settings.commands_secret_file else {
            return Err(Failure::Usage(
                "commands_webhook needs commands_secret_file: requests are signed, and the back end checks it"
                    .to_owned(),
            ));
        };
        let secret = Secret::new(read(file, "commands_secret_file", Holds::Secret)?.trim());
        let authorities = match &settings.commands_ca_file {
            None => Vec::new(),
            Some(file) => certificates(read(file, "commands_ca_file", Holds::Public)?.as_bytes())
                .map_err(|error| Failure::Usage(format!("commands_ca_file {}: {}", file.display(), error.message)))?,
        };
        let webhook = WebhookSettings { authorities, ..WebhookSettings::default() };
        Webhook::with_settings(url, secret, webhook, on_failure)
            .map(Self::Webhook)
            .map_err(|error| Failure::Usage(format!("commands_webhook: {}", error.message)))
    }

    /// What the systems hand commands to.
    pub(crate) fn sink(&self) -> Arc<dyn CommandSink> {
        match self {
            Self::Feed(feed) => Arc::new(feed.clone()),
            Self::Webhook(webhook) => Arc::new(webhook.clone()),
        }
    }

    /// How many commands no back end has acknowledged.
    pub(crate) fn pending(&self) -> usize {
        match self {
            Self::Feed(feed) => feed.pending(),
            Self::Webhook(webhook) => webhook.pending(),
        }
    }

    /// How many back ends read.
    pub(crate) fn readers(&self) -> usize {
        match self {
            Self::Feed(feed) => feed.readers(),
            Self::Webhook(_) => 0,
        }
    }

    /// The stream and the acknowledgements at their paths, and everything else behind.
    pub(crate) fn mount(&self, hub: &Hub, behind: Routes) -> Routes {
        let (back_end, hub) = (self.clone(), hub.clone());
        Arc::new(move |request, peer| {
            let path = request.uri().path();
            if !path.strip_prefix(PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                return behind(request, peer);
            }
            let (back_end, hub) = (back_end.clone(), hub.clone());
            async move {
                match back_end {
                    Self::Feed(feed) => feed.answer(request, Some(peer.ip())).await,
                    Self::Webhook(webhook) => webhook.answer(&hub, request, Some(peer.ip())).await,
                }
            }
            .boxed()
        })
    }
}

fn read(file: &Path, name: &str, holds: Holds) -> Result<String, Failure> {
    credential_file::read(file, holds).map_err(|error| Failure::Usage(format!("{name} {error}")))
}
