//! Draws windows of tokens and targets. A window is a pure function of the seed and its number, so that a resumed run needs
//! only its step.

use super::permutation::Permutation;
use super::split::Split;
use super::splitmix::mix;
use crate::Result;
use crate::engine::IGNORE;
use serde::{Deserialize, Serialize};

/// Where windows start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Windows {
    /// Anywhere in the token stream, drawn uniformly with repetition (nanoGPT's)
    Random,
    /// At records: each start once per epoch, in random order; further records fill the window
    Records,
}

/// Draws windows of `context` tokens.
///
/// With [`Windows::Records`], position 0 holds the separator (the end of the previous record) and position 1 the first
/// token of a record; the records that follow it in the file fill the window. In a record longer than the context, windows
/// also start at each multiple of the context; there position 0 holds the previous token. So training sees each record as
/// whole as possible, and records begin at the same position as in generation.
#[derive(Clone, Debug)]
pub struct Sampler {
    windows: Windows,
    context: usize,
    seed: u64,
}

impl Sampler {
    pub fn new(windows: Windows, context: usize, seed: u64) -> Self {
        assert!(context > 0);
        Self { windows, context, seed }
    }

    /// Checks that windows can be drawn from this split: random windows need more tokens than the context.
    pub fn check(&self, split: &Split) -> Result<()> {
        match self.windows {
            Windows::Random => split.check_context(self.context),
            Windows::Records => Ok(()),
        }
    }

    /// Fills tokens and targets, both (context), for training window `number`.
    ///
    /// [`Sampler::check`] must have succeeded. Record windows may extend beyond the end of the split; there tokens are
    /// separators and targets are [`IGNORE`].
    pub fn draw(&self, split: &Split, number: u64, tokens: &mut [u32], targets: &mut [u32]) -> Result<()> {
        assert_eq!((tokens.len(), targets.len()), (self.context, self.context));
        fill(split, self.first_target(split, number)?, split.tokens(), tokens, targets)
    }

    /// The position of the first target of training window `number`.
    fn first_target(&self, split: &Split, number: u64) -> Result<u64> {
        Ok(match self.windows {
            Windows::Random => {
                assert!(split.tokens() > self.context as u64, "Sampler::check guards this");
                let choices = split.tokens() - self.context as u64;
                // The high half of a product is uniform up to a bias of choices / 2^64.
                1 + ((u128::from(mix(self.seed, number, 0)) * u128::from(choices)) >> 64) as u64
            }
            Windows::Records => {
                let starts = split.starts(self.context)?;
                let (epoch, i) = (number / starts.total(), number % starts.total());
                let start = Permutation::new(starts.total(), self.seed, epoch).at(i);
                starts.position(start, |first, n| split.offsets(first, n))?
            }
        })
    }

    /// The number of windows that cover the split, so that every target occurs once, in order.
    ///
    /// Random windows tile the stream (its first token is not a target). Record windows hold as many whole records as fit,
    /// so that the model sees all of a record; only a record longer than the context is cut.
    pub fn cover(&self, split: &Split) -> Result<u64> {
        Ok(match self.windows {
            Windows::Random => (split.tokens() - 1).div_ceil(self.context as u64),
            Windows::Records => split.starts(self.context)?.tiles().len() as u64 - 1,
        })
    }

    /// The i-th window of [`Sampler::cover`]: tokens and targets, both (context). Targets after the end of the window's part
    /// of the split are [`IGNORE`].
    pub fn window(&self, split: &Split, i: u64, tokens: &mut [u32], targets: &mut [u32]) -> Result<()> {
        assert_eq!((tokens.len(), targets.len()), (self.context, self.context));
        let (start, end) = match self.windows {
            Windows::Random => {
                let start = 1 + i * self.context as u64;
                (start, split.tokens().min(start + self.context as u64))
            }
            Windows::Records => {
                let starts = split.starts(self.context)?;
                (starts.tiles()[i as usize], starts.tiles()[i as usize + 1])
            }
        };
        fill(split, start, end, tokens, targets)
    }
}

/// Targets are the stream from `start` on, and tokens the stream from one position earlier; before position 0 there is a
/// separator. From `end` on, targets are [`IGNORE`] and tokens are separators.
fn fill(split: &Split, start: u64, end: u64, tokens: &mut [u32], targets: &mut [u32]) -> Result<()> {
    let length = targets.len().min((end - start) as usize);
    split.read(start, &mut targets[..length])?;
    targets[length..].fill(IGNORE);
    match start {
        0 => tokens[0] = split.separator(),
        _ => split.read(start - 1, &mut tokens[..1])?,
    }
    tokens[1..length].copy_from_slice(&targets[..length - 1]);
    tokens[length..].fill(split.separator());
    Ok(())
}
