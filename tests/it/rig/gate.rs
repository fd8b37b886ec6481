//! A gate that a test opens: what waits at it goes on then, and the test can wait until somebody
//! stands there. And the deadlines that every wait of the rig has.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// No wait of a test is longer than this; a correct proxy never comes near it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Waits for `future`, and fails with `what` if it does not come.
#[track_caller]
pub(crate) fn within<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(DEADLINE, future).await {
            Ok(output) => output,
            Err(_) => panic!("waited {DEADLINE:?} for {what} (at {caller})"),
        }
    }
}

/// Asks `question` again and again until it answers something, and fails with `what` after two
/// seconds in which it was asked often: on a machine that has no time for us, it is asked seldom, and what it waits
/// for has no time either. For what another thread or the kernel does, and nothing announces.
#[track_caller]
pub(crate) fn eventually<T, F>(what: &str, question: F) -> impl Future<Output = T>
where
    F: AsyncFnMut() -> Option<T>,
{
    eventually_within(Duration::from_secs(2), what, question)
}

/// The same, for what takes its time whatever the machine has: a pair that another program may be writing is left
/// alone for two seconds.
#[track_caller]
pub(crate) fn eventually_within<T, F>(
    patience: Duration,
    what: &str,
    mut question: F,
) -> impl Future<Output = T>
where
    F: AsyncFnMut() -> Option<T>,
{
    let caller = std::panic::Location::caller();
    let what = what.to_owned();
    async move {
        /// Half as often as there is time for.
        const OFTEN: usize = 200;
        let deadline = tokio::time::Instant::now() + patience;
        let mut asked = 0;
        loop {
            asked += 1;
            if let Some(answer) = question().await {
                return answer;
            }
            assert!(
                asked < OFTEN || tokio::time::Instant::now() < deadline,
                "did not become true within {patience:?}: {what} (at {caller})"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Removes what stands at `path` as `rm -r` does, over again where who is still writing has put something into it.
pub(crate) async fn remove_all(path: &Path) {
    // A path that ends in `.` cannot be removed.
    let path: PathBuf = path.components().collect();
    eventually(&format!("{} to be removed", path.display()), async || {
        let removed = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => Some(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Some(()),
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => None,
            Err(error) => panic!("{}: {error}", path.display()),
        }
    })
    .await;
}

/// Closed until it is opened; then open for good. Clones are the same gate.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    open: Arc<watch::Sender<bool>>,
    arrived: Arc<watch::Sender<usize>>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            open: Arc::new(watch::Sender::new(false)),
            arrived: Arc::new(watch::Sender::new(0)),
        }
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Stands at the gate until it is open. Without a deadline: the test that holds the gate has one.
    pub(crate) async fn pass(&self) {
        self.arrived.send_modify(|count| *count += 1);
        let mut open = self.open.subscribe();
        let opened = open.wait_for(|open| *open).await;
        assert!(opened.is_ok(), "a gate went away");
    }

    /// Waits until `count` have come to the gate, those included that have gone through.
    pub(crate) async fn arrivals(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        let came = within(
            &format!("{count} arrivals at a gate"),
            arrived.wait_for(|came| *came >= count),
        )
        .await;
        assert!(came.is_ok(), "a gate went away");
    }
}
