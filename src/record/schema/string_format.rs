//! Standard formats of strings: identifiers, addresses, times.

use std::net::{Ipv4Addr, Ipv6Addr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StringFormat {
    /// RFC 9562: 8-4-4-4-12 hexadecimal digits of one case.
    Uuid { upper: bool },
    /// RFC 6943: dotted decimal without leading zeros.
    Ipv4,
    /// RFC 4291: text representation without an embedded IPv4 address.
    Ipv6,
    /// ISO 8601: calendar date and time of day in the extended format.
    Time { layout: TimeLayout },
    /// RFC 5321, its common part: no quotes, a domain of two or more labels.
    Email,
}

/// The layout that the ISO 8601 times of one source share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeLayout {
    /// `T` or a space.
    between: char,
    /// The number of digits after the decimal point of the seconds; 0: no decimal point.
    fraction: u8,
    zone: Zone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zone {
    None,
    /// `Z`
    Utc,
    /// `+02:00`
    Colon,
    /// `+0200`
    Plain,
}

impl StringFormat {
    pub fn of(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() == 36
            && let Some(uuid) = uuid(bytes)
        {
            return Some(uuid);
        }
        if bytes.len() >= 19
            && let Some(layout) = TimeLayout::of(bytes)
        {
            return Some(StringFormat::Time { layout });
        }
        if bytes.first()?.is_ascii_digit() && bytes.len() <= 15 && text.parse::<Ipv4Addr>().is_ok() {
            return Some(StringFormat::Ipv4);
        }
        if text.contains(':') && !text.contains('.') && bytes.len() <= 39 && text.parse::<Ipv6Addr>().is_ok() {
            return Some(StringFormat::Ipv6);
        }
        is_email(text).then_some(StringFormat::Email)
    }

    /// A regular expression without anchors that matches every string of this format.
    pub fn regex(self) -> String {
        match self {
            StringFormat::Uuid { upper } => {
                let hex = if upper { "[0-9A-F]" } else { "[0-9a-f]" };
                format!("{hex}{{8}}-{hex}{{4}}-{hex}{{4}}-{hex}{{4}}-{hex}{{12}}")
            }
            StringFormat::Ipv4 => format!(r"({OCTET}\.){{3}}{OCTET}"),
            StringFormat::Ipv6 => ipv6_regex(),
            StringFormat::Time { layout } => layout.regex(),
            StringFormat::Email => r"[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){1,8}".to_string(),
        }
    }
}

const OCTET: &str = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";

fn uuid(bytes: &[u8]) -> Option<StringFormat> {
    let dashed = |at: usize| [8, 13, 18, 23].contains(&at);
    let fits = |(at, &byte): (usize, &u8)| if dashed(at) { byte == b'-' } else { byte.is_ascii_hexdigit() };
    let whole = bytes.iter().enumerate().all(fits);
    let [upper, lower] = [u8::is_ascii_uppercase, u8::is_ascii_lowercase].map(|case| bytes.iter().any(case));
    (whole && !(upper && lower)).then_some(StringFormat::Uuid { upper })
}

impl TimeLayout {
    fn of(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize, range: std::ops::RangeInclusive<u8>| {
            let pair = [bytes[at], bytes[at + 1]];
            pair.iter().all(u8::is_ascii_digit) && range.contains(&((pair[0] - b'0') * 10 + pair[1] - b'0'))
        };
        let year = bytes[..4].iter().all(u8::is_ascii_digit);
        let date = year && bytes[4] == b'-' && number(5, 1..=12) && bytes[7] == b'-' && number(8, 1..=31);
        let signs = b"T ".contains(&bytes[10]) && bytes[13] == b':' && bytes[16] == b':';
        if !(date && signs && number(11, 0..=23) && number(14, 0..=59) && number(17, 0..=59)) {
            return None;
        }
        let rest = &bytes[19..];
        let digits = match rest.strip_prefix(b".") {
            None => 0,
            Some(rest) => rest.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        };
        let zone = if digits > 0 { &rest[digits + 1..] } else { rest };
        let zone = match zone {
            b"" => Zone::None,
            b"Z" => Zone::Utc,
            [b'+' | b'-', h, i, b':', m, n] if [h, i, m, n].iter().all(|b| b.is_ascii_digit()) => Zone::Colon,
            [b'+' | b'-', zone @ ..] if zone.len() == 4 && zone.iter().all(u8::is_ascii_digit) => Zone::Plain,
            _ => return None,
        };
        (digits <= 9).then_some(TimeLayout { between: bytes[10].into(), fraction: digits as u8, zone })
    }

    fn regex(self) -> String {
        let fraction = if self.fraction == 0 { String::new() } else { format!(r"\.[0-9]{{{}}}", self.fraction) };
        let zone = match self.zone {
            Zone::None => "",
            Zone::Utc => "Z",
            Zone::Colon => "[+-][0-9]{2}:[0-9]{2}",
            Zone::Plain => "[+-][0-9]{4}",
        };
        format!(
            "[0-9]{{4}}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]){}([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]{fraction}{zone}",
            self.between
        )
    }
}

/// A regular expression for eight groups, or fewer groups around one `::`.
fn ipv6_regex() -> String {
    const GROUP: &str = "[0-9a-fA-F]{1,4}";
    let groups = |least: usize, most: usize| format!("{GROUP}(:{GROUP}){{{least},{most}}}");
    let mut formats = vec![groups(7, 7)];
    for before in 0..=7usize {
        let head = if before == 0 { String::new() } else { groups(before - 1, before - 1) };
        let tail = if before == 7 { String::new() } else { format!("({})?", groups(0, 6 - before)) };
        formats.push(format!("{head}::{tail}"));
    }
    format!("({})", formats.join("|"))
}

fn is_email(text: &str) -> bool {
    let within = |part: &str, most: usize, signs: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || signs.contains(c);
        (1..=most).contains(&part.len()) && part.chars().all(fits)
    };
    let Some((local, domain)) = text.split_once('@') else { return false };
    let labels = domain.split('.').count();
    within(local, 64, "._%+'-") && (2..=9).contains(&labels) && domain.split('.').all(|label| within(label, 63, "-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    const KINDS: [&[&str]; 5] = [
        &["0171151e-6e1f-4bc0-81e6-ff46c7756b00", "00000000-0000-0000-0000-000000000000"],
        &["41C8662E-1F63-5F25-0000-0010C3650000"],
        &["0.0.0.0", "255.255.255.255", "42.62.103.34"],
        &["::", "::1", "1::", "fe80::1:2", "2001:db8:0:0:1:0:0:1", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "A:b::C"],
        &[
            "a@b.c",
            "j.o'neil+x@mail.example.org",
            "anna-marie.jones@example.com",
            "eightlet-and-more-to-36@example.com",
        ],
    ];

    #[test]
    fn the_regular_expression_of_a_form_matches_that_form_alone() {
        let all: Vec<&str> = KINDS.concat();
        for (kind, texts) in KINDS.iter().enumerate() {
            let formats: Vec<_> = texts.iter().map(|text| StringFormat::of(text)).collect();
            assert!(formats.iter().all(|format| format.is_some() && *format == formats[0]), "{texts:?}: {formats:?}");
            let regex = Regex::new(&format!("^{}$", formats[0].unwrap().regex())).unwrap();
            // A UUID without letters has both cases.
            let unformatted = all.iter().filter(|text| !texts.contains(text) && !text.starts_with("0000"));
            assert!(texts.iter().all(|text| regex.is_match(text)), "{kind}: {regex}");
            assert!(unformatted.into_iter().all(|text| !regex.is_match(text)), "{kind}: {regex}");
        }
    }

    #[test]
    fn what_is_nearly_a_form_is_none() {
        for text in [
            "",
            "0171151e-6e1f-4bc0-81e6-ff46c7756b0g",
            "0171151E-6e1f-4bc0-81e6-ff46c7756b00",
            "256.1.1.1",
            "01.1.1.1",
            "1.1.1",
            "1:2:3:4:5:6:7",
            "1::2::3",
            ":::",
            "aa:bb:cc:dd:ee:ff",
            "a@b",
            "a@b..c",
            "a b@c.d",
            "@c.d",
        ] {
            assert_eq!(StringFormat::of(text), None, "{text}");
            let named = [
                StringFormat::Uuid { upper: false },
                StringFormat::Uuid { upper: true },
                StringFormat::Ipv4,
                StringFormat::Ipv6,
                StringFormat::Email,
            ];
            for format in named {
                assert!(!Regex::new(&format!("^{}$", format.regex())).unwrap().is_match(text), "{text}: {format:?}");
            }
        }
    }

    #[test]
    fn times_are_told_apart_by_their_layout() {
        let times = [
            "2022-08-27T00:59:39.181811Z",
            "2022-08-27 00:59:39",
            "2022-08-27T00:59:39Z",
            "2022-08-27T00:59:39.181+02:00",
            "2022-08-27T00:59:39.181-0230",
        ];
        for (i, time) in times.iter().enumerate() {
            let regex = Regex::new(&format!("^{}$", StringFormat::of(time).unwrap().regex())).unwrap();
            let matched: Vec<_> = (0..times.len()).filter(|&j| regex.is_match(times[j])).collect();
            assert_eq!(matched, [i], "{regex}");
        }
        let wrong =
            ["2022-13-27T00:59:39Z", "2022-08-27T24:59:39Z", "2022-08-27T00:59:39.Z", "2022-08-27T00:59:39 CET"];
        assert!(wrong.iter().all(|time| StringFormat::of(time).is_none()));
    }
}
