//! The adapters, put together.

use std::path::Path;
use std::sync::Arc;

use eventwire_hub::Hub;
use eventwire_protocol::error::ErrorCode;
use futures_util::FutureExt as _;

use crate::answer;
use crate::front::Routes;

pub(crate) fn all(_hub: &Hub, _agents: Option<&Path>) -> Routes {
    Arc::new(|_, _| async { answer::refusal(ErrorCode::NotFound, "nothing yet") }.boxed())
}
