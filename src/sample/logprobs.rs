//! The log probabilities that a model gave to tokens.

/// Which log probabilities are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logprobs {
    /// So many of the likeliest tokens are named at each place.
    pub top: usize,
    /// Whether those of the prompt are wanted too. Then the model reads the prompt token by token.
    pub of_prompt: bool,
}

/// A token and its log probability in nats, at temperature 1 and before any choice of tokens: minus its surprisal.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprob {
    pub token: u32,
    pub logprob: f64,
    /// The likeliest tokens at this place, the likeliest first.
    pub top: Vec<(u32, f64)>,
}

impl TokenLogprob {
    /// From the `logits` (V) before the token.
    pub fn new(logits: &[f32], token: u32, top: usize) -> Self {
        let largest = logits.iter().fold(f32::NEG_INFINITY, |largest, &logit| largest.max(logit)) as f64;
        let sum: f64 = logits.iter().map(|&logit| (logit as f64 - largest).exp()).sum();
        let logprob = |token: u32| logits[token as usize] as f64 - largest - sum.ln();
        let top = likeliest(logits, top).into_iter().map(|token| (token, logprob(token))).collect();
        TokenLogprob { token, logprob: logprob(token), top }
    }
}

/// The tokens with the `count` largest logits; of equal ones the lower token comes first.
fn likeliest(logits: &[f32], count: usize) -> Vec<u32> {
    let mut best: Vec<u32> = Vec::with_capacity(count + 1);
    for token in 0..logits.len() as u32 {
        let logit = |token: u32| logits[token as usize];
        if best.len() == count && best.last().is_none_or(|&last| logit(token) <= logit(last)) {
            continue;
        }
        let place = best.partition_point(|&other| logit(other) >= logit(token));
        best.insert(place, token);
        best.truncate(count);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_those_of_the_softmax() {
        let logits = [0.1f32, 0.4, 0.2, 0.3].map(|share| share.ln() + 7.0);
        let found = TokenLogprob::new(&logits, 2, 3);
        assert!((found.logprob - 0.2f64.ln()).abs() < 1e-6);
        assert_eq!(found.top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [1, 3, 2]);
        assert_eq!(found.top[2].1, found.logprob);
        assert_eq!(TokenLogprob::new(&logits, 0, 0).top, []);
    }

    #[test]
    fn of_equal_tokens_the_lower_is_first() {
        assert_eq!(likeliest(&[1.0, 2.0, 2.0, 1.0, 2.0], 4), [1, 2, 4, 0]);
        assert_eq!(likeliest(&[1.0, 2.0], 5), [1, 0]);
    }
}
