//! Ctrl-C and termination signals: the first one asks the command to stop, the second one ends the program.

use super::exit::INTERRUPTED;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set by Ctrl-C or a termination signal.
static STOP: AtomicBool = AtomicBool::new(false);

/// Whether the command was asked to stop.
pub fn is_stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// From here on Ctrl-C sets the flag that is returned, and says that what is finished will be saved.
pub fn save_on_interrupt() -> &'static AtomicBool {
    watch(|| tracing::warn!("stopping as soon as everything is saved; press Ctrl-C again to stop at once"))
}

/// From here on Ctrl-C sets the flag that is returned, silently.
pub fn stop_on_interrupt() -> &'static AtomicBool {
    watch(|| ())
}

fn watch(notice: impl Fn() + Send + 'static) -> &'static AtomicBool {
    // A second command of one process (the demo) finds the handler already installed, which serves it as well.
    let _ = ctrlc::set_handler(move || match STOP.swap(true, Ordering::Relaxed) {
        false => notice(),
        // The handler has a thread of its own and nothing to return to, and the command may be stuck in a long computation:
        // only here does the program end without running destructors. What was being written is discarded by the next run.
        true => std::process::exit(INTERRUPTED.into()),
    });
    &STOP
}
