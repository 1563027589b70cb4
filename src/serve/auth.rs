//! Who may ask: bearer tokens (RFC 6750), compared in constant time.

use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::path::Path;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// The fewest characters of a token that nobody guesses.
const SHORTEST: usize = 16;

/// The tokens of a server, each with the name of its holder.
pub struct Tokens(Vec<(String, [u8; 32])>);

impl Tokens {
    /// Reads a file with one token a line, which the name of its holder and a blank may precede; lines that begin with `#` are
    /// remarks.
    ///
    /// Errors: a file that cannot be read, without a token, with a short one, or with one twice.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Error::unreadable(
                path,
                e,
                "give a file with a token in each line, made for example by: openssl rand -hex 32",
            )
        })?;
        Self::parse(&text, &path.display().to_string())
    }

    fn parse(text: &str, name: &str) -> Result<Self> {
        let mut tokens: Vec<(String, [u8; 32])> = Vec::new();
        for (line, number) in text.trim_start_matches('\u{feff}').lines().zip(1..) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let (holder, token) = match words[..] {
                [token] => (format!("token {}", tokens.len() + 1), token),
                [holder, token] if holder.len() <= token.len() => (holder.to_string(), token),
                [_, _] => {
                    return Err(Error::usage(format!(
                        "--token-file {name}:{number}: expected a name and then its token, found the longer word first"
                    )));
                }
                _ => {
                    return Err(Error::usage(format!(
                        "--token-file {name}:{number}: expected a token, or a name and a token, found {} words",
                        words.len()
                    )));
                }
            };
            if token.len() < SHORTEST {
                return Err(Error::usage(format!(
                    "--token-file {name}:{number}: the token has {} characters, expected at least {SHORTEST}; make one with: openssl \
                     rand -hex 32",
                    token.len()
                )));
            }
            let digest = digest(token.as_bytes());
            if tokens.iter().any(|(_, other)| *other == digest) {
                return Err(Error::usage(format!("--token-file {name}:{number}: the same token stands there twice")));
            }
            tokens.push((holder, digest));
        }
        match tokens.is_empty() {
            true => Err(Error::usage(format!("--token-file {name}: there is no token; expected one a line"))),
            false => Ok(Tokens(tokens)),
        }
    }

    /// The holder of the token in an `Authorization` header. Every token is compared in full, so the time says nothing of them.
    pub fn holder(&self, authorization: &[u8]) -> Option<&str> {
        const SCHEME: &[u8] = b"bearer ";
        let (scheme, token) = authorization.split_at_checked(SCHEME.len())?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return None;
        }
        let given = digest(token.trim_ascii());
        let (mut found, mut place) = (Choice::from(0), 0u32);
        for ((_, known), number) in self.0.iter().zip(0..) {
            let equal = known[..].ct_eq(&given[..]);
            place.conditional_assign(&number, equal);
            found |= equal;
        }
        bool::from(found).then(|| self.0[place as usize].0.as_str())
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_tokens_are_taken_and_name_their_holder() {
        let tokens = Tokens::parse("# of the SIEM\nsiem 0123456789abcdef0123\n\nfedcba9876543210fedc\n", "f").unwrap();
        assert_eq!(tokens.holder(b"Bearer 0123456789abcdef0123"), Some("siem"));
        assert_eq!(tokens.holder(b"bearer  fedcba9876543210fedc "), Some("token 2"));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcdef012",
            "Bearer 0123456789abcdef01234",
            "Basic 0123456789abcdef0123",
        ] {
            assert_eq!(tokens.holder(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn files_without_good_tokens_are_refused() {
        let refusal = |text: &str| Tokens::parse(text, "f").err().unwrap().to_string();
        assert!(refusal("# nothing\n").contains("no token"));
        assert!(refusal("short\n").contains("f:1") && refusal("short\n").contains("openssl"));
        assert!(refusal("a b c\n").contains("3 words"));
        assert!(refusal("0123456789abcdef siem\n").contains("the longer word first"));
        assert!(refusal("0123456789abcdef\nx 0123456789abcdef\n").contains("f:2"));
    }
}
