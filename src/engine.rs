//! The engine interface: everything that training, generation and scoring know about an engine.
//!
//! An engine is the whole model, not one operation, so that each implementation may fuse, recompute and reuse buffers as it
//! likes. [`crate::cpu`] is the plain one and the specification.

use crate::gpt::{Config, Layout};
use crate::{Error, Result};

/// A target that is not counted: it has no loss and no gradient.
pub const IGNORE: u32 = u32::MAX;

/// Tokens and their targets, both (B, T) row-major; a target may be [`IGNORE`].
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    pub tokens: &'a [u32],
    pub targets: &'a [u32],
    /// T; B follows from the lengths.
    pub seq_len: usize,
}

/// Engines index tables with tokens, so a token outside the vocabulary must be an input error, not a panic or worse.
pub fn check_tokens(tokens: &[u32], vocab: usize) -> Result<()> {
    match tokens.iter().find(|&&token| token as usize >= vocab) {
        None => Ok(()),
        Some(token) => Err(Error::failed(format!(
            "token {token} lies outside the model's vocabulary of {vocab}: model and tokenizer do not belong together"
        ))),
    }
}

/// Refuses logits that are not finite: what was drawn from them would be garbage that looks like an answer.
pub fn check_finite(logits: &[f32]) -> Result<()> {
    if logits.iter().fold(true, |good, logit| good & logit.is_finite()) {
        return Ok(());
    }
    Err(Error::failed(
        "the logits of the model are not finite (infinite or NaN): its parameters are so large that sums overflow; training has \
         diverged, so use another checkpoint",
    ))
}

impl Batch<'_> {
    /// Checks that tokens and counted targets lie inside the vocabulary.
    pub fn check(&self, vocab: usize) -> Result<()> {
        assert_eq!(self.tokens.len(), self.targets.len());
        check_tokens(self.tokens, vocab)?;
        match self.targets.iter().find(|&&target| target != IGNORE && target as usize >= vocab) {
            None => Ok(()),
            Some(&target) => check_tokens(&[target], vocab),
        }
    }

    pub fn counted(&self) -> usize {
        self.targets.iter().filter(|&&target| target != IGNORE).count()
    }
}

/// One AdamW step (Loshchilov and Hutter, 2019): gradients are scaled to norm `max_grad_norm` at most, then
/// `m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; p -= lr ((m/(1-b1^t)) / (sqrt(v/(1-b2^t)) + eps) + weight_decay p)`.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// Learning rate of this step.
    pub lr: f32,
    pub beta_1: f32,
    pub beta_2: f32,
    pub epsilon: f32,
    /// Weight decay, applied to two-dimensional tensors.
    pub weight_decay: f32,
    /// Maximum global gradient norm; 0: no clipping.
    pub max_grad_norm: f32,
    /// t: 1 for the first update.
    pub step: u64,
}

/// Loss and gradient norm of an update. When one of them is not finite, nothing was updated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// Sum over the accumulated batches of scale x loss: the mean loss when the scales add up to it.
    pub loss: f64,
    /// Global gradient norm before clipping.
    pub norm: f64,
}

impl Update {
    pub fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.norm.is_finite()
    }
}

/// How a token is drawn from logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingParams {
    /// Divides the logits; 0: the most likely token.
    pub temperature: f32,
    /// Keeps the k most likely tokens; 0: all.
    pub top_k: usize,
    /// Keeps the most likely tokens that together reach this probability (nucleus sampling, Holtzman et al., 2020);
    /// 1: all.
    pub top_p: f32,
}

/// One token to draw.
///
/// At temperature 0 the most likely of the allowed tokens is drawn. Otherwise the `top_k` most likely are kept, and of these
/// the fewest most likely that reach `top_p` of their weight. The kept tokens divide 0..1 in the order of their numbers, in
/// proportion to their weights, and the one in whose part `uniform` lies is drawn. Of equal logits the lower token counts as
/// the more likely one; a NaN counts as minus infinity.
#[derive(Clone, Copy, Debug)]
pub struct SampleRequest<'a> {
    pub params: SamplingParams,
    /// In [0, 1).
    pub uniform: f64,
    /// Bit set over the tokens, ceil(V/32) words, token t at bit t % 32 of word t / 32; None: every token is allowed.
    pub allowed: Option<&'a [u32]>,
}

/// A named part of an engine's state, each of the layout's length, in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Parameters,
    Gradients,
    ExpAvg,
    ExpAvgSq,
}

/// The whole model with its state.
pub trait Engine: Send {
    fn config(&self) -> &Config;

    fn layout(&self) -> &Layout;

    /// Loss of every target in nats: `losses` (B, T), 0 where the target is [`IGNORE`].
    fn losses(&mut self, batch: Batch, losses: &mut [f32]) -> Result<()>;

    /// Logits (B, T, V) of `tokens` (B, T).
    fn logits(&mut self, tokens: &[u32], seq_len: usize, logits: &mut [f32]) -> Result<()>;

    /// Adds `scale` x the gradient of the summed losses to the gradients, and `scale` x the summed losses to the loss.
    fn accumulate(&mut self, batch: Batch, scale: f32) -> Result<()>;

    /// Updates the parameters from the accumulated gradients, unless these or the loss are not finite; then clears both.
    fn update(&mut self, step: &AdamW) -> Result<Update>;

    /// Opens a KV cache with `slots` empty slots, each for a sequence of at most `context` tokens.
    fn open_cache(&mut self, slots: usize) -> Result<()>;

    /// Tokens held in the slot's cache.
    fn cached(&self, slot: usize) -> usize;

    /// Empties a slot.
    fn forget(&mut self, slot: usize);

    /// Appends tokens to each named slot (each at most once) and computes the logits after its last token: `logits`
    /// (sequences, V). A prompt is many tokens at once; decoding is one token per slot.
    fn extend(&mut self, sequences: &[(usize, &[u32])], logits: &mut [f32]) -> Result<()>;

    /// Like `extend`, then draws one token for each sequence: `draws` and `tokens` (sequences). Each draw must allow some token.
    fn sample(&mut self, sequences: &[(usize, &[u32])], draws: &[SampleRequest], tokens: &mut [u32]) -> Result<()>;

    /// Like `sample`, and hands out the `logits` (sequences, V) and the probability mass that each draw allowed: `shares`
    /// (sequences), 1 where every token is allowed, at the draw's temperature but without `top_k` and `top_p`.
    fn sample_measured(
        &mut self,
        sequences: &[(usize, &[u32])],
        draws: &[SampleRequest],
        logits: &mut [f32],
        tokens: &mut [u32],
        shares: &mut [f64],
    ) -> Result<()>;

    /// Copies a whole part of the state to `out`, where tensors lie at their `layout` ranges.
    fn read(&self, state: State, out: &mut [f32]) -> Result<()>;

    /// Overwrites a whole part of the state.
    fn write(&mut self, state: State, values: &[f32]) -> Result<()>;

    /// Whether it computes on a device beside the host, which may do other work meanwhile.
    fn is_beside_host(&self) -> bool {
        false
    }

    /// Bytes in use on the engine's device; None where it has no memory of its own.
    fn device_memory(&self) -> Option<u64> {
        None
    }

    /// Starts or stops the capture of a profiler that waits for `cuProfilerStart`.
    fn profile(&self, _start: bool) {}
}
