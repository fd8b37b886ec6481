//! Commands that write, beside a server: the server does it in their place.
//!
//! `server.json` in the directory names the control server of the process that writes it (`Place`); `Remote` is the
//! command's end, `Served` the server's. Both speak in lines of JSON (`words`). A command that finds nobody there is
//! as it would be without: the lock decides.

mod place;
mod remote;
mod served;
mod words;

pub use remote::Remote;
pub use served::{Announced, Served};
