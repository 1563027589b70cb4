//! The rows of one pass over the KV cache, put in order on the host.

/// New tokens of one slot.
pub type Sequence<'a> = (usize, &'a [u32]);

/// Rows that go through together: few different numbers, since every one has its own plans for the matrix products, and a
/// sequence's last bits should not depend on how many others there are.
pub(in crate::cuda) fn padded(rows: usize) -> usize {
    if rows <= 64 { rows.next_power_of_two().max(8) } else { rows.next_multiple_of(64) }
}

/// A row that is only there to fill up: it is in no slot.
const NOBODY: u32 = u32::MAX;

/// The rows of one pass: first those that attend to the cache, then whole prompts. Behind them come rows of nobody, up to a
/// padded number.
pub(super) struct NewRows {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    slots: Vec<u32>,
    /// Rows that attend to the cache.
    pub cached: usize,
    /// Lengths of the prompts behind them.
    pub prompts: Vec<usize>,
    /// The last row of each sequence, in the order given.
    last: Vec<u32>,
}

impl NewRows {
    /// `lengths`: tokens held of each slot.
    pub fn new(sequences: &[Sequence], lengths: &[usize]) -> Self {
        let is_prompt = |&(slot, tokens): &Sequence| lengths[slot] == 0 && tokens.len() > 1;
        let mut rows = NewRows {
            tokens: vec![],
            positions: vec![],
            slots: vec![],
            cached: 0,
            prompts: vec![],
            last: vec![0; sequences.len()],
        };
        for prompts in [false, true] {
            for (i, &(slot, tokens)) in sequences.iter().enumerate().filter(|(_, s)| is_prompt(s) == prompts) {
                rows.tokens.extend_from_slice(tokens);
                rows.positions.extend((0..tokens.len()).map(|t| (lengths[slot] + t) as u32));
                rows.slots.extend(std::iter::repeat_n(slot as u32, tokens.len()));
                rows.last[i] = rows.tokens.len() as u32 - 1;
                match prompts {
                    true => rows.prompts.push(tokens.len()),
                    false => rows.cached += tokens.len(),
                }
            }
        }
        let n = padded(rows.tokens.len());
        rows.tokens.resize(n, 0);
        rows.positions.resize(n, 0);
        rows.slots.resize(n, NOBODY);
        rows
    }

    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    pub fn sequences(&self) -> usize {
        self.last.len()
    }

    /// Whether every sequence has one new token, and none is a prompt.
    pub fn is_step(&self) -> bool {
        self.prompts.is_empty() && self.cached == self.last.len()
    }

    /// Tokens, positions, slots and last rows, one behind the other, so that one copy brings them to the device.
    pub fn numbers(&self) -> Vec<u32> {
        [&self.tokens, &self.positions, &self.slots, &self.last].into_iter().flatten().copied().collect()
    }
}
