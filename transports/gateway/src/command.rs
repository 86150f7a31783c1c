//! The commands of the binary other than `serve`; each speaks to a gateway through its public face.

pub mod api_key;
pub mod explain;
pub mod publish;
pub mod tail;
pub mod token;

use std::path::PathBuf;

use crate::cli::Failure;
use crate::credential_file::{self, Holds};

/// Which gateway to speak to, and as whom.
#[derive(Debug, Clone, clap::Args)]
pub struct Gateway {
    /// Address of the gateway
    #[arg(long, value_name = "URL", env = "EVENTWIRE_URL", default_value = "http://127.0.0.1:4800")]
    pub url: String,
    /// File with the API key, one line; or put the key in EVENTWIRE_TOKEN. There is no flag for the key itself: everybody on this
    /// machine can read flags
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

impl Gateway {
    /// The key to present, if there is one.
    ///
    /// # Errors
    /// The named file cannot be read, or holds nothing that can be a key.
    pub fn token(&self) -> Result<Option<String>, Failure> {
        let (token, place) = match &self.token_file {
            Some(file) => {
                let text = credential_file::read(file, Holds::Secret)
                    .map_err(|error| Failure::Usage(format!("--token-file {error}")))?;
                (text, format!("--token-file {}", file.display()))
            }
            None => match std::env::var("EVENTWIRE_TOKEN") {
                Ok(token) if !token.is_empty() => (token, "EVENTWIRE_TOKEN".to_owned()),
                _ => return Ok(None),
            },
        };
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::Usage(format!("{place}: expected one line of visible ASCII characters")));
        }
        Ok(Some(token.to_owned()))
    }
}
