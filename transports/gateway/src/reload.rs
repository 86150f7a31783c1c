//! Credentials that are read again while the gateway runs (AUTH-20): when their file has changed, and on SIGHUP.
//!
//! SIGHUP is handled whatever is configured, since its default action ends the process without a word to the clients. A file that
//! cannot be read, or that holds no usable keys, changes nothing. What a key vouched for that is gone or has other grants
//! ends; connections of unchanged keys do not notice.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use eventwire_hub::{ApiKeys, AuditEntry, AuditEvent, Hub, KeyChange, SupersededKey};
use eventwire_protocol::error::ErrorCode;
use tokio::signal::unix::Signal;

use crate::api_keys::{self, GrantsVersion};
use crate::cli::Failure;
use crate::config::Settings;
use crate::credential_file::{self, Holds, Stamp};
use crate::jwks::{self, FetchKeys, Refresh};
use crate::jwt::{Accepted, Expectations, Jwt, Keys, key_file_holds};
use crate::keyring::Keyring;
use crate::login_keys::{self, LoginKeys};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Reads an api_keys_file.
///
/// # Errors
/// What is wrong, in one line that begins with the path.
fn read_api_keys(file: &Path) -> Result<ApiKeys, String> {
    let at = |what: &str| format!("{}: {what}", file.display());
    let text = credential_file::read(file, Holds::Public)?;
    let mut keys = ApiKeys::new();
    for key in api_keys::read(&text).map_err(|what| at(&what))? {
        if let Some(warning) = key.warning() {
            tracing::warn!("{warning}");
        }
        keys.add(key.digest, key.principal).map_err(|error| at(&error.message))?;
    }
    Ok(keys)
}

/// Reads a file with the keys of tokens.
///
/// # Errors
/// What is wrong, in one line that begins with the path and does not repeat the file.
fn read_token_keys(file: &Path) -> Result<Keys, String> {
    let text = credential_file::read_as(file, key_file_holds)?;
    Keys::read(&text).map_err(|what| format!("{}: {what}", file.display()))
}

/// The tokens that are accepted, and the hub in which what a withdrawn key vouched for ends.
#[derive(Clone)]
pub(crate) struct Tokens {
    pub(crate) jwt: Arc<Jwt>,
    pub(crate) hub: Hub,
}

impl Tokens {
    /// Accepts tokens by these keys from now on, and by no others.
    pub(crate) fn replace(&self, keys: Keys, setting: &'static str) {
        let count = keys.len();
        let withdrawn = self.jwt.replace_keys(keys);
        let superseded = withdrawn.into_iter().map(|key| SupersededKey { key, change: KeyChange::Withdrawn });
        end(&self.hub, setting, count, superseded);
    }
}

/// Ends what superseded keys vouched for, and logs it.
fn end(hub: &Hub, setting: &'static str, keys: usize, superseded: impl IntoIterator<Item = SupersededKey>) {
    let (mut withdrawn, mut changed, mut closed) = (0, 0, 0);
    for key in superseded {
        match key.change {
            KeyChange::Withdrawn => withdrawn += 1,
            KeyChange::Regranted => changed += 1,
        }
        closed += hub.supersede_key(key);
    }
    tracing::info!(setting, keys, withdrawn, changed, closed, "credentials were read");
    hub.audit().record(AuditEntry::new(AuditEvent::Reload).subject(setting));
}

/// A file that was read, and what it looked like before that.
struct ReadFile {
    path: PathBuf,
    seen: Option<Stamp>,
}

impl ReadFile {
    fn read<T>(path: &Path, read: impl FnOnce(&Path) -> Result<T, String>) -> Result<(T, Self), String> {
        // Before reading: a file that is written meanwhile is read again.
        let seen = Stamp::of(path);
        Ok((read(path)?, Self { path: path.to_owned(), seen }))
    }
}

/// What a gateway accepts, as its settings say.
#[derive(Default)]
pub(crate) struct Configured {
    /// What is asked about each request.
    pub(crate) accepted: Accepted,
    api_keys: Option<ReadFile>,
    token_keys: Option<ReadFile>,
    login_keys: Option<ReadFile>,
    issuer: Option<Arc<dyn FetchKeys>>,
}

impl Configured {
    /// Reads the files. Of an issuer nothing is asked yet.
    ///
    /// # Errors
    /// A file that cannot be used, settings that contradict each other.
    pub(crate) fn read(settings: &Settings) -> Result<Self, Failure> {
        let wrong = |setting: &'static str| move |what: String| Failure::Usage(format!("{setting} {what}"));
        let mut configured = Self::default();
        configured.accepted.product_users = settings.product_users.map(Into::into).unwrap_or_default();
        if let Some(path) = &settings.api_keys_file {
            let (keys, file) = ReadFile::read(path, read_api_keys).map_err(wrong("api_keys_file"))?;
            configured.accepted.keys = Some(Arc::new(Keyring::new(keys)));
            configured.api_keys = Some(file);
        }
        if let Some(path) = &settings.product_jwt_key_file {
            let (users, file) = ReadFile::read(path, login_keys::read).map_err(wrong("product_jwt_key_file"))?;
            configured.accepted.logins = Some(Arc::new(LoginKeys::new(users, settings)));
            configured.login_keys = Some(file);
        }
        let keys = match (&settings.jwt_key_file, &settings.jwt_jwks_url) {
            (Some(_), Some(_)) => {
                let what = "jwt_key_file and jwt_jwks_url are both set; tokens have one source of keys";
                return Err(Failure::Usage(what.to_owned()));
            }
            (Some(path), None) => {
                let (keys, file) = ReadFile::read(path, read_token_keys).map_err(wrong("jwt_key_file"))?;
                configured.token_keys = Some(file);
                keys
            }
            (None, Some(url)) => {
                let fetch = jwks::parse_url(url).and_then(jwks::OverHttp::new).map_err(wrong("jwt_jwks_url"))?;
                configured.issuer = Some(Arc::new(fetch));
                configured.accepted.issuer = Some(Arc::new(Refresh::new()));
                Keys::none()
            }
            (None, None) => return Ok(configured),
        };
        let expected = Expectations {
            issuer: settings.jwt_issuer.clone(),
            audience: settings.jwt_audience.clone(),
            claim: settings.jwt_claim.clone(),
            grants: GrantsVersion::from_number(settings.jwt_grants).unwrap_or_default(),
            leeway: Duration::from_secs(settings.jwt_leeway_seconds),
        };
        configured.accepted.tokens = Some(Arc::new(Jwt::new(keys, expected)));
        Ok(configured)
    }

    /// Whether credentials are needed.
    pub(crate) fn authenticates(&self) -> bool {
        self.accepted.keys.is_some() || self.accepted.tokens.is_some()
    }

    /// Asks the issuer for the first time, and keeps everything as new as its source for as long as the process lives. An issuer
    /// that cannot be reached is asked again: until then tokens are answered with `unavailable`.
    pub(crate) async fn follow(self, hub: &Hub, hangups: Signal) {
        let Accepted { keys, tokens, logins, issuer: refresh, .. } = self.accepted;
        let tokens = tokens.map(|jwt| Tokens { jwt, hub: hub.clone() });
        let mut files = Vec::new();
        if let (Some(file), Some(keys)) = (self.api_keys, keys) {
            files.push(Watched { setting: "api_keys_file", file, target: Target::ApiKeys(keys) });
        }
        if let (Some(file), Some(tokens)) = (self.token_keys, &tokens) {
            files.push(Watched { setting: "jwt_key_file", file, target: Target::Tokens(tokens.clone()) });
        }
        if let (Some(file), Some(logins)) = (self.login_keys, logins) {
            files.push(Watched { setting: "product_jwt_key_file", file, target: Target::Logins(logins) });
        }
        if let (Some(fetch), Some(refresh), Some(tokens)) = (self.issuer, &refresh, tokens) {
            let wait = refresh.once(&*fetch, &tokens).await;
            tokio::spawn(Arc::clone(refresh).follow(fetch, tokens, wait));
        }
        tokio::spawn(follow(files, refresh, hub.clone(), hangups));
    }
}

/// What a file is for.
enum Target {
    ApiKeys(Arc<Keyring>),
    Tokens(Tokens),
    Logins(Arc<LoginKeys>),
}

/// A file that is looked at.
struct Watched {
    setting: &'static str,
    file: ReadFile,
    target: Target,
}

/// Looks at the files and waits for signals.
async fn follow(mut files: Vec<Watched>, issuer: Option<Arc<Refresh>>, hub: Hub, mut hangups: Signal) {
    loop {
        let asked = tokio::select! {
            _ = hangups.recv() => true,
            () = tokio::time::sleep(LOOK), if !files.is_empty() => false,
        };
        if asked {
            let settings: Vec<&str> = files.iter().map(|file| file.setting).collect();
            let settings = settings.join(" ");
            tracing::info!(%settings, issuer = issuer.is_some(), "SIGHUP: credentials are read again");
            if let Some(issuer) = &issuer {
                issuer.ask();
            }
        }
        for file in &mut files {
            if asked || file.has_changed() {
                file.read_again(&hub);
            }
        }
    }
}

impl Watched {
    /// Whether the file is there and is not what was read last.
    fn has_changed(&self) -> bool {
        let found = Stamp::of(&self.file.path);
        found.is_some() && found != self.file.seen
    }

    fn read_again(&mut self, hub: &Hub) {
        let (setting, path) = (self.setting, self.file.path.clone());
        self.file.seen = Stamp::of(&path);
        let read = match &self.target {
            Target::ApiKeys(keyring) => read_api_keys(&path).map(|keys| {
                let count = keys.len();
                end(hub, setting, count, keyring.replace(keys));
            }),
            Target::Tokens(tokens) => read_token_keys(&path).map(|keys| tokens.replace(keys, setting)),
            Target::Logins(logins) => login_keys::read(&path).map(|users| {
                let withdrawn = logins.replace(users);
                end(hub, setting, 1, withdrawn.map(|key| SupersededKey { key, change: KeyChange::Withdrawn }));
            }),
        };
        if let Err(error) = read {
            tracing::error!(setting, %error, "credentials were not read; the last good ones stay");
            hub.audit().record(AuditEntry::new(AuditEvent::Reload).subject(setting).code(ErrorCode::InvalidPayload));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const PUBLIC: &str = include_str!("../tests/keys/ed25519.public.pem");

    fn keys(names: &[&str]) -> String {
        let entry = |(at, name): (usize, &&str)| {
            let digest = format!("{at}{}", DIGEST.split_at(1).1);
            format!("[[key]]\nname = {name:?}\nsha256 = {digest:?}\n")
        };
        names.iter().enumerate().map(entry).collect()
    }

    /// Writes a file in one step, with a mode.
    fn write(path: &Path, text: &str, mode: u32) {
        let beside = path.with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(mode)).unwrap();
        std::fs::rename(&beside, path).unwrap();
    }

    #[tokio::test]
    async fn auth_20_a_file_that_cannot_be_used_is_read_once_and_leaves_the_last_good_credentials() {
        let directory = tempfile::tempdir().unwrap();
        let (api, token) = (directory.path().join("keys.toml"), directory.path().join("token.pem"));
        write(&api, &keys(&["a", "b"]), 0o600);
        write(&token, PUBLIC, 0o644);
        let settings =
            Settings { api_keys_file: Some(api.clone()), jwt_key_file: Some(token.clone()), ..Settings::default() };
        let Configured { accepted, api_keys, token_keys, .. } = Configured::read(&settings).unwrap();
        let (keyring, jwt) = (accepted.keys.unwrap(), accepted.tokens.unwrap());
        let hub = Hub::new();
        let mut watched = [
            Watched {
                setting: "api_keys_file",
                file: api_keys.unwrap(),
                target: Target::ApiKeys(Arc::clone(&keyring)),
            },
            Watched {
                setting: "jwt_key_file",
                file: token_keys.unwrap(),
                target: Target::Tokens(Tokens { jwt: Arc::clone(&jwt), hub: hub.clone() }),
            },
        ];
        assert!(!watched.iter().any(Watched::has_changed));
        let secret = "a secret of at least thirty-two bytes";
        for (mode_of_api, text_of_api, mode_of_token, text_of_token) in [
            (0o600, "[[key", 0o600, "short"),
            (0o600, "", 0o600, "{}"),
            // Usable but for who else may write or read it.
            (0o666, keys(&["c"]).as_str(), 0o644, secret),
        ] {
            write(&api, text_of_api, mode_of_api);
            write(&token, text_of_token, mode_of_token);
            for file in &mut watched {
                assert!(file.has_changed(), "{}", file.setting);
                file.read_again(&hub);
                assert!(!file.has_changed(), "the log says it once");
            }
            assert_eq!((keyring.len(), jwt.key_count()), (2, 1));
            assert!(accepted_by(&jwt, PUBLIC));
        }
        // The cure is noticed; a file that is gone is waited for.
        std::fs::set_permissions(&api, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::remove_file(&token).unwrap();
        assert_eq!([watched[0].has_changed(), watched[1].has_changed()], [true, false]);
        watched[0].read_again(&hub);
        assert_eq!((keyring.len(), jwt.key_count()), (1, 1));
        write(&token, secret, 0o600);
        assert!(watched[1].has_changed());
        watched[1].read_again(&hub);
        assert!(!accepted_by(&jwt, PUBLIC));
    }

    /// Whether the keys are still those of a file.
    fn accepted_by(jwt: &Jwt, file: &str) -> bool {
        let other = Jwt::new(
            Keys::read(file).unwrap(),
            Expectations {
                issuer: None,
                audience: None,
                claim: "eventwire".to_owned(),
                grants: GrantsVersion::Two,
                leeway: Duration::ZERO,
            },
        );
        // What would be withdrawn by the others' keys in the place of these.
        other.replace_keys(Keys::none()).iter().all(|key| jwt.accepts_key(key))
    }

    #[test]
    fn auth_23_keys_come_from_one_place() {
        let settings = Settings {
            jwt_key_file: Some("keys.pem".into()),
            jwt_jwks_url: Some("https://id.example/jwks.json".to_owned()),
            ..Settings::default()
        };
        let refused = Configured::read(&settings).err().unwrap().to_string();
        assert!(refused.contains("jwt_key_file and jwt_jwks_url"), "{refused}");
    }
}
