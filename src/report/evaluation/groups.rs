//! How the detector treats groups of records, as a table a path.

use super::numbers::three;
use crate::detect::groups::{Differs, Division, Group, GroupRate, Member};
use crate::report::html::{cell, section, table};
use crate::words::counted;

pub(super) fn groups(divisions: &[Division]) -> String {
    divisions.iter().map(division).collect()
}

fn division(division: &Division) -> String {
    let heads = [
        "value",
        "normals",
        "false-positive rate",
        "95 % interval",
        "differs",
        "attacks",
        "recall",
        "95 % interval",
        "differs",
    ];
    let lead = format!(
        "The first detector of the table above at its calibrated threshold. Intervals are Wilson's. A rate is flagged where it differs from that of all other \
         records beyond chance: by Fisher's exact test, p below {} after Holm's correction over the groups.",
        division.level
    );
    let flags = division.groups.iter().flat_map(|group| [&group.false_positive_rate, &group.recall]);
    let summary = match flags.filter(|rate| rate.flag.is_some()).count() {
        0 => "No rate is flagged.".to_string(),
        flagged => format!("{} flagged.", counted(flagged as u64, "rate")),
    };
    section(
        &format!("False alarms and recall by {}", division.path),
        &format!("{lead} {summary}"),
        &table(&heads, division.groups.iter().map(row)),
    )
}

fn row(group: &Group) -> String {
    let name = match &group.of {
        Member::Value(Some(value)) => value.clone(),
        Member::Value(None) => "(no value)".into(),
        Member::PooledValues(values) => format!("(others: {})", counted(*values as u64, "value")),
    };
    let count = |count: u64| cell("number", &count.to_string());
    [cell("", &name), count(group.normals), rate(&group.false_positive_rate), count(group.attacks), rate(&group.recall)]
        .concat()
}

fn rate(rate: &GroupRate) -> String {
    let number = |value: Option<f64>| value.map_or("-".into(), three);
    let interval = rate.interval.map_or("-".into(), |[low, high]| format!("{} to {}", three(low), three(high)));
    let differs = match (rate.flag, rate.p_value) {
        (Some(flag), Some(p_value)) => {
            let way = if flag == Differs::Higher { "higher" } else { "lower" };
            format!("{way} than {} of others (p = {p_value:.1e})", number(rate.rate_of_others))
        }
        _ => String::new(),
    };
    cell("number", &number(rate.rate)) + &cell("number", &interval) + &cell("", &differs)
}
