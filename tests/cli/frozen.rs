//! `serve --frozen`, over the snapshots of the demo as they are committed.

use super::*;
use std::path::Path;

/// The sidecars below a folder, as text.
fn sidecars(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        match path.extension() {
            _ if path.is_dir() => sidecars(&path, found),
            Some(extension) if extension == "toml" => found.push(std::fs::read_to_string(path).unwrap()),
            _ => {}
        }
    }
}

#[test]
fn a_committed_directory_is_served_without_a_backend() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots/demo");
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    backend.set_nonblocking(true).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut process = command(&backend, &dir)
        .args(["--frozen", "--log-format=json", "--snapshots"])
        .arg(&committed)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap());
    let serving = event(&mut log, "serving");
    let address = |name: &str| serving[name].as_str().unwrap().replace("http://", "");
    assert_eq!(
        (&serving["backend"], &serving["snapshots"]),
        (&().into(), &().into())
    );

    let ready = ask(&address("control"), GET.replace("GET /", "GET /readyz"));
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    let mut texts = Vec::new();
    sidecars(&committed, &mut texts);
    let mut count = 0;
    for text in texts {
        let sidecar: toml::Table = text.parse().unwrap();
        let (Some(url), Some(status)) = (sidecar.get("url"), sidecar.get("status")) else {
            continue;
        };
        let answer = ask(
            &address("address"),
            GET.replace("GET /", &format!("GET {}", url.as_str().unwrap())),
        );
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{url}: {answer}"
        );
        count += 1;
    }
    assert!(count > 10, "{count} pages");
    // Nobody reads what is logged of the refusals.
    drop(log);
    let refresh =
        "POST /refresh-cache HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    for target in [
        "/refresh-cache",
        "/refresh-cache?mode=render",
        "/refresh-cache?mode=stale",
    ] {
        let refused = ask(&address("control"), refresh.replace("/refresh-cache", target));
        assert!(refused.starts_with("HTTP/1.1 409"), "{target}: {refused}");
        assert!(refused.contains("frozen"), "{target}: {refused}");
    }
    assert!(backend.accept().is_err(), "nobody asked the backend");
    assert!(!committed.join(".phantom").exists());
    process.kill().unwrap();
    process.wait().unwrap();
}
