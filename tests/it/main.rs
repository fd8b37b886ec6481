//! The proxy's behaviour, from the outside: a scripted backend, a proxy over a temporary directory
//! and a raw client. A file per behaviour, a test per sentence.

mod answers;
mod bodies;
mod bounds;
mod cache_status;
mod canonical;
mod clock;
mod downgrade;
mod every_fault;
mod faults;
mod floods;
mod foreign;
mod forward;
mod frameworks;
mod hit;
mod hostile;
mod identity;
mod invalidate;
mod key;
mod kinds;
mod leaks;
mod library;
mod limits;
mod lines;
mod miss;
mod negative;
mod once;
mod overtaken;
mod poison;
mod quiet;
mod read_only;
mod restart;
mod revalidate;
mod rig;
mod single_flight;
mod smuggling;
mod storable;
#[cfg(feature = "tls")]
mod tls;
mod transparent;
mod under_attack;
mod upgrade;
mod vary;
