//! The stream of sign-ins: a queue of scheduled events, and the attacks that are mixed in.

use super::attack::{self, Attack};
use super::episode::{PlannedEpisode, Scene};
use super::people::{self, MAX_USERS, SECOND, SignInContext, User};
use super::record::{Draft, RecordWriter, SignInOutcome};
use super::rng::SeededRng;
use super::world::{APPS, World};
use crate::{Error, Result};
use std::collections::BTreeMap;

/// The fewest users; with fewer, a password spray could not reach *many* users.
pub const MIN_USERS: usize = 10;
/// 2022-08-27T00:00:00Z in microseconds since 1970, the first day of the real sample that these records imitate.
pub const DEFAULT_START: i64 = 1_661_558_400 * SECOND;
/// 9000-01-01T00:00:00Z. The stream ends here, long before years have a fifth digit.
const LAST_TIME: i64 = 221_845_392_000 * SECOND;
/// The top-level keys of a record, which a label field must not repeat.
const KEYS: [&str; 6] = ["time", "resultType", "callerIpAddress", "identity", "location", "properties"];
/// Attack credit is counted in millionths of a record.
const CREDIT: u64 = 1_000_000;

#[derive(Clone, Debug)]
pub struct SynthSettings {
    pub seed: u64,
    /// The share of the records that belong to an attack, 0 to 0.5.
    pub attacks: f64,
    /// The number of users, `MIN_USERS` to `MAX_USERS`.
    pub users: usize,
    /// The start time in microseconds since 1970-01-01T00:00:00Z.
    pub start: i64,
    /// Records a second; None: as many as the people make.
    pub rate: Option<f64>,
    /// The name of an extra key whose value is the attack's name or null. It comes first, so that a prompt can set it.
    pub label_field: Option<String>,
}

impl Default for SynthSettings {
    fn default() -> Self {
        SynthSettings { seed: 1, attacks: 0.02, users: 40, start: DEFAULT_START, rate: None, label_field: None }
    }
}

/// One record and its label.
#[derive(Clone, Debug, PartialEq)]
pub struct SignIn {
    /// A JSON object, without a newline.
    pub json: String,
    pub attack: Option<Attack>,
    /// The number of the attack episode to which the record belongs, from 0.
    pub episode: Option<u64>,
}

/// An event in the queue.
enum ScheduledEvent {
    /// The user signs in normally.
    Habit(usize),
    /// The user repeats a sign-in that has just failed.
    Retry(usize, Box<SignInContext>),
    /// A record of an attack, which was determined when the episode began.
    Step(Box<Draft>),
}

/// The stream of records, which ends only in the year 9000.
pub struct SignIns {
    rng: SeededRng,
    world: World,
    users: Vec<User>,
    writer: RecordWriter,
    /// The scheduled events by time and number; the number makes the order of simultaneous events deterministic.
    queue: BTreeMap<(i64, u64), ScheduledEvent>,
    scheduled: u64,
    /// The number of attack records that may still be written, in units of 1 / [`CREDIT`], and how much each normal record
    /// adds to it.
    credit: u64,
    credit_per_record: u64,
    planned: PlannedEpisode,
    episodes: u64,
    start: i64,
    /// Records a second, where their times are not those of the events.
    rate: Option<f64>,
    written: u64,
}

impl SignIns {
    /// # Errors
    /// `Error::Usage` for settings outside the ranges that [`SynthSettings`] documents.
    pub fn new(settings: SynthSettings) -> Result<Self> {
        check(&settings)?;
        let mut rng = SeededRng::new(settings.seed);
        let world = World::new(&mut rng);
        let users = people::crowd(&world, settings.users, settings.start, &mut rng);
        let planned = PlannedEpisode::draw(&mut rng);
        // The stream starts with the credit of half an episode, so that the share of attacks is later as often above its
        // target as below.
        let credit = if settings.attacks > 0.0 { planned.size as u64 * CREDIT / 2 } else { 0 };
        let credit_per_record = (settings.attacks / (1.0 - settings.attacks) * CREDIT as f64).round() as u64;
        let (writer, queue) = (RecordWriter::new(settings.label_field.clone()), BTreeMap::new());
        let (start, rate, scheduled, episodes, written) = (settings.start, settings.rate, 0, 0, 0);
        let mut source = SignIns {
            rng,
            world,
            users,
            writer,
            queue,
            scheduled,
            credit,
            credit_per_record,
            planned,
            episodes,
            start,
            rate,
            written,
        };
        for user in 0..source.users.len() {
            let at = source.users[user].next_time(settings.start, &mut source.rng);
            source.schedule(at, ScheduledEvent::Habit(user));
        }
        Ok(source)
    }

    fn schedule(&mut self, at: i64, next: ScheduledEvent) {
        self.queue.insert((at, self.scheduled), next);
        self.scheduled += 1;
    }

    /// A normal sign-in; the next one of the user is scheduled. A failed sign-in is repeated within a minute.
    fn everyday(&mut self, at: i64, user: usize, retried: Option<SignInContext>) -> Draft {
        let person = &mut self.users[user];
        let context = retried.unwrap_or_else(|| person.choose(at, &self.world, &mut self.rng));
        let outcome = outcome(person, at, &context, &mut self.rng);
        let risk = (context.unusual && self.rng.chance(150)).then(|| attack::false_alarm(&mut self.rng));
        let (later, next) = if outcome.failed() {
            let pause = self.rng.between(4 * SECOND as u64, 45 * SECOND as u64) as i64;
            (at + pause, ScheduledEvent::Retry(user, Box::new(context.clone())))
        } else {
            (person.next_time(at, &mut self.rng), ScheduledEvent::Habit(user))
        };
        self.schedule(later, next);
        Draft { user, context, outcome, risk, attack: None }
    }

    /// Begins the planned episodes for which there is enough credit and that can follow the record `seen`.
    fn begin_attacks(&mut self, at: i64, seen: &Draft) {
        self.credit += self.credit_per_record;
        while self.credit_per_record > 0 && self.credit >= self.planned.size as u64 * CREDIT {
            let mut scene = Scene { world: &self.world, users: &self.users, rng: &mut self.rng };
            let Some(steps) = self.planned.begin(at, seen, self.episodes, &mut scene) else { return };
            self.credit -= steps.len() as u64 * CREDIT;
            self.episodes += 1;
            for (when, draft) in steps {
                self.schedule(when, ScheduledEvent::Step(Box::new(draft)));
            }
            self.planned = PlannedEpisode::draw(&mut self.rng);
        }
    }
}

impl Iterator for SignIns {
    type Item = SignIn;

    fn next(&mut self) -> Option<SignIn> {
        let ((at, _), next) = self.queue.pop_first()?;
        let shown = self.rate.map_or(at, |rate| {
            let passed = (self.written as f64 * SECOND as f64 / rate) as i64;
            self.start.saturating_add(passed)
        });
        if at.max(shown) >= LAST_TIME {
            return None;
        }
        self.written += 1;
        let draft = match next {
            ScheduledEvent::Habit(user) => self.everyday(at, user, None),
            ScheduledEvent::Retry(user, context) => self.everyday(at, user, Some(*context)),
            ScheduledEvent::Step(draft) => *draft,
        };
        let json = self.writer.write(shown, &draft, &self.users[draft.user], &self.world, &mut self.rng);
        if draft.attack.is_none() {
            self.begin_attacks(at, &draft);
        }
        let (attack, episode) = draft.attack.unzip();
        Some(SignIn { json, attack, episode })
    }
}

/// Draws the outcome of a normal sign-in, and updates the user's password or second factor.
fn outcome(user: &mut User, at: i64, context: &SignInContext, rng: &mut SeededRng) -> SignInOutcome {
    if user.password_expired(at) {
        return SignInOutcome::PasswordExpired;
    }
    if rng.chance(20) {
        return SignInOutcome::WrongPassword;
    }
    if !APPS[context.app].mfa {
        return if rng.chance(10) { SignInOutcome::ChallengeFailed } else { SignInOutcome::Success };
    }
    if user.has_mfa_claim(at) {
        return SignInOutcome::MfaClaim;
    }
    match rng.below(100) {
        0..3 => SignInOutcome::MfaNoAnswer,
        3..5 => SignInOutcome::MfaDeclined,
        _ => {
            user.complete_mfa(at);
            SignInOutcome::MfaCompleted
        }
    }
}

fn check(settings: &SynthSettings) -> Result<()> {
    let SynthSettings { attacks, users, start, rate, label_field, .. } = settings;
    if rate.is_some_and(|rate| !(1e-6..=1e6).contains(&rate)) {
        return Err(Error::usage("rate: expected 0.000001 to 1000000 records a second"));
    }
    if !(0.0..=0.5).contains(attacks) {
        return Err(Error::usage(format!("attacks: expected a share from 0 to 0.5, found {attacks}")));
    }
    if !(MIN_USERS..=MAX_USERS).contains(users) {
        return Err(Error::usage(format!("users: expected {MIN_USERS} to {MAX_USERS}, found {users}")));
    }
    if !(0..LAST_TIME).contains(start) {
        return Err(Error::usage("start: expected a time from the year 1970 to the year 8999"));
    }
    match label_field {
        Some(name) if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
            Err(Error::usage(format!("label field: expected letters, digits and underscores, found {name:?}")))
        }
        Some(name) if KEYS.contains(&name.as_str()) => {
            Err(Error::usage(format!("label field: every record already has a key {name:?}; choose another name")))
        }
        _ => Ok(()),
    }
}
