//! The socket that carries a request or a connection, as the server that accepted it sees it (LIMIT-05, LIMIT-06).
//!
//! A server counts sockets before it knows whose they are. It wraps the work of each request in [`carried`]; the hub then
//! reports to the socket when credentials were accepted or refused, and which connection lives on it. Work that is spawned
//! for a request stays with its socket through [`inherit`]. Without a carrier, nothing is reported.

use std::{net::IpAddr, sync::Arc};

use eventwire_protocol::{ConnectionId, ErrorBody};

use crate::holder::Holder;

/// One socket of a server.
pub trait Carrier: Send + Sync + 'static {
    /// A request was let in as the work of this holder: the place of the socket counts for it from now on.
    ///
    /// # Errors
    /// `unavailable` when the holder has its share of the places.
    fn accepted(&self, holder: &Holder) -> Result<(), ErrorBody>;

    /// Wrong credentials were shown.
    fn refused(&self);

    /// A trusted proxy forwards the request of this client: a place without credentials counts for it.
    fn forwarded(&self, client: IpAddr);

    /// A connection of the hub lives on the socket.
    fn carries(&self, connection: ConnectionId);
}

tokio::task_local! {
    static CARRIER: Arc<dyn Carrier>;
}

/// Does work for a request or a connection that came over a socket.
pub async fn carried<F: Future>(carrier: Arc<dyn Carrier>, work: F) -> F::Output {
    CARRIER.scope(carrier, work).await
}

/// Work for a new task that belongs to the socket of the present one.
pub fn inherit<F: Future>(work: F) -> impl Future<Output = F::Output> + use<F> {
    let carrier = current();
    async move {
        match carrier {
            Some(carrier) => carried(carrier, work).await,
            None => work.await,
        }
    }
}

/// The socket of the present work, if a server has named one.
pub fn current() -> Option<Arc<dyn Carrier>> {
    CARRIER.try_with(Arc::clone).ok()
}
