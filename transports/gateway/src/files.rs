//! The files of an application's pages: what is in a directory, and nothing else (HTTP-23).
//!
//! A path is judged twice. As text: it names no file that begins with a dot, and climbs nowhere. And as it is in the file
//! system: the file is opened first, and the name under which the system knows the open file must lie in the directory, so
//! that no link leads out, not even one that is exchanged in between.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use eventwire_protocol::error::ErrorCode;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use rustix::fs::OFlags;
use tower_http::services::ServeFile;
use tower_service::Service as _;

use crate::response::{self, Body};

/// The only name with a dot before it that is served: what it holds is meant to be found (RFC 8615).
const WELL_KNOWN: &str = ".well-known";
const INDEX: &str = "index.html";

/// A directory of files. A path that names no file and looks like no file is a page of an application that routes in the
/// browser: it gets `index.html`.
pub(crate) struct Directory {
    root: PathBuf,
}

/// What is at a path.
enum Found {
    /// A file, open, and the path under which it can be opened again.
    File {
        open: File,
        path: PathBuf,
        name: PathBuf,
    },
    Directory,
    /// Something that is not to be served: outside of the directory, or no file.
    Withheld,
    Nothing,
}

impl Directory {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return response::refusal(ErrorCode::MethodNotAllowed, "files are read with GET");
        }
        let (request, _) = request.into_parts();
        let path = request.uri.path();
        let Some(relative) = relative(path) else { return nothing_at(path) };
        let mut found = self.find(relative.clone()).await;
        if matches!(found, Found::Directory) {
            if !path.ends_with('/') {
                return moved(path, request.uri.query());
            }
            found = self.find(relative.join(INDEX)).await;
        }
        let is_page = path.rsplit('/').next().is_none_or(|last| !last.contains('.'));
        if matches!(found, Found::Nothing | Found::Directory) && is_page {
            found = self.find(INDEX.into()).await;
        }
        match found {
            Found::File { open, path, name } => {
                let response = serve(&request, &path, &name).await;
                // Until here: the path may lead to it only as long as it is open.
                drop(open);
                response
            }
            Found::Directory | Found::Withheld | Found::Nothing => nothing_at(path),
        }
    }

    async fn find(&self, relative: PathBuf) -> Found {
        let root = self.root.clone();
        let found = tokio::task::spawn_blocking(move || find(&root, &relative)).await;
        found.ok().and_then(Result::ok).unwrap_or(Found::Nothing)
    }
}

/// The path of a request as one below the directory; `None` when it may name none.
fn relative(path: &str) -> Option<PathBuf> {
    let path = percent_encoding::percent_decode_str(path).decode_utf8().ok()?;
    let mut relative = PathBuf::new();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let is_first = relative.as_os_str().is_empty();
        let hidden = name.starts_with('.') && !(is_first && name == WELL_KNOWN);
        if hidden || name.contains(['\\', '\0']) {
            return None;
        }
        relative.push(name);
    }
    Some(relative)
}

/// Opens what is at a path below `root`.
fn find(root: &Path, relative: &Path) -> io::Result<Found> {
    // Every time, for a directory of pages may be a link that a new version is put behind.
    let root = root.canonicalize()?;
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    // A pipe without a writer would otherwise hold the opener up.
    let open = match OpenOptions::new().read(true).custom_flags(nonblocking).open(root.join(relative)) {
        Ok(open) => open,
        Err(error) if is_absent(&error) => return Ok(Found::Nothing),
        Err(_) => return Ok(Found::Withheld),
    };
    let real = real_path(&open, &root.join(relative))?;
    let metadata = open.metadata()?;
    let Ok(name) = real.strip_prefix(&root) else { return Ok(Found::Withheld) };
    // A link inside of the directory must not be a way to a hidden file either.
    if !is_visible(name) {
        return Ok(Found::Withheld);
    }
    if metadata.is_dir() {
        return Ok(Found::Directory);
    }
    if !metadata.is_file() {
        return Ok(Found::Withheld);
    }
    Ok(Found::File { path: path_of(&open, &real), name: relative.to_owned(), open })
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename)
}

fn is_visible(name: &Path) -> bool {
    let mut names = name.components().enumerate();
    names.all(|(at, component)| match component {
        Component::Normal(name) => !name.as_encoded_bytes().starts_with(b".") || (at == 0 && name == WELL_KNOWN),
        _ => false,
    })
}

#[cfg(target_os = "linux")]
fn descriptor(open: &File) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()))
}

/// Where the system knows the open file.
#[cfg(target_os = "linux")]
fn real_path(open: &File, _: &Path) -> io::Result<PathBuf> {
    std::fs::read_link(descriptor(open))
}

/// A path that leads to this very file.
#[cfg(target_os = "linux")]
fn path_of(open: &File, _: &Path) -> PathBuf {
    descriptor(open)
}

/// Other systems have no such name: there a link must not be exchanged while it is followed.
#[cfg(not(target_os = "linux"))]
fn real_path(_: &File, path: &Path) -> io::Result<PathBuf> {
    path.canonicalize()
}

#[cfg(not(target_os = "linux"))]
fn path_of(_: &File, real: &Path) -> PathBuf {
    real.to_owned()
}

async fn serve(request: &Parts, path: &Path, name: &Path) -> Response<Body> {
    let mut asked = Request::new(Empty::<Bytes>::new());
    *asked.method_mut() = request.method.clone();
    *asked.headers_mut() = request.headers.clone();
    let Ok(mut response) = ServeFile::new(path).call(asked).await;
    if matches!(response.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
        // The path may have no ending to tell the type by.
        let media = mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream");
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response.map(|body| body.map_err(Into::into).boxed_unsync())
}

/// To the same path with a slash behind it, which relative addresses in the page of a directory need.
fn moved(path: &str, query: Option<&str>) -> Response<Body> {
    // Two slashes before it would name another host.
    let mut target = format!("/{}/", path.trim_matches('/'));
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    let mut response = Response::new(response::full(""));
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    if let Ok(target) = HeaderValue::from_str(&target) {
        response.headers_mut().insert(header::LOCATION, target);
    }
    response
}

fn nothing_at(path: &str) -> Response<Body> {
    let path: String = path.chars().filter(|character| !character.is_control()).take(120).collect();
    response::refusal(ErrorCode::NotFound, format!("no file is at {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_23_a_path_names_no_hidden_file_and_climbs_nowhere() {
        for (path, expected) in [
            ("/", Some("")),
            ("//a//b.js", Some("a/b.js")),
            ("/a%20b", Some("a b")),
            ("/.well-known/security.txt", Some(".well-known/security.txt")),
            ("/a..b/c.", Some("a..b/c.")),
            ("/.env", None),
            ("/%2eenv", None),
            ("/a/.git/config", None),
            ("/a/%2Egit/config", None),
            ("/a/.well-known/x", None),
            ("/.well-known/.hidden", None),
            ("/.well-knownx", None),
            ("/../x", None),
            ("/a/%2e%2e/x", None),
            ("/a/..%2fx", None),
            ("/a%2f.env", None),
            ("/a%5c..%5cx", None),
            ("/a%00", None),
            ("/%ff", None),
            ("/./x", None),
        ] {
            assert_eq!(relative(path).as_deref(), expected.map(Path::new), "{path}");
        }
    }

    #[test]
    fn http_23_no_link_leads_out_and_links_inside_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("pages");
        let link = |target: &Path, name: &str| std::os::unix::fs::symlink(target, root.join(name)).unwrap();
        std::fs::create_dir_all(root.join("ui")).unwrap();
        std::fs::create_dir(root.join(".git")).unwrap();
        for (name, text) in [("ui/app.js", "1"), (".git/config", "hush"), (".env", "hush")] {
            std::fs::write(root.join(name), text).unwrap();
        }
        std::fs::create_dir(folder.path().join("beside")).unwrap();
        std::fs::write(folder.path().join("beside/secret.txt"), "hush").unwrap();
        // A name that begins as that of the directory does.
        std::fs::create_dir(folder.path().join("pages-old")).unwrap();
        std::fs::write(folder.path().join("pages-old/secret.txt"), "hush").unwrap();
        link(Path::new("ui/app.js"), "inside.js");
        link(&root.join("ui"), "absolute");
        link(Path::new("../beside/secret.txt"), "out.txt");
        link(&folder.path().join("beside"), "out");
        link(&folder.path().join("pages-old"), "old");
        link(Path::new(".env"), "env.txt");
        link(Path::new(".git"), "git");
        link(Path::new("nowhere"), "broken");
        link(Path::new("circle"), "circle");
        assert!(std::process::Command::new("mkfifo").arg(root.join("pipe")).status().unwrap().success());

        let text = |name: &str| match find(&root, Path::new(name)).unwrap() {
            Found::File { open, path, .. } => {
                let text = std::fs::read_to_string(path).unwrap();
                drop(open);
                text
            }
            Found::Directory => "(directory)".to_owned(),
            Found::Withheld => "(withheld)".to_owned(),
            Found::Nothing => "(nothing)".to_owned(),
        };
        for (name, expected) in [
            ("ui/app.js", "1"),
            ("inside.js", "1"),
            ("absolute/app.js", "1"),
            ("ui", "(directory)"),
            ("", "(directory)"),
            ("out.txt", "(withheld)"),
            ("out/secret.txt", "(withheld)"),
            ("out", "(withheld)"),
            ("old/secret.txt", "(withheld)"),
            ("env.txt", "(withheld)"),
            ("git/config", "(withheld)"),
            ("pipe", "(withheld)"),
            ("circle", "(withheld)"),
            ("broken", "(nothing)"),
            ("none.js", "(nothing)"),
            ("ui/app.js/x", "(nothing)"),
        ] {
            assert_eq!(text(name), expected, "{name}");
        }
        // The directory may be a link itself.
        let link = folder.path().join("current");
        std::os::unix::fs::symlink(&root, &link).unwrap();
        assert!(matches!(find(&link, Path::new("ui/app.js")).unwrap(), Found::File { .. }));
        assert!(matches!(find(&link, Path::new("out.txt")).unwrap(), Found::Withheld));
    }
}
