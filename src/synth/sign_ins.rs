//! The stream of sign-ins: a queue of what happens next, and the attacks mixed in.

use super::attack::{self, Attack};
use super::draw::Draws;
use super::episode::{Plan, Scene};
use super::people::{self, Choice, MAX_USERS, SECOND, User};
use super::record::{Draft, Outcome, Writer};
use super::world::{APPS, World};
use crate::{Error, Result};
use std::collections::BTreeMap;

/// Below this many users a password spray would not reach *many* of them.
pub const MIN_USERS: usize = 10;
/// 2022-08-27T00:00:00Z in microseconds since 1970: the first day of the real sample that these records imitate.
pub const DEFAULT_START: i64 = 1_661_558_400 * SECOND;
/// 9000-01-01T00:00:00Z: the source ends there, a thousand years before dates would need a fifth digit.
const LAST_TIME: i64 = 221_845_392_000 * SECOND;
/// Top-level keys of a record, which a label field must not repeat.
const KEYS: [&str; 6] = ["time", "resultType", "callerIpAddress", "identity", "location", "properties"];
/// Attack credit is counted in millionths of a record.
const CREDIT: u64 = 1_000_000;

#[derive(Clone, Debug)]
pub struct Settings {
    pub seed: u64,
    /// Share of the records that belong to an attack, 0 to 0.5.
    pub attacks: f64,
    /// Size of the organisation, `MIN_USERS` to `MAX_USERS`.
    pub users: usize,
    /// Time of the start in microseconds since 1970-01-01T00:00:00Z.
    pub start: i64,
    /// Name of an extra first key that holds the attack's name or null. First, so that a prompt can set it.
    pub label_field: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { seed: 1, attacks: 0.02, users: 40, start: DEFAULT_START, label_field: None }
    }
}

/// One record and what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct SignIn {
    /// A JSON object without newline.
    pub json: String,
    pub attack: Option<Attack>,
    /// Records of one attack episode share a number; episodes are counted from 0.
    pub episode: Option<u64>,
}

/// What happens next, at the time it is filed under.
enum Next {
    /// This user signs in.
    Habit(usize),
    /// This user tries once more what has just failed.
    Retry(usize, Box<Choice>),
    /// A record of an attack, decided when the episode began.
    Step(Box<Draft>),
}

/// The endless stream of records, made by [`SignIns::new`]; it ends only in the year 9000.
pub struct SignIns {
    draws: Draws,
    world: World,
    users: Vec<User>,
    writer: Writer,
    /// Keyed by time and a running number, so that the order never depends on chance.
    queue: BTreeMap<(i64, u64), Next>,
    filed: u64,
    /// Attack records owed, in millionths, and how many each everyday record adds.
    credit: u64,
    credit_per_record: u64,
    plan: Plan,
    episodes: u64,
}

impl SignIns {
    /// # Errors
    /// `Error::Usage` for settings outside the ranges that [`Settings`] gives.
    pub fn new(settings: Settings) -> Result<Self> {
        check(&settings)?;
        let mut draws = Draws::new(settings.seed);
        let world = World::new(&mut draws);
        let users = people::crowd(&world, settings.users, settings.start, &mut draws);
        let plan = Plan::draw(&mut draws);
        // Half an episode in advance: at any later moment the share is then as likely above its target as below.
        let credit = if settings.attacks > 0.0 { plan.size as u64 * CREDIT / 2 } else { 0 };
        let credit_per_record = (settings.attacks / (1.0 - settings.attacks) * CREDIT as f64).round() as u64;
        let (writer, queue) = (Writer::new(settings.label_field), BTreeMap::new());
        let mut source =
            SignIns { draws, world, users, writer, queue, filed: 0, credit, credit_per_record, plan, episodes: 0 };
        for user in 0..source.users.len() {
            let at = source.users[user].next_time(settings.start, &mut source.draws);
            source.file(at, Next::Habit(user));
        }
        Ok(source)
    }

    fn file(&mut self, at: i64, next: Next) {
        self.queue.insert((at, self.filed), next);
        self.filed += 1;
    }

    /// A sign-in out of habit, and the next one filed. A failure is tried again within a minute.
    fn everyday(&mut self, at: i64, user: usize, retried: Option<Choice>) -> Draft {
        let person = &mut self.users[user];
        let choice = retried.unwrap_or_else(|| person.choose(at, &self.world, &mut self.draws));
        let outcome = outcome(person, at, &choice, &mut self.draws);
        let risk = (choice.unusual && self.draws.chance(150)).then(|| attack::false_alarm(&mut self.draws));
        let (later, next) = if outcome.failed() {
            let pause = self.draws.between(4 * SECOND as u64, 45 * SECOND as u64) as i64;
            (at + pause, Next::Retry(user, Box::new(choice.clone())))
        } else {
            (person.next_time(at, &mut self.draws), Next::Habit(user))
        };
        self.file(later, next);
        Draft { user, choice, outcome, risk, attack: None }
    }

    /// Begins the planned episodes that the share of attacks allows by now and that can follow on `seen`.
    fn begin_attacks(&mut self, at: i64, seen: &Draft) {
        self.credit += self.credit_per_record;
        while self.credit_per_record > 0 && self.credit >= self.plan.size as u64 * CREDIT {
            let mut scene = Scene { world: &self.world, users: &self.users, draws: &mut self.draws };
            let Some(steps) = self.plan.begin(at, seen, self.episodes, &mut scene) else { return };
            self.credit -= steps.len() as u64 * CREDIT;
            self.episodes += 1;
            for (when, draft) in steps {
                self.file(when, Next::Step(Box::new(draft)));
            }
            self.plan = Plan::draw(&mut self.draws);
        }
    }
}

impl Iterator for SignIns {
    type Item = SignIn;

    fn next(&mut self) -> Option<SignIn> {
        let ((at, _), next) = self.queue.pop_first()?;
        if at >= LAST_TIME {
            return None;
        }
        let draft = match next {
            Next::Habit(user) => self.everyday(at, user, None),
            Next::Retry(user, choice) => self.everyday(at, user, Some(*choice)),
            Next::Step(draft) => *draft,
        };
        let json = self.writer.write(at, &draft, &self.users[draft.user], &self.world, &mut self.draws);
        if draft.attack.is_none() {
            self.begin_attacks(at, &draft);
        }
        let (attack, episode) = draft.attack.unzip();
        Some(SignIn { json, attack, episode })
    }
}

/// How a sign-in out of habit ends; notes a changed password or a completed second factor with the user.
fn outcome(user: &mut User, at: i64, choice: &Choice, draws: &mut Draws) -> Outcome {
    if user.password_expired(at) {
        return Outcome::PasswordExpired;
    }
    if draws.chance(20) {
        return Outcome::WrongPassword;
    }
    if !APPS[choice.app].mfa {
        return if draws.chance(10) { Outcome::ChallengeFailed } else { Outcome::Success };
    }
    if user.has_mfa_claim(at) {
        return Outcome::MfaClaim;
    }
    match draws.below(100) {
        0..3 => Outcome::MfaNoAnswer,
        3..5 => Outcome::MfaDeclined,
        _ => {
            user.complete_mfa(at);
            Outcome::MfaCompleted
        }
    }
}

fn check(settings: &Settings) -> Result<()> {
    let Settings { attacks, users, start, label_field, .. } = settings;
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
            Err(Error::usage(format!("label field: every record has a key {name:?} already; choose another name")))
        }
        _ => Ok(()),
    }
}
