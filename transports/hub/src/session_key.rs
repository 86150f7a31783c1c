//! From the value of a cookie to the id of a browser session (AUTH-08).
//!
//! Whoever knows the value of somebody's session cookie is that browser. So the value enters no frame, log, answer or list;
//! what stands there is a keyed hash of it, and a hash that was seen somewhere opens nothing.
//!
//! A second key, of the same secret, seals the values that this server makes, so that a value which was made up elsewhere is
//! recognized without a list of those that were given out (MON-02).

use std::fmt;

use eventwire_protocol::{BrowserSession, ErrorBody, ErrorCode};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::{auth::Secret, hub::random};

/// The secret behind the ids of browser sessions and the seals of their cookies. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey {
    ids: [u8; 32],
    seals: [u8; 32],
}

/// Bytes of a seal.
const SEAL_BYTES: usize = 16;
/// Fewest bytes of a secret that is set.
const FEWEST_BYTES: usize = 16;

impl SessionKey {
    /// A key that no other start of the server has.
    pub fn random() -> Self {
        let key = || {
            let mut key = [0; 32];
            for part in key.chunks_mut(8) {
                part.copy_from_slice(&random().to_be_bytes());
            }
            key
        };
        Self { ids: key(), seals: key() }
    }

    /// The key of a secret that an operator chose.
    ///
    /// # Errors
    /// `invalid_payload` when it has fewer than 16 bytes.
    pub fn of_secret(secret: &Secret) -> Result<Self, ErrorBody> {
        if secret.reveal().len() < FEWEST_BYTES {
            let message = format!("a session secret needs at least {FEWEST_BYTES} bytes");
            return Err(ErrorBody::new(ErrorCode::InvalidPayload, message));
        }
        let secret = secret.reveal().as_bytes();
        Ok(Self { ids: digest(b"eventwire session secret", secret), seals: digest(b"eventwire cookie seal", secret) })
    }

    /// The session of a cookie value.
    pub(crate) fn session_of(&self, cookie: &Secret) -> BrowserSession {
        let digest = digest(&self.ids, cookie.reveal().as_bytes());
        let mut hash = [0; 16];
        hash.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        BrowserSession::from_hash(u128::from_be_bytes(hash))
    }

    /// The seal of a text: 32 hexadecimal digits that only a holder of the secret can compute.
    pub(crate) fn seal(&self, text: &str) -> String {
        let digest = digest(&self.seals, text.as_bytes());
        digest.iter().take(SEAL_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether a text has this seal. The time that the comparison takes tells nothing.
    pub(crate) fn is_sealed(&self, text: &str, seal: &str) -> bool {
        self.seal(text).as_bytes().ct_eq(seal.as_bytes()).into()
    }
}

fn digest(key: &[u8], text: &[u8]) -> [u8; 32] {
    // A key of any length is taken (RFC 2104, section 2).
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(text);
    mac.finalize().into_bytes().into()
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auth_08_a_session_id_is_a_keyed_hash_of_the_cookie() {
        let secret = |text: &str| SessionKey::of_secret(&Secret::new(text)).unwrap();
        let (one, other) = (secret("0123456789abcdef"), secret("0123456789abcdeg"));
        let cookie = Secret::new("5f4c0b1e-7f0e-4f5c-9d7a-0d8a8d3f3b11");
        assert_eq!(one.session_of(&cookie), secret("0123456789abcdef").session_of(&cookie));
        assert_ne!(one.session_of(&cookie), other.session_of(&cookie));
        assert_ne!(one.session_of(&cookie), one.session_of(&Secret::new("another")));
        assert!(!one.session_of(&cookie).to_string().contains("5f4c0b1e"));
        assert_ne!(SessionKey::random(), SessionKey::random());
        assert!(SessionKey::of_secret(&Secret::new("short")).is_err());
        assert_eq!(format!("{one:?}"), "SessionKey(..)");
    }

    #[test]
    fn mon_02_a_seal_is_made_by_the_secret_alone_and_is_no_session_id() {
        let secret = |text: &str| SessionKey::of_secret(&Secret::new(text)).unwrap();
        let (one, other) = (secret("0123456789abcdef"), secret("0123456789abcdeg"));
        let seal = one.seal("ada");
        assert!(secret("0123456789abcdef").is_sealed("ada", &seal) && seal.len() == 32);
        for (text, wrong) in [("ada", other.seal("ada")), ("bob", seal.clone()), ("ada", String::new())] {
            assert!(!one.is_sealed(text, &wrong), "{text} {wrong}");
        }
        assert!(!one.is_sealed("ada", &seal.to_uppercase()) && !one.is_sealed("ada", &format!("{seal}0")));
        // What a back end can ask for, the id of any value, must not be a seal.
        assert!(!one.session_of(&Secret::new("ada")).to_string().contains(&seal));
    }
}
