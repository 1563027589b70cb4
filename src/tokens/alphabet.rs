//! The byte-level alphabet of GPT-2: one printable character for each of the 256 bytes.
//!
//! Bytes that print in Latin-1 stand for themselves; the 68 others (controls, space, 0x7f-0xa0, 0xad) follow in order from U+0100.
//! Method: `bytes_to_unicode` of OpenAI's GPT-2 release, which tokenizer.json calls `ByteLevel`.

use std::collections::HashMap;
use std::sync::LazyLock;

static CHARS: LazyLock<[char; 256]> = LazyLock::new(|| {
    let mut chars = ['\0'; 256];
    let mut spare = 0x100;
    for byte in 0..=255u8 {
        chars[byte as usize] = match byte {
            b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => byte as char,
            _ => {
                spare += 1;
                char::from_u32(spare - 1).expect("0x100..0x144 are characters")
            }
        };
    }
    chars
});

static BYTES: LazyLock<HashMap<char, u8>> =
    LazyLock::new(|| (0..=255u8).map(|byte| (CHARS[byte as usize], byte)).collect());

/// The character that stands for `byte`.
pub fn char_of(byte: u8) -> char {
    CHARS[byte as usize]
}

/// `bytes` spelt in the alphabet.
pub fn spell(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char_of(byte)).collect()
}

/// The bytes that `spelt` stands for; none if it holds a character outside the alphabet.
pub fn unspell(spelt: &str) -> Option<Vec<u8>> {
    spelt.chars().map(|c| BYTES.get(&c).copied()).collect()
}
