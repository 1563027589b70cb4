//! Numbers that carry a check sum: payment cards and IMEI (Luhn), IBAN (mod 97), and national identity numbers. The sum tells
//! them from other numbers, and their pseudonyms have a right one.

use super::permute::Permuter;

/// Whether the digits, of which the last one is a check digit, have the sum of Luhn (ISO/IEC 7812-1).
fn has_luhn(digits: &[u32]) -> bool {
    luhn(digits) == 0
}

fn luhn(digits: &[u32]) -> u32 {
    let double = |(at, digit): (usize, &u32)| match at % 2 {
        0 => *digit,
        _ if *digit > 4 => 2 * digit - 9,
        _ => 2 * digit,
    };
    digits.iter().rev().enumerate().map(double).sum::<u32>() % 10
}

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter_map(|c| c.to_digit(10)).collect()
}

/// The text with its digits replaced one by one.
fn with_digits(text: &str, images: &[u32]) -> String {
    let mut images = images.iter();
    let image = |c: char| match c.is_ascii_digit() {
        true => images.next().and_then(|digit| char::from_digit(*digit, 10)).unwrap_or(c),
        false => c,
    };
    text.chars().map(image).collect()
}

/// The pseudonym of a payment card's number (13 to 19 digits, with or without blanks or dashes between groups) or an IMEI. The
/// first digit, which names the kind of issuer, stays.
pub fn card(permuter: &Permuter, text: &str) -> Option<String> {
    let original = digits(text);
    let first = *original.first()?;
    let plausible = match original.len() {
        13 | 16 | 19 => (2..=6).contains(&first),
        14 | 15 => (3..=8).contains(&first),
        _ => false,
    };
    let same = original.iter().all(|digit| *digit == first);
    if !plausible || same || !has_luhn(&original) {
        return None;
    }
    let inner: String = original[1..original.len() - 1].iter().filter_map(|d| char::from_digit(*d, 10)).collect();
    let mut images = vec![first];
    images.extend(digits(&permuter.alphanumeric("card", &inner)));
    images.push(0);
    let rest = luhn(&images);
    let last = images.len() - 1;
    images[last] = (10 - rest) % 10;
    Some(with_digits(text, &images))
}

/// The remainder of an IBAN's number (ISO 13616): letters count from 10.
fn mod_97(text: &str) -> u32 {
    text.chars()
        .filter_map(|c| c.to_digit(36))
        .fold(0, |sum, value| if value > 9 { sum * 100 + value } else { sum * 10 + value } % 97)
}

/// The pseudonym of an IBAN with a right sum, with or without blanks between groups. Its country stays.
pub fn iban(permuter: &Permuter, text: &str) -> Option<String> {
    let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    if !bare.is_ascii() || !(15..=34).contains(&bare.len()) {
        return None;
    }
    let (country, account) = (&bare[..2], &bare[4..]);
    let turned = |sum: &str, account: &str| mod_97(&format!("{account}{country}{sum}"));
    if turned(&bare[2..4], account) != 1 {
        return None;
    }
    let image = permuter.alphanumeric("iban", account);
    let sum = 98 - turned("00", &image);
    let whole = format!("{country}{sum:02}{image}");
    let mut images = whole.chars();
    Some(text.chars().map(|c| if c.is_whitespace() { c } else { images.next().unwrap_or(c) }).collect())
}

#[cfg(test)]
mod tests {
    use super::super::key::SecretKey;
    use super::super::permute::Direction;
    use super::*;

    #[test]
    fn numbers_with_a_right_sum_become_others_with_a_right_sum() {
        let permuter = Permuter::new(SecretKey::new(&[8; 32]), Direction::Replace);
        for text in ["4539 1488 0343 6467", "5105105105105100", "5425-2334-3010-9903", "356938035643809"] {
            let image = card(&permuter, text).unwrap();
            assert!(image != text && image.len() == text.len() && has_luhn(&digits(&image)), "{image}");
            assert_eq!(card(&permuter, &image).map(|image| image.len()), Some(text.len()));
        }
        for text in ["4539 1488 0343 6468", "1710237702114", "0000000000000000", "12", ""] {
            assert_eq!(card(&permuter, text), None, "{text}");
        }
        for text in ["GB29NWBK60161331926819", "FI21 1234 5600 0007 85", "IE64IRCE92050112345678"] {
            let image = iban(&permuter, text).unwrap();
            assert!(image != text && image.len() == text.len() && image[..2] == text[..2], "{image}");
            assert!(iban(&permuter, &image).is_some(), "{image}");
        }
        assert_eq!(iban(&permuter, "GB28NWBK60161331926819"), None);
    }
}
