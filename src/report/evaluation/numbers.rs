//! Tables that show each number of the generated records next to that of real ones.

use crate::fidelity::{Pair, Share};
use crate::report::html::{cell, table};

/// A row of a table of numbers: the generated side, the real side, and what the number means.
pub(super) struct NumberRow {
    pub name: &'static str,
    pub generated: String,
    pub baseline: String,
    pub meaning: &'static str,
}

pub(super) fn numbers(rows: Vec<NumberRow>) -> String {
    let cells = |row: NumberRow| {
        [cell("", row.name), cell("number", &row.generated), cell("number", &row.baseline), cell("note", row.meaning)]
            .concat()
    };
    table(&["", "generated", "real, held out", "what it means"], rows.into_iter().map(cells))
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

pub(super) fn three(value: f64) -> String {
    format!("{value:.3}")
}

pub(super) fn pair<T: Copy>(
    name: &'static str,
    both: &Pair<T>,
    show: impl Fn(T) -> String,
    meaning: &'static str,
) -> NumberRow {
    NumberRow { name, generated: show(both.generated), baseline: show(both.validation), meaning }
}

pub(super) fn parts(share: Share) -> String {
    format!("{} of {} ({})", share.count, share.of, percent(share.share))
}
