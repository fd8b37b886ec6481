//! What the proxy is doing while the disk breaks.

use std::fs;
use std::path::{Path, PathBuf};

use http::Method;
use phantom_frame::{ErrorKind, RefreshMode};

use super::world::{Seen, World};
use crate::rig::{eventually, remove_all};

pub(super) const EDIT: &str = "edited by hand, and nowhere else";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    StartOnNothing,
    StartOnPages,
    Miss,
    MissOfVariants,
    ReplacementByOtherBytes,
    ReplacementByTheSame,
    ReplacementByAnotherType,
    Validation,
    FirstHit,
    Deletion,
    Marking,
    UnsafeRequest,
    NotFound,
    ForeignChange,
    Rescan,
    HandEdit,
}

impl Phase {
    /// On a disk that is whole.
    pub(super) async fn prepare(self, world: &mut World) {
        world.render(|render| match self {
            Self::ReplacementByOtherBytes | Self::ReplacementByTheSame => render.max_age = Some(60),
            Self::ReplacementByAnotherType => (render.max_age, render.changes_type) = (Some(60), true),
            Self::Validation => (render.max_age, render.has_etag) = (Some(60), true),
            Self::MissOfVariants | Self::StartOnPages | Self::Deletion | Self::Marking => {
                render.varies = true;
            }
            Self::NotFound => render.is_missing = true,
            _ => {}
        });
        if self == Self::StartOnNothing {
            return;
        }
        world.start().await;
        if matches!(self, Self::Miss | Self::MissOfVariants | Self::NotFound) {
            return;
        }
        world.warm().await;
        match self {
            Self::StartOnPages => {
                world.ask(Method::GET, Some("de")).await;
                world.stop().await;
            }
            Self::FirstHit => world.restart().await,
            Self::Deletion | Self::Marking => {
                world.ask(Method::GET, Some("de")).await;
                world.render(|render| render.version = 2);
            }
            Self::UnsafeRequest | Self::Rescan | Self::HandEdit => {
                world.render(|render| render.version = 2);
            }
            Self::ReplacementByOtherBytes | Self::ReplacementByAnotherType => {
                world.clock.advance(61);
                world.render(|render| render.version = 2);
            }
            Self::ReplacementByTheSame | Self::Validation => world.clock.advance(61),
            Self::ForeignChange => put_aside_and_replace(world).await,
            _ => {}
        }
        if self == Self::HandEdit {
            fs::write(body_of(world), EDIT).unwrap();
        }
    }

    /// On a disk that breaks. Every answer on the way is looked at.
    pub(super) async fn act(self, world: &mut World) -> Vec<Seen> {
        match self {
            Self::StartOnNothing | Self::StartOnPages => {
                while let Err(error) = world.try_start() {
                    // Or the one before has not let go of the directory yet.
                    if error.kind() != ErrorKind::Foreign {
                        return Vec::new();
                    }
                    world.disk.break_again();
                    tokio::task::yield_now().await;
                }
                world.is_ready().await;
                vec![world.get().await, world.get().await]
            }
            Self::MissOfVariants => vec![world.ask(Method::GET, Some("de")).await, world.get().await],
            Self::Deletion | Self::HandEdit => invalidate(world, RefreshMode::Delete).await,
            Self::Marking => invalidate(world, RefreshMode::Stale).await,
            Self::UnsafeRequest => {
                post(world).await;
                world.floor = 2;
                vec![world.get().await]
            }
            Self::ForeignChange => {
                bring_back(world);
                until_noticed(world).await
            }
            Self::Rescan => {
                remove_all(&world.root()).await;
                fs::create_dir_all(world.root()).unwrap();
                until_noticed(world).await
            }
            _ => vec![world.get().await],
        }
    }
}

/// What is in memory is served until the watcher has said what became of the files.
async fn until_noticed(world: &mut World) -> Vec<Seen> {
    let mut seen = vec![world.get().await];
    let mut asked = 0;
    eventually("the change to be noticed, and looked at", async || {
        let before = std::mem::replace(&mut asked, world.disk.asked_so_far());
        (asked > 0 && asked == before).then_some(())
    })
    .await;
    seen.push(world.get().await);
    seen
}

/// In force whatever the disk says; for good if it was confirmed.
async fn invalidate(world: &mut World, mode: RefreshMode) -> Vec<Seen> {
    let trigger = world.proxy.as_ref().unwrap().trigger();
    let confirmed = trigger.refresh_matching(&[&world.path], mode).await;
    world.floor = 2;
    if confirmed.is_ok() {
        world.floor_after_restart = 2;
    }
    vec![world.get().await, world.ask(Method::GET, Some("de")).await]
}

async fn post(world: &World) {
    use tower::ServiceExt;
    let request = http::Request::post(&world.path)
        .header("host", "site.test")
        .body(axum::body::Body::empty())
        .unwrap();
    let router = world.proxy.as_ref().unwrap().router();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200, "{}", world.what);
}

fn aside(world: &World) -> PathBuf {
    world.dir.path().join("aside")
}

/// Version 1 is kept elsewhere, version 2 stands in the tree.
async fn put_aside_and_replace(world: &mut World) {
    fs::create_dir(aside(world)).unwrap();
    for path in world.pages() {
        fs::copy(&path, aside(world).join(path.file_name().unwrap())).unwrap();
    }
    world.render(|render| render.version = 2);
    let trigger = world.proxy.as_ref().unwrap().trigger();
    trigger.refresh().await.unwrap();
    world.until_stored().await;
}

/// As git does: each file replaced by another.
fn bring_back(world: &World) {
    for path in world.pages() {
        let old = aside(world).join(path.file_name().unwrap());
        fs::remove_file(&path).unwrap();
        fs::copy(old, path).unwrap();
    }
}

fn body_of(world: &World) -> PathBuf {
    let is_body = |path: &PathBuf| path.extension().is_some_and(|extension| extension != "toml");
    world.pages().into_iter().find(is_body).unwrap()
}

/// Whether the edit is still somewhere.
pub(super) fn has_edit(root: &Path) -> bool {
    super::world::files(root)
        .iter()
        .any(|path| fs::read(path).is_ok_and(|bytes| bytes == EDIT.as_bytes()))
}
