//! Closing a transport from our side, so that its client comes back by itself.
//!
//! The library can leave a namespace, after which a client stays away, but cannot close one transport. So the stream of a
//! WebSocket is wrapped in one that can be cut, and a polling session is closed with the packet that its own client would
//! send. Cutting also ends a write that the peer does not take, which the library would wait for without end.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
};

use crate::sessions::Session;

/// Cuts the streams of one transport session. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Cut(Arc<watch::Sender<bool>>);

impl Cut {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub(crate) fn cut(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn is_cut(&self) -> bool {
        *self.0.borrow()
    }

    fn done(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut receiver = self.0.subscribe();
        Box::pin(async move {
            if receiver.wait_for(|cut| *cut).await.is_err() {
                // Nobody is left who could cut it.
                std::future::pending::<()>().await;
            }
        })
    }
}

/// A stream that ends when it is cut, or when its session sends too much before it is connected (SIO-22).
pub(crate) struct AbortableStream<S> {
    stream: S,
    /// Reading and writing are done by two tasks, and each has to be woken.
    reading: Pin<Box<dyn Future<Output = ()> + Send>>,
    writing: Pin<Box<dyn Future<Output = ()> + Send>>,
    session: Arc<Session>,
    /// Runs when the stream is given up.
    last: Option<Box<dyn FnOnce() + Send>>,
}

impl<S> AbortableStream<S> {
    pub(crate) fn new(stream: S, session: &Arc<Session>, last: impl FnOnce() + Send + 'static) -> Self {
        let (reading, writing) = (session.cut.done(), session.cut.done());
        Self { stream, reading, writing, session: session.clone(), last: Some(Box::new(last)) }
    }

    fn ended_for_writing(&mut self, context: &mut Context<'_>) -> bool {
        self.session.cut.is_cut() || self.writing.as_mut().poll(context).is_ready()
    }
}

impl<S> Drop for AbortableStream<S> {
    fn drop(&mut self) {
        if let Some(last) = self.last.take() {
            last();
        }
    }
}

fn was_cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "closed by the server")
}

impl<S: AsyncRead + Unpin> AsyncRead for AbortableStream<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.session.cut.is_cut() || this.reading.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(was_cut()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buf))?;
        if this.session.counts(buf.filled().len().saturating_sub(before)) {
            return Poll::Ready(Ok(()));
        }
        this.session.cut.cut();
        Poll::Ready(Err(was_cut()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for AbortableStream<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.ended_for_writing(context) {
            return Poll::Ready(Err(was_cut()));
        }
        let written = ready!(Pin::new(&mut this.stream).poll_write(context, bytes))?;
        this.session.unsent.take(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ended_for_writing(context) {
            return Poll::Ready(Err(was_cut()));
        }
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use eventwire_hub::Holder;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::sessions::Sessions;

    #[tokio::test]
    async fn a_cut_ends_a_read_and_a_write_that_wait() {
        let (session, _) = Sessions::new(1 << 20).open(Holder::of_peer(None), 0).unwrap();
        let cut = session.cut.clone();
        let (_peer, stream) = tokio::io::duplex(8);
        let (over, ended) = tokio::sync::oneshot::channel();
        let (mut read, mut write) = tokio::io::split(AbortableStream::new(stream, &session, move || {
            let _ = over.send(());
        }));
        let reading = tokio::spawn(async move { read.read_u8().await });
        let writing = tokio::spawn(async move { write.write_all(&[0; 64]).await });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!reading.is_finished() && !writing.is_finished());
        cut.cut();
        assert!(reading.await.unwrap().is_err());
        assert!(writing.await.unwrap().is_err());
        ended.await.unwrap();
    }
}
