//! Pseudonyms of IP addresses: prefixes are preserved, and addresses of private networks stay private.
//!
//! The method is Crypto-PAn, after Xu, Fan, Ammar, Moon, "Prefix-preserving IP address anonymization", ICNP 2002: two
//! addresses that share exactly their first k bits have images that share exactly their first k bits. It has two additions:
//!
//! - Ranges with a meaning keep it ([`RANGES_4`], [`RANGES_6`]). Loopback, unspecified, link-local and multicast
//!   addresses and netmasks stay unchanged; an address of a private network or of documentation stays in this network, and
//!   only the bits after its prefix change.
//! - An image that falls into such a range from outside is mapped again until it leaves the range (cycle walking, Black and
//!   Rogaway 2002). All addresses whose images fall into one range are mapped again together. So the map stays one-to-one,
//!   and prefixes are preserved within each such group, but not always between groups.

use super::key::SecretKey;
use super::permute::Direction;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Block};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A prefix-preserving permutation of addresses of up to 128 bits.
pub struct CryptoPan {
    cipher: Aes128,
    pad: u128,
}

impl CryptoPan {
    /// `key` is 16 bytes of AES key and 16 bytes that are encrypted to give the pad, as in the paper.
    pub fn new(key: &[u8; 32]) -> Self {
        let (secret, pad) = key.split_at(16);
        let cipher = Aes128::new_from_slice(secret).expect("16 bytes");
        let pad = encrypt(&cipher, u128::from_be_bytes(pad.try_into().expect("16 bytes")));
        Self { cipher, pad }
    }

    /// The image of an address of `bits` bits, which are the highest bits of `address`. The first `kept` bits stay.
    pub fn map(&self, address: u128, kept: u32, bits: u32) -> u128 {
        (kept..bits).fold(address, |image, bit| image ^ self.flip(address, bit))
    }

    /// The address whose image this is.
    pub fn unmap(&self, image: u128, kept: u32, bits: u32) -> u128 {
        // The bits before each one are those of the original already.
        (kept..bits).fold(image, |address, bit| address ^ self.flip(address, bit))
    }

    /// The bit in its place, if it is flipped, which depends on the bits before it in the original.
    fn flip(&self, address: u128, bit: u32) -> u128 {
        let below = u128::MAX >> bit;
        let flip = encrypt(&self.cipher, address & !below | self.pad & below) >> 127;
        flip << (127 - bit)
    }
}

fn encrypt(cipher: &Aes128, block: u128) -> u128 {
    let mut block = Block::from(block.to_be_bytes());
    cipher.encrypt_block(&mut block);
    u128::from_be_bytes(block.into())
}

/// What happens to the addresses of a range.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Stay,
    /// They are permuted within the range: the bits from this number on change.
    Within(u32),
}

/// Address, length of the prefix, and fate of each range. An address belongs to the first range that contains it.
const RANGES_4: [(Ipv4Addr, u32, Fate); 14] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, Fate::Stay),      // "this network", unspecified
    (Ipv4Addr::new(127, 0, 0, 0), 8, Fate::Stay),    // loopback
    (Ipv4Addr::new(169, 254, 0, 0), 16, Fate::Stay), // link-local, instance metadata
    (Ipv4Addr::new(192, 0, 2, 0), 24, Fate::Within(24)), // documentation, also of companies that invent logs with it
    (Ipv4Addr::new(198, 51, 100, 0), 24, Fate::Within(24)),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Fate::Within(24)),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Fate::Stay), // multicast groups are constants of protocols
    (Ipv4Addr::new(255, 0, 0, 0), 8, Fate::Stay), // broadcast and netmasks
    (Ipv4Addr::new(10, 0, 0, 0), 8, Fate::Within(8)),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Fate::Within(12)),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Fate::Within(16)),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Fate::Within(10)), // carrier-grade NAT
    (Ipv4Addr::new(198, 18, 0, 0), 15, Fate::Within(15)), // benchmarks
    (Ipv4Addr::new(240, 0, 0, 0), 4, Fate::Within(4)),    // reserved
];

const RANGES_6: [(Ipv6Addr, u32, Fate); 8] = [
    (Ipv6Addr::UNSPECIFIED, 127, Fate::Stay), // and loopback
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Fate::Stay),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, Fate::Within(32)),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Fate::Within(20)),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 64, Fate::Within(64)),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, Fate::Within(10)),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Fate::Within(8)),
    (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, Fate::Within(3)), // global unicast
];

/// Prefixes of IPv6 addresses that contain an IPv4 address: IPv4-mapped (RFC 4291) and translated (RFC 6052) addresses.
const HOLDS_4: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0)];

/// Computes the pseudonyms of addresses.
pub struct AddressPseudonyms {
    direction: Direction,
    pan_4: CryptoPan,
    pan_6: CryptoPan,
    ranges_4: Vec<(u128, u32, Fate)>,
    ranges_6: Vec<(u128, u32, Fate)>,
}

impl AddressPseudonyms {
    pub fn new(key: &SecretKey, direction: Direction) -> Self {
        let top = |address: Ipv4Addr| u128::from(address.to_bits()) << 96;
        Self {
            direction,
            pan_4: CryptoPan::new(&key.mac(&[b"crypto-pan", b"4"])),
            pan_6: CryptoPan::new(&key.mac(&[b"crypto-pan", b"6"])),
            ranges_4: RANGES_4.iter().map(|(address, length, fate)| (top(*address), *length, *fate)).collect(),
            ranges_6: RANGES_6.iter().map(|(address, length, fate)| (address.to_bits(), *length, *fate)).collect(),
        }
    }

    /// The pseudonym of an address or a network as it is written: if the bits after the prefix are 0, as in `10.1.0.0/16`, they
    /// stay 0. `None` if the text is neither.
    pub fn text(&self, text: &str) -> Option<String> {
        if let Some((address, zone)) = text.split_once('%').filter(|(address, _)| address.contains(':')) {
            // The interface of a link-local address.
            return Some(format!("{}%{zone}", self.text(address)?));
        }
        if let Some((address, length)) = text.split_once('/') {
            let length: u32 = length.parse().ok().filter(|_| length.len() < 4)?;
            let network = |address: u128, image: u128, bits: u32| {
                let host = u128::MAX.checked_shr(length).unwrap_or(0);
                let is_network = address & host == 0;
                (length <= bits).then_some(if is_network { image & !host } else { image })
            };
            let top = |address: Ipv4Addr| u128::from(address.to_bits()) << 96;
            if let Some(address) = ipv4(address) {
                let image = network(top(address), top(self.ipv4(address)), 32)?;
                return Some(format!("{}/{length}", Ipv4Addr::from_bits((image >> 96) as u32)));
            }
            let written = address;
            let address: Ipv6Addr = written.parse().ok()?;
            let image = network(address.to_bits(), self.ipv6(address).to_bits(), 128)?;
            return Some(format!("{}/{length}", written_like(written, Ipv6Addr::from_bits(image), self.direction)));
        }
        if let Some(address) = ipv4(text) {
            let image = self.ipv4(address);
            return Some(if image == address { text.to_string() } else { image.to_string() });
        }
        let address: Ipv6Addr = text.parse().ok()?;
        let image = self.ipv6(address);
        Some(if image == address { text.to_string() } else { written_like(text, image, self.direction) })
    }

    pub fn ipv4(&self, address: Ipv4Addr) -> Ipv4Addr {
        let image = walk(&self.pan_4, &self.ranges_4, u128::from(address.to_bits()) << 96, 32, self.direction);
        Ipv4Addr::from_bits((image >> 96) as u32)
    }

    pub fn ipv6(&self, address: Ipv6Addr) -> Ipv6Addr {
        let (prefix, last) = (address.to_bits() >> 32, address.to_bits() as u32);
        // The prefix ::/96 is not in this list: ::1 and similar addresses contain no IPv4 address.
        if HOLDS_4.iter().any(|holder| holder.to_bits() >> 32 == prefix) {
            return Ipv6Addr::from_bits(prefix << 32 | u128::from(self.ipv4(Ipv4Addr::from_bits(last)).to_bits()));
        }
        Ipv6Addr::from_bits(walk(&self.pan_6, &self.ranges_6, address.to_bits(), 128, self.direction))
    }
}

/// Maps the address, or unmaps it, repeatedly until its image is in the same range as the address itself, or in no range if it is in none.
fn walk(pan: &CryptoPan, ranges: &[(u128, u32, Fate)], address: u128, bits: u32, direction: Direction) -> u128 {
    let map = match direction {
        Direction::Replace => CryptoPan::map,
        Direction::Undo => CryptoPan::unmap,
    };
    let range = |address: u128| ranges.iter().position(|(prefix, length, _)| (address ^ prefix) >> (128 - length) == 0);
    let holds_4 = |address: u128| bits == 128 && HOLDS_4.iter().any(|h| h.to_bits() >> 32 == address >> 32);
    let home = range(address);
    let kept = match home.map(|at| ranges[at].2) {
        Some(Fate::Stay) => return address,
        Some(Fate::Within(kept)) => kept,
        None => 0,
    };
    let mut image = map(pan, address, kept, bits);
    while range(image) != home || holds_4(image) {
        image = map(pan, image, kept, bits);
    }
    image
}

/// Parses four numbers below 256; leading zeros are allowed, because some programs write them.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut parts = text.split('.');
    let octets = std::array::from_fn(|_| {
        let part = parts.next().filter(|part| part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit()));
        part.and_then(|part| part.parse::<u8>().ok())
    });
    let [Some(a), Some(b), Some(c), Some(d)] = octets else { return None };
    parts.next().is_none().then_some(Ipv4Addr::new(a, b, c, d))
}

/// Writes the address in upper case or with all digits if the original is written so. An image with eight groups of four
/// digits does not say whether its original was written with all digits; the shorter spelling is the common one.
fn written_like(original: &str, address: Ipv6Addr, direction: Direction) -> String {
    let groups: Vec<&str> = original.split(':').collect();
    let is_long = groups.len() == 8 && groups.iter().all(|group| group.len() == 4);
    let says_so = || original.parse::<Ipv6Addr>().is_ok_and(|read| !read.to_string().eq_ignore_ascii_case(original));
    let text = match is_long && (direction == Direction::Replace || says_so()) {
        true => address.segments().map(|group| format!("{group:04x}")).join(":"),
        false => address.to_string(),
    };
    if original.contains(|c: char| c.is_ascii_uppercase()) { text.to_uppercase() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(key: &[u8; 32], address: &str) -> String {
        let address = u128::from(ipv4(address).unwrap().to_bits()) << 96;
        Ipv4Addr::from_bits((CryptoPan::new(key).map(address, 0, 32) >> 96) as u32).to_string()
    }

    #[test]
    fn the_published_vectors() {
        // This example is in the manuals of several implementations.
        assert_eq!(raw(b"32-char-str-for-AES-key-and-pad.", "192.0.2.1"), "192.0.125.244");
        // These pairs are from the sample trace of the authors' program.
        let key = [
            21, 34, 23, 141, 51, 164, 207, 128, 19, 10, 91, 22, 73, 144, 125, 16, 216, 152, 143, 131, 121, 121, 101,
            39, 98, 87, 76, 45, 42, 132, 34, 2,
        ];
        let sample = [
            ("128.11.68.132", "135.242.180.132"),
            ("129.118.74.4", "134.136.186.123"),
            ("130.132.252.244", "133.68.164.234"),
            ("141.223.7.43", "141.167.8.160"),
            ("141.233.145.108", "141.129.237.235"),
            ("152.163.225.39", "151.140.114.167"),
            ("156.29.3.236", "147.225.12.42"),
            ("165.247.96.84", "162.9.99.234"),
            ("166.107.77.190", "160.132.178.185"),
            ("192.102.249.13", "252.138.62.131"),
        ];
        for (address, image) in sample {
            assert_eq!(raw(&key, address), image);
        }
    }

    fn addresses() -> AddressPseudonyms {
        AddressPseudonyms::new(&SecretKey::new(&[3; 32]), Direction::Replace)
    }

    #[test]
    fn prefixes_are_kept_exactly() {
        let pan = CryptoPan::new(&[9; 32]);
        let image = |text: &str| pan.map(u128::from(ipv4(text).unwrap().to_bits()) << 96, 0, 32);
        for (a, b, shared) in [("83.149.9.216", "83.149.9.217", 31), ("83.149.9.216", "83.21.9.216", 8)] {
            assert_eq!((image(a) ^ image(b)).leading_zeros(), shared, "{a} {b}");
        }
    }

    #[test]
    fn ranges_with_a_meaning_keep_it() {
        let addresses = addresses();
        for text in ["127.0.0.1", "0.0.0.0", "255.255.255.0", "224.0.0.251", "::", "::1"] {
            assert_eq!(addresses.text(text).as_deref(), Some(text));
        }
        for (text, prefix) in [
            ("10.1.2.3", "10."),
            ("192.168.10.20", "192.168."),
            ("fe80::286a:52de", "fe80::"),
            ("192.0.2.7", "192.0.2."),
            ("2001:db8::5", "2001:db8:"),
        ] {
            let image = addresses.text(text).unwrap();
            assert!(image != text && image.starts_with(prefix), "{text} {image}");
        }
        let mapped = addresses.text("::ffff:10.0.1.14").unwrap();
        assert_eq!(mapped, format!("::ffff:{}", addresses.text("10.0.1.14").unwrap()));
    }

    #[test]
    fn public_addresses_stay_public_and_distinct() {
        let addresses = addresses();
        let mut images = std::collections::HashSet::new();
        for n in 0..5000u32 {
            let address = Ipv4Addr::from_bits(n.wrapping_mul(858_993) | 1);
            let image = addresses.ipv4(address);
            let private = |a: Ipv4Addr| {
                a.is_private() || a.is_loopback() || a.is_link_local() || a.is_multicast() || a.octets()[0] >= 240
            };
            assert_eq!(private(address), private(image), "{n}");
            assert!(images.insert(image), "{n}");
        }
    }

    #[test]
    fn networks_and_spellings() {
        let addresses = addresses();
        let network = addresses.text("10.1.0.0/16").unwrap();
        assert!(network.ends_with(".0.0/16"), "{network}");
        assert_eq!(
            network.split('.').take(2).collect::<Vec<_>>(),
            addresses.text("10.1.9.9").unwrap().split('.').take(2).collect::<Vec<_>>()
        );
        assert_eq!(addresses.text("253.252.51.07"), addresses.text("253.252.51.7"));
        assert_eq!(addresses.text("FE80::286A:1").unwrap(), addresses.text("fe80::286a:1").unwrap().to_uppercase());
        let own = addresses.text("10.1.2.3/24").unwrap();
        assert_eq!(own.strip_suffix("/24"), addresses.text("10.1.2.3").as_deref(), "an address with its prefix");
        for text in ["1.2.3", "1.2.3.4.5", "256.1.1.1", "12:34:56", "10.0.0.0/33", "", "a"] {
            assert_eq!(addresses.text(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn addresses_are_undone(four: u32, six: u128, length in 24u32..33) {
            let key = SecretKey::new(&[3; 32]);
            let [replace, undo] = [Direction::Replace, Direction::Undo].map(|way| AddressPseudonyms::new(&key, way));
            let there_and_back = |text: &str| undo.text(&replace.text(text).unwrap()).unwrap();
            let (four, six) = (Ipv4Addr::from_bits(four), Ipv6Addr::from_bits(six));
            let network = Ipv4Addr::from_bits(four.to_bits() & u32::MAX.checked_shl(32 - length).unwrap_or(0));
            for text in [four.to_string(), six.to_string(), format!("{network}/{length}")] {
                proptest::prop_assert_eq!(there_and_back(&text), text);
            }
        }
    }
}
