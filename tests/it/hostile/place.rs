//! Links, pipes, sockets, devices and folders where a file of ours belongs, and links where a folder does.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::rig::log;
use crate::rig::{Answer, Backend, Proxy, Setup, eventually, remove_all, within};

async fn site() -> Backend {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(format!("page {}", request.target)));
    backend
}

/// What somebody puts in a file's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    LinkToSecret,
    LinkToFolder,
    LinkToNothing,
    LinkToItself,
    Pipe,
    Socket,
    Folder,
    Device,
}

const THINGS: [Thing; 8] = [
    Thing::LinkToSecret,
    Thing::LinkToFolder,
    Thing::LinkToNothing,
    Thing::LinkToItself,
    Thing::Pipe,
    Thing::Socket,
    Thing::Folder,
    Thing::Device,
];

/// What is outside of the snapshot directory and nobody's business.
struct Outside(TempDir);

const SECRET: &str = "a secret of the machine's";

impl Outside {
    fn new() -> Self {
        let dir = TempDir::with_prefix("phantom-frame-outside-").unwrap();
        fs::write(dir.path().join("secret"), SECRET).unwrap();
        fs::create_dir(dir.path().join("folder")).unwrap();
        fs::write(dir.path().join("folder/kept"), SECRET).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        contents(self.0.path())
    }

    /// And little was said of it.
    fn assert_untouched(&self, before: &BTreeMap<PathBuf, Vec<u8>>, proxy: &Proxy, what: &str) {
        assert!(
            self.contents() == *before,
            "{what}: something outside was touched"
        );
        let dir = proxy.dir();
        let said = log::trouble(|line| line.contains(dir.to_str().unwrap()));
        assert!(said.len() <= 4, "{what}: {said:#?}");
    }

    /// Puts `thing` where `place` is; false if this machine does not let us.
    async fn put(&self, thing: Thing, place: &Path) -> bool {
        remove_all(place).await;
        match thing {
            Thing::LinkToSecret => symlink(self.path("secret"), place).unwrap(),
            Thing::LinkToFolder => symlink(self.path("folder"), place).unwrap(),
            Thing::LinkToNothing => symlink(self.path("nothing"), place).unwrap(),
            Thing::LinkToItself => symlink(place, place).unwrap(),
            Thing::Pipe => assert!(Command::new("mkfifo").arg(place).status().unwrap().success()),
            // Too long a path is not ours to mend.
            Thing::Socket => return UnixListener::bind(place).is_ok(),
            Thing::Folder => {
                fs::create_dir(place).unwrap();
                fs::write(place.join("in it"), SECRET).unwrap();
            }
            Thing::Device => {
                let made = Command::new("mknod")
                    .arg(place)
                    .args(["c", "1", "5"])
                    .output()
                    .unwrap();
                return made.status.success()
                    && fs::metadata(place).is_ok_and(|made| made.file_type().is_char_device());
            }
        }
        true
    }
}

fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        match entry.path().is_dir() {
            true => {
                found.insert(entry.path(), Vec::new());
                found.extend(contents(&entry.path()));
            }
            false => {
                found.insert(entry.path(), fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

#[tokio::test]
async fn what_stands_in_a_files_place_is_a_miss_and_is_not_followed() {
    log::listen();
    let backend = site().await;
    for thing in THINGS {
        for part in ["body", "sidecar", "both"] {
            for running in [false, true] {
                let outside = Outside::new();
                let before = outside.contents();
                let mut proxy = Proxy::start(&backend).await;
                proxy.warm("/a/page").await;
                proxy.warm("/a/other").await;
                if !running {
                    proxy.stop().await;
                }
                let places = [
                    ("body", proxy.body_file("site.test/a/page.")),
                    ("sidecar", proxy.sidecar("site.test/a/page.").0),
                ];
                let mut stands = true;
                for (_, place) in places.iter().filter(|(name, _)| part == "both" || *name == part) {
                    stands = stands && outside.put(thing, place).await;
                }
                if !stands {
                    continue;
                }
                if !running {
                    proxy.start_again().await;
                }

                let what = format!("{thing:?} for the {part}");
                let ask = async || {
                    let response = within(&what, proxy.get("/a/page")).await;
                    assert_eq!(response.status, 200, "{what}");
                    assert_eq!(response.text(), "page /a/page", "{what}");
                    response.cache().hit
                };
                for _ in 0..2 {
                    ask().await;
                }
                eventually(&format!("{what}: it can be stored again"), async || {
                    ask().await.then_some(())
                })
                .await;
                if running {
                    assert!(
                        outside
                            .put(thing, &places[usize::from(part == "sidecar")].1)
                            .await
                    );
                }
                proxy.get("/a/other").await.assert_hit();
                let refreshed = within(&what, proxy.trigger().refresh()).await;
                refreshed.expect(&what);
                let response = proxy.get("/a/page").await;
                response.assert(200, "page /a/page");
                outside.assert_untouched(&before, &proxy, &what);
            }
        }
    }
    assert_eq!(log::panics(), Vec::<String>::new());
}

#[tokio::test]
async fn a_link_in_a_folders_place_is_followed_neither_to_read_nor_to_write_nor_to_delete() {
    log::listen();
    let backend = site().await;
    for depth in ["site.test", "site.test/a", "site.test/a/b"] {
        for running in [false, true] {
            let outside = Outside::new();
            let mut proxy = Proxy::start(&backend).await;
            proxy.warm("/a/b/page").await;
            proxy.warm("/elsewhere").await;
            if !running {
                proxy.stop().await;
            }
            // What is behind the link is even the page itself, sealed and all.
            let folder = proxy.dir().join(depth);
            fs::rename(&folder, outside.path("moved")).unwrap();
            symlink(outside.path("moved"), &folder).unwrap();
            let secret = outside.path("moved").join("page.0123456789abcdef.html");
            fs::write(&secret, SECRET).unwrap();
            let before = outside.contents();
            if !running {
                proxy.start_again().await;
            }

            let what = format!("{depth}, running: {running}");
            for target in ["/a/b/page", "/a/b/new"] {
                for _ in 0..3 {
                    proxy.get(target).await.assert(200, &format!("page {target}"));
                }
            }
            if !running {
                assert!(backend.count("/a/b/page") >= 2, "{what}: read through a link");
            }
            // It cannot be carried out there, and is in force here.
            drop(proxy.trigger().refresh().await);
            assert!(!proxy.get("/a/b/page").await.cache().hit, "{what}");
            outside.assert_untouched(&before, &proxy, &what);

            fs::remove_file(&folder).unwrap();
            proxy.warm("/a/b/new").await;
            drop(backend.requests());
        }
    }
    assert_eq!(log::panics(), Vec::<String>::new());
}

/// The server's own folder and files. A start may refuse, and says why; it neither hangs nor follows.
#[tokio::test]
async fn nothing_in_the_place_of_our_own_files_leads_anywhere() {
    log::listen();
    let backend = site().await;
    let places = [
        ".phantom",
        ".phantom/lock",
        ".phantom/tmp",
        ".phantom/pending",
        ".phantom/displaced",
        ".phantom/invalidations",
        ".phantom/id",
        ".phantom/tmp/left",
        ".phantom/pending/page.0123456789abcdef.0123456789abcdef",
        ".gitignore",
        ".gitattributes",
        "phantom-frame.toml",
    ];
    for place in places {
        for thing in THINGS {
            let outside = Outside::new();
            let before = outside.contents();
            let mut proxy = Proxy::start(&backend).await;
            proxy.warm("/page").await;
            proxy.stop().await;
            if !outside.put(thing, &proxy.dir().join(place)).await {
                continue;
            }

            let what = format!("{thing:?} for {place}");
            match Setup::over(&backend).dir_of(&proxy).try_start().await {
                Ok(started) => {
                    within(&what, started.get("/page"))
                        .await
                        .assert(200, "page /page");
                    within(&what, started.get("/new")).await.assert(200, "page /new");
                    drop(within(&what, started.trigger().refresh()).await);
                    within(&what, started.get("/page"))
                        .await
                        .assert(200, "page /page");
                    fs::write(started.dir().join("probe"), "").unwrap();
                }
                Err(error) => {
                    let dir = proxy.dir();
                    assert!(
                        error.to_string().contains(dir.to_str().unwrap()),
                        "{what}: {error}"
                    );
                }
            }
            assert!(
                outside.contents() == before,
                "{what}: something outside was touched"
            );
        }
    }
    assert_eq!(log::panics(), Vec::<String>::new());
}
