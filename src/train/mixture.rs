//! What a run learns from: its data and, in fine-tuning, old data that is mixed in against forgetting.

use super::evaluate::split_loss;
use crate::dataset::{Dataset, Sampler, Split};
use crate::engine::Engine;
use crate::{Error, Result};
use indicatif::ProgressBar;

/// New data, and a fraction of windows replayed from old data (experience replay; Rolnick et al., "Experience Replay for
/// Continual Learning", 2019).
#[derive(Clone, Copy)]
pub struct Mixture<'a> {
    pub data: &'a Dataset,
    old: Option<&'a Dataset>,
    /// Fraction of the windows that come from old data; 0 without old data.
    share: f64,
}

impl<'a> From<&'a Dataset> for Mixture<'a> {
    fn from(data: &'a Dataset) -> Self {
        Mixture { data, old: None, share: 0.0 }
    }
}

impl<'a> Mixture<'a> {
    /// Errors: old data that was prepared with another tokenizer.
    pub fn new(data: &'a Dataset, old: &'a Dataset, share: f64) -> Result<Self> {
        if !old.tokenizer.same_tokens(&data.tokenizer) {
            return Err(Error::usage(
                "--replay: it was prepared with another tokenizer than --data; prepare the new data with the tokenizer of the old \
                 (prepare --tokenizer-from OLD_DATA)",
            ));
        }
        Ok(Mixture { data, old: Some(old), share })
    }

    /// Distinguishes mixtures by their data, not by their fraction.
    pub fn fingerprint(&self) -> u32 {
        let old = self.old.map_or(0, Dataset::fingerprint);
        self.data.fingerprint() ^ old.rotate_left(1)
    }

    /// Checks that windows can be drawn from all parts.
    pub fn check(&self, sampler: &Sampler) -> Result<()> {
        self.old.iter().chain([&self.data]).try_for_each(|data| sampler.check(&data.train))
    }

    /// Fills tokens and targets, both (batch, context), for batch number `index`.
    pub fn batch(
        &self,
        sampler: &Sampler,
        index: u64,
        batch: usize,
        tokens: &mut [u32],
        targets: &mut [u32],
    ) -> Result<()> {
        let context = tokens.len() / batch;
        let mut rows = tokens.chunks_exact_mut(context).zip(targets.chunks_exact_mut(context)).enumerate();
        rows.try_for_each(|(row, (tokens, targets))| {
            let (split, number) = self.origin(index * batch as u64 + row as u64);
            sampler.draw(split, number, tokens, targets)
        })
    }

    /// The split that window `number` of the run comes from, and its number there. It depends on nothing else, so that a
    /// resumed run continues where it was. Old windows are spread evenly.
    fn origin(&self, number: u64) -> (&'a Split, u64) {
        match (self.old, origin(number, self.share)) {
            (Some(old), Origin::Old(number)) => (&old.train, number),
            (_, Origin::Old(number) | Origin::New(number)) => (&self.data.train, number),
        }
    }

    /// Validation losses in nats per token: of the new data, of the old data, and of both as they are mixed.
    pub fn validate(&self, engine: &mut dyn Engine, sampler: &Sampler, batch: usize, limit: u64) -> Result<Validation> {
        let none = ProgressBar::hidden();
        let new = split_loss(engine, &self.data.val, sampler, batch, limit, &none)?;
        let old = self.old.map(|old| split_loss(engine, &old.val, sampler, batch, limit, &none)).transpose()?;
        let bits_per_byte = new.bits_per_byte(self.data.val.tokens(), self.data.val.bytes());
        let old = old.map(|loss| loss.mean());
        let mixed = old.map_or(new.mean(), |old| (1.0 - self.share) * new.mean() + self.share * old);
        Ok(Validation { loss: new.mean(), bits_per_byte, old, mixed })
    }
}

#[derive(Debug, PartialEq)]
enum Origin {
    New(u64),
    Old(u64),
}

fn origin(number: u64, share: f64) -> Origin {
    let old_before = |number: u64| (number as f64 * share) as u64;
    match old_before(number) {
        before if old_before(number + 1) > before => Origin::Old(before),
        before => Origin::New(number - before),
    }
}

pub struct Validation {
    pub loss: f64,
    pub bits_per_byte: f64,
    pub old: Option<f64>,
    pub mixed: f64,
}

#[cfg(test)]
mod tests {
    use super::Origin::{New, Old};
    use super::*;

    #[test]
    fn old_windows_are_spread_evenly_and_none_is_left_out() {
        let origins: Vec<_> = (0..8).map(|number| origin(number, 0.25)).collect();
        assert_eq!(origins, [New(0), New(1), New(2), Old(0), New(3), New(4), New(5), Old(1)]);
        assert_eq!([origin(5, 0.0), origin(5, 1.0)], [New(5), Old(5)]);
    }
}
