//! What holds between the fields of a record, and between the records: rules and keys, in the page.

use super::numbers::{parts, percent};
use crate::fidelity::keys::Key;
use crate::fidelity::rules::Compliance;
use crate::fidelity::{CheckedRule, RuleKind, Share};
use crate::report::html::{cell, code, section, table};

fn says(kind: RuleKind) -> &'static str {
    match kind {
        RuleKind::Equal => "equals",
        RuleKind::Determines => "determines",
        RuleKind::AtMost => "is at most",
        RuleKind::SameLength => "is as long as",
        RuleKind::ContainedIn => "is contained in",
    }
}

pub(super) fn rules(rules: &[CheckedRule]) -> String {
    let share = |kept: &Compliance| match kept.records {
        0 => "no case".to_string(),
        records => format!("{} of {records}", percent(kept.share)),
    };
    let row = |rule: &CheckedRule| {
        let (made, real) = (&rule.kept.generated, &rule.kept.validation);
        let worse = made.records > 0 && made.share + 0.05 < if real.records > 0 { real.share } else { rule.confidence };
        [
            code(&rule.from),
            cell("", says(rule.kind)),
            code(&rule.to),
            cell("number", &rule.support.to_string()),
            cell("number", &percent(rule.confidence)),
            cell(if worse { "number off" } else { "number" }, &share(made)),
            cell("number", &share(real)),
        ]
        .concat()
    };
    let lead = "What holds between two fields of a training record, and the fraction of records that follow it. Higher is better; \
                held-out records show what can be expected. A value that training does not have is not counted.";
    let heads = ["path", "", "path", "support", "in training", "generated", "real, held out"];
    let body = if rules.is_empty() { String::new() } else { table(&heads, rules.iter().map(row)) };
    section("Consistency rules", if rules.is_empty() { "The training records support no rule." } else { lead }, &body)
}

/// Empty where training has no keys.
pub(super) fn keys(keys: &[Key]) -> String {
    if keys.is_empty() {
        return String::new();
    }
    let share = |side: Share| if side.of == 0 { "no case".to_string() } else { parts(side) };
    let row = |key: &Key| {
        let (made, real) = (key.distinct.generated, key.distinct.validation);
        let worse = made.of > 0 && made.share + 0.01 < if real.of > 0 { real.share } else { 1.0 };
        [
            code(&key.path),
            cell("number", &key.support.to_string()),
            cell(if worse { "number off" } else { "number" }, &share(made)),
            cell("number", &share(real)),
        ]
        .concat()
    };
    let lead = "Fields that identify a record: no two training records have the same value there. The fraction of values that \
                are distinct should be as high among generated records.";
    section("Keys", lead, &table(&["path", "training records", "generated", "real, held out"], keys.iter().map(row)))
}
