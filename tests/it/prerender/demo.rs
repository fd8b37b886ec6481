//! The demo's own site, and git.

use std::path::Path;
use std::process::Command;

use phantom_frame::demo::{Pace, Site};
use phantom_frame::prerender::Scope;

use super::{Run, with_address};
use crate::rig::{Serving, Setup};

fn git(dir: &Path, words: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=test", "-c", "user.email=test@example.com"])
        .args(["-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false"])
        .args(words)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .expect("git");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {words:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn the_demo_crawled_and_committed_is_clean_after_another_crawl() {
    let site = Serving::start(Site::new(Pace::Instant).router()).await;
    let backend = format!("http://{}", site.addr());
    let proxy = with_address(Setup::over_url(backend)).start().await;
    let crawl = async |scope| {
        Run::of(&proxy, |options| {
            options.crawl = true;
            options.scope = scope;
        })
        .await
    };

    let first = crawl(Scope::Missing).await;
    assert!(first.summary.new > 10 && first.summary.failed() == 0, "{first:?}");
    git(&proxy.dir(), &["init", "--quiet"]);
    git(&proxy.dir(), &["add", "."]);
    git(&proxy.dir(), &["commit", "--quiet", "--message", "rendered"]);
    let second = crawl(Scope::All).await;

    assert_eq!(second.urls().len(), first.urls().len());
    assert_eq!(git(&proxy.dir(), &["status", "--porcelain"]), "", "{second:?}");
    assert_eq!(
        (second.summary.same, second.summary.changed),
        (first.summary.new, 0)
    );
    site.stop().await;
}
