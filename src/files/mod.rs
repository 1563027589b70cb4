//! The one place where files and folders are created: whole or absent, closed to other users, never through somebody's link.
//!
//! A result is written under a temporary name, synced and renamed, so that a failure or kill at any moment leaves what was there
//! before. What a kill leaves under a temporary name is removed by the next run, or by the signal that ends the program.

mod create;
mod lock;
mod staged;
mod unfinished;
mod whole;

pub use create::{
    Access, append, check_readable, create_folders, create_new, set_mode, temporary, write_error, write_new,
};
pub use lock::Lock;
pub use staged::{StagedFolder, recover, replace_folder};
pub use unfinished::discard as discard_unfinished;
pub use whole::{WholeFile, write_atomic};

/// The names in a folder, sorted.
#[cfg(test)]
fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}
