//! `eventwire token`: a short-lived token for trying things, signed with the key of the one who runs it.
//!
//! In production the application signs tokens for its own users, with any library for JSON Web Tokens; this shows what goes into
//! one, and spares writing that for a first try.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};

use crate::api_keys::{EntryPermission, EntryRole, Grants, GrantsVersion};
use crate::cli::Failure;
use crate::credential_file::{self, Holds};
use crate::jwt::{MIN_SECRET_BYTES, TokenGrants};

/// Flags of `token`.
#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    /// File with the key to sign with: a private Ed25519 or P-256 key in PEM (EdDSA, ES256), else a secret of at least 32 bytes (HS256)
    #[arg(long, value_name = "FILE")]
    pub key_file: PathBuf,
    /// Name of the key (kid), where the gateway has several
    #[arg(long, value_name = "NAME")]
    pub kid: Option<String>,
    /// User that the token speaks for (sub)
    #[arg(long)]
    pub user: String,
    /// Seconds until it ends (exp)
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=31 * 86_400))]
    pub expires_in: u64,
    /// The issuer (iss), if the gateway has jwt_issuer
    #[arg(long)]
    pub issuer: Option<String>,
    /// The audience (aud), if the gateway has jwt_audience
    #[arg(long)]
    pub audience: Option<String>,
    /// Name of the token (jti), by which it can be revoked; without it one is drawn
    #[arg(long, value_name = "NAME")]
    pub id: Option<String>,
    /// The claim with what it grants, as in jwt_claim
    #[arg(long, value_name = "NAME", default_value = "eventwire")]
    pub claim: String,
    /// What it may do beyond listening, comma separated
    #[arg(long = "permission", value_name = "PERMISSION,..", value_delimiter = ',')]
    pub permissions: Vec<EntryPermission>,
    /// Role that it speaks with
    #[arg(long)]
    pub role: Option<EntryRole>,
    /// Agent runs it may listen to and publish to, comma separated; * for all
    #[arg(long = "adw", value_name = "ID,..", value_delimiter = ',')]
    pub adws: Vec<String>,
    /// Rooms it may listen to and publish to, comma separated; * for all
    #[arg(long = "room", value_name = "NAME,..", value_delimiter = ',')]
    pub rooms: Vec<String>,
    /// Contexts it may join and publish to, comma separated; * for all
    #[arg(long = "session", value_name = "ID,..", value_delimiter = ',')]
    pub sessions: Vec<String>,
    /// Users whose streams it may publish to and observe, comma separated; * for all
    #[arg(long, value_name = "ID,..", value_delimiter = ',')]
    pub users: Vec<String>,
    /// Browser sessions it may publish to and observe (~HASH), comma separated; * for all
    #[arg(long = "browser-session", value_name = "ID,..", value_delimiter = ',')]
    pub browser_sessions: Vec<String>,
    /// It may publish to everyone
    #[arg(long)]
    pub global: bool,
    /// Nothing older is replayed to it: a time such as 2026-11-20T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub history_from: Option<String>,
    /// One JSON object with the token and its claims instead of the token alone
    #[arg(long)]
    pub json: bool,
}

/// Prints a token.
///
/// # Errors
/// A key that cannot sign, a name that is none, standard output that is closed.
pub fn run(flags: &TokenArgs) -> Result<ExitCode, Failure> {
    let file = flags.key_file.display();
    let text = credential_file::read(&flags.key_file, Holds::Secret)
        .map_err(|error| Failure::Usage(format!("--key-file {error}")))?;
    let (algorithm, key) = signer(text.trim()).map_err(|what| Failure::Usage(format!("--key-file {file}: {what}")))?;
    let claims = claims(flags)?;
    let header = Header { kid: flags.kid.clone(), ..Header::new(algorithm) };
    let token = jsonwebtoken::encode(&header, &claims, &key)
        .map_err(|error| Failure::Usage(format!("--key-file {file}: cannot sign: {error}")))?;
    let mut out = std::io::stdout().lock();
    match flags.json {
        true => writeln!(out, "{}", json!({ "token": token, "claims": claims }))?,
        false => writeln!(out, "{token}")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn signer(text: &str) -> Result<(Algorithm, EncodingKey), String> {
    if text.contains("-----BEGIN") {
        let ed25519 = EncodingKey::from_ed_pem(text.as_bytes()).map(|key| (Algorithm::EdDSA, key));
        let key = ed25519.or_else(|_| EncodingKey::from_ec_pem(text.as_bytes()).map(|key| (Algorithm::ES256, key)));
        return key.map_err(|_| "not the PEM text (PKCS 8) of a private Ed25519 or P-256 key".to_owned());
    }
    if text.len() < MIN_SECRET_BYTES {
        return Err(format!("a secret for HS256 needs at least {MIN_SECRET_BYTES} bytes"));
    }
    Ok((Algorithm::HS256, EncodingKey::from_secret(text.as_bytes())))
}

fn claims(flags: &TokenArgs) -> Result<Map<String, Value>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("the token cannot be written: {error}"));
    // What would be refused where it is shown is refused here.
    let grants = Grants {
        user: Some(&flags.user),
        role: flags.role,
        permissions: flags.permissions.iter().map(|it| (*it).into()).collect(),
        adws: &flags.adws,
        rooms: &flags.rooms,
        sessions: &flags.sessions,
        users: Some(&flags.users),
        browser_sessions: Some(&flags.browser_sessions),
        global: Some(flags.global),
        version: GrantsVersion::Two,
        history_from: flags.history_from.as_deref(),
    };
    grants.claims().map_err(|what| Failure::Usage(format!("this token would not be accepted: {what}")))?;
    let granted = TokenGrants {
        role: flags.role,
        permissions: flags.permissions.clone(),
        adws: flags.adws.clone(),
        rooms: flags.rooms.clone(),
        sessions: flags.sessions.clone(),
        // Written out, so that the token means the same whatever jwt_grants is.
        users: Some(flags.users.clone()),
        browser_sessions: Some(flags.browser_sessions.clone()),
        global: Some(flags.global),
        history_from: flags.history_from.clone(),
    };
    let id = match &flags.id {
        Some(id) => id.clone(),
        None => format!("{:016x}", getrandom::u64().map_err(|error| failed(&error))?),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| failed(&error))?.as_secs();
    let mut claims = Map::new();
    let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    set("sub", flags.user.as_str().into());
    set("jti", id.into());
    set("iat", now.into());
    set("exp", (now + flags.expires_in).into());
    for (name, value) in [("iss", &flags.issuer), ("aud", &flags.audience)] {
        if let Some(value) = value {
            set(name, value.as_str().into());
        }
    }
    set(&flags.claim, serde_json::to_value(granted).map_err(|error| failed(&error))?);
    Ok(claims)
}
