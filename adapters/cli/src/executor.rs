//! The async runtime this program runs on, chosen once at its start: hosts, tasks, sleeping, signals.
//!
//! Whoever adds a runtime adds it to [`run`], and says in [`descriptors`] what it starts with; nothing else knows which one
//! it is. What commands use of tokio beyond this, its channels and traits, needs no runtime.

use crate::{
    args::RuntimeKind,
    failure::Failure,
    session::{Host, Protocols},
};
use core::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};
use drywire::{identity::Keypair, swarm};
use drywire_async_std::AsyncStdRuntime;
use drywire_engine::{Runtime, StartError, Timer};
use drywire_smol::SmolRuntime;
use drywire_tokio::TokioRuntime;
use std::{io, sync::OnceLock};
use tokio::sync::oneshot;

/// What is asked of a runtime, whichever it is.
trait Executor: Send + Sync {
    fn host(
        &self,
        keypair: Keypair,
        config: swarm::Config,
        protocols: Protocols,
    ) -> Result<Host, StartError>;

    fn spawn_boxed(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>);

    /// A timer that fires after this time.
    fn timer_after(&self, time: Duration) -> Box<dyn Timer>;
}

impl<R: Runtime> Executor for R {
    fn host(
        &self,
        keypair: Keypair,
        config: swarm::Config,
        protocols: Protocols,
    ) -> Result<Host, StartError> {
        Host::builder(self.clone(), protocols)
            .keypair(keypair)
            .config(config)
            .start()
    }

    fn spawn_boxed(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.spawn(task);
    }

    fn timer_after(&self, time: Duration) -> Box<dyn Timer> {
        let mut timer = self.timer();
        timer.arm(self.now() + time);
        Box::new(timer)
    }
}

struct Chosen {
    kind: RuntimeKind,
    executor: Box<dyn Executor>,
}

static CHOSEN: OnceLock<Chosen> = OnceLock::new();

/// No runtime was started yet, or it cannot be.
#[derive(Debug)]
struct NotRunning;

fn chosen() -> Result<&'static Chosen, NotRunning> {
    CHOSEN.get().ok_or(NotRunning)
}

fn choose(kind: RuntimeKind, runtime: impl Runtime) {
    // The first choice stands; a program makes one.
    CHOSEN.get_or_init(|| Chosen {
        kind,
        executor: Box::new(runtime),
    });
}

/// Starts this runtime, and runs `main` on it.
pub(crate) fn run<T>(kind: RuntimeKind, main: impl Future<Output = T>) -> Result<T, Failure> {
    let failed = |error: io::Error| Failure::failed(format!("{kind} does not start: {error}"));
    descriptors(kind).map_err(failed)?;
    match kind {
        RuntimeKind::Tokio => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .map_err(failed)?;
            choose(kind, TokioRuntime::from_handle(runtime.handle().clone()));
            let done = runtime.block_on(main);
            // Tasks left over (a resolver's thread, say) must not keep the program.
            runtime.shutdown_background();
            Ok(done)
        }
        RuntimeKind::Smol => {
            choose(kind, SmolRuntime::global());
            Ok(smol::block_on(async {
                // A first task, behind one that smol starts with: it takes its descriptors before the command takes any.
                smol::spawn(async {}).await;
                main.await
            }))
        }
        RuntimeKind::Mio => {
            let mut executor = drywire_mio::executor::Executor::new().map_err(failed)?;
            choose(kind, executor.runtime());
            executor.block_on(main).map_err(failed)
        }
        RuntimeKind::AsyncStd => {
            choose(kind, AsyncStdRuntime::default());
            Ok(async_std::task::block_on(main))
        }
    }
}

/// Runtimes panic if they find some of the descriptors they start with, but not all: this tries whether they are there.
fn descriptors(kind: RuntimeKind) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd as _;
        let count = match kind {
            // A poll handle and its copy, what wakes it, both ends of the signals' pipe and a copy of one.
            RuntimeKind::Tokio => 6,
            // A poll handle, what wakes it, a timer, both ends of three pipes for signals.
            RuntimeKind::Smol | RuntimeKind::AsyncStd => 9,
            // A poll handle and its copy, what wakes it, and for signals what smol needs.
            RuntimeKind::Mio => 12,
        };
        let stdin = io::stdin();
        let copies = (0..count).map(|_| stdin.as_fd().try_clone_to_owned());
        // All of them at once.
        drop(copies.collect::<io::Result<Vec<_>>>()?);
    }
    #[cfg(not(unix))]
    let _ = kind;
    Ok(())
}

/// A node on the chosen runtime.
pub(crate) fn host(
    keypair: Keypair,
    config: swarm::Config,
    protocols: Protocols,
) -> Result<Host, Failure> {
    let chosen = chosen().map_err(Failure::failed)?;
    let started = chosen.executor.host(keypair, config, protocols);
    started.map_err(Failure::failed)
}

/// A task in the background. Dropping this lets it run on.
pub(crate) struct Task<T>(oneshot::Receiver<T>);

/// A task ended before it was done: it has panicked.
#[derive(Debug)]
pub(crate) struct Lost;

impl<T> Future for Task<T> {
    type Output = Result<T, Lost>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|done| done.map_err(|_| Lost))
    }
}

/// Runs `task` in the background.
pub(crate) fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> Task<T> {
    let (done, result) = oneshot::channel();
    if let Ok(chosen) = chosen() {
        chosen.executor.spawn_boxed(Box::pin(async move {
            // Perhaps nobody waits.
            let _ = done.send(task.await);
        }));
    }
    Task(result)
}

/// Runs `work` on a thread of its own.
pub(crate) fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Task<T> {
    let (done, result) = oneshot::channel();
    // Without a thread the task is lost.
    let _ = std::thread::Builder::new().spawn(move || {
        let _ = done.send(work());
    });
    Task(result)
}

/// Ready after this time.
pub(crate) async fn sleep(time: Duration) {
    match chosen() {
        Ok(chosen) => {
            let mut timer = chosen.executor.timer_after(time);
            poll_fn(|cx| timer.poll(cx)).await;
        }
        Err(NotRunning) => core::future::pending().await,
    }
}

/// What `future` gives, unless it takes longer than this.
pub(crate) async fn timeout<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    let (mut late, mut future) = (pin!(sleep(time)), pin!(future));
    poll_fn(|cx| {
        if let Poll::Ready(done) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        late.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// Ready when the user, or the system, tells the program to stop, from the call on.
pub(crate) fn interrupted() -> Pin<Box<dyn Future<Output = ()> + Send>> {
    match chosen() {
        Ok(chosen) if chosen.kind == RuntimeKind::Tokio => Box::pin(tokio_interrupted()),
        _ => Box::pin(async_io_interrupted()),
    }
}

fn tokio_interrupted() -> impl Future<Output = ()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        async move {
            let [Ok(mut interrupt), Ok(mut terminate)] = signals else {
                return core::future::pending().await;
            };
            poll_fn(|cx| {
                if interrupt.poll_recv(cx).is_ready() || terminate.poll_recv(cx).is_ready() {
                    return Poll::Ready(());
                }
                Poll::Pending
            })
            .await;
        }
    }
    #[cfg(not(unix))]
    async {
        if tokio::signal::ctrl_c().await.is_err() {
            core::future::pending::<()>().await;
        }
    }
}

/// By the reactor of smol and async-std; beside another runtime it has a thread of its own.
fn async_io_interrupted() -> impl Future<Output = ()> {
    use async_signal::{Signal, Signals};
    use futures_core::Stream as _;
    #[cfg(unix)]
    let signals = Signals::new([Signal::Int, Signal::Term]);
    #[cfg(not(unix))]
    let signals = Signals::new([Signal::Int]);
    // In a task: whoever waits looks at this whenever it runs, and looking at the signals is a system call.
    let told = spawn(async move {
        let Ok(mut signals) = signals else {
            return core::future::pending().await;
        };
        if !matches!(
            poll_fn(|cx| Pin::new(&mut signals).poll_next(cx)).await,
            Some(Ok(_))
        ) {
            core::future::pending::<()>().await;
        }
    });
    async move {
        if told.await.is_err() {
            core::future::pending::<()>().await;
        }
    }
}

impl fmt::Display for NotRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no async runtime is running")
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a task ended before it was done")
    }
}
