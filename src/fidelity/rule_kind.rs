//! The kinds of consistency rules.

use serde::Serialize;

/// What a rule says of two paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// Both have the same value in a record.
    Equal,
    /// Records with the same value at `from` have the same value at `to` (a functional dependency; approximate, with an
    /// error of at most 1 %: Huhtala et al., "TANE", 1999).
    Determines,
    /// The number or the time at `from` is not above the one at `to`: a start and its end.
    AtMost,
    /// Arrays have as many elements, strings as many characters.
    SameLength,
    /// The text at `from` occurs within the one at `to`: a name within a path.
    ContainedIn,
}

/// The rules that are about the texts of two values. Each is transitive.
pub const RELATIONS: [RuleKind; 3] = [RuleKind::AtMost, RuleKind::SameLength, RuleKind::ContainedIn];
