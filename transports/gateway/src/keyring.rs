//! API keys that are exchanged while they are in use (AUTH-20).

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use eventwire_hub::{ApiKeys, Authenticator, Credentials, Principal, SupersededKey, Thumbprint};
use eventwire_protocol::error::ErrorBody;

/// The API keys that are accepted now. A request is judged by one set as a whole.
#[derive(Debug, Default)]
pub struct Keyring(RwLock<Arc<ApiKeys>>);

impl Keyring {
    /// Accepts these keys.
    pub fn new(keys: ApiKeys) -> Self {
        Self(RwLock::new(Arc::new(keys)))
    }

    /// Accepts these keys from now on. Returns what of the older ones no longer holds as it was; what they vouch for ends with
    /// [`Hub::supersede_key`](eventwire_hub::Hub::supersede_key).
    pub fn replace(&self, keys: ApiKeys) -> Vec<SupersededKey> {
        let keys = Arc::new(keys);
        let older = std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), Arc::clone(&keys));
        older.superseded_by(&keys)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.current().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.current().is_empty()
    }

    fn current(&self) -> Arc<ApiKeys> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Authenticator for Keyring {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Principal, ErrorBody> {
        self.current().authenticate(credentials).await
    }

    fn authenticates(&self) -> bool {
        true
    }

    fn is_permanent(&self, id: &str) -> bool {
        self.current().is_permanent(id)
    }

    fn accepts_key(&self, key: &Thumbprint) -> bool {
        self.current().accepts_key(key)
    }
}
