//! `--mode`: who may read what a command writes.

use clap::Args;
use logwright::files;

/// A command that writes contents of logs takes this, and applies it before it writes anything.
#[derive(Args, Clone, Copy)]
pub struct ModeArgs {
    /// Permissions of what is written, in octal, whatever the umask: 0640 lets the group read it. Folders can be entered by
    /// those who may read files [default: 0600, its owner only]
    #[arg(long, value_name = "MODE", value_parser = mode)]
    mode: Option<u32>,
}

impl ModeArgs {
    pub fn apply(self) {
        self.mode.into_iter().for_each(files::set_mode);
    }
}

/// Parses the mode of a file: its owner must be able to read and replace it, and nothing is executed.
fn mode(text: &str) -> std::result::Result<u32, String> {
    let mode = u32::from_str_radix(text.trim_start_matches("0o"), 8).ok();
    mode.filter(|mode| mode & 0o600 == 0o600 && mode & !0o666 == 0).ok_or_else(|| {
        "expected an octal mode of files between 0600 and 0666, such as 0640 (the group may read)".to_string()
    })
}
