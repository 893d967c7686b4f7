//! What a call of Dapr's lock API means, whichever transport it came by.

use std::collections::HashMap;
use std::sync::Arc;

use leasehold_proto::v1::acquire_response::Result as Acquired;
use leasehold_proto::{dapr, v1};

use super::DaprOptions;
use super::caller::{Caller, find_token};
use super::error::{DaprError, Failure, shown};
use super::options::{DaprStore, KeyPrefix, SEPARATOR};
use crate::CallError;
use crate::calls::{CallTime, Calls, CancelGuard, Unlocked};

/// What all lock names of the door begin with.
const LOCK: &str = "lock";
/// Type of our stores, as metadata tells it.
const COMPONENT_TYPE: &str = "lock.leasehold";
/// Their version.
const COMPONENT_VERSION: &str = "v1";
const MS_PER_SECOND: u64 = 1_000;

/// Dapr's locks on one node.
pub(crate) struct Locks {
    options: DaprOptions,
    calls: Arc<Calls>,
    node_id: u64,
}

/// The answer to a `TryLock` that is not handed out yet: until then dropping it gives up what was taken.
pub(crate) struct TryLocked {
    success: bool,
    guard: Option<CancelGuard>,
}

impl TryLocked {
    /// What it will say.
    pub(crate) fn success(&self) -> bool {
        self.success
    }

    /// From here on the expiry, or an unlock, ends what was taken.
    pub(crate) fn hand_out(self) -> bool {
        if let Some(guard) = self.guard {
            guard.disarm();
        }
        self.success
    }
}

impl Locks {
    pub(crate) fn new(calls: Arc<Calls>, node_id: u64) -> Arc<Self> {
        let options = calls.options().dapr.clone();
        Arc::new(Self { options, calls, node_id })
    }

    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Whether a caller with this token may call at all; if so, the application that the token is of.
    pub(super) fn authenticate(&self, brought: Option<&[u8]>) -> Option<Option<String>> {
        if self.options.tokens.is_empty() {
            return Some(None);
        }
        find_token(&self.options.tokens, brought.unwrap_or_default()).map(|token| token.app_id.clone())
    }

    /// Takes a lock, if nobody holds it.
    pub(super) async fn try_lock(
        &self,
        caller: &Caller,
        request: dapr::TryLockRequest,
        time: CallTime,
    ) -> Result<TryLocked, DaprError> {
        let dapr::TryLockRequest { store_name, resource_id, lock_owner, expiry_in_seconds } = request;
        let expiry = u64::try_from(expiry_in_seconds).ok().filter(|seconds| *seconds > 0);
        let expiry = expiry.ok_or_else(|| DaprError::ExpiryNotPositive { store: shown(&store_name) })?;
        let store = self.store(&store_name, &resource_id, &lock_owner)?;
        let app = caller.app_id(store).map_err(DaprError::TryLock)?;
        let name = lock_name(store, app.as_deref(), &resource_id).map_err(DaprError::TryLock)?;
        let message = v1::AcquireRequest {
            namespace: store.namespace.clone(),
            locks: vec![v1::LockRequest { name, ..Default::default() }],
            owner: lock_owner,
            ttl_ms: expiry * MS_PER_SECOND,
            metadata: self.description(caller, store, app.as_deref()),
            ..Default::default()
        };
        let failed = |error| DaprError::TryLock(Failure::Call(error));
        let (response, guard) = self.calls.acquire(message, time).await.map_err(failed)?.into_parts();
        match response.result {
            Some(Acquired::Granted(_)) => Ok(TryLocked { success: true, guard }),
            Some(Acquired::Held(_)) => Ok(TryLocked { success: false, guard }),
            // Ends of waits and of older requests; this one is a try under an id of its own.
            _ => Err(failed(CallError::ForeignOutcome { command: "Acquire" })),
        }
    }

    /// Releases a lock, if this owner holds it.
    pub(super) async fn unlock(
        &self,
        caller: &Caller,
        request: dapr::UnlockRequest,
        time: CallTime,
    ) -> Result<Unlocked, DaprError> {
        let dapr::UnlockRequest { store_name, resource_id, lock_owner } = request;
        let store = self.store(&store_name, &resource_id, &lock_owner)?;
        let app = caller.app_id(store).map_err(DaprError::Unlock)?;
        let name = lock_name(store, app.as_deref(), &resource_id).map_err(DaprError::Unlock)?;
        let limits = self.calls.limits(&store.namespace);
        if lock_owner.len() > limits.owner_bytes_max as usize {
            let (long, max) = (lock_owner.len(), limits.owner_bytes_max);
            let problem = format!("is {long} bytes long, at most {max} are allowed");
            return Err(DaprError::Unlock(Failure::Field { field: "lock_owner", problem }));
        }
        let unlocked = self.calls.unlock_by_owner(&store.namespace, &name, &lock_owner, time).await;
        unlocked.map_err(|error| DaprError::Unlock(Failure::Call(error)))
    }

    /// What is configured here, as this caller sees it.
    pub(super) fn metadata(&self, caller: &Caller) -> dapr::GetMetadataResponse {
        let component = |store: &DaprStore| dapr::RegisteredComponents {
            name: store.name.clone(),
            r#type: COMPONENT_TYPE.into(),
            version: COMPONENT_VERSION.into(),
            capabilities: Vec::new(),
        };
        let of_store = || self.options.stores.first().and_then(|store| caller.app_id(store).ok().flatten());
        let id = of_store().or_else(|| caller.said_app().ok().flatten()).unwrap_or_else(|| "leasehold".into());
        dapr::GetMetadataResponse {
            id,
            registered_components: self.options.stores.iter().map(component).collect(),
            extended_metadata: HashMap::from([("leaseholdNodeId".into(), self.node_id.to_string())]),
            runtime_version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    /// The store of a request, after the looks that come before it.
    fn store(&self, name: &str, resource: &str, owner: &str) -> Result<&DaprStore, DaprError> {
        if self.options.stores.is_empty() {
            return Err(DaprError::NotConfigured);
        }
        if resource.is_empty() {
            return Err(DaprError::ResourceEmpty { store: shown(name) });
        }
        if owner.is_empty() {
            return Err(DaprError::OwnerEmpty { store: shown(name) });
        }
        let store = self.options.stores.iter().find(|store| store.name == name);
        store.ok_or_else(|| DaprError::StoreNotFound { store: shown(name) })
    }

    /// What others see with a grant: the way that its holder came.
    fn description(&self, caller: &Caller, store: &DaprStore, app: Option<&str>) -> String {
        let mut text = format!("{} store={}", caller.door.name(), store.name);
        if let Some(app) = app {
            text += &format!(" app={app}");
        }
        if let Some(peer) = caller.peer {
            text += &format!(" {peer}");
        }
        let max = self.calls.limits(&store.namespace).metadata_bytes_max as usize;
        while text.len() > max {
            text.pop();
        }
        text
    }
}

/// The lock that a resource of a store stands for.
pub(super) fn lock_name(store: &DaprStore, app: Option<&str>, resource: &str) -> Result<String, Failure> {
    if resource.contains(SEPARATOR) {
        return Err(Failure::Separator);
    }
    let prefix = match &store.key_prefix {
        KeyPrefix::AppId => app.ok_or(Failure::NoAppId { from: store.app_id_from })?,
        KeyPrefix::Name => &store.name,
        KeyPrefix::Text(text) => text,
        KeyPrefix::None => return Ok(format!("{LOCK}{SEPARATOR}{resource}")),
    };
    Ok(format!("{LOCK}{SEPARATOR}{prefix}{SEPARATOR}{resource}"))
}

#[cfg(test)]
mod tests {
    use super::super::AppIdFrom;
    use super::*;

    #[test]
    fn the_prefix_is_the_stores_choice() {
        let mut store = DaprStore::open_to_all("locks");
        let name = |store: &DaprStore, app| lock_name(store, app, "r1");
        assert_eq!(name(&store, Some("orders")), Ok("lock||orders||r1".into()));
        assert_eq!(name(&store, None), Err(Failure::NoAppId { from: AppIdFrom::Header }));
        store.key_prefix = KeyPrefix::Name;
        assert_eq!(name(&store, None), Ok("lock||locks||r1".into()));
        store.key_prefix = KeyPrefix::None;
        assert_eq!(name(&store, None), Ok("lock||r1".into()));
        store.key_prefix = KeyPrefix::from("shared".to_owned());
        assert_eq!(name(&store, None), Ok("lock||shared||r1".into()));
        assert_eq!(lock_name(&store, None, "a||b"), Err(Failure::Separator));
    }
}
