//! What this program is: its version, and the commit that it was built from.

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit of the source tree, or why it is not known. Changes that were not committed do not show.
pub const COMMIT: &str = env!("LOGWRIGHT_COMMIT");

/// The cargo features of this build, by name.
pub fn features() -> Vec<&'static str> {
    let all = [
        ("emulator", cfg!(feature = "emulator")),
        ("emulator-check", cfg!(feature = "emulator-check")),
        ("evtx", cfg!(feature = "evtx")),
        ("parquet", cfg!(feature = "parquet")),
        ("serve", cfg!(feature = "serve")),
        ("xz", cfg!(feature = "xz")),
    ];
    all.into_iter().filter(|(_, is_on)| *is_on).map(|(name, _)| name).collect()
}
