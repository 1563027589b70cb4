//! The longest span of a record that training has too, not counting text that nearly every record has.

use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// Length in bytes of the pieces by which constant text is recognised.
const GRAM: usize = 8;
/// Number of training records that constant text is learnt from.
const LOOKED_AT: usize = 256;

/// No state, no edge.
const NONE: u32 = u32::MAX;

/// A suffix automaton (Blumer et al., "The smallest automaton recognizing the subwords of a text", 1985) of a text, with the
/// substrings that training has: each state stands for substrings that end at the same places.
///
/// Training is read through it, so the size of training does not matter; the text takes about 70 bytes of memory per byte.
pub struct Spans {
    states: Vec<SuffixState>,
    edges: Vec<Edge>,
    /// State of each prefix of the text: (bytes).
    ends: Vec<u32>,
}

#[derive(Clone, Copy)]
struct SuffixState {
    /// Length of its longest substring.
    length: u32,
    /// State of the longest suffix that ends at more places.
    link: u32,
    edges: u32,
    /// Length of its longest substring found in training; 0: none so far.
    found: u32,
}

#[derive(Clone, Copy)]
struct Edge {
    byte: u8,
    to: u32,
    next: u32,
}

impl Spans {
    /// `text` holds the records, each followed by a newline. Substrings across records are never found, because no record
    /// contains a newline.
    pub fn new(text: &[u8]) -> Self {
        let root = SuffixState { length: 0, link: NONE, edges: NONE, found: 0 };
        let mut spans = Self { states: vec![root], edges: Vec::new(), ends: Vec::with_capacity(text.len()) };
        let mut last = 0;
        for &byte in text {
            last = spans.extend(last, byte);
            spans.ends.push(last);
        }
        spans
    }

    fn edge(&self, state: u32, byte: u8) -> Option<usize> {
        let mut at = self.states[state as usize].edges;
        while at != NONE && self.edges[at as usize].byte != byte {
            at = self.edges[at as usize].next;
        }
        (at != NONE).then_some(at as usize)
    }

    fn connect(&mut self, from: u32, byte: u8, to: u32) {
        let first = &mut self.states[from as usize].edges;
        self.edges.push(Edge { byte, to, next: *first });
        *first = self.edges.len() as u32 - 1;
    }

    fn add(&mut self, length: u32, link: u32) -> u32 {
        self.states.push(SuffixState { length, link, edges: NONE, found: 0 });
        self.states.len() as u32 - 1
    }

    /// Appends a byte to the text with state `last`; returns the new state.
    fn extend(&mut self, last: u32, byte: u8) -> u32 {
        let new = self.add(self.states[last as usize].length + 1, 0);
        let mut at = last;
        let target = loop {
            if at == NONE {
                return new;
            }
            if let Some(edge) = self.edge(at, byte) {
                break self.edges[edge].to;
            }
            self.connect(at, byte, new);
            at = self.states[at as usize].link;
        };
        let length = self.states[at as usize].length + 1;
        let link =
            if self.states[target as usize].length == length { target } else { self.split(at, byte, target, length) };
        self.states[new as usize].link = link;
        new
    }

    /// Splits off a state for the substrings of `target` of at most `length`, which now end at one place more than the longer
    /// ones.
    fn split(&mut self, from: u32, byte: u8, target: u32, length: u32) -> u32 {
        let twin = self.add(length, self.states[target as usize].link);
        let mut at = self.states[target as usize].edges;
        while at != NONE {
            let Edge { byte, to, next } = self.edges[at as usize];
            self.connect(twin, byte, to);
            at = next;
        }
        self.states[target as usize].link = twin;
        let mut at = from;
        while at != NONE {
            match self.edge(at, byte) {
                Some(edge) if self.edges[edge].to == target => self.edges[edge].to = twin,
                _ => break,
            }
            at = self.states[at as usize].link;
        }
        twin
    }

    /// Reads a training record and marks every substring that it shares with the text.
    pub fn read(&mut self, record: &[u8]) {
        let (mut state, mut length) = (0, 0);
        for &byte in record {
            let to = loop {
                match self.edge(state, byte) {
                    Some(edge) => break Some(self.edges[edge].to),
                    None if state == 0 => break None,
                    None => {
                        state = self.states[state as usize].link;
                        length = self.states[state as usize].length;
                    }
                }
            };
            (state, length) = to.map_or((0, 0), |to| (to, length + 1));
            let found = &mut self.states[state as usize].found;
            *found = length.max(*found);
        }
    }

    /// For each byte of the text the length of the longest substring that ends with it and that training has: (bytes).
    pub fn longest(mut self) -> Vec<u32> {
        let mut order: Vec<u32> = (1..self.states.len() as u32).collect();
        order.sort_unstable_by_key(|&state| self.states[state as usize].length);
        // If a substring of a state was found, its suffixes were found too; if not, its suffixes may still have been found.
        for &state in order.iter().rev() {
            let SuffixState { link, found, .. } = self.states[state as usize];
            if found > 0 {
                self.states[link as usize].found = self.states[link as usize].length;
            }
        }
        for &state in &order {
            if self.states[state as usize].found == 0 {
                let link = self.states[state as usize].link;
                self.states[state as usize].found = self.states[link as usize].found;
            }
        }
        self.ends.iter().map(|&state| self.states[state as usize].found).collect()
    }
}

/// Text that at least half of the records have, as pieces of 8 bytes.
pub struct Constant(HashSet<[u8; GRAM]>);

impl Constant {
    /// Learns the constant text from the first 256 of a sample of training records.
    pub fn new(sample: &[Vec<u8>]) -> Self {
        let sample = &sample[..sample.len().min(LOOKED_AT)];
        let mut counts: HashMap<[u8; GRAM], usize> = HashMap::new();
        for record in sample {
            let grams: HashSet<[u8; GRAM]> = record.windows(GRAM).filter_map(|gram| gram.try_into().ok()).collect();
            grams.into_iter().for_each(|gram| *counts.entry(gram).or_default() += 1);
        }
        Self(counts.into_iter().filter(|(_, count)| 2 * count >= sample.len()).map(|(gram, _)| gram).collect())
    }

    /// Number of varying bytes before each byte of a record, and in total: (bytes + 1).
    fn varying_before(&self, record: &[u8]) -> Vec<u32> {
        let mut constant = vec![false; record.len()];
        for (at, gram) in record.windows(GRAM).enumerate() {
            if gram.try_into().is_ok_and(|gram: [u8; GRAM]| self.0.contains(&gram)) {
                constant[at..at + GRAM].fill(true);
            }
        }
        let mut before = vec![0];
        before.extend(constant.iter().scan(0, |sum, &constant| {
            *sum += u32::from(!constant);
            Some(*sum)
        }));
        before
    }
}

/// Lengths, in varying bytes, of the longest span of each record that training has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SpanLengths {
    /// Number of records searched.
    pub records: usize,
    pub median: f64,
    pub percentile_95: f64,
    pub longest: f64,
}

/// The longest copied span of each record; `longest` as [`Spans::longest`] gives it for the records with a newline each.
pub fn copied(records: &[Vec<u8>], longest: &[u32], constant: &Constant) -> Vec<u32> {
    let mut start = 0;
    let mut found = Vec::with_capacity(records.len());
    for record in records {
        let before = constant.varying_before(record);
        let of_end = |end: usize| before[end] - before[end - longest[start + end - 1] as usize];
        found.push((1..=record.len()).map(of_end).max().unwrap_or(0));
        start += record.len() + 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn longest(text: &str, training: &[&str]) -> Vec<u32> {
        let mut spans = Spans::new(text.as_bytes());
        training.iter().for_each(|record| spans.read(record.as_bytes()));
        spans.longest()
    }

    #[test]
    fn longest_spans_by_hand() {
        assert_eq!(longest("abcab\n", &["xbca", "cab"]), [1, 2, 2, 3, 3, 0]);
        assert_eq!(longest("aaaa\n", &["aa"]), [1, 2, 2, 2, 0]);
        assert_eq!(longest("ab\nba\n", &["abba"]), [1, 2, 0, 1, 2, 0]);
        assert_eq!(longest("", &["a"]), [0u32; 0]);
    }

    #[test]
    fn constant_text_does_not_count() {
        let sample: Vec<Vec<u8>> = ["head=constant;x=1", "head=constant;y=2", "other"].map(Into::into).into();
        let constant = Constant::new(&sample);
        let records: Vec<Vec<u8>> = [&b"head=constant;secret"[..], b"secret", b""].map(Into::into).into();
        let text = records.iter().flat_map(|record| record.iter().chain(b"\n")).copied().collect::<Vec<u8>>();
        let mut spans = Spans::new(&text);
        spans.read(b"head=constant;secre7");
        // "head=constant;" is constant, "secre" is not.
        assert_eq!(copied(&records, &spans.longest(), &constant), [5, 5, 0]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_search(text in "[ab]{0,14}", training in proptest::collection::vec("[ab]{0,10}", 0..3)) {
            let found = longest(&text, &training.iter().map(String::as_str).collect::<Vec<_>>());
            for end in 1..=text.len() {
                let has = |start: &usize| training.iter().any(|record| record.contains(&text[*start..end]));
                let expected = (0..end).find(has).map_or(0, |start| end - start);
                prop_assert_eq!(found[end - 1] as usize, expected, "{} at {}", text, end);
            }
        }
    }
}
