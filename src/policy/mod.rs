//! What may be looked up, stored and used again: RFC 9110 and RFC 9111 as pure functions, and the rule
//! that a stored page is **rendered for nobody**.
//!
//! A shared cache that forwards the first visitor's fields on a fill hands every later visitor what that
//! one sent: a cookie, a forged host, an odd header that the backend echoes. So a fill here carries
//! nothing of the visitor but what the key holds (`fill`), somebody who may be somebody is never looked
//! up (`identity`), and what comes back is kept only if neither its head (`store`, `redirect`) nor its markup
//! (`markup`) says otherwise. Whether a kept
//! answer may be used is `reuse`, on `freshness`, and on `client` where clients are believed; which of several, `vary`; what the backend is asked
//! about an old one, `validate`. Where there is no backend, `frozen` decides in the place of `request`.
//!
//! Nothing here awaits, reads a clock or a file: time is passed in, and every answer is a closed enum
//! with its reason.

pub(crate) mod accept;
pub(crate) mod assets;
pub(crate) mod cache_control;
pub(crate) mod client;
pub(crate) mod coding;
pub(crate) mod credentials;
pub(crate) mod fill;
pub(crate) mod filter;
pub(crate) mod forward;
pub(crate) mod freshness;
pub(crate) mod frozen;
pub(crate) mod identity;
pub(crate) mod last_good;
pub(crate) mod markup;
#[cfg(test)]
mod properties;
pub(crate) mod redirect;
pub(crate) mod reduce;
pub(crate) mod request;
pub(crate) mod reuse;
pub(crate) mod shape;
pub(crate) mod store;
pub(crate) mod validate;
pub(crate) mod vary;
