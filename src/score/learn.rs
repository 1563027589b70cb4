//! Normal records -> what is normal, and the score that each of them has beside the others.
//!
//! Every record teaches and is scored: its own contribution is left out when it is scored (leave-one-out, as in the jackknife
//! predictions of Barber et al., 2021), so that its score is distributed as that of a new normal record, and none is lost for
//! teaching.

use super::drift::{FEWEST, WINDOW};
use super::evidence::{
    ENOUGH, KINDS, KindRanks, NormalEvidence, OfKinds, PathEvidence, columns, layout_name, score, sum_of_fields,
};
use super::lesson::Lesson;
use super::ranks::{Ranks, Sorted};
use crate::detect::{Normal, Observed};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A normal record, with its fields by the number of their paths.
pub struct Example {
    pub lesson: Lesson,
    /// For each of the lesson's fields the number of its path.
    pub paths: Vec<u32>,
}

/// The surprisals of each path, in all layouts and in each common one.
struct Paths {
    all: Vec<Sorted>,
    by_layout: HashMap<(u32, u64), Sorted>,
    rare: Sorted,
    clocks: HashSet<u32>,
}

impl Paths {
    fn learn(examples: &[&Example], count: usize, common: &HashMap<u64, u64>, clocks: &HashSet<u32>) -> Self {
        let (mut all, mut by_layout) = (vec![Vec::new(); count], HashMap::<(u32, u64), Vec<f32>>::new());
        for example in examples {
            for (&path, &(_, nats)) in example.paths.iter().zip(&example.lesson.fields) {
                all[path as usize].push(nats);
                if common.contains_key(&example.lesson.layout) {
                    by_layout.entry((path, example.lesson.layout)).or_default().push(nats);
                }
            }
        }
        let rare: Vec<f32> = all.iter().filter(|nats| nats.len() < ENOUGH).flatten().copied().collect();
        // With hardly any rare paths, all of them stand for the ones that are still unknown.
        let rare = if rare.len() < ENOUGH { all.iter().flatten().copied().collect() } else { rare };
        by_layout.retain(|(path, _), nats| nats.len() >= ENOUGH && nats.len() < all[*path as usize].len());
        Paths {
            all: all.into_iter().map(Sorted::of).collect(),
            by_layout: by_layout.into_iter().map(|(key, nats)| (key, Sorted::of(nats))).collect(),
            rare: Sorted::of(rare),
            clocks: clocks.clone(),
        }
    }

    /// The evidence of a record's own field among the others.
    fn evidence(&self, path: u32, layout: u64, nats: f32) -> f64 {
        if self.clocks.contains(&path) {
            return 0.0;
        }
        let all = &self.all[path as usize];
        let of_path = if all.count() as usize >= ENOUGH { all } else { &self.rare };
        self.by_layout.get(&(path, layout)).unwrap_or(of_path).evidence_of_own(nats)
    }

    /// How many times as far as by chance the mean p-value of each path lies from one half in a window of records that follow each
    /// other, at least once: people come in turns.
    fn spreads(&self, examples: &[&Example]) -> Vec<f32> {
        let mut squares = vec![(0u32, 0.0); self.all.len()];
        for window in examples.chunks_exact(WINDOW as usize) {
            let mut means = vec![(0u32, 0.0); self.all.len()];
            for example in window {
                for (&path, &(_, nats)) in example.paths.iter().zip(&example.lesson.fields) {
                    let (count, sum) = &mut means[path as usize];
                    (*count, *sum) = (*count + 1, *sum + (-self.evidence(path, example.lesson.layout, nats)).exp());
                }
            }
            for ((count, sum), (windows, squares)) in means.into_iter().zip(&mut squares).filter(|(m, _)| m.0 >= FEWEST)
            {
                // The variance of a mean of p-values, which are uniform.
                *squares += 12.0 * f64::from(count) * (sum / f64::from(count) - 0.5).powi(2);
                *windows += 1;
            }
        }
        let spread = |(windows, squares): (u32, f64)| (squares / f64::from(windows.max(1))).sqrt().max(1.0) as f32;
        squares.into_iter().map(spread).collect()
    }

    fn finish(&self, names: &[String], examples: &[&Example]) -> BTreeMap<String, PathEvidence> {
        let mut paths: BTreeMap<String, PathEvidence> = BTreeMap::new();
        for ((name, all), spread) in names.iter().zip(&self.all).zip(self.spreads(examples)) {
            let ranks = (all.count() as usize >= ENOUGH).then(|| Ranks::of(all));
            let (count, mean, by_layout) = (all.count().into(), all.mean(), BTreeMap::new());
            paths.insert(name.clone(), PathEvidence { count, mean, spread, all: ranks, by_layout });
        }
        for ((path, layout), nats) in &self.by_layout {
            let known = paths.get_mut(&names[*path as usize]).expect("every path has a name");
            known.by_layout.insert(layout_name(*layout), Ranks::of(nats));
        }
        paths
    }
}

/// What a normal record scores beside the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OwnScore {
    /// The evidence of its fields alone.
    pub fields: f64,
    pub score: f64,
}

/// Learns what is normal from `examples`, whose paths are numbered in `names`, and from what is `seen` elsewhere: values of
/// further normal records that have no surprisals, such as those of the training. The paths of `clocks` are no evidence. Returns it
/// with the scores of the examples.
pub fn learn(
    examples: &[&Example],
    names: &[String],
    clocks: &HashSet<u32>,
    seen: &[Observed],
) -> (NormalEvidence, Vec<OwnScore>) {
    let mut layouts: HashMap<u64, u64> = HashMap::new();
    examples.iter().for_each(|example| *layouts.entry(example.lesson.layout).or_default() += 1);
    layouts.retain(|_, count| *count as usize >= ENOUGH);
    let paths = Paths::learn(examples, names.len(), &layouts, clocks);
    let normal = Normal::learn(seen.iter().chain(examples.iter().map(|example| &example.lesson.observed)));
    let is_common: Vec<bool> = examples.iter().map(|example| layouts.contains_key(&example.lesson.layout)).collect();
    let own = |example: &&Example| {
        let novelty = normal.novelty(&example.lesson.observed, true);
        (sum_of_own(&paths, example, &novelty.new_values), columns(&novelty, &example.lesson))
    };
    let (sums, numbers): (Vec<f32>, Vec<OfKinds<f32>>) = examples.iter().map(own).unzip();
    let fields = Sorted::of(sums.iter().copied());
    let kinds: Vec<Kind> = (0..KINDS.len()).map(|kind| Kind::learn(kind, &numbers, &is_common)).collect();
    let own_score = |i: usize| {
        let of_kind = |kind: usize| kinds[kind].evidence_of_own(numbers[i][kind], is_common[i]);
        // By its rank alone: by the tail of the others, the oddest normal record would be farther out than a new one of the same sum.
        let fields = fields.bounded_evidence_of_own(sums[i]);
        let kinds: OfKinds<f64> = std::array::from_fn(of_kind);
        OwnScore { fields, score: score(fields, &kinds) }
    };
    let scores: Vec<OwnScore> = (0..examples.len()).map(own_score).collect();
    let learnt = NormalEvidence {
        paths: paths.finish(names, examples),
        clocks: clocks.iter().map(|path| names[*path as usize].clone()).collect(),
        rare_paths: Ranks::of(&paths.rare),
        common_layouts: layouts.iter().map(|(layout, count)| (layout_name(*layout), *count)).collect(),
        fields: Ranks::of(&fields),
        kinds: kinds.iter().map(Kind::finish).collect(),
        seen: normal,
    };
    (learnt, scores)
}

fn sum_of_own(paths: &Paths, Example { lesson, paths: numbers }: &Example, new_values: &[f64]) -> f32 {
    let fields = numbers.iter().zip(&lesson.fields);
    let evidence = fields.map(|(&path, &(place, nats))| (place, paths.evidence(path, lesson.layout, nats)));
    sum_of_fields(evidence, &lesson.places, new_values) as f32
}

/// The numbers of one of [`KINDS`].
struct Kind {
    common: Sorted,
    rare: Option<Sorted>,
}

/// Pairs, disorder and unknown characters are as odd in a rare layout as in a common one. New values, and new sequences of them, are usual in records
/// of rare layouts, so these are compared with each other.
const OVER_ALL: OfKinds<bool> = [true, false, false, false, true, true];

impl Kind {
    fn learn(kind: usize, numbers: &[OfKinds<f32>], is_common: &[bool]) -> Self {
        let of = |wanted: &dyn Fn(bool) -> bool| {
            let chosen = numbers.iter().zip(is_common).filter(|(_, common)| wanted(**common));
            Sorted::of(chosen.map(|(numbers, _)| numbers[kind]))
        };
        let rare = is_common.iter().filter(|common| !**common).count();
        let is_split = !OVER_ALL[kind] && rare >= ENOUGH && is_common.len() - rare >= ENOUGH;
        match is_split {
            true => Kind { common: of(&|common| common), rare: Some(of(&|common| !common)) },
            false => Kind { common: of(&|_| true), rare: None },
        }
    }

    fn evidence_of_own(&self, number: f32, is_common: bool) -> f64 {
        self.rare.as_ref().filter(|_| !is_common).unwrap_or(&self.common).bounded_evidence_of_own(number)
    }

    fn finish(&self) -> KindRanks {
        KindRanks { common: Ranks::of(&self.common), rare: self.rare.as_ref().map(Ranks::of) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::threshold;
    use crate::fidelity::IndexRng;
    use crate::score::evidence::Evidence;

    /// Surprisals have about an exponential distribution.
    fn exponential(draws: &mut IndexRng) -> f32 {
        -((draws.below(1 << 24) + 1) as f64 / f64::from(1 << 24)).ln() as f32
    }

    fn example(layout: u64, nats: Vec<f32>) -> Example {
        let paths = (0..nats.len() as u32).collect();
        let (observed, fields) = (Observed::default(), nats.into_iter().enumerate().collect());
        Example { lesson: Lesson { layout, fields, observed, ..Lesson::default() }, paths }
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("f{i}")).collect()
    }

    fn learnt(examples: &[Example], count: usize) -> (NormalEvidence, Vec<f64>) {
        let examples: Vec<&Example> = examples.iter().collect();
        let (normal, own) = learn(&examples, &names(count), &HashSet::new(), &[]);
        (normal, own.into_iter().map(|own| own.score).collect())
    }

    fn evidence(normal: &NormalEvidence, example: &Example) -> Evidence {
        let names = names(example.paths.len());
        normal.of(&example.lesson, |place| names[place].as_str())
    }

    #[test]
    fn new_records_exceed_a_threshold_as_often_as_was_asked() {
        let mut draws = IndexRng::new(3);
        let mut all: Vec<Example> =
            (0..5000).map(|_| example(1, (0..12).map(|_| exponential(&mut draws)).collect())).collect();
        let new = all.split_off(1000);
        let (normal, scores) = learnt(&all, 12);
        for (rate, least, most) in [(0.01, 0.003, 0.02), (0.1, 0.075, 0.125), (0.5, 0.4, 0.55)] {
            let limit = threshold(&scores, rate).unwrap().0;
            let above = new.iter().filter(|one| evidence(&normal, one).score > limit).count() as f64 / 4000.0;
            assert!((least..=most).contains(&above), "asked {rate}, found {above}");
        }
    }

    #[test]
    fn one_extreme_field_and_several_moderate_ones_are_both_seen() {
        let mut draws = IndexRng::new(4);
        let mut usual = || (0..20).map(|_| exponential(&mut draws)).collect::<Vec<f32>>();
        let all: Vec<Example> = (0..1000).map(|_| example(1, usual())).collect();
        let (normal, scores) = learnt(&all, 20);
        let limit = threshold(&scores, 0.01).unwrap().0;
        let mut extreme = usual();
        extreme[7] = 54.0;
        let found = evidence(&normal, &example(1, extreme));
        assert!(found.score > limit + 10.0, "{} {limit}", found.score);
        assert!(
            found.reasons[&7].nats > 40.0 && found.reasons.values().filter(|reason| reason.nats > 20.0).count() == 1
        );
        let mut moderate = usual();
        moderate[..6].fill(5.0);
        assert!(evidence(&normal, &example(1, moderate)).score > limit);
    }

    #[test]
    fn a_path_is_compared_within_its_layout() {
        let mut draws = IndexRng::new(5);
        let mut record = |layout: u64| {
            let base = if layout == 1 { 1.0 } else { 40.0 };
            example(layout, vec![base + exponential(&mut draws), exponential(&mut draws)])
        };
        let all: Vec<Example> = (0..400).map(|i| record(1 + i % 2)).collect();
        let (normal, _) = learnt(&all, 2);
        let field = |layout: u64, nats: f32| evidence(&normal, &example(layout, vec![nats, 0.7])).by_field[0].1;
        assert!(field(1, 41.0) > 20.0 && field(2, 41.0) < 2.0, "{} {}", field(1, 41.0), field(2, 41.0));
        // In a layout that is not common, with the path in all records.
        assert!(field(3, 41.0) < 2.0 && field(3, 90.0) > 5.0);
        assert_eq!(normal.common_layouts.len(), 2);
    }

    #[test]
    fn clocks_are_no_evidence() {
        let all: Vec<Example> = (0..100).map(|i| example(1, vec![i as f32 / 50.0, (i % 7) as f32])).collect();
        let examples: Vec<&Example> = all.iter().collect();
        let (normal, _) = learn(&examples, &names(2), &HashSet::from([0]), &[]);
        let found = evidence(&normal, &example(1, vec![500.0, 1.0]));
        assert_eq!((found.by_field[0].1, found.fields), (0.0, 0.0));
    }
}
