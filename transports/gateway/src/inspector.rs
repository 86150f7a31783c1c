//! The inspector page: files of `web/`, embedded, served with headers that let the page load nothing and run nothing but them.

use bytes::Bytes;
use eventwire_protocol::error::ErrorCode;
use http::Response;
use http::header::{self, HeaderName, HeaderValue};

use crate::response::{self, Body};

/// Name and content of every file, sorted by name.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/web.rs"));

/// Only our own scripts, styles and pictures; sockets and requests only to where the page came from; nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    // A new version of the gateway is a new page at once.
    (header::CACHE_CONTROL, "no-cache"),
];

/// The file at a path: `/` is the page, `/assets/{name}` what it loads. `None` for any other path.
pub(crate) fn serve(path: &str) -> Option<Response<Body>> {
    let name = if path == "/" { "index.html" } else { path.strip_prefix("/assets/")? };
    let found = FILES.binary_search_by(|(known, _)| (*known).cmp(name)).ok().and_then(|index| FILES.get(index));
    let Some((name, content)) = found else {
        return Some(response::refusal(ErrorCode::NotFound, "the inspector has no such file"));
    };
    let mut response = Response::new(response::full(Bytes::from_static(content)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str) -> &'static str {
        let (_, content) = FILES.iter().find(|(known, _)| *known == name).unwrap();
        std::str::from_utf8(content).unwrap()
    }

    #[test]
    fn the_page_loads_only_files_that_are_there_and_has_no_inline_code() {
        let page = text("index.html");
        let mut loaded = 0;
        for attribute in ["src=\"", "href=\""] {
            for (_, rest) in page.match_indices(attribute).map(|(at, _)| page.split_at(at + attribute.len())) {
                let target = rest.split('"').next().unwrap();
                if target.starts_with('#') {
                    continue;
                }
                let name = target.strip_prefix("assets/").unwrap_or_else(|| panic!("{target} is not one of our files"));
                assert!(FILES.iter().any(|(known, _)| *known == name), "{name} is missing");
                loaded += 1;
            }
        }
        assert!(loaded > 0);
        for forbidden in ["<style", " style=", "javascript:", " onclick=", " onload="] {
            assert!(!page.contains(forbidden), "{forbidden} does not run under the policy");
        }
    }

    #[test]
    fn every_module_that_a_script_imports_is_there() {
        for (name, content) in FILES.iter().filter(|(name, _)| name.ends_with(".js")) {
            for line in std::str::from_utf8(content).unwrap().lines().filter(|line| line.starts_with("import ")) {
                let target = line.split('"').nth(1).unwrap();
                let target = target.strip_prefix("./").unwrap_or_else(|| panic!("{name} imports {target}"));
                assert!(FILES.iter().any(|(known, _)| *known == target), "{name} imports {target}, which is missing");
            }
        }
    }

    #[test]
    fn only_the_embedded_files_are_served() {
        for path in ["/", "/assets/theme.js", "/assets/icon.svg"] {
            let response = serve(path).unwrap();
            assert_eq!(response.status(), 200, "{path}");
            let policy = response.headers().get(header::CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap();
            assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
        }
        for path in
            ["/assets/", "/assets/../Cargo.toml", "/assets/%2e%2e/Cargo.toml", "/assets/test", "/assets/nothing.js"]
        {
            assert_eq!(serve(path).unwrap().status(), 404, "{path}");
        }
        assert!(serve("/v1/ws").is_none());
    }
}
