//! What holds for any input: one function for each parser that strangers, or files from anywhere, can
//! reach. It takes bytes and panics where something does not hold.
//!
//! The fuzz targets (`fuzz/`) call them, and so do property tests and a replay of the saved inputs in
//! `cargo test`: each property is written once. Not part of the API.

mod files;
mod key;
#[cfg(test)]
mod properties;
mod range;
mod text;

pub use files::{config, sidecar};
pub use key::target;
pub use range::range;
pub use text::{cache_control, pattern};

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Adds `name: value` if that can be a field.
fn add_field(headers: &mut HeaderMap, line: &[u8]) {
    let Some(at) = line.iter().position(|byte| *byte == b':') else {
        return;
    };
    let (name, value) = line.split_at(at);
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
        // More fields than a map holds are not the question here.
        let _ = headers.try_append(name, value);
    }
}
