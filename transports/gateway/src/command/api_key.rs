//! `eventwire api-key`: a new random key and the entry that makes a gateway accept it.
//!
//! The key is printed once and kept nowhere; the entry holds its SHA-256 digest. A key has 256 random bits, so a plain digest is
//! enough: there is nothing to guess that a slow hash would protect.

use std::io::Write as _;
use std::process::ExitCode;

use eventwire_hub::KeyDigest;

use crate::api_keys::{Entry, EntryPermission, EntryRole};
use crate::cli::Failure;

/// Flags of `api-key`.
#[derive(Debug, clap::Args)]
pub struct ApiKeyArgs {
    /// Name of the key in logs and in the admin list; never secret
    #[arg(long, default_value = "unnamed")]
    pub name: String,
    /// What the key may do beyond listening, comma separated
    #[arg(long = "permission", value_name = "PERMISSION,..", value_delimiter = ',', default_value = "publish")]
    pub permissions: Vec<EntryPermission>,
    /// User that the key speaks for
    #[arg(long)]
    pub user: Option<String>,
    /// Role that the key speaks with
    #[arg(long)]
    pub role: Option<EntryRole>,
    /// Agent runs it may listen to and publish to, comma separated; * for all
    #[arg(long = "adw", value_name = "ID,..", value_delimiter = ',', default_value = "*")]
    pub adws: Vec<String>,
    /// Rooms it may listen to and publish to, comma separated; * for all
    #[arg(long = "room", value_name = "NAME,..", value_delimiter = ',', default_value = "*")]
    pub rooms: Vec<String>,
    /// Contexts it may join and publish to, comma separated; * for all
    #[arg(long = "session", value_name = "ID,..", value_delimiter = ',', default_value = "*")]
    pub sessions: Vec<String>,
    /// Nothing older is replayed to it: a time such as 2026-11-20T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub history_from: Option<String>,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Prints a new key and its entry.
///
/// # Errors
/// The machine gives no random numbers, or standard output is closed.
pub fn run(flags: &ApiKeyArgs) -> Result<ExitCode, Failure> {
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::Failed(format!("no random numbers from the system: {error}")))?;
    let key = format!("ew_{}", hex(&random));
    let entry = Entry {
        name: flags.name.clone(),
        sha256: KeyDigest::of(&key).to_string(),
        user: flags.user.clone(),
        role: flags.role,
        permissions: flags.permissions.clone(),
        adws: flags.adws.clone(),
        rooms: flags.rooms.clone(),
        sessions: flags.sessions.clone(),
        history_from: flags.history_from.clone(),
    };
    let toml = crate::api_keys::write(&entry)
        .and_then(|toml| crate::api_keys::read(&toml).map(|_| toml))
        .map_err(|error| Failure::Usage(format!("this key would not be accepted: {error}")))?;
    let mut out = std::io::stdout().lock();
    if flags.json {
        writeln!(out, "{}", serde_json::json!({ "key": key, "entry": entry }))?;
    } else {
        writeln!(
            out,
            "# The key, shown this once:\n#   {key}\n# The entry for the api_keys_file:\n{}",
            toml.trim_end()
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_one_every_other_tool_prints() {
        // printf abc | sha256sum
        assert_eq!(
            KeyDigest::of("abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
