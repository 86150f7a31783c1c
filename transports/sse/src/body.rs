//! The body of the response, which the HTTP server asks for as fast as the socket takes it.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Frame;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

/// A stream of events as a response body. Dropping it disconnects the client.
#[derive(Debug)]
pub struct SseBody {
    pieces: VecDeque<Bytes>,
    batches: mpsc::Receiver<Vec<Bytes>>,
    demand: Arc<Demand>,
    /// A batch was asked for and has not come yet.
    asked: bool,
}

/// What the socket's side tells the feed: that it wants more, and when it last took something.
#[derive(Debug)]
pub(crate) struct Demand {
    pub(crate) wanted: Notify,
    took: Mutex<Instant>,
}

impl Demand {
    /// When the socket last took something.
    pub(crate) fn took(&self) -> Instant {
        *self.took.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn takes(&self) {
        *self.took.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// A body, and the feed's end of it.
pub(crate) fn pair() -> (SseBody, mpsc::Sender<Vec<Bytes>>, Arc<Demand>) {
    let (sender, batches) = mpsc::channel(1);
    let demand = Arc::new(Demand { wanted: Notify::new(), took: Mutex::new(Instant::now()) });
    (SseBody { pieces: VecDeque::new(), batches, demand: demand.clone(), asked: false }, sender, demand)
}

impl SseBody {
    /// A body that is there already and ends.
    pub(crate) fn only(piece: Bytes) -> Self {
        let (mut body, ..) = pair();
        body.pieces.push_back(piece);
        body
    }
}

impl http_body::Body for SseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                self.demand.takes();
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            match self.batches.poll_recv(cx) {
                Poll::Ready(Some(batch)) => {
                    self.asked = false;
                    self.pieces = batch.into();
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    if !std::mem::replace(&mut self.asked, true) {
                        self.demand.takes();
                        self.demand.wanted.notify_one();
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}
