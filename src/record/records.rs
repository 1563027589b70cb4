//! `records.json`: what the records of a corpus are like. `prepare` learns it, data and model folders hold it, and whoever
//! generates or scores with the model reads it there.

use super::form::Form;
use super::prefix::{self, Prefix};
use super::schema::Profile;
use crate::{Error, Result, files};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

pub const NAME: &str = "records.json";

/// Most different combinations of prefix values that are kept.
pub const MOST_COMBINATIONS: usize = 4096;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Records {
    pub form: Form,
    /// What stands in front of each record, in order.
    pub prefixes: Vec<Prefix>,
    /// Values that stood there together in training, and how often; the first few thousand combinations.
    pub combinations: Vec<(Vec<String>, u64)>,
    /// JSON Schema of the training records without their prefixes; none for text.
    pub schema: Option<Value>,
    /// What JSON records have between members, and between a name and its value: `(", ", ": ")`.
    pub separators: Option<(String, String)>,
    /// Whether names in them were replaced by `prepare --pseudonymise`, so that a tokenizer trained on them may be shared.
    #[serde(default)]
    pub pseudonymised: bool,
}

impl Records {
    /// Of a corpus of which nothing is known.
    pub fn unknown() -> Self {
        let (prefixes, combinations) = (Vec::new(), Vec::new());
        Records { form: Form::Text, prefixes, combinations, schema: None, separators: None, pseudonymised: false }
    }

    /// Reads `folder`/records.json; folders of other programs have none.
    pub fn load(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(NAME);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
        let records = serde_json::from_slice(&text).map_err(|e| {
            Error::failed(format!(
                "{}: expected what prepare writes about records: {e}; run prepare again, or take the file from the data \
                 folder the model was trained on",
                path.display()
            ))
        })?;
        Ok(Some(records))
    }

    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join(NAME);
        let text = serde_json::to_string(self).map_err(Error::failed)? + "\n";
        std::fs::write(&path, text).map_err(|e| files::write_error(&path, e))
    }

    /// A record as the model saw it in training: with its prefix, made anew where it has one already.
    pub fn with_prefix<'a>(&self, record: &'a [u8]) -> Cow<'a, [u8]> {
        if self.prefixes.is_empty() {
            return Cow::Borrowed(record);
        }
        // What holds no object has no prefix that could be told from it.
        let record = Some(self.without_prefix(record)).filter(|body| !body.is_empty()).unwrap_or(record);
        let text = prefix::text(&prefix::values(&self.prefixes, record));
        Cow::Owned([text.as_bytes(), record].concat())
    }

    /// A record of the corpus without its prefix.
    pub fn without_prefix<'a>(&self, record: &'a [u8]) -> &'a [u8] {
        &record[self.form.body_start(record)..]
    }
}

/// Learns [`Records`] from the records of a corpus.
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

    /// Looks at a record that has its prefix.
    pub fn observe(&mut self, record: &[u8]) {
        let body = &record[self.form.body_start(record)..];
        if self.form != Form::Text {
            self.profile.observe(body);
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

    pub fn finish(self) -> Records {
        let RecordsBuilder { form, prefixes, combinations, profile } = self;
        let learnt = profile.records() > 0;
        let schema = learnt.then(|| profile.to_json_schema());
        let separators = learnt.then(|| profile.separators());
        let combinations = combinations.into_iter().collect();
        Records { form, prefixes, combinations, schema, separators, pseudonymised: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt() -> Records {
        let prefixes: Vec<Prefix> = ["user=u", "day=t,date"].map(|text| text.parse().unwrap()).into();
        let mut builder = RecordsBuilder::new(Form::PrefixedJson, &prefixes);
        for record in [r#"al - {"u":"al"}"#, r#"bo 2022-01-02 {"u":"bo","t":"2022-01-02T03"}"#, r#"al - {"u":"al"}"#] {
            builder.observe(record.as_bytes());
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
        assert_eq!(learnt.schema.unwrap()["required"], serde_json::json!(["u"]));
        assert_eq!(learnt.separators, Some((",".into(), ":".into())));
        let mut text = RecordsBuilder::new(Form::Text, &[]);
        text.observe(b"Jun 1 {\"a\":1}");
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
