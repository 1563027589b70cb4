//! Tables of names as keyed hashes: they take little memory, and can be stored beside a model without the names.
//!
//! A hash is SipHash-2-4 (Aumasson, Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012) with a key that is derived
//! from the secret one. It has 64 bits: of a million names, two share a hash with a probability below 3e-8.

use super::key::SecretKey;
use siphasher::sip::SipHasher24;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The hash of a name in lower case.
pub type NameHash = u64;

#[derive(Clone, Copy)]
pub struct NameHasher(SipHasher24);

impl NameHasher {
    pub fn new(key: &SecretKey) -> Self {
        let secret = key.mac(&[b"names"]);
        let half = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| secret[at + i]));
        Self(SipHasher24::new_with_keys(half(0), half(8)))
    }

    /// The hash of a text that is in lower case already.
    pub fn of(&self, lower: &str) -> NameHash {
        self.0.hash(lower.as_bytes())
    }
}

/// Takes a hash as it is: a keyed hash is as good as random.
#[derive(Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys of these tables are numbers")
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

type Table<V> = HashMap<NameHash, V, BuildHasherDefault<AsItIs>>;

/// A table in two layers: what a corpus taught, and, after [`Layered::close`], what the record at hand adds, until it is
/// forgotten.
pub struct Layered<V> {
    corpus: Table<V>,
    record: Table<V>,
    is_closed: bool,
}

impl<V> Default for Layered<V> {
    fn default() -> Self {
        Self { corpus: Table::default(), record: Table::default(), is_closed: false }
    }
}

impl<V> Layered<V> {
    pub fn get(&self, hash: NameHash) -> Option<&V> {
        // Most tables of a record are empty.
        let own = (!self.record.is_empty()).then(|| self.record.get(&hash)).flatten();
        own.or_else(|| self.corpus.get(&hash))
    }

    pub fn contains(&self, hash: NameHash) -> bool {
        self.get(hash).is_some()
    }

    /// Puts the value in the layer that is open; it hides one of the corpus.
    pub fn put(&mut self, hash: NameHash, value: V) {
        let layer = if self.is_closed { &mut self.record } else { &mut self.corpus };
        layer.insert(hash, value);
    }

    /// Puts the value there if there is none; says whether.
    pub fn put_new(&mut self, hash: NameHash, value: V) -> bool {
        let is_new = !self.contains(hash);
        if is_new {
            self.put(hash, value);
        }
        is_new
    }

    pub fn is_empty(&self) -> bool {
        self.corpus.is_empty() && self.record.is_empty()
    }

    /// The number of entries of the corpus.
    pub fn len(&self) -> usize {
        self.corpus.len()
    }

    /// The entries of the layer that is open, in any order.
    pub fn newest(&self) -> impl Iterator<Item = (NameHash, &V)> {
        let layer = if self.is_closed { &self.record } else { &self.corpus };
        layer.iter().map(|(hash, value)| (*hash, value))
    }

    /// The entries of the corpus, ordered by hash.
    pub fn sorted(&self) -> Vec<(NameHash, &V)> {
        let mut entries: Vec<_> = self.corpus.iter().map(|(hash, value)| (*hash, value)).collect();
        entries.sort_unstable_by_key(|(hash, _)| *hash);
        entries
    }

    /// From here on, entries belong to a record.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// Removes the entries of the record.
    pub fn forget(&mut self) {
        self.record.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_depend_on_the_key() {
        let hasher = |byte: u8| NameHasher::new(&SecretKey::new(&[byte; 32]));
        assert_eq!(hasher(1).of("acole"), hasher(1).of("acole"));
        assert_ne!(hasher(1).of("acole"), hasher(2).of("acole"));
        assert_ne!(hasher(1).of("acole"), hasher(1).of("acola"));
    }

    #[test]
    fn a_record_adds_to_the_corpus_and_is_forgotten() {
        let mut table = Layered::default();
        assert!(table.put_new(1, "one") && !table.put_new(1, "other"));
        table.close();
        assert!(table.put_new(2, "two") && !table.put_new(1, "other"));
        table.put(1, "hidden");
        assert_eq!((table.get(1), table.get(2), table.len()), (Some(&"hidden"), Some(&"two"), 1));
        table.forget();
        assert_eq!((table.get(1), table.get(2)), (Some(&"one"), None));
    }
}
