//! Flow keys: the two ends in canonical order, and the two hashes made of them.
//!
//! The *shard* hash covers the pair of addresses only and has a fixed seed: it decides which shard's budget a flow uses, and so
//! what is evicted, which has to be the same in every run. The *table* hash covers the whole key and has a random seed a process,
//! so that nobody outside can aim at one bucket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::arena::Zeroed;

/// Virtual shards: fixed, so that any number of workers divides the same work.
pub const SHARDS: usize = 256;

/// Whether the sender of a packet is the key's first or second end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orientation {
    /// Sent by the first end (`a`).
    FromA,
    /// Sent by the second end (`b`).
    FromB,
}

impl Orientation {
    /// 0 for `FromA`.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// IPv4 key: 16 bytes, the lower (address, port) first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Key4 {
    a: [u8; 4],
    b: [u8; 4],
    a_port: u16,
    b_port: u16,
    domain: u16,
    proto: u8,
    zero: u8,
}

/// IPv6 key: 40 bytes, the lower (address, port) first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Key6 {
    a: [u8; 16],
    b: [u8; 16],
    a_port: u16,
    b_port: u16,
    domain: u16,
    proto: u8,
    zero: u8,
}

/// What the table needs of a key.
pub trait Key: Copy + PartialEq + Default + Zeroed {
    /// Whether its addresses are IPv6.
    const V6: bool;
    /// Both words of the seeded hash's input.
    fn hash(&self, hasher: &Hasher) -> u64;
    /// First end.
    fn a(&self) -> (IpAddr, u16);
    /// Second end.
    fn b(&self) -> (IpAddr, u16);
    /// IP protocol number.
    fn proto(&self) -> u8;
    /// Overlay segment, 0 where there is none.
    fn domain(&self) -> u16;
}

// SAFETY: integers and arrays of integers.
unsafe impl Zeroed for Key4 {}
// SAFETY: as above.
unsafe impl Zeroed for Key6 {}

/// Seed of the table hash.
#[derive(Clone, Copy, Debug)]
pub struct Hasher {
    seed: u64,
}

const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15; // 2^64 / golden ratio (Knuth, TAOCP 3, 6.4)

impl Hasher {
    /// A hasher with this seed.
    #[must_use]
    pub const fn with_seed(seed: u64) -> Self {
        Self { seed }
    }

    /// A hasher with a seed from the operating system's randomness.
    #[must_use]
    pub fn random() -> Self {
        use std::hash::{BuildHasher, Hasher as _};
        Self { seed: std::collections::hash_map::RandomState::new().build_hasher().finish() }
    }

    #[inline]
    const fn mix(self, x: u64, y: u64) -> u64 {
        // Folded 64×64→128 multiplication: both halves of the product depend on every input bit.
        let wide = ((x ^ self.seed) as u128).wrapping_mul((y ^ MULTIPLIER) as u128);
        (wide as u64) ^ ((wide >> 64) as u64)
    }
}

impl Key4 {
    /// The key of a packet and the side that sent it.
    #[inline]
    #[must_use]
    pub fn of(
        src: [u8; 4],
        src_port: u16,
        dst: [u8; 4],
        dst_port: u16,
        proto: u8,
        domain: u16,
    ) -> (Self, Orientation) {
        let from_a = (u32::from_be_bytes(src), src_port) <= (u32::from_be_bytes(dst), dst_port);
        let (a, a_port, b, b_port) =
            if from_a { (src, src_port, dst, dst_port) } else { (dst, dst_port, src, src_port) };
        let orientation = if from_a { Orientation::FromA } else { Orientation::FromB };
        (Self { a, b, a_port, b_port, domain, proto, zero: 0 }, orientation)
    }
}

impl Key for Key4 {
    const V6: bool = false;

    #[inline]
    fn hash(&self, hasher: &Hasher) -> u64 {
        let addrs = u64::from(u32::from_be_bytes(self.a)) << 32 | u64::from(u32::from_be_bytes(self.b));
        let rest = u64::from(self.a_port) << 48
            | u64::from(self.b_port) << 32
            | u64::from(self.domain) << 8
            | u64::from(self.proto);
        let first = hasher.mix(addrs, rest);
        hasher.mix(first, rest)
    }
    fn a(&self) -> (IpAddr, u16) {
        (IpAddr::V4(Ipv4Addr::from(self.a)), self.a_port)
    }
    fn b(&self) -> (IpAddr, u16) {
        (IpAddr::V4(Ipv4Addr::from(self.b)), self.b_port)
    }
    fn proto(&self) -> u8 {
        self.proto
    }
    fn domain(&self) -> u16 {
        self.domain
    }
}

impl Key6 {
    /// The key of a packet and the side that sent it.
    #[inline]
    #[must_use]
    pub fn of(
        src: [u8; 16],
        src_port: u16,
        dst: [u8; 16],
        dst_port: u16,
        proto: u8,
        domain: u16,
    ) -> (Self, Orientation) {
        let from_a = (u128::from_be_bytes(src), src_port) <= (u128::from_be_bytes(dst), dst_port);
        let (a, a_port, b, b_port) =
            if from_a { (src, src_port, dst, dst_port) } else { (dst, dst_port, src, src_port) };
        let orientation = if from_a { Orientation::FromA } else { Orientation::FromB };
        (Self { a, b, a_port, b_port, domain, proto, zero: 0 }, orientation)
    }
}

#[inline]
const fn halves(address: [u8; 16]) -> (u64, u64) {
    let n = u128::from_be_bytes(address);
    ((n >> 64) as u64, n as u64)
}

impl Key for Key6 {
    const V6: bool = true;

    #[inline]
    fn hash(&self, hasher: &Hasher) -> u64 {
        let (a_high, a_low) = halves(self.a);
        let (b_high, b_low) = halves(self.b);
        let rest = u64::from(self.a_port) << 48
            | u64::from(self.b_port) << 32
            | u64::from(self.domain) << 8
            | u64::from(self.proto);
        let first = hasher.mix(a_high, b_low);
        let second = hasher.mix(a_low ^ first, b_high);
        hasher.mix(first ^ second.rotate_left(32), rest)
    }
    fn a(&self) -> (IpAddr, u16) {
        (IpAddr::V6(Ipv6Addr::from(self.a)), self.a_port)
    }
    fn b(&self) -> (IpAddr, u16) {
        (IpAddr::V6(Ipv6Addr::from(self.b)), self.b_port)
    }
    fn proto(&self) -> u8 {
        self.proto
    }
    fn domain(&self) -> u16 {
        self.domain
    }
}

/// The shard of an IPv4 pair, the same in both directions and in every run.
#[inline]
#[must_use]
pub(super) const fn shard_of_v4(src: [u8; 4], dst: [u8; 4]) -> u8 {
    let (s, d) = (u32::from_be_bytes(src) as u64, u32::from_be_bytes(dst) as u64);
    // Sum and product are symmetric, and together tell pairs apart that share one of them.
    let both = (s + d).wrapping_mul(MULTIPLIER) ^ (s * d).wrapping_mul(MULTIPLIER.rotate_left(29));
    (both.wrapping_mul(MULTIPLIER) >> 56) as u8
}

/// The shard of an IPv6 pair.
#[inline]
#[must_use]
pub(super) const fn shard_of_v6(src: [u8; 16], dst: [u8; 16]) -> u8 {
    let (sh, sl) = halves(src);
    let (dh, dl) = halves(dst);
    let s = sh.wrapping_mul(MULTIPLIER) ^ sl;
    let d = dh.wrapping_mul(MULTIPLIER) ^ dl;
    let both = s.wrapping_add(d).wrapping_mul(MULTIPLIER)
        ^ s.wrapping_mul(d).wrapping_mul(MULTIPLIER.rotate_left(29));
    (both.wrapping_mul(MULTIPLIER) >> 56) as u8
}

/// The shard of a pair of addresses.
#[inline]
#[must_use]
pub fn shard_of(addrs: &crate::decode::Addrs) -> u8 {
    match *addrs {
        crate::decode::Addrs::V4 { src, dst } => shard_of_v4(src, dst),
        crate::decode::Addrs::V6 { src, dst } => shard_of_v6(src, dst),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_have_one_key_one_shard_and_opposite_orientation() {
        let (there, from) = Key4::of([10, 0, 0, 9], 4000, [10, 0, 0, 2], 443, 6, 0);
        let (back, to) = Key4::of([10, 0, 0, 2], 443, [10, 0, 0, 9], 4000, 6, 0);
        assert_eq!(there, back);
        assert_ne!(from, to);
        assert_eq!(shard_of_v4([10, 0, 0, 9], [10, 0, 0, 2]), shard_of_v4([10, 0, 0, 2], [10, 0, 0, 9]));
        let v6 = |n: u8| {
            let mut a = [0u8; 16];
            a[15] = n;
            a[0] = 0x20;
            a
        };
        assert_eq!(Key6::of(v6(1), 1, v6(2), 2, 17, 0).0, Key6::of(v6(2), 2, v6(1), 1, 17, 0).0);
        assert_eq!(shard_of_v6(v6(1), v6(2)), shard_of_v6(v6(2), v6(1)));
    }

    #[test]
    fn the_same_address_on_both_ends_is_ordered_by_port() {
        let (there, from) = Key4::of([127, 0, 0, 1], 50_000, [127, 0, 0, 1], 22, 6, 0);
        let (back, to) = Key4::of([127, 0, 0, 1], 22, [127, 0, 0, 1], 50_000, 6, 0);
        assert_eq!(there, back);
        assert_ne!(from, to);
    }

    #[test]
    fn neighbouring_addresses_spread_over_the_shards() {
        let mut used = [0u32; SHARDS];
        for host in 0..=255u8 {
            for net in 0..16u8 {
                used[usize::from(shard_of_v4([192, 168, net, host], [203, 0, 113, 7]))] += 1;
            }
        }
        let fullest = used.iter().max().copied().unwrap_or(0);
        assert!(fullest <= 48, "4,096 pairs, 16 a shard on average: fullest {fullest}");
        assert!(used.iter().filter(|n| **n == 0).count() <= 4);
    }

    #[test]
    fn a_seed_changes_buckets_but_never_shards() {
        let (key, _) = Key4::of([10, 0, 0, 9], 4000, [10, 0, 0, 2], 443, 6, 0);
        assert_ne!(key.hash(&Hasher::with_seed(1)), key.hash(&Hasher::with_seed(2)));
    }
}
