//! Who codes bodies: one thread, in nobody's way.
//!
//! The fast level is for pages that were just stored or were found without their forms; the strong one for pages that
//! were asked for since, when nothing fast is waiting and for a second nothing was. It rests for as long as it worked,
//! and so takes half of one core at most; on Linux the thread has the lowest priority besides. What comes when there
//! is no room in a queue is dropped: a later hit asks again.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::coding::{Coding, Codings};
use crate::head::{Seal, VariantId};
use crate::key::Key;

use super::compress::{Level, encode, is_of};
use super::forms::FormSets;
use super::layout::Stem;
use super::{Store, lock};

/// Orders that wait, of each level.
const WAITING: usize = 1024;
/// For so long nothing fast was done when the strong level begins.
const QUIET: Duration = Duration::from_secs(1);
/// A larger body stays at the fast level, in bytes: the strong one would keep the thread for seconds.
const STRONG_LARGEST: u64 = 4 << 20;

/// A rendering, by its files' names.
type Rendering = (u64, Option<VariantId>);

#[derive(Debug, Clone, Copy)]
struct Order {
    rendering: Rendering,
    wanted: Codings,
    level: Level,
}

#[derive(Default)]
struct Queues {
    fast: VecDeque<Order>,
    strong: VecDeque<Order>,
    /// When the strong level may begin.
    quiet_from: Option<Instant>,
    is_running: bool,
    is_closed: bool,
}

#[derive(Default)]
struct Shared {
    queues: Mutex<Queues>,
    changed: Condvar,
}

/// See the module. The thread is started by the first order, and ends with the store.
#[derive(Default)]
pub(super) struct Coder {
    shared: Arc<Shared>,
    store: OnceLock<Weak<Store>>,
}

impl Coder {
    pub(super) fn belongs_to(&self, store: &Arc<Store>) {
        // Set once, when the store is made.
        let _ = self.store.set(Arc::downgrade(store));
    }

    /// Says whether there is room for it.
    pub(super) fn ask(&self, rendering: Rendering, wanted: Codings, level: Level) -> bool {
        let Some(store) = self.store.get() else {
            return false;
        };
        let mut queues = lock(&self.shared.queues);
        let queue = match level {
            Level::Fast => &mut queues.fast,
            Level::Strong => &mut queues.strong,
        };
        if queue.len() >= WAITING {
            return false;
        }
        queue.push_back(Order {
            rendering,
            wanted,
            level,
        });
        if !queues.is_running {
            let (shared, store) = (Arc::clone(&self.shared), store.clone());
            let spawned = thread::Builder::new()
                .name("phantom-code".into())
                .spawn(move || run(&shared, &store));
            queues.quiet_from = Some(Instant::now() + QUIET);
            queues.is_running = spawned.is_ok();
            if let Err(error) = spawned {
                tracing::debug!(%error, "cannot start the thread that compresses pages");
            }
        }
        drop(queues);
        self.shared.changed.notify_one();
        true
    }
}

impl Drop for Coder {
    fn drop(&mut self) {
        lock(&self.shared.queues).is_closed = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    /// The next order, when its time has come; nothing at the end.
    fn next(&self) -> Option<Order> {
        let mut queues = lock(&self.queues);
        loop {
            if queues.is_closed {
                return None;
            }
            if let Some(order) = queues.fast.pop_front() {
                return Some(order);
            }
            let pause = queues.quiet_from.map_or(Duration::ZERO, |from| {
                from.saturating_duration_since(Instant::now())
            });
            if queues.strong.is_empty() {
                queues = self.changed.wait(queues).unwrap_or_else(PoisonError::into_inner);
            } else if pause.is_zero() {
                return queues.strong.pop_front();
            } else {
                let waited = self.changed.wait_timeout(queues, pause);
                queues = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    fn done(&self, order: Order, took: Duration) {
        let pause = match order.level {
            Level::Fast => QUIET,
            Level::Strong => took,
        };
        lock(&self.queues).quiet_from = Some(Instant::now() + pause);
    }
}

fn run(shared: &Shared, store: &Weak<Store>) {
    // Elsewhere it would be the whole process that gives way.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(19) {
        tracing::debug!(%error, "compression runs at ordinary priority");
    }
    while let Some(order) = shared.next() {
        let begun = Instant::now();
        // What is shared is behind locks, whose contents are whole at every step.
        let coded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| carry_out(store, order)));
        match coded {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let say = || tracing::warn!(%error, "a page cannot be compressed; it is served as it is");
                if let Some(store) = store.upgrade() {
                    store.trouble.say(say);
                }
            }
            Err(_) => tracing::error!("compressing a page was broken off by an error in the program"),
        }
        shared.done(order, begun.elapsed());
    }
}

/// A body in memory, and what is to be made of it.
struct Task {
    key: Key,
    id: Option<VariantId>,
    seal: Seal,
    bytes: Vec<u8>,
}

/// The store is not held while a body is coded: who closes it does not wait for that.
fn carry_out(store: &Weak<Store>, order: Order) -> io::Result<()> {
    let begin = || store.upgrade()?.begin(order).transpose();
    let Some(task) = begin().transpose()? else {
        return Ok(());
    };
    for coding in order.wanted.iter() {
        let Some(open) = store.upgrade() else {
            return Ok(());
        };
        let is_needed = open.is_needed(&task, coding, order.level);
        drop(open);
        if !is_needed {
            continue;
        }
        let coded = encode(&task.bytes, coding, order.level)?;
        let length = task.bytes.len() as u64;
        // A coder that errs is not asked again.
        let coded = coded.filter(|coded| is_of(coded, coding, &task.seal, length));
        if let Some(store) = store.upgrade() {
            store.keep(&task, (coding, order.level), coded)?;
        }
    }
    Ok(())
}

impl Store {
    /// Has the forms of a rendering made that was just stored.
    pub(super) fn code(&self, key: &Key, id: Option<VariantId>, wanted: Codings) {
        if !wanted.is_empty() {
            self.coder.ask((key.hash.short(), id), wanted, Level::Fast);
        }
    }

    /// Reads the body; nothing if there is nothing to do.
    fn begin(&self, order: Order) -> io::Result<Option<Task>> {
        let (short, id) = order.rendering;
        let has_room = || self.is_still_writable() && !self.options.bounds.is_beyond(self.used());
        if !self.is_frozen() && !has_room() {
            return Ok(None);
        }
        let Some(entry) = self.index.get_short(short) else {
            return Ok(None);
        };
        let is_open = |sets: FormSets| sets.open(order.wanted).is_some();
        if !entry
            .variant(id)
            .is_some_and(|variant| is_open(variant.coded.forms))
        {
            return Ok(None);
        }
        let key = Key::from_text(&*entry.key);
        let stem = Stem::of(&key);
        let read = self.read_sidecar(&stem, id, &key)?;
        let Some(sealed) = read.and_then(|(sidecar, _)| sidecar.rendering?.body) else {
            return Ok(None);
        };
        if order.level == Level::Strong && sealed.length > STRONG_LARGEST {
            return Ok(None);
        }
        let path = self.root.join(stem.folder()).join(&*sealed.file);
        let bytes = match self.fs.read_small(&path, sealed.length) {
            Ok((bytes, _)) => bytes,
            // Whoever visits the page finds out what became of it.
            Err(error) if super::read::is_unusable(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let is_it = Seal::of(&bytes) == sealed.seal;
        Ok(is_it.then_some(Task {
            key,
            id,
            seal: sealed.seal,
            bytes,
        }))
    }

    /// Whether a form is still to be made. One of an earlier run that was not met yet is taken in.
    fn is_needed(&self, task: &Task, coding: Coding, level: Level) -> bool {
        let owner = (task.key.hash.short(), task.id, task.seal.first_bits());
        let entry = self.index.get_short(owner.0);
        let variant = entry.as_ref().and_then(|entry| entry.variant(task.id));
        let Some(variant) = variant.filter(|variant| variant.coded.seal == owner.2) else {
            return false;
        };
        let forms = variant.coded.forms;
        if forms.open(coding.into()) != Some((coding.into(), level)) {
            return false;
        }
        if level == Level::Strong {
            return true;
        }
        let path = self
            .root
            .join(Stem::of(&task.key).derived(task.id, owner.2, coding));
        let _stripe = self.stripe(owner.0);
        let length = task.bytes.len() as u64;
        let is_there = self.form_file(&path, coding, (&task.seal, length)).is_some();
        let take_in = |forms: FormSets| FormSets {
            ready: forms.ready.with(coding),
            ..forms
        };
        !(is_there && self.change_forms(owner, take_in))
    }

    /// Keeps what a coding came to: the form, or that it is not worth one.
    fn keep(
        self: &Arc<Self>,
        task: &Task,
        (coding, level): (Coding, Level),
        coded: Option<Vec<u8>>,
    ) -> io::Result<()> {
        let owner = (task.key.hash.short(), task.id, task.seal.first_bits());
        if self.is_frozen() {
            self.hold_form(owner, (task.seal, coding, level), coded);
            return Ok(());
        }
        let path = self
            .root
            .join(Stem::of(&task.key).derived(task.id, owner.2, coding));
        let is_smaller = |coded: &Vec<u8>| {
            let there = self.fs.stat(&path).map_or(u64::MAX, |file| file.size());
            level == Level::Fast || (coded.len() as u64) < there
        };
        if !self.is_still_writable() {
            return Ok(());
        }
        let Some(coded) = coded.filter(is_smaller) else {
            let _stripe = self.stripe(owner.0);
            self.change_forms(owner, |forms| match level {
                Level::Fast => FormSets {
                    spared: forms.spared.with(coding),
                    ..forms
                },
                // The fast one is as good.
                Level::Strong => FormSets {
                    strong: forms.strong.with(coding),
                    ..forms
                },
            });
            return Ok(());
        };
        self.place_form((&task.key, task.id, &task.seal), (coding, level), &coded)?;
        self.relieve();
        Ok(())
    }
}
