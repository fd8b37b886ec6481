//! The new rendering is taken, where it is another one.

use std::cell::RefCell;
use std::sync::Arc;

use http::HeaderMap;

use crate::artefact::Artefact;
use crate::command::Remote;
use crate::config::CreateProxyConfig;
use crate::error::{Error, ErrorKind};
use crate::outcome::Reason;
use crate::prerender::{Heard, Paced};
use crate::proxy::{Address, Became, Proxy};

use super::again::{Job, jobs, look};
use super::paced::{Jobs, Told, in_turn};
use super::page::{PageDiff, Standing, Summary};
use super::{Event, Options};

/// A page, and what was done about it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Accepted {
    /// How it differed.
    pub page: PageDiff,
    /// What became of it; nothing where there was nothing to do.
    pub became: Option<Became>,
}

impl Accepted {
    /// Whether it is still not what the backend renders.
    pub fn is_failure(&self) -> bool {
        match (self.page.standing, self.became) {
            (Standing::Same | Standing::Left(_), _) => false,
            (Standing::Failed(_), _) | (_, None | Some(Became::Failed(_))) => true,
            // Stored again, or not there any more, as it was rendered.
            (Standing::Changed | Standing::New, Some(became)) => {
                !matches!(became, Became::New | Became::Changed | Became::Same)
            }
            (Standing::Gone | Standing::NotStored(_), Some(_)) => false,
        }
    }
}

/// Stores what [`diff`](super::diff) would show: what is the same is not touched, and what is gone, or would not be
/// stored any more, is removed. Where a server writes the directory that one does it, else this takes the lock.
///
/// # Errors
/// As [`diff`](super::diff), and where another process writes the directory.
pub async fn accept(
    config: &CreateProxyConfig,
    (artefact, server): (&Arc<Artefact>, Option<&Remote>),
    options: &Options,
    mut observe: impl FnMut(Event<'_, Accepted>),
) -> Result<Summary, Error> {
    let hand = Hand::of(config, artefact, server).await?;
    let onlooker = Proxy::onlooker(config, artefact.id().as_deref())?;
    let (jobs, unread) = jobs(&onlooker, artefact, options.pattern.as_deref()).await?;
    let mut summary = Summary {
        unread,
        ..Summary::default()
    };
    let ask = |job: Job| take(&hand, &onlooker, artefact, job);
    let mut done = 0;
    in_turn(&Paced::new(&options.pace()), Jobs::of(jobs), ask, |told, jobs| {
        let accepted = match told {
            Told::Done(_, accepted) => accepted,
            Told::LeftOut(job) => Accepted {
                page: PageDiff::of(&job.stored, Standing::Failed(Reason::Busy)),
                became: None,
            },
            Told::Waiting(wait) => return observe(Event::Waiting(wait)),
        };
        done += 1;
        summary.count(&accepted.page);
        observe(Event::Done(&accepted, done, jobs.known()));
    })
    .await;
    match hand.failure.into_inner() {
        Some(failure) => Err(failure),
        None => Ok(summary),
    }
}

/// Who stores what is taken.
struct Hand<'a> {
    way: Way<'a>,
    /// Why the server did not do what it was asked, at first.
    failure: RefCell<Option<Error>>,
}

enum Way<'a> {
    /// This process, which has the lock.
    Own(Proxy),
    Server(&'a Remote),
}

impl<'a> Hand<'a> {
    async fn of(
        config: &CreateProxyConfig,
        artefact: &Artefact,
        server: Option<&'a Remote>,
    ) -> Result<Self, Error> {
        let way = match server {
            Some(server) => {
                server.may_ask().await?;
                Way::Server(server)
            }
            None => Way::Own(own(config, artefact).await?),
        };
        Ok(Self {
            way,
            failure: RefCell::default(),
        })
    }

    async fn order_anew(&self, address: &Address, fields: &HeaderMap) -> Became {
        match &self.way {
            Way::Own(proxy) => proxy.order_anew(address, fields).await.became,
            Way::Server(server) => self.note(server.order_anew(address, fields).await),
        }
    }

    async fn discard(&self, key: &str) -> Result<(), Became> {
        let discarded = match &self.way {
            Way::Own(proxy) => proxy.discard(key).await.is_ok(),
            Way::Server(server) => server.discard(key).await.is_ok(),
        };
        discarded.then_some(()).ok_or(Became::Failed(Reason::Disk))
    }

    fn note(&self, asked: Result<Became, Error>) -> Became {
        asked.unwrap_or_else(|error| {
            self.failure.borrow_mut().get_or_insert(error);
            Became::Failed(Reason::Incomplete)
        })
    }
}

async fn own(config: &CreateProxyConfig, artefact: &Artefact) -> Result<Proxy, Error> {
    let proxy = Proxy::new(config.clone())?;
    if proxy.may_write().await {
        return Ok(proxy);
    }
    let what = format!("another process writes {}", artefact.directory().display());
    Err(Error::new(ErrorKind::Locked, what).with_hint(
        "no control server answers where its `.phantom/server.json` says: have that server render what is stored \
         (`POST /refresh-cache?mode=render` on its control port), or stop it",
    ))
}

async fn take(hand: &Hand<'_>, onlooker: &Proxy, artefact: &Arc<Artefact>, job: Job) -> (Accepted, Heard) {
    let ((page, _), heard) = look(onlooker, artefact, job.clone()).await;
    let standing = page.standing;
    let mut accepted = Accepted { page, became: None };
    let (Ok((address, fields)), true) = (&job.way, standing.is_difference()) else {
        return (accepted, heard);
    };
    if matches!(standing, Standing::Failed(_)) {
        return (accepted, heard);
    }
    let became = hand.order_anew(address, fields).await;
    let is_out = matches!(became, Became::NotStored(_) | Became::Missing);
    accepted.became = Some(became);
    if is_out && matches!(standing, Standing::Gone | Standing::NotStored(_)) && job.is_stored {
        accepted.became = remove(hand, artefact, &job).await.err().or(accepted.became);
    }
    (accepted, heard)
}

/// What the answer alone has not taken out. Of a variant, only itself could go, which nothing but a visitor's fill does.
async fn remove(hand: &Hand<'_>, artefact: &Arc<Artefact>, job: &Job) -> Result<(), Became> {
    let is_there = matches!(artefact.side(&job.stored.sidecar, 0), Ok(Some(_)));
    if !is_there {
        return Ok(());
    }
    if job.stored.variant.id().is_some() {
        return Err(Became::Failed(Reason::Variants));
    }
    hand.discard(&job.stored.key).await
}
