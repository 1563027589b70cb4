//! Token healing: a prompt may end inside of what is one token in training. Encoded as it stands, it then ends in tokens that
//! never occur there, and the model continues from a place that it does not know. So the last tokens are taken back, as many
//! as depend on what follows, and the model writes their bytes itself, in tokens of its own.

use crate::Result;
use crate::tokens::Tokenizer;

/// Bytes that may follow a prompt, for a look at which tokens depend on it: of each kind that a tokenizer distinguishes.
const NEXT: &[u8] = b"0a7fgAGz\"\\ .,:-_@/{}[]()<>=+%&|;'#!?*~$^`\xc3";
/// Longer texts that may follow: ends of names and values, with which a tokenizer joins what comes before.
const NEXT_TEXTS: [&[u8]; 6] = [b"\": \"", b"\":\"", b"\": 1", b"a\": {\"", b"\", \"a\": \"", b"\",\"a\":\""];

/// The longest end of a prompt that is taken back because it may be the beginning of an identifier.
const LONGEST: usize = 64;

/// Takes back the tokens at the end of a prompt that depend on what follows, and returns them. `tokens` begins with the
/// separator and then spells `prompt`.
pub fn heal(tokens: &mut Vec<u32>, prompt: &[u8], tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let mut kept = prompt.len() - open_end(prompt, tokenizer);
    let mut count = tokens.len();
    let mut with_next = Vec::with_capacity(tokens.len() + 1);
    for next in NEXT.chunks(1).chain(NEXT_TEXTS) {
        with_next.clear();
        with_next.push(tokens[0]);
        // A tokenizer of characters lacks some.
        if tokenizer.encode(&[prompt, next].concat(), &mut with_next).is_ok() {
            count = count.min(tokens.iter().zip(&with_next).take_while(|(a, b)| a == b).count());
        }
    }
    let spelt = |tokens: &[u32]| tokens.iter().map(|&token| tokenizer.token_bytes(token).len()).sum::<usize>();
    kept = kept.min(spelt(&tokens[1..count.max(1)]));
    // The last token is taken back in any case.
    let mut cut = tokens.len() - usize::from(tokens.len() > 1);
    while cut > 1 && spelt(&tokens[1..cut]) > kept {
        cut -= 1;
    }
    Ok(tokens.split_off(cut))
}

/// The length of the longest end of the prompt that begins some longer token, or that may be part of an identifier: these are
/// divided by their whole length.
fn open_end(prompt: &[u8], tokenizer: &Tokenizer) -> usize {
    let overlap = |token: u32| {
        let bytes = tokenizer.token_bytes(token);
        let lengths = (1..bytes.len().min(prompt.len() + 1)).rev();
        lengths.into_iter().find(|&length| prompt.ends_with(&bytes[..length])).unwrap_or(0)
    };
    let longest = (0..tokenizer.vocab_size() as u32).map(overlap).max().unwrap_or(0);
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.:".contains(byte);
    let run = prompt.iter().rev().take(LONGEST).take_while(|byte| is_part(byte)).count();
    longest.max(run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::{content, sampled};

    /// How many beginnings of the records, healed, are not the beginning of the record's tokens.
    fn unnatural(records: &[&[u8]], tokenizer: &Tokenizer) -> (usize, usize) {
        let (mut wrong, mut all) = (0, 0);
        for record in records {
            let mut whole = vec![tokenizer.separator()];
            tokenizer.encode(record, &mut whole).unwrap();
            for cut in (0..=record.len()).step_by(5) {
                let mut tokens = vec![tokenizer.separator()];
                tokenizer.encode(&record[..cut], &mut tokens).unwrap();
                let back = heal(&mut tokens, &record[..cut], tokenizer).unwrap();
                let spelt = tokenizer.decode(&[&tokens[1..], &back[..]].concat());
                assert_eq!(spelt, &record[..cut], "nothing is lost");
                assert!(cut == 0 || !back.is_empty());
                wrong += usize::from(!whole.starts_with(&tokens));
                all += 1;
            }
        }
        (wrong, all)
    }

    #[test]
    fn what_is_kept_is_what_training_has_there() {
        for (file, vocab) in [("azure_ad.jsonl.gz", 2000), ("cloudtrail.jsonl.gz", 400), ("apache.log.gz", 400)] {
            let text = content(&sampled(file));
            let records: Vec<&[u8]> = text.split(|&byte| byte == b'\n').filter(|record| !record.is_empty()).collect();
            let tokenizer = Tokenizer::train_bpe(records.iter().copied(), vocab).unwrap();
            let (wrong, all) = unnatural(&records[..2], &tokenizer);
            assert!(200 * wrong <= all, "{file}, {vocab} tokens: {wrong} of {all} beginnings");
        }
    }

    #[test]
    fn a_token_of_one_byte_is_taken_back_alone() {
        let tokenizer = Tokenizer::bytes();
        let mut tokens = vec![10, b'a'.into(), b'"'.into()];
        assert_eq!(heal(&mut tokens, b"a\"", &tokenizer).unwrap(), [u32::from(b'"')]);
        let mut none = vec![10];
        assert_eq!(heal(&mut none, b"", &tokenizer).unwrap(), [0u32; 0]);
        assert_eq!(none, [10]);
    }
}
