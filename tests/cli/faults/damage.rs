//! Damages of a file, drawn by a seed.

use super::targets::Target;
use serde_json::{Value, json};

/// What a file holds, which says how it can be damaged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Log records: any bytes may be some log.
    Log,
    /// Logs in a compressed container.
    Packed,
    Json,
    Toml,
    /// Text in a small format of its own.
    Text,
    /// Binary with a checksum, which notices every change.
    Sealed,
    /// A token shard or an index whose checksum was made anew after the change.
    Resealed,
    /// A safetensors file without a checksum.
    Tensors,
}

/// A damaged file.
pub struct Damage {
    pub bytes: Vec<u8>,
    /// What was done, for messages.
    pub what: String,
    /// Whether the program must notice: some changes leave a file that is as good as before.
    pub is_noticeable: bool,
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, which is positive.
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

impl Damage {
    /// The damage of this seed; `None` where it would change nothing.
    pub fn drawn(target: &Target, seed: u64, original: &[u8]) -> Option<Self> {
        let mut draws = Draws(seed ^ (u64::from(crc32fast::hash(target.command.as_bytes())) << 20));
        let (bytes, what) = match (target.kind, seed % 7) {
            (_, 0) => truncated(original, &mut draws),
            (_, 1) => (Vec::new(), "emptied".into()),
            (_, 2) => flipped(original, &mut draws),
            (Kind::Json, _) => json_changed(original, &mut draws)?,
            (Kind::Toml | Kind::Text, _) => line_changed(original, &mut draws),
            (Kind::Resealed | Kind::Tensors, _) => word_changed(original, &mut draws),
            (_, 3 | 4) => spliced(original, &mut draws),
            (_, _) => nested(original, &mut draws),
        };
        let bytes = if target.kind == Kind::Resealed { resealed(bytes) } else { bytes };
        let is_noticeable = match (target.kind, seed % 7) {
            (Kind::Sealed, _) => true,
            // Cut or emptied, the file is shorter than it says.
            (Kind::Packed | Kind::Resealed | Kind::Tensors, 0 | 1) | (Kind::Json, 1) => true,
            _ => false,
        };
        (bytes != original).then_some(Damage { bytes, what, is_noticeable })
    }
}

fn truncated(original: &[u8], draws: &mut Draws) -> (Vec<u8>, String) {
    let at = draws.below(original.len().max(1));
    (original[..at].to_vec(), format!("cut at byte {at} of {}", original.len()))
}

fn flipped(original: &[u8], draws: &mut Draws) -> (Vec<u8>, String) {
    let mut bytes = original.to_vec();
    let at = draws.below(bytes.len().max(1));
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << draws.below(8);
    }
    (bytes, format!("a bit of byte {at} flipped"))
}

/// A piece of the file stands where another piece was, or noise does.
fn spliced(original: &[u8], draws: &mut Draws) -> (Vec<u8>, String) {
    let (from, to) = (draws.below(original.len().max(1)), draws.below(original.len().max(1)));
    let len = 1 + draws.below(400);
    let piece = match draws.below(2) {
        0 => original[from..].iter().take(len).copied().collect(),
        _ => (0..len).map(|_| draws.next() as u8).collect::<Vec<u8>>(),
    };
    let bytes = [&original[..to], &piece, &original[to..]].concat();
    (bytes, format!("{len} bytes inserted at byte {to}"))
}

/// Many brackets, one very long line, or a number of many digits stands at the beginning of a line.
fn nested(original: &[u8], draws: &mut Draws) -> (Vec<u8>, String) {
    let (what, text) = match draws.below(4) {
        0 => ("100,000 brackets", "[".repeat(100_000)),
        1 => ("50,000 nested wrappers", "{\"Records\":[".repeat(50_000)),
        2 => ("a long line", "x".repeat(3_000_000)),
        _ => ("a long number", format!("{{\"a\":{}}}\n", "9".repeat(100_000))),
    };
    let starts: Vec<usize> = std::iter::once(0)
        .chain(original.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1))
        .collect();
    let at = draws.of(&starts);
    ([&original[..at], text.as_bytes(), &original[at..]].concat(), format!("{what} at byte {at}"))
}

/// One value of the document is another: of another type, or a number at some limit; or a member is missing.
fn json_changed(original: &[u8], draws: &mut Draws) -> Option<(Vec<u8>, String)> {
    let mut document: Value = serde_json::from_slice(original).expect("the file is JSON");
    let mut places = Vec::new();
    list_places(&document, &mut String::new(), &mut places);
    let place = draws.of(&places);
    let (what, value) = odd_value(draws);
    if draws.below(6) == 0 && !place.is_empty() {
        let (parent, name) = place.rsplit_once('/').expect("places begin with /");
        let name = name.replace("~1", "/").replace("~0", "~");
        match document.pointer_mut(parent)? {
            Value::Object(members) => drop(members.remove(&name)),
            Value::Array(elements) => drop(elements.remove(name.parse().ok()?)),
            _ => return None,
        }
        return Some((document.to_string().into_bytes(), format!("{place} removed")));
    }
    *document.pointer_mut(&place)? = Value::from("@@");
    // The value is put in as text: not all of them fit a `Value`.
    Some((document.to_string().replacen("\"@@\"", &value, 1).into_bytes(), format!("{place} became {what}")))
}

/// The JSON pointers (RFC 6901) of all values, of large arrays and objects the first ones.
fn list_places(value: &Value, at: &mut String, places: &mut Vec<String>) {
    places.push(at.clone());
    let mut inside = |name: String, value: &Value| {
        let length = at.len();
        at.push('/');
        at.push_str(&name.replace('~', "~0").replace('/', "~1"));
        list_places(value, at, places);
        at.truncate(length);
    };
    match value {
        Value::Array(elements) => elements.iter().take(4).enumerate().for_each(|(i, v)| inside(i.to_string(), v)),
        Value::Object(members) => members.iter().take(30).for_each(|(name, v)| inside(name.clone(), v)),
        _ => {}
    }
}

fn odd_value(draws: &mut Draws) -> (String, String) {
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let short = [
        "null",
        "true",
        "\"\"",
        "\"x\"",
        "[]",
        "{}",
        "0",
        "-1",
        "1",
        "0.5",
        "1e300",
        "-1e300",
        "1e999",
        "4294967295",
        "4294967296",
        "9007199254740993",
        "9223372036854775807",
        "18446744073709551615",
        "18446744073709551616",
        "[[[[0]]]]",
    ];
    match draws.below(short.len() + 2) {
        0 => ("5,000 brackets".into(), deep),
        1 => ("a long string".into(), json!("y".repeat(1_000_000)).to_string()),
        i => (short[i - 2].into(), short[i - 2].into()),
    }
}

/// The value behind `=` of one line is another, or the line stands twice, or a line is added.
fn line_changed(original: &[u8], draws: &mut Draws) -> (Vec<u8>, String) {
    let text = String::from_utf8_lossy(original).into_owned();
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    let at = draws.below(lines.len().max(1));
    let (what, value) = odd_value(draws);
    let line = lines.get(at).cloned().unwrap_or_default();
    match (draws.below(4), line.split_once('=')) {
        (0, _) => lines.insert(at, line),
        (1, _) => lines.insert(at, "unknown_name = 1".into()),
        (_, Some((name, _))) => lines[at] = format!("{name}= {value}"),
        (_, None) => lines.insert(at, value),
    }
    ((lines.join("\n") + "\n").into_bytes(), format!("line {} changed ({what})", at + 1))
}

/// A word of eight bytes is another, of the header half of the time.
fn word_changed(original: &[u8], draws: &mut Draws) -> (Vec<u8>, String) {
    let mut bytes = original.to_vec();
    let words = bytes.len() / 8;
    let at = 8 * if draws.below(2) == 0 { draws.below(words.min(40)) } else { draws.below(words) };
    let value = draws.of(&[0, 1, u64::MAX, 1 << 31, 1 << 32, 1 << 40, i64::MAX as u64, 0x7ff8_0000_7fc0_0000]);
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    (bytes, format!("the word at byte {at} became {value:#x}"))
}

/// The file with the checksum that its payload has now: see `dataset/format.rs`.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= 64 {
        let checksum = crc32fast::hash(&bytes[64..]);
        bytes[24..28].copy_from_slice(&checksum.to_le_bytes());
    }
    bytes
}
