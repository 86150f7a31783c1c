//! The stream of a WebSocket whose unfinished messages are counted, wherever its frames are read (LIMIT-08, LIMIT-09).
//!
//! The library that reads the frames tells only of whole messages. So the bytes are followed on their way to it: what has
//! come of a message is reserved in the [`Budget`], its progress is measured, and fragments and control frames are counted.
//! Reading fails with a [`Breach`] where a limit is exceeded; writing goes on, so that the peer can be told.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use eventwire_protocol::{CloseCode, limits};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use self::frames::{Flood, Frames, Opening, PIECE};
use crate::{
    holder::Holder,
    unfinished::{Budget, Pace, Progress, Reservation},
};

mod frames;

/// Bytes of a message that belong to its connection and are not reserved.
const FREE: u64 = 8 * 1024;
/// Bytes that are reserved at a time.
const STEP: u64 = PIECE as u64;

/// What a peer did, or what the server lacks, so that nothing more is read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Breach {
    /// The budget of unfinished bytes is used up, and this message was among those of the largest holder (LIMIT-08).
    Evicted,
    /// The message that has begun comes too slowly (LIMIT-09).
    TooSlow,
    /// The message has more fragments than it may have (WS-12).
    Fragments,
    /// Control frames and tiny fragments come faster than they may (WS-12).
    Frames,
    /// The message is larger than messages that begin as it does may be.
    Message,
}

impl Breach {
    /// What made reading fail, if it was this.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }

    /// The code to close the connection with.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Evicted | Self::TooSlow => CloseCode::TryAgainLater,
            Self::Fragments | Self::Message => CloseCode::TooLarge,
            Self::Frames => CloseCode::RateLimited,
        }
    }
}

/// The reason for the close frame.
impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evicted => f.write_str("the server has no room for the rest of this message; send it again later"),
            Self::TooSlow => f.write_str("the message came too slowly; send it again over a faster connection"),
            Self::Fragments => {
                write!(f, "a message has more than {} fragments; send larger ones", limits::MAX_FRAGMENTS)
            }
            Self::Message => f.write_str("the message is larger than messages of its kind may be; send a smaller one"),
            Self::Frames => write!(
                f,
                "more than {} control frames or tiny fragments a second; send fewer",
                limits::FRAMES_PER_SECOND
            ),
        }
    }
}

impl std::error::Error for Breach {}

impl From<Breach> for io::Error {
    fn from(breach: Breach) -> Self {
        Self::other(breach)
    }
}

/// A stream whose frames are followed as they are read.
pub struct Metered<S> {
    stream: S,
    frames: Frames,
    reservation: Reservation,
    pace: Pace,
    progress: Progress,
    /// The message that `progress` is about.
    message: u64,
    /// Fires when the progress has to be looked at.
    timer: Option<Pin<Box<Sleep>>>,
    breach: Option<Breach>,
    origin: Instant,
}

impl<S> Metered<S> {
    /// Follows the frames of a stream, from the first one on. `max_message` is the size, in bytes, from which the reader
    /// behind refuses a frame by its header.
    pub fn new(stream: S, budget: &Budget, holder: Holder, pace: Pace, max_message: usize) -> Self {
        Self {
            stream,
            frames: Frames::new(max_message as u64, Duration::ZERO),
            reservation: budget.reader(holder),
            pace,
            progress: Progress::begin(pace, Duration::ZERO),
            message: 0,
            timer: None,
            breach: None,
            origin: Instant::now(),
        }
    }

    /// Limits messages that begin with these two bytes to so many.
    #[must_use]
    pub fn limit(mut self, text: [u8; 2], most: usize) -> Self {
        self.frames.limit(Opening { text, most: most as u64 });
        self
    }

    /// The stream itself, for what is read behind the last frame.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Gives back what is reserved for a message that the reader has dropped.
    pub fn release(&mut self) {
        self.reservation.clear();
    }

    /// Control frames and tiny fragments that were read since this was last asked: what they cost is work (LIMIT-16).
    pub fn take_small_frames(&mut self) -> u32 {
        self.frames.take_small()
    }

    /// Frames of every kind that were read since this was last asked, for readers to which not every message is a command.
    pub fn take_frames(&mut self) -> u32 {
        self.frames.take_read()
    }

    /// Notes that the reader stops reading for a while: the time does not count for the progress of a message.
    pub fn pause(&mut self) {
        self.progress.pause(self.origin.elapsed());
    }

    /// Notes that the reader reads again.
    pub fn resume(&mut self) {
        if self.progress.is_paused() {
            self.progress.resume(self.origin.elapsed());
        }
    }

    /// Waits until the message that has begun is to be given up, for a caller that does not read for a while. A peer whose
    /// answers it waits for is as slow as one that sends nothing.
    pub fn poll_breach(&mut self, cx: &mut Context<'_>) -> Poll<Breach> {
        if let Some(breach) = self.breach {
            return Poll::Ready(breach);
        }
        if self.frames.unfinished().is_none() {
            return Poll::Pending;
        }
        let breach = match self.reservation.poll_evicted(cx) {
            Poll::Ready(_) => Breach::Evicted,
            Poll::Pending => match self.poll_progress(cx) {
                Ok(()) => return Poll::Pending,
                Err(breach) => breach,
            },
        };
        self.breach(breach);
        Poll::Ready(breach)
    }

    fn breach(&mut self, breach: Breach) -> io::Error {
        self.timer = None;
        self.breach = Some(breach);
        breach.into()
    }

    /// Sees to it that what may be read next is reserved.
    fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Breach>> {
        let Some(unfinished) = self.frames.unfinished() else {
            self.reservation.clear();
            self.timer = None;
            return Poll::Ready(Ok(()));
        };
        if self.reservation.poll_evicted(cx).is_ready() {
            return Poll::Ready(Err(Breach::Evicted));
        }
        let next = u64::try_from(self.frames.most()).unwrap_or(STEP).min(FREE / 2);
        while unfinished + next > FREE + self.reservation.held() {
            match self.reservation.poll_grow(cx, STEP) {
                Poll::Ready(Ok(())) => self.progress.resume(self.origin.elapsed()),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Breach::Evicted)),
                Poll::Pending => {
                    self.progress.pause(self.origin.elapsed());
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Looks at the progress of a message when it is time to.
    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Result<(), Breach> {
        if self.frames.unfinished().is_none() || self.progress.is_paused() {
            return Ok(());
        }
        loop {
            let at = self.origin + self.progress.deadline();
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
            if self.progress.is_too_slow(self.origin.elapsed()) {
                return Err(Breach::TooSlow);
            }
        }
    }

    /// Counts what a read has brought of the message that has begun.
    fn count(&mut self, before: u64) {
        let Some(unfinished) = self.frames.unfinished() else { return };
        if self.message == self.frames.begun() {
            self.progress.add(unfinished.saturating_sub(before));
        } else {
            self.message = self.frames.begun();
            self.progress = Progress::begin(self.pace, self.origin.elapsed());
            self.progress.add(unfinished);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if let Some(breach) = this.breach {
                return Poll::Ready(Err(breach.into()));
            }
            let sent = this.frames.take_out(buffer.initialize_unfilled());
            if sent > 0 {
                buffer.advance(sent);
                return Poll::Ready(Ok(()));
            }
            if let Err(breach) = ready!(this.poll_reserve(cx)) {
                return Poll::Ready(Err(this.breach(breach)));
            }
            let room = buffer.initialize_unfilled();
            let held = this.frames.held_back().len();
            let most = held + this.frames.most().min(FREE as usize / 2);
            let end = room.len().min(most);
            let Some((kept, fresh)) = room.get_mut(..end).and_then(|room| room.split_at_mut_checked(held)) else {
                return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
            };
            let mut fresh = ReadBuf::new(fresh);
            match Pin::new(&mut this.stream).poll_read(cx, &mut fresh) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    return match this.poll_progress(cx) {
                        Ok(()) => Poll::Pending,
                        Err(breach) => Poll::Ready(Err(this.breach(breach))),
                    };
                }
            }
            let read = fresh.filled().len();
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
            kept.copy_from_slice(this.frames.held_back());
            let before = this.frames.unfinished().unwrap_or(0);
            let chunk = room.get_mut(..held + read).unwrap_or_default();
            match this.frames.follow(chunk, this.origin.elapsed()) {
                Ok(go_on) => {
                    this.count(before);
                    if go_on > 0 {
                        buffer.advance(go_on);
                        return Poll::Ready(Ok(()));
                    }
                }
                Err(Flood::Fragments) => return Poll::Ready(Err(this.breach(Breach::Fragments))),
                Err(Flood::Frames) => return Poll::Ready(Err(this.breach(Breach::Frames))),
                Err(Flood::Message) => return Poll::Ready(Err(this.breach(Breach::Message))),
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
