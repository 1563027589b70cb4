//! The white space between the parts of a record, where no schema learnt from records says it.

use crate::record::json_tree::Gap;
use llguidance::JsonCompileOptions;
use std::collections::BTreeMap;

/// The white space around the comma between the members of an object or list, and around the colon between a name and its
/// value, as regular expressions.
///
/// A model writes as its records were written (`", "` and `": "` by Python, `","` and `":"` in compact JSON); forced to write
/// otherwise, it leaves the distribution that it was trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Separators {
    comma: [String; 2],
    colon: [String; 2],
}

impl Default for Separators {
    /// With or without a space behind each.
    fn default() -> Self {
        let optional = || [String::new(), " ?".to_string()];
        Separators { comma: optional(), colon: optional() }
    }
}

impl Separators {
    /// Exactly these; None unless they are a comma and a colon, with or without spaces around them.
    pub fn exactly(item: &str, key: &str) -> Option<Self> {
        let around = |text: &str, sign| {
            let fits = text.trim_matches(' ') == sign;
            text.split_once(sign).filter(|_| fits).map(|(before, behind)| [before.to_string(), behind.to_string()])
        };
        Some(Separators { comma: around(item, ",")?, colon: around(key, ":")? })
    }

    /// In the words of a learnt schema.
    pub(super) fn gaps(&self) -> BTreeMap<Gap, String> {
        let ([a, b], [c, d]) = (self.comma.clone(), self.colon.clone());
        BTreeMap::from([(Gap::BeforeComma, a), (Gap::BehindComma, b), (Gap::BeforeColon, c), (Gap::BehindColon, d)])
    }

    /// In the words of the compiler of JSON Schemas.
    pub(super) fn options(&self) -> JsonCompileOptions {
        JsonCompileOptions {
            item_separator: self.comma.join(","),
            key_separator: self.colon.join(":"),
            whitespace_flexible: false,
            // Logs contain non-ASCII characters both as `\u00e9` and as they are.
            json_allow_general_unicode_escapes: true,
            ..JsonCompileOptions::default()
        }
    }
}
