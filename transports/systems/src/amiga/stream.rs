//! A connection as a stream of server-sent events: figures without a name, errors with one, and a comment where there is
//! nothing to say.

use std::time::Duration;

use bytes::Bytes;
use eventwire_hub::{Connection, Outgoing};
use eventwire_protocol::dialect::amiga::DEFAULT_INTERVAL;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{sync::mpsc, time::timeout};

use crate::Body;

/// Said when a look found nothing new.
const HEARTBEAT: &[u8] = b": heartbeat\n\n";
/// After how long without anything that is said: one look, and a moment for it to be taken.
const SILENCE: Duration = Duration::from_millis(DEFAULT_INTERVAL as u64 * 1000 + 500);

/// How long a piece may wait for a reader that takes nothing (FLOW-05).
const STALL: Duration = Duration::from_secs(10);

/// The body of the answer. Dropping it disconnects, and so does reading nothing from it for too long.
pub(super) fn body(connection: Connection) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(feed(connection, sender));
    let pieces = stream::unfold(receiver, |mut receiver| async move {
        let piece: Bytes = receiver.recv().await?;
        Some((Ok(Frame::data(piece)), receiver))
    });
    StreamBody::new(pieces).boxed_unsync()
}

async fn feed(mut connection: Connection, body: mpsc::Sender<Bytes>) {
    loop {
        let piece = tokio::select! {
            outgoing = connection.next() => match outgoing {
                Outgoing::Frames(frames) => {
                    frames.iter().filter_map(|frame| event(&frame.bytes)).collect::<Vec<_>>().concat()
                }
                // A reader answers nothing; whether it is there is seen by what it takes.
                Outgoing::Ping => {
                    connection.pong();
                    continue;
                }
                Outgoing::Close(..) => return,
            },
            () = tokio::time::sleep(SILENCE) => HEARTBEAT.to_vec(),
            () = body.closed() => return,
        };
        if !piece.is_empty() && !matches!(timeout(STALL, body.send(piece.into())).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// A frame as an event of this stream; `None` for those it does not have.
fn event(frame: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Refused {
        error: String,
    }
    let (name, argument): (String, &RawValue) = serde_json::from_slice(frame).ok()?;
    // JSON that serde wrote is one line.
    match name.as_str() {
        "metrics_update" => Some(format!("data: {argument}\n\n").into_bytes()),
        "error" => {
            let Refused { error } = serde_json::from_str(argument.get()).ok()?;
            let data = serde_json::json!({ "error": error });
            Some(format!("event: error\ndata: {data}\n\n").into_bytes())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sio_16_an_update_is_an_event_without_a_name_and_an_error_has_one() {
        let text = |frame: &str| event(frame.as_bytes()).map(|piece| String::from_utf8(piece).unwrap());
        assert_eq!(text(r#"["metrics_update",{"a":"\n"}]"#).unwrap(), "data: {\"a\":\"\\n\"}\n\n");
        assert_eq!(
            text(r#"["error",{"error":"locked","timestamp":1.5}]"#).unwrap(),
            "event: error\ndata: {\"error\":\"locked\"}\n\n"
        );
        assert_eq!(text(r#"["connected",{}]"#), None);
    }
}
