//! The body of a polling request, within the budget of unfinished bytes (LIMIT-08, LIMIT-09).

use std::{fmt, pin::pin};

use bytes::{Buf as _, Bytes};
use eventwire_hub::unfinished::{Pace, Progress, Reservation};
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, sleep_until};

/// Why a body was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is larger than it may be.
    TooLarge,
    /// It came too slowly.
    TooSlow,
    /// The budget is used up.
    Evicted,
    /// The client broke off.
    Lost,
}

impl Unread {
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Evicted => StatusCode::SERVICE_UNAVAILABLE,
            Self::Lost => StatusCode::BAD_REQUEST,
        }
    }

    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::TooLarge => "Payload too large",
            Self::TooSlow => "Request timeout: the body came too slowly",
            Self::Evicted => "The server has no room for the body; send it again later",
            Self::Lost => "Bad request",
        }
    }
}

/// Reads a body of at most so many bytes. What it holds stays reserved until the reservation goes.
pub(crate) async fn read<B>(body: B, most: usize, reserved: &mut Reservation, pace: Pace) -> Result<Bytes, Unread>
where
    B: Body,
    B::Error: fmt::Debug,
{
    if body.size_hint().lower() > most as u64 {
        return Err(Unread::TooLarge);
    }
    let mut body = pin!(body);
    let mut read = Vec::new();
    let origin = Instant::now();
    let mut progress = Progress::begin(pace, origin.elapsed());
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            _ = reserved.evicted() => return Err(Unread::Evicted),
            () = sleep_until(origin + progress.deadline()) => {
                if progress.is_too_slow(origin.elapsed()) {
                    return Err(Unread::TooSlow);
                }
                continue;
            }
        };
        let Some(frame) = frame else { return Ok(read.into()) };
        let Ok(mut data) = frame.map_err(|_| Unread::Lost)?.into_data() else { continue };
        if read.len() + data.remaining() > most {
            return Err(Unread::TooLarge);
        }
        progress.pause(origin.elapsed());
        reserved.grow(data.remaining() as u64).await.map_err(|_| Unread::Evicted)?;
        progress.resume(origin.elapsed());
        progress.add(data.remaining() as u64);
        while data.has_remaining() {
            let chunk = data.chunk();
            read.extend_from_slice(chunk);
            let taken = chunk.len();
            data.advance(taken);
        }
    }
}
