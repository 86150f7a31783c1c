//! The settings as a page of Markdown; docs/reference/configuration.md is this text, and a test says so.

use std::fmt::Write as _;

use crate::config::{self, ENV_PREFIX};

/// The text of docs/reference/configuration.md.
#[must_use]
pub fn configuration() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         <!-- Generated from transports/gateway/src/config.rs: BLESS=1 cargo test -p eventwire-gateway --test configuration -->\n\n\
         A setting has one name in three spellings: `heartbeat_seconds` in the TOML file, `EVENTWIRE_HEARTBEAT_SECONDS` in the\n\
         environment, `--heartbeat-seconds` on the command line of `eventwire serve`. Flags win over the environment, the environment\n\
         over the file, the file over the defaults. The file is the one named by `--config` or `EVENTWIRE_CONFIG`, else\n\
         `eventwire.toml` in the working directory when there is one; relative paths in it are relative to it. An unknown name is\n\
         refused, in the file as in the environment. An empty variable counts as absent.\n",
    );
    let mut heading = String::new();
    for setting in config::describe() {
        if setting.heading != heading {
            heading = setting.heading;
            let _ = write!(page, "\n## {heading}\n\n| setting | default | meaning |\n|---|---|---|\n");
        }
        let default = setting.default.map_or_else(|| "unset".to_owned(), |default| format!("`{default}`"));
        let help = setting.help.replace('|', "\\|").replace("${", "$\\{");
        let variable = setting.key.to_ascii_uppercase();
        let _ = writeln!(page, "| `{}`<br>`{ENV_PREFIX}{variable}` | {default} | {help} |", setting.key);
    }
    page
}
