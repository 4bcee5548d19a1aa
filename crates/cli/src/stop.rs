//! When a running part has to end: Ctrl-C, a terminate signal, or the end of its starter.

use sota_errors::ProgramError;
use std::io::Read;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// Calls `stop` (on a thread of its own) at each such moment; with `until_eof` also when standard input
/// ends, which it does when the process that started this one is gone, however it ended.
pub(crate) fn on_stop(
    until_eof: bool,
    stop: impl Fn() + Clone + Send + 'static,
) -> Result<(), Failure> {
    let failed = |e| Failure::new(ProgramError::SocketFailed, e);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    drop(guard);
    let signalled = stop.clone();
    spawn("signals", move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => signalled(),
                    _ = terminate.recv() => signalled(),
                }
            }
        })
    })?;
    if until_eof {
        spawn("starter", move || {
            let mut byte = [0];
            while matches!(std::io::stdin().read(&mut byte), Ok(count) if count > 0) {}
            stop();
        })?;
    }
    Ok(())
}

/// A named thread.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map(drop)
        .map_err(|e| Failure::new(ProgramError::SocketFailed, e))
}
