//! One stream, with the queue of what goes out on it.
//!
//! Where the stream can write several pieces in one call, a batch is one call and nothing is copied; where it cannot, the
//! pieces are gathered, so that a header never travels alone. tungstenite takes this for the stream it reads from and
//! writes its control frames to.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use eventwire_hub::OutFrame;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::queue::Queue;

/// Bytes gathered for one write on a stream that takes a single piece.
const GATHERED_BYTES: usize = 64 * 1024;
/// Waiting control frames, in bytes, above which nothing is read that could call for further ones.
const MOST_CONTROL_BYTES: usize = 1024;

/// A stream and what is on its way out.
pub(crate) struct Wire<S> {
    io: S,
    queue: Queue,
    unflushed: bool,
    /// When something began to wait, or the stream last accepted anything.
    progress: Instant,
}

impl<S> Wire<S> {
    pub(crate) fn new(io: S) -> Self {
        Self { io, queue: Queue::default(), unflushed: false, progress: Instant::now() }
    }

    /// Takes a batch. The one before must have been written.
    pub(crate) fn push_batch(&mut self, frames: Vec<OutFrame>) {
        self.begin_waiting();
        self.queue.push_batch(frames);
    }

    /// Leaves out every message that has not begun.
    pub(crate) fn discard_messages(&mut self) {
        self.queue.discard_messages();
    }

    /// Whether everything has reached the stream.
    pub(crate) fn is_drained(&self) -> bool {
        self.queue.is_empty() && !self.unflushed
    }

    /// Whether so many control frames wait that reading has to wait, too: whoever asks for answers and does not take them
    /// gets no further ones.
    pub(crate) fn owes_control(&self) -> bool {
        self.queue.control_bytes() > MOST_CONTROL_BYTES
    }

    /// Since when the stream has accepted nothing of what waits.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        (!self.is_drained()).then_some(self.progress)
    }

    /// The stream itself, for the time behind the last frame.
    pub(crate) fn io_mut(&mut self) -> &mut S {
        &mut self.io
    }

    fn begin_waiting(&mut self) {
        if self.is_drained() {
            self.progress = Instant::now();
        }
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Writes some of what waits. Ready means that the stream accepted something, or has everything.
    pub(crate) fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.queue.is_empty() {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
            return Poll::Ready(Ok(()));
        }
        let Self { io, queue, .. } = self;
        let bytes = ready!(queue.with_pieces(|pieces| poll_write_pieces(Pin::new(io), cx, pieces)))?;
        if bytes == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.queue.advance(bytes);
        self.progress = Instant::now();
        self.unflushed = true;
        if self.queue.is_empty()
            && let Poll::Ready(flushed) = Pin::new(&mut self.io).poll_flush(cx)
        {
            flushed?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

fn poll_write_pieces<S: AsyncWrite>(
    io: Pin<&mut S>,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if io.is_write_vectored() {
        return io.poll_write_vectored(cx, pieces);
    }
    let all: usize = pieces.iter().map(|piece| piece.len()).sum();
    let mut gathered = Vec::with_capacity(all.min(GATHERED_BYTES));
    for piece in pieces {
        let room = GATHERED_BYTES - gathered.len();
        gathered.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }
    io.poll_write(cx, &gathered)
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

/// What tungstenite writes, which are whole control frames. It is never told to wait: see [`Wire::owes_control`].
impl<S: Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, frames: &[u8]) -> Poll<io::Result<usize>> {
        self.begin_waiting();
        self.queue.push_control(frames);
        Poll::Ready(Ok(frames.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
