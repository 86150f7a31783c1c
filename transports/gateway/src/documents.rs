//! The published schemas and documents, embedded as they were when the gateway was built (HTTP-13).
//!
//! They are what this gateway speaks, so they travel with it: a client can fetch the schemas of the very server it talks to.
//! Nothing is read from disk and no path is built; a name is in the list or it is not.

use std::sync::{LazyLock, OnceLock};

use bytes::Bytes;
use eventwire_protocol::error::ErrorCode;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::response::{self, Body};

/// Path from `schemas/v1` and content of every file, sorted by path.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/published.rs"));
/// The tag of each, made when it is first asked for.
static TAGS: LazyLock<Vec<OnceLock<HeaderValue>>> = LazyLock::new(|| vec![OnceLock::new(); FILES.len()]);

/// Where the tree stands.
const ROOT: &str = "/v1/schemas/";
/// Documents with a path of their own beside the tree.
const NAMED: [(&str, &str); 2] = [("/v1/asyncapi.json", "asyncapi.json"), ("/v1/openapi.json", "openapi.json")];

/// Whether a path is one of these, there or not.
pub(crate) fn is_document(path: &str) -> bool {
    path.starts_with(ROOT) || path == ROOT.trim_end_matches('/') || NAMED.iter().any(|(named, _)| *named == path)
}

/// The document at a path; the tree itself is its index.
pub(crate) fn serve(path: &str, headers: &HeaderMap) -> Response<Body> {
    if path == ROOT.trim_end_matches('/') {
        // With the slash, the paths in the index are relative to it.
        let mut response = Response::new(response::full(""));
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(ROOT));
        return response;
    }
    let named = NAMED.iter().find(|(named, _)| *named == path).map(|(_, name)| *name);
    let name = match named.or_else(|| path.strip_prefix(ROOT)).unwrap_or_default() {
        "" => "index.json",
        name => name,
    };
    let found = FILES.binary_search_by(|(known, _)| (*known).cmp(name)).ok();
    let Some((at, (name, content))) = found.and_then(|at| Some((at, FILES.get(at)?))) else {
        return response::refusal(ErrorCode::NotFound, format!("no such document; {ROOT} lists those there are"));
    };
    let tag = TAGS.get(at).map(|tag| tag.get_or_init(|| tag_of(content)));
    let known = tag.is_some_and(|tag| matches(headers, tag));
    let mut response = Response::new(response::full(if known { Bytes::new() } else { Bytes::from_static(content) }));
    let headers = response.headers_mut();
    if let Some(tag) = tag {
        headers.insert(header::ETAG, tag.clone());
    }
    // A newer gateway may say more; asking whether it does costs little.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
    }
    response
}

fn tag_of(content: &[u8]) -> HeaderValue {
    let digest: String = Sha256::digest(content).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&format!("\"{digest}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// Whether the client has it already (RFC 9110, section 13.1.2).
fn matches(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    let mut known = values.flat_map(|value| value.split(',')).map(str::trim);
    known.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known).as_bytes() == tag.as_bytes())
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((before, "json")) if before.ends_with(".schema") => "application/schema+json",
        Some((_, "json")) => "application/json",
        Some((_, "md")) => "text/markdown; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn http_13_every_file_that_is_published_is_served_and_no_other() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("published");
        fn count(folder: &Path) -> usize {
            let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
            entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
        }
        assert_eq!(FILES.len(), count(&root));
        assert!(FILES.is_sorted_by_key(|(name, _)| *name));
        for (name, content) in FILES {
            assert_eq!(std::fs::read(root.join(name)).unwrap(), *content, "{name}");
            let response = serve(&format!("{ROOT}{name}"), &HeaderMap::new());
            assert_eq!(response.status(), 200, "{name}");
            let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap();
            assert_eq!(kind == "application/schema+json", name.ends_with(".schema.json"), "{name}: {kind}");
            assert!(kind.starts_with("application/") || name.ends_with(".md"), "{name}: {kind}");
        }
        for path in [
            "/v1/schemas/nothing.json",
            "/v1/schemas/../v1/index.json",
            "/v1/schemas/..%2findex.json",
            "/v1/schemas//index.json",
            "/v1/schemas/events",
            "/v1/schemas/events/",
            "/v1/schemas/events/../index.json",
            "/v1/schemas/%69ndex.json",
            "/v1/schemas/index.json\0",
        ] {
            assert_eq!(serve(path, &HeaderMap::new()).status(), 404, "{path}");
        }
    }

    #[test]
    fn http_13_a_client_that_has_a_document_is_told_so() {
        let get = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::IF_NONE_MATCH, value.parse().unwrap());
            }
            serve("/v1/schemas/", &headers)
        };
        let tag = get(&[]).headers()[header::ETAG].to_str().unwrap().to_owned();
        let weak = format!("\"x\", W/{tag}");
        for (values, status) in [
            (&[tag.as_str()][..], 304),
            (&["*"], 304),
            (&[&weak], 304),
            (&["\"x\"", &tag], 304),
            (&["\"x\""], 200),
            (&[tag.trim_matches('"')], 200),
        ] {
            assert_eq!(get(values).status(), status, "{values:?}");
        }
        let other = serve("/v1/schemas/event.schema.json", &HeaderMap::new());
        assert_ne!(other.headers()[header::ETAG], tag.as_str());
    }
}
