//! Reading the body of a request: not more than its limit, within the budget of unfinished bytes, and not too slowly.

use std::{error::Error, io, pin::pin, time::Duration};

use bytes::{Buf, BufMut as _, Bytes, BytesMut};
use eventwire_hub::unfinished::Receiving;
use eventwire_protocol::{ErrorBody, ErrorCode};
use futures_util::{Stream, StreamExt as _};
use tokio::time::timeout;

/// How long a sender of too much may go on before it is answered. Most senders look for an answer only when they have
/// sent everything, and never see it if the socket is closed under them.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the head says about the body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Announced {
    /// `Content-Length`.
    pub(crate) bytes: Option<u64>,
    /// `Expect: 100-continue`: the sender waits to hear whether the body is wanted at all.
    pub(crate) waits: bool,
}

/// Reads a whole body.
///
/// # Errors
/// `too_large` above `limit` bytes; `timeout` when it comes too slowly (LIMIT-09); `unavailable` when it is given up to make
/// room (LIMIT-08); `malformed_frame` when it ends in the middle.
pub(crate) async fn read<D: Buf, E: Into<Box<dyn Error + Send + Sync>>>(
    announced: Announced,
    body: impl Stream<Item = Result<D, E>>,
    limit: usize,
    mut receiving: Receiving,
) -> Result<Bytes, ErrorBody> {
    let mut body = pin!(body);
    let too_large = || ErrorBody::new(ErrorCode::TooLarge, format!("the body is larger than {limit} bytes"));
    let over = announced.bytes.is_some_and(|bytes| bytes > limit as u64);
    if over && announced.waits {
        return Err(too_large());
    }
    let mut read = BytesMut::new();
    let mut fits = !over;
    while fits {
        match receiving.next(body.next()).await? {
            None => return Ok(read.freeze()),
            Some(Err(error)) => {
                let broken = || ErrorBody::new(ErrorCode::MalformedFrame, "the body ended in the middle");
                let too_late = || ErrorBody::new(ErrorCode::Timeout, "the rest of the body did not come in time");
                return Err(if timed_out(error.into().as_ref()) { too_late() } else { broken() });
            }
            Some(Ok(part)) => {
                fits = part.remaining() <= limit - read.len();
                if fits {
                    receiving.keep(part.remaining()).await?;
                    read.put(part);
                }
            }
        }
    }
    drop((read, receiving));
    let mut left = limit;
    let discard = async {
        while let Some(Ok(part)) = body.next().await {
            let Some(rest) = left.checked_sub(part.remaining()) else { return };
            left = rest;
        }
    };
    // Whether the sender finished or not, the answer is the same.
    let _ = timeout(PATIENCE, discard).await;
    Err(too_large())
}

/// Whether a body failed because somebody below lost patience with it.
fn timed_out(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use eventwire_hub::{
        Holder,
        unfinished::{Budget, Pace},
    };
    use futures_util::stream;
    use tokio::time::Instant;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    fn receiving() -> Receiving {
        Receiving::begin(&Budget::new(64 << 20), Holder::of_peer(None), Pace::default())
    }

    fn parts(parts: &'static [&'static str]) -> impl Stream<Item = io::Result<Bytes>> {
        stream::iter(parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes()))))
    }

    #[tokio::test]
    async fn a_body_is_read_whole_up_to_its_limit() {
        let read = |body| read(Announced::default(), body, 8, receiving());
        assert_eq!(read(parts(&["ab", "", "cdefgh"])).await.unwrap(), "abcdefgh");
        assert_eq!(read(parts(&["abcdefgh", "i"])).await.unwrap_err().code, ErrorCode::TooLarge);
        assert_eq!(read(parts(&["abcdefghi"])).await.unwrap_err().code, ErrorCode::TooLarge);
    }

    #[tokio::test]
    async fn http_05_reading_stops_and_keeps_nothing_beyond_the_limit() {
        for (announced, at_most) in [
            (Announced::default(), 4),
            (Announced { bytes: Some(1 << 40), waits: false }, 3),
            (Announced { bytes: Some(1 << 40), waits: true }, 0),
        ] {
            let asked = Arc::new(AtomicUsize::new(0));
            let count = asked.clone();
            let endless = stream::repeat_with(move || {
                count.fetch_add(1, Ordering::Relaxed);
                io::Result::Ok(Bytes::from_static(&[b' '; 512]))
            });
            assert_eq!(read(announced, endless, 1_024, receiving()).await.unwrap_err().code, ErrorCode::TooLarge);
            assert!(asked.load(Ordering::Relaxed) <= at_most + 2, "{announced:?}: {asked:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn http_09_a_body_that_trickles_is_given_up_after_the_deadline() {
        let began = Instant::now();
        let trickle = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((io::Result::Ok(Bytes::from_static(b" ")), ()))
        });
        assert_eq!(read(Announced::default(), trickle, 1_024, receiving()).await.unwrap_err().code, ErrorCode::Timeout);
        assert_eq!(began.elapsed(), DEADLINE);
    }

    #[tokio::test(start_paused = true)]
    async fn http_09_a_sender_of_too_much_that_hangs_is_answered_all_the_same() {
        let began = Instant::now();
        let hangs = parts(&["123456789"]).chain(stream::pending());
        assert_eq!(read(Announced::default(), hangs, 8, receiving()).await.unwrap_err().code, ErrorCode::TooLarge);
        assert_eq!(began.elapsed(), PATIENCE);
    }

    /// An error as the layers of a server wrap it.
    #[derive(Debug)]
    struct Wrapped(io::Error);

    impl std::fmt::Display for Wrapped {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("wrapped")
        }
    }

    impl Error for Wrapped {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_told_from_one_that_took_too_long() {
        let fails = |kind: io::ErrorKind| stream::iter([Ok(Bytes::from_static(b"{")), Err(Wrapped(kind.into()))]);
        let code = async |kind| read(Announced::default(), fails(kind), 8, receiving()).await.unwrap_err().code;
        assert_eq!(code(io::ErrorKind::UnexpectedEof).await, ErrorCode::MalformedFrame);
        assert_eq!(code(io::ErrorKind::TimedOut).await, ErrorCode::Timeout);
    }
}
