//! `records.json`: a description of the records of a corpus. `prepare` learns it, data and model folders contain it, and
//! generation and scoring read it from the model's folder.

use super::form::Form;
use super::json_tree::Gap;
use super::opened::{self, OpenedReport, Opening};
use super::prefix::{self, Prefix};
use super::schema::Profile;
use crate::{Error, Result, files};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

pub const NAME: &str = "records.json";

/// The most distinct combinations of prefix values that are kept.
pub const MOST_COMBINATIONS: usize = 4096;

/// The version of the file that this program writes. Files without one are of version 1, whose schema says nothing of how values
/// are written; its grammar is that of any JSON Schema. Records of files before version 3 have no opened strings.
const VERSION: u32 = 3;

fn first_version() -> u32 {
    1
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Records {
    #[serde(default = "first_version")]
    pub version: u32,
    pub form: Form,
    /// The prefixes of each record, in order.
    pub prefixes: Vec<Prefix>,
    /// Combinations of prefix values in the training records and their counts, for the first [`MOST_COMBINATIONS`].
    pub combinations: Vec<(Vec<String>, u64)>,
    /// The JSON Schema of the training records without their prefixes; `None` for text.
    pub schema: Option<Value>,
    /// The separators of JSON records between members and between a name and its value, such as `(", ", ": ")`.
    pub separators: Option<(String, String)>,
    /// The white space of JSON records wherever some have it, as regular expressions.
    #[serde(default)]
    pub gaps: BTreeMap<Gap, String>,
    /// Whether `prepare --pseudonymise` replaced the names in the records, so that their tokenizer reveals no original
    /// names.
    #[serde(default)]
    pub pseudonymised: bool,
    /// Which strings with JSON are opened.
    #[serde(default, skip_serializing_if = "Opening::is_nothing")]
    pub open: Opening,
    /// The pattern of lines that begin a record, where records of text have several lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_start: Option<String>,
}

impl Records {
    /// The description of a corpus about which nothing is known.
    pub fn unknown() -> Self {
        let (prefixes, combinations) = (Vec::new(), Vec::new());
        Records {
            version: VERSION,
            form: Form::Text,
            prefixes,
            combinations,
            schema: None,
            separators: None,
            gaps: BTreeMap::new(),
            pseudonymised: false,
            open: Opening::Nothing,
            record_start: None,
        }
    }

    /// Whether the schema says how values are written, so that its grammar accepts the training records byte for byte.
    pub fn schema_says_how(&self) -> bool {
        self.version > 1
    }

    /// Reads `folder`/records.json; `None` if the folder has none, as folders of other programs do.
    pub fn load(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(NAME);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
        let refused = |found: &dyn Display, remedy: &str| {
            let path = path.display();
            Error::failed(format!("{path}: expected the description of records that prepare writes: {found}; {remedy}"))
        };
        let read: serde_json::Result<Self> = serde_json::from_slice(&text);
        match read {
            Ok(records) if records.version > VERSION => Err(refused(
                &format!("found version {}, and this program reads up to {VERSION}", records.version),
                "use a later version of logwright, or run prepare again with this one",
            )),
            Ok(records) => Ok(Some(records)),
            Err(e) => {
                Err(refused(&e, "run prepare again, or copy the file from the data folder the model was trained on"))
            }
        }
    }

    pub fn save(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string(self).map_err(Error::failed)? + "\n";
        files::write_new(&folder.join(NAME), text.as_bytes())
    }

    /// The record as the model sees it in training, with its prefix. A prefix that the record already has is replaced.
    pub fn with_prefix<'a>(&self, record: &'a [u8]) -> Cow<'a, [u8]> {
        if self.prefixes.is_empty() {
            return Cow::Borrowed(record);
        }
        // In a record without an object, a prefix could not be distinguished from the rest.
        let record = Some(self.without_prefix(record)).filter(|body| !body.is_empty()).unwrap_or(record);
        let text = prefix::text(&prefix::values(&self.prefixes, record));
        Cow::Owned([text.as_bytes(), record].concat())
    }

    /// A raw record as `prepare` reads it: its strings opened as those were of the training records.
    pub fn as_read<'a>(&self, record: &'a [u8]) -> Cow<'a, [u8]> {
        self.open.open(record, &mut OpenedReport::default()).map_or(Cow::Borrowed(record), Cow::Owned)
    }

    /// A record of the model as the log had it: without its prefix, its opened strings closed.
    pub fn as_logged<'a>(&self, record: &'a [u8]) -> Cow<'a, [u8]> {
        let body = self.without_prefix(record);
        if self.open.is_nothing() { Cow::Borrowed(body) } else { Cow::Owned(opened::close(body)) }
    }

    /// The record without its prefix.
    pub fn without_prefix<'a>(&self, record: &'a [u8]) -> &'a [u8] {
        &record[self.form.body_start(record)..]
    }
}

/// Builds [`Records`] from the records of a corpus.
pub struct RecordsBuilder {
    form: Form,
    prefixes: Vec<Prefix>,
    combinations: BTreeMap<Vec<String>, u64>,
    profile: Profile,
}

impl RecordsBuilder {
    pub fn new(form: Form, prefixes: &[Prefix]) -> Self {
        RecordsBuilder { form, prefixes: prefixes.to_vec(), combinations: BTreeMap::new(), profile: Profile::default() }
    }

    /// Takes in a record with its prefix. `is_checked`: a record of JSON without one is known to be an object.
    pub fn observe(&mut self, record: &[u8], is_checked: bool) {
        let body = &record[self.form.body_start(record)..];
        match self.form {
            Form::Text => {}
            Form::Json if is_checked => self.profile.observe_object(body),
            Form::Json | Form::PrefixedJson => self.profile.observe(body),
        }
        if self.prefixes.is_empty() {
            return;
        }
        let values = prefix::values(&self.prefixes, body);
        let values: Vec<String> = values.into_iter().map(|value| value.unwrap_or(prefix::PLACEHOLDER.into())).collect();
        let room = self.combinations.len() < MOST_COMBINATIONS;
        if let Some(count) = self.combinations.get_mut(&values) {
            *count += 1;
        } else if room {
            self.combinations.insert(values, 1);
        }
    }

    /// The number of records so far in which an object has the same name twice.
    pub fn doubled(&self) -> u64 {
        self.profile.doubled()
    }

    pub fn finish(self) -> Records {
        let RecordsBuilder { form, prefixes, combinations, profile } = self;
        let learnt = profile.records() > 0;
        let schema = learnt.then(|| profile.to_json_schema());
        let separators = learnt.then(|| profile.separators());
        let combinations = combinations.into_iter().collect();
        let gaps = profile.gaps();
        Records { form, prefixes, combinations, schema, separators, gaps, ..Records::unknown() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt() -> Records {
        let prefixes: Vec<Prefix> = ["user=u", "day=t,date"].map(|text| text.parse().unwrap()).into();
        let mut builder = RecordsBuilder::new(Form::PrefixedJson, &prefixes);
        for record in [r#"al - {"u":"al"}"#, r#"bo 2022-01-02 {"u":"bo","t":"2022-01-02T03"}"#, r#"al - {"u":"al"}"#] {
            builder.observe(record.as_bytes(), false);
        }
        builder.finish()
    }

    #[test]
    fn combinations_are_counted() {
        let expected = [(vec!["al".to_string(), "-".into()], 2), (vec!["bo".into(), "2022-01-02".into()], 1)];
        assert_eq!(learnt().combinations, expected);
    }

    #[test]
    fn the_schema_is_that_of_the_records_without_prefixes() {
        let learnt = learnt();
        let names: Vec<_> = learnt.schema.as_ref().unwrap()["properties"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["u", "t"]);
        assert_eq!(learnt.separators, Some((",".into(), ":".into())));
        let mut text = RecordsBuilder::new(Form::Text, &[]);
        text.observe(b"Jun 1 {\"a\":1}", false);
        assert_eq!(text.finish().schema, None);
    }

    #[test]
    fn a_prefix_is_put_on_and_taken_off() {
        let (records, raw) = (learnt(), br#"{"u":"al","t":"2022-01-02T03"}"#);
        let whole = records.with_prefix(raw);
        assert_eq!(&whole[..], [&b"al 2022-01-02 "[..], raw].concat());
        assert_eq!(records.without_prefix(&whole), raw);
        assert_eq!(records.with_prefix(&whole), whole, "no second one");
        assert_eq!(&records.with_prefix(b"no object")[..], b"- - no object");
        assert_eq!(&Records::unknown().with_prefix(raw)[..], raw);
    }

    #[test]
    fn the_file_reads_back_and_damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Records::load(folder.path()).unwrap(), None);
        learnt().save(folder.path()).unwrap();
        assert_eq!(Records::load(folder.path()).unwrap(), Some(learnt()));
        std::fs::write(folder.path().join(NAME), "{").unwrap();
        let message = Records::load(folder.path()).unwrap_err().to_string();
        assert!(message.contains(NAME) && message.contains("prepare again"), "{message}");
    }
}
