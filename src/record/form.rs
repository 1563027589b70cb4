//! The form of a record as a whole.

use serde::{Deserialize, Serialize};

/// The form of the records of a corpus, which generated records must have too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// One JSON object.
    Json,
    /// A prefix of text (values of fields, added by `prepare --prefix-field`), then one JSON object from the first `{`.
    PrefixedJson,
    /// A line of text, which is not parsed.
    Text,
}

impl Form {
    /// The offset at which the JSON object of `text` begins: the length of `text` if it contains no object, 0 for plain
    /// text.
    pub fn body_start(self, text: &[u8]) -> usize {
        match self {
            Form::PrefixedJson => text.iter().position(|&b| b == b'{').unwrap_or(text.len()),
            Form::Json | Form::Text => 0,
        }
    }
}
