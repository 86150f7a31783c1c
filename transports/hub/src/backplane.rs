//! How the nodes of one realm tell each other what was committed, as a trait. One node alone needs none.
//!
//! The sequencer delivers what the backplane hands it, in the order of numbers, and nothing else. On one node that is
//! what it has just committed. Where several nodes commit to one history, the backplane brings everybody's commits, its
//! own node's among them, in the one order that the history gave them.

use std::sync::Arc;

use async_trait::async_trait;
use eventwire_protocol::Committed;

/// The order in which committed events reach this node.
#[async_trait]
pub trait Backplane: Send + Sync + 'static {
    /// Takes what this node has committed, and gives what is to be delivered now.
    async fn exchange(&self, own: Vec<Arc<Committed>>) -> Vec<Arc<Committed>>;

    /// Waits for what is to be delivered although this node has committed nothing. Must be cancel safe.
    async fn receive(&self) -> Vec<Arc<Committed>>;
}

/// The backplane of a single node: what it commits is what it delivers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SingleNode;

#[async_trait]
impl Backplane for SingleNode {
    async fn exchange(&self, own: Vec<Arc<Committed>>) -> Vec<Arc<Committed>> {
        own
    }

    async fn receive(&self) -> Vec<Arc<Committed>> {
        std::future::pending().await
    }
}
