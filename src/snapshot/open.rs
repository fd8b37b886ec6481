//! Opening a directory: its marker, its lock, what a crash left, and the threads that serve it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, RwLock, Weak, mpsc};
#[cfg(feature = "watch")]
use std::sync::{OnceLock, atomic::Ordering};
use std::thread;
use std::time::Duration;

use crate::clock::system_now;
use crate::error::{Error, ErrorKind};
use crate::fsops::{File, Fs};
use crate::key::KeyHash;

use super::companions::{self, write_companions};
use super::layout::{MARKER, PRIVATE};
use super::ledger::Ledger;
use super::lock::WriteLock;
use super::log::Log;
use super::recover::sweep_temporaries;
use super::scan::Looked;
use super::sidecar::FORMAT;
use super::{Store, StoreOptions, lock};
use crate::throttle::{Throttle, ThrottlePerFile};

/// The stores of this process, by directory: proxies on one directory share one.
static OPEN: Mutex<Vec<(PathBuf, Weak<Store>)>> = Mutex::new(Vec::new());

/// After how long a scan that failed is repeated: at first, and at most.
const AGAIN: Duration = Duration::from_secs(10);
const AT_LAST: Duration = Duration::from_secs(600);

impl Store {
    /// Opens a directory, making it if need be. Serving may start at once: what is there is read
    /// through in the background.
    ///
    /// # Errors
    /// When the directory cannot be made or written, is of another format, another site's, or filled
    /// by another backend in this process.
    pub(crate) fn open(options: StoreOptions) -> Result<Arc<Self>, Error> {
        let fs = Fs::new(options.faults.clone());
        let shown = options.dir.clone();
        let failed = |attempt: &'static str| {
            let shown = shown.clone();
            move |error: io::Error| {
                Error::directory(attempt, shown, error)
                    .with_hint("name a directory that this user may write with `snapshot_dir` (--snapshots)")
            }
        };
        fs.create_dir_all(&options.dir)
            .map_err(failed("create the snapshot directory"))?;
        let root = fs
            .canonicalize(&options.dir)
            .map_err(failed("resolve the snapshot directory"))?;
        let mut open = lock(&OPEN);
        open.retain(|(_, store)| store.strong_count() > 0);
        if let Some(store) = open
            .iter()
            .find(|(path, _)| *path == root)
            .and_then(|(_, store)| store.upgrade())
        {
            return same_settings(store, &options);
        }
        let store = Self::start(root.clone(), fs.below(&root), options)
            .map_err(|fault| fault.into_error(failed("write in the snapshot directory")))?;
        store.coder.belongs_to(&store);
        open.push((root, Arc::downgrade(&store)));
        drop(open);
        store.spawn_scans(Duration::ZERO);
        Ok(store)
    }

    /// A name that only this directory has, made up once, which tells a loop from a chain of two proxies.
    pub(crate) fn directory_id(&self) -> String {
        companions::id(&self.fs, &self.root)
    }

    pub(super) fn start(root: PathBuf, fs: Fs, options: StoreOptions) -> Result<Arc<Self>, Fault> {
        let private = root.join(PRIVATE);
        check_marker(&fs, &root, options.site.as_deref())?;
        for name in ["tmp", "pending"] {
            fs.create_dir_all(&private.join(name))?;
        }
        let lock = WriteLock::new(fs.clone(), private.join("lock"));
        match lock.take()? {
            Some(file) => {
                write_companions(&fs, &root, options.site.as_deref())?;
                sweep_temporaries(&fs, &private.join("tmp"));
                lock.hold(file);
            }
            None => {
                tracing::warn!(target: "phantom_frame::locked", dir = %root.display(), "another process writes this snapshot directory; until it ends, it is only read here")
            }
        }
        Ok(Self::assemble(root, fs, options, lock)?)
    }

    /// A store with its threads; it has touched nothing yet but the log, which it reads.
    pub(super) fn assemble(
        root: PathBuf,
        fs: Fs,
        options: StoreOptions,
        lock: WriteLock,
    ) -> io::Result<Arc<Self>> {
        let (jobs, queue) = mpsc::channel::<super::Job>();
        thread::Builder::new()
            .name("phantom-store".into())
            .spawn(move || {
                for job in queue {
                    run(job);
                }
            })?;
        let log = Log::at(root.join(PRIVATE).join("invalidations"));
        Ok(Arc::new(Self {
            ledger: Mutex::new(Ledger::after(log.read(&fs, system_now())).sparing(&options.pinned)),
            waiting: AtomicUsize::new(0),
            log: Mutex::new(log),
            gate: RwLock::new(()),
            epoch: AtomicU64::new(0),
            syncs: Arc::new(super::sync::Syncs::start(fs.clone(), root.clone())?),
            root,
            fs,
            lock,
            #[cfg(feature = "cli")]
            announced: Mutex::default(),
            index: super::Index::default(),
            parsed: super::parsed::Parsed::beside(options.memory_bytes),
            hot: Arc::new(super::hot::Hot::new(options.memory_bytes)),
            coder: super::coder::Coder::default(),
            crew: super::Crew::new(),
            options,
            stripes: [const { Mutex::new(()) }; super::STRIPES],
            under_way: Arc::default(),
            clearing: Arc::new(()),
            evicting: AtomicBool::new(false),
            evict_failed: AtomicU64::new(0),
            evict_trouble: Throttle::default(),
            evict_notice: Throttle::default(),
            left: super::pinned::Left::default(),
            refusals: super::last_good::Refusals::default(),
            hosts_searched: AtomicU64::new(0),
            hosts_full: Throttle::default(),
            is_watched: AtomicBool::new(false),
            listeners: Mutex::default(),
            refuses: AtomicBool::new(false),
            torn: Mutex::default(),
            trouble: Throttle::default(),
            unusable: ThrottlePerFile::default(),
            jobs,
            #[cfg(feature = "watch")]
            watch: OnceLock::new(),
        }))
    }

    /// Whether this process may write, now: when the one that did has ended, this one takes over. Asks
    /// for the lock at most once a second.
    pub(crate) fn may_write(self: &Arc<Self>) -> bool {
        if self.is_writable() {
            return true;
        }
        match self.lock.take_now_and_then() {
            Ok(Some(file)) => self.take_over(file),
            Ok(None) => return false,
            Err(error) => {
                tracing::debug!(dir = %self.root.display(), %error, "cannot ask for the directory's lock");
                return false;
            }
        }
        true
    }

    /// What the process before could not finish is finished here.
    fn take_over(self: &Arc<Self>, file: File) {
        // Read before anything is written here: until then nobody invalidates, and nobody empties it.
        let left = super::lock(&self.log).read(&self.fs, system_now());
        self.ledger().replay(left);
        for entry in self.index.all() {
            let ledger = self.ledger();
            let mut changed = entry.variants().map(|variant| variant.sidecar.changed_at());
            if changed.any(|changed| ledger.fate_by_time(entry.subject(), changed).is_some()) {
                self.strike_out(&KeyHash::of(&entry.key), &entry.key);
            }
        }
        sweep_temporaries(&self.fs, &self.tmp());
        self.lock.hold(file);
        #[cfg(feature = "cli")]
        self.put_announcement();
        tracing::info!(dir = %self.root.display(), "the process that wrote this snapshot directory has ended; it is written here now");
        let store = Arc::clone(self);
        self.run_later(move || {
            if store.scan_at_start() == Looked::Failed {
                store.spawn_scans(AGAIN);
            }
        });
    }

    /// Scans after `pause`, and, as long as the disk does not let it be read through, again and again.
    fn spawn_scans(self: &Arc<Self>, mut pause: Duration) {
        let store = Arc::downgrade(self);
        let spawned = thread::Builder::new().name("phantom-scan".into()).spawn(move || {
            loop {
                thread::sleep(pause);
                let Some(store) = store.upgrade() else {
                    return;
                };
                // Watches before it scans, so that no change falls between the two.
                if pause == Duration::ZERO {
                    store.watch();
                }
                if store.scan_at_start() == Looked::Whole {
                    return;
                }
                pause = (pause * 2).clamp(AGAIN, AT_LAST);
                tracing::warn!(dir = %store.root.display(), again_in = ?pause, "the snapshot directory could not be read through; what was invalidated before the start stays in force");
            }
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "cannot start the thread that reads the snapshot directory");
        }
    }

    /// After the directory was deleted and made again.
    #[cfg(feature = "watch")]
    pub(super) fn restore_companions(&self) {
        if self.is_writable()
            && self.fs.stat(&self.root).is_ok()
            && let Err(error) = write_companions(&self.fs, &self.root, self.options.site.as_deref())
        {
            tracing::warn!(dir = %self.root.display(), %error, "cannot write the directory's own files again");
        }
        #[cfg(feature = "cli")]
        self.put_announcement();
    }

    #[cfg(feature = "watch")]
    fn watch(self: &Arc<Self>) {
        let store = Arc::downgrade(self);
        let private = self.root.join(PRIVATE);
        let started = crate::invalidate::watch::DirWatch::start(
            &self.root,
            move |path: &Path| path.starts_with(&private),
            move |batch| {
                if let Some(store) = store.upgrade() {
                    store.reconcile(&batch);
                }
            },
        );
        match started {
            Ok(watch) => {
                self.is_watched.store(true, Ordering::Relaxed);
                let _ = self.watch.set(watch);
            }
            Err(error) => {
                tracing::warn!(
                    dir = %self.root.display(),
                    error = %crate::error::chain(&error),
                    "cannot watch the snapshot directory; every hit looks at its sidecar instead"
                );
            }
        }
    }

    #[cfg(not(feature = "watch"))]
    fn watch(self: &Arc<Self>) {}
}

/// Why a directory is not opened.
pub(super) enum Fault {
    Io(io::Error),
    Refused(Error),
}

impl Fault {
    pub(super) fn into_error(self, io: impl FnOnce(io::Error) -> Error) -> Error {
        match self {
            Self::Io(error) => io(error),
            Self::Refused(error) => error,
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What a job does wrong costs that job, not those after it.
fn run(job: super::Job) {
    // What a job shares is behind locks, whose contents are whole at every step.
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
        tracing::error!(
            "a job of the snapshot directory's thread was broken off by an error in the program; the next one follows"
        );
    }
}

/// Proxies that share a directory share what is done with it.
fn same_settings(store: Arc<Store>, options: &StoreOptions) -> Result<Arc<Store>, Error> {
    let open = &store.options;
    let dir = store.root.display();
    if open.backend != options.backend {
        return Err(Error::new(
            ErrorKind::Foreign,
            format!(
                "the snapshot directory {dir} is already filled from {} in this process, not from {}",
                open.backend, options.backend
            ),
        )
        .with_hint("give each backend a directory of its own (`snapshot_dir`)"));
    }
    let (a, b) = (&open.bounds, &options.bounds);
    let differing = [
        ("durability", open.durability != options.durability),
        ("disk_limit", a.disk_bytes != b.disk_bytes),
        ("max_snapshots", a.snapshots != b.snapshots),
        ("pinned", open.pinned != options.pinned),
        ("max_hosts", a.hosts != b.hosts),
        ("max_body", a.body_bytes != b.body_bytes),
        ("memory_limit", open.memory_bytes != options.memory_bytes),
    ];
    match differing.into_iter().find(|(_, differs)| *differs) {
        None => Ok(store),
        Some((setting, _)) => Err(Error::config(
            setting,
            format!("the snapshot directory {dir} is already open in this process with another `{setting}`"),
        )
        .with_hint(format!(
            "give proxies that share a directory the same `{setting}`, or each a directory of its own (`snapshot_dir`)"
        ))),
    }
}

/// A directory of another format or another site's is refused before anything in it is touched.
pub(super) fn check_marker(fs: &Fs, root: &Path, site: Option<&str>) -> Result<(), Fault> {
    let path = root.join(MARKER);
    let text = match fs.read_small(&path, 64 << 10) {
        Ok((bytes, _)) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Fault::Io(error)),
    };
    let refuse =
        |context: String, hint: &str| Fault::Refused(Error::new(ErrorKind::Foreign, context).with_hint(hint));
    let shown = path.display();
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        refuse(
            format!("{shown} is not TOML: {}", error.message()),
            "restore it, or name another directory",
        )
    })?;
    let format = table.get("format").and_then(toml::Value::as_integer);
    if format != Some(i64::from(FORMAT)) {
        return Err(refuse(
            format!("{shown} is of another format than this version's ({FORMAT})"),
            "name another directory with `snapshot_dir`, or use the version that wrote this one",
        ));
    }
    let owner = table.get("site").and_then(toml::Value::as_str);
    match (owner, site) {
        (Some(owner), Some(site)) if owner != site => Err(refuse(
            format!(
                "the snapshot directory {} holds the site `{owner}`, not `{site}`",
                root.display()
            ),
            "name another directory with `snapshot_dir`, or correct `site` (or `public_url`, whose host it is by default)",
        )),
        _ => Ok(()),
    }
}
