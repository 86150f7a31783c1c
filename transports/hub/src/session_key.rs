//! From the value of a cookie to the id of a browser session (AUTH-08).
//!
//! Whoever knows the value of somebody's session cookie is that browser. So the value enters no frame, log, answer or list;
//! what stands there is a keyed hash of it, and a hash that was seen somewhere opens nothing.

use std::fmt;

use eventwire_protocol::{BrowserSession, ErrorBody, ErrorCode};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::{auth::Secret, hub::random};

/// The secret behind the ids of browser sessions. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey([u8; 32]);

/// Fewest bytes of a secret that is set.
const FEWEST_BYTES: usize = 16;

impl SessionKey {
    /// A key that no other start of the server has.
    pub fn random() -> Self {
        let mut key = [0; 32];
        for part in key.chunks_mut(8) {
            part.copy_from_slice(&random().to_be_bytes());
        }
        Self(key)
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
        Ok(Self(digest(b"eventwire session secret", secret.reveal().as_bytes())))
    }

    /// The session of a cookie value.
    pub(crate) fn session_of(&self, cookie: &Secret) -> BrowserSession {
        let digest = digest(&self.0, cookie.reveal().as_bytes());
        let mut hash = [0; 16];
        hash.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        BrowserSession::from_hash(u128::from_be_bytes(hash))
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
}
