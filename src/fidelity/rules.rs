//! Consistency rules learnt from real records: paths that are always equal, paths that determine others, and relations such as
//! an order between two times.

use super::relations::{Traits, chance, holds};
use super::rule_kind::{RELATIONS, RuleKind};
use super::table::{ABSENT, RecordTable, ValueIds};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Minimum number of records that support a rule.
const SUPPORT: u64 = 30;
/// Minimum fraction of the records that a rule applies to that follow it.
const CONFIDENCE: f64 = 0.99;
/// A rule must be unlikely to hold by chance: with a probability of at most e^-14, about one in a million.
const EVIDENCE: f64 = 14.0;
/// Maximum number of columns that are searched for rules, those with the most values first, because every pair is tested.
const MOST_COLUMNS: usize = 128;
/// Maximum number of rules, those with the most support first.
const MOST_RULES: usize = 100;

#[derive(Clone, Debug)]
pub struct ConsistencyRule {
    pub kind: RuleKind,
    pub from: String,
    pub to: String,
    /// Number of training records that support it: equal pairs, or repetitions of a value of `from` with its most frequent `to`,
    /// or pairs that are so related.
    pub support: u64,
    /// Fraction of the training records it applies to that follow it.
    pub confidence: f64,
    /// The most frequent value of `to` for each value of `from`; empty for the other kinds.
    most_frequent: HashMap<u32, u32>,
}

/// How many records follow a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Compliance {
    /// Number of records that the rule applies to: they have both paths, and for [`RuleKind::Determines`] a value of `from` that
    /// training has.
    pub records: u64,
    pub kept: u64,
    /// 0 where the rule applies to no record.
    pub share: f64,
}

impl ConsistencyRule {
    /// How many records of a table follow it; values are numbered as in the training table.
    pub fn check(&self, table: &RecordTable, values: &ValueIds) -> Compliance {
        let mut result = Compliance::default();
        let (Some(from), Some(to)) = (table.column(&self.from), table.column(&self.to)) else { return result };
        let mut count = |kept: Option<bool>| {
            result.records += u64::from(kept.is_some());
            result.kept += u64::from(kept == Some(true));
        };
        if RELATIONS.contains(&self.kind) {
            let from = Traits::of_column(&self.from, from, values);
            let to = Traits::of_column(&self.to, to, values);
            both(&from, &to).for_each(|(from, to)| count(holds(self.kind, from, to)));
        } else {
            for (from, to) in from.iter().zip(to).filter(|pair| *pair.0 != ABSENT && *pair.1 != ABSENT) {
                let expected = if self.kind == RuleKind::Equal { Some(from) } else { self.most_frequent.get(from) };
                count(expected.map(|expected| expected == to));
            }
        }
        result.share = if result.records == 0 { 0.0 } else { result.kept as f64 / result.records as f64 };
        result
    }
}

/// A column, with its rows in the order of their values.
struct Column<'a> {
    path: &'a str,
    values: &'a [u32],
    /// Rows that have the path, with equal values together.
    order: Vec<u32>,
    /// -ln of the probability that two of its values agree (Simpson's index).
    surprise: f64,
    random: bool,
}

/// The rules that hold in a table of real records. A constant is determined by everything, and a value that never repeats
/// determines everything: neither is evidence, so neither makes a rule. Of equivalent rules one is kept: a path that equals an
/// earlier one is represented by it, paths that determine each other by the first of them, and a rule that follows from two
/// others is dropped.
///
/// `random`: paths whose values hardly ever repeat; they determine nothing.
pub fn learn(table: &RecordTable, values: &ValueIds, random: &[String]) -> Vec<ConsistencyRule> {
    let columns = columns(table, random);
    let n = columns.len();
    let equal: Vec<Vec<Option<ConsistencyRule>>> =
        (0..n).into_par_iter().map(|a| (0..n).map(|b| equality(&columns[a], &columns[b], a < b)).collect()).collect();
    // A column is represented by itself, or by the first one that it equals.
    let first = |b: usize| (0..b).find(|&a| equal[a][b].is_some());
    let own: Vec<usize> = (0..n).filter(|&b| first(b).is_none() && !columns[b].random).collect();
    let mut rules: Vec<ConsistencyRule> = (0..n)
        .filter_map(|b| first(b).and_then(|a| equal[a][b].clone()))
        .filter(|rule| rule.support >= SUPPORT)
        .collect();
    rules.extend(related(&columns, |b| first(b).is_none(), values));
    let determines: BTreeMap<(usize, usize), ConsistencyRule> = own
        .par_iter()
        .flat_map_iter(|&a| own.iter().map(move |&b| (a, b)))
        .filter_map(|(a, b)| dependency(&columns[a], &columns[b], a != b).map(|rule| ((a, b), rule)))
        .collect();
    let mutual = |a: usize, b: usize| determines.contains_key(&(a, b)) && determines.contains_key(&(b, a));
    // Paths that determine each other are represented by the first of them.
    let chief = |b: usize| own.iter().copied().find(|&a| a < b && mutual(a, b)).unwrap_or(b);
    let is_chief = |a: usize| chief(a) == a;
    let follows = |a: usize, c: usize| {
        own.iter().any(|&b| {
            b != a && b != c && is_chief(b) && determines.contains_key(&(a, b)) && determines.contains_key(&(b, c))
        })
    };
    for (&(a, b), rule) in &determines {
        let twins = mutual(a, b) && (chief(a) == b || chief(b) == a);
        if twins || is_chief(a) && is_chief(b) && !follows(a, b) {
            rules.push(rule.clone());
        }
    }
    rules.sort_by(|x, y| (y.support, x.kind, &x.from, &x.to).cmp(&(x.support, y.kind, &y.from, &y.to)));
    rules.truncate(MOST_RULES);
    let column = |path: &str| columns.iter().find(|column| column.path == path).expect("a rule is about columns");
    for rule in rules.iter_mut().filter(|rule| rule.kind == RuleKind::Determines) {
        rule.most_frequent =
            most_frequent(column(&rule.from), column(&rule.to)).map(|(from, to, _)| (from, to)).collect();
    }
    rules.sort_by(|x, y| (x.kind, &x.from, &x.to).cmp(&(y.kind, &y.from, &y.to)));
    rules
}

/// The columns that can support a rule, by path.
fn columns<'a>(table: &'a RecordTable, random: &[String]) -> Vec<Column<'a>> {
    let column = |(path, values): (&'a String, &'a Vec<u32>)| {
        let mut order: Vec<u32> = (0..values.len() as u32).filter(|&row| values[row as usize] != ABSENT).collect();
        order.sort_by_key(|&row| values[row as usize]);
        let groups = order.chunk_by(|&a, &b| values[a as usize] == values[b as usize]);
        let agreeing: f64 = groups.map(|group| (group.len() as f64 / order.len() as f64).powi(2)).sum();
        let surprise = if order.is_empty() { 0.0 } else { -agreeing.ln() };
        Column { path, values, order, surprise, random: random.contains(path) }
    };
    let mut columns: Vec<Column> = table.columns.iter().map(column).collect();
    columns.retain(|column| {
        column.order.len() as u64 >= SUPPORT && column.surprise * column.order.len() as f64 >= EVIDENCE
    });
    columns.sort_by(|a, b| b.surprise.total_cmp(&a.surprise).then_with(|| a.path.cmp(b.path)));
    columns.truncate(MOST_COLUMNS);
    columns.sort_by_key(|column| column.path);
    columns
}

fn equality(a: &Column, b: &Column, wanted: bool) -> Option<ConsistencyRule> {
    if !wanted {
        return None;
    }
    let both = || a.values.iter().zip(b.values).filter(|pair| *pair.0 != ABSENT && *pair.1 != ABSENT);
    let (all, equal) = (both().count(), both().filter(|pair| pair.0 == pair.1).count());
    let confidence = equal as f64 / all.max(1) as f64;
    let holds = confidence >= CONFIDENCE && a.surprise * equal as f64 >= EVIDENCE;
    holds.then(|| rule(RuleKind::Equal, a, b, equal as u64, confidence))
}

fn dependency(a: &Column, b: &Column, wanted: bool) -> Option<ConsistencyRule> {
    if !wanted {
        return None;
    }
    let (mut repeated, mut kept, mut support) = (0u64, 0u64, 0u64);
    for (_, winner, values) in most_frequent(a, b) {
        let (all, of_winner) = (values.len() as u64, values.iter().filter(|&&value| value == winner).count() as u64);
        if all > 1 {
            repeated += all;
            kept += of_winner;
            support += of_winner - 1;
        }
    }
    let confidence = kept as f64 / repeated.max(1) as f64;
    let holds = confidence >= CONFIDENCE && support >= SUPPORT && b.surprise * support as f64 >= EVIDENCE;
    holds.then(|| rule(RuleKind::Determines, a, b, support, confidence))
}

/// For each value of `a` that occurs with a value of `b`: the value, the most frequent one of `b`, and all values of `b`.
fn most_frequent<'a>(a: &'a Column, b: &'a Column) -> impl Iterator<Item = (u32, u32, Vec<u32>)> {
    let groups = a.order.chunk_by(|&x, &y| a.values[x as usize] == a.values[y as usize]);
    groups.filter_map(|group| {
        let values = group.iter().map(|&row| b.values[row as usize]).filter(|&value| value != ABSENT);
        let values: Vec<u32> = values.collect();
        Some((a.values[group[0] as usize], majority(values.iter().copied())?, values))
    })
}

/// The rows in which both columns have a value.
fn both<'a>(a: &'a [Option<Traits>], b: &'a [Option<Traits>]) -> impl Iterator<Item = (&'a Traits, &'a Traits)> {
    a.iter().zip(b).filter_map(|(a, b)| a.as_ref().zip(b.as_ref()))
}

/// The relations between columns that stand for themselves, without those that follow from two others.
fn related(columns: &[Column], is_own: impl Fn(usize) -> bool, values: &ValueIds) -> Vec<ConsistencyRule> {
    let own: Vec<usize> = (0..columns.len()).filter(|&column| is_own(column)).collect();
    let traits: Vec<Vec<Option<Traits>>> =
        columns.par_iter().map(|column| Traits::of_column(column.path, column.values, values)).collect();
    let mut rules = Vec::new();
    for kind in RELATIONS {
        // A length that is the same is the same both ways.
        let wanted = |a: usize, b: usize| if kind == RuleKind::SameLength { a < b } else { a != b };
        let pairs = own.par_iter().flat_map_iter(|&a| own.iter().map(move |&b| (a, b))).filter(|&(a, b)| wanted(a, b));
        let found: BTreeMap<(usize, usize), ConsistencyRule> = pairs
            .filter_map(|(a, b)| {
                relation(kind, (&columns[a], &traits[a]), (&columns[b], &traits[b])).map(|rule| ((a, b), rule))
            })
            .collect();
        let follows =
            |a: usize, c: usize| own.iter().any(|&b| found.contains_key(&(a, b)) && found.contains_key(&(b, c)));
        rules.extend(found.iter().filter(|((a, c), _)| !follows(*a, *c)).map(|(_, rule)| rule.clone()));
    }
    rules
}

fn relation(
    kind: RuleKind,
    (a, of_a): (&Column, &[Option<Traits>]),
    (b, of_b): (&Column, &[Option<Traits>]),
) -> Option<ConsistencyRule> {
    // Most pairs of columns have no relation, which their first rows show.
    let most_broken = ((1.0 - CONFIDENCE) * a.order.len().min(b.order.len()) as f64) as u64;
    let (mut kept, mut broken) = (0u64, 0u64);
    for held in both(of_a, of_b).filter_map(|(a, b)| holds(kind, a, b)) {
        kept += u64::from(held);
        broken += u64::from(!held);
        if broken > most_broken {
            return None;
        }
    }
    let confidence = kept as f64 / (kept + broken).max(1) as f64;
    let holds = confidence >= CONFIDENCE && kept >= SUPPORT && -chance(kind, of_a, of_b).ln() * kept as f64 >= EVIDENCE;
    holds.then(|| rule(kind, a, b, kept, confidence))
}

/// `most_frequent` stays empty until it is known which rules are kept, because it is as large as the column.
fn rule(kind: RuleKind, from: &Column, to: &Column, support: u64, confidence: f64) -> ConsistencyRule {
    ConsistencyRule {
        kind,
        from: from.path.to_string(),
        to: to.path.to_string(),
        support,
        confidence,
        most_frequent: HashMap::new(),
    }
}

/// The majority value, if more than half of the values are equal; else some value (Boyer and Moore, "MJRTY", 1991). None for
/// no values.
fn majority(values: impl Iterator<Item = u32>) -> Option<u32> {
    let vote = |(winner, votes), value| match (winner, votes) {
        (_, 0) => (Some(value), 1u64),
        (Some(winner), votes) if winner == value => (Some(winner), votes + 1),
        (winner, votes) => (winner, votes - 1),
    };
    values.fold((None, 0), vote).0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sign-ins of ten people: name and mail determine each other, city follows from the address, the address is there
    /// twice, and everything else is noise or constant.
    fn sign_ins(n: u64, broken: bool) -> Vec<Vec<u8>> {
        let record = |i: u64| {
            let noise = i.wrapping_add(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
            let (who, place) = (noise % 10, noise / 10 % 6);
            let shown = if broken { (place + i % 2) % 6 } else { place };
            format!(
                r#"{{"id":"{noise:x}-{i}","name":"p{who}","mail":"p{who}@x.y","ip":"10.0.0.{place}","seen_ip":"10.0.0.{shown}","city":"c{}","k":1,"free":{}}}"#,
                place / 2,
                noise / 60 % 9
            )
        };
        (0..n).map(|i| record(i).into_bytes()).collect()
    }

    fn names(rules: &[ConsistencyRule]) -> Vec<String> {
        let sign = |rule: &ConsistencyRule| match rule.kind {
            RuleKind::Equal => "=",
            RuleKind::Determines => ">",
            RuleKind::AtMost => "<=",
            RuleKind::SameLength => "~",
            RuleKind::ContainedIn => " in ",
        };
        rules.iter().map(|rule| format!("{}{}{}", rule.from, sign(rule), rule.to)).collect()
    }

    #[test]
    fn rules_are_found_and_trivial_ones_are_not() {
        let mut values = ValueIds::default();
        let table = RecordTable::new(&sign_ins(300, false), &mut values);
        let rules = learn(&table, &values, &["id".to_string()]);
        assert_eq!(names(&rules), ["ip=seen_ip", "ip>city", "mail>name", "name>mail"]);
        assert!(rules.iter().all(|rule| rule.confidence == 1.0));
        assert_eq!(rules[0].support, 300);
        // Every address but its first mention bears the rule out.
        assert_eq!(rules[1].support, 294);
    }

    #[test]
    fn records_that_break_a_rule_are_noticed() {
        let mut values = ValueIds::default();
        let training = RecordTable::new(&sign_ins(300, false), &mut values);
        let rules = learn(&training, &values, &[]);
        let broken = RecordTable::new(&sign_ins(100, true), &mut values);
        assert_eq!(rules[0].check(&broken, &values), Compliance { records: 100, kept: 50, share: 0.5 });
        assert_eq!(rules[1].check(&broken, &values).share, 1.0);
        let odd: Vec<Vec<u8>> =
            [r#"{"ip":"10.0.0.0","city":"c1"}"#, r#"{"ip":"10.0.0.1","city":"c0"}"#, r#"{"ip":"9.9.9.9","city":"c0"}"#]
                .map(|record| record.into())
                .into();
        let odd = RecordTable::new(&odd, &mut values);
        assert_eq!(
            rules[1].check(&odd, &values),
            Compliance { records: 2, kept: 1, share: 0.5 },
            "an unknown address says nothing"
        );
        assert_eq!(rules[2].check(&odd, &values), Compliance::default());
    }

    #[test]
    fn a_rule_survives_a_slip_in_a_hundred_but_not_more() {
        let with_slips = |slips: usize| {
            let mut records = sign_ins(300, false);
            records[..slips].iter_mut().for_each(|record| {
                *record = String::from_utf8_lossy(record).replace("seen_ip\":\"10", "seen_ip\":\"11").into_bytes();
            });
            let mut values = ValueIds::default();
            let table = RecordTable::new(&records, &mut values);
            names(&learn(&table, &values, &[]))
        };
        assert!(with_slips(3).contains(&"ip=seen_ip".to_string()));
        assert!(!with_slips(4).contains(&"ip=seen_ip".to_string()));
    }

    /// Tasks with a start, an end and a time of writing in order, two arrays of one length, and a name within a path.
    fn tasks(n: u64) -> Vec<Vec<u8>> {
        let record = |i: u64| {
            let noise = i.wrapping_add(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
            let (start, name) = (i * 3 + noise % 5, format!("user{}", noise / 7 % 40));
            let list = |what: &str| (0..noise / 3 % 5).map(|k| format!("\"{what}{k}\"")).collect::<Vec<_>>().join(",");
            format!(
                r#"{{"start":{start},"end":{},"written":{},"size":{},"name":"{name}","path":"/home/{name}/{}","keys":[{}],"values":[{}]}}"#,
                start + noise / 11 % 9,
                start + 9 + noise / 13 % 9,
                1_000_000 + noise % 1000,
                noise % 90,
                list("k"),
                list("v"),
            )
        };
        (0..n).map(|i| record(i).into_bytes()).collect()
    }

    #[test]
    fn orders_lengths_and_containment_are_found() {
        let mut values = ValueIds::default();
        let table = RecordTable::new(&tasks(400), &mut values);
        let random = ["start", "end", "written", "path"].map(str::to_string);
        let rules = learn(&table, &values, &random);
        let found: Vec<String> = names(&rules).into_iter().filter(|name| !name.contains('>')).collect();
        // That the size is above every time is no order, and that the start is before the writing follows from two others.
        assert_eq!(found, ["end<=written", "start<=end", "keys.*~values.*", "name in path"]);
        let mut broken = tasks(10);
        broken[3] = br#"{"start":9,"end":8,"written":7,"name":"user1","path":"/home/user2/1"}"#.to_vec();
        let broken = RecordTable::new(&broken, &mut values);
        let kept: Vec<_> = rules
            .iter()
            .filter(|rule| RELATIONS.contains(&rule.kind))
            .map(|rule| rule.check(&broken, &values))
            .collect();
        assert_eq!((kept[0].kept, kept[1].kept, kept[3].kept), (9, 9, 9), "{kept:?}");
    }
}
