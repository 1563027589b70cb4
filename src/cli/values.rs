//! Parsers of flag values that several commands take.

/// Largest seed: configuration files must hold it too, and the integers of TOML are signed.
const MOST_SEED: u64 = i64::MAX as u64;

/// Parses a seed.
pub fn seed(text: &str) -> std::result::Result<u64, String> {
    let seed: u64 = text.parse().map_err(|e| format!("{e}"))?;
    if seed > MOST_SEED { Err(format!("expected at most {MOST_SEED}")) } else { Ok(seed) }
}

/// Parses a false-positive rate.
pub fn rate(text: &str) -> std::result::Result<f64, String> {
    let rate: f64 = text.parse().map_err(|e| format!("{e}"))?;
    if rate > 0.0 && rate < 1.0 { Ok(rate) } else { Err("expected a fraction between 0 and 1, such as 0.01".into()) }
}
