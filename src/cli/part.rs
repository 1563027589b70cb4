//! `--part`, or a launcher's variables: which share of the work this process takes.

use clap::Args;
use logwright::launch::{Launched, Part};
use logwright::{Error, Result};

#[derive(Args)]
pub struct PartArgs {
    /// Take share I of N, as one of several processes [default: as the variables of torchrun, Slurm, Open MPI or PMI say]
    #[arg(long, value_name = "I/N")]
    part: Option<Part>,
}

/// The share of this process.
pub struct Share {
    pub part: Part,
    /// Where it is from, for messages.
    pub source: String,
    /// Whether all processes have the same arguments.
    pub is_launched: bool,
    /// The number of this process on its machine, if a launcher says so.
    pub local_rank: Option<usize>,
}

impl PartArgs {
    pub fn share(&self) -> Result<Share> {
        if let Some(part) = self.part {
            return Ok(Share { part, source: format!("--part {part}"), is_launched: false, local_rank: None });
        }
        let Some(Launched { by, part, local_rank }) = Launched::find()? else {
            let (part, source) = (Part::WHOLE, "one process".to_string());
            return Ok(Share { part, source, is_launched: false, local_rank: None });
        };
        let source = format!("{by} has started process {} of {}", part.number(), part.of());
        Ok(Share { part, source, is_launched: !part.is_whole(), local_rank })
    }
}

impl Share {
    /// Refuses what only one process can do; `why` says why, and what to do instead.
    pub fn refuse(&self, is_asked: bool, what: &str, why: &str) -> Result<()> {
        match is_asked && !self.part.is_whole() {
            false => Ok(()),
            true => Err(Error::usage(format!(
                "{what}: {why}; --part 1/1 does everything in this process ({})",
                self.source
            ))),
        }
    }

    pub fn tell(&self) {
        if !self.part.is_whole() {
            tracing::info!("share {} of the work: {}", self.part, self.source);
        }
    }
}
