//! Risk and severity, which other schemas want as numbers of their own, from p-values.

/// The share of normal records with such a score as a risk from 0 to 100: ten points for each factor of ten by which they are
/// rarer. One in a thousand is 30, one in ten million 70.
pub fn risk(p_value: f64) -> f64 {
    let points = -10.0 * p_value.max(f64::MIN_POSITIVE).log10();
    (points.clamp(0.0, 100.0) * 10.0).round() / 10.0
}

/// The risk of what people know to be bad, and to be good.
pub const KNOWN_BAD: f64 = 100.0;
pub const KNOWN_GOOD: f64 = 0.0;

/// How urgent an answer is, with the numbers and names of OCSF. Never beyond High: that a record is unusual does not say what it
/// has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// An anomaly by a threshold alone, whose rarity is not known.
    Unknown = 0,
    /// No anomaly.
    Informational = 1,
    Low = 2,
    Medium = 3,
    High = 4,
}

/// The least risk of an anomaly of medium and of high severity.
const MEDIUM: f64 = 40.0;
const HIGH: f64 = 70.0;

impl Severity {
    pub fn of(is_anomaly: bool, risk: Option<f64>) -> Self {
        match risk {
            _ if !is_anomaly => Severity::Informational,
            None => Severity::Unknown,
            Some(risk) if risk >= HIGH => Severity::High,
            Some(risk) if risk >= MEDIUM => Severity::Medium,
            Some(_) => Severity::Low,
        }
    }

    pub fn id(self) -> u8 {
        self as u8
    }

    pub fn name(self) -> &'static str {
        match self {
            Severity::Unknown => "Unknown",
            Severity::Informational => "Informational",
            Severity::Low => "Low",
            Severity::Medium => "Medium",
            Severity::High => "High",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_points_for_each_factor_of_ten() {
        assert_eq!([1.0, 0.1, 1e-3, 2e-4, 1e-7, 1e-30, 0.0].map(risk), [0.0, 10.0, 30.0, 37.0, 70.0, 100.0, 100.0]);
    }

    #[test]
    fn only_anomalies_are_urgent() {
        let of = |is_anomaly, risk| Severity::of(is_anomaly, risk).name();
        assert_eq!(of(false, Some(99.0)), "Informational");
        let urgent = [None, Some(30.0), Some(40.0), Some(70.0), Some(100.0)].map(|risk| of(true, risk));
        assert_eq!(urgent, ["Unknown", "Low", "Medium", "High", "High"]);
        assert_eq!(Severity::of(true, Some(100.0)).id(), 4);
    }
}
