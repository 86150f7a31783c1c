//! How a back end knows that a request is ours, unchanged and fresh (CMD-14).

use bytes::Bytes;
use eventwire_hub::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The header with the id of the command.
pub const HEADER_ID: &str = "eventwire-id";
/// The header with the time of sending, in seconds since 1970.
pub const HEADER_TIMESTAMP: &str = "eventwire-timestamp";
/// The header with the signature.
pub const HEADER_SIGNATURE: &str = "eventwire-signature";

/// The value of the header `Eventwire-Signature`: `v1=` and the HMAC-SHA256 of `<id>.<timestamp>.<body>` in hexadecimal
/// digits.
pub fn sign(secret: &Secret, id: &str, timestamp: i64, body: &Bytes) -> String {
    // A key of any length is taken (RFC 2104, section 2), so there is no error to tell.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()) else { return String::new() };
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    let mut text = String::from("v1=");
    for byte in digest {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cmd_14_a_signature_covers_id_time_and_body() {
        let sign = |secret: &str, id, time, body: &'static str| sign(&Secret::new(secret), id, time, &body.into());
        // printf '%s' 'a1.1763700000.{"id":"a1"}' | openssl dgst -sha256 -hmac 'a secret of the two'
        let expected = "v1=4192e9f7d50f09c39b291f1d02d3fa1868037c392c19ee2814eee3375bc80988";
        assert_eq!(sign("a secret of the two", "a1", 1_763_700_000, r#"{"id":"a1"}"#), expected);
        for other in [
            sign("another secret", "a1", 1_763_700_000, r#"{"id":"a1"}"#),
            sign("a secret of the two", "a2", 1_763_700_000, r#"{"id":"a1"}"#),
            sign("a secret of the two", "a1", 1_763_700_001, r#"{"id":"a1"}"#),
            sign("a secret of the two", "a1", 1_763_700_000, r#"{"id":"a2"}"#),
        ] {
            assert_ne!(other, expected);
        }
    }
}
