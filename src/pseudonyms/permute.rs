//! Keyed, format-preserving permutations of texts: digits stay digits, upper case stays upper case.
//!
//! A text is a sequence of symbols, each with the size of its alphabet. A Feistel network over the two halves of the
//! sequence adds to each symbol a keyed number that depends on the other half, modulo the size of the alphabet. So every
//! round is invertible, and no two texts of one format share an image. The construction follows Black, Rogaway, "Ciphers
//! with arbitrary finite domains", CT-RSA 2002, and the FF1 mode of NIST SP 800-38G, with HMAC-SHA-256 as the round
//! function; it is not FF1.

use super::key::SecretKey;

/// The number of rounds, as in FF1.
const ROUNDS: u8 = 10;

/// A symbol, which is less than the size of its alphabet (`radix`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Symbol {
    pub value: u32,
    pub radix: u32,
}

/// What a permutation does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Direction {
    /// Originals become pseudonyms.
    Replace,
    /// Pseudonyms become originals again.
    Undo,
}

/// Permutes texts with a key, or undoes it.
#[derive(Clone)]
pub struct Permuter {
    key: SecretKey,
    pub direction: Direction,
}

impl Permuter {
    pub fn new(key: SecretKey, direction: Direction) -> Self {
        Self { key, direction }
    }

    /// Permutes the sequences of symbols with these alphabets. `tweak` selects one of many independent permutations.
    fn permute(&self, tweak: &str, symbols: &mut [Symbol]) {
        let (left, right) = symbols.split_at_mut(symbols.len() / 2);
        let mut step = |round: u8| match round % 2 {
            0 => self.step(tweak, round, left, right),
            _ => self.step(tweak, round, right, left),
        };
        match self.direction {
            Direction::Replace => (0..ROUNDS).for_each(&mut step),
            Direction::Undo => (0..ROUNDS).rev().for_each(&mut step),
        }
    }

    /// Adds numbers that depend on `source` to `target`, or subtracts them.
    fn step(&self, tweak: &str, round: u8, source: &[Symbol], target: &mut [Symbol]) {
        let source: Vec<u8> = source.iter().flat_map(|s| (s.value as u16).to_le_bytes()).collect();
        for (block, targets) in target.chunks_mut(16).enumerate() {
            let numbers = self.key.mac(&[b"permute", tweak.as_bytes(), &[round, block as u8], &source]);
            for (symbol, pair) in targets.iter_mut().zip(numbers.chunks(2)) {
                let number = u32::from(u16::from_le_bytes([pair[0], pair[1]])) % symbol.radix;
                let number = match self.direction {
                    Direction::Replace => number,
                    Direction::Undo => symbol.radix - number,
                };
                symbol.value = (symbol.value + number) % symbol.radix;
            }
        }
    }

    /// Permutes the characters for which `alphabet` returns a class (its first character and its size); other characters
    /// stay. The image has the same classes in the same places.
    fn by_class(&self, tweak: &str, text: &str, alphabet: impl Fn(usize, char) -> Option<(char, u32)>) -> String {
        let class = |(at, c): (usize, char)| alphabet(at, c).filter(|(first, _)| c >= *first);
        let mut symbols: Vec<Symbol> = text
            .chars()
            .enumerate()
            .filter_map(|(at, c)| class((at, c)).map(|(first, radix)| Symbol { value: c as u32 - first as u32, radix }))
            .collect();
        self.permute(tweak, &mut symbols);
        let mut images = symbols.into_iter();
        let image = |(at, c)| match class((at, c)) {
            Some((first, _)) => {
                let value = images.next().map_or(0, |symbol| symbol.value);
                char::from_u32(first as u32 + value).unwrap_or(c)
            }
            None => c,
        };
        text.chars().enumerate().map(image).collect()
    }

    /// Permutes ASCII digits, lower-case and upper-case letters, each within its class.
    pub fn alphanumeric(&self, tweak: &str, text: &str) -> String {
        self.by_class(tweak, text, |_, c| match c {
            '0'..='9' => Some(('0', 10)),
            'a'..='z' => Some(('a', 26)),
            'A'..='Z' => Some(('A', 26)),
            _ => None,
        })
    }

    /// Permutes hexadecimal digits, the numbers and the letters among them each within their class.
    pub fn hexadecimal_by_class(&self, tweak: &str, text: &str) -> String {
        self.by_class(tweak, text, |_, c| match c {
            '0'..='9' => Some(('0', 10)),
            'a'..='f' => Some(('a', 6)),
            'A'..='F' => Some(('A', 6)),
            _ => None,
        })
    }

    /// Permutes the digits of a number as it is written; the first digit becomes 0 only if it is 0.
    pub fn number(&self, tweak: &str, text: &str) -> String {
        let first = text.find(|c: char| c.is_ascii_digit());
        self.by_class(tweak, text, |at, c| match c {
            '1'..='9' if Some(at) == first => Some(('1', 9)),
            '0' if Some(at) == first => None,
            '0'..='9' => Some(('0', 10)),
            _ => None,
        })
    }

    /// Permutes hexadecimal digits by value, so that `AB` and `ab` have the same image up to case; the image is in upper case
    /// if the text has any upper-case letter. Digits whose numbers are in `kept` and other characters stay.
    pub fn hexadecimal(&self, tweak: &str, text: &str, kept: &[usize]) -> String {
        let digits = || text.chars().filter_map(|c| c.to_digit(16)).enumerate();
        let mut symbols: Vec<Symbol> =
            digits().filter(|(at, _)| !kept.contains(at)).map(|(_, value)| Symbol { value, radix: 16 }).collect();
        self.permute(tweak, &mut symbols);
        let capitals = text.contains(|c: char| c.is_ascii_uppercase());
        let mut images = symbols.into_iter();
        let mut at = 0;
        let image = |c: char| {
            if !c.is_ascii_hexdigit() {
                return c;
            }
            at += 1;
            let value = if kept.contains(&(at - 1)) { c.to_digit(16) } else { images.next().map(|s| s.value) };
            let digit = char::from_digit(value.unwrap_or(0), 16).unwrap_or(c);
            if capitals { digit.to_ascii_uppercase() } else { digit }
        };
        text.chars().map(image).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn permuter(byte: u8) -> Permuter {
        Permuter::new(SecretKey::new(&[byte; 32]), Direction::Replace)
    }

    proptest::proptest! {
        #[test]
        fn what_is_permuted_is_undone(text in "\\PC{0,80}") {
            let replace = permuter(1);
            let undo = Permuter { direction: Direction::Undo, ..replace.clone() };
            proptest::prop_assert_eq!(undo.alphanumeric("t", &replace.alphanumeric("t", &text)), text.clone());
            proptest::prop_assert_eq!(undo.number("t", &replace.number("t", &text)), text.clone());
            let lower = text.to_lowercase();
            proptest::prop_assert_eq!(undo.hexadecimal("t", &replace.hexadecimal("t", &lower, &[2]), &[2]), lower);
        }
    }

    #[test]
    fn every_image_of_a_small_space_is_met_once() {
        let key = permuter(1);
        let images: HashSet<String> = (0..1000).map(|n| key.number("t", &format!("1{n:03}"))).collect();
        assert_eq!(images.len(), 1000);
        let all: HashSet<String> = (1000..10_000).map(|n| key.number("t", &n.to_string())).collect();
        assert_eq!(all.len(), 9000);
        assert!(all.iter().all(|n| n.len() == 4 && !n.starts_with('0')));
        let letters: HashSet<String> = ('a'..='z').map(|c| key.alphanumeric("t", &c.to_string())).collect();
        assert_eq!(letters.len(), 26);
    }

    #[test]
    fn the_form_stays_and_the_key_and_tweak_matter() {
        let (key, other) = (permuter(1), permuter(2));
        let text = "x36uYBdHvg00lm0w-uqskrv89ceW1";
        let image = key.alphanumeric("t", text);
        let form = |text: &str| -> Vec<u8> {
            text.bytes().map(|b| if b.is_ascii_digit() { 0 } else { b & 0x20 | u8::from(b == b'-') }).collect()
        };
        assert_eq!(form(&image), form(text));
        assert_ne!(image, text);
        assert_ne!(image, other.alphanumeric("t", text));
        assert_ne!(image, key.alphanumeric("u", text));
        assert_eq!(key.number("t", "0"), "0");
    }

    #[test]
    fn hexadecimal_is_one_number_in_either_case() {
        let key = permuter(1);
        let small = key.hexadecimal("t", "{41c8662e-1f63-5f25}", &[8]);
        let large = key.hexadecimal("t", "{41C8662E-1F63-5F25}", &[8]);
        assert_eq!(small.to_uppercase(), large);
        assert_eq!(&small[10..11], "1");
        assert!(small.starts_with('{') && small.ends_with('}') && small.as_bytes()[9] == b'-');
    }
}
