//! Many pages asked for at the pace of prerendering, and told of in their order.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::prerender::{Pace, Paced, Refusal, TRIES, Wait};

/// How far the work may be ahead of what was told, so that one slow page does not have all others held in memory.
const AHEAD: usize = 16;

/// What was heard of the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It was not asked.
    Nothing,
    /// It wants to be left alone, for so long if it says so.
    Refusal(Option<Duration>),
    /// No answer in time.
    Late,
    Answer(Duration),
}

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
    waiting: VecDeque<(usize, u32, J)>,
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
        self.waiting.push_back((self.known, 0, job));
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
    mut jobs: Jobs<J>,
    ask: impl Fn(J) -> F,
    mut tell: impl FnMut(Told<J, T>, &mut Jobs<J>),
) where
    F: Future<Output = (T, Heard)>,
{
    let mut under_way = FuturesUnordered::new();
    let mut done: BTreeMap<usize, Told<J, T>> = BTreeMap::new();
    let (mut told, mut is_over) = (0, false);
    loop {
        while let Some(next) = done.remove(&told) {
            told += 1;
            tell(next, &mut jobs);
        }
        while is_over && let Some((number, _, job)) = jobs.waiting.pop_front() {
            done.insert(number, Told::LeftOut(job));
        }
        if done.contains_key(&told) {
            continue;
        }
        let mut freed = pin!(paced.freed());
        freed.as_mut().enable();
        let mut wait = None;
        while wait.is_none() && jobs.waiting.front().is_some_and(|next| next.0 < told + AHEAD) {
            match paced.take_turn(Instant::now()) {
                Ok(turn) => {
                    let Some((number, tries, job)) = jobs.waiting.pop_front() else {
                        break;
                    };
                    let asked = ask(job.clone());
                    under_way.push(async move {
                        let (found, heard) = asked.await;
                        drop(turn);
                        (number, tries, job, found, heard)
                    });
                }
                Err(until) => wait = Some(until),
            }
        }
        let turn = async {
            match wait {
                Some(Wait::Until(at)) => tokio::time::sleep_until(at.into()).await,
                Some(Wait::ForAnother) => freed.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some((number, tries, job, found, heard)) = under_way.next(), if !under_way.is_empty() => {
                match heed(paced, heard) {
                    Some(Refusal::Again(wait)) if tries + 1 < TRIES && !is_over => {
                        tell(Told::Waiting(wait), &mut jobs);
                        jobs.waiting.push_front((number, tries + 1, job));
                        continue;
                    }
                    Some(Refusal::NotAgain(wait)) => tell(Told::Waiting(wait), &mut jobs),
                    Some(Refusal::Enough) => is_over = true,
                    Some(Refusal::Again(_)) | None => {}
                }
                done.insert(number, Told::Done(job, found));
            }
            () = turn, if wait.is_some() => {}
            else => break,
        }
    }
}

/// Has the pace follow what was heard.
fn heed(paced: &Paced, heard: Heard) -> Option<Refusal> {
    match heard {
        Heard::Nothing => paced.tell(Pace::was_not_needed),
        Heard::Late => paced.tell(Pace::slow_down),
        Heard::Answer(took) => paced.tell(|pace| pace.answered(took)),
        Heard::Refusal(named) => return Some(paced.tell(|pace| pace.refused(named, Instant::now()))),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prerender::PrerenderOptions;

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
        assert_eq!((asked.get(), waits, told), (TRIES, 3, 1));
    }
}
