//! Writes a sign-in as JSON, with the keys and the spacing of Azure AD's sign-in log (`"key": value`, joined by `", "`).
//!
//! A real record has some 70 keys and 2,800 characters. These records keep the keys that vary or that must agree with
//! another one: time + processingTimeInMilliseconds = createdDateTime, resultType = errorCode, identity = userDisplayName,
//! callerIpAddress = ipAddress, and the address determines location and autonomousSystemNumber.

use super::attack::Attack;
use super::people::{DAY, SECOND, SignInContext, User};
use super::rng::SeededRng;
use super::world::{APPS, Address, World};
use chrono::DateTime;
use std::fmt::Write;

/// The outcome of a sign-in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignInOutcome {
    Success,
    MfaCompleted,
    MfaClaim,
    WrongPassword,
    PasswordExpired,
    MfaDeclined,
    MfaNoAnswer,
    ChallengeFailed,
}

impl SignInOutcome {
    /// Error code, failure reason and further details in the words of Azure AD.
    pub fn status(self) -> (u32, Option<&'static str>, Option<&'static str>) {
        const MFA_FAILED: &str = "Authentication failed during strong authentication request.";
        match self {
            SignInOutcome::Success => (0, None, None),
            SignInOutcome::MfaCompleted => (0, None, Some("MFA completed in Azure AD")),
            SignInOutcome::MfaClaim => (0, None, Some("MFA requirement satisfied by claim in the token")),
            SignInOutcome::WrongPassword => {
                (50126, Some("Error validating credentials due to invalid username or password."), None)
            }
            SignInOutcome::PasswordExpired => (50055, Some("The password is expired."), None),
            SignInOutcome::MfaDeclined => {
                (500121, Some(MFA_FAILED), Some("MFA denied; user declined the authentication"))
            }
            SignInOutcome::MfaNoAnswer => {
                (500121, Some(MFA_FAILED), Some("MFA denied; user did not respond to the prompt"))
            }
            SignInOutcome::ChallengeFailed => (50158, Some("External security challenge was not satisfied."), None),
        }
    }

    pub fn failed(self) -> bool {
        self.status().0 != 0
    }
}

/// Everything that determines a record, except its time and the random values that are drawn while it is written.
#[derive(Clone)]
pub struct Draft {
    pub user: usize,
    pub context: SignInContext,
    pub outcome: SignInOutcome,
    /// The risk event that the directory reports; `None` is written as riskState "none".
    pub risk: Option<&'static str>,
    /// The attack to which the record belongs, and the number of the episode.
    pub attack: Option<(Attack, u64)>,
}

/// Writes records. It caches the calendar date of the last record, because dates change rarely and are slow to compute.
pub struct RecordWriter {
    label_field: Option<String>,
    day: i64,
    date: String,
}

impl RecordWriter {
    pub fn new(label_field: Option<String>) -> Self {
        RecordWriter { label_field, day: i64::MIN, date: String::new() }
    }

    /// `2022-08-27T00:59:39.181811Z` for a time in microseconds since 1970.
    fn iso(&mut self, at: i64) -> String {
        let day = at.div_euclid(DAY);
        if day != self.day {
            let midnight = DateTime::from_timestamp(day * (DAY / SECOND), 0).expect("years stay below 10,000");
            self.date = midnight.format("%Y-%m-%d").to_string();
            self.day = day;
        }
        let micros = at.rem_euclid(DAY);
        let (seconds, fraction) = (micros / SECOND, micros % SECOND);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        format!("{}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z", self.date)
    }

    /// The record of `draft` at time `at`, without a newline. `user` is the draft's user.
    pub fn write(&mut self, at: i64, draft: &Draft, user: &User, world: &World, rng: &mut SeededRng) -> String {
        let processing = rng.between(40, 90) + rng.wait(60).min(900);
        let (time, created) = (self.iso(at), self.iso(at + processing as i64 * 1000));
        let (code, ip) = (draft.outcome.status().0, ip_text(world, draft.context.address));
        let (location, network) =
            (world.location_of(draft.context.address), &world.networks[draft.context.address.network]);
        let mut out = String::with_capacity(1024);
        out.push('{');
        if let Some(field) = &self.label_field {
            let label = draft.attack.map_or("null".to_string(), |(attack, _)| format!("\"{}\"", attack.name()));
            let _ = write!(out, "\"{field}\": {label}, ");
        }
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "\"time\": \"{time}\", \"resultType\": \"{code}\", \"callerIpAddress\": \"{ip}\", \"identity\": \"{}\", \
             \"location\": \"{}\", \"properties\": {{\"id\": \"{}\", \"createdDateTime\": \"{created}\", \"userDisplayName\": \"{}\", \
             \"userPrincipalName\": \"{}\", \"appDisplayName\": \"{}\", \"ipAddress\": \"{ip}\", \"status\": {{",
            user.name,
            location.country,
            rng.uuid(),
            user.name,
            user.principal,
            APPS[draft.context.app].name,
        );
        write_status(&mut out, draft.outcome);
        write_device(&mut out, &draft.context);
        let _ = write!(
            out,
            "\"location\": {{\"city\": \"{}\"}}, \"autonomousSystemNumber\": {}, \
             \"processingTimeInMilliseconds\": {processing}, \"riskState\": ",
            location.city, network.asn,
        );
        match draft.risk {
            None => out.push_str("\"none\"}}"),
            Some(event) => {
                let _ = write!(out, "\"atRisk\", \"riskEventTypes\": [\"{event}\"]}}}}");
            }
        }
        out
    }
}

fn write_status(out: &mut String, outcome: SignInOutcome) {
    let (code, reason, details) = outcome.status();
    let _ = write!(out, "\"errorCode\": {code}");
    for (key, value) in [("failureReason", reason), ("additionalDetails", details)] {
        if let Some(value) = value {
            let _ = write!(out, ", \"{key}\": \"{value}\"");
        }
    }
    out.push_str("}, ");
}

/// An unregistered device has an empty id and no name, as in the real log.
fn write_device(out: &mut String, context: &SignInContext) {
    let device = &context.device;
    out.push_str("\"deviceDetail\": {\"deviceId\": \"");
    match &device.registered {
        Some((id, name)) => {
            let _ = write!(out, "{id}\", \"displayName\": \"{name}\"");
        }
        None => out.push('"'),
    }
    let _ = write!(out, ", \"operatingSystem\": \"{}\", \"browser\": \"{}\"}}, ", device.os, device.browser);
}

fn ip_text(world: &World, address: Address) -> String {
    let [a, b] = world.networks[address.network].prefix;
    let [c, d] = address.host;
    format!("{a}.{b}.{c}.{d}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_azure_writes_them() {
        let mut writer = RecordWriter::new(None);
        assert_eq!(writer.iso(1_661_561_979_181_811), "2022-08-27T00:59:39.181811Z");
        assert_eq!(writer.iso(1_661_561_979_181_811 + DAY), "2022-08-28T00:59:39.181811Z");
        assert_eq!(writer.iso(-1), "1969-12-31T23:59:59.999999Z");
    }

    #[test]
    fn failures_have_a_reason_and_successes_none() {
        use SignInOutcome::*;
        for outcome in
            [Success, MfaCompleted, MfaClaim, WrongPassword, PasswordExpired, MfaDeclined, MfaNoAnswer, ChallengeFailed]
        {
            assert_eq!(outcome.failed(), outcome.status().1.is_some(), "{outcome:?}");
        }
    }
}
