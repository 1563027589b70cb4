//! Records -> the surprisal of each of their tokens: minus the logarithm of the probability that the model gave it.

use crate::engine::{Batch, Engine, IGNORE};
use crate::tokens::{StandIn, Tokenizer};
use crate::{Error, Result};
use std::ops::Range;

/// The surprisals of one record.
#[derive(Clone, Debug, PartialEq)]
pub struct Surprisals {
    /// The record's tokens, and the separator that ends it: (n + 1).
    pub tokens: Vec<u32>,
    /// The surprisal of each token, given all before it: (n + 1), nats.
    pub nats: Vec<f32>,
    /// The tokens that stand for what the tokenizer lacks.
    pub stand_ins: Vec<StandIn>,
}

impl Surprisals {
    /// Surprisal of the whole record with its separator, in nats.
    pub fn total(&self) -> f64 {
        self.nats.iter().map(|&nats| f64::from(nats)).sum()
    }

    /// The bytes of the record that each token stands for.
    pub fn places(&self, tokenizer: &Tokenizer) -> impl Iterator<Item = Range<usize>> {
        let mut stand_ins = self.stand_ins.iter().peekable();
        let mut at = 0;
        self.tokens.iter().enumerate().map(move |(place, &id)| {
            let start = at;
            at += match stand_ins.next_if(|stand_in| stand_in.token == place) {
                Some(stand_in) => stand_in.bytes,
                None => tokenizer.token_bytes(id).len(),
            };
            start..at
        })
    }
}

/// Surprisals of each record, given only that a record begins, as at the start of a training window (`windows = "records"`).
/// `batch` windows are computed at once; see [`sequence_surprisals`].
///
/// A record with a newline inside it is an error of its own and does not affect the others. The outer error is the engine's.
/// Memory: the records' tokens, and the engine's for `batch` x context.
pub fn surprisals(
    engine: &mut dyn Engine,
    tokenizer: &Tokenizer,
    records: &[&[u8]],
    batch: usize,
) -> Result<Vec<Result<Surprisals>>> {
    let encoded: Vec<Result<_>> = records.iter().map(|record| encode(tokenizer, record)).collect();
    let whole: Vec<&[u32]> = encoded.iter().flatten().map(|(tokens, _)| tokens.as_slice()).collect();
    let mut nats = sequence_surprisals(engine, tokenizer.separator(), &whole, batch)?.into_iter();
    let mut join =
        |(tokens, stand_ins)| Surprisals { tokens, nats: nats.next().expect("one for each encoded record"), stand_ins };
    Ok(encoded.into_iter().map(|encoded| encoded.map(&mut join)).collect::<Vec<_>>())
}

/// Tokens, and which of them stand for what the tokenizer lacks.
pub(super) type Encoded = (Vec<u32>, Vec<StandIn>);

/// The record's tokens and the separator that ends it, and which of them stand for what the tokenizer lacks.
pub(super) fn encode(tokenizer: &Tokenizer, record: &[u8]) -> Result<Encoded> {
    if record.contains(&b'\n') {
        return Err(Error::failed("a record must be one line, found a newline inside it"));
    }
    let mut tokens = Vec::with_capacity(record.len() / 2 + 1);
    let stand_ins = tokenizer.encode_any(record, &mut tokens);
    tokens.push(tokenizer.separator());
    Ok((tokens, stand_ins))
}

/// Surprisals in nats of the tokens of each sequence, after an opening separator: one record with its closing separator, or
/// several in a row.
///
/// A sequence longer than the context is read in windows that overlap by half; each token is counted once, with at least half
/// a context before it.
///
/// `batch` windows are computed at once. An engine beside the host takes as many more short ones as fill the place of
/// `batch` x context tokens, or of 65,536 where these are fewer; in few different shapes, each of which costs it some
/// preparation.
pub fn sequence_surprisals(
    engine: &mut dyn Engine,
    separator: u32,
    sequences: &[&[u32]],
    batch: usize,
) -> Result<Vec<Vec<f32>>> {
    let mut run = SurprisalRun::new(sequences, engine.config().context);
    while run.step(engine, separator, sequences, batch)? {}
    Ok(run.nats)
}

/// The surprisals of sequences, in steps between which the engine may do something else.
pub struct SurprisalRun {
    /// Those of similar length share a batch, so that little of it is padding.
    windows: Vec<Window>,
    /// Windows that are computed.
    done: usize,
    /// What is known so far.
    pub nats: Vec<Vec<f32>>,
}

impl SurprisalRun {
    pub fn new(sequences: &[&[u32]], context: usize) -> Self {
        let mut windows: Vec<Window> =
            sequences.iter().enumerate().flat_map(|(i, tokens)| windows_of(i, tokens.len(), context)).collect();
        windows.sort_by_key(|window| window.length);
        SurprisalRun { windows, done: 0, nats: sequences.iter().map(|tokens| vec![0.0; tokens.len()]).collect() }
    }

    /// Computes the next `batch` windows, or what fills their place, of the same sequences as before; false where all are done.
    pub fn step(
        &mut self,
        engine: &mut dyn Engine,
        separator: u32,
        sequences: &[&[u32]],
        batch: usize,
    ) -> Result<bool> {
        let left = &self.windows[self.done..];
        if left.is_empty() {
            return Ok(false);
        }
        let shape = match engine.is_beside_host() {
            true => Shape::packed(left, batch.max(1), engine.config().context),
            false => Shape::plain(left, batch.max(1)),
        };
        let (group, time) = (&left[..shape.windows], shape.time);
        let (mut tokens, mut targets) = (Vec::new(), Vec::new());
        for window in group {
            let sequence = sequences[window.sequence];
            let range = window.start..window.start + window.length;
            tokens.push(if window.start == 0 { separator } else { sequence[window.start - 1] });
            tokens.extend_from_slice(&sequence[window.start..range.end - 1]);
            targets.extend(sequence[range].iter().enumerate().map(|(i, &t)| if i < window.known { IGNORE } else { t }));
            let padding = time - window.length;
            tokens.extend(std::iter::repeat_n(separator, padding));
            targets.extend(std::iter::repeat_n(IGNORE, padding));
        }
        tokens.resize(shape.rows * time, separator);
        targets.resize(shape.rows * time, IGNORE);
        let mut losses = vec![0.0; tokens.len()];
        engine.losses(Batch { tokens: &tokens, targets: &targets, seq_len: time }, &mut losses)?;
        for (window, losses) in group.iter().zip(losses.chunks(time)) {
            let counted = window.known..window.length;
            let into = window.start + window.known..window.start + window.length;
            self.nats[window.sequence][into].copy_from_slice(&losses[counted]);
        }
        self.done += shape.windows;
        Ok(self.done < self.windows.len())
    }
}

/// What an engine computes at once of windows that are sorted by length: the first `windows`, in `rows` of `time` tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shape {
    windows: usize,
    rows: usize,
    time: usize,
}

/// Tokens that keep a large GPU busy: more would only take memory.
const MOST_PACKED: usize = 1 << 16;

impl Shape {
    fn plain(left: &[Window], batch: usize) -> Self {
        let windows = batch.min(left.len());
        Shape { windows, rows: windows, time: left[windows - 1].length }
    }

    /// `batch` windows, or as many as fill their place, each as long as the longest, rounded up by at most an eighth. The last
    /// group, which is not full, has a power of two of rows.
    fn packed(left: &[Window], batch: usize, context: usize) -> Self {
        let full = |time: usize| batch.max((batch * context).min(MOST_PACKED) / time);
        let rounded = |length: usize| {
            let step = (length.next_power_of_two() / 16).max(8);
            length.next_multiple_of(step).min(context)
        };
        let windows = left.iter().zip(1..).take_while(|(window, count)| *count <= full(rounded(window.length))).count();
        let time = rounded(left[windows - 1].length);
        let rows = if windows < left.len() { full(time) } else { windows.next_power_of_two().min(full(time)) };
        Shape { windows, rows, time }
    }
}

/// Targets `start..start + length` of a sequence; the first `known` of them were counted in the window before.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Window {
    sequence: usize,
    start: usize,
    length: usize,
    known: usize,
}

fn windows_of(sequence: usize, tokens: usize, context: usize) -> Vec<Window> {
    let half = (context / 2).max(1);
    let mut windows = Vec::new();
    let mut counted = 0;
    for start in (0..).step_by(half) {
        if counted == tokens {
            break;
        }
        let length = context.min(tokens - start);
        windows.push(Window { sequence, start, length, known: counted - start });
        counted = start + length;
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_holds_as_many_short_windows_as_fill_it() {
        let windows = |lengths: &[usize]| -> Vec<Window> {
            lengths.iter().map(|&length| Window { sequence: 0, start: 0, length, known: 0 }).collect()
        };
        let shape = |windows, rows, time| Shape { windows, rows, time };
        // 4 x 64 tokens: 16 of 16 tokens, of which the longest has 14.
        assert_eq!(Shape::packed(&windows(&[10; 40]), 4, 64), shape(16, 16, 16));
        // The 13th would make all as long as it is.
        assert_eq!(Shape::packed(&windows(&[vec![10; 12], vec![60; 9]].concat()), 4, 64), shape(12, 16, 16));
        assert_eq!(Shape::packed(&windows(&[60; 9]), 4, 64), shape(4, 4, 64));
        assert_eq!(Shape::packed(&windows(&[60]), 4, 64), shape(1, 1, 64));
        assert_eq!(Shape::packed(&windows(&[9, 10, 11]), 4, 64), shape(3, 4, 16));
        assert_eq!(Shape::packed(&windows(&[5]), 1, 6), shape(1, 1, 6), "not beyond the context");
        assert_eq!(Shape::plain(&windows(&[5, 6, 9, 9]), 3), shape(3, 3, 9));
        // Not fewer than were asked for, and no more than a GPU has work for.
        assert_eq!(Shape::packed(&windows(&[100; 4000]), 1024, 4096), shape(1024, 1024, 104));
        assert_eq!(Shape::packed(&windows(&[100; 4000]), 64, 4096), shape(630, 630, 104));
        // However long they are, at most a ninth is padding, but for the shortest.
        for length in 64..1024 {
            let time = Shape::packed(&windows(&[length]), 2, 1024).time;
            assert!(time >= length && 8 * (time - length) <= length, "{length}: {time}");
        }
    }

    #[test]
    fn long_sequences_are_cut_into_half_overlapping_windows() {
        let cut = |tokens, context| {
            windows_of(0, tokens, context).into_iter().map(|w| (w.start, w.length, w.known)).collect::<Vec<_>>()
        };
        assert_eq!(cut(8, 8), [(0, 8, 0)]);
        assert_eq!(cut(9, 8), [(0, 8, 0), (4, 5, 4)]);
        assert_eq!(cut(17, 8), [(0, 8, 0), (4, 8, 4), (8, 8, 4), (12, 5, 4)]);
        assert_eq!(cut(3, 1), [(0, 1, 0), (1, 1, 0), (2, 1, 0)]);
        assert_eq!(cut(0, 8), []);
        for tokens in 1..60 {
            let windows = windows_of(0, tokens, 7);
            let counted: Vec<usize> = windows.iter().flat_map(|w| w.start + w.known..w.start + w.length).collect();
            assert_eq!(counted, (0..tokens).collect::<Vec<_>>(), "each once");
            assert!(windows[1..].iter().all(|w| w.known >= 7 / 2), "half a context before each");
        }
    }
}
