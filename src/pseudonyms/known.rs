//! The names learnt from a corpus, which are searched for in all text, in any case.
//!
//! A name begins and ends where words do, so the search hashes what begins at each word, and looks the hash up: most words
//! begin no name, and cost one hash. The names themselves are not kept.

use super::hashed::{Layered, NameHash, NameHasher};
use super::rules::{Action, Treatment};
use std::ops::Range;

/// The most digits after an account or a person's name that belong to it.
const MOST_DIGITS: usize = 4;
/// The most separators at the edge of a name.
const MOST_EDGE: usize = 3;

/// What is known of a text in lower case.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NameEntry {
    /// Its kind, if it is a name.
    pub action: Option<Action>,
    /// The most words of a name that begins with it; 0 if it is the first word of none.
    pub words: u8,
}

pub struct KnownNames {
    hasher: NameHasher,
    entries: Layered<NameEntry>,
    /// Whether some name begins or ends with a separator, as `_ldap` does.
    pub has_edges: bool,
    /// Whether all names are known that a text may contain; before, none is looked for.
    pub is_complete: bool,
}

impl KnownNames {
    pub fn new(hasher: NameHasher) -> Self {
        Self { hasher, entries: Layered::default(), has_edges: false, is_complete: false }
    }

    /// Adds a name in lower case; of several kinds of one name the first counts.
    pub fn add(&mut self, name: &str, action: Action) {
        let words = words(name);
        let [first, ..] = words.as_slice() else { return };
        let hash = self.hasher.of(name);
        let entry = self.entry(hash);
        if entry.action.is_none() {
            self.entries.put(hash, NameEntry { action: Some(action), ..entry });
        }
        self.has_edges |= first.start > 0 || words[words.len() - 1].end < name.len();
        if words.len() > 1 {
            let hash = self.hasher.of(&name[..first.end]);
            let entry = self.entry(hash);
            let longest = u8::try_from(words.len()).unwrap_or(u8::MAX);
            if longest > entry.words {
                self.entries.put(hash, NameEntry { words: longest, ..entry });
            }
        }
    }

    fn entry(&self, hash: NameHash) -> NameEntry {
        self.entries.get(hash).copied().unwrap_or_default()
    }

    /// The kind of a name in lower case.
    pub fn action(&self, lower: &str) -> Option<Action> {
        self.entry(self.hasher.of(lower)).action
    }

    /// The hashes of the names in the layer that is open.
    pub fn new_hashes(&self) -> impl Iterator<Item = NameHash> {
        self.entries.newest().filter(|(_, entry)| entry.action.is_some()).map(|(hash, _)| hash)
    }

    pub fn entries(&self) -> Vec<(NameHash, &NameEntry)> {
        self.entries.sorted()
    }

    /// Takes in what records taught that come behind all that is known here.
    pub fn absorb(&mut self, hash: NameHash, later: NameEntry) {
        let own = self.entry(hash);
        let entry = NameEntry { action: own.action.or(later.action), words: own.words.max(later.words) };
        self.entries.put(hash, entry);
    }

    /// Takes in an entry of a corpus.
    pub fn restore(&mut self, hash: NameHash, entry: NameEntry) {
        self.entries.put(hash, entry);
    }

    /// From here on, what is added belongs to a record.
    pub fn close(&mut self) {
        self.entries.close();
    }

    /// Removes what a record added.
    pub fn forget(&mut self) {
        self.entries.forget();
    }

    /// The known names that occur in a text as whole words, ordered by place and, at one place, longest first. Digits after
    /// an account or a person's name belong to it.
    pub fn places(&self, text: &str) -> Vec<(Range<usize>, Treatment)> {
        let (mut found, mut lower) = (Vec::new(), String::new());
        if !self.is_complete || self.entries.is_empty() {
            return found;
        }
        let words = words(text);
        for (at, word) in words.iter().enumerate() {
            for start in self.starts(text, word) {
                let first = self.look_up(&text[start..word.end], &mut lower);
                self.ends(text, start..word.end, first, &mut lower, &mut found);
                let last = (at + usize::from(first.words)).min(words.len());
                for word in &words[(at + 1).min(last)..last] {
                    let entry = self.look_up(&text[start..word.end], &mut lower);
                    self.ends(text, start..word.end, entry, &mut lower, &mut found);
                }
            }
        }
        found.sort_by_key(|(place, _): &(Range<usize>, _)| (place.start, std::cmp::Reverse(place.end)));
        found.dedup_by(|a, b| a.0 == b.0);
        found
    }

    /// Where a name may begin whose first word this is: with the word, after the escape of a URL (`%22`) in it, or with the
    /// separators before it.
    fn starts(&self, text: &str, word: &Range<usize>) -> impl Iterator<Item = usize> {
        let bytes = text.as_bytes();
        let edges = if self.has_edges { MOST_EDGE.min(word.start) } else { 0 };
        let separators = (1..=edges).take_while(|length| is_edge(bytes[word.start - length])).count();
        let escaped = word.start + 2;
        let is_escaped = escaped < word.end && is_escape(&bytes[..escaped]);
        let starts = (word.start - separators..=word.start).chain(is_escaped.then_some(escaped));
        starts.filter(|start| !ends_in_word(&text[..*start]))
    }

    /// Adds the names that begin at the place and end with its last word: with it, if `entry` is one, before the last of its
    /// digits, or with the separators behind it.
    fn ends(
        &self,
        text: &str,
        place: Range<usize>,
        entry: NameEntry,
        lower: &mut String,
        found: &mut Vec<(Range<usize>, Treatment)>,
    ) {
        let (bytes, Range { start, end }) = (text.as_bytes(), place);
        found.extend(entry.action.map(|action| (start..end, Treatment::of(action))));
        let digits = bytes[start + 1..end].iter().rev().take(MOST_DIGITS).take_while(|byte| byte.is_ascii_digit());
        for length in 1..=digits.count() {
            let stem = self.look_up(&text[start..end - length], lower).action;
            let numbered = stem.filter(|action| matches!(action, Action::User | Action::Name));
            found.extend(numbered.map(|action| (start..end, Treatment::of(action))));
        }
        let edges = if self.has_edges { MOST_EDGE } else { 0 };
        let separators = bytes[end..].iter().take(edges).take_while(|byte| is_edge(**byte)).count();
        for end in end + 1..=end + separators {
            if !text[end..].starts_with(char::is_alphanumeric) {
                let action = self.look_up(&text[start..end], lower).action;
                found.extend(action.map(|action| (start..end, Treatment::of(action))));
            }
        }
    }

    fn look_up(&self, text: &str, lower: &mut String) -> NameEntry {
        lower.clear();
        match text.is_ascii() {
            true => {
                lower.push_str(text);
                lower.make_ascii_lowercase();
            }
            false => lower.push_str(&text.to_lowercase()),
        }
        self.entry(self.hasher.of(lower))
    }
}

/// Whether a name right after this text would be part of a longer word; the escape of a URL is not part of a word.
fn ends_in_word(text: &str) -> bool {
    text.ends_with(char::is_alphanumeric) && !is_escape(text.as_bytes())
}

/// Whether the text ends with the escape of a URL.
fn is_escape(text: &[u8]) -> bool {
    matches!(text, [.., b'%', a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
}

fn is_edge(byte: u8) -> bool {
    matches!(byte, b'.' | b'-' | b'_' | b'\'')
}

/// The runs of letters and digits in a text.
fn words(text: &str) -> Vec<Range<usize>> {
    let (mut words, mut begin) = (Vec::with_capacity(text.len() / 4), None);
    let mut take = |at: usize, is_inside: bool| match (is_inside, begin) {
        (true, None) => begin = Some(at),
        (false, Some(start)) => {
            words.push(start..at);
            begin = None;
        }
        _ => {}
    };
    match text.is_ascii() {
        true => text.bytes().enumerate().for_each(|(at, byte)| take(at, byte.is_ascii_alphanumeric())),
        false => text.char_indices().for_each(|(at, c)| take(at, c.is_alphanumeric())),
    }
    take(text.len(), false);
    words
}

#[cfg(test)]
mod tests {
    use super::super::key::SecretKey;
    use super::*;

    fn with(names: &[(&str, Action)]) -> KnownNames {
        let mut known = KnownNames::new(NameHasher::new(&SecretKey::new(&[7; 32])));
        names.iter().for_each(|(name, action)| known.add(name, *action));
        assert_eq!(found(&known, names[0].0), [""; 0], "not all are known yet");
        known.is_complete = true;
        known
    }

    fn found<'a>(known: &KnownNames, text: &'a str) -> Vec<&'a str> {
        known.places(text).into_iter().map(|(place, _)| &text[place]).collect()
    }

    #[test]
    fn known_names_stand_alone() {
        let names = [("acole", Action::User), ("aaron cole", Action::Name), ("josé müller", Action::Name)];
        let known = with(&names);
        assert_eq!(found(&known, "by ACOLE, for Aaron Cole (acole12)."), ["ACOLE", "Aaron Cole", "acole12"]);
        assert_eq!(found(&known, "xacole acolex chacole acole12345 aaron  cole aaron"), [""; 0]);
        assert_eq!(found(&known, "José Müller JOSÉ MÜLLER"), ["José Müller", "JOSÉ MÜLLER"]);
        assert_eq!(found(&known, "user%3Dacole%22"), ["acole"], "escaped in a URL");
        assert_eq!(found(&known, "éacole"), [""; 0], "letters beyond ASCII are letters");
    }

    #[test]
    fn names_of_several_words_and_names_in_names_are_found_the_longest_first() {
        let known = with(&[
            ("fin-0815.acme.local", Action::Domain),
            ("fin-0815", Action::Host),
            ("0815", Action::Account),
            ("aaron%20cole", Action::Name),
            ("_ldap._tcp", Action::Host),
            ("x-", Action::User),
        ]);
        let text = "fin-0815.acme.local fin-08157";
        assert_eq!(found(&known, text), ["fin-0815.acme.local", "fin-0815", "0815"], "a host takes no more digits");
        assert_eq!(found(&known, "?u=Aaron%20Cole3&"), ["Aaron%20Cole3"]);
        assert_eq!(found(&known, "SRV _ldap._tcp, x_ldap._tcp (x-)"), ["_ldap._tcp", "x-"]);
    }

    #[test]
    fn a_record_knows_its_names_only() {
        let mut known = with(&[("acole", Action::User)]);
        known.close();
        known.add("acole smith", Action::Name);
        assert_eq!(found(&known, "acole smith"), ["acole smith", "acole"]);
        known.forget();
        assert_eq!(found(&known, "acole smith"), ["acole"]);
    }
}
