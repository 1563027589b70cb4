//! Attack episodes: what each of the four attacks leaves in a sign-in log.
//!
//! * Password spray: one address tries one password on many users, seconds apart; sometimes the password is right for one.
//! * Impossible travel: minutes after a sign-in at home, the same user signs in from another continent.
//! * MFA fatigue: at night, somebody who knows the password sends prompt after prompt until the user accepts one.
//! * Token replay: somebody uses a stolen token. The record has the victim's device id, but another address and browser,
//!   and there is no second factor.
//!
//! Most intruders hide among the users: they come through a user's VPN exit or from a user's home network, with a browser
//! that some user has, often the victim. So no single value reveals them, only the combination with this user, this hour
//! and the previous sign-ins. One episode in six comes from a rented machine with a browser that nobody else has.

use super::attack::Attack;
use super::people::{MINUTE, SECOND, SignInContext, User, UserDevice};
use super::record::{Draft, SignInOutcome};
use super::rng::SeededRng;
use super::world::{APPS, Address, INTRUDERS, LOCATIONS, Machine, Use, World};

/// An episode that waits for a suitable moment: the kind of attack and the number of records.
pub struct PlannedEpisode {
    pub attack: Attack,
    pub size: usize,
}

impl PlannedEpisode {
    /// Draws an episode. Kinds with short episodes are drawn more often, so that every kind has its share of the records.
    pub fn draw(rng: &mut SeededRng) -> Self {
        let attack = Attack::ALL[rng.weighted(&[2, 5, 3, 5])];
        let (low, high) = match attack {
            Attack::PasswordSpray => (6, 10),
            Attack::ImpossibleTravel => (2, 4),
            Attack::MfaFatigue => (5, 12),
            Attack::TokenReplay => (2, 5),
        };
        PlannedEpisode { attack, size: rng.between(low, high) as usize }
    }

    /// The records of the episode with their times, if it can begin now, after the record `seen` at time `at`.
    pub fn begin(&self, at: i64, seen: &Draft, episode: u64, scene: &mut Scene) -> Option<Vec<(i64, Draft)>> {
        let steps = match self.attack {
            Attack::PasswordSpray => Some(self.spray(at, scene)),
            Attack::ImpossibleTravel => self.travel(at, seen, scene),
            Attack::MfaFatigue => self.fatigue(at, scene),
            Attack::TokenReplay => self.replay(at, seen, scene),
        };
        let mut steps = steps?;
        for (_, draft) in &mut steps {
            draft.attack = Some((self.attack, episode));
            draft.risk = scene.rng.chance(150).then(|| self.attack.risk_event());
        }
        Some(steps)
    }

    fn spray(&self, at: i64, scene: &mut Scene) -> Vec<(i64, Draft)> {
        let mut context = scene.intruder(|_| true, &scene.machines());
        context.app = scene.app(false);
        let targets = scene.rng.sample(scene.users.len(), self.size);
        let one_fits = scene.rng.chance(333);
        let last = targets.len() - 1;
        let outcome = |i| if one_fits && i == last { SignInOutcome::Success } else { SignInOutcome::WrongPassword };
        let targets: Vec<_> = targets.into_iter().enumerate().map(|(i, user)| (user, outcome(i))).collect();
        scene.steps(at, targets, &context, (SECOND, 6 * SECOND))
    }

    fn travel(&self, at: i64, seen: &Draft, scene: &mut Scene) -> Option<Vec<(i64, Draft)>> {
        let at_home = scene.world.networks[seen.context.address.network].location == scene.users[seen.user].location;
        if seen.outcome.failed() || !at_home {
            return None;
        }
        let machines = scene.disguises(seen.user);
        let mut context = scene.intruder_for(seen.user, true, &machines);
        context.app = scene.app(false);
        let begin = at + scene.rng.between(MINUTE as u64, 8 * MINUTE as u64) as i64;
        Some(scene.steps(begin, vec![(seen.user, SignInOutcome::Success); self.size], &context, (10 * SECOND, MINUTE)))
    }

    fn fatigue(&self, at: i64, scene: &mut Scene) -> Option<Vec<(i64, Draft)>> {
        let first = scene.rng.index(scene.users.len());
        let everyone = (0..scene.users.len()).map(|i| (first + i) % scene.users.len());
        let victim = everyone.into_iter().find(|&user| scene.users[user].asleep(at))?;
        let machines = scene.disguises(victim);
        let mut context = scene.intruder_for(victim, false, &machines);
        context.app = scene.app(true);
        let mut targets = vec![(victim, SignInOutcome::MfaDeclined); self.size - 1];
        targets.push((victim, SignInOutcome::MfaCompleted));
        Some(scene.steps(at, targets, &context, (8 * SECOND, 50 * SECOND)))
    }

    fn replay(&self, at: i64, seen: &Draft, scene: &mut Scene) -> Option<Vec<(i64, Draft)>> {
        if seen.outcome.failed() || seen.context.device.registered.is_none() {
            return None;
        }
        let mut machines = scene.machines();
        machines.retain(|&(_, browser)| browser != seen.context.device.browser);
        let mut context = scene.intruder_for(seen.user, false, &machines);
        context.device.registered = seen.context.device.registered.clone();
        context.app = scene.app(true);
        let begin = at + scene.rng.between(5 * MINUTE as u64, 40 * MINUTE as u64) as i64;
        Some(scene.steps(
            begin,
            vec![(seen.user, SignInOutcome::Success); self.size],
            &context,
            (5 * SECOND, 2 * MINUTE),
        ))
    }
}

/// The world, the users and the random numbers that an attack uses.
pub struct Scene<'a> {
    pub world: &'a World,
    pub users: &'a [User],
    pub rng: &'a mut SeededRng,
}

impl Scene<'_> {
    /// The context of an intruder with an unregistered device, at an address that `fits`, with one of `machines`. One
    /// intruder in six uses a rented machine, and so does every intruder for whom no address or machine is left.
    fn intruder(&mut self, fits: impl Fn(Address) -> bool, machines: &[Machine]) -> SignInContext {
        let mut addresses: Vec<Address> = match self.rng.weighted(&[5, 5, 2]) {
            0 => self.users.iter().filter_map(|user| user.vpn).collect(),
            1 => self.users.iter().map(|user| self.world.address(user.location, Use::Home, self.rng)).collect(),
            _ => vec![],
        };
        addresses.retain(|&address| fits(address));
        let mut machines = machines;
        if addresses.is_empty() || machines.is_empty() {
            let rented = |location| self.world.address(location, Use::Hosting, self.rng);
            addresses = (0..LOCATIONS.len()).map(rented).filter(|&address| fits(address)).collect();
            machines = &INTRUDERS;
        }
        let address = *self.rng.pick(&addresses);
        let &(os, browser) = self.rng.pick(machines);
        SignInContext { address, device: UserDevice { registered: None, os, browser }, app: 0, unusual: true }
    }

    /// The context of an intruder outside of `victim`'s networks and, if `abroad`, outside of the victim's region.
    fn intruder_for(&mut self, victim: usize, abroad: bool, machines: &[Machine]) -> SignInContext {
        let (world, victim) = (self.world, &self.users[victim]);
        let home = LOCATIONS[victim.location].region;
        let too_near = |address| victim.knows(address) || (abroad && world.location_of(address).region == home);
        self.intruder(|address| !too_near(address), machines)
    }

    /// The machines of all users.
    fn machines(&self) -> Vec<Machine> {
        self.users.iter().flat_map(User::machines).collect()
    }

    /// The machines that an intruder imitates: in a third of the cases those of `victim`, else those of all users.
    fn disguises(&mut self, victim: usize) -> Vec<Machine> {
        if self.rng.chance(333) { self.users[victim].machines().collect() } else { self.machines() }
    }

    /// An application that requires a second factor, or one that does not.
    fn app(&mut self, mfa: bool) -> usize {
        let candidates: Vec<usize> = (0..APPS.len()).filter(|&i| APPS[i].mfa == mfa).collect();
        *self.rng.pick(&candidates)
    }

    /// One record for each (user, outcome). Each record follows the previous one, and the first one follows `at`, after a
    /// new random time within `gap`.
    fn steps(
        &mut self,
        at: i64,
        targets: Vec<(usize, SignInOutcome)>,
        context: &SignInContext,
        gap: (i64, i64),
    ) -> Vec<(i64, Draft)> {
        let mut now = at;
        let mut step = |(user, outcome)| {
            now += self.rng.between(gap.0 as u64, gap.1 as u64) as i64;
            (now, Draft { user, context: context.clone(), outcome, risk: None, attack: None })
        };
        targets.into_iter().map(&mut step).collect()
    }
}
