//! What commands do with the directory, while a server has it and after it.

mod kept;
mod listing;
mod removal;
mod upkeep;
mod verify;

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

use phantom_frame::artefact::{Finding, Row};

use crate::rig::{Answer, Backend, Proxy, Setup, TestClock, eventually, get};

/// A site whose pages say where they are.
async fn site() -> (Backend, Proxy) {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(format!("page {}", request.target)));
    let proxy = Setup::over(&backend).clock(TestClock::ticking()).start().await;
    proxy.until_ready().await;
    (backend, proxy)
}

async fn rows(proxy: &Proxy, pattern: Option<&'static str>) -> Vec<Row> {
    let list = move |artefact: phantom_frame::artefact::Artefact| {
        let mut rows = Vec::new();
        let unread = artefact.list(pattern, &mut |row| rows.push(row));
        assert_eq!(unread.expect("a pattern"), Vec::<String>::new());
        rows
    };
    proxy.artefact(list).await
}

/// Kind and path of what `verify` finds.
async fn findings(proxy: &Proxy) -> Vec<(String, String)> {
    let verify = |artefact: phantom_frame::artefact::Artefact| {
        let mut found = Vec::new();
        let verified = artefact.verify(&mut |finding| found.push(short(&finding)));
        assert_eq!(verified.findings, found.len() as u64);
        assert_eq!(verified.left, verified.findings, "nothing is put right");
        found.sort();
        found
    };
    proxy.artefact(verify).await
}

fn short(finding: &Finding) -> (String, String) {
    (finding.kind.as_str().to_owned(), finding.path.clone())
}

/// The path below the directory.
fn below(proxy: &Proxy, path: &Path) -> String {
    let path = path.strip_prefix(proxy.dir()).expect("below the directory");
    path.display().to_string()
}

/// A page in two languages, and its folder.
async fn two_languages() -> (Proxy, PathBuf) {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        Answer::page(format!("in {language}")).with("Vary", "Accept-Language")
    });
    let mut proxy = Setup::over(&backend).clock(TestClock::ticking()).start().await;
    for language in ["de", "fr"] {
        eventually("it to be stored", async || {
            let ask = get("/page").with("Accept-Language", language);
            proxy.send(ask).await.cache().hit.then_some(())
        })
        .await;
    }
    proxy.stop().await;
    let folder = proxy.dir().join("site.test");
    (proxy, folder)
}

/// What is in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let name = |entry: io::Result<DirEntry>| {
        let name = entry.expect("an entry").file_name();
        name.to_string_lossy().into_owned()
    };
    let mut names: Vec<_> = fs::read_dir(folder).expect("a folder").map(name).collect();
    names.sort();
    names
}

fn assert_aside(proxy: &Proxy, text: &str) {
    let kept = proxy.files_with(text);
    assert_eq!(kept.len(), 1, "{text}: {kept:?}");
    assert!(kept[0].contains(".phantom/displaced/"), "{kept:?}");
}
