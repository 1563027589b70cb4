//! Pseudonyms of words: one map for names, accounts, hosts and domains, so that equal words get equal pseudonyms everywhere.
//!
//! A word's pseudonym is a pronounceable word of about the same length, drawn by HMAC(key, word, attempt). If another word
//! already has it, the next attempt is drawn. Every [`ATTEMPTS`] attempts the words get longer by a syllable, so that
//! candidates never run out. So no two words share a pseudonym. The same key gives the same pseudonyms in another corpus,
//! except for words whose candidates collide: their pseudonyms depend on the order of the words.
//!
//! Of the originals, only keyed hashes are kept.

use super::hashed::{Layered, NameHash, NameHasher};
use super::key::SecretKey;
use super::permute::{Direction, Permuter};
use std::collections::HashSet;

const ATTEMPTS: u32 = 32;

/// The beginnings and ends of syllables. They are chosen so that the words they form are not known names.
const ONSETS: [&str; 24] = [
    "b", "br", "d", "dr", "f", "g", "gr", "h", "j", "k", "kr", "l", "m", "n", "p", "pr", "r", "s", "st", "t", "tr",
    "v", "w", "z",
];
const VOWELS: [&str; 8] = ["a", "e", "i", "o", "u", "ai", "ea", "ou"];
const CODAS: [&str; 10] = ["", "n", "l", "r", "s", "x", "m", "nd", "th", "ck"];

pub struct Words {
    key: SecretKey,
    hasher: NameHasher,
    /// Words that mean the same in every company. They stay, and no pseudonym equals one of them.
    kept: HashSet<String>,
    /// Words of the corpus that are to be replaced. No pseudonym equals one of them, or it would look like an original.
    originals: Layered<()>,
    /// The pseudonym of each original.
    of: Layered<Box<str>>,
    /// The pseudonyms that are given, as hashes.
    used: Layered<()>,
}

impl Words {
    pub fn new(key: SecretKey, kept: HashSet<String>) -> Self {
        let hasher = NameHasher::new(&key);
        let (originals, of, used) = (Layered::default(), Layered::default(), Layered::default());
        Self { key, hasher, kept, originals, of, used }
    }

    /// Whether a word in lower case stays unchanged.
    pub fn keeps(&self, lower: &str) -> bool {
        self.kept.contains(lower)
    }

    /// Ensures that no pseudonym will equal this word.
    pub fn avoid(&mut self, lower: &str) {
        self.avoid_hash(self.hasher.of(lower));
    }

    pub fn avoid_hash(&mut self, lower: NameHash) {
        self.originals.put_new(lower, ());
    }

    /// Whether some field of the corpus contains this word (in lower case) as a name.
    pub fn is_original(&self, lower: &str) -> bool {
        self.originals.contains(self.hasher.of(lower))
    }

    /// The number of originals with a pseudonym, with which memory grows.
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// From here on, what is added belongs to a record.
    pub fn close(&mut self) {
        self.originals.close();
        self.of.close();
        self.used.close();
    }

    /// Removes what a record added.
    pub fn forget(&mut self) {
        self.originals.forget();
        self.of.forget();
        self.used.forget();
    }

    /// The hashes of the originals, and the pseudonyms with the hashes of their originals.
    pub fn entries(&self) -> (impl Iterator<Item = NameHash>, impl Iterator<Item = (NameHash, &str)>) {
        let originals = self.originals.sorted().into_iter().map(|(hash, ())| hash);
        (originals, self.of.sorted().into_iter().map(|(hash, pseudonym)| (hash, &**pseudonym)))
    }

    /// Takes in a pseudonym that was given before.
    pub fn restore(&mut self, original: NameHash, pseudonym: &str) {
        self.used.put(self.hasher.of(pseudonym), ());
        self.of.put(original, pseudonym.into());
    }

    /// The pseudonym of a word of letters, in the case of the word. Words of one or two letters become other letters.
    pub fn word(&mut self, text: &str) -> String {
        let lower = text.to_lowercase();
        if self.keeps(&lower) {
            return text.to_string();
        }
        if text.is_ascii() && text.len() < 3 {
            let permuter = Permuter::new(self.key.clone(), Direction::Replace);
            return written_like(text, &permuter.alphanumeric("letters", &lower));
        }
        let key = self.key.clone();
        let pseudonym = self.claim(&lower, |attempt| coined(&key, &lower, attempt));
        written_like(text, &pseudonym)
    }

    /// The pseudonym of a label of several words that stay, as of an account `ci-runner`.
    pub fn of_kept(&mut self, text: &str) -> String {
        let (key, lower) = (self.key.clone(), text.to_lowercase());
        let pseudonym = self.claim(&lower, |attempt| coined(&key, &lower, attempt));
        written_like(text, &pseudonym)
    }

    /// The pseudonym of `original` if it has one, else the first candidate that no other original has. Candidates must never
    /// run out; all words are in lower case. A candidate that equals the original is accepted: then nothing in the original
    /// needs replacement.
    pub fn claim(&mut self, original: &str, candidate: impl Fn(u32) -> String) -> String {
        let hash = self.hasher.of(original);
        if let Some(known) = self.of.get(hash) {
            return known.to_string();
        }
        let taken = |text: &String| {
            let hash = self.hasher.of(text);
            self.used.contains(hash) || self.kept.contains(text) || self.originals.contains(hash)
        };
        let free = |text: &String| text == original || !taken(text);
        let pseudonym = (0..).map(candidate).find(free).expect("candidates do not end");
        self.restore(hash, &pseudonym);
        pseudonym
    }
}

/// `text`, and for further attempts `text` with letters appended: candidates that never run out.
pub fn with_letters(text: &str, attempt: u32) -> String {
    let mut letters = String::new();
    let mut rest = attempt;
    while rest > 0 {
        letters.push(char::from(b'a' + (rest % 26) as u8));
        rest /= 26;
    }
    text.to_string() + &letters
}

/// A pronounceable word of about the length of `word`: short (at most 4 letters), medium, or long (8 or more).
fn coined(key: &SecretKey, word: &str, attempt: u32) -> String {
    let random = key.mac(&[b"word", word.as_bytes(), &attempt.to_le_bytes()]);
    let mut numbers = random.chunks(2).map(|pair| usize::from(u16::from_le_bytes([pair[0], pair[1]])));
    let mut draw = |list: &[&'static str]| list[numbers.next().unwrap_or(0) % list.len()];
    let syllables = match word.chars().count() {
        0..=4 => 1,
        5..=7 => 2,
        _ => 3,
    } + attempt / ATTEMPTS;
    let open: String = (0..syllables).flat_map(|_| [draw(&ONSETS), draw(&VOWELS)]).collect();
    // A word of one syllable ends in a consonant, so that it has at least three letters.
    let coda = if syllables == 1 { draw(&CODAS[1..]) } else { draw(&CODAS) };
    open + coda
}

/// `pseudonym` (in lower case) in the case of `original`: upper case, capitalised, or lower case.
pub fn written_like(original: &str, pseudonym: &str) -> String {
    let mut letters = original.chars().filter(|c| c.is_alphabetic());
    let first = letters.next().is_some_and(char::is_uppercase);
    let mut rest = letters.peekable();
    let alone = rest.peek().is_none();
    if first && (alone && pseudonym.chars().count() == 1 || !alone && rest.all(|c| !c.is_lowercase())) {
        return pseudonym.to_uppercase();
    }
    let mut characters = pseudonym.chars();
    match (first, characters.next()) {
        (true, Some(c)) => c.to_uppercase().chain(characters).collect(),
        _ => pseudonym.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        Words::new(SecretKey::new(&[5; 32]), ["srv".to_string()].into())
    }

    #[test]
    fn one_word_one_pseudonym_in_every_spelling() {
        let mut words = words();
        let lower = words.word("cole");
        assert_eq!(words.word("Cole").to_lowercase(), lower);
        assert_eq!(words.word("COLE"), lower.to_uppercase());
        assert_ne!(lower, "cole");
        assert_eq!(words.word("srv"), "srv");
        assert_eq!(words.word("J").len(), 1);
    }

    #[test]
    fn no_two_words_share_a_pseudonym_even_when_the_space_is_exhausted() {
        let mut words = words();
        // Four-letter words outnumber the pseudonyms of one syllable: 24 x 8 x 9 = 1728.
        let mut images = HashSet::new();
        for n in 0..26u32 * 26 * 26 {
            let word: String = [n / 676, n / 26 % 26, n % 26].map(|i| char::from(b'a' + i as u8)).iter().collect();
            assert!(images.insert(words.word(&format!("q{word}"))), "{word}");
        }
        assert_eq!(words.len(), 26 * 26 * 26);
    }

    #[test]
    fn the_pseudonym_does_not_depend_on_who_came_before() {
        let (mut one, mut other) = (words(), words());
        let first = one.word("aaron");
        other.word("joseph");
        assert_eq!(other.word("aaron"), first);
    }

    #[test]
    fn a_pseudonym_is_no_word_that_is_to_be_replaced() {
        let taken = words().word("cole");
        let mut words = words();
        words.avoid(&taken);
        assert_ne!(words.word("cole"), taken);
    }

    #[test]
    fn case_follows_the_original() {
        for (original, expected) in
            [("COLE", "MARA"), ("Cole", "Mara"), ("cole", "mara"), ("McCole", "Mara"), ("É", "Mara"), ("", "mara")]
        {
            assert_eq!(written_like(original, "mara"), expected, "{original}");
        }
        assert_eq!(written_like("J", "m"), "M");
    }
}
