//! What commands ask of a proxy that visitors do not: to look at what it would store, to store it anew, to drop it.

use std::io;
use std::sync::Arc;

use http::HeaderMap;

use crate::config::{CreateProxyConfig, check};
use crate::error::Error;
use crate::invalidate::RefreshTrigger;
use crate::key::Key;
use crate::proxy::frozen::Directory;
use crate::proxy::http_backend;
use crate::proxy::order::{Address, Ordered};
use crate::proxy::rendition::{Rendition, Sight};
use crate::snapshot::Store;

use super::Proxy;

impl Proxy {
    /// One that stores nothing and has no directory, to look at what the backend renders. It names itself to the
    /// backend as the proxy of `directory` does.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub(crate) fn onlooker(config: &CreateProxyConfig, directory: Option<&str>) -> Result<Self, Error> {
        let (rules, upstream) = (check::rule_book(config)?, http_backend(config)?);
        let identity = upstream.identity();
        let seat = (Directory::Unusable, directory.unwrap_or(&identity));
        Ok(Self::assemble(
            config,
            rules,
            upstream,
            seat,
            RefreshTrigger::new(),
        ))
    }

    /// Has what is stored at a page for who sends these fields rendered and stored anew.
    pub(crate) async fn order_anew(&self, address: &Address, fields: &HeaderMap) -> Ordered {
        Arc::clone(&self.engine).order_anew(address, fields).await
    }

    /// The store of its directory, if this process writes that. May wait for the disk.
    pub(crate) fn store_to_write(&self) -> Option<Arc<Store>> {
        let store = self.engine.store.clone().filter(|_| !self.is_frozen())?;
        (store.may_write() && store.is_still_writable()).then_some(store)
    }

    /// Has `server.json` say this as long as this process writes the directory.
    pub(crate) fn announce(&self, text: String) {
        if let Some(store) = &self.engine.store {
            store.announce(text);
        }
    }

    /// Takes it back.
    pub(crate) fn renounce(&self) {
        if let Some(store) = &self.engine.store {
            store.renounce();
        }
    }

    /// Takes out what is stored under a key. Waits for the disk.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) async fn discard(&self, key: &str) -> io::Result<()> {
        let Some(store) = self.engine.store.clone() else {
            return Ok(());
        };
        let key = Key::from_text(key);
        let discarded = tokio::task::spawn_blocking(move || store.discard(&key)).await;
        discarded.map_err(io::Error::other)?.map(drop)
    }

    /// What a fill would bring, and what it would become; of a proxy that stores nothing.
    pub(crate) async fn render(&self, address: &Address, sight: Sight) -> Rendition {
        Arc::clone(&self.engine).render(address, sight).await
    }
}
