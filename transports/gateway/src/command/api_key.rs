//! `eventwire api-key`: a new random key and the entry that makes a gateway accept it.
//!
//! The key goes to a terminal or into a file of its own, never to where the entry goes: `eventwire api-key >> keys.toml` must not
//! leave the key in that file (AUTH-21). The entry holds its SHA-256 digest. A key has 256 random bits, so a plain digest is
//! enough: there is nothing to guess that a slow hash would protect.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use eventwire_hub::KeyDigest;
use eventwire_protocol::Time;

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
    /// Users whose streams it may publish to and observe, comma separated; * for all. A key that is confined to some agent runs,
    /// rooms, contexts, users or browser sessions reaches no users, no browser sessions and not global unless it names them
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
    /// When the key ends: after a time such as 90d, 12h or 30m, or at a time such as 2027-03-01T00:00:00Z
    #[arg(long = "expires", value_name = "AFTER|TIME", value_parser = parse_end)]
    pub expires_at: Option<Time>,
    /// New file that receives the key, readable by its owner alone; without it the key is shown on the terminal
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// The entry as JSON instead of TOML: {"entry": ..}
    #[arg(long)]
    pub json: bool,
    /// Instead of making a key, rewrite an api_keys_file as version 2: every grant that its entries have is written out, so
    /// that it can be narrowed
    #[arg(long, value_name = "FILE", exclusive = true)]
    pub upgrade: Option<PathBuf>,
}

/// Prints the entry of a new key on standard output. The key itself goes to `--secret-file`, else to standard error if that is a
/// terminal.
///
/// # Errors
/// No place for the key, a file that exists, no random numbers from the machine, a closed standard output.
pub fn run(flags: &ApiKeyArgs) -> Result<ExitCode, Failure> {
    if let Some(file) = &flags.upgrade {
        return upgrade(file);
    }
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::Failed(format!("no random numbers from the system: {error}")))?;
    let key = format!("ew_{}", hex(&random));
    let all = vec!["*".to_owned()];
    // A key that is confined in one kind is not meant to reach everything of another.
    let everything = [&flags.adws, &flags.rooms, &flags.sessions].iter().all(|named| **named == all)
        && flags.users.is_empty()
        && flags.browser_sessions.is_empty()
        && !flags.global;
    let reach = |named: &Vec<String>| if everything { all.clone() } else { named.clone() };
    let entry = Entry {
        name: flags.name.clone(),
        sha256: KeyDigest::of(&key).to_string(),
        user: flags.user.clone(),
        role: flags.role,
        permissions: flags.permissions.clone(),
        adws: flags.adws.clone(),
        rooms: flags.rooms.clone(),
        sessions: flags.sessions.clone(),
        // Written out, so that the entry means the same in a file of either version.
        users: Some(reach(&flags.users)),
        browser_sessions: Some(reach(&flags.browser_sessions)),
        global: Some(everything || flags.global),
        history_from: flags.history_from.clone(),
        expires_at: flags.expires_at.map(|end| end.to_string()),
    };
    let toml = crate::api_keys::write(&entry)
        .and_then(|toml| crate::api_keys::read(&toml).map(|_| toml))
        .map_err(|error| Failure::Usage(format!("this key would not be accepted: {error}")))?;
    match &flags.secret_file {
        Some(file) => write_new(file, &key)?,
        None if io::stderr().is_terminal() => writeln!(io::stderr(), "The key, shown this once: {key}")?,
        None => {
            return Err(Failure::Usage(
                "api-key: standard error is no terminal that could show the key; name a new file for it with --secret-file FILE"
                    .to_owned(),
            ));
        }
    }
    let mut out = io::stdout().lock();
    if flags.json {
        writeln!(out, "{}", serde_json::json!({ "entry": entry }))?;
    } else {
        writeln!(out, "{}", toml.trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a secret into a file that was not there and that its owner alone may read.
fn write_new(file: &Path, secret: &str) -> Result<(), Failure> {
    let at = |what: &dyn std::fmt::Display| format!("--secret-file {}: {what}", file.display());
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let mut opened = opened.map_err(|error| {
        let exists = error.kind() == ErrorKind::AlreadyExists;
        Failure::Usage(if exists { at(&"this file exists; name a new one") } else { at(&error) })
    })?;
    writeln!(opened, "{secret}").map_err(|error| Failure::Failed(at(&error)))
}

/// The end of a key, as it is written on the command line. It must lie ahead.
fn parse_end(text: &str) -> Result<Time, String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    end_of(text, i64::try_from(now).unwrap_or(i64::MAX))
}

/// The same, for a clock that shows `now` seconds since 1970.
fn end_of(text: &str, now: i64) -> Result<Time, String> {
    const MICROS: i64 = 1_000_000;
    const FORM: &str = "expected a time from now such as 90d, 12h or 30m, or a moment such as 2027-03-01T00:00:00Z";
    let unit = |suffix: char| match suffix {
        'd' => Some(86_400),
        'h' => Some(3_600),
        'm' => Some(60),
        _ => None,
    };
    let after = text.chars().next_back().and_then(|suffix| Some((text.strip_suffix(suffix)?, unit(suffix)?)));
    let end = match after.and_then(|(count, seconds)| Some((count.parse::<u16>().ok()?, seconds))) {
        Some((count, seconds)) => {
            Time::from_unix_micros(now.saturating_add(i64::from(count) * seconds).saturating_mul(MICROS))
        }
        None => text.parse().map_err(|_| FORM.to_owned())?,
    };
    if end <= Time::from_unix_micros(now.saturating_mul(MICROS)) {
        return Err(format!("{end} is not ahead; {FORM}"));
    }
    Ok(end)
}

/// Rewrites a file as version 2, meaning what it meant.
fn upgrade(file: &Path) -> Result<ExitCode, Failure> {
    let at = file.display();
    let wrong = |what: &dyn std::fmt::Display| Failure::Usage(format!("--upgrade {at}: {what}"));
    let failed = |what: &dyn std::fmt::Display| Failure::Failed(format!("--upgrade {at}: {what}"));
    let before = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
    let Some(after) = crate::api_keys::upgrade(&before).map_err(|error| wrong(&error))? else {
        writeln!(std::io::stdout(), "{at}: of version 2 already; nothing was changed")?;
        return Ok(ExitCode::SUCCESS);
    };
    // Written beside and renamed, with the same permissions: a gateway never reads half of it. A link stays a link.
    let target = std::fs::canonicalize(file).map_err(|error| wrong(&error))?;
    let directory = target.parent().unwrap_or(Path::new("/"));
    let mut beside = tempfile::NamedTempFile::new_in(directory).map_err(|error| failed(&error))?;
    beside.write_all(after.as_bytes()).map_err(|error| failed(&error))?;
    let permissions = std::fs::metadata(&target).map_err(|error| failed(&error))?.permissions();
    beside.as_file().set_permissions(permissions).map_err(|error| failed(&error))?;
    beside.as_file().sync_all().map_err(|error| failed(&error))?;
    beside.persist(&target).map_err(|error| failed(&error))?;
    writeln!(
        std::io::stdout(),
        "{at}: is of version 2 now, and means what it meant; narrow users, browser_sessions and global"
    )?;
    Ok(ExitCode::SUCCESS)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auth_22_the_end_of_a_key_is_a_time_from_now_or_a_moment_ahead() {
        let now = 1_795_220_000;
        let end = |text: &str| end_of(text, now).map(|end| end.as_unix_micros() / 1_000_000 - now);
        assert_eq!((end("90d"), end("12h"), end("30m")), (Ok(90 * 86_400), Ok(12 * 3_600), Ok(1_800)));
        assert_eq!(end_of("2027-03-01T00:00:00Z", now).unwrap().to_string(), "2027-03-01T00:00:00Z");
        for wrong in ["", "d", "0d", "-1d", "1.5d", "90", "90 d", "65536d", "2020-01-01T00:00:00Z", "tomorrow", "1é"] {
            assert!(end(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_digest_is_the_one_every_other_tool_prints() {
        // printf abc | sha256sum
        assert_eq!(
            KeyDigest::of("abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
