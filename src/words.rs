//! Numbers of things in messages and pages.

/// `1 record`, `2 records`: a number with its noun, whose plural ends with s.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// `850`, `12.3 k`, `1.3 M`, `9.3 G`: a number in three digits.
pub fn short(number: u64) -> String {
    let scaled = |unit: f64, name: &str| {
        let value = number as f64 / unit;
        if value < 100.0 { format!("{value:.1} {name}") } else { format!("{value:.0} {name}") }
    };
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => scaled(1e3, "k"),
        1_000_000..1_000_000_000 => scaled(1e6, "M"),
        _ => scaled(1e9, "G"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_no_plural() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "record")), ["0 records", "1 record", "2 records"]);
    }
    #[test]
    fn long_numbers_are_short() {
        let shown = [850, 9999, 12_345, 491_520, 1_300_000, 124_439_808, 9_300_000_000].map(short);
        assert_eq!(shown, ["850", "9999", "12.3 k", "492 k", "1.3 M", "124 M", "9.3 G"]);
    }
}
