//! That long work goes on, on stderr: a line that moves on a terminal, and elsewhere one now and then.

use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;
use crate::print::span;

/// Until then nothing is said.
const AT_FIRST: Duration = Duration::from_secs(1);
/// Between two looks on a terminal.
const STEP: Duration = Duration::from_millis(200);
/// Between two lines elsewhere.
const NOW_AND_THEN: Duration = Duration::from_secs(10);

/// Does the work, and says what it is as long as it goes on, and how much of it is done.
pub(crate) fn busy<T>(what: &str, seen: &AtomicU64, work: impl FnOnce() -> T) -> T {
    let (done, is_done) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || match io::stderr().is_terminal() {
            true => show(what, seen, &is_done),
            false => tell(what, seen, &is_done),
        });
        let result = work();
        // The other end sees that it is gone.
        drop(done);
        result
    })
}

fn is_over(is_done: &Receiver<()>, after: Duration) -> bool {
    is_done.recv_timeout(after) != Err(RecvTimeoutError::Timeout)
}

fn so_far(seen: &AtomicU64) -> String {
    match seen.load(Ordering::Relaxed) {
        0 => String::new(),
        seen => format!(", {seen} snapshots"),
    }
}

fn show(what: &str, seen: &AtomicU64, is_done: &Receiver<()>) {
    if is_over(is_done, AT_FIRST) {
        return;
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}, {elapsed}") {
        bar.set_style(style);
    }
    while !is_over(is_done, STEP) {
        bar.set_message(format!("{what}{}", so_far(seen)));
        bar.tick();
    }
    bar.finish_and_clear();
}

fn tell(what: &str, seen: &AtomicU64, is_done: &Receiver<()>) {
    let since = Instant::now();
    while !is_over(is_done, NOW_AND_THEN) {
        let time = span(since.elapsed().as_secs());
        output::note(&format!("{what}{}, {time}", so_far(seen)));
    }
}
