//! Many pages asked for at the pace of prerendering, and told of in their order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::prerender::{Heard, Paced, Work, drive};

/// How far the work may be ahead of what was told, so that one slow page does not have all others held in memory.
const AHEAD: usize = 16;

/// What is told, in the order of the jobs.
#[derive(Debug)]
pub(super) enum Told<J, T> {
    Done(J, T),
    /// Not asked for: the backend is too busy.
    LeftOut(J),
    /// The backend is not asked for so long.
    Waiting(Duration),
}

/// What is to be done.
#[derive(Debug)]
pub(super) struct Jobs<J> {
    waiting: VecDeque<(usize, J)>,
    known: usize,
}

impl<J> Jobs<J> {
    pub(super) fn of(jobs: impl IntoIterator<Item = J>) -> Self {
        let mut all = Self {
            waiting: VecDeque::new(),
            known: 0,
        };
        jobs.into_iter().for_each(|job| all.add(job));
        all
    }

    pub(super) fn add(&mut self, job: J) {
        self.waiting.push_back((self.known, job));
        self.known += 1;
    }

    /// How many have been taken in.
    pub(super) fn known(&self) -> usize {
        self.known
    }
}

/// Does all of them, and what is added meanwhile.
pub(super) async fn in_turn<J: Clone, T, F>(
    paced: &Arc<Paced>,
    jobs: Jobs<J>,
    ask: impl Fn(J) -> F,
    tell: impl FnMut(Told<J, T>, &mut Jobs<J>),
) where
    F: Future<Output = (T, Heard)>,
{
    let mut turns = Turns {
        jobs,
        done: BTreeMap::new(),
        told: 0,
        tell,
    };
    drive(paced, &mut turns, |(_, job)| ask(job)).await;
}

struct Turns<J, T, F> {
    jobs: Jobs<J>,
    /// What is to be told when what comes before it has been.
    done: BTreeMap<usize, Told<J, T>>,
    told: usize,
    tell: F,
}

impl<J, T, F: FnMut(Told<J, T>, &mut Jobs<J>)> Turns<J, T, F> {
    fn take(&mut self, number: usize, told: Told<J, T>) {
        self.done.insert(number, told);
        while let Some(next) = self.done.remove(&self.told) {
            self.told += 1;
            (self.tell)(next, &mut self.jobs);
        }
    }
}

impl<J: Clone, T, F: FnMut(Told<J, T>, &mut Jobs<J>)> Work for Turns<J, T, F> {
    type Job = (usize, J);
    type Found = T;

    fn next(&mut self) -> Option<(usize, J)> {
        let end = self.told + AHEAD;
        self.jobs.waiting.pop_front_if(|(number, _)| *number < end)
    }

    fn done(&mut self, (number, job): (usize, J), found: T, _: u32) {
        self.take(number, Told::Done(job, found));
    }

    fn left_out(&mut self, (number, job): (usize, J)) {
        self.take(number, Told::LeftOut(job));
    }

    fn waits(&mut self, wait: Duration) {
        (self.tell)(Told::Waiting(wait), &mut self.jobs);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::prerender::{Pace, PrerenderOptions};

    fn paced(concurrency: usize) -> Arc<Paced> {
        Paced::new(&PrerenderOptions {
            concurrency,
            ..PrerenderOptions::default()
        })
    }

    #[tokio::test]
    async fn what_is_done_out_of_turn_is_told_in_turn() {
        let (send, first) = tokio::sync::oneshot::channel();
        let (send, first) = (
            std::cell::Cell::new(Some(send)),
            std::cell::Cell::new(Some(first)),
        );
        let ask = |job: usize| {
            let (gate, opens) = match job {
                0 => (first.take(), None),
                2 => (None, send.take()),
                _ => (None, None),
            };
            async move {
                if let Some(gate) = gate {
                    let _: Result<(), _> = gate.await;
                }
                if let Some(opens) = opens {
                    opens.send(()).expect("it is waited for");
                }
                (job, Heard::Answer(Duration::ZERO))
            }
        };
        let mut told = Vec::new();
        in_turn(&paced(2), Jobs::of(0..3), ask, |what, jobs| {
            if let Told::Done(job, found) = what {
                assert_eq!(job, found);
                told.push(job);
                if job == 1 {
                    jobs.add(9);
                }
            }
        })
        .await;
        assert_eq!(told, [0, 1, 2, 9]);
    }

    #[tokio::test]
    async fn who_is_refused_is_asked_again_a_few_times_and_told_as_it_was() {
        let asked = std::cell::Cell::new(0);
        let ask = |job: usize| {
            asked.set(asked.get() + 1);
            async move { (job, Heard::Refusal(Some(Duration::ZERO))) }
        };
        let (mut waits, mut told) = (0, 0);
        in_turn(&paced(1), Jobs::of([1]), ask, |what, _| match what {
            Told::Waiting(_) => waits += 1,
            Told::Done(..) | Told::LeftOut(_) => told += 1,
        })
        .await;
        assert_eq!((asked.get(), waits, told), (4, 3, 1));
    }
    #[tokio::test]
    async fn what_a_busy_backend_is_not_asked_for_is_told_in_turn_too() {
        let asked = std::cell::Cell::new(0);
        let ask = |job: usize| {
            asked.set(asked.get() + 1);
            async move { (job, Heard::Refusal(Some(Duration::from_secs(1)))) }
        };
        let pace = Pace::new(1, 0, Instant::now()).with_patience(Duration::ZERO);
        let (mut told, mut left_out) = (Vec::new(), 0);
        in_turn(&Paced::with(pace), Jobs::of(0..3 * AHEAD), ask, |what, jobs| {
            match what {
                Told::Waiting(_) => return,
                Told::Done(job, _) => told.push(job),
                Told::LeftOut(job) => {
                    told.push(job);
                    left_out += 1;
                }
            }
            if told.len() == 2 * AHEAD {
                jobs.add(3 * AHEAD);
            }
        })
        .await;
        assert_eq!(told, (0..=3 * AHEAD).collect::<Vec<_>>());
        // One, and one more after the wait.
        assert_eq!((asked.get(), left_out), (2, told.len() - 2));
    }
}
