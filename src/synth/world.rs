//! The fixed lists of the simulation (locations, applications, machines, names) and its networks.
//!
//! The lists are short on purpose: a model of a few million parameters should learn the records within minutes. So the
//! records vary by behaviour, not by a thousand city names.

use super::rng::SeededRng;

pub struct Location {
    pub city: &'static str,
    pub country: &'static str,
    /// Locations of different regions are at least 3,000 km apart (a test checks this).
    pub region: u8,
    /// Hours east of UTC, without daylight saving time.
    pub utc_offset: i64,
}

const fn location(city: &'static str, country: &'static str, region: u8, utc_offset: i64) -> Location {
    Location { city, country, region, utc_offset }
}

pub const LOCATIONS: [Location; 8] = [
    location("Oslo", "NO", 0, 1),
    location("Paris", "FR", 0, 1),
    location("Boston", "US", 1, -5),
    location("Austin", "US", 1, -6),
    location("Tokyo", "JP", 2, 9),
    location("Seoul", "KR", 2, 9),
    location("Lima", "PE", 3, -5),
    location("Perth", "AU", 4, 8),
];

pub struct App {
    pub name: &'static str,
    /// Whether the application requires a second factor.
    pub mfa: bool,
    pub popularity: u32,
}

const fn app(name: &'static str, mfa: bool, popularity: u32) -> App {
    App { name, mfa, popularity }
}

pub const APPS: [App; 10] = [
    app("Outlook", false, 30),
    app("Teams", false, 25),
    app("SharePoint", false, 15),
    app("Slack", false, 10),
    app("Jira", false, 8),
    app("Zoom", false, 6),
    app("Salesforce", false, 5),
    app("GitHub", true, 5),
    app("AWS", true, 5),
    app("Cisco VPN", true, 5),
];

/// Operating system and browser.
pub type Machine = (&'static str, &'static str);

/// Laptops, phones, and the machines of intruders who do not imitate a user.
pub const LAPTOPS: [Machine; 5] = [
    ("Windows 10", "Edge 118"),
    ("Windows 10", "Chrome 104"),
    ("Windows 10", "Rich Client 5.2"),
    ("MacOs", "Safari 15"),
    ("Linux", "Firefox 102"),
];
pub const PHONES: [Machine; 2] = [("Ios", "Safari 14"), ("Android", "Chrome 99")];
pub const INTRUDERS: [Machine; 3] = [("Linux", "Chrome 79"), ("Windows 7", "Firefox 68"), ("Linux", "Python 3.8")];

pub const FIRST_NAMES: [&str; 40] = [
    "Ada", "Alan", "Amy", "Anna", "Ben", "Carl", "Cora", "Dan", "Dora", "Emil", "Emma", "Eric", "Eva", "Finn", "Gail",
    "Hana", "Hugo", "Ian", "Ida", "Ines", "Ivan", "Jack", "Jane", "Joel", "Kate", "Ken", "Lara", "Leo", "Lucy", "Maya",
    "Mia", "Nina", "Noah", "Omar", "Paul", "Rosa", "Ruth", "Sam", "Tom", "Vera",
];
pub const LAST_NAMES: [&str; 50] = [
    "Abe", "Adler", "Baker", "Bell", "Berg", "Bond", "Brown", "Chan", "Clark", "Cole", "Cook", "Cruz", "Day", "Diaz",
    "Ford", "Fox", "Gray", "Green", "Hall", "Hill", "Hunt", "Ito", "Kato", "Kim", "King", "Klein", "Lane", "Lee",
    "Lund", "Mann", "Mori", "Nash", "Park", "Perez", "Poe", "Price", "Reed", "Rice", "Ross", "Ruiz", "Sato", "Shaw",
    "Silva", "Stone", "Vega", "Wang", "Ward", "West", "Wolf", "Young",
];

/// The use of a network; every location has one network for each use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    Home = 0,
    Office = 1,
    /// A VPN exit, through which some users and some intruders sign in.
    Vpn = 2,
    /// Rented machines, from which only intruders sign in.
    Hosting = 3,
}

const USES: usize = 4;

/// A block of addresses with one prefix, one location and one autonomous system number.
pub struct Network {
    pub prefix: [u8; 2],
    pub asn: u32,
    pub location: usize,
}

/// An address and its network, which determines its location.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    pub network: usize,
    pub host: [u8; 2],
}

/// The networks of all locations, ordered by location and use.
pub struct World {
    pub networks: Vec<Network>,
}

impl World {
    pub fn new(rng: &mut SeededRng) -> Self {
        // First octets 11..=99 contain no private or reserved block. Each network has its own, so that none overlap.
        let first_octets = rng.sample(89, LOCATIONS.len() * USES);
        let network = |(i, octet): (usize, usize)| Network {
            prefix: [11 + octet as u8, rng.between(1, 254) as u8],
            asn: rng.between(10_000, 64_000) as u32,
            location: i / USES,
        };
        World { networks: first_octets.into_iter().enumerate().map(network).collect() }
    }

    /// A random address of the network of `location` for `purpose`. A VPN has only three addresses, which its users share.
    pub fn address(&self, location: usize, purpose: Use, rng: &mut SeededRng) -> Address {
        let host = match purpose {
            Use::Vpn => [0, rng.between(1, 3) as u8],
            _ => [rng.below(10) as u8, rng.between(1, 254) as u8],
        };
        Address { network: location * USES + purpose as usize, host }
    }

    pub fn location_of(&self, address: Address) -> &'static Location {
        &LOCATIONS[self.networks[address.network].location]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The latitude and longitude of each location in degrees.
    const COORDINATES: [(f64, f64); LOCATIONS.len()] = [
        (59.91, 10.75),
        (48.86, 2.35),
        (42.36, -71.06),
        (30.27, -97.74),
        (35.68, 139.69),
        (37.57, 126.98),
        (-12.05, -77.04),
        (-31.95, 115.86),
    ];

    /// The great-circle distance in km (haversine formula, Earth radius 6,371 km).
    fn distance(a: (f64, f64), b: (f64, f64)) -> f64 {
        let half = |x: f64| (x.to_radians() / 2.0).sin().powi(2);
        let (ya, yb) = (a.0.to_radians().cos(), b.0.to_radians().cos());
        let h = half(b.0 - a.0) + ya * yb * half(b.1 - a.1);
        2.0 * 6371.0 * h.sqrt().asin()
    }

    #[test]
    fn regions_lie_far_apart() {
        for (a, here) in LOCATIONS.iter().zip(COORDINATES) {
            for (b, there) in LOCATIONS.iter().zip(COORDINATES).filter(|(b, _)| b.region != a.region) {
                let apart = distance(here, there);
                assert!(apart > 3000.0, "{} and {}: {apart} km", a.city, b.city);
            }
        }
    }

    #[test]
    fn networks_do_not_overlap_and_addresses_follow_their_place() {
        let mut rng = SeededRng::new(9);
        let world = World::new(&mut rng);
        let mut firsts: Vec<u8> = world.networks.iter().map(|n| n.prefix[0]).collect();
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), LOCATIONS.len() * USES);
        for (i, location) in LOCATIONS.iter().enumerate() {
            for purpose in [Use::Home, Use::Office, Use::Vpn, Use::Hosting] {
                let address = world.address(i, purpose, &mut rng);
                assert_eq!(world.location_of(address).city, location.city);
            }
        }
    }
}
