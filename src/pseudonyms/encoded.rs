//! Text inside text: runs of base64, hexadecimal digits and URL escapes that decode to something readable. What is replaced in
//! the decoded text is encoded again in the same way, so that nothing stays readable by decoding.

use std::ops::Range;

/// Shorter runs are words.
const SHORTEST_BASE64: usize = 12;
const SHORTEST_HEX: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Encoding {
    /// URL escapes, of these characters of ASCII and of all others; their digits are in upper case or not.
    Percent { of: u128, upper: bool },
    /// Base64, with the alphabet for URLs or not, padded or not.
    Base64 { url: bool, padded: bool },
    /// Base64 of UTF-16, as PowerShell takes commands.
    Wide,
    /// Hexadecimal digits, in upper or lower case.
    Hex { upper: bool },
}

/// A run that decodes to text.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    pub place: Range<usize>,
    pub encoding: Encoding,
    pub text: String,
}

/// All runs in the text that decode to something readable.
pub fn runs(text: &str) -> Vec<Encoded> {
    let bytes = text.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let length = bytes[at..].iter().take_while(|byte| is_run(**byte)).count();
        let run = &bytes[at..at + length];
        let stretches = run.split(|byte| !byte.is_ascii_alphanumeric());
        if length >= 3 && run.contains(&b'%') || stretches.map(<[u8]>::len).any(|length| length > SHORTEST_HEX - 3) {
            found.extend(parts_of(&text[at..at + length], at));
        }
        at += length + 1;
    }
    found
}

fn is_run(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=' | b'%' | b'.' | b'~')
}

/// What a run of characters holds: as a whole, or between `=` and `/`.
fn parts_of(run: &str, start: usize) -> Vec<Encoded> {
    let sign = |c: char| c == '=' || c == '/';
    let bare = run.trim_start_matches(['=', '-', '.', '/']);
    let from = start + run.len() - bare.len();
    let found = |text: &str, at: usize| {
        decoded(text).map(|(encoding, plain)| Encoded { place: at..at + text.len(), encoding, text: plain })
    };
    // Of a URL, only the part that has escapes is encoded.
    let parted = bare.contains('%') && bare.contains(sign);
    if let Some(whole) = found(bare, from).filter(|_| !parted) {
        return vec![whole];
    }
    let mut out = Vec::new();
    let mut at = start;
    for piece in run.split_inclusive(sign) {
        // The padding of base64 follows it.
        let padding = run[at - start + piece.len()..].bytes().take_while(|b| *b == b'=').count();
        let end = at - start + piece.len() + if piece.ends_with('=') { padding } else { 0 };
        let padded = &run[at - start..end];
        let plain = piece.trim_end_matches(sign);
        out.extend(found(padded, at).or_else(|| found(plain, at)).filter(|_| piece.len() > 3));
        at += piece.len();
    }
    out
}

/// Whether a text may be base64 at all: most words have letters of one case.
fn is_mixed(text: &str) -> bool {
    let any = |of: fn(&u8) -> bool| text.as_bytes().iter().any(of);
    text.ends_with('=') || any(u8::is_ascii_uppercase) && any(u8::is_ascii_lowercase)
}

/// The readable text that the whole of `text` encodes.
pub fn decoded(text: &str) -> Option<(Encoding, String)> {
    if text.contains('%') {
        let bytes = unescaped(text)?;
        let plain = String::from_utf8(bytes).ok().filter(|plain| is_readable(plain))?;
        let escapes = text.split('%').skip(1).filter_map(|rest| u8::from_str_radix(rest.get(..2)?, 16).ok());
        let of = escapes.filter(u8::is_ascii).fold(0, |of, byte| of | 1 << byte);
        let upper = !text.split('%').skip(1).any(|rest| rest.bytes().take(2).any(|b| b.is_ascii_lowercase()));
        return Some((Encoding::Percent { of, upper }, plain));
    }
    if text.len() >= SHORTEST_HEX && text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        let upper = text.bytes().any(|b| b.is_ascii_uppercase());
        let one_case = !(upper && text.bytes().any(|b| b.is_ascii_lowercase()));
        let bytes: Option<Vec<u8>> =
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect();
        let plain =
            bytes.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|plain| one_case && is_readable(plain));
        return plain.map(|plain| (Encoding::Hex { upper }, plain));
    }
    if text.len() < SHORTEST_BASE64 || !is_mixed(text) {
        return None;
    }
    let url = text.contains(['-', '_']);
    let padded = text.ends_with('=');
    let bytes = from_base64(text, url)?;
    if let Ok(plain) = std::str::from_utf8(&bytes)
        && is_readable(plain)
        && plain.len() > 5
    {
        return Some((Encoding::Base64 { url, padded }, plain.to_string()));
    }
    let wide = bytes.len().is_multiple_of(2)
        && bytes.len() >= 8
        && bytes.iter().skip(1).step_by(2).filter(|b| **b == 0).count() * 5 > bytes.len() * 2;
    let units: Vec<u16> = bytes.chunks(2).filter(|_| wide).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let plain = String::from_utf16(&units).ok().filter(|plain| is_readable(plain))?;
    Some((Encoding::Wide, plain))
}

/// Text that programs and people write: no control characters but those of text, and mostly letters, digits and blanks.
fn is_readable(text: &str) -> bool {
    let plain = |c: char| !c.is_control() || c.is_ascii_whitespace() || c == '\0';
    let rare = |c: &char| !c.is_ascii() && !c.is_alphabetic();
    let count = text.chars().count();
    count > 0
        && text.chars().all(plain)
        && text.chars().filter(rare).count() * 10 <= count
        && text.chars().filter(|c| *c == '\0').count() * 3 < count
}

impl Encoding {
    /// Encodes a text as the original was.
    pub fn encode(self, text: &str) -> String {
        match self {
            Encoding::Percent { of, upper } => text.bytes().map(|byte| escaped(byte, of, upper)).collect(),
            Encoding::Base64 { url, padded } => to_base64(text.as_bytes(), url, padded),
            Encoding::Wide => {
                to_base64(&text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>(), false, true)
            }
            Encoding::Hex { upper: true } => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
            Encoding::Hex { upper: false } => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

fn escaped(byte: u8, of: u128, upper: bool) -> String {
    let plain = byte.is_ascii_graphic() && of >> byte & 1 == 0 && byte != b'%';
    match (plain, upper) {
        (true, _) => char::from(byte).to_string(),
        (false, true) => format!("%{byte:02X}"),
        (false, false) => format!("%{byte:02x}"),
    }
}

/// The bytes of a text with URL escapes; `None` if there is none, or a broken one.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let digits = text.get(at + 1..at + 3).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
            out.push(u8::from_str_radix(digits, 16).ok()?);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    Some(out)
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const FOR_URLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The bytes of a text in base64 (RFC 4648); `None` if it is none.
fn from_base64(text: &str, url: bool) -> Option<Vec<u8>> {
    let bare = text.trim_end_matches('=');
    let padding = text.len() - bare.len();
    if text.len() < SHORTEST_BASE64
        || padding > 2
        || padding > 0 && !text.len().is_multiple_of(4)
        || bare.len() % 4 == 1
    {
        return None;
    }
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' if !url => Some(62),
        b'/' if !url => Some(63),
        b'-' if url => Some(62),
        b'_' if url => Some(63),
        _ => None,
    };
    let (mut out, mut bits, mut count) = (Vec::with_capacity(bare.len() * 3 / 4), 0u32, 0);
    for byte in bare.bytes() {
        bits = bits << 6 | u32::from(value(byte)?);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    // Bits beyond the last byte are 0.
    (bits & ((1 << count) - 1) == 0).then_some(out)
}

fn to_base64(bytes: &[u8], url: bool, padded: bool) -> String {
    let alphabet = if url { FOR_URLS } else { STANDARD };
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let three = [chunk[0], chunk.get(1).copied().unwrap_or(0), chunk.get(2).copied().unwrap_or(0)];
        let bits = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        let digits = [18, 12, 6, 0].map(|shift| char::from(alphabet[(bits >> shift & 63) as usize]));
        out.extend(&digits[..=chunk.len()]);
        out.extend(std::iter::repeat_n('=', if padded { 3 - chunk.len() } else { 0 }));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decoded_is_encoded_alike() {
        for (text, plain) in [
            ("a%40b.example", "a@b.example"),
            ("ZXJwLWxpbms6R2ludGFyQHM1", "erp-link:Gintar@s5"),
            ("UzRsdHktRmpvcmQtODg=", "S4lty-Fjord-88"),
            ("6C6C696E6F73206576616E73", "llinos evans"),
            ("bgBlAHQAIAB1AHMAZQByAA==", "net user"),
        ] {
            let (encoding, found) = decoded(text).unwrap();
            assert_eq!(found, plain);
            assert_eq!(encoding.encode(plain), text);
        }
    }

    #[test]
    fn runs_are_found_inside_of_text() {
        let text = "x?u=a%40b.de&t=1 data=UzRsdHktRmpvcmQtODg=, cmd=6C6C696E6F73206576616E73 da39a3ee5e6b4b0d3255bfef95601890afd80709 applicationserver 50%";
        let found: Vec<_> = runs(text).into_iter().map(|run| (text[run.place].to_string(), run.text)).collect();
        let expected = [
            ("a%40b.de", "a@b.de"),
            ("UzRsdHktRmpvcmQtODg=", "S4lty-Fjord-88"),
            ("6C6C696E6F73206576616E73", "llinos evans"),
        ];
        assert_eq!(found, expected.map(|(run, text)| (run.to_string(), text.to_string())));
    }
}
