//! SIGTERM and SIGINT: the first one asks for an end, the second one is the end.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    /// By the signal with this exit code.
    Draining(u8),
    Forced(u8),
}

/// Tells when to stop. Clones hear the same signals.
#[derive(Debug, Clone)]
pub(crate) struct Shutdown {
    stage: watch::Receiver<Stage>,
}

impl Shutdown {
    /// Listens for signals until the process ends.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let interrupts = signal(SignalKind::interrupt())?;
        let terminations = signal(SignalKind::terminate())?;
        let (tell, stage) = watch::channel(Stage::Running);
        // Ends with the runtime: a signal may come at any time.
        tokio::spawn(hear(interrupts, terminations, tell));
        Ok(Self { stage })
    }

    /// Ready when an end was asked for.
    pub(crate) fn requested(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stage = self.stage.clone();
        async move {
            // The sender lives as long as the runtime.
            let _ = stage.wait_for(|stage| *stage != Stage::Running).await;
        }
    }

    /// Ready when an end was asked for, with the exit code that the signal stands for.
    pub(crate) async fn interrupted(&self) -> u8 {
        let mut stage = self.stage.clone();
        let stage = stage.wait_for(|stage| *stage != Stage::Running).await;
        match stage.map(|stage| *stage) {
            Ok(Stage::Draining(code) | Stage::Forced(code)) => code,
            _ => std::future::pending().await,
        }
    }

    /// Whether an end was asked for.
    pub(crate) fn is_requested(&self) -> bool {
        *self.stage.borrow() != Stage::Running
    }

    /// Ready at the second signal, with the exit code that it stands for.
    pub(crate) async fn forced(&self) -> u8 {
        let mut stage = self.stage.clone();
        let forced = stage.wait_for(|stage| matches!(stage, Stage::Forced(_))).await;
        match forced.map(|stage| *stage) {
            Ok(Stage::Forced(code)) => code,
            _ => std::future::pending().await,
        }
    }
}

async fn hear(mut interrupts: Signal, mut terminations: Signal, tell: watch::Sender<Stage>) {
    loop {
        let code = tokio::select! {
            _ = interrupts.recv() => 130,
            _ = terminations.recv() => 143,
        };
        tell.send_modify(|stage| {
            *stage = match *stage {
                Stage::Running => Stage::Draining(code),
                Stage::Draining(_) | Stage::Forced(_) => Stage::Forced(code),
            };
        });
    }
}
