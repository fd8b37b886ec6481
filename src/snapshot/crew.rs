//! Who waits for the disk in a request's stead: few threads, each of which takes the next job as long as there is one.
//!
//! tokio's pool has a thread for each job, up to hundreds, and wakes one for each: with many misses at once a third of the
//! time went into waking them, and into the lock of their queue. Here a job that finds enough threads at work waits for its turn,
//! which takes microseconds while what is asked for is in memory. Where jobs take long, the threads are waiting for
//! the disk, and more are put to work.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::lock;

/// Threads at work at the most.
const MOST: usize = 256;
/// Who has waited for so long looks at whether there are threads enough, then after twice as long, and so on.
const PATIENCE: Duration = Duration::from_millis(10);
/// But no longer than this.
const LONGEST: Duration = Duration::from_millis(160);
/// Jobs that take longer wait for the disk.
const SLOW: Duration = Duration::from_millis(2);
/// Jobs after which a thread goes back to its runtime, which may be about to end.
const SHIFT: usize = 256;

/// See the module.
pub(crate) struct Crew(Arc<Shared>);

struct Shared {
    few: usize,
    work: Mutex<Work>,
}

/// What is asked for.
trait Job: Send {
    /// Whether anybody waits for what it comes to.
    fn is_awaited(&self) -> bool;

    fn carry_out(self: Box<Self>);
}

struct Asked<F, T> {
    job: F,
    answer: oneshot::Sender<T>,
}

impl<F: FnOnce() -> T + Send, T: Send> Job for Asked<F, T> {
    fn is_awaited(&self) -> bool {
        !self.answer.is_closed()
    }

    fn carry_out(self: Box<Self>) {
        // Nobody may be waiting.
        let _ = self.answer.send((self.job)());
    }
}

struct Work {
    waiting: VecDeque<Box<dyn Job>>,
    at_work: usize,
    /// How many may be.
    places: usize,
    done: u32,
    /// When the pace was last looked at, and `done` counted from.
    looked_at: Instant,
}

impl Crew {
    pub(super) fn new() -> Self {
        Self::of(
            available_parallelism()
                .map_or(2, NonZeroUsize::get)
                .clamp(2, MOST),
        )
    }

    fn of(few: usize) -> Self {
        Self(Arc::new(Shared {
            few,
            work: Mutex::new(Work {
                waiting: VecDeque::new(),
                at_work: 0,
                places: few,
                done: 0,
                looked_at: Instant::now(),
            }),
        }))
    }

    /// What `job` comes to; nothing if it panicked. It is done also when nobody waits for it any more, unless the
    /// runtime ends before it is begun.
    pub(crate) async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (answer, mut answered) = oneshot::channel();
        self.0.take(Box::new(Asked { job, answer }));
        let mut patience = PATIENCE;
        loop {
            match timeout(patience, &mut answered).await {
                Ok(answer) => return answer.ok(),
                Err(_) => self.0.look(),
            }
            patience = (2 * patience).min(LONGEST);
        }
    }
}

impl Shared {
    fn take(self: &Arc<Self>, job: Box<dyn Job>) {
        let mut work = lock(&self.work);
        if work.at_work == 0 {
            (work.places, work.done, work.looked_at) = (self.few, 0, Instant::now());
        }
        work.waiting.push_back(job);
        let is_short = work.at_work < work.places;
        work.at_work += usize::from(is_short);
        drop(work);
        if is_short {
            self.put_to_work();
        }
    }

    /// Has more threads at work where those that are wait for the disk, and fewer where they do not.
    fn look(self: &Arc<Self>) {
        let mut work = lock(&self.work);
        let since = work.looked_at.elapsed();
        if since >= PATIENCE {
            let threads = u32::try_from(work.at_work).unwrap_or(u32::MAX);
            let is_slow = since.saturating_mul(threads) >= SLOW.saturating_mul(work.done);
            work.places = match is_slow && !work.waiting.is_empty() {
                true => (2 * work.places).min(MOST),
                false => (work.places / 2).max(self.few),
            };
            work.done = 0;
            work.looked_at = Instant::now();
        }
        let more = work.waiting.len().min(work.places.saturating_sub(work.at_work));
        work.at_work += more;
        drop(work);
        for _ in 0..more {
            self.put_to_work();
        }
    }

    /// For what came between the last look of a thread and its going, or is left at the end of its shift.
    fn fill_place(self: &Arc<Self>) {
        let mut work = lock(&self.work);
        let is_short = work.at_work < work.places && !work.waiting.is_empty();
        work.at_work += usize::from(is_short);
        drop(work);
        if is_short {
            self.put_to_work();
        }
    }

    /// Whoever calls this has counted the thread.
    fn put_to_work(self: &Arc<Self>) {
        let place = Place {
            shared: Arc::clone(self),
            is_begun: false,
        };
        // A runtime that ends runs it no more; the place is free again then.
        drop(Handle::current().spawn_blocking(move || place.work()));
    }

    /// The next job; the place is given up where there is none, or were too many at work.
    fn next(&self, before: usize) -> Option<Box<dyn Job>> {
        let mut work = lock(&self.work);
        work.done = work.done.saturating_add(u32::from(before > 0));
        match work.at_work <= work.places && before < SHIFT {
            true => work.waiting.pop_front(),
            false => None,
        }
    }
}

/// A thread at work, or soon to be.
struct Place {
    shared: Arc<Shared>,
    is_begun: bool,
}

impl Place {
    fn work(mut self) {
        self.is_begun = true;
        let mut done = 0;
        while let Some(job) = self.shared.next(done) {
            // Whoever waits for it is told by the end of its channel; the panic itself was logged when it happened.
            let _ = catch_unwind(AssertUnwindSafe(|| job.carry_out()));
            done += 1;
        }
        let shared = Arc::clone(&self.shared);
        drop(self);
        shared.fill_place();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut work = lock(&self.shared.work);
        work.at_work -= 1;
        // The runtime ends, and whoever waited in it is gone: what is left would keep the store, which has this.
        let mut left = VecDeque::new();
        if !self.is_begun {
            let (awaited, unwanted) = std::mem::take(&mut work.waiting)
                .into_iter()
                .partition(|job| job.is_awaited());
            (work.waiting, left) = (awaited, unwanted);
        }
        // Without the lock: a job may be the last to have the store.
        drop(work);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_job_is_done_and_its_own_result_comes_back() {
        const JOBS: usize = 5 * SHIFT;
        let crew = Arc::new(Crew::of(2));
        let mut jobs = tokio::task::JoinSet::new();
        for number in 0..JOBS {
            let crew = Arc::clone(&crew);
            jobs.spawn(async move { crew.run(move || number).await.unwrap() });
        }
        let mut numbers = jobs.join_all().await;
        numbers.sort_unstable();
        assert_eq!(numbers, (0..JOBS).collect::<Vec<_>>());
        assert_eq!(lock(&crew.0.work).waiting.len(), 0);
    }

    #[test]
    fn what_a_runtime_never_began_is_kept_by_nobody() {
        let crew = Crew::of(1);
        let kept = Arc::new(());
        let (answer, answered) = oneshot::channel();
        let in_job = Arc::clone(&kept);
        let job = move || drop(in_job);
        lock(&crew.0.work)
            .waiting
            .push_back(Box::new(Asked { job, answer }));
        lock(&crew.0.work).at_work = 2;
        let never_begun = || Place {
            shared: Arc::clone(&crew.0),
            is_begun: false,
        };
        drop(never_begun());
        assert_eq!(Arc::strong_count(&kept), 2, "it is waited for");
        drop(answered);
        drop(never_begun());
        assert_eq!(Arc::strong_count(&kept), 1);
    }

    #[tokio::test]
    async fn a_job_is_done_while_those_before_it_wait_for_the_disk() {
        let crew = Arc::new(Crew::of(2));
        let mut gates = Vec::new();
        let mut waiting = Vec::new();
        for number in 0..8 {
            let (open, opened) = mpsc::channel::<()>();
            let crew = Arc::clone(&crew);
            gates.push(open);
            waiting.push(tokio::spawn(async move {
                let job = move || opened.recv().map_or(number, |()| number);
                crew.run(job).await
            }));
            // Each is taken in turn.
            tokio::task::yield_now().await;
        }
        assert_eq!(crew.run(|| "done").await, Some("done"));
        drop(gates);
        for (number, waiting) in waiting.into_iter().enumerate() {
            assert_eq!(waiting.await.unwrap(), Some(number));
        }
    }

    #[tokio::test]
    async fn a_job_that_panics_is_nobodys_but_its_own() {
        let crew = Crew::of(1);
        let broken = crew.run(|| -> u8 { panic!("as it has to") }).await;
        assert_eq!((broken, crew.run(|| 2).await), (None, Some(2)));
    }

    #[test]
    fn a_runtime_that_ends_takes_no_other_s_jobs_along() {
        let crew = Arc::new(Crew::of(1));
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
        };
        let (first, second) = (runtime(), runtime());
        let (open, opened) = mpsc::channel::<()>();
        let (begun, begin) = oneshot::channel();
        let holding = Arc::clone(&crew);
        first.spawn(async move {
            let job = move || {
                let _ = begun.send(());
                let _ = opened.recv();
            };
            holding.run(job).await
        });
        first.block_on(begin).unwrap();
        // It has a thread that takes what waits for the second, and may have no more.
        first.shutdown_background();
        drop(open);
        assert_eq!(second.block_on(crew.run(|| 3)), Some(3));
        assert_eq!(second.block_on(crew.run(|| 4)), Some(4));
    }
}
