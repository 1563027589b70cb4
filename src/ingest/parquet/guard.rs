//! The crate panics at some damage, such as a negative length. That is the file's fault, so it becomes an error without a trace.

use ::parquet::errors::{ParquetError, Result};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether this thread is inside the crate.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// Calls the crate. After an error what it was called for must not be used again, since a panic may have left it half-changed.
pub(super) fn guarded<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !INSIDE.get() {
                before(panic);
            }
        }));
    });
    INSIDE.set(true);
    let done = catch_unwind(AssertUnwindSafe(call));
    INSIDE.set(false);
    done.unwrap_or_else(|_| Err(ParquetError::General("what it states of itself cannot be".into())))
}
