//! Records as token sequences: ROUGE-1, BLEU-4, self-BLEU.
//!
//! A token is a run of letters, digits and non-ASCII bytes, or any other byte that is not white space.

use rayon::prelude::*;
use serde::Serialize;
use std::collections::HashMap;

/// Tokens, numbered in the order of their first occurrence.
#[derive(Default)]
pub struct Tokens(HashMap<Vec<u8>, u32>);

impl Tokens {
    pub fn encode(&mut self, text: &[u8]) -> Vec<u32> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let is_word = |byte: u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
            let length = text[at..].iter().take_while(|&&byte| is_word(byte)).count().max(1);
            if !text[at].is_ascii_whitespace() {
                let next = self.0.len() as u32;
                found.push(*self.0.entry(text[at..at + length].to_vec()).or_insert(next));
            }
            at += length;
        }
        found
    }

    /// Number of distinct tokens so far; their numbers lie below it.
    pub fn vocabulary(&self) -> usize {
        self.0.len()
    }
}

/// ROUGE-1 as an F measure: twice the common tokens, with their multiplicity, over the tokens of both (Lin, "ROUGE", 2004).
/// Both sides sorted; 0 for two empty ones.
pub fn rouge_1(candidate: &[u32], reference: &[u32]) -> f64 {
    let (mut i, mut j, mut common) = (0, 0, 0u32);
    while i < candidate.len() && j < reference.len() {
        match candidate[i].cmp(&reference[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => (i, j, common) = (i + 1, j + 1, common + 1),
        }
    }
    2.0 * f64::from(common) / (candidate.len() + reference.len()).max(1) as f64
}

/// One to four tokens; the rest is [`PADDING`].
type Gram = [u32; 4];
const PADDING: u32 = u32::MAX;

fn grams(tokens: &[u32], n: usize) -> HashMap<Gram, u32> {
    let mut counts = HashMap::new();
    for window in tokens.windows(n) {
        let mut gram = [PADDING; 4];
        gram[..n].copy_from_slice(window);
        *counts.entry(gram).or_default() += 1;
    }
    counts
}

/// The maximum count of each n-gram in one reference.
pub struct References {
    /// The largest count, the reference that has it, and the largest count of another.
    counts: HashMap<Gram, (u32, usize, u32)>,
    lengths: Vec<usize>,
}

impl References {
    pub fn new(references: &[Vec<u32>]) -> Self {
        let mut counts: HashMap<Gram, (u32, usize, u32)> = HashMap::new();
        for (owner, tokens) in references.iter().enumerate() {
            for (gram, count) in (1..=4).flat_map(|n| grams(tokens, n)) {
                let known = counts.entry(gram).or_insert((0, owner, 0));
                *known = if count > known.0 { (count, owner, known.0) } else { (known.0, known.1, known.2.max(count)) };
            }
        }
        Self { counts, lengths: references.iter().map(Vec::len).collect() }
    }

    /// BLEU-4 of one record: the geometric mean of the clipped 1- to 4-gram precisions, times exp(1 - r / c) where the
    /// record (c tokens) is shorter than the reference nearest in length (r tokens) (Papineni et al., "BLEU", 2002).
    /// Smoothing: one is added to both counts of the 2- to 4-gram precisions (Lin and Och, "ORANGE", 2004).
    ///
    /// `without`: a reference to leave out, which in self-BLEU is the record itself.
    pub fn bleu_4(&self, candidate: &[u32], without: Option<usize>) -> f64 {
        let clipped = |(gram, count): (Gram, u32)| {
            let (most, owner, second) = self.counts.get(&gram).copied().unwrap_or((0, 0, 0));
            count.min(if Some(owner) == without { second } else { most })
        };
        let mut log_sum = 0.0;
        for n in 1..=4 {
            let matched: u32 = grams(candidate, n).into_iter().map(clipped).sum();
            let all = (candidate.len() + 1).saturating_sub(n);
            let (matched, all) = if n == 1 { (matched, all) } else { (matched + 1, all + 1) };
            if matched == 0 {
                return 0.0;
            }
            log_sum += (f64::from(matched) / all as f64).ln();
        }
        let others = self.lengths.iter().enumerate().filter(|(owner, _)| Some(*owner) != without);
        let near = others.map(|(_, &length)| (length.abs_diff(candidate.len()), length)).min();
        let Some((_, near)) = near else { return 0.0 };
        let penalty = (1.0 - near as f64 / candidate.len() as f64).min(0.0);
        (log_sum / 4.0 + penalty).exp()
    }
}

/// Means over the records of a sample, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Likeness {
    /// Records in the sample.
    pub records: usize,
    /// ROUGE-1 against the most similar training record.
    pub rouge_1: f64,
    /// BLEU-4 against the training sample.
    pub bleu_4: f64,
    /// BLEU-4 of each record against the others of its sample, a measure of low diversity (Zhu et al., "Texygen", 2018).
    pub self_bleu: f64,
}

/// `sample` and `training`: (records) token sequences; neither is empty.
pub fn likeness(sample: &[Vec<u32>], training: &[Vec<u32>]) -> Likeness {
    let sorted = |tokens: &Vec<u32>| {
        let mut tokens = tokens.clone();
        tokens.sort_unstable();
        tokens
    };
    let bags: Vec<Vec<u32>> = training.iter().map(sorted).collect();
    let (others, own) = (References::new(training), References::new(sample));
    let scores: Vec<[f64; 3]> = sample
        .par_iter()
        .enumerate()
        .map(|(place, tokens)| {
            let bag = sorted(tokens);
            let rouge = bags.iter().map(|other| rouge_1(&bag, other)).fold(0.0, f64::max);
            [rouge, others.bleu_4(tokens, None), own.bleu_4(tokens, Some(place))]
        })
        .collect();
    let mean = |which: usize| scores.iter().map(|score| score[which]).sum::<f64>() / sample.len().max(1) as f64;
    Likeness { records: sample.len(), rouge_1: mean(0), bleu_4: mean(1), self_bleu: mean(2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(texts: &[&str]) -> Vec<Vec<u32>> {
        let mut tokens = Tokens::default();
        texts.iter().map(|text| tokens.encode(text.as_bytes())).collect()
    }

    #[test]
    fn tokens_are_words_and_signs() {
        let mut tokens = Tokens::default();
        assert_eq!(tokens.encode(b"{\"a1\": \"a1-b\"}").len(), 11);
        assert_eq!(tokens.vocabulary(), 7);
        assert_eq!(tokens.encode("é ".as_bytes()).len(), 1);
        assert!(tokens.encode(b" \t").is_empty());
    }

    #[test]
    fn rouge_by_hand() {
        let [a, b] = &encoded(&["a a b c", "a b b d d d"])[..] else { unreachable!() };
        let sorted = |tokens: &Vec<u32>| {
            let mut tokens = tokens.clone();
            tokens.sort_unstable();
            tokens
        };
        // Common: one a, one b; 4 + 6 tokens.
        assert_eq!(rouge_1(&sorted(a), &sorted(b)), 0.4);
        assert_eq!(rouge_1(&[], &[]), 0.0);
    }

    #[test]
    fn bleu_by_hand() {
        let of = |candidate: &str, references: &[&str]| {
            let all: Vec<&str> = std::iter::once(candidate).chain(references.iter().copied()).collect();
            let all = encoded(&all);
            References::new(&all[1..]).bleu_4(&all[0], None)
        };
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        // 4/5, (3+1)/(4+1), (2+1)/(3+1), (1+1)/(2+1): their product is 0.32.
        near(of("a b c d e", &["a b c d f"]), 0.32f64.powf(0.25));
        // All found, but 4 tokens against 6: exp(1 - 6/4).
        near(of("a b c d", &["a b c d e f"]), (-0.5f64).exp());
        // Clipped: of three a's two count; no bigram "a a a" beyond: 2/3, (1+1)/(2+1), (0+1)/(1+1), 1.
        near(of("a a a", &["a a", "x x x"]), (2.0 / 3.0 * 2.0 / 3.0 * 0.5f64).powf(0.25));
        assert_eq!(of("x y z", &["a b c"]), 0.0);
        assert_eq!(of("", &["a"]), 0.0);
    }

    #[test]
    fn self_bleu_leaves_the_record_itself_out() {
        let sample = encoded(&["a b c d", "a b c d", "w x y z"]);
        let found = likeness(&sample, &sample);
        assert_eq!((found.rouge_1, found.bleu_4), (1.0, 1.0));
        // The twins find each other, the third finds nothing.
        assert_eq!(found.self_bleu, 2.0 / 3.0);
    }
}
