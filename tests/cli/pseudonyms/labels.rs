//! Labelled lines, and the judgement of changes by them: what had to go, and what had to stay.

use logwright::pseudonyms::Change;
use std::ops::Range;

/// Text that may be replaced or not: both are right.
const EITHER: &str = "either";

/// A line of which every identity is marked.
pub struct Line {
    pub kind: String,
    pub record: String,
    /// The class and the place of every mark.
    pub marks: Vec<(String, Range<usize>)>,
}

/// Reads lines of a kind, a tab and the record, in which `⟦class:text⟧` encloses what must be replaced.
pub fn read(text: &str) -> Vec<Line> {
    let parse = |line: &str| {
        let (kind, mut rest) = line.split_once('\t').unwrap();
        let (mut record, mut marks) = (String::new(), Vec::new());
        while let Some((before, marked)) = rest.split_once('⟦') {
            record += before;
            let (mark, after) = marked.split_once('⟧').unwrap();
            let (class, text) = mark.split_once(':').unwrap();
            marks.push((class.to_string(), record.len()..record.len() + text.len()));
            record += text;
            rest = after;
        }
        Line { kind: kind.into(), record: record + rest, marks }
    };
    text.lines().map(parse).collect()
}

impl Line {
    /// The marks that must be replaced.
    pub fn identities(&self) -> impl Iterator<Item = (&str, &Range<usize>)> {
        self.marks.iter().filter(|(class, _)| class != EITHER).map(|(class, place)| (class.as_str(), place))
    }

    /// Whether the changes replace the whole place, and what they write in its stead does not contain it.
    pub fn is_gone(&self, place: &Range<usize>, changes: &[Change]) -> bool {
        let marked = &self.record[place.clone()];
        let covered = place.clone().all(|byte| changes.iter().any(|change| change.place.contains(&byte)));
        let inside = |change: &&Change| change.place.start < place.end && place.start < change.place.end;
        covered && !changes.iter().filter(inside).any(|change| stands_in(marked, &change.text))
    }

    /// The words outside of marks that the change does not keep; `None` if it keeps every byte outside of marks.
    pub fn damage(&self, change: &Change) -> Option<Vec<String>> {
        let mut kept = Vec::new();
        let mut at = change.place.start;
        for (_, mark) in self.marks.iter().filter(|(_, m)| m.start < change.place.end && change.place.start < m.end) {
            kept.push(&self.record[at..mark.start.max(at)]);
            at = mark.end.min(change.place.end);
        }
        kept.push(&self.record[at..change.place.end]);
        if matches(&kept, &change.text) {
            return None;
        }
        let words = kept.iter().flat_map(|text| words(text)).filter(|word| !stands_in(word, &change.text));
        Some(words.map(str::to_string).collect())
    }

    /// The number of words outside of marks.
    pub fn words_that_stay(&self) -> usize {
        let mut at = 0;
        let mut count = 0;
        for (_, mark) in &self.marks {
            count += words(&self.record[at..mark.start]).count();
            at = mark.end;
        }
        count + words(&self.record[at..]).count()
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Whether the text contains the word, not as a part of a longer one; case is ignored.
pub fn stands_in(word: &str, text: &str) -> bool {
    let (word, text) = (word.to_lowercase(), text.to_lowercase());
    text.match_indices(&word).any(|(at, _)| {
        let alone = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
        alone(text[..at].chars().next_back()) && alone(text[at + word.len()..].chars().next())
    })
}

/// Whether the text consists of the pieces in their order, with anything between two of them.
fn matches(pieces: &[&str], text: &str) -> bool {
    let [first, middle @ .., last] = pieces else { return pieces == [text] };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    for piece in middle {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

/// The interval of 95 % for a share of successes (Wilson 1927).
pub fn wilson(successes: usize, trials: usize) -> (f64, f64) {
    let (n, z) = (trials as f64, 1.96f64);
    if trials == 0 {
        return (0.0, 1.0);
    }
    let share = successes as f64 / n;
    let centre = share + z * z / (2.0 * n);
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    ((centre - half) / (1.0 + z * z / n), (centre + half) / (1.0 + z * z / n))
}
