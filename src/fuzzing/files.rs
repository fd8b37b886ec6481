//! Files that may have come from anywhere: sidecars and the configuration.

use crate::config::ConfigError;
use crate::config::{Loaded, PathRule};
use crate::snapshot::sidecar;

/// Any bytes as a sidecar: what can be read is written as a text that says the same.
pub fn sidecar(data: &[u8]) {
    let Ok(read) = sidecar::from_bytes(data) else {
        return;
    };
    let text = sidecar::to_text(&read);
    let again = sidecar::from_bytes(text.as_bytes()).expect("what we write can be read");
    assert_eq!(again, read, "{text}");
    assert_eq!(sidecar::to_text(&again), text);
    if let Some(rendering) = &read.rendering {
        let fields = rendering.head.headers.iter();
        for (name, value) in fields {
            let bytes = value.as_bytes();
            assert!(
                !bytes.contains(&b'\r') && !bytes.contains(&b'\n'),
                "{name} splits"
            );
        }
        if let Some(body) = &rendering.body {
            assert!(!body.file.contains('/') && !body.file.starts_with('.'));
        }
    }
}

/// Any text as a configuration file: an error says where, and what can be used is printed as a file
/// that says the same. Files that it names are not read.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let loaded = match Loaded::from_text(text) {
        Ok(loaded) => loaded,
        Err(error) => return check_place(&error, text),
    };
    let printed = loaded.print();
    let mut settings = loaded.settings().clone();
    let mut again = match Loaded::from_text(&printed) {
        Ok(again) => again.settings().clone(),
        // A token may be what makes them usable, and is not printed.
        Err(_) if settings.control_auth.is_some() => return,
        Err(error) => panic!("what is printed cannot be used: {error}\n{printed}"),
    };
    again.control_auth.clone_from(&settings.control_auth);
    again.proxy.debug_token.clone_from(&settings.proxy.debug_token);
    let rules = std::mem::take(&mut settings.rules);
    let printed_rules = std::mem::take(&mut again.rules);
    let plain = |rules: &[PathRule]| rules.iter().map(PathRule::plain).collect::<Vec<_>>();
    assert_eq!(plain(&printed_rules), plain(&rules), "{printed}");
    assert_eq!(again, settings, "{printed}");
}

fn check_place(error: &ConfigError, text: &str) {
    let Some(place) = error.place() else {
        // Two settings that do not go together, one of them by default.
        assert!(error.message().contains("has its default value"), "{error}");
        return;
    };
    assert!(place.text().get(place.span()).is_some(), "{error}");
    assert_eq!(place.text().len(), text.len(), "{error}");
    assert!(place.line() >= 1 && place.column() >= 1, "{error}");
}
