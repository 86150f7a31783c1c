//! Product Demo: who a resolver says is behind a request, and that nothing but an answer counts as one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use data_encoding::BASE64URL_NOPAD;
use eventwire_hub::Secret;
use eventwire_protocol::{ErrorBody, ErrorCode, Role};
use eventwire_systems::product::{JwtUsers, KnowsNobody, LoginProof, LookupUsers, ResolvedUser, Shown, UserResolver};
use http::HeaderMap;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const RSA_PRIVATE: &[u8] = include_bytes!("keys/rsa.private.pem");
const RSA_PUBLIC: &[u8] = include_bytes!("keys/rsa.public.pem");
const ED_PRIVATE: &[u8] = include_bytes!("keys/ed25519.private.pem");
const ED_PUBLIC: &[u8] = include_bytes!("keys/ed25519.public.pem");

const EC_PRIVATE: &[u8] = include_bytes!("keys/p256.private.pem");
const EC_PUBLIC: &[u8] = include_bytes!("keys/p256.public.pem");

fn shown(headers: &[(&'static str, &str)]) -> Shown {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    Shown::read(&map, "connect.sid")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn prd_01_one_session_cookie_is_read_and_nothing_of_what_is_shown_is_printed() {
    let session = |cookie: &str| shown(&[("cookie", cookie)]).session.map(|secret| secret.reveal().to_owned());
    assert_eq!(session("connect.sid=s%3Aa.b").as_deref(), Some("s%3Aa.b"));
    assert_eq!(session("x=1; connect.sid=a=b==;y").as_deref(), Some("a=b=="));
    for cookie in ["", "connect.sid", "connect.sid=", "xconnect.sid=a", "connect.sid=a; connect.sid=b", "Connect.sid=a"]
    {
        assert_eq!(session(cookie), None, "{cookie:?}");
    }
    // A list may come in several headers; two sessions are two, however they come.
    assert_eq!(shown(&[("cookie", "x=1"), ("cookie", "connect.sid=a")]).session, Some(Secret::new("a")));
    assert_eq!(shown(&[("cookie", "connect.sid=b"), ("cookie", "connect.sid=a")]).session, None);
    assert!(shown(&[("cookie", &"x".repeat(20_000))]).is_empty());
    let shown = shown(&[("cookie", "connect.sid=hush"), ("authorization", "Bearer hush")]);
    assert!(!format!("{shown:?}").contains("hush"));
}

#[tokio::test]
async fn prd_01_a_server_that_was_not_told_how_to_ask_knows_nobody() {
    assert_eq!(KnowsNobody.resolve(&shown(&[("cookie", "connect.sid=a")])).await, Ok(None));
}

/// Who a token is, shown as cookie and as bearer token alike.
async fn who(users: &JwtUsers, token: &str) -> Option<ResolvedUser> {
    let cookie = users.resolve(&shown(&[("cookie", &format!("connect.sid={token}"))])).await.unwrap();
    let bearer = users.resolve(&shown(&[("authorization", &format!("Bearer {token}"))])).await.unwrap();
    assert_eq!(cookie, bearer);
    cookie
}

fn token(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, key).unwrap()
}

#[tokio::test]
async fn prd_01_a_token_is_believed_only_with_the_key_the_algorithm_and_the_claims_that_were_configured() {
    let end = now() + 600;
    let good = json!({"sub": "maria", "name": "Maria Lund", "role": "agent", "exp": end, "nbf": now() - 10,
        "iss": "https://login.example.org", "aud": "demo"});
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let hs = |secret: &str| EncodingKey::from_secret(secret.as_bytes());
    let rs = EncodingKey::from_rsa_pem(RSA_PRIVATE).unwrap();
    let ed = EncodingKey::from_ed_pem(ED_PRIVATE).unwrap();
    let narrow = |users: JwtUsers| users.issued_by("https://login.example.org").for_audience("demo");
    for (users, algorithm, key) in [
        (narrow(JwtUsers::hs256(&Secret::new(SECRET)).unwrap()), Algorithm::HS256, hs(SECRET)),
        (narrow(JwtUsers::rs256(RSA_PUBLIC).unwrap()), Algorithm::RS256, rs.clone()),
        (narrow(JwtUsers::eddsa(ED_PUBLIC).unwrap()), Algorithm::EdDSA, ed.clone()),
        (narrow(JwtUsers::es256(EC_PUBLIC).unwrap()), Algorithm::ES256, EncodingKey::from_ec_pem(EC_PRIVATE).unwrap()),
    ] {
        let maria = who(&users, &token(algorithm, &key, &good)).await.unwrap();
        assert_eq!((maria.user.as_str(), maria.username.as_deref()), ("maria", Some("Maria Lund")));
        assert_eq!(
            (maria.role, maria.expires_at.unwrap().as_unix_micros()),
            (Some(Role::Agent), end as i64 * 1_000_000)
        );
        for claims in [
            with("exp", json!(now() - 60)),
            with("nbf", json!(now() + 60)),
            with("iss", json!("https://evil.example")),
            with("aud", json!("another")),
            with("sub", json!("a b")),
            with("sub", json!(7)),
            without("exp"),
            without("sub"),
            without("iss"),
            without("aud"),
        ] {
            assert_eq!(who(&users, &token(algorithm, &key, &claims)).await, None, "{algorithm:?} {claims}");
        }
        // An unknown role grants nothing, and is no reason to turn anybody away.
        assert_eq!(who(&users, &token(algorithm, &key, &with("role", json!("root")))).await.unwrap().role, None);
        // Another key, another algorithm: the public key taken for a shared secret is the classic.
        for forged in [
            token(Algorithm::HS256, &hs("ffffffffffffffffffffffffffffffff"), &good),
            token(Algorithm::HS256, &EncodingKey::from_secret(RSA_PUBLIC), &good),
            token(Algorithm::HS256, &EncodingKey::from_secret(ED_PUBLIC), &good),
            token(Algorithm::HS384, &hs(SECRET), &good),
        ] {
            assert_eq!(who(&users, &forged).await, None);
        }
        // No signature, and one of another payload.
        let genuine = token(algorithm, &key, &good);
        let parts: Vec<&str> = genuine.split('.').collect();
        let other = token(algorithm, &key, &with("sub", json!("tom")));
        let payload = other.split('.').nth(1).unwrap();
        // {"alg":"none","typ":"JWT"}
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
        for forged in [
            format!("{}.{}.", parts[0], parts[1]),
            format!("{none}.{}.", parts[1]),
            format!("{none}.{}.{}", parts[1], parts[2]),
            format!("{}.{payload}.{}", parts[0], parts[2]),
            String::from("a.b.c"),
        ] {
            assert_eq!(who(&users, &forged).await, None, "{forged}");
        }
    }
    // Made for somebody: without being told for whom, this is not for us.
    let open = JwtUsers::hs256(&Secret::new(SECRET)).unwrap();
    assert_eq!(who(&open, &token(Algorithm::HS256, &hs(SECRET), &good)).await, None);
    assert!(who(&open, &token(Algorithm::HS256, &hs(SECRET), &without("aud"))).await.is_some());
    assert!(JwtUsers::hs256(&Secret::new("short")).is_err());
    assert!(JwtUsers::rs256(ED_PUBLIC).is_err() && JwtUsers::eddsa(b"x").is_err());
    assert!(JwtUsers::es256(ED_PUBLIC).is_err() && JwtUsers::es256(RSA_PUBLIC).is_err());
}

#[tokio::test]
async fn prd_01_and_auth_10_a_login_token_means_one_thing_or_nothing() {
    let users = JwtUsers::hs256(&Secret::new(SECRET)).unwrap();
    let signed = |header: &str, claims: &str| {
        let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let message = format!("{}.{}", part(header), part(claims));
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    };
    let header = r#"{"alg":"HS256","typ":"JWT"}"#;
    let claims = |more: &str| format!(r#"{{"sub":"maria","exp":{}{more}}}"#, now() + 600);
    assert!(who(&users, &signed(header, &claims(""))).await.is_some());
    for more in [
        r#","sub":"tom""#,
        r#","role":"human","role":"agent""#,
        r#","other":{"a":1,"a":2}"#,
        r#","aud":null"#,
        r#","aud":1"#,
        r#","nbf":"now""#,
        r#","iss":["https://login.example.org"]"#,
    ] {
        assert_eq!(who(&users, &signed(header, &claims(more))).await, None, "{more}");
    }
    for header in [r#"{"alg":"HS256","alg":"HS256"}"#, r#"{"alg":"HS256","typ":"logout+jwt"}"#] {
        assert_eq!(who(&users, &signed(header, &claims(""))).await, None, "{header}");
    }
}

/// An application that answers every request with this text, and the requests that it got. `None` never answers.
async fn application(answer: Option<String>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let got = requests.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answer, got) = (answer.clone(), got.clone());
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                        return;
                    }
                    request.push(byte[0]);
                }
                got.lock().unwrap().push(String::from_utf8(request).unwrap());
                match answer {
                    Some(answer) => drop(stream.write_all(answer.as_bytes()).await),
                    None => tokio::time::sleep(Duration::from_secs(3600)).await,
                }
            });
        }
    });
    (address, requests)
}

fn http(status: &str, body: &str) -> Option<String> {
    let length = body.len();
    Some(format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nlocation: /login\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ))
}

async fn look_up(answer: Option<String>) -> Result<Option<ResolvedUser>, ErrorBody> {
    let (address, _) = application(answer).await;
    let users = LookupUsers::new(&format!("http://{address}/api/me")).unwrap();
    users.resolve(&shown(&[("cookie", "theme=dark; connect.sid=s%3Aabc.def")])).await
}

#[tokio::test]
async fn prd_01_the_application_is_asked_with_the_cookies_and_its_answer_is_who_it_is() {
    let (address, requests) = application(http("200 OK", r#"{"userId":"maria","username":"Maria Lund"}"#)).await;
    let users = LookupUsers::new(&format!("http://{address}/api/me?full=1")).unwrap();
    let maria = users.resolve(&shown(&[("cookie", "theme=dark; connect.sid=s%3Aabc.def")])).await.unwrap().unwrap();
    assert_eq!((maria.user.as_str(), maria.username.as_deref(), maria.expires_at), ("maria", Some("Maria Lund"), None));
    let request = requests.lock().unwrap()[0].to_ascii_lowercase();
    assert!(request.starts_with("get /api/me?full=1 http/1.1\r\n"), "{request}");
    assert!(request.contains("\r\ncookie: theme=dark; connect.sid=s%3aabc.def\r\n"), "{request}");
    // Without the session cookie nothing is asked.
    assert_eq!(users.resolve(&shown(&[("cookie", "theme=dark")])).await, Ok(None));
    assert_eq!(users.resolve(&shown(&[("authorization", "Bearer x")])).await, Ok(None));
    assert_eq!(requests.lock().unwrap().len(), 1);

    let ends = |text: &str| http("200 OK", &format!(r#"{{"userId":7,"expiresAt":{text}}}"#));
    for (text, micros) in
        [("\"2030-01-01T00:00:00Z\"", 1_893_456_000_000_000_i64), ("1893456000000", 1_893_456_000_000_000)]
    {
        let found = look_up(ends(text)).await.unwrap().unwrap();
        assert_eq!((found.user.as_str(), found.expires_at.unwrap().as_unix_micros()), ("7", micros));
    }
    for status in ["401 Unauthorized", "403 Forbidden", "404 Not Found"] {
        assert_eq!(look_up(http(status, r#"{"userId":"maria"}"#)).await, Ok(None), "{status}");
    }
}

#[tokio::test]
async fn bug_b2_whatever_else_the_application_answers_is_nobody() {
    let long = format!(r#"{{"userId":"maria","x":"{}"}}"#, "x".repeat(70_000));
    for answer in [
        http("302 Found", r#"{"userId":"maria"}"#),
        http("500 Internal Server Error", r#"{"userId":"maria"}"#),
        http("204 No Content", ""),
        http("200 OK", ""),
        http("200 OK", "<html>log in</html>"),
        http("200 OK", r#"{"user":"maria"}"#),
        http("200 OK", r#"{"userId":null}"#),
        http("200 OK", r#"{"userId":""}"#),
        http("200 OK", r#"{"userId":"a b"}"#),
        http("200 OK", r#"{"userId":["maria"]}"#),
        http("200 OK", r#"{"userId":"maria","expiresAt":"soon"}"#),
        http("200 OK", &long),
        Some("nonsense".into()),
        Some(String::new()),
        None,
    ] {
        let begun = std::time::Instant::now();
        let error = look_up(answer.clone()).await.expect_err(&format!("{answer:?}"));
        assert_eq!(error.code, ErrorCode::Unavailable);
        assert!(!error.message.contains("abc"), "the cookie is not repeated: {error}");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    // Nobody listens.
    let users = LookupUsers::new("http://127.0.0.1:1/").unwrap();
    assert!(users.resolve(&shown(&[("cookie", "connect.sid=a")])).await.is_err());
}

#[tokio::test]
async fn auth_13_a_login_says_what_it_is_revoked_by() {
    let users = JwtUsers::hs256(&Secret::new(SECRET)).unwrap();
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let proof = async |more: Value| {
        let mut claims = json!({"sub": "maria", "exp": now() + 600});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let token = token(Algorithm::HS256, &key, &claims);
        let proof = who(&users, &token).await.unwrap().proof;
        assert_eq!(proof.shown, Secret::new(token));
        (proof.id.as_deref().map(str::to_owned), proof.issued_at.map(|time| time.as_unix_micros()))
    };
    assert_eq!(
        proof(json!({"jti": "login-7", "iat": 1_700_000_000.5})).await,
        (Some("login-7".into()), Some(1_700_000_000_500_000))
    );
    // A name or a date out of bounds says nothing. One of another type is no token at all (AUTH-10).
    for more in [json!({}), json!({"jti": "", "iat": -1}), json!({"jti": "x".repeat(257), "iat": 1e300})] {
        assert_eq!(proof(more).await, (None, None));
    }
    for more in [json!({"jti": 7}), json!({"iat": "now"})] {
        let mut claims = json!({"sub": "maria", "exp": now() + 600});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert!(who(&users, &token(Algorithm::HS256, &key, &claims)).await.is_none(), "{claims}");
    }

    let answer = http("200 OK", r#"{"userId":"maria","issuedAt":"2030-01-01T00:00:00Z"}"#);
    let proof = look_up(answer).await.unwrap().unwrap().proof;
    assert_eq!(proof.issued_at.unwrap().as_unix_micros(), 1_893_456_000_000_000);
    assert!(look_up(http("200 OK", r#"{"userId":"maria","issuedAt":"soon"}"#)).await.is_err());
    // One session is one login, however its cookie is written.
    let (address, _) = application(http("200 OK", r#"{"userId":"maria"}"#)).await;
    let users = LookupUsers::new(&format!("http://{address}/api/me")).unwrap();
    for cookie in ["s%3Aabc.def", "s:abc.def", "%73%3aab%63.def", "\"s:abc.def\""] {
        let found = users.resolve(&shown(&[("cookie", &format!("connect.sid={cookie}"))])).await.unwrap().unwrap();
        assert_eq!(found.proof, LoginProof::of(Secret::new("s:abc.def")), "{cookie}");
    }
    assert!(!format!("{proof:?}").contains("abc"));
}

#[test]
fn prd_01_only_http_addresses_are_asked() {
    for good in ["http://127.0.0.1:5633/api/me", "https://app.example.org/me"] {
        assert!(LookupUsers::new(good).is_ok(), "{good}");
    }
    for bad in ["", "app.example.org/me", "ftp://x/", "file:///etc/passwd", "http://user:hush@host/", "http://"] {
        let error = LookupUsers::new(bad).unwrap_err();
        assert!(!error.message.contains("hush"), "{error}");
    }
}
