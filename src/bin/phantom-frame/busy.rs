//! That long work goes on, on stderr: a bar or a line that moves on a terminal, and elsewhere a line now and then.

use std::io::{self, IsTerminal as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use phantom_frame::artefact::{Artefact, Progress};

use crate::output;
use crate::print::span;

/// Until then nothing is said on a terminal.
const AT_FIRST: Duration = Duration::from_secs(1);
/// Between two looks on a terminal.
const STEP: Duration = Duration::from_millis(200);
/// Between two lines elsewhere.
const NOW_AND_THEN: Duration = Duration::from_secs(5);

/// What is known of how much there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// Every rendering is looked at: they are counted, if it takes long, beside the work.
    Renderings,
    /// The work says so itself, where it knows.
    Told,
}

/// Does the work, and says what it is as long as it goes on, and how much of it is done.
pub(crate) fn busy<T>(what: &str, artefact: &Artefact, ahead: Ahead, work: impl FnOnce() -> T) -> T {
    let progress = artefact.progress();
    let count = || {
        if ahead == Ahead::Renderings {
            progress.expect(artefact.expected());
        }
    };
    let teller = |is_done: &Receiver<()>| match io::stderr().is_terminal() {
        true => show(what, &progress, &count, is_done),
        false => {
            let far = |span: &str| {
                if progress.total().is_none() {
                    count();
                }
                format!("{what}{}, {span}", so_far(&progress))
            };
            tell(NOW_AND_THEN, is_done, &far, &mut |line| output::note(line));
        }
    };
    beside(teller, work)
}

/// Has `teller` tell of the work until it is done.
fn beside<T>(teller: impl FnOnce(&Receiver<()>) + Send, work: impl FnOnce() -> T) -> T {
    let (done, is_done) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || teller(&is_done));
        let result = work();
        // The other end sees that it is gone.
        drop(done);
        result
    })
}

fn is_over(is_done: &Receiver<()>, after: Duration) -> bool {
    is_done.recv_timeout(after) != Err(RecvTimeoutError::Timeout)
}

fn so_far(progress: &Progress) -> String {
    match (progress.done(), progress.total()) {
        (0, None) => String::new(),
        (done, None) => format!(", {done} so far"),
        (done, Some(total)) => format!(", {done} of {total}"),
    }
}

fn show(what: &str, progress: &Progress, count: &dyn Fn(), is_done: &Receiver<()>) {
    if is_over(is_done, AT_FIRST) {
        return;
    }
    count();
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_message(what.to_owned());
    while !is_over(is_done, STEP) {
        draw(&bar, progress);
    }
    bar.finish_and_clear();
}

/// A bar once it is known how much there is to do.
fn draw(bar: &ProgressBar, progress: &Progress) {
    let template = match progress.total() {
        Some(_) => "{spinner} {msg} {bar:30} {pos}/{len}, {elapsed}",
        None => "{spinner} {msg}, {pos} so far, {elapsed}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    if let Some(total) = progress.total() {
        bar.set_length(total);
    }
    bar.set_position(progress.done());
    bar.tick();
}

fn tell(every: Duration, is_done: &Receiver<()>, far: &dyn Fn(&str) -> String, say: &mut dyn FnMut(&str)) {
    let since = Instant::now();
    while !is_over(is_done, every) {
        say(&far(&span(since.elapsed().as_secs())));
    }
}

/// Says now and then how far a run over pages is, until it is dropped.
pub(crate) struct Teller {
    /// Pages that are done, and that are known.
    far: Arc<Mutex<(usize, usize)>>,
    done: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Teller {
    pub(crate) fn new() -> Self {
        Self::with(NOW_AND_THEN, output::note)
    }

    fn with(every: Duration, mut say: impl FnMut(&str) + Send + 'static) -> Self {
        let far = Arc::<Mutex<(usize, usize)>>::default();
        let (done, is_done) = channel();
        let seen = Arc::clone(&far);
        let line = move |span: &str| match *seen.lock().unwrap_or_else(PoisonError::into_inner) {
            (0, 0) => format!("no page yet, {span}"),
            (done, known) => format!("{done} of {known} pages, {span}"),
        };
        let teller = move || tell(every, &is_done, &line, &mut say);
        Self {
            far,
            done: Some(done),
            // Without one nothing is said.
            thread: std::thread::Builder::new().spawn(teller).ok(),
        }
    }

    pub(crate) fn at(&self, far: (usize, usize)) {
        *self.far.lock().unwrap_or_else(PoisonError::into_inner) = far;
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.done.take();
        if let Some(thread) = self.thread.take() {
            // It has said what it had to.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    #[test]
    fn lines_come_as_long_as_the_work_goes_on_and_none_behind_it() {
        let (line, mut lines) = channel();
        let progress = Progress::default();
        let far = |_: &str| format!("working{}", so_far(&progress));
        let teller = |is_done: &Receiver<()>| {
            tell(SHORT, is_done, &far, &mut |said| {
                line.send(said.to_owned()).unwrap()
            });
        };
        let next = |lines: &mut Receiver<String>, wanted: &str| while lines.recv().unwrap() != wanted {};
        beside(teller, || {
            next(&mut lines, "working");
            progress.expect(20);
            next(&mut lines, "working, 0 of 20");
        });
        drop(line);
        assert!(lines.try_iter().all(|line| line == "working, 0 of 20"));
    }

    #[test]
    fn work_that_is_soon_done_says_nothing() {
        let mut said = 0;
        let teller = |is_done: &Receiver<()>| {
            tell(NOW_AND_THEN, is_done, &|_| String::new(), &mut |_| said += 1);
        };
        assert_eq!(beside(teller, || 7), 7);
        assert_eq!(said, 0);
    }

    #[test]
    fn a_run_over_pages_says_how_many_are_done_of_how_many() {
        let (line, lines) = channel();
        let teller = Teller::with(SHORT, move |said| line.send(said.to_owned()).unwrap());
        let next = |wanted: &str| while lines.recv().unwrap() != wanted {};
        next("no page yet, 0s");
        teller.at((3, 40));
        next("3 of 40 pages, 0s");
        drop(teller);
        // Whoever said it is gone.
        while lines.recv().is_ok() {}
    }

    #[test]
    fn there_is_a_bar_once_it_is_known_how_much_there_is() {
        let (bar, progress) = (ProgressBar::hidden(), Progress::default());
        draw(&bar, &progress);
        assert_eq!((bar.position(), bar.length()), (0, None));
        progress.expect(12);
        draw(&bar, &progress);
        assert_eq!((bar.position(), bar.length()), (0, Some(12)));
    }
}
