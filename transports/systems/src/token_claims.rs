//! Checks of a token beside its signature, for every reader of tokens (AUTH-10): members that occur once, and registered claims of
//! the types that RFC 7519 gives them.
//!
//! A library for tokens takes the last of two equal members, and skips a claim of an unknown type. Another reader of the same token
//! may decide otherwise, and a token must not mean two things.

use data_encoding::BASE64URL_NOPAD;
use eventwire_hub::handshake::MAX_TOKEN_BYTES;
use eventwire_protocol::frame::read_strict;
use serde_json::{Map, Value, value::RawValue};

/// Whether every member of a token's header occurs once. Asked before the signature, which the header helps to choose.
pub fn header_is_unambiguous(token: &str) -> bool {
    let header = token.split('.').next().unwrap_or_default();
    BASE64URL_NOPAD.decode(header.as_bytes()).is_ok_and(|header| read_strict(&header, MAX_TOKEN_BYTES).is_ok())
}

/// Reads the claims of a token whose signature holds. `typ` is that of its header.
///
/// # Errors
/// What is wrong, as the end of a sentence about the token: a token of another kind, a member that occurs twice, a registered
/// claim of another type.
pub fn read(typ: Option<&str>, payload: &RawValue) -> Result<Map<String, Value>, String> {
    if !typ.is_none_or(is_access_token) {
        // A logout token or a security event of the same issuer is signed with the same key (RFC 8725, section 3.11).
        return Err("its typ is that of another kind of token".to_owned());
    }
    let text = payload.get();
    read_strict(text.as_bytes(), MAX_TOKEN_BYTES).map_err(|error| format!("its claims are {}", error.message))?;
    let claims: Map<String, Value> = serde_json::from_str(text).map_err(|_| "its claims are no object".to_owned())?;
    check_types(&claims)?;
    Ok(claims)
}

/// `JWT` (RFC 7519, section 5.1) and `at+jwt` (RFC 9068, section 2.1).
fn is_access_token(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}

fn check_types(claims: &Map<String, Value>) -> Result<(), String> {
    for name in ["iss", "sub", "jti"] {
        if claims.get(name).is_some_and(|value| !value.is_string()) {
            return Err(format!("its {name} is no text"));
        }
    }
    for name in ["exp", "nbf", "iat"] {
        if claims.get(name).is_some_and(|value| !value.is_number()) {
            return Err(format!("its {name} is no time"));
        }
    }
    match claims.get("aud") {
        None | Some(Value::String(_)) => Ok(()),
        Some(Value::Array(several)) if several.iter().all(Value::is_string) => Ok(()),
        Some(_) => Err("its aud is no text and no list of texts".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(claims: &str) -> Result<Map<String, Value>, String> {
        read(None, &RawValue::from_string(claims.to_owned()).unwrap())
    }

    #[test]
    fn auth_10_a_member_that_stands_twice_at_any_depth_is_refused() {
        assert!(judged(r#"{"sub":"ada","eventwire":{"rooms":["a"],"role":"human"},"x":[{"y":1},{"y":2}]}"#).is_ok());
        for twice in [
            r#"{"sub":"ada","sub":"bob"}"#,
            r#"{"sub":"ada","s\u0075b":"bob"}"#,
            r#"{"jti":"1","jti":"1"}"#,
            r#"{"eventwire":{},"eventwire":{"permissions":["admin"]}}"#,
            r#"{"eventwire":{"rooms":["a"],"rooms":["*"]}}"#,
            r#"{"x":[{"y":{"z":1,"z":2}}]}"#,
        ] {
            let said = judged(twice).unwrap_err();
            assert!(said.contains("twice"), "{twice}: {said}");
        }
        for none in ["[]", "1", "null", r#""text""#] {
            assert!(judged(none).is_err(), "{none}");
        }
    }

    #[test]
    fn auth_10_registered_claims_have_the_types_of_the_standard_or_are_absent() {
        let wrong = ["null", "1", "true", "{}", r#"["x"]"#];
        for name in ["iss", "sub", "jti"] {
            assert!(judged(&format!(r#"{{"{name}":"x"}}"#)).is_ok());
            for value in wrong {
                assert!(judged(&format!(r#"{{"{name}":{value}}}"#)).unwrap_err().contains(name), "{name} {value}");
            }
        }
        for name in ["exp", "nbf", "iat"] {
            assert!(judged(&format!(r#"{{"{name}":1.5}}"#)).is_ok());
            for value in ["null", r#""1""#, "true", "{}", "[1]"] {
                assert!(judged(&format!(r#"{{"{name}":{value}}}"#)).unwrap_err().contains(name), "{name} {value}");
            }
        }
        for value in [r#""x""#, r#"["x","y"]"#, "[]"] {
            assert!(judged(&format!(r#"{{"aud":{value}}}"#)).is_ok(), "{value}");
        }
        for value in ["null", "1", "true", "{}", r#"["x",1]"#, r#"[["x"]]"#, "[null]"] {
            assert!(judged(&format!(r#"{{"aud":{value}}}"#)).unwrap_err().contains("aud"), "{value}");
        }
    }

    #[test]
    fn auth_10_a_token_of_another_kind_is_no_access_token() {
        let claims = RawValue::from_string("{}".to_owned()).unwrap();
        for typ in [None, Some("JWT"), Some("jwt"), Some("at+jwt"), Some("application/at+JWT")] {
            assert!(read(typ, &claims).is_ok(), "{typ:?}");
        }
        for typ in ["", "logout+jwt", "secevent+jwt", "dpop+jwt", "JOSE", "application/json"] {
            assert!(read(Some(typ), &claims).is_err(), "{typ}");
        }
    }

    #[test]
    fn auth_10_a_header_names_its_algorithm_and_its_key_once() {
        let token = |header: &str| format!("{}.e30.c2ln", BASE64URL_NOPAD.encode(header.as_bytes()));
        assert!(header_is_unambiguous(&token(r#"{"alg":"HS256","kid":"a"}"#)));
        for header in [
            r#"{"alg":"HS256","alg":"none"}"#,
            r#"{"kid":"a","alg":"HS256","kid":"b"}"#,
            r#"{"alg":"HS256","jwk":{"kty":"oct","kty":"RSA"}}"#,
            "no JSON",
        ] {
            assert!(!header_is_unambiguous(&token(header)), "{header}");
        }
        assert!(!header_is_unambiguous("?.e30.c2ln") && !header_is_unambiguous(""));
    }
}
