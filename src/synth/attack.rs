//! The kinds of attack, and what labels and risk detection call them.

use super::rng::SeededRng;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Attack {
    PasswordSpray,
    ImpossibleTravel,
    MfaFatigue,
    TokenReplay,
}

impl Attack {
    pub const ALL: [Attack; 4] =
        [Attack::PasswordSpray, Attack::ImpossibleTravel, Attack::MfaFatigue, Attack::TokenReplay];

    /// The name in labels.
    pub fn name(self) -> &'static str {
        match self {
            Attack::PasswordSpray => "password_spray",
            Attack::ImpossibleTravel => "impossible_travel",
            Attack::MfaFatigue => "mfa_fatigue",
            Attack::TokenReplay => "token_replay",
        }
    }

    /// The name that risk detection gives the attack, if it detects it.
    pub fn risk_event(self) -> &'static str {
        match self {
            Attack::PasswordSpray => "passwordSpray",
            Attack::ImpossibleTravel => "unlikelyTravel",
            Attack::MfaFatigue => "unfamiliarFeatures",
            Attack::TokenReplay => "anomalousToken",
        }
    }
}

/// The name that risk detection gives a normal sign-in that it mistakes for an attack.
pub fn false_alarm(rng: &mut SeededRng) -> &'static str {
    Attack::ALL[rng.weighted(&[1, 3, 5, 2])].risk_event()
}
