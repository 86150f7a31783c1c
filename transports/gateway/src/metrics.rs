//! `GET /metrics`: the metrics of the hub and of this process, as Prometheus reads them (HTTP-14).
//!
//! They are gathered when somebody asks and not before; what is counted in between costs a publisher nothing.

use std::sync::Arc;

use eventwire_hub::{
    Counters, Credentials, Hub, Stats, handshake,
    history::{PotUsage, Usage},
    unfinished::BudgetUsage,
};
use eventwire_protocol::claims::Permission;
use eventwire_protocol::error::{ErrorBody, ErrorCode};
use futures_util::FutureExt as _;
use http::header::{self, HeaderValue};
use http::{Response, request};
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::command_backend::BackEnd;
use crate::pipeline::Routes;
use crate::response::{self, Body};

/// Its path.
const PATH: &str = "/metrics";
/// Text 0.0.4 of Prometheus.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers the metrics at their path and passes other requests on.
pub(crate) fn mount(hub: &Hub, back_end: &BackEnd, behind: Routes) -> Routes {
    let (hub, back_end) = (hub.clone(), back_end.clone());
    Arc::new(move |request, peer| {
        if request.uri().path() != PATH {
            return behind(request, peer);
        }
        let (hub, back_end) = (hub.clone(), back_end.clone());
        let (head, _) = request.into_parts();
        async move {
            match answer(&hub, &back_end, &head, peer.ip()).await {
                Ok(response) => response,
                Err(error) => response::refusal(error.code, error.message),
            }
        }
        .boxed()
    })
}

async fn answer(
    hub: &Hub,
    back_end: &BackEnd,
    head: &request::Parts,
    peer: std::net::IpAddr,
) -> Result<Response<Body>, ErrorBody> {
    let values = head.headers.get_all(header::AUTHORIZATION).into_iter().map(HeaderValue::as_bytes);
    let credentials = Credentials { token: handshake::bearer(values)?, peer: Some(peer) };
    if !hub.authenticate(&credentials).await?.claims.may(Permission::Observe) {
        let message = "this needs the permission observe, which your credentials lack";
        return Err(ErrorBody::new(ErrorCode::Forbidden, message));
    }
    let text = written(&hub.stats(), back_end, hub.is_draining()).map_err(|error| {
        tracing::error!(%error, "the metrics cannot be written");
        ErrorBody::new(ErrorCode::Internal, "the metrics cannot be written; the reason has been logged")
    })?;
    let mut response = Response::new(response::full(text));
    for (name, value) in [
        (header::CONTENT_TYPE, CONTENT_TYPE),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// The metrics as text.
fn written(figures: &Stats, back_end: &BackEnd, draining: bool) -> prometheus::Result<String> {
    let page = Page(Registry::new());
    let Stats { connections, opened, closed, published, refused, counters, .. } = figures;
    let one = |count: u64| vec![(vec![], count)];
    let kinds = |of: &std::collections::BTreeMap<(&'static str, &'static str), u64>| {
        of.iter().map(|((transport, dialect), count)| (vec![*transport, *dialect], *count)).collect::<Vec<_>>()
    };
    page.gauge("build_info", "The version of the gateway.", &["version"], vec![(vec![env!("CARGO_PKG_VERSION")], 1)])?;
    page.gauge("draining", "1 while the gateway stops and takes nobody new.", &[], one(draining.into()))?;
    let labels = ["transport", "dialect"];
    page.gauge("connections", "Connections there are.", &labels, kinds(connections))?;
    page.counter("connections_opened_total", "Connections there were.", &labels, kinds(opened))?;
    let codes: Vec<String> =
        closed.keys().map(|code| code.map_or_else(|| "left".into(), |code| code.to_string())).collect();
    let ended = codes.iter().zip(closed.values()).map(|(code, count)| (vec![code.as_str()], *count)).collect();
    page.counter(
        "connections_closed_total",
        "Connections that ended, by close code; left: by themselves.",
        &["code"],
        ended,
    )?;
    let by_word = |of: &std::collections::BTreeMap<&'static str, u64>| {
        of.iter().map(|(word, count)| (vec![*word], *count)).collect::<Vec<_>>()
    };
    page.counter(
        "events_published_total",
        "Events committed, by family; _ is vendor space.",
        &["family"],
        by_word(published),
    )?;
    page.counter("publications_refused_total", "Publications refused, by code.", &["code"], by_word(refused))?;
    page.counter(
        "turned_away_total",
        "Connections and credentials that were refused or had to wait, by reason.",
        &["reason"],
        by_word(&figures.turned_away),
    )?;
    let Counters { delivered, dropped, unspeakable, overflowed, conflated, gaps, .. } = counters;
    for (name, help, count) in [
        ("frames_delivered_total", "Frames handed to sockets.", delivered),
        ("events_dropped_total", "Volatile events dropped because a mailbox was full.", dropped),
        ("events_unspeakable_total", "Events that the dialect of a receiver has no words for.", unspeakable),
        ("events_conflated_total", "Events that replaced an older value or joined one in a mailbox.", conflated),
        ("mailbox_overflows_total", "How often a mailbox was full and its reader was sent to the log.", overflowed),
        ("gaps_total", "Gaps that were reported to readers.", gaps),
        ("command_waits_total", "How often a connection began to wait for its share of work.", &figures.command_waits),
    ] {
        page.counter(name, help, &[], one(*count))?;
    }
    for (name, help, count) in [
        ("mailbox_frames", "Frames that wait in mailboxes.", figures.waiting_frames),
        ("mailbox_bytes", "Bytes that wait in mailboxes.", figures.waiting_bytes),
        ("connections_lagging", "Connections that are being fed from the log.", figures.lagging),
        ("commands_waiting", "Connections whose next command waits for its share of work.", figures.commands_waiting),
        ("commands_pending", "Commands that no back end has acknowledged.", back_end.pending() as u64),
        ("command_readers", "Back ends that read commands.", back_end.readers() as u64),
    ] {
        page.gauge(name, help, &[], one(count))?;
    }
    let BudgetUsage { bytes, bound, waiting, waits, evicted } = figures.unfinished;
    for (name, help, value) in [
        ("unfinished_bytes", "Bytes of messages and request bodies that have begun and not ended.", bytes),
        (
            "unfinished_bound_bytes",
            "The most bytes of messages and request bodies that have begun and not ended.",
            bound,
        ),
        ("unfinished_waiting", "Messages and request bodies whose reading waits for bytes.", waiting),
    ] {
        page.gauge(name, help, &[], one(value))?;
    }
    for (name, help, count) in [
        ("unfinished_waits_total", "How often reading of a message or request body began to wait for bytes.", waits),
        ("unfinished_evictions_total", "Messages and request bodies that were given up to make room.", evicted),
    ] {
        page.counter(name, help, &[], one(count))?;
    }
    let Usage { log, latest, idempotency, checkpoints } = figures.history;
    let pots = [("log", log), ("latest", latest), ("idempotency", idempotency), ("checkpoints", checkpoints)];
    let of = |value: fn(&PotUsage) -> u64| pots.iter().map(|(pot, usage)| (vec![*pot], value(usage))).collect();
    page.gauge("history_bytes", "Resident bytes of the history, by part.", &["part"], of(|it| it.bytes))?;
    page.gauge("history_bound_bytes", "The most resident bytes, by part.", &["part"], of(|it| it.bound))?;
    page.gauge(
        "history_entries",
        "Events, newest values, keys and checkpoints that are kept.",
        &["part"],
        of(|it| it.entries),
    )?;
    page.counter(
        "history_evictions_total",
        "Entries evicted because the bytes of their part were used up.",
        &["part"],
        of(|it| it.evicted),
    )?;
    #[cfg(target_os = "linux")]
    page.0.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    TextEncoder::new().encode_to_string(&page.0.gather())
}

/// Stats on their way to the page: values of labels, and the figure.
type Rows<'a> = Vec<(Vec<&'a str>, u64)>;

/// What is written.
struct Page(Registry);

impl Page {
    fn gauge(&self, name: &str, help: &str, labels: &[&str], rows: Rows<'_>) -> prometheus::Result<()> {
        let gauge = IntGaugeVec::new(Opts::new(format!("eventwire_{name}"), help), labels)?;
        for (values, count) in rows {
            gauge.with_label_values(&values).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.0.register(Box::new(gauge))
    }

    fn counter(&self, name: &str, help: &str, labels: &[&str], rows: Rows<'_>) -> prometheus::Result<()> {
        let counter = IntCounterVec::new(Opts::new(format!("eventwire_{name}"), help), labels)?;
        for (values, count) in rows {
            counter.with_label_values(&values).inc_by(count);
        }
        self.0.register(Box::new(counter))
    }
}
