//! Which words would be replaced, for a dry run: those that occur most, and those that are also seen where no identity stands.
//! A word such as DEBUG, which somebody's host is called, shows here before it is replaced everywhere.

use super::hashed::{NameHash, NameHasher};
use super::key::SecretKey;
use super::parts::Change;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// The most words that are listed of each class, and of those that are seen elsewhere, too.
const LISTED: usize = 20;
/// The most distinct words that are counted; later ones are not.
const MOST_WORDS: usize = 1 << 20;
/// The fewest characters of a word that stays and is counted.
const SHORTEST: usize = 3;

/// How often a word was replaced.
#[derive(Clone, Copy, Default)]
struct Counts {
    /// Where a field or a pattern says that an identity stands.
    as_identity: u64,
    /// Where nothing says so, but a field elsewhere contains the same word.
    elsewhere: u64,
}

pub struct Census {
    hasher: NameHasher,
    /// By class and word in lower case.
    replaced: HashMap<(&'static str, String), Counts>,
    /// Words that stay, by hash.
    stay: HashMap<NameHash, u64>,
}

/// The words of a dry run. It contains originals.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WordReport {
    /// The most frequent words of each class, with their counts. Secrets are not listed.
    pub words: BTreeMap<&'static str, Vec<(String, u64)>>,
    /// Words that are replaced as an identity, and are also seen where nothing says that they are one.
    pub also_elsewhere: Vec<SeenElsewhere>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeenElsewhere {
    pub word: String,
    pub class: &'static str,
    /// Places where a field or a pattern says that it is an identity.
    pub as_identity: u64,
    /// Other places where it is replaced, because of those.
    pub replaced_elsewhere: u64,
    /// Places where it stays.
    pub left: u64,
}

impl Census {
    pub fn new(key: &SecretKey) -> Self {
        Self { hasher: NameHasher::new(key), replaced: HashMap::new(), stay: HashMap::new() }
    }

    /// Counts the words of a record and its replacements.
    pub fn add(&mut self, record: &[u8], changes: &[Change]) {
        let mut done = 0;
        for change in changes {
            self.words_that_stay(&record[done..change.place.start]);
            done = change.place.end;
            if change.class == "secret" {
                continue;
            }
            let word = String::from_utf8_lossy(&record[change.place.clone()]).to_lowercase();
            let key = (change.class, word);
            if self.replaced.len() < MOST_WORDS || self.replaced.contains_key(&key) {
                let counts = self.replaced.entry(key).or_default();
                match change.is_known {
                    true => counts.elsewhere += 1,
                    false => counts.as_identity += 1,
                }
            }
        }
        self.words_that_stay(&record[done..]);
    }

    fn words_that_stay(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() >= SHORTEST) {
            let hash = self.hasher.of(&word.to_lowercase());
            if self.stay.len() < MOST_WORDS || self.stay.contains_key(&hash) {
                *self.stay.entry(hash).or_default() += 1;
            }
        }
    }

    pub fn report(&self) -> WordReport {
        let mut report = WordReport::default();
        let mut identities: BTreeMap<&str, u64> = BTreeMap::new();
        for ((_, word), counts) in &self.replaced {
            *identities.entry(word).or_default() += counts.as_identity;
        }
        for ((class, word), counts) in &self.replaced {
            let all = counts.as_identity + counts.elsewhere;
            report.words.entry(class).or_default().push((word.clone(), all));
            let left = self.stay.get(&self.hasher.of(word)).copied().unwrap_or(0);
            if identities[word.as_str()] > 0 && counts.elsewhere + left > 0 {
                report.also_elsewhere.push(SeenElsewhere {
                    word: word.clone(),
                    class,
                    as_identity: counts.as_identity,
                    replaced_elsewhere: counts.elsewhere,
                    left,
                });
            }
        }
        for words in report.words.values_mut() {
            words.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            words.truncate(LISTED);
        }
        let order = |seen: &SeenElsewhere| (std::cmp::Reverse(seen.replaced_elsewhere + seen.left), seen.word.clone());
        report.also_elsewhere.sort_by_key(order);
        report.also_elsewhere.truncate(LISTED);
        report
    }
}
