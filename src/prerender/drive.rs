//! Many requests to a backend, as fast as the pace allows: begun one after the other, made again where it wants to be
//! left alone, and given up where it goes on wanting that.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::pace::{Pace, Paced, Refusal, Wait};

/// How often a page is asked for that the backend is too busy for.
const TRIES: u32 = 4;

/// What was heard of the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It was not asked.
    Nothing,
    /// It wants to be left alone, for so long if it says so.
    Refusal(Option<Duration>),
    /// No answer in time.
    Late,
    Answer(Duration),
}

/// What there is to ask for, and what is made of the answers.
pub(crate) trait Work {
    type Job: Clone;
    type Found;

    /// What comes next; nothing as long as something else has to end first.
    fn next(&mut self) -> Option<Self::Job>;

    /// It was asked for so many times.
    fn done(&mut self, job: Self::Job, found: Self::Found, tries: u32);

    /// It is not asked for: the backend is too busy.
    fn left_out(&mut self, job: Self::Job);

    /// The backend is not asked for so long.
    fn waits(&mut self, wait: Duration);
}

/// Does all of the work, and what comes of it.
pub(crate) async fn drive<W: Work, F>(paced: &Arc<Paced>, work: &mut W, ask: impl Fn(W::Job) -> F)
where
    F: Future<Output = (W::Found, Heard)>,
{
    let mut drive = Drive {
        work,
        first: Vec::new(),
        is_over: false,
    };
    let mut under_way = FuturesUnordered::new();
    loop {
        let mut freed = pin!(paced.freed());
        freed.as_mut().enable();
        let mut wait = None;
        while wait.is_none()
            && let Some((job, tries)) = drive.next()
        {
            match paced.take_turn(Instant::now()) {
                Ok(turn) => {
                    let asked = ask(job.clone());
                    under_way.push(async move {
                        let (found, heard) = asked.await;
                        drop(turn);
                        (job, tries + 1, found, heard)
                    });
                }
                Err(until) => {
                    drive.first.push((job, tries));
                    wait = Some(until);
                }
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
            Some((job, tries, found, heard)) = under_way.next(), if !under_way.is_empty() => {
                drive.end((job, tries), found, heed(paced, heard));
            }
            () = turn, if wait.is_some() => {}
            else => break,
        }
    }
}

struct Drive<'a, W: Work> {
    work: &'a mut W,
    /// Before what has not been tried, each with how often it has been.
    first: Vec<(W::Job, u32)>,
    /// What is not under way is not asked for.
    is_over: bool,
}

impl<W: Work> Drive<'_, W> {
    fn next(&mut self) -> Option<(W::Job, u32)> {
        self.first.pop().or_else(|| Some((self.work.next()?, 0)))
    }

    fn has_more(&mut self) -> bool {
        let next = self.next();
        self.first.extend(next);
        !self.first.is_empty()
    }

    fn end(&mut self, (job, tries): (W::Job, u32), found: W::Found, refusal: Option<Refusal>) {
        match refusal {
            Some(Refusal::Again(wait)) if tries < TRIES && !self.is_over => {
                self.first.push((job, tries));
                return self.work.waits(wait);
            }
            Some(Refusal::NotAgain(wait)) if self.has_more() => self.work.waits(wait),
            Some(Refusal::Enough) => self.is_over = true,
            Some(Refusal::Again(_) | Refusal::NotAgain(_)) | None => {}
        }
        self.work.done(job, found, tries);
        while self.is_over
            && let Some((job, _)) = self.next()
        {
            self.work.left_out(job);
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
