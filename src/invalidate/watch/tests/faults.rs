//! Events that are lost, too many, or not to be had.

use super::*;

#[test]
fn an_absent_root_is_waited_for_without_noise() {
    let rig = Rig::new(|root| fs::remove_dir(root).unwrap());
    assert!(!rig.watch.is_healthy());
    rig.silence();
    fs::create_dir(&rig.root).unwrap();
    rig.until(|all| all.rescan);
    rig.silence();
    fs::remove_dir(&rig.root).unwrap();
    rig.until(|all| all.rescan);
    rig.silence();
}

#[test]
fn lost_events_and_exhausted_watches_lead_to_a_rescan_and_no_loop() {
    use notify::event::Flag;
    use notify::{Error, ErrorKind, Event, EventKind};
    let rig = Rig::new(|_| {});
    // An overflow carries no path.
    let overflow = Event::new(EventKind::Other).set_flag(Flag::Rescan);
    rig.watch.signals.take_in(Ok(overflow));
    rig.until(|all| all.rescan);
    rig.silence();
    fs::write(rig.root.join("a"), "1").unwrap();
    rig.until_path("a");
    for _ in 0..3 {
        rig.watch
            .signals
            .take_in(Err(Error::new(ErrorKind::MaxFilesWatch)));
    }
    rig.until(|all| all.rescan);
    rig.silence();
    fs::write(rig.root.join("b"), "1").unwrap();
    rig.until_path("b");
}

#[test]
fn a_flood_becomes_a_rescan() {
    use notify::event::{CreateKind, EventKind};
    let signals = Signals::new("/root".into(), Arc::new(|_: &Path| false));
    for n in 0..70_000 {
        let event = notify::Event::new(EventKind::Create(CreateKind::File));
        signals.take_in(Ok(event.add_path(format!("/watched/{n}").into())));
    }
    let event::Woken::Pending(pending) = signals.wait(Duration::ZERO, &PACE) else {
        panic!("nothing is pending");
    };
    assert!(pending.overflow);
    assert!(pending.changes.len() < 70_000);
}

#[test]
fn a_constant_stream_does_not_hold_a_batch_back() {
    let rig = Rig::new(|_| {});
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (stop, root) = (Arc::clone(&stop), rig.root.clone());
        move || {
            let mut n = 0_u64;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                n += 1;
                fs::write(root.join("a"), n.to_string()).unwrap();
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    });
    for _ in 0..5 {
        rig.until_path("a");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.join().unwrap();
}

#[test]
fn a_burst_of_ten_thousand_changes_is_told_whole() {
    let rig = Rig::new(|_| {});
    for n in 0..10_000 {
        fs::write(rig.root.join(n.to_string()), "1").unwrap();
    }
    let all = rig.until(|all| all.rescan || all.paths.len() == 10_000);
    assert!(all.rescan || all.paths.contains(&rig.root.join("9999")));
    // And it goes on as before.
    fs::write(rig.root.join("last"), "1").unwrap();
    rig.until_path("last");
}

#[test]
fn a_directory_that_is_new_after_lost_events_is_watched() {
    use notify::event::Flag;
    use notify::{Event, EventKind};
    let rig = Rig::new(|_| {});
    for round in 0..3 {
        // Whatever was made while events were lost.
        fs::create_dir_all(rig.root.join(format!("{round}/deep"))).unwrap();
        let overflow = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        rig.watch.signals.take_in(Ok(overflow));
        rig.until(|all| all.rescan);
        fs::write(rig.root.join(format!("{round}/deep/file")), "1").unwrap();
        rig.until_path(&format!("{round}/deep/file"));
    }
    assert!(rig.watch.is_healthy());
}

#[test]
fn exhausted_watches_are_said_once_and_polled() {
    let pace = Pace {
        poll: Duration::from_millis(30),
        ..PACE
    };
    let signals = Arc::new(Signals::new("/".into(), Arc::new(|_: &Path| false)));
    let dir = tempfile::tempdir().unwrap();
    let mut worker = Worker::start(pace, dir.path(), Arc::new(|_: &Path| false), signals).unwrap();
    assert!(!worker.has_told() && !worker.is_polling());
    for _ in 0..3 {
        let mut batch = Batch::default();
        let mut pending = event::Pending::default();
        pending.exhausted = true;
        worker.absorb(pending, &mut batch);
        assert!(worker.has_told() && worker.is_polling());
    }
}
