//! Standard input that tells when nothing comes.

use crate::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;

/// What messages call it.
pub(super) const STDIN: &str = "stdin";

/// How long nothing may come before a read says so.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

pub(super) struct Stdin(File);

impl Stdin {
    pub fn open() -> Result<Self> {
        // A handle of its own: the standard library's has a buffer, which a look at the pipe does not see.
        let own = io::stdin().as_fd().try_clone_to_owned();
        Ok(Stdin(own.map_err(|e| Error::failed(format!("cannot read standard input: {e}")))?.into()))
    }
}

impl Read for Stdin {
    /// Errors: `WouldBlock` if nothing came for a while; reading can go on.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wanted = [PollFd::new(&self.0, PollFlags::IN)];
        match poll(&mut wanted, Some(&PATIENCE))? {
            0 => Err(ErrorKind::WouldBlock.into()),
            _ => self.0.read(buffer),
        }
    }
}
