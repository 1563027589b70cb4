//! Does a detector treat groups of records alike? False-positive rate and recall of each group at one threshold.
//!
//! Each rate of a group is compared with the rate of all records outside it, by Fisher's exact test; the p-values of one rate are
//! corrected over the groups (Holm), so that of detectors that treat all groups alike at most one in twenty has any flag for that
//! rate. Groups that share a cause (a department within a country) are not taken apart.

use super::proportions::{fisher_exact, holm, wilson};
use serde::Serialize;
use std::collections::HashMap;

/// Most values that are groups of their own; the rarer ones together are one group more.
pub const MOST_VALUES: usize = 50;

/// A difference whose corrected p-value is below this is flagged.
pub const LEVEL: f64 = 0.05;

/// How a detector treats the records by their value at one path.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Division {
    pub path: String,
    /// The corrected p-value below which a rate is flagged.
    pub level: f64,
    /// From the most records to the fewest; last the pooled values, then the records without a value.
    pub groups: Vec<Group>,
}

/// The records of one value, or what stands in its place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    #[serde(flatten)]
    pub of: Member,
    pub normals: u64,
    pub attacks: u64,
    pub false_positive_rate: GroupRate,
    pub recall: GroupRate,
}

/// Which records belong to a group. As JSON `"value": "US"`, `"value": null` or `"pooled_values": 12`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Member {
    /// Those with this value; None: those without one.
    Value(Option<String>),
    /// Those of so many rare values.
    PooledValues(usize),
}

/// A rate of a group beside that of all others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupRate {
    /// Records that were called anomalies.
    pub called: u64,
    /// None where the group has no such record.
    pub rate: Option<f64>,
    /// The 95 % interval (Wilson).
    pub interval: Option<[f64; 2]>,
    /// The rate of all records outside the group.
    pub rate_of_others: Option<f64>,
    /// Of the test that both rates are one, corrected over the groups; None where there is nothing to compare.
    pub p_value: Option<f64>,
    /// How the rate differs, if it does so beyond chance.
    pub flag: Option<Differs>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Differs {
    Higher,
    Lower,
}

/// Records of one class, and those of them that were called anomalies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    called: u64,
    total: u64,
}

impl Count {
    fn add(&mut self, called: bool) {
        self.called += u64::from(called);
        self.total += 1;
    }

    fn rate(self) -> Option<f64> {
        (self.total > 0).then(|| self.called as f64 / self.total as f64)
    }
}

/// [normals, attacks] of a group.
type Counts = [Count; 2];

/// Divides the records by their `values` at `path`, None for a record that has none. `called` says which records the detector
/// called anomalies, `attacks` which are some; both (records), as `values`.
pub fn divide(path: &str, values: &[Option<String>], called: &[bool], attacks: &[bool]) -> Division {
    assert_eq!((values.len(), called.len()), (attacks.len(), attacks.len()));
    let mut counts: HashMap<Option<&str>, Counts> = HashMap::new();
    for (value, (&called, &attack)) in values.iter().zip(called.iter().zip(attacks)) {
        counts.entry(value.as_deref()).or_default()[usize::from(attack)].add(called);
    }
    let without = counts.remove(&None);
    let mut named: Vec<(&str, Counts)> =
        counts.into_iter().filter_map(|(value, counts)| Some((value?, counts))).collect();
    let total = |[normals, attacks]: Counts| normals.total + attacks.total;
    named.sort_by(|a, b| total(b.1).cmp(&total(a.1)).then(a.0.cmp(b.0)));
    let pooled = named.split_off(named.len().min(MOST_VALUES));
    let mut members: Vec<(Member, Counts)> =
        named.into_iter().map(|(value, counts)| (Member::Value(Some(value.to_string())), counts)).collect();
    if !pooled.is_empty() {
        members.push((Member::PooledValues(pooled.len()), sum(pooled.iter().map(|(_, counts)| *counts))));
    }
    members.extend(without.map(|counts| (Member::Value(None), counts)));
    let [false_positive_rates, recalls] =
        [0, 1].map(|class| rates(&members.iter().map(|(_, counts)| counts[class]).collect::<Vec<_>>()));
    let groups = members.into_iter().zip(false_positive_rates.into_iter().zip(recalls));
    let group =
        |((of, [normals, attacks]), (false_positive_rate, recall)): ((Member, Counts), (GroupRate, GroupRate))| Group {
            of,
            normals: normals.total,
            attacks: attacks.total,
            false_positive_rate,
            recall,
        };
    Division { path: path.to_string(), level: LEVEL, groups: groups.map(group).collect() }
}

fn sum(counts: impl Iterator<Item = Counts>) -> Counts {
    counts.fold(Counts::default(), |sum, counts| {
        [0, 1].map(|class| Count {
            called: sum[class].called + counts[class].called,
            total: sum[class].total + counts[class].total,
        })
    })
}

/// The rate of each group beside that of all others.
fn rates(groups: &[Count]) -> Vec<GroupRate> {
    let all = groups.iter().fold(Count::default(), |sum, group| Count {
        called: sum.called + group.called,
        total: sum.total + group.total,
    });
    let others = |group: &Count| Count { called: all.called - group.called, total: all.total - group.total };
    let compared = |group: &&Count| group.total > 0 && others(group).total > 0;
    let tests = groups.iter().filter(compared).map(|group| {
        let others = others(group);
        fisher_exact((group.called, group.total), (others.called, others.total))
    });
    let mut p_values = holm(&tests.collect::<Vec<_>>()).into_iter();
    let rate = |group: &Count| {
        let (rate, rate_of_others) = (group.rate(), others(group).rate());
        let p_value = Some(group).filter(compared).map(|_| p_values.next().expect("one for each compared group"));
        let flag = p_value.filter(|&p_value| p_value < LEVEL).map(|_| match rate > rate_of_others {
            true => Differs::Higher,
            false => Differs::Lower,
        });
        GroupRate {
            called: group.called,
            rate,
            interval: wilson(group.called, group.total),
            rate_of_others,
            p_value,
            flag,
        }
    };
    groups.iter().map(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (value, normals called, normals, attacks called, attacks) -> the division of all of them.
    fn division(groups: &[(Option<&str>, u64, u64, u64, u64)]) -> Division {
        let (mut values, mut called, mut attacks) = (vec![], vec![], vec![]);
        for &(value, called_normals, normals, called_attacks, attacked) in groups {
            for (attack, hits, total) in [(false, called_normals, normals), (true, called_attacks, attacked)] {
                for record in 0..total {
                    values.push(value.map(String::from));
                    called.push(record < hits);
                    attacks.push(attack);
                }
            }
        }
        divide("user", &values, &called, &attacks)
    }

    #[test]
    fn a_group_that_is_treated_worse_is_flagged_and_the_others_are_not() {
        let found = division(&[
            (Some("a"), 2, 200, 9, 10),
            (Some("b"), 1, 190, 9, 10),
            (Some("c"), 9, 30, 1, 10),
            (None, 0, 20, 0, 0),
        ]);
        let flags: Vec<_> =
            found.groups.iter().map(|group| (group.false_positive_rate.flag, group.recall.flag)).collect();
        let worse = (Some(Differs::Higher), Some(Differs::Lower));
        assert_eq!(flags[2], worse);
        assert_eq!((flags[0].1, flags[1].1, flags[3]), (None, None, (None, None)));
        let of: Vec<_> = found.groups.iter().map(|group| (&group.of, group.normals, group.attacks)).collect();
        assert_eq!(of[2], (&Member::Value(Some("c".into())), 30, 10));
        assert_eq!(of[3], (&Member::Value(None), 20, 0));
        let c = &found.groups[2].false_positive_rate;
        assert_eq!((c.called, c.rate, c.rate_of_others), (9, Some(0.3), Some(3.0 / 410.0)));
        assert_eq!(c.interval, wilson(9, 30));
        // The smallest of four p-values is multiplied by four.
        assert_eq!(c.p_value, Some(4.0 * fisher_exact((9, 30), (3, 410))));
        assert_eq!(
            found.groups[3].recall,
            GroupRate {
                called: 0,
                rate: None,
                interval: None,
                rate_of_others: Some(19.0 / 30.0),
                p_value: None,
                flag: None
            }
        );
    }

    #[test]
    fn a_single_group_and_no_record_are_compared_with_nothing() {
        let found = division(&[(Some("a"), 5, 10, 1, 2)]);
        assert_eq!((found.groups[0].recall.p_value, found.groups[0].recall.rate_of_others), (None, None));
        assert!(division(&[]).groups.is_empty());
    }

    #[test]
    fn rare_values_are_one_group_and_json_tells_it_from_a_value() {
        let names: Vec<String> = (0..MOST_VALUES + 3).map(|i| format!("user{i:02}")).collect();
        let mut groups: Vec<_> = names.iter().map(|name| (Some(name.as_str()), 0, 2, 0, 0)).collect();
        groups[7] = (Some("user07"), 0, 1, 0, 1);
        groups.push((None, 1, 1, 0, 0));
        let found = division(&groups).groups;
        assert_eq!(found.len(), MOST_VALUES + 2);
        assert_eq!((&found[MOST_VALUES].of, found[MOST_VALUES].normals), (&Member::PooledValues(3), 6));
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!((&json[7]["value"], &json[7]["attacks"]), (&"user07".into(), &1.into()));
        assert_eq!(json[MOST_VALUES]["pooled_values"], 3);
        assert!(json[MOST_VALUES + 1].get("value").is_some_and(serde_json::Value::is_null));
    }
}
