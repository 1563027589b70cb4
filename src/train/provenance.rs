//! Where a model comes from: what `config.toml` and `provenance.json` say besides the settings.

use crate::version::{COMMIT, VERSION};
use crate::{Result, files};
use serde::Serialize;
use std::path::Path;

/// The program and the data of a run. The data is named by its fingerprint, not by the names of its files.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Provenance {
    pub logwright: &'static str,
    pub commit: &'static str,
    pub data: String,
}

/// `provenance.json` of a model folder.
#[derive(Serialize)]
struct OfModel<'a> {
    #[serde(flatten)]
    provenance: &'a Provenance,
    preset: &'a str,
    step: u64,
}

impl Provenance {
    /// The names of the members, which are no settings.
    pub const MEMBERS: [&'static str; 3] = ["logwright", "commit", "data"];

    pub fn new(fingerprint: u32) -> Self {
        Provenance { logwright: VERSION, commit: COMMIT, data: format!("{fingerprint:08x}") }
    }

    /// The first lines of `config.toml`.
    pub fn to_toml(&self) -> String {
        let lines = toml::to_string_pretty(self).expect("strings serialise");
        format!("# Where this run comes from; `train --config` does not read it.\n{lines}\n")
    }

    /// Writes `provenance.json`.
    pub fn save(&self, folder: &Path, preset: &str, step: u64) -> Result<()> {
        let text =
            serde_json::to_string_pretty(&OfModel { provenance: self, preset, step }).expect("plain values serialise");
        files::write_new(&folder.join("provenance.json"), (text + "\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_members_are_those_that_a_reader_of_settings_leaves_out() {
        let table: toml::Table = Provenance::new(7).to_toml().parse().unwrap();
        let mut expected = Provenance::MEMBERS.to_vec();
        expected.sort_unstable();
        let mut names: Vec<&str> = table.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!((names, table["data"].as_str()), (expected, Some("00000007")));
    }
}
