//! Reading of a WebSocket, which pauses while enough of its session waits to be looked at, and while its peer has its share of
//! work (LIMIT-16).
//!
//! The library hands over every event as soon as it has read it. So what a client has to wait for its share of work must wait
//! before the library, in the network. Packets of the transport itself never get further than the library, so every frame is
//! charged here, to the peer.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use eventwire_hub::{Intake, metered::Metered};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::sessions::Session;

/// A stream that is read while its session has room for events.
pub(crate) struct Gated<S> {
    stream: Metered<S>,
    session: Arc<Session>,
    intake: Intake,
    /// Ready once there is room again.
    room: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<S> Gated<S> {
    pub(crate) fn new(stream: Metered<S>, session: Arc<Session>, intake: Intake) -> Self {
        Self { stream, session, intake, room: None }
    }

    /// Whether more may be read.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.poll_room(context).is_pending() {
            self.intake.rest();
            return Poll::Pending;
        }
        self.intake.poll_open(context)
    }

    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.room.is_none() && !self.session.is_crowded() {
            return Poll::Ready(());
        }
        let room = self.room.get_or_insert_with(|| self.session.room());
        ready!(room.as_mut().poll(context));
        self.room = None;
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gated<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.poll_open(context).is_pending() {
            // A message that has begun is still given up where others need its room.
            self.stream.pause();
            return self.stream.poll_breach(context).map(|breach| Err(breach.into()));
        }
        self.stream.resume();
        let read = Pin::new(&mut self.stream).poll_read(context, buf);
        let frames = self.stream.take_frames();
        self.intake.charge_frames(frames);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gated<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
