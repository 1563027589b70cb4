//! The hash on which every seeded choice in a data folder is based.

/// A well-mixed 64-bit hash of three numbers: three rounds of SplitMix64's finaliser.
///
/// Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014. The hash has no state, so the
/// number for any (seed, index) does not need the previous ones.
pub(super) fn mix(a: u64, b: u64, c: u64) -> u64 {
    let finalise = |z: u64| {
        let z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    finalise(finalise(finalise(a) ^ b) ^ c)
}
