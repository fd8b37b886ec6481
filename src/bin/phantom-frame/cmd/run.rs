//! The server's life: put together, announced, run, drained.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use phantom_frame::command::Served;
use phantom_frame::config::{Loaded, LogFormat, ServerSettings};

use phantom_frame::control::{Commands, ControlOptions, create_control_router_with};
use phantom_frame::prerender::{Renderer, check};
use phantom_frame::server::{Server, ServerLimits};
use phantom_frame::{Error, Proxy};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::timeout;

use super::{Ended, fill};
use crate::open_files;
use crate::output::{Banner, CannotListen};
use crate::shutdown::Shutdown;

/// How long the backend may take to be found alive, and the snapshots to be counted.
const PATIENCE: Duration = Duration::from_secs(1);

/// Connections that wait to be accepted; the system's own limit (`somaxconn`) may be lower.
const BACKLOG: u32 = 4096;

/// Serves until a signal comes, finishes what is in flight, and cuts what outlasts `shutdown_timeout`.
///
/// From the signal on `/readyz` says 503, for which a load balancer may need a while before it sends no
/// more visitors (`shutdown_delay`); so the control server is the last one that closes.
pub(crate) async fn serve(loaded: &Loaded) -> anyhow::Result<Ended> {
    let settings = loaded.settings();
    let stop = Shutdown::listen().context("cannot listen for signals")?;
    let blame = |error: Error| loaded.blame(error);
    let is_frozen = settings.proxy.frozen;
    // It may also say only how what is asked for is rendered.
    if let Some(options) = settings
        .prerender
        .as_ref()
        .filter(|options| options.names_pages() && !is_frozen)
    {
        check(&settings.proxy_config(), options).map_err(blame)?;
    }
    let proxy = Proxy::new(settings.proxy_config()).map_err(blame)?;
    let visitors = listen(loaded, "proxy_port", settings.proxy_bind, settings.proxy_port)?;
    let control = listen(
        loaded,
        "control_port",
        settings.control_bind,
        settings.control_port,
    )?;
    let _watcher = watch(loaded, &proxy)?;

    let addresses = (visitors.local_addr()?, control.local_addr()?);
    let renderer = Arc::new(Renderer::new(
        proxy.clone(),
        settings.prerender.clone().unwrap_or_default(),
    ));
    let commands = Served::new(proxy.clone(), settings.proxy_config(), addresses.1)
        .context("cannot make a secret for commands")?;
    let mut options = control_options(settings, (&proxy, &renderer), &stop);
    // Where nothing is written, there is nothing that commands could have done.
    options.commands = (!is_frozen).then(|| Arc::new(commands.clone()) as Arc<dyn Commands>);
    let control_app = create_control_router_with(proxy.trigger(), options);
    let _announced = (!is_frozen).then(|| commands.announce());
    let max_connections = open_files::make_room(settings.max_connections);
    let visitors = {
        let proxy = proxy.clone();
        let answer = move |request| proxy.answer(request);
        Server::with_handler(visitors, answer, limits(settings, max_connections))
    };
    let control = Server::new(control, control_app, limits(settings, max_connections));

    let delay = settings.shutdown_delay;
    let (drained, all_drained) = tokio::sync::oneshot::channel();
    let serving = async {
        let end = stop.requested().then(|()| tokio::time::sleep(delay));
        visitors.run(end).await;
        // The control server waits for it.
        let _ = drained.send(());
    };
    let work = async {
        tokio::join!(
            serving,
            control.run(all_drained.map(drop)),
            announce(settings, addresses, &proxy),
            beside(settings, &renderer, &stop),
            async {
                stop.requested().await;
                commands.end();
            },
        );
        proxy.shut_down(settings.shutdown_timeout).await;
    };
    let cut = async {
        stop.requested().await;
        tracing::info!("stopping: finishing what is in flight");
        tokio::time::sleep(delay.saturating_add(settings.shutdown_timeout)).await;
    };
    // The servers and the proxy stop by themselves before that.
    let (work, cut) = (pin!(work), pin!(cut));
    tokio::select! {
        // A signal is heard, and said, before the servers have drained.
        biased;
        code = stop.forced() => Ok(Ended::Forced(code)),
        () = cut => {
            tracing::warn!("stopped after shutdown_timeout; what was still in flight is cut");
            Ok(Ended::AsAsked)
        }
        () = work => Ok(Ended::AsAsked),
    }
}

/// Where nothing grows stale, nothing is told by what changes.
#[cfg(feature = "watch")]
fn watch(loaded: &Loaded, proxy: &Proxy) -> anyhow::Result<Option<phantom_frame::watch::ContentWatcher>> {
    let settings = loaded.settings();
    if settings.proxy.frozen {
        return Ok(None);
    }
    let (rules, base) = (&settings.watch, &settings.base_dir);
    let watcher = phantom_frame::watch::ContentWatcher::start(rules, base, proxy.trigger());
    Ok(Some(watcher.map_err(|error| loaded.blame(error))?))
}

#[cfg(not(feature = "watch"))]
fn watch(loaded: &Loaded, _: &Proxy) -> anyhow::Result<Option<std::convert::Infallible>> {
    let what = "this phantom-frame was built without the feature `watch`";
    match loaded.settings().watch.is_empty() {
        true => Ok(None),
        false => Err(loaded.refuse("watch", what).into()),
    }
}

/// What a server does by itself, which has a backend.
async fn beside(settings: &ServerSettings, renderer: &Renderer, stop: &Shutdown) {
    if !settings.proxy.frozen {
        tokio::join!(
            warn_without_backend(&settings.proxy.proxy_url),
            fill::ahead(settings, renderer, stop),
        );
    } else if settings.prerender.is_some() || !settings.watch.is_empty() {
        tracing::info!(
            "`[prerender]` and `[[watch]]` do nothing here: what is stored is all there is (`frozen`)"
        );
    }
}

fn control_options(
    settings: &ServerSettings,
    (proxy, renderer): (&Proxy, &Arc<Renderer>),
    stop: &Shutdown,
) -> ControlOptions {
    let (proxy, renderer, stop) = (proxy.clone(), Arc::clone(renderer), stop.clone());
    let mut options = ControlOptions::default();
    options.token = settings
        .control_auth
        .as_ref()
        .map(|token| token.expose().to_owned());
    options.ready = Arc::new(move || !stop.is_requested() && proxy.is_ready());
    options.render = Some(Arc::new(move |patterns| renderer.begin(patterns)));
    options
}

fn limits(settings: &ServerSettings, max_connections: usize) -> ServerLimits {
    let mut limits = ServerLimits::default();
    limits.header_timeout = settings.header_timeout;
    limits.write_timeout = settings.proxy.body_timeout;
    limits.max_head = usize::try_from(settings.max_head).unwrap_or(usize::MAX);
    limits.max_connections = max_connections;
    limits.shutdown_timeout = settings.shutdown_timeout;
    limits
}

/// Says once that everything is there. Clients are served meanwhile.
async fn announce(settings: &ServerSettings, addresses: (SocketAddr, SocketAddr), proxy: &Proxy) {
    let counted = async {
        if settings.proxy.frozen {
            return None;
        }
        while !proxy.is_ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Some(proxy.snapshot_count())
    };
    let snapshots = timeout(PATIENCE, counted).await.ok().flatten();
    let banner = Banner {
        address: format!("http://{}", addresses.0),
        backend: (!settings.proxy.frozen).then_some(&*settings.proxy.proxy_url),
        directory: shown(&settings.proxy.snapshot_dir),
        snapshots: snapshots.map(|count| count as u64),
        control: format!("http://{}", addresses.1),
    };
    match settings.log_format {
        LogFormat::Text => banner.print(),
        LogFormat::Json => banner.log(),
    }
}

/// A relative path as one that can be told from a word.
fn shown(path: &Path) -> String {
    match path.is_absolute() || path.starts_with(".") || path.starts_with("..") {
        true => path.display().to_string(),
        false => format!("./{}", path.display()),
    }
}

/// A backend that is down is said once, and is no reason not to start.
async fn warn_without_backend(url: &str) {
    if let Err(why) = fill::reach(url, PATIENCE).await {
        tracing::warn!(
            "the backend {url} cannot be reached: {why}; until it can, only stored pages are served"
        );
    }
}

fn listen(loaded: &Loaded, key: &'static str, address: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(address, port);
    bind(address).map_err(|error| {
        let hint = hint(loaded, key, port, &error);
        anyhow::Error::from(error).context(CannotListen { address, hint })
    })
}

/// As `TcpListener::bind`, but for the queue: with its 128 a burst of connections, or those that wait for others to
/// go, would be dropped, and come back a second later at the earliest.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // The port of a server that has just ended is free.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The setting that would help, and what else may be behind it.
fn hint(loaded: &Loaded, key: &str, port: u16, error: &io::Error) -> String {
    let (flag, bind, bind_flag) = match key {
        "proxy_port" => ("--port", "proxy_bind", "--bind"),
        _ => ("--control-port", "control_bind", "--control-bind"),
    };
    let with = |key: &str, flag: &str| match loaded.place(key) {
        Some(place) => format!("`{key}` ({place}) or `{flag}`"),
        None => format!("`{key}` or `{flag}`"),
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let others = match (key, port) {
                ("proxy_port", 3000) => {
                    "; 3000 is also the default of many backends (Next, Nuxt, Rails): if yours is there, \
                     give phantom-frame another port and say `--backend http://localhost:3000`"
                }
                ("proxy_port", 8000 | 8080 | 5173 | 4321 | 1313) => {
                    "; many backends use this one by default: is it yours that listens there?"
                }
                ("control_port", 17809) => "; does another phantom-frame run on this machine?",
                _ => "",
            };
            format!("choose another port with {}{others}", with(key, flag))
        }
        io::ErrorKind::PermissionDenied => format!(
            "ports below 1024 need a privilege (CAP_NET_BIND_SERVICE); choose another with {}",
            with(key, flag)
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "this machine has no such address; choose another with {}",
            with(bind, bind_flag)
        ),
        _ => format!("address and port are set with `{bind}` and `{key}`"),
    }
}
