//! What is stored, rendered again and compared.

use std::sync::Arc;

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;

use crate::artefact::{Artefact, Side, SideState, Stored};
use crate::clock::system_now;
use crate::config::CreateProxyConfig;
use crate::error::{Error, ErrorKind};
use crate::head::{RenderingOrigin, VariantKey};
use crate::key::{line_of, parts_of};
use crate::outcome::Reason;
use crate::prerender::{Heard, Paced, Site, wait_of};
use crate::proxy::{Address, Decided, Proxy, Rendition, Sight};

use super::hunks::Side as Where;
use super::lines::MOST_READ;
use super::paced::{Jobs, Told, in_turn};
use super::page::{PageDiff, Standing, Summary, Validators, alone, compare};
use super::{Event, Options};

/// A rendering to be looked at again.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) stored: Stored,
    /// Nothing where nobody can ask for it, and why.
    pub(super) way: Result<(Address, HeaderMap), &'static str>,
    pub(super) is_stored: bool,
}

/// What differs between what is stored and what the backend renders now. Only reads, and stores nothing.
///
/// # Errors
/// A setting that cannot work, what is no pattern, or one that nothing stored matches and that is no page either.
pub async fn diff(
    config: &CreateProxyConfig,
    artefact: &Arc<Artefact>,
    options: &Options,
    mut observe: impl FnMut(Event<'_, PageDiff>),
) -> Result<Summary, Error> {
    let proxy = Proxy::onlooker(config, artefact.id().as_deref())?;
    let (jobs, unread) = jobs(&proxy, artefact, options.pattern.as_deref()).await?;
    let mut summary = Summary {
        unread,
        ..Summary::default()
    };
    let ask = |job: Job| look(&proxy, artefact, job);
    let mut done = 0;
    in_turn(
        &Paced::new(&options.pace()),
        Jobs::of(jobs),
        ask,
        |told, jobs| match told {
            Told::Done(_, (page, _)) => {
                done += 1;
                summary.count(&page);
                observe(Event::Done(&page, done, jobs.known()));
            }
            Told::LeftOut(job) => {
                done += 1;
                let page = PageDiff::of(&job.stored, Standing::Failed(Reason::Busy));
                summary.count(&page);
                observe(Event::Done(&page, done, jobs.known()));
            }
            Told::Waiting(wait) => observe(Event::Waiting(wait)),
        },
    )
    .await;
    Ok(summary)
}

/// What is to be looked at, and which folders cannot be read.
pub(super) async fn jobs(
    proxy: &Proxy,
    artefact: &Arc<Artefact>,
    pattern: Option<&str>,
) -> Result<(Vec<Job>, Vec<String>), Error> {
    // A URL is no pattern, and means one page.
    let is_url = |text: &&str| text.starts_with("http://") || text.starts_with("https://");
    let url = pattern.filter(|text| is_url(text) && !text.contains('*'));
    let wanted = url.map(|url| Site::of(proxy).asked(url)).transpose()?;
    let matching = match &wanted {
        Some(address) => Some(format!("GET:{}", address.target)),
        None => pattern.map(str::to_owned),
    };
    let reading = Arc::clone(artefact);
    let listed = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        let unread = reading.each_stored(matching.as_deref(), &mut |stored| found.push(stored))?;
        Ok((found, unread))
    });
    let gone = |_| Error::new(ErrorKind::Directory, "reading the snapshot directory panicked");
    let (mut found, unread): (Vec<Stored>, _) = listed.await.map_err(gone)??;
    // Files of one page stand together, and their order is that of nothing that anybody knows.
    found.sort_by(|one, other| (&one.page, &one.selecting).cmp(&(&other.page, &other.selecting)));
    let public = proxy.site().0.public.clone();
    let public = public.as_ref().map(|(scheme, host)| (&**scheme, &**host));
    let mut all: Vec<Job> = found
        .into_iter()
        .map(|stored| Job {
            way: way(&stored, public),
            stored,
            is_stored: true,
        })
        .collect();
    if let Some(wanted) = &wanted {
        all.retain(|job| job.way.as_ref().map_or(true, |(address, _)| address == wanted));
    }
    if let Some(text) = pattern.filter(|_| all.is_empty()) {
        all.push(Job::unstored(proxy, text)?);
    }
    Ok((all, unread))
}

impl Job {
    /// A page that is not stored, by its address.
    pub(super) fn unstored(proxy: &Proxy, text: &str) -> Result<Self, Error> {
        if text.contains('*') {
            let error = Error::new(
                ErrorKind::Absent,
                format!("nothing that is stored matches `{text}`"),
            );
            return Err(error.with_hint("`phantom-frame ls` lists what is"));
        }
        let site = Site::of(proxy);
        let address = site.asked(text)?;
        Ok(Self {
            stored: Stored {
                page: site.shown(&address),
                key: format!("GET:{}", address.target).into(),
                method: "GET".into(),
                url: address.target.as_str().into(),
                variant: VariantKey::default(),
                selecting: Vec::new(),
                sidecar: std::path::PathBuf::new(),
                file: String::new(),
                origin: RenderingOrigin::Backend,
            },
            way: Ok((address, HeaderMap::new())),
            is_stored: false,
        })
    }
}

/// Who asks for a stored rendering, and where.
fn way(stored: &Stored, public: Option<(&str, &str)>) -> Result<(Address, HeaderMap), &'static str> {
    if stored.origin == RenderingOrigin::Operator {
        return Err("a tombstone");
    }
    if &*stored.method != "GET" || line_of(&stored.key).is_empty() {
        return Err("not asked for by GET");
    }
    let (mut scheme, mut host) = public.unwrap_or_default();
    let mut fields = HeaderMap::new();
    let mut set = |name: &str, value: &str| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        fields.insert(name, HeaderValue::from_str(value).ok()?);
        Some(())
    };
    for (name, value) in parts_of(&stored.key) {
        let is_set = match name {
            "host" => {
                host = value;
                Some(())
            }
            "scheme" => {
                scheme = value;
                Some(())
            }
            "line" => Some(()),
            // What is hashed is nobody's to say.
            "header.cookie" => None,
            name => name.strip_prefix("header.").and_then(|name| set(name, value)),
        };
        if is_set.is_none() {
            return Err("a cookie of its visitor's is part of its key");
        }
    }
    for (name, value) in &stored.selecting {
        if set(name, value).is_none() {
            return Err("it cannot be said what selects it");
        }
    }
    let target = PathAndQuery::try_from(&*stored.url).map_err(|_| "its address cannot be asked for")?;
    match host.is_empty() {
        true => Err("nothing says of which host it is"),
        false => Ok((
            Address {
                scheme: if scheme == "https" { "https" } else { "http" },
                host: host.into(),
                target,
            },
            fields,
        )),
    }
}

/// Renders a page and compares it.
pub(super) async fn look(proxy: &Proxy, artefact: &Arc<Artefact>, job: Job) -> ((PageDiff, Decided), Heard) {
    let (address, fields) = match &job.way {
        Ok(way) => way,
        Err(why) => {
            let page = PageDiff::of(&job.stored, Standing::Left(why));
            return ((page, Decided::Snapshot), Heard::Nothing);
        }
    };
    let sight = Sight {
        fields: fields.clone(),
        names: job.stored.variant.names(),
        limit: MOST_READ,
    };
    let rendition = proxy.render(address, sight).await;
    let heard = heard(&rendition);
    let (artefact, panicked) = (Arc::clone(artefact), job.stored.clone());
    let decided = rendition.decided;
    let compared = tokio::task::spawn_blocking(move || judge(&artefact, &job, rendition));
    let page = compared
        .await
        .unwrap_or_else(|_| PageDiff::of(&panicked, Standing::Failed(Reason::Panic)));
    ((page, decided), heard)
}

pub(super) fn heard(rendition: &Rendition) -> Heard {
    let status = rendition.status.map(|status| status.as_u16());
    match rendition.decided {
        _ if matches!(status, Some(429 | 503)) => {
            Heard::Refusal(wait_of(rendition.retry_after(), system_now()))
        }
        Decided::Failed(Reason::Timeout) => Heard::Late,
        _ if rendition.was_asked() => Heard::Answer(rendition.took),
        _ => Heard::Nothing,
    }
}

fn judge(artefact: &Artefact, job: &Job, rendition: Rendition) -> PageDiff {
    let mut page = PageDiff::of(&job.stored, Standing::Same);
    page.took = rendition.took;
    let before = match job.is_stored {
        true => artefact.side(&job.stored.sidecar, MOST_READ),
        false => {
            page.file = None;
            Ok(None)
        }
    };
    let Ok(before) = before else {
        page.standing = Standing::Failed(Reason::Disk);
        return page;
    };
    let is_other_key = |key: &crate::key::Key| job.is_stored && key.text != job.stored.key;
    page.standing = match rendition.decided {
        _ if rendition.status == Some(StatusCode::TOO_MANY_REQUESTS) => Standing::Failed(Reason::Busy),
        _ if rendition.key.as_ref().is_some_and(is_other_key) => {
            Standing::Left("the settings give it another key now")
        }
        Decided::Snapshot => Standing::Changed,
        Decided::Missing => Standing::Gone,
        Decided::Not(reason) => Standing::NotStored(reason),
        Decided::Failed(reason) => Standing::Failed(reason),
    };
    page.status = (
        before.as_ref().map(|side| side.head.status.as_u16()),
        rendition.status.map(|status| status.as_u16()),
    );
    if page.standing != Standing::Changed {
        page.is_edited = before.is_some_and(|side| side.state == SideState::Changed);
        return page;
    }
    let Some(head) = rendition.head else {
        return page;
    };
    let after = Side {
        head,
        length: rendition.length,
        seal: rendition.seal,
        body: rendition.body.map(|body| body.to_vec()),
        state: SideState::Sealed,
    };
    match before {
        Some(before) => compare(&mut page, (&before, &after), Validators::Apart),
        None => {
            page.standing = Standing::New;
            alone(&mut page, &after, Where::After);
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(key: &str, selecting: &[(&str, &str)]) -> Stored {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Stored {
            page: "/a".into(),
            key: key.into(),
            method: "GET".into(),
            url: "/a".into(),
            variant: VariantKey::default(),
            selecting: selecting.iter().map(own).collect(),
            sidecar: "a.toml".into(),
            file: "a.html".into(),
            origin: RenderingOrigin::Backend,
        }
    }

    #[test]
    fn a_stored_rendering_leads_back_to_who_asked_for_it() {
        let public = Some(("https", "example.com"));
        for (key, selecting, public, expected) in [
            ("GET:/a", &[][..], public, Ok("https example.com /a {}")),
            ("GET:/a", &[], None, Err("nothing says of which host it is")),
            (
                "GET:/a\nhost 3:x:1\nscheme 4:http",
                &[("accept-language", "de")],
                None,
                Ok("http x:1 /a {\"accept-language\": \"de\"}"),
            ),
            (
                "GET:/a\nheader.x-theme 4:dark",
                &[],
                public,
                Ok("https example.com /a {\"x-theme\": \"dark\"}"),
            ),
            (
                "GET:/a\ncookie.currency 64:0",
                &[],
                public,
                Err("a cookie of its visitor's is part of its key"),
            ),
        ] {
            let found = way(&stored(key, selecting), public);
            let found =
                found.map(|(at, fields)| format!("{} {} {} {fields:?}", at.scheme, at.host, at.target));
            assert_eq!(found.as_deref().map_err(|why| *why), expected, "{key}");
        }
        let mut tombstone = stored("GET:/a", &[]);
        tombstone.origin = RenderingOrigin::Operator;
        assert_eq!(way(&tombstone, public).err(), Some("a tombstone"));
    }
}
