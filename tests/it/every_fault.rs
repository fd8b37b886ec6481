//! Every file operation of every phase fails once, in every way a disk can.
//!
//! For each phase the first operation fails, then in a world of its own the second, until the phase ends
//! before the fault comes. `PHANTOM_LONG=1` tries every error; the ordinary run two of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod phase;
mod world;

use phase::{EDIT, Phase, has_edit};
use world::{Fault, Lasts, Seen, World};

use crate::rig::log;

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
/// EACCES, EROFS, EMFILE, EDQUOT.
const OTHERS: [i32; 4] = [13, 30, 24, 122];

/// No phase has so many operations.
const MOST: usize = 400;

/// Who looks at what the fault left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The proxy that met it, on a disk that is whole again.
    Same,
    /// Another, which knows nothing of it.
    Fresh,
}

/// What is tried: everything where there is time, else an error that passes and one that stays.
fn errors(lasts: Lasts) -> Vec<i32> {
    match (is_long(), lasts) {
        (true, _) => [ENOSPC, EIO].into_iter().chain(OTHERS).collect(),
        (false, Lasts::ForGood) => vec![EIO],
        (false, _) => vec![ENOSPC],
    }
}

/// And who looks: both where there is time, else one after the other.
fn lookers(lasts: Lasts, nth: usize) -> Vec<Next> {
    let is_even = nth.is_multiple_of(2);
    match (is_long(), is_even == (lasts == Lasts::ForGood)) {
        (true, _) => vec![Next::Same, Next::Fresh],
        (false, true) => vec![Next::Fresh],
        (false, false) => vec![Next::Same],
    }
}

fn is_long() -> bool {
    std::env::var_os("PHANTOM_LONG").is_some_and(|value| value == "1")
}

/// Fails each operation of `phase` in turn; at least `least` of them there must be.
async fn every_fault(phase: Phase, least: usize) {
    log::listen();
    for lasts in [Lasts::Once, Lasts::ForGood, Lasts::Short] {
        for errno in errors(lasts) {
            let met = all_of_them(phase, lasts, errno).await;
            let least = if lasts == Lasts::Short { 0 } else { least };
            assert!(met >= least, "{phase:?}: {met} operations only");
        }
    }
    assert_eq!(log::panics(), Vec::<String>::new());
}

async fn all_of_them(phase: Phase, lasts: Lasts, errno: i32) -> usize {
    for nth in 0..MOST {
        let fault = Fault { nth, errno, lasts };
        let mut came = false;
        for next in lookers(lasts, nth) {
            came |= one(phase, fault, next).await;
        }
        if !came {
            return nth;
        }
    }
    panic!("{phase:?}: there is no end of operations");
}

/// Whether the phase came as far as the fault.
async fn one(phase: Phase, fault: Fault, next: Next) -> bool {
    let mut world = World::new(format!("{phase:?}, {fault:?}, {next:?}"));
    phase.prepare(&mut world).await;
    world.disk.break_at(fault);
    let seen = phase.act(&mut world).await;
    let failed = world.disk.failed();
    world.what.push_str(&format!(" at {:?}", failed.first()));
    for seen in seen {
        // Only who reads from a file that cannot be read is cut off; nobody else hears of the disk.
        let is_cut_off = failed.iter().any(|operation| operation == "read-prefix");
        assert!(seen != Seen::Error || is_cut_off, "{}: {failed:?}", world.what);
    }
    if world.proxy.is_some() {
        quiet(&world).await;
    }
    match next {
        Next::Same if world.proxy.is_some() => world.disk.mend(),
        Next::Same | Next::Fresh => {
            world.stop().await;
            let failed = world.disk.mend();
            world.floor = world.floor_after_restart;
            world.start().await;
            world.is_tidy().await;
            failed
        }
    };
    after(phase, &mut world).await;
    !failed.is_empty()
}

/// Whatever the disk does, a minute has few lines.
async fn quiet(world: &World) {
    const FEW: usize = 6;
    for _ in 0..3 {
        world.get().await;
    }
    let said = world.complaints();
    assert!(said.len() <= FEW, "{}: {said:#?}", world.what);
}

/// Right bytes, and caching goes on.
async fn after(phase: Phase, world: &mut World) {
    if phase == Phase::NotFound {
        assert_eq!(world.get().await, Seen::Missing, "{}", world.what);
        world.render(|render| render.is_missing = false);
        world.clock.advance(3600);
    }
    if phase == Phase::HandEdit {
        assert!(has_edit(&world.root()), "{}: `{EDIT}` is lost", world.what);
    }
    world.until_stored().await;
    // What is on disk says the same to the next, which may have to validate it.
    world.restart().await;
    world.is_tidy().await;
    assert!(
        matches!(world.get().await, Seen::Page { .. }),
        "{}: after another restart",
        world.what
    );
    world.stop().await;
}

macro_rules! phases {
    ($($name:ident: $phase:ident, $least:literal;)*) => {$(
        #[tokio::test]
        async fn $name() {
            every_fault(Phase::$phase, $least).await;
        }
    )*};
}

phases! {
    a_start_on_an_empty_directory_survives_every_fault: StartOnNothing, 20;
    a_start_on_pages_survives_every_fault: StartOnPages, 15;
    a_miss_survives_every_fault: Miss, 10;
    a_miss_of_variants_survives_every_fault: MissOfVariants, 20;
    a_replacement_by_other_bytes_survives_every_fault: ReplacementByOtherBytes, 12;
    a_replacement_by_the_same_bytes_survives_every_fault: ReplacementByTheSame, 8;
    a_replacement_by_another_type_survives_every_fault: ReplacementByAnotherType, 12;
    a_validation_survives_every_fault: Validation, 4;
    a_first_hit_survives_every_fault: FirstHit, 4;
    a_deletion_survives_every_fault: Deletion, 10;
    a_marking_survives_every_fault: Marking, 6;
    an_unsafe_request_survives_every_fault: UnsafeRequest, 4;
    a_page_that_is_not_there_survives_every_fault: NotFound, 1;
    a_hand_edit_survives_every_fault: HandEdit, 6;
    a_foreign_change_survives_every_fault: ForeignChange, 4;
    a_directory_made_anew_survives_every_fault: Rescan, 4;
}
