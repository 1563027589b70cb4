//! The byte-level alphabet of GPT-2: one printable character for each of the 256 bytes.
//!
//! Bytes that are printable in Latin-1 are written as themselves; the other 68 (controls, space, 0x7f-0xa0, 0xad) are mapped
//! in order to the characters from U+0100. The method is `bytes_to_unicode` of OpenAI's GPT-2 release, which tokenizer.json
//! calls `ByteLevel`.

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

/// The character that represents `byte`.
pub fn char_of(byte: u8) -> char {
    CHARS[byte as usize]
}

/// `bytes` written in the alphabet.
pub fn spell(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char_of(byte)).collect()
}

/// The bytes that `spelt` represents; `None` if it contains a character outside the alphabet.
pub fn unspell(spelt: &str) -> Option<Vec<u8>> {
    spelt.chars().map(|c| BYTES.get(&c).copied()).collect()
}
