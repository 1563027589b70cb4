//! What a record looks like as a whole.

use serde::{Deserialize, Serialize};

/// What a record of the corpus looks like, and so what a generated one must look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// One JSON object.
    Json,
    /// Text (a field's value, put there by `prepare --prefix-field`), then one JSON object from the first `{` on.
    PrefixedJson,
    /// A line of text: nothing to parse.
    Text,
}

impl Form {
    /// Offset at which the JSON object of `text` begins; its length if there is none, 0 for plain text.
    pub fn body_start(self, text: &[u8]) -> usize {
        match self {
            Form::PrefixedJson => text.iter().position(|&b| b == b'{').unwrap_or(text.len()),
            Form::Json | Form::Text => 0,
        }
    }
}
