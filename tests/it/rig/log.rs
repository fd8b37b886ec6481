//! What the proxy logs, at every level, as lines of text.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};

use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

static WATCHES: Mutex<Vec<Weak<Watch>>> = Mutex::new(Vec::new());
/// Warnings and errors.
static TROUBLE: Mutex<Vec<String>> = Mutex::new(Vec::new());
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Watch {
    needles: Vec<String>,
    lines: Mutex<Vec<String>>,
}

/// The lines that hold one of some texts, from when it was made. All tests of this binary log to one
/// place, so the texts are the test's own.
#[derive(Clone)]
pub(crate) struct Log(Arc<Watch>);

impl Log {
    pub(crate) fn watching(needles: &[&str]) -> Self {
        listen();
        let watch = Arc::new(Watch {
            needles: needles.iter().map(|needle| (*needle).to_owned()).collect(),
            lines: Mutex::default(),
        });
        let mut watches = lock(&WATCHES);
        watches.retain(|watch| watch.strong_count() > 0);
        watches.push(Arc::downgrade(&watch));
        Self(watch)
    }

    pub(crate) fn lines_with(&self, needle: &str) -> Vec<String> {
        let mut lines = lock(&self.0.lines).clone();
        lines.retain(|line| line.contains(needle));
        lines
    }
}

/// Keeps what is said from now on.
pub(crate) fn listen() {
    static BEGIN: Once = Once::new();
    BEGIN.call_once(|| {
        tracing::subscriber::set_global_default(Everything).expect("no other subscriber in this binary");
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let is_ours = panic
                .location()
                .is_some_and(|place| place.file().starts_with("src/"));
            if is_ours {
                lock(&PANICS).push(panic.to_string());
            }
            before(panic);
        }));
    });
}

/// Warnings and errors of the whole test binary, to be asked for by the directory they name.
pub(crate) fn trouble(is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut lines = lock(&TROUBLE).clone();
    lines.retain(|line| is_wanted(line));
    lines
}

/// Panics of the library, which it may have outlived.
pub(crate) fn panics() -> Vec<String> {
    lock(&PANICS).clone()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Everything;

impl Subscriber for Everything {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("phantom_frame")
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut line = Line::begin(attributes.metadata());
        attributes.record(&mut line);
        keep(&line.0);
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        let mut line = Line(String::new());
        values.record(&mut line);
        keep(&line.0);
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::begin(event.metadata());
        event.record(&mut line);
        keep(&line.0);
        if *event.metadata().level() <= Level::WARN {
            lock(&TROUBLE).push(line.0);
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Line {
    fn begin(metadata: &Metadata<'_>) -> Self {
        Self(format!("{} {}", metadata.level(), metadata.target()))
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, " {field}={value:?}");
    }
}

fn keep(line: &str) {
    let watches: Vec<_> = lock(&WATCHES).iter().filter_map(Weak::upgrade).collect();
    for watch in watches {
        if watch.needles.iter().any(|needle| line.contains(needle.as_str())) {
            lock(&watch.lines).push(line.to_owned());
        }
    }
}
