//! More connections than may be served at once wait, and are served later.

use tokio::task::JoinSet;

use crate::backend::Backend;
use crate::figures::PROBED;
use crate::server::{Server, Setup};
use crate::wire::{Wire, request};
use crate::{note, raise_open_files};

/// What the server says when it has too few descriptors.
const TOO_FEW: &str = "the limit on open files is";

async fn asked(server: &Server) -> Wire {
    let mut wire = Wire::open(&server.address).await.unwrap();
    wire.send(&request(PROBED, crate::server::SITE, ""))
        .await
        .unwrap();
    wire
}

/// Lets `count` clients come who stay, and `more` who have to wait for them.
async fn check(server: &Server, count: usize, more: usize) {
    let mut served = Vec::new();
    for _ in 0..count {
        let mut wire = asked(server).await;
        assert_eq!(wire.answer().await.unwrap().status, 200);
        served.push(wire);
    }
    let mut waiting = Vec::new();
    for _ in 0..more {
        waiting.push(asked(server).await);
    }
    // Those who are in are served; whoever waits has heard nothing by then.
    for wire in &mut served {
        assert!(wire.get(PROBED).await.unwrap().says("hit"));
    }
    for wire in &waiting {
        let read = wire.stream.try_read(&mut [0]);
        assert!(read.is_err(), "served beyond the limit: {read:?}");
    }
    drop(served);
    let mut answers = JoinSet::new();
    for mut wire in waiting {
        answers.spawn(async move { wire.answer().await.unwrap() });
    }
    for answer in answers.join_all().await {
        assert!(answer.says("hit"), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_wait_and_are_served_when_others_go() {
    raise_open_files();
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start(0).await;
    let setup = Setup::new(dir.path(), &backend.url()).with("MAX_CONNECTIONS", "64");
    let server = setup.start().await;
    check(&server, 64, 64).await;
    assert_eq!(server.log.complaints(&[]), Vec::<String>::new());
    note("64 connections were served, 64 waited for them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soft_limit_on_open_files_is_raised_to_what_the_connections_need() {
    raise_open_files();
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start(0).await;
    let server = Setup::new(dir.path(), &backend.url())
        .with("MAX_CONNECTIONS", "400")
        .wrapped(&["sh", "-c", "ulimit -S -n 200; exec \"$0\" \"$@\""])
        .start()
        .await;
    check(&server, 400, 10).await;
    assert_eq!(server.log.complaints(&[]), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hard_limit_on_open_files_is_said_and_no_more_connections_are_taken_than_it_is_enough_for() {
    raise_open_files();
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start(0).await;
    let server = Setup::new(dir.path(), &backend.url())
        .with("MAX_CONNECTIONS", "400")
        .wrapped(&["sh", "-c", "ulimit -n 256; exec \"$0\" \"$@\""])
        .start()
        .await;
    check(&server, 144, 256).await;
    assert_eq!(server.log.find(TOO_FEW).len(), 1);
    assert_eq!(server.log.complaints(&[TOO_FEW]), Vec::<String>::new());
}
