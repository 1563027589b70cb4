//! Ctrl-C and signals that end programs: the first one asks the command to stop, the second one ends the program. Whichever
//! ends it removes what is unfinished.

use super::exit::INTERRUPTED;
use logwright::files;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// Set by Ctrl-C or a termination signal.
static STOP: AtomicBool = AtomicBool::new(false);

/// What the first signal does: one of the constants below.
static RESPONSE: AtomicU8 = AtomicU8::new(END);

/// The program ends at once.
const END: u8 = 0;
/// The command sees the flag and stops.
const STOP_SILENTLY: u8 = 1;
/// The same, and a message says that what is finished will be saved.
const STOP_AND_SAVE: u8 = 2;

/// Whether the command was asked to stop.
pub fn is_stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Set while the program ends: what is unfinished is removed under the hands of the command, whose errors mean nothing then.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Waits for the end of the program if a signal is ending it.
pub fn wait_if_ending() {
    while ENDING.load(Ordering::Relaxed) {
        std::thread::park();
    }
}

/// From here on Ctrl-C ends the program at once, wherever it is (it may wait for input), and removes what is unfinished.
pub fn end_on_interrupt() {
    watch(END);
}

/// From here on Ctrl-C sets the flag that is returned, and says that what is finished will be saved.
pub fn save_on_interrupt() -> &'static AtomicBool {
    watch(STOP_AND_SAVE)
}

/// From here on Ctrl-C sets the flag that is returned, silently.
pub fn stop_on_interrupt() -> &'static AtomicBool {
    watch(STOP_SILENTLY)
}

fn watch(response: u8) -> &'static AtomicBool {
    static INSTALLED: Once = Once::new();
    RESPONSE.store(response, Ordering::Relaxed);
    INSTALLED.call_once(|| {
        let ignores = ignores_hangup();
        let installed = ctrlc::set_handler(respond);
        // Without a handler, signals end the program, and the next run removes what is unfinished.
        if installed.is_ok() && ignores {
            // SAFETY: ignoring a signal installs no handler of this program.
            unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
        }
    });
    &STOP
}

/// Whether the program was started with `nohup`, which is to outlive its terminal.
fn ignores_hangup() -> bool {
    // SAFETY: all-zero bytes are a valid sigaction, and with a null pointer as the new action the call only reports.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGHUP, std::ptr::null(), &mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Runs in a thread of its own, which has nothing to return to.
fn respond() {
    let again = STOP.swap(true, Ordering::Relaxed);
    match RESPONSE.load(Ordering::Relaxed) {
        STOP_AND_SAVE if !again => {
            tracing::warn!("stopping as soon as everything is saved; press Ctrl-C again to stop at once");
        }
        STOP_SILENTLY if !again => (),
        // The command may be stuck in a long computation or wait for input: only here does the program end without running
        // destructors.
        _ => {
            ENDING.store(true, Ordering::Relaxed);
            files::discard_unfinished();
            std::process::exit(INTERRUPTED.into());
        }
    }
}
