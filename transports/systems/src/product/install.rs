//! `POST /api/mcp/ssh/install/stream` (PRD-08): what an installation writes, told to its user line by line as it comes.

use std::{net::IpAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use eventwire_hub::{Holder, Hub, handshake};
use eventwire_protocol::{
    Audience, Dialect, Envelope, ErrorBody, ErrorCode, EventKind, ItemId, Publication, UserId,
    address::Modifiers,
    api::systems::{BadLine, InstallSummary},
    event::product::InstallProgress,
    frame,
};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::Product;
use crate::{Body, answer, principal};

/// Longest line, in bytes. Output over it is told in pieces; a line of JSON over it is a bad one.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// Most that one installation may write, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// How long nothing may come.
const SILENCE: Duration = Duration::from_secs(300);
/// How long the beginning of a line waits for its end before it is told without.
const PATIENCE: Duration = Duration::from_millis(500);

/// How the body is to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A JSON object in each line.
    Lines,
    /// What the program wrote.
    Output,
}

fn form(headers: &HeaderMap) -> Result<Form, ErrorBody> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/json" => Ok(Form::Lines),
        "text/plain" => Ok(Form::Output),
        _ => Err(ErrorBody::new(
            ErrorCode::UnsupportedMediaType,
            "the body must be application/x-ndjson, a JSON object in each line, or text/plain, the output itself",
        )),
    }
}

/// What was done with a body.
#[derive(Default)]
struct Told {
    lines: u64,
    events: u64,
    bad_lines: u64,
    first_bad: Option<(u64, String)>,
}

impl Told {
    fn bad(&mut self, error: impl Into<String>) {
        self.bad_lines += 1;
        let line = self.lines;
        self.first_bad.get_or_insert_with(|| (line, error.into()));
    }
}

/// One installation that is being told.
struct Stream<'a> {
    hub: &'a Hub,
    /// The sender's account.
    holder: Holder,
    user: UserId,
    install: Option<ItemId>,
    form: Form,
    told: Told,
    /// What came behind the last line break.
    rest: BytesMut,
    /// Whether the line that is coming is over the limit: its rest is passed over.
    too_long: bool,
}

impl Stream<'_> {
    /// Takes what came, and tells the lines that are complete.
    async fn take(&mut self, mut data: Bytes) -> Result<(), ErrorBody> {
        let mut events = Vec::new();
        while !data.is_empty() {
            let end = data.iter().position(|byte| *byte == b'\n').map_or(data.len(), |at| at + 1);
            let part = data.split_to(end.min(MAX_LINE_BYTES.saturating_sub(self.rest.len()).max(1)));
            self.rest.extend_from_slice(&part);
            let ended = self.rest.ends_with(b"\n");
            if ended || self.rest.len() >= MAX_LINE_BYTES {
                self.line(ended, &mut events);
            }
        }
        self.publish(events).await
    }

    /// Tells the beginning of a line whose end does not come.
    async fn hurry(&mut self, last: bool) -> Result<(), ErrorBody> {
        let mut events = Vec::new();
        // Half an object says nothing; half a line of output may be a question.
        if last || self.form == Form::Output {
            self.line(last, &mut events);
        }
        self.publish(events).await
    }

    fn line(&mut self, ended: bool, events: &mut Vec<Envelope>) {
        match self.form {
            Form::Output => {
                // A character that came in half waits for its other half.
                let whole = match std::str::from_utf8(&self.rest) {
                    Err(error) if !ended && error.error_len().is_none() => error.valid_up_to(),
                    _ => self.rest.len(),
                };
                let bytes = self.rest.split_to(whole);
                if bytes.is_empty() {
                    return;
                }
                self.told.lines += u64::from(ended);
                let Some(install_id) = self.install.clone() else { return };
                let output = Some(String::from_utf8_lossy(&bytes).into_owned());
                let progress = InstallProgress {
                    install_id,
                    stage: None,
                    status: None,
                    message: None,
                    output,
                    stream: None,
                    percent: None,
                };
                match Envelope::to_user(self.user.clone(), &progress, self.hub.now()) {
                    Ok(event) => events.push(event),
                    Err(error) => self.told.bad(error.message),
                }
            }
            Form::Lines => {
                let bytes = self.rest.split();
                if self.too_long || !ended {
                    // Told once, at the end of it.
                    if ended {
                        self.told.lines += 1;
                        self.told.bad(format!("over the limit of {MAX_LINE_BYTES} bytes"));
                    }
                    self.too_long = !ended;
                    return;
                }
                if bytes.trim_ascii().is_empty() {
                    return;
                }
                self.told.lines += 1;
                match self.read(&bytes) {
                    Ok(event) => events.push(event),
                    Err(error) => self.told.bad(error.message),
                }
            }
        }
    }

    /// Reads one line as `mcp_install_progress`, or as one of the later two if it says so itself.
    fn read(&mut self, line: &[u8]) -> Result<Envelope, ErrorBody> {
        let text = &*frame::read_document(line, MAX_LINE_BYTES)?;
        let wrong = |message: &'static str| ErrorBody::new(ErrorCode::InvalidPayload, message);
        let Ok(Value::Object(mut members)) = serde_json::from_str(text) else {
            return Err(wrong("a line must be a JSON object"));
        };
        match members.get("type").and_then(Value::as_str) {
            None | Some("mcp_install_progress" | "mcp_install" | "mcp_install_output") => {}
            Some(_) => return Err(wrong("a line tells of an installation and of nothing else")),
        }
        members.entry("type").or_insert_with(|| "mcp_install_progress".into());
        if let Some(install) = &self.install {
            members.entry("installId").or_insert_with(|| install.to_string().into());
        }
        let adopted = Dialect::Product.decode_event(&Value::Object(members))?;
        if self.install.is_none() {
            self.install = adopted.data.get("install_id").and_then(Value::as_str).and_then(|id| id.parse().ok());
        }
        let data = serde_json::value::to_raw_value(&adopted.data).map_err(|_| wrong("a line could not be written"))?;
        let publication = Publication {
            kind: EventKind::Known(adopted.kind),
            to: Audience::User(self.user.clone()),
            data,
            time: None,
            id: None,
            expected_prev: None,
            modifiers: Modifiers::default(),
        };
        Envelope::admit(publication, self.hub.now())
    }

    async fn publish(&mut self, events: Vec<Envelope>) -> Result<(), ErrorBody> {
        if !events.is_empty() {
            let receipts = self.hub.append_for(&self.holder, events, Vec::new()).await?;
            self.told.events += receipts.len() as u64;
        }
        Ok(())
    }
}

impl Product {
    /// Takes the output of an installation as it comes.
    pub(super) async fn install(
        &self,
        request: Request<Body>,
        peer: Option<IpAddr>,
    ) -> Result<Response<Body>, ErrorBody> {
        let (head, mut body) = request.into_parts();
        let query = handshake::pairs(head.uri.query().unwrap_or_default(), &["user", "installId"])?;
        let value = |name: &str| query.iter().find(|(of, _)| *of == name).map(|(_, value)| value.as_str());
        let form = form(&head.headers)?;
        let hub = &self.0.hub;
        let (user, sender) = match value("user") {
            // Whoever may publish may say whose it is; a page speaks for its own user.
            Some(user) => {
                let publisher = principal(hub, &head.headers, peer).await?;
                let user: UserId =
                    user.parse().map_err(|error| ErrorBody::new(ErrorCode::InvalidId, format!("user: {error}")))?;
                let login = hub.settings().product_users.user_of(&user);
                let user =
                    login.ok_or_else(|| ErrorBody::new(ErrorCode::InvalidId, "user: is too long for a login"))?;
                hub.may_publish(&publisher.claims, &Audience::User(user.clone()))?;
                (user, publisher)
            }
            None => {
                let (found, principal) = self.user(&head.headers, peer).await?;
                (found.user, principal)
            }
        };
        let install = value("installId")
            .or_else(|| head.headers.get("x-install-id").and_then(|value| value.to_str().ok()))
            .map(|id| id.parse().map_err(|error| ErrorBody::new(ErrorCode::InvalidId, format!("installId: {error}"))))
            .transpose()?;
        if form == Form::Output && install.is_none() {
            let message = "output needs ?installId= (or the header X-Install-Id): which installation it is of";
            return Err(ErrorBody::new(ErrorCode::InvalidPayload, message));
        }
        let holder = Holder::of(&sender, peer);
        let (told, rest) = (Told::default(), BytesMut::new());
        let mut stream = Stream { hub, holder, user, install, form, told, rest, too_long: false };
        let refused = hub.until_refused(&sender);
        let broken = tokio::select! {
            done = stream.run(&mut body) => done.err(),
            error = refused => Some(error),
        };
        Ok(stream.summary(broken))
    }
}

impl Stream<'_> {
    async fn run(&mut self, body: &mut Body) -> Result<(), ErrorBody> {
        let mut bytes = 0_usize;
        loop {
            let next = match tokio::time::timeout(PATIENCE, body.frame()).await {
                Ok(next) => next,
                Err(_) => {
                    self.hurry(false).await?;
                    let silent = tokio::time::timeout(SILENCE, body.frame()).await;
                    silent.map_err(|_| ErrorBody::new(ErrorCode::Timeout, "nothing came for 5 minutes"))?
                }
            };
            match next {
                None => return self.hurry(true).await,
                Some(Err(_)) => {
                    // What came is told all the same; the installation may well have broken off with it.
                    self.hurry(true).await?;
                    return Err(ErrorBody::new(ErrorCode::MalformedFrame, "the body broke off"));
                }
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    bytes = bytes.saturating_add(data.len());
                    if bytes > MAX_BODY_BYTES {
                        let message = format!("the body is over the limit of {MAX_BODY_BYTES} bytes");
                        return Err(ErrorBody::new(ErrorCode::TooLarge, message));
                    }
                    self.take(data).await?;
                }
            }
        }
    }

    fn summary(self, broken: Option<ErrorBody>) -> Response<Body> {
        let Told { events, bad_lines, first_bad, .. } = self.told;
        let status = broken.as_ref().map_or(StatusCode::OK, answer::status_of);
        let summary = InstallSummary {
            success: broken.is_none() && bad_lines == 0,
            install_id: self.install,
            events,
            bad_lines: (bad_lines > 0).then_some(bad_lines),
            first_bad_line: first_bad.map(|(line, error)| BadLine { line, error }),
            error: broken.map(|error| error.message.into_owned()),
        };
        answer::json(status, &summary)
    }
}
