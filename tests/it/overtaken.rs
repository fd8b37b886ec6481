//! An invalidation at any moment of a fill beats it: what was asked for before is not kept.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use phantom_frame::{FaultPlan, RefreshTrigger};

use crate::rig::{Answer, Backend, Proxy, Setup};

/// Invalidates at the n-th operation of the disk that comes after the backend was asked.
#[derive(Clone, Default)]
struct Moment {
    trigger: RefreshTrigger,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Operations still to come; 0 is not armed.
    left: usize,
    asked: bool,
    begun: Option<Begun>,
}

/// At which operation, and the thread that invalidates.
struct Begun {
    operation: String,
    thread: JoinHandle<()>,
}

impl Moment {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arm(&self, n: usize) {
        *self.state() = State {
            left: n,
            ..State::default()
        };
    }

    fn plan(&self) -> FaultPlan {
        let moment = self.clone();
        Arc::new(move |operation, path: &Path| {
            if let Some(in_force) = moment.count(operation, path) {
                // An invalidation that waits for whoever is here comes after, as it must.
                let _ = in_force.recv_timeout(Duration::from_millis(100));
            }
            Ok(())
        })
    }

    fn count(&self, operation: &str, path: &Path) -> Option<mpsc::Receiver<()>> {
        let mut state = self.state();
        if !state.asked || state.left == 0 {
            return None;
        }
        state.left -= 1;
        if state.left > 0 {
            return None;
        }
        let (done, in_force) = mpsc::channel();
        let trigger = self.trigger.clone();
        state.begun = Some(Begun {
            operation: format!("{operation} {}", path.display()),
            thread: std::thread::spawn(move || {
                trigger.trigger_by_key_match("/");
                let _ = done.send(());
            }),
        });
        Some(in_force)
    }

    /// At which operation it was, once it is in force; none comes any more.
    fn reached(&self) -> Option<String> {
        let mut state = self.state();
        state.left = 0;
        let Begun { operation, thread } = state.begun.take()?;
        drop(state);
        thread.join().expect("the invalidation");
        Some(operation)
    }
}

/// One fill for each operation that it makes; how many those were.
async fn at_every_operation(prepare: impl AsyncFn(&Backend, &Proxy)) -> usize {
    let mut n = 0;
    loop {
        n += 1;
        let backend = Backend::start().await;
        let moment = Moment::default();
        let plan = moment.plan();
        let mut proxy = Setup::over(&backend)
            .trigger(moment.trigger.clone())
            .configured(move |config| config.with_disk_faults(plan.clone()))
            .start()
            .await;
        prepare(&backend, &proxy).await;
        let asked = moment.clone();
        backend.on_fn("/", move |_| {
            asked.state().asked = true;
            Answer::page("old")
        });
        moment.arm(n);
        proxy.get("/").await.assert(200, "old");
        let Some(operation) = moment.reached() else {
            proxy.get("/").await.assert(200, "old").assert_hit();
            return n - 1;
        };
        backend.on("/", Answer::page("new"));
        if n % 2 == 0 {
            // What is on disk knows it too.
            proxy.restart().await;
        }
        let next = proxy.get("/").await;
        let at = format!("invalidated at operation {n}, {operation}: {next:?}");
        assert_eq!(next.text(), "new", "{at}");
        proxy.get("/").await.assert(200, "new").assert_hit();
    }
}

#[tokio::test]
async fn an_invalidation_at_any_operation_of_a_first_fill_beats_it() {
    let operations = at_every_operation(async |_, _| {}).await;
    assert!(operations >= 6, "{operations}");
}

#[tokio::test]
async fn an_invalidation_at_any_operation_of_a_replacement_beats_it() {
    let operations = at_every_operation(async |backend, proxy| {
        backend.on("/", Answer::page("older").with("Cache-Control", "max-age=5"));
        proxy.warm("/").await;
        proxy.clock().advance(10);
    })
    .await;
    assert!(operations >= 6, "{operations}");
}
