//! The users: their names, their devices and networks, and the times of their sign-ins.

use super::rng::SeededRng;
use super::world::{APPS, Address, FIRST_NAMES, LAPTOPS, LAST_NAMES, LOCATIONS, Machine, PHONES, Use, World};
use std::collections::BTreeSet;

/// Durations in microseconds; times count from 1970-01-01T00:00:00Z.
pub const SECOND: i64 = 1_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// The lifetime of a password, as in Active Directory's default domain policy.
const PASSWORD_LIFE: i64 = 42 * DAY;
/// How long a completed second factor remains valid.
const MFA_LIFE: i64 = 8 * HOUR;

/// The number of distinct full names.
pub const MAX_USERS: usize = FIRST_NAMES.len() * LAST_NAMES.len();

/// A device of a user. `registered` is its id in the directory and its name, which contains the user's name.
#[derive(Clone, PartialEq, Debug)]
pub struct UserDevice {
    pub registered: Option<(String, String)>,
    pub os: &'static str,
    pub browser: &'static str,
}

pub struct User {
    pub name: String,
    pub principal: String,
    pub location: usize,
    pub home: Address,
    office: Address,
    /// The VPN exit, in any location, through which some of the sign-ins come.
    pub vpn: Option<Address>,
    pub devices: Vec<UserDevice>,
    app_weights: [u32; APPS.len()],
    /// The first working hour of the day in local time, and the number of working hours.
    work: (i64, i64),
    /// The mean time between two sign-ins in a working hour, in microseconds.
    gap: u64,
    mfa_until: i64,
    password_expires: i64,
}

/// The circumstances of a sign-in: address, device and application.
#[derive(Clone)]
pub struct SignInContext {
    pub address: Address,
    pub device: UserDevice,
    pub app: usize,
    /// Whether the address is neither the user's home nor the office.
    pub unusual: bool,
}

/// `count` users with distinct names and principal names, `count <= MAX_USERS`. Every third user has a registered laptop,
/// and every fourth a VPN. This does not depend on chance, because token replay needs a registered laptop, and because
/// intruders hide in the VPNs of users.
pub fn crowd(world: &World, count: usize, start: i64, rng: &mut SeededRng) -> Vec<User> {
    let mut taken = BTreeSet::new();
    let names = rng.sample(MAX_USERS, count);
    let person = |(k, i): (usize, usize)| {
        let (first, last) = (FIRST_NAMES[i / LAST_NAMES.len()], LAST_NAMES[i % LAST_NAMES.len()]);
        User::new(first, last, principal(first, last, &mut taken), k, world, start, rng)
    };
    names.into_iter().enumerate().map(person).collect()
}

/// "Ada Cole" -> acole@domain.com; a second A. Cole becomes acole2@domain.com.
fn principal(first: &str, last: &str, taken: &mut BTreeSet<String>) -> String {
    let stem = format!("{}{last}", &first[..1]).to_lowercase();
    let numbered = (2..).map(|k| format!("{stem}{k}"));
    let free = std::iter::once(stem.clone()).chain(numbered).find(|name| !taken.contains(name));
    let name = free.expect("the numbers do not run out");
    taken.insert(name.clone());
    format!("{name}@domain.com")
}

impl User {
    fn new(
        first: &str,
        last: &str,
        principal: String,
        number: usize,
        world: &World,
        start: i64,
        rng: &mut SeededRng,
    ) -> Self {
        let location = rng.index(LOCATIONS.len());
        let work = (rng.between(7, 9) as i64, rng.between(8, 10) as i64);
        let daily = rng.between(12, 48);
        User {
            name: format!("{first} {last}"),
            principal,
            location,
            home: world.address(location, Use::Home, rng),
            office: world.address(location, Use::Office, rng),
            vpn: (number % 4 == 1).then(|| world.address(rng.index(LOCATIONS.len()), Use::Vpn, rng)),
            devices: devices(&format!("{first}{last}").to_uppercase(), number.is_multiple_of(3), rng),
            app_weights: app_habits(rng),
            work,
            gap: (work.1 * HOUR) as u64 / daily,
            mfa_until: start,
            password_expires: start + rng.below(PASSWORD_LIFE as u64) as i64,
        }
    }

    /// The hour of the day in the user's local time, and whether the day is a Saturday or Sunday.
    fn local(&self, at: i64) -> (i64, bool) {
        let local = at + LOCATIONS[self.location].utc_offset * HOUR;
        // 1970-01-01 was a Thursday, which is day 3 if Monday is day 0.
        let weekday = (local.div_euclid(DAY) + 3).rem_euclid(7);
        (local.rem_euclid(DAY) / HOUR, weekday >= 5)
    }

    /// Whether it is night at the user's home: from one to five in the morning.
    pub fn asleep(&self, at: i64) -> bool {
        (1..5).contains(&self.local(at).0)
    }

    /// The activity in the hour of `at`, in per cent of that in a working hour; never zero.
    fn activity(&self, at: i64) -> i64 {
        let (hour, weekend) = self.local(at);
        let (first, count) = self.work;
        let weekday = match hour {
            h if (first..first + count).contains(&h) => 100,
            h if (first - 1..first + count + 4).contains(&h) => 20,
            _ => 2,
        };
        if weekend { (weekday / 5).max(1) } else { weekday }
    }

    /// The time of the next sign-in after `at`. A random amount of *working* time passes, in each hour in proportion to the
    /// activity of this hour.
    pub fn next_time(&self, at: i64, rng: &mut SeededRng) -> i64 {
        let mut work_left = rng.wait(self.gap) as i64;
        let mut now = at;
        loop {
            let pace = self.activity(now);
            // UTC offsets are whole hours, so local hours end when UTC hours do.
            let hour_end = (now.div_euclid(HOUR) + 1) * HOUR;
            let room = (hour_end - now) * pace / 100;
            if work_left <= room {
                return now + work_left * 100 / pace;
            }
            work_left -= room;
            now = hour_end;
        }
    }

    /// Draws the context of a normal sign-in at `at`.
    pub fn choose(&self, at: i64, world: &World, rng: &mut SeededRng) -> SignInContext {
        let at_work = self.activity(at) == 100;
        let (address, unusual) = match self.vpn {
            Some(exit) if rng.chance(150) => (exit, true),
            _ if rng.chance(20) => (world.address(self.location, Use::Home, rng), true),
            _ if at_work && rng.chance(750) => (self.office, false),
            _ => (self.home, false),
        };
        let device =
            self.devices[usize::from(self.devices.len() > 1 && rng.chance(if at_work { 250 } else { 700 }))].clone();
        SignInContext { address, device, app: rng.weighted(&self.app_weights), unusual }
    }

    pub fn machines(&self) -> impl Iterator<Item = Machine> {
        self.devices.iter().map(|device| (device.os, device.browser))
    }

    /// Whether the network that `address` belongs to is one of the user's own.
    pub fn knows(&self, address: Address) -> bool {
        let own = [Some(self.home), Some(self.office), self.vpn];
        own.into_iter().flatten().any(|usual| usual.network == address.network)
    }

    /// Whether the password has expired. If so, the user sets a new one, so that the next call returns false.
    pub fn password_expired(&mut self, at: i64) -> bool {
        let expired = at >= self.password_expires;
        if expired {
            self.password_expires = at + PASSWORD_LIFE;
        }
        expired
    }

    pub fn has_mfa_claim(&self, at: i64) -> bool {
        at < self.mfa_until
    }

    pub fn complete_mfa(&mut self, at: i64) {
        self.mfa_until = at + MFA_LIFE;
    }
}

/// The devices of a user: a laptop, registered if `managed`, and for most users an unregistered phone.
fn devices(stem: &str, managed: bool, rng: &mut SeededRng) -> Vec<UserDevice> {
    let &(os, browser) = rng.pick(&LAPTOPS);
    let registered = managed.then(|| (rng.uuid(), format!("{stem}-LT")));
    let mut all = vec![UserDevice { registered, os, browser }];
    if rng.chance(700) {
        let &(os, browser) = rng.pick(&PHONES);
        all.push(UserDevice { registered: None, os, browser });
    }
    all
}

/// The weights of a user's applications: four to six of them, each with a weight near its popularity.
fn app_habits(rng: &mut SeededRng) -> [u32; APPS.len()] {
    let mut weights = [0; APPS.len()];
    let count = rng.between(4, 6) as usize;
    for app in rng.sample(APPS.len(), count) {
        weights[app] = APPS[app].popularity * rng.between(5, 15) as u32;
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_can_be_used_and_no_principal_repeats() {
        let mut rng = SeededRng::new(1);
        let world = World::new(&mut rng);
        let users = crowd(&world, MAX_USERS, 0, &mut rng);
        let names: BTreeSet<_> = users.iter().map(|u| &u.name).collect();
        let principals: BTreeSet<_> = users.iter().map(|u| &u.principal).collect();
        assert_eq!((names.len(), principals.len()), (MAX_USERS, MAX_USERS));
    }

    #[test]
    fn most_sign_ins_fall_into_working_hours() {
        let mut rng = SeededRng::new(2);
        let world = World::new(&mut rng);
        let user = crowd(&world, 1, 0, &mut rng).remove(0);
        let (mut at, mut working, mut weekend) = (0, 0, 0);
        for _ in 0..2000 {
            at = user.next_time(at, &mut rng);
            working += i32::from(user.activity(at) == 100);
            weekend += i32::from(user.local(at).1);
        }
        assert!(working > 1500, "{working} of 2000 in working hours");
        assert!((10..250).contains(&weekend), "{weekend} of 2000 at a weekend");
    }

    #[test]
    fn a_password_expires_once_per_life() {
        let mut rng = SeededRng::new(3);
        let world = World::new(&mut rng);
        let mut user = crowd(&world, 1, 0, &mut rng).remove(0);
        let expiries = (0..420).filter(|day| user.password_expired(day * DAY)).count();
        assert!((9..=11).contains(&expiries), "{expiries} in 420 days");
    }
}
