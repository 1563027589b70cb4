//! Parts of the program that a build has only if it was asked for: cargo features, off by default because of what they bring along.

use super::stdin::STDIN;
use crate::{Error, Result};

pub(super) struct Feature {
    /// The cargo feature.
    pub name: &'static str,
    pub built: bool,
    /// What it reads.
    pub what: &'static str,
    /// What does without it; `FILE` stands for the name of the file.
    pub instead: &'static str,
}

pub(super) const EVTX: Feature = Feature {
    name: "evtx",
    built: cfg!(feature = "evtx"),
    what: "a Windows event log (EVTX)",
    instead: "evtx_dump -o jsonl FILE | logwright prepare - ...",
};

pub(super) const PARQUET: Feature = Feature {
    name: "parquet",
    built: cfg!(feature = "parquet"),
    what: "Parquet",
    instead: "duckdb -jsonlines -c \"FROM 'FILE'\" | logwright prepare - ...",
};

pub(super) const XZ: Feature =
    Feature { name: "xz", built: cfg!(feature = "xz"), what: "xz", instead: "xz -dc FILE | logwright prepare - ..." };

impl Feature {
    /// An error for a source that a build without the feature cannot read.
    pub fn require(&self, source: &str) -> Result<()> {
        if self.built {
            return Ok(());
        }
        let Feature { name, what, instead, .. } = self;
        let is_plain = source != STDIN && source.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
        // A shell would read other names in its own way.
        let file = if is_plain { source } else { "FILE" };
        Err(Error::failed(format!(
            "{source}: this is {what}, which this build of logwright does not read; pipe it in: {}; or build with the cargo \
             feature: cargo build --release --features {name}",
            instead.replace("FILE", file)
        )))
    }
}
