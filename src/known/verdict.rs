//! What is known of a record while it is scored.

use super::entry::{Entry, Judgement, What};
use crate::alerts::{Template, compared};
use crate::finding::{Finding, KnownAs};
use crate::score::ScoredRecord;
use std::collections::HashSet;

/// What is known, ready for many records.
#[derive(Default)]
pub struct Known {
    /// Paths and values that are no evidence.
    excused: HashSet<(String, String)>,
    /// What makes or unmakes an anomaly; what is bad comes first.
    judging: Vec<Entry>,
    has_templates: bool,
}

impl Known {
    pub fn new(entries: Vec<Entry>) -> Self {
        let is_excuse = |entry: &Entry| entry.state == Judgement::Good && matches!(entry.what, What::Field { .. });
        let (excuses, mut judging): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_excuse);
        judging.sort_by_key(|entry| entry.state == Judgement::Good);
        let pair = |entry: Entry| match entry.what {
            What::Field { path, value } => Some((path, value)),
            _ => None,
        };
        let has_templates = judging.iter().any(|entry| matches!(entry.what, What::Template(_)));
        Known { excused: excuses.into_iter().filter_map(pair).collect(), judging, has_templates }
    }

    /// Whether findings are judged by their odd fields, of which they then need several.
    pub fn has_templates(&self) -> bool {
        self.has_templates
    }

    /// Takes the surprisal from the fields that are known to be good.
    pub fn excuse(&self, measured: &mut ScoredRecord) {
        if self.excused.is_empty() {
            return;
        }
        let is_known =
            |path: &str, value: &str| self.excused.contains(&(path.to_string(), compared(value).to_string()));
        let known = |i: &usize| {
            let field = &measured.parts.fields[*i];
            [false, true].into_iter().any(|in_clear| is_known(&field.path, &measured.value(field, in_clear)))
        };
        let fields: Vec<usize> = (0..measured.parts.fields.len()).filter(known).collect();
        measured.excuse(&fields);
    }

    /// The verdict on a finding that does not depend on its score, if there is one.
    pub fn judge(&self, finding: &Finding, measured: &ScoredRecord) -> Option<KnownAs> {
        let template = self.has_templates.then(|| Template::of(&measured.record));
        let holds = |entry: &&Entry| match &entry.what {
            What::Field { path, value } => measured.parts.fields.iter().any(|field| {
                field.path == *path
                    && [false, true].into_iter().any(|in_clear| compared(&measured.value(field, in_clear)) == value)
            }),
            What::Template(kind) => template.as_ref().is_some_and(|template| kind.holds(finding, template)),
            What::Record { digest } => finding.origin.digest == *digest,
        };
        let entry = self.judging.iter().find(holds)?;
        let state = match entry.state {
            Judgement::Good => "good",
            Judgement::Bad => "bad",
        };
        Some(KnownAs { state, id: entry.id.clone(), reason: entry.reason.clone() })
    }
}
