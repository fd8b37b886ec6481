//! The proxy's behaviour, from the outside: a scripted backend, a proxy over a temporary directory
//! and a raw client. A file per behaviour, a test per sentence.

mod cache_status;
mod faults;
mod foreign;
mod forward;
mod hit;
mod identity;
mod invalidate;
mod key;
mod library;
mod miss;
mod negative;
mod once;
mod quiet;
mod read_only;
mod restart;
mod revalidate;

mod rig;
mod single_flight;
mod storable;
#[cfg(feature = "tls")]
mod tls;
mod upgrade;
mod vary;
