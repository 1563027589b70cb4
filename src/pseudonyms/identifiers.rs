//! Identifiers with a fixed format: UUIDs, MAC addresses, SIDs, key ids, account numbers. The identifiers of each kind are
//! permuted, so that no two share a pseudonym and no table is needed.

use super::key::SecretKey;
use super::permute::Permuter;

/// The pseudonym of a UUID (RFC 9562), also in braces. Version and variant stay, and so do the nil and the max UUID.
pub fn uuid(permuter: &Permuter, text: &str) -> Option<String> {
    let bare = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    let groups: Vec<usize> = bare.split('-').map(str::len).collect();
    if groups != [8, 4, 4, 4, 12] || !bare.chars().all(|c| c == '-' || c.is_ascii_hexdigit()) {
        return None;
    }
    if ["0", "f", "F"].iter().any(|same| bare.replace('-', "").trim_matches(|c| same.contains(c)).is_empty()) {
        return Some(text.to_string());
    }
    Some(permuter.hexadecimal("uuid", text, &[12, 16]))
}

/// The pseudonym of a MAC address with colons, dashes, or dots between groups of four digits. Manufacturer and device are
/// permuted separately, so that devices of one manufacturer still share it. The group and local bits and the broadcast
/// address stay.
pub fn mac(permuter: &Permuter, text: &str) -> Option<String> {
    let shape: String = text.chars().map(|c| if c.is_ascii_hexdigit() { 'h' } else { c }).collect();
    // Linux writes both addresses of a packet and its type in one.
    if shape.len() > 17 && text.is_ascii() && shape.split([':', '-']).all(|pair| pair == "hh") {
        let rest = &text[18..];
        return Some(mac(permuter, &text[..17])? + &text[17..18] + &mac(permuter, rest).unwrap_or(rest.to_string()));
    }
    if !["hh:hh:hh:hh:hh:hh", "hh-hh-hh-hh-hh-hh", "hhhh.hhhh.hhhh", "hhhhhhhhhhhh"].contains(&shape.as_str()) {
        return None;
    }
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let multicast = ["3333", "01005e", "0180c2"].iter().any(|group| digits.to_lowercase().starts_with(group));
    if multicast || ["000000000000", "ffffffffffff"].contains(&digits.to_lowercase().as_str()) {
        return Some(text.to_string());
    }
    // The second digit contains the group and local bits, so it is kept.
    let make = permuter.hexadecimal("mac make", &digits[..6], &[1]);
    let device = permuter.hexadecimal("mac device", &digits[6..], &[]);
    let capitals = text.contains(|c: char| c.is_ascii_uppercase());
    let image = make + &device;
    let image = if capitals { image.to_uppercase() } else { image.to_lowercase() };
    let mut images = image.chars();
    Some(text.chars().map(|c| if c.is_ascii_hexdigit() { images.next().unwrap_or(c) } else { c }).collect())
}

/// The pseudonym of a Windows security identifier. The domain part of S-1-5-21-… and the object of S-1-12-1-… (Entra) are
/// permuted; relative identifiers from 1000 on are permuted within their number of digits. Well-known identifiers stay:
/// those below 1000 and those of all other authorities, which are the same on every machine. Source: \[MS-DTYP\] 2.4.2.
pub fn sid(permuter: &Permuter, text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('-').collect();
    let [s, one, authority, numbers @ ..] = parts.as_slice() else { return None };
    let is_number = |part: &&str| part.parse::<u32>().is_ok() && part.bytes().all(|b| b.is_ascii_digit());
    if !s.eq_ignore_ascii_case("s") || *one != "1" || numbers.is_empty() || !numbers.iter().all(is_number) {
        return None;
    }
    let (count, tweak) = match (*authority, numbers) {
        ("5", ["21", _, _, _, ..]) => (3, "sid domain"),
        ("12", ["1", _, _, _, _]) => (4, "sid object"),
        _ => return Some(text.to_string()),
    };
    let wide: String = numbers[1..=count].iter().map(|n| format!("{:08x}", n.parse::<u32>().unwrap_or(0))).collect();
    let image = permuter.hexadecimal(tweak, &wide, &[]);
    let mut out = format!("{s}-1-{authority}-{}", numbers[0]);
    for at in 0..count {
        let number = u32::from_str_radix(&image[8 * at..8 * at + 8], 16).unwrap_or(0);
        out += &format!("-{number}");
    }
    for number in &numbers[count + 1..] {
        out += &format!("-{}", relative(permuter, number));
    }
    Some(out)
}

/// The pseudonym of a relative identifier, permuted repeatedly until the image fits in 32 bits.
fn relative(permuter: &Permuter, number: &str) -> String {
    let fits = |text: &str| text.parse::<u32>().is_ok();
    if number.parse::<u32>().is_ok_and(|n| n < 1000) || number.starts_with('0') {
        return number.to_string();
    }
    let mut image = permuter.number("rid", number);
    while !fits(&image) {
        image = permuter.number("rid", &image);
    }
    image
}

/// The pseudonym of an AWS account number of twelve digits, the same whether it is a text or a number; `None` for anything else.
pub fn account(permuter: &Permuter, text: &str) -> Option<String> {
    let whole = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    whole.then(|| permuter.number("account", text))
}

/// The pseudonym of an AWS key or principal id. Its first four letters stay, since they only tell its kind.
pub fn key_id(permuter: &Permuter, text: &str) -> Option<String> {
    let plain = text.len() >= 16 && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let kinds = ["AKIA", "ASIA", "AROA", "AIDA", "AGPA", "AIPA", "ANPA", "ANVA", "ABIA", "ACCA", "ASCA"];
    let kind = kinds.iter().find(|kind| text.starts_with(**kind)).filter(|_| plain)?;
    Some(format!("{kind}{}", permuter.alphanumeric(kind, &text[4..])))
}

/// A coordinate moved by up to two degrees, with as many decimals as before. `pair` contains both coordinates of the place,
/// so that equal places move equally; each `attempt` gives another result. `None` if the text is not a coordinate.
pub fn coordinate(key: &SecretKey, text: &str, pair: &str, axis: u8, attempt: u32) -> Option<String> {
    let value: f64 = text.parse().ok().filter(|v: &f64| v.is_finite() && v.abs() <= 180.0)?;
    if !text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-') {
        return None;
    }
    let decimals = text.split_once('.').map_or(0, |(_, digits)| digits.len());
    let random = key.mac(&[b"coordinate", pair.as_bytes(), &[axis], &attempt.to_le_bytes()]);
    let unit = f64::from(u32::from_le_bytes([random[0], random[1], random[2], random[3]])) / f64::from(u32::MAX);
    let moved = value + 4.0 * unit - 2.0;
    // A coordinate beyond a pole or the date line is reflected, so that it stays valid.
    let limit = if value.abs() > 90.0 { 180.0 } else { 90.0 };
    let moved = if moved.abs() > limit { moved.signum() * 2.0 * limit - moved } else { moved };
    Some(format!("{moved:.decimals$}"))
}

#[cfg(test)]
mod tests {
    use super::super::permute::Direction;
    use super::*;
    use std::collections::HashSet;

    fn key() -> Permuter {
        Permuter::new(SecretKey::new(&[4; 32]), Direction::Replace)
    }

    #[test]
    fn uuids_keep_version_variant_case_and_dashes() {
        let text = "b9c2fa41-96fd-46c9-b9d8-8844e7751c73";
        let image = uuid(&key(), text).unwrap();
        assert!(image != text && image.len() == 36 && &image[14..15] == "4" && &image[19..20] == "b", "{image}");
        assert_eq!(
            uuid(&key(), &format!("{{{}}}", text.to_uppercase())).unwrap(),
            format!("{{{}}}", image.to_uppercase())
        );
        for text in ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"] {
            assert_eq!(uuid(&key(), text).as_deref(), Some(text));
        }
        assert_eq!(uuid(&key(), "b9c2fa41-96fd-46c9-b9d8"), None);
    }

    #[test]
    fn macs_in_three_forms_are_one() {
        let plain = |text: &str| mac(&key(), text).unwrap().replace([':', '-', '.'], "").to_lowercase();
        let image = mac(&key(), "00:1A:2b:3c:4d:5e").unwrap();
        assert_eq!(image.matches(':').count(), 5);
        assert_eq!(plain("00-1a-2b-3c-4d-5e"), plain("00:1A:2B:3C:4D:5E"));
        assert_eq!(plain("001a.2b3c.4d5e"), plain("00:1a:2b:3c:4d:5e"));
        assert_eq!(plain("00:1a:2b:00:00:01")[..6], plain("00:1a:2b:3c:4d:5e")[..6], "one make stays one make");
        assert_eq!(mac(&key(), "ff:ff:ff:ff:ff:ff").as_deref(), Some("ff:ff:ff:ff:ff:ff"));
        assert_eq!(mac(&key(), "00:1a:2b:3c:4d"), None);
    }

    #[test]
    fn sids_keep_what_is_well_known() {
        for text in
            ["S-1-5-18", "S-1-5-32-544", "S-1-1-0", "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"]
        {
            assert_eq!(sid(&key(), text).as_deref(), Some(text));
        }
        let admin = sid(&key(), "S-1-5-21-2231640892-1842410504-3836505531-500").unwrap();
        let user = sid(&key(), "S-1-5-21-2231640892-1842410504-3836505531-1008").unwrap();
        assert!(admin.ends_with("-500") && !admin.contains("2231640892"), "{admin}");
        assert_eq!(admin.rsplit_once('-').unwrap().0, user.rsplit_once('-').unwrap().0, "one domain stays one");
        assert!(user.rsplit_once('-').unwrap().1.len() == 4 && !user.ends_with("-1008"), "{user}");
        assert_eq!(sid(&key(), "S-1"), None);
        assert_eq!(sid(&key(), "S-1-5-99999999999"), None);
        let rids: HashSet<String> =
            (4_294_900_000..4_294_901_000u32).map(|n| relative(&key(), &n.to_string())).collect();
        assert_eq!(rids.len(), 1000);
    }

    #[test]
    fn cloud_identifiers_keep_their_kind() {
        let image = key_id(&key(), "AKIATFQR7NSCUXC3DDDP").unwrap();
        assert!(image.starts_with("AKIA") && image.len() == 20 && image != "AKIATFQR7NSCUXC3DDDP");
        assert_eq!(key_id(&key(), "XKIATFQR7NSCUXC3DDDP"), None);
        assert_eq!(account(&key(), "123837392027").unwrap().len(), 12);
        assert_eq!(account(&key(), "12383739202"), None);
    }

    #[test]
    fn places_move_a_little_and_keep_their_decimals() {
        let moved = coordinate(&SecretKey::new(&[4; 32]), "-115.304215", "17.5|-115.304215", 1, 0).unwrap();
        assert_eq!(moved.split_once('.').unwrap().1.len(), 6);
        assert!((moved.parse::<f64>().unwrap() + 115.304215).abs() <= 2.0 && moved != "-115.304215");
        for text in ["89.99999", "-89.9", "179.999", "-180.0"] {
            let moved: f64 = coordinate(&SecretKey::new(&[4; 32]), text, text, 0, 0).unwrap().parse().unwrap();
            assert!(
                moved.abs() <= if text.len() > 5 && text.contains("17") || text == "-180.0" { 180.0 } else { 90.0 },
                "{moved}"
            );
        }
        assert_eq!(coordinate(&SecretKey::new(&[4; 32]), "north", "", 0, 0), None);
    }
}
