//! The body of a polling request, within the budget of unfinished bytes (LIMIT-08, LIMIT-09).

use std::{fmt, pin::pin};

use bytes::{Buf as _, Bytes};
use eventwire_hub::unfinished::{Pace, Progress, Reservation};
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, sleep_until};

/// Bytes of each body that its connection has room for anyway (LIMIT-08).
const OWN_BYTES: usize = 8 * 1024;

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

/// Reads a body of at most so many bytes. What it holds beyond its own bytes stays reserved until the reservation goes.
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
        let beyond = |length: usize| length.saturating_sub(OWN_BYTES);
        let more = beyond(read.len() + data.remaining()) - beyond(read.len());
        if more > 0 {
            progress.pause(origin.elapsed());
            reserved.grow(more as u64).await.map_err(|_| Unread::Evicted)?;
            progress.resume(origin.elapsed());
        }
        progress.add(data.remaining() as u64);
        while data.has_remaining() {
            let chunk = data.chunk();
            read.extend_from_slice(chunk);
            let taken = chunk.len();
            data.advance(taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use eventwire_hub::{Holder, unfinished::Budget};
    use http_body_util::Full;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn limit_08_the_first_bytes_of_a_body_belong_to_its_connection() {
        let holder = || Holder::of_peer(Some([10, 0, 0, 1].into()));
        let budget = Budget::new(100_000);
        let mut large = budget.reader(holder());
        large.grow(90_000).await.unwrap();
        let began = Instant::now();
        let mut reserved = budget.reader(holder());
        let small = Full::new(Bytes::from(vec![b'x'; OWN_BYTES]));
        assert_eq!(read(small, 1_000_000, &mut reserved, Pace::default()).await.unwrap().len(), OWN_BYTES);
        assert_eq!((began.elapsed(), budget.used()), (std::time::Duration::ZERO, 90_000));
        // A larger one waits for what is beyond, and is given up where its own peer has all there is.
        let larger = Full::new(Bytes::from(vec![b'x'; 20_000]));
        assert_eq!(read(larger.clone(), 1_000_000, &mut reserved, Pace::default()).await, Err(Unread::Evicted));
        drop((large, reserved));
        let mut reserved = budget.reader(holder());
        read(larger, 1_000_000, &mut reserved, Pace::default()).await.unwrap();
        assert_eq!(budget.used(), 20_000 - OWN_BYTES as u64);
    }
}
