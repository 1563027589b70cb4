//! Pseudonyms of names that consist of generic words and small numbers, as `web-01` and `DC2`: the words stay, the numbers change.

use super::key::SecretKey;

/// The name with each number of one or two digits moved by an amount that depends on the key and on the rest of the name, never by
/// nothing; or moved back. `None` if it has no digit.
pub fn shifted(key: &SecretKey, text: &str, back: bool) -> Option<String> {
    let shape: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_digit()).collect();
    let mac = key.mac(&[b"numbered", shape.as_bytes()]);
    let amount = u32::from_le_bytes([mac[0], mac[1], mac[2], mac[3]]);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let length = rest[start..].bytes().take_while(u8::is_ascii_digit).count();
        let digits = &rest[start..start + length];
        out += &rest[..start];
        match digits.parse::<u32>() {
            Ok(number) if length < 3 => {
                let count = 10u32.pow(length as u32);
                let shift = 1 + amount % (count - 1);
                let shift = if back { count - shift } else { shift };
                out += &format!("{:0length$}", (number + shift) % count);
            }
            _ => out += digits,
        }
        rest = &rest[start + length..];
    }
    (rest.len() < text.len()).then(|| out + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_moves_and_comes_back() {
        let key = SecretKey::new(&[2; 32]);
        let mut images = std::collections::HashSet::new();
        for number in 0..100 {
            let text = format!("web-{number:02}");
            let image = shifted(&key, &text, false).unwrap();
            assert!(
                image.starts_with("web-") && image.len() == 6 && image != text && images.insert(image.clone()),
                "{image}"
            );
            assert_eq!(shifted(&key, &image, true), Some(text));
        }
        assert_eq!(shifted(&key, "web", false), None);
        assert_ne!(shifted(&key, "DC1", false).unwrap(), "DC1");
    }
}
