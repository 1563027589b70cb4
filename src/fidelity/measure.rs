//! Everything that is measured of generated records, in two passes over the training records.

use super::conformity::{Conformity, conformity};
use super::distance::{self, Coverage, FieldDistance, Sides, coverage};
use super::keys::{Key, keys};
use super::pair::Pair;
use super::privacy::{Privacy, Watch};
use super::rule_kind::RuleKind;
use super::rules::{self, Compliance};
use super::samples::{Reservoir, thin};
use super::spans::Constant;
use super::table::{RecordTable, ValueIds};
use super::text::{Likeness, Tokens, likeness};
use super::tfidf::{Similarity, similarity};
use crate::Result;
use crate::record::schema::Profile;
use serde::Serialize;

/// Number of records of a sample for ROUGE and BLEU, whose cost grows with its square.
const LIKENESS: usize = 200;
/// Number of records of a sample for TF-IDF; four times as many of training.
const SIMILARITY: usize = 500;

/// How generated records compare with real ones.
#[derive(Clone, Debug, Serialize)]
pub struct Fidelity {
    /// Number of training records in total, and of the records of each side that were compared.
    pub training_records: u64,
    pub compared: Compared,
    /// None where the real records are not JSON.
    #[serde(flatten)]
    pub structure: Option<Structure>,
    pub likeness: Pair<Likeness>,
    pub similarity: Similarity,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Compared {
    pub training: usize,
    pub validation: usize,
    pub generated: usize,
}

/// Comparisons that only JSON records allow.
#[derive(Clone, Debug, Serialize)]
pub struct Structure {
    pub schema: Pair<Conformity>,
    pub coverage: Pair<Coverage>,
    pub rules: Vec<CheckedRule>,
    pub keys: Vec<Key>,
    pub fields: Vec<FieldDistance>,
}

/// A consistency rule of training, and how many records of both sides follow it.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedRule {
    pub kind: RuleKind,
    pub from: String,
    pub to: String,
    pub support: u64,
    pub confidence: f64,
    #[serde(flatten)]
    pub kept: Pair<Compliance>,
}

/// Gives every training record to a sink, in order; it is called twice.
pub type TrainingRecords<'a> = &'a dyn Fn(&mut dyn FnMut(&[u8])) -> Result<()>;

/// Compares generated with real records; neither side may be empty. At most `sample` training records are compared, drawn
/// with the seed; all of them are searched for duplicates, copied spans and identifiers.
pub fn measure(
    training: TrainingRecords,
    validation: &[Vec<u8>],
    generated: &[Vec<u8>],
    sample: usize,
    seed: u64,
) -> Result<(Fidelity, Privacy)> {
    let mut profile = Profile::default();
    let mut reservoir = Reservoir::new(sample, seed);
    let mut training_records = 0;
    training(&mut |record| {
        training_records += 1;
        profile.observe(record);
        reservoir.offer(|| record.to_vec());
    })?;
    let sampled = reservoir.into_sample();
    let random = profile.random_paths();
    let mut watch = Watch::new(generated, validation, &random);
    training(&mut |record| watch.observe(record))?;
    let privacy = watch.finish(&Constant::new(&thin(&sampled, SIMILARITY, seed)));
    let structure = (profile.records() > 0).then(|| structure(&profile, &sampled, validation, generated, seed));
    let (likeness, similarity) = texts(&sampled, validation, generated, seed);
    let compared = Compared { training: sampled.len(), validation: validation.len(), generated: generated.len() };
    Ok((Fidelity { training_records, compared, structure, likeness, similarity }, privacy))
}

fn structure(
    profile: &Profile,
    training: &[Vec<u8>],
    validation: &[Vec<u8>],
    generated: &[Vec<u8>],
    seed: u64,
) -> Structure {
    let random = profile.random_paths();
    let mut values = ValueIds::default();
    let [training, real, made] = [training, validation, generated].map(|side| RecordTable::new(side, &mut values));
    let checked = |rule: rules::ConsistencyRule| {
        let kept = Pair { generated: rule.check(&made, &values), validation: rule.check(&real, &values) };
        CheckedRule {
            kind: rule.kind,
            support: rule.support,
            confidence: rule.confidence,
            kept,
            from: rule.from,
            to: rule.to,
        }
    };
    let sides = Sides { training: &training, validation: &real, generated: &made, values: &values };
    let comparable = real.records > 0 && made.records > 0;
    Structure {
        schema: Pair { generated: conformity(profile, generated), validation: conformity(profile, validation) },
        coverage: Pair {
            generated: coverage(&training, &made, &values, &random),
            validation: coverage(&training, &real, &values, &random),
        },
        keys: keys(&training, &real, &made),
        rules: rules::learn(&training, &values, &random).into_iter().map(checked).collect(),
        fields: if comparable { distance::fields(&sides, &random, seed) } else { Vec::new() },
    }
}

fn texts(
    training: &[Vec<u8>],
    validation: &[Vec<u8>],
    generated: &[Vec<u8>],
    seed: u64,
) -> (Pair<Likeness>, Similarity) {
    let mut tokens = Tokens::default();
    let mut encode = |side: &[Vec<u8>], limit| -> Vec<Vec<u32>> {
        thin(side, limit, seed).iter().map(|record| tokens.encode(record)).collect()
    };
    let training = encode(training, 4 * SIMILARITY);
    let [validation, generated] = [validation, generated].map(|side| encode(side, SIMILARITY));
    let few = |side: &[Vec<u32>]| thin(side, LIKENESS, seed);
    let references = few(&training);
    let of = |side: &[Vec<u32>]| likeness(&few(side), &references);
    let pair = Pair { generated: of(&generated), validation: of(&validation) };
    (pair, similarity(&training, &validation, &generated, tokens.vocabulary()))
}
