//! Canaries: records with an invented secret, planted into the training split to measure how much a model memorises.
//!
//! The method follows Carlini, Liu, Erlingsson, Kos, Song, "The Secret Sharer", USENIX Security 2019. A secret drawn from a
//! known space is part of an otherwise ordinary record, which is repeated a known number of times. The *exposure* of a
//! secret is log2(size of the space) - log2(rank of the secret in the space by the model's loss).

use super::format::PREPARE_AGAIN;
use super::splitmix::mix;
use crate::files::write_new;
use crate::record::fields;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::ops::Range;
use std::path::Path;

const FILE: &str = "canaries.json";
const VERSION: u32 = 1;

/// The fewest bits of a secret, and the number of bits that is preferred.
const LEAST_BITS: f64 = 24.0;
const WANTED_BITS: f64 = 40.0;

/// The canaries of a data folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canaries {
    format_version: u32,
    /// The first canary occurs once in the training split, and each next one twice as often as the one before.
    pub canaries: Vec<Canary>,
}

/// A planted record, which consists of `before`, the secret and `after`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    pub before: String,
    pub secret: String,
    pub after: String,
    /// The number of copies of the record in the training split.
    pub repeats: u64,
    /// The characters from which each character of the secret is drawn, uniformly and independently.
    pub alphabet: String,
    /// The number of characters of the secret. The size of the space is that of `alphabet` to this power.
    pub length: usize,
}

impl Canary {
    /// The planted record, without a newline.
    pub fn text(&self) -> String {
        self.with(&self.secret)
    }

    /// The record with another secret of the space, for computing the rank.
    pub fn with(&self, secret: &str) -> String {
        format!("{}{secret}{}", self.before, self.after)
    }

    /// The size of the space in bits.
    pub fn bits(&self) -> f64 {
        self.length as f64 * (self.alphabet.chars().count() as f64).log2()
    }
}

impl Canaries {
    /// Loads the canaries of a data folder; `None` if `prepare` has planted none. Errors name the file.
    pub fn load(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", &path, error)),
        };
        let damaged = |fault: String| {
            Error::failed(format!(
                "{}: expected the canaries that prepare writes: {fault}; {}",
                path.display(),
                PREPARE_AGAIN
            ))
        };
        let read: Self = serde_json::from_str(&text).map_err(|e| damaged(format!("line {}", e.line())))?;
        let whole = |canary: &Canary| {
            let alphabet: HashSet<char> = canary.alphabet.chars().collect();
            alphabet.len() > 1
                && alphabet.len() == canary.alphabet.chars().count()
                && canary.length == canary.secret.chars().count()
                && canary.secret.chars().all(|c| alphabet.contains(&c))
        };
        if read.format_version != VERSION || !read.canaries.iter().all(whole) {
            return Err(damaged("another version, or a secret that does not match its alphabet and length".into()));
        }
        Ok(Some(read))
    }

    /// Writes the file, which contains whole records.
    pub(super) fn save(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(Error::failed)? + "\n";
        write_new(&folder.join(FILE), text.as_bytes())
    }

    /// Makes `count` canaries from the first of `records` that contain a random run, which the secret replaces. `encodes`
    /// says whether the tokenizer has a character.
    pub(super) fn make(records: &[String], count: usize, seed: u64, encodes: impl Fn(char) -> bool) -> Result<Self> {
        let random_runs: Vec<Vec<RandomRun>> = records.iter().map(|record| random_runs(record)).collect();
        let variety = variety(records, &random_runs);
        let mut canaries = Vec::new();
        for (record, random_runs) in records.iter().zip(&random_runs) {
            let Some(run) = best(random_runs, &variety) else { continue };
            let alphabet: Vec<char> = run.alphabet.chars().filter(|c| encodes(*c)).collect();
            if canaries.len() == count || alphabet.len() < 2 {
                continue;
            }
            let number = canaries.len() as u64;
            let length = run.span.len();
            let draw = |at: usize| {
                alphabet[(mix(seed, 0x4341_4e41_5259 + number, at as u64) % alphabet.len() as u64) as usize]
            };
            canaries.push(Canary {
                before: record[..run.span.start].to_string(),
                secret: (0..length).map(draw).collect(),
                after: record[run.span.end..].to_string(),
                repeats: 1 << number,
                alphabet: alphabet.into_iter().collect(),
                length,
            });
        }
        if canaries.len() < count {
            return Err(Error::usage(format!(
                "--canaries {count}: of {} training records tried, {} have a random value of at least {LEAST_BITS} bits that \
                 a secret can replace; ask for fewer canaries, or use logs with identifiers",
                records.len(),
                canaries.len()
            )));
        }
        Ok(Self { format_version: VERSION, canaries })
    }
}

/// A run of characters in a record that looks random.
struct RandomRun {
    /// The field and the number of the run in its value, which identify the same run in other records.
    name: String,
    span: Range<usize>,
    alphabet: String,
}

impl RandomRun {
    fn bits(&self) -> f64 {
        self.span.len() as f64 * (self.alphabet.len() as f64).log2()
    }
}

/// The random runs in the strings of a JSON record, or in a line of text.
fn random_runs(record: &str) -> Vec<RandomRun> {
    let mut found = Vec::new();
    match fields::leaves(record.as_bytes()) {
        Some(leaves) => {
            let strings = leaves.iter().filter(|leaf| leaf.raw.starts_with('"') && !leaf.raw.contains('\\'));
            strings.for_each(|leaf| runs(&leaf.path, leaf.raw, leaf.span.start, &mut found));
        }
        None => runs("", record, 0, &mut found),
    }
    found
}

fn runs(path: &str, text: &str, start: usize, found: &mut Vec<RandomRun>) {
    let mut at = 0;
    for (number, run) in text.split(|c: char| !c.is_ascii_alphanumeric()).enumerate() {
        let span = start + at..start + at + run.len();
        at += run.len();
        at += text[at..].chars().next().map_or(0, char::len_utf8);
        let Some(alphabet) = alphabet(run) else { continue };
        let run = RandomRun { name: format!("{path} {number}"), span, alphabet };
        if run.bits() >= LEAST_BITS {
            found.push(run);
        }
    }
}

/// The alphabet of a run that mixes characters as words do not; `None` if the run may be a word or a small number.
fn alphabet(run: &str) -> Option<String> {
    let count = |kind: fn(&u8) -> bool| run.bytes().filter(kind).count();
    let (digits, small, large) =
        (count(u8::is_ascii_digit), count(u8::is_ascii_lowercase), count(u8::is_ascii_uppercase));
    let hexadecimal = run.bytes().all(|b| b.is_ascii_hexdigit());
    let range = |first: char, last: char| -> String { (first..=last).collect() };
    let ten = range('0', '9');
    match (digits, small, large) {
        (7.., 0, 0) => Some(ten),
        (2.., 1.., 0) if hexadecimal => Some(ten + &range('a', 'f')),
        (2.., 0, 1..) if hexadecimal => Some(ten + &range('A', 'F')),
        (2.., 3.., 0) => Some(ten + &range('a', 'z')),
        (2.., 0, 3..) => Some(ten + &range('A', 'Z')),
        (2.., 2.., 2..) => Some(ten + &range('A', 'Z') + &range('a', 'z')),
        _ => None,
    }
}

/// For each name of a run, the share of distinct values among those seen.
fn variety(records: &[String], random_runs: &[Vec<RandomRun>]) -> HashMap<String, f64> {
    let mut values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (record, random_runs) in records.iter().zip(random_runs) {
        random_runs.iter().for_each(|run| values.entry(&run.name).or_default().push(&record[run.span.clone()]));
    }
    let share = |seen: Vec<&str>| {
        let count = seen.len() as f64;
        seen.into_iter().collect::<HashSet<_>>().len() as f64 / count
    };
    values.into_iter().map(|(name, seen)| (name.to_string(), share(seen))).collect()
}

/// The run whose values vary most. Among equals, it is the one with the smallest space that is large enough, then the first.
fn best<'a>(random_runs: &'a [RandomRun], variety: &HashMap<String, f64>) -> Option<&'a RandomRun> {
    let misfit = |run: &RandomRun| {
        let (varies, bits) = (variety.get(&run.name).copied().unwrap_or(0.0), run.bits());
        let size = if bits < WANTED_BITS { 1000.0 - bits } else { bits };
        (-varies, size)
    };
    random_runs.iter().min_by(|a, b| misfit(a).partial_cmp(&misfit(b)).unwrap_or(std::cmp::Ordering::Equal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<String> {
        let tenant = "d3e5a967-5657-4a42-afcc-6106b6c3c299";
        let id =
            |n: u64| format!("{:08x}-0000-4000-8000-{:012x}", mix(n, 1, 1) as u32, mix(n, 2, 2) >> 16 | 0xa1 << 40);
        (0..20).map(|n| format!(r#"{{"tenant":"{tenant}","name":"acole","id":"{}","n":{n}}}"#, id(n))).collect()
    }

    #[test]
    fn secrets_stand_where_values_vary() {
        let made = Canaries::make(&records(), 3, 7, |_| true).unwrap();
        assert_eq!(made.canaries.iter().map(|c| c.repeats).collect::<Vec<_>>(), [1, 2, 4]);
        for (canary, record) in made.canaries.iter().zip(records()) {
            assert_eq!((canary.alphabet.as_str(), canary.length, canary.bits()), ("0123456789abcdef", 12, 48.0));
            assert!(canary.before.ends_with("-4000-8000-") && canary.after.starts_with("\",\"n\":"), "{canary:?}");
            assert_ne!(canary.text(), record);
            assert_eq!(canary.text().len(), record.len());
        }
        assert_ne!(made, Canaries::make(&records(), 3, 8, |_| true).unwrap(), "another seed, other secrets");
    }

    #[test]
    fn only_characters_of_the_tokenizer_are_drawn() {
        let made = Canaries::make(&records(), 2, 7, |c| c != '7').unwrap();
        assert!(made.canaries.iter().all(|c| !c.secret.contains('7') && c.alphabet.len() == 15));
    }

    #[test]
    fn logs_without_random_values_are_refused() {
        let records = vec!["user logged in".to_string(); 9];
        let error = Canaries::make(&records, 1, 0, |_| true).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("--canaries 1"), "{error}");
    }

    #[test]
    fn what_is_saved_is_private_and_loads() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Canaries::load(folder.path()).unwrap(), None);
        let made = Canaries::make(&records(), 2, 7, |_| true).unwrap();
        made.save(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Canaries::load(folder.path()).unwrap(), Some(made.clone()));
        let secret = &made.canaries[0].secret;
        let damaged = fs::read_to_string(&path).unwrap().replace(&format!("\"{secret}\""), "\"x\"");
        fs::write(&path, damaged).unwrap();
        let error = Canaries::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains(FILE) && !error.contains(secret), "{error}");
    }
}
