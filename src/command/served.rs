//! The server's end: what commands ask for, done by the process that writes the directory.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::HeaderMap;
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::place::Place;
use super::words;
use crate::artefact::{Artefact, Progress, Removed, Tombstone};
use crate::config::CreateProxyConfig;
use crate::control::{Commands, Lines};
use crate::error::{Error, ErrorKind, chain};
use crate::invalidate::{RefreshMode, RefreshTrigger};
use crate::key::Key;
use crate::pattern::KeyPattern;
use crate::prerender::{Event, PrerenderOptions, prerender};
use crate::proxy::{Address, Proxy};
use crate::snapshot::Store;

/// Between one word of how far it is and the next.
const STEP: Duration = Duration::from_secs(1);

/// How many files have been looked at, once there is somebody who looks.
type Seen = Arc<OnceLock<Arc<Progress>>>;

/// Does what commands ask for, with a proxy's own hands on its directory.
#[derive(Debug, Clone)]
pub struct Served {
    proxy: Proxy,
    config: Arc<CreateProxyConfig>,
    place: Place,
    is_ending: Arc<watch::Sender<bool>>,
    rooms: Arc<Rooms>,
}

/// How many commands go on at the same time.
#[derive(Debug)]
struct Rooms {
    /// Each reads the directory through.
    directory: Arc<Semaphore>,
    /// Runs over pages, which together would have the pace of none.
    runs: Arc<Semaphore>,
    /// One page each.
    pages: Arc<Semaphore>,
}

impl Rooms {
    fn new() -> Self {
        let room_for = |commands| Arc::new(Semaphore::new(commands));
        Self {
            directory: room_for(4),
            runs: room_for(1),
            pages: room_for(64),
        }
    }

    fn enter(&self, asked: &Asked) -> Result<OwnedSemaphorePermit, Error> {
        let room = match asked {
            Asked::Prerender(_) => &self.runs,
            Asked::Order(_) | Asked::Discard(_) | Asked::Nothing => &self.pages,
            Asked::Remove(_) | Asked::Tombstone(..) | Asked::Reseal(_) | Asked::Collect => &self.directory,
        };
        Arc::clone(room).try_acquire_owned().map_err(|_full| {
            let error = Error::new(
                ErrorKind::Locked,
                "as many such commands as it takes are at work already",
            );
            error.with_hint("repeat it when they are done")
        })
    }
}

/// `server.json`, as long as this lives.
#[derive(Debug)]
pub struct Announced(Proxy);

impl Drop for Announced {
    fn drop(&mut self) {
        self.0.renounce();
    }
}

/// What a command asks for.
enum Asked {
    Remove(String),
    Tombstone(String, Tombstone),
    Prerender(PrerenderOptions),
    Reseal(Option<String>),
    Collect,
    /// Whether anything may be asked for.
    Nothing,
    Order(Box<(Address, HeaderMap)>),
    Discard(String),
}

impl Asked {
    fn read(name: &str, arguments: &Map<String, Value>) -> Option<Result<Self, Error>> {
        let pattern = || words::text(arguments, "pattern");
        Some(match name {
            "rm" => pattern().map(Self::Remove),
            "tombstone" => words::tombstone(arguments).map(|(url, stone)| Self::Tombstone(url, stone)),
            "prerender" => words::options(arguments).map(Self::Prerender),
            "reseal" if !arguments.contains_key("pattern") => Ok(Self::Reseal(None)),
            "reseal" => pattern().map(|pattern| Self::Reseal(Some(pattern))),
            "gc" => Ok(Self::Collect),
            "nothing" => Ok(Self::Nothing),
            "order" => words::order(arguments).map(|order| Self::Order(Box::new(order))),
            "discard" => words::text(arguments, "key").map(Self::Discard),
            _ => return None,
        })
    }
}

impl Served {
    /// For this proxy, made of this configuration, whose control server listens there.
    ///
    /// # Errors
    /// The system has nothing random.
    pub fn new(
        proxy: Proxy,
        config: CreateProxyConfig,
        control: std::net::SocketAddr,
    ) -> std::io::Result<Self> {
        Ok(Self {
            proxy,
            config: Arc::new(config),
            place: Place::here(control)?,
            is_ending: Arc::new(watch::Sender::new(false)),
            rooms: Arc::new(Rooms::new()),
        })
    }

    /// Has `server.json` say where commands are taken, as long as this process writes the directory and what is
    /// returned lives.
    pub fn announce(&self) -> Announced {
        self.proxy.announce(self.place.to_text());
        Announced(self.proxy.clone())
    }

    /// What goes on for long is broken off, and nothing of that kind is begun any more.
    pub fn end(&self) {
        self.is_ending.send_replace(true);
    }

    async fn carry_out(
        &self,
        asked: Asked,
        lines: &UnboundedSender<Value>,
        seen: &Seen,
    ) -> Result<Value, Error> {
        match asked {
            Asked::Nothing => self.on_directory(seen, |_, _| Ok(json!({}))).await,
            Asked::Remove(pattern) => self.remove(pattern, seen).await,
            Asked::Tombstone(url, stone) => {
                let place = move |artefact: &Artefact, store: &Arc<Store>| {
                    let file = artefact.tombstone_by(store, &url, &stone)?;
                    Ok(json!({ "file": file }))
                };
                self.on_directory(seen, place).await
            }
            Asked::Prerender(options) => self.prerender(&options, lines).await,
            Asked::Reseal(pattern) => self.reseal(pattern, lines.clone(), seen).await,
            Asked::Collect => {
                let collect = |artefact: &Artefact, store: &Arc<Store>| {
                    Ok(words::collected_as_json(&artefact.collect_by(store, |_| {})))
                };
                self.on_directory(seen, collect).await
            }
            Asked::Order(order) => {
                let (address, fields) = *order;
                let ordered = self.until_the_end(self.proxy.order_anew(&address, &fields));
                ordered.await.map(|ordered| words::became_as_json(ordered.became))
            }
            Asked::Discard(key) => {
                let discard = move |artefact: &Artefact, store: &Arc<Store>| {
                    let refused = |error| Error::directory("remove a page in", artefact.directory(), error);
                    store.discard(&Key::from_text(key)).map_err(refused)?;
                    Ok(json!({}))
                };
                self.on_directory(seen, discard).await
            }
        }
    }

    async fn reseal(
        &self,
        pattern: Option<String>,
        lines: UnboundedSender<Value>,
        seen: &Seen,
    ) -> Result<Value, Error> {
        let reseal = move |artefact: &Artefact, store: &Arc<Store>| {
            let matching = parsed(pattern.as_deref().unwrap_or("*"))?;
            let mut each = |sealed| {
                // Nobody may be listening any more.
                let _ = lines.send(json!({ "sealed": words::sealed_as_json(&sealed) }));
            };
            artefact.reseal_by(store, pattern.as_deref(), &mut each)?;
            store.take_note(&matching);
            Ok(json!({}))
        };
        self.on_directory(seen, reseal).await
    }

    /// The files as a person would, with the seals compared, and then an invalidation, which stops what is under way,
    /// is written to the log, and takes what came meanwhile.
    async fn remove(&self, pattern: String, seen: &Seen) -> Result<Value, Error> {
        let trigger = self.proxy.trigger();
        let remove = move |artefact: &Artefact, store: &Arc<Store>| {
            let matching = parsed(&pattern)?;
            store.overtake(&[matching.clone()].into());
            let mut removed: Removed = artefact.remove_by(store, &pattern)?;
            store.take_note(&matching);
            if removed.failed.is_empty() {
                let begun = trigger.begin(&[&pattern], RefreshMode::Delete);
                let finished =
                    begun.and_then(|tickets| Handle::current().block_on(RefreshTrigger::finish(tickets)));
                if let Err(error) = finished {
                    removed.failed.push(chain(&error));
                }
            } else {
                // What would not go may be an edit, which an invalidation does not look for.
                store.overtake(&[matching].into());
            }
            tracing::info!(pattern, pages = removed.pages, "removed by request");
            Ok(words::removed_as_json(&removed))
        };
        self.on_directory(seen, remove).await
    }

    async fn prerender(
        &self,
        options: &PrerenderOptions,
        lines: &UnboundedSender<Value>,
    ) -> Result<Value, Error> {
        let tell = |event: Event<'_>| {
            let line = match event {
                Event::Page(page, done, known) => {
                    json!({ "page": words::page_as_json(page), "of": [done, known] })
                }
                Event::Waiting(wait) => {
                    json!({ "waiting": u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) })
                }
                Event::Reading => json!({ "reading": true }),
            };
            // Nobody may be listening any more.
            let _ = lines.send(line);
        };
        let summary = self
            .until_the_end(prerender(&self.proxy, options, tell))
            .await??;
        Ok(words::rest_as_json(&summary))
    }

    async fn until_the_end<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        let mut ending = self.is_ending.subscribe();
        tokio::select! {
            biased;
            _ = ending.wait_for(|is_ending| *is_ending) => {
                let error = Error::new(ErrorKind::Control, "the server ends, and renders nothing any more");
                Err(error.with_hint("repeat the command"))
            }
            done = work => Ok(done),
        }
    }

    async fn on_directory(
        &self,
        seen: &Seen,
        work: impl FnOnce(&Artefact, &Arc<Store>) -> Result<Value, Error> + Send + 'static,
    ) -> Result<Value, Error> {
        let (proxy, config, seen) = (self.proxy.clone(), Arc::clone(&self.config), Arc::clone(seen));
        let done = tokio::task::spawn_blocking(move || {
            let Some(store) = proxy.store_to_write() else {
                return Err(Error::new(
                    ErrorKind::Locked,
                    "the server does not write its directory any more: another process does",
                ));
            };
            let artefact = Artefact::open(&config)?;
            // Nobody else sets it.
            let _ = seen.set(artefact.progress());
            work(&artefact, &store)
        });
        done.await.unwrap_or_else(|_panic| {
            let error = Error::new(ErrorKind::Control, "an error in the program broke it off");
            Err(error.with_hint("see the server's log"))
        })
    }

    /// Until it is done, or, where it can be broken off, nobody listens any more.
    async fn converse(self, asked: Asked, lines: UnboundedSender<Value>, _room: OwnedSemaphorePermit) {
        let seen = Seen::default();
        let done = {
            let mut work = std::pin::pin!(self.carry_out(asked, &lines, &seen));
            let mut steps = tokio::time::interval(STEP);
            loop {
                tokio::select! {
                    done = &mut work => break done,
                    () = lines.closed() => {
                        tracing::info!("nobody waits for the command any more");
                        return;
                    }
                    _ = steps.tick() => {
                        let seen = seen.get().map_or(0, |seen| seen.done());
                        let _ = lines.send(json!({ "seen": seen }));
                    }
                }
            }
        };
        let last = match done {
            Ok(done) => json!({ "done": done }),
            Err(error) => words::error_line(&error),
        };
        let _ = lines.send(last);
    }
}

impl Commands for Served {
    fn id(&self) -> &str {
        &self.place.id
    }

    fn secret(&self) -> &str {
        &self.place.secret
    }

    fn begin(&self, name: &str, arguments: &Map<String, Value>) -> Option<Result<Lines, Error>> {
        let asked = Asked::read(name, arguments)?.and_then(|asked| {
            let room = self.rooms.enter(&asked)?;
            Ok((asked, room))
        });
        Some(asked.map(|(asked, room)| {
            let (lines, answer) = unbounded_channel();
            tokio::spawn(self.clone().converse(asked, lines, room));
            answer
        }))
    }
}

fn parsed(pattern: &str) -> Result<KeyPattern, Error> {
    let wrong =
        |error| Error::new(ErrorKind::Config, format!("`{pattern}` is not a pattern")).with_source(error);
    KeyPattern::parse(pattern).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_commands_go_on_side_by_side_and_the_next_is_told_to_wait() {
        let rooms = Rooms::new();
        let mut within: Vec<_> = (0..4).map(|_| rooms.enter(&Asked::Collect).unwrap()).collect();
        let refused = rooms.enter(&Asked::Remove("*".into())).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Locked);
        assert!(refused.hint().is_some());
        // Who asks for a page takes none of their room.
        assert!(rooms.enter(&Asked::Discard("GET:/a".into())).is_ok());
        within.pop();
        assert!(rooms.enter(&Asked::Collect).is_ok());
    }
}
