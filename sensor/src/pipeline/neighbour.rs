//! Who has which MAC address: from ARP, and from the frames that open flows.
//!
//! In: ARP frames (the splitter's), first frames of flows (the workers'). Out: [`Neighbour`]s for the reducer, each pair told once a
//! minute at most by whoever saw it. A frame's MAC address is its sender's only on the sender's own link; that of an address
//! outside is a router's.

use std::net::IpAddr;

use farend_analyzers::device::Mac;

use super::unit::Unit;
use crate::clock::SECOND_NS;
use crate::decode::Addrs;
use crate::flow::SHARDS;
use crate::home::{Home, is_host};

/// EtherTypes (IEEE): ARP, IPv4, IPv6, and tags of IEEE 802.1Q and 802.1ad.
const ARP: [u8; 2] = [0x08, 0x06];
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xDD];
const TAGS: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xA8]];
/// Tags of one frame that are looked behind.
const MAX_TAGS: usize = 2;
/// Hardware type Ethernet, protocol IPv4, their address lengths (RFC 826).
const ARP_HEAD: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];
/// The bit of a MAC address that says it is a group's.
const GROUP: u8 = 1;
/// A pair is told again after this.
const AGAIN_NS: i64 = 60 * SECOND_NS;
/// Pairs of a shard kept for the next tick. Who was left out is told with a later flow of his: five hundred a second is more than a
/// link has, and a flood of addresses must take neither memory nor time.
const MAX_PENDING: u8 = 2;

/// Stands for every address outside.
const ROUTER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

/// A MAC address and an IP address that belong together, or are a router's and a far host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// Time of the frame, ns since the epoch.
    pub ts_ns: i64,
    /// Index of the input.
    pub input: u16,
    /// Number of the frame in it, 1-based.
    pub number: u64,
    /// The address; the unspecified one for a router: whatever is outside has its MAC address.
    pub ip: IpAddr,
    /// The MAC address that frames from it or to it have.
    pub mac: Mac,
}

/// Pairs to tell, and prints of those that were told lately. Of two pairs that fall on one place the later one stays, so that
/// much may be told twice and nothing depends on more than the pairs themselves.
#[derive(Debug)]
pub(super) struct Pairs {
    prints: Box<[u64]>,
    pending: Vec<Neighbour>,
    /// How many are pending of each shard.
    counts: Box<[u8; SHARDS]>,
}

/// Places of a shard. Shards have places of their own, so that nothing depends on which others a worker has.
const PLACES: usize = 8;

impl Default for Pairs {
    fn default() -> Self {
        let prints = vec![0; SHARDS * PLACES].into();
        Self { prints, pending: Vec::new(), counts: Box::new([0; SHARDS]) }
    }
}

impl Pairs {
    /// Takes what was seen since the last call.
    pub(super) fn take(&mut self) -> Vec<Neighbour> {
        if !self.pending.is_empty() {
            self.counts.fill(0);
        }
        std::mem::take(&mut self.pending)
    }

    fn add(&mut self, shard: u8, pair: Neighbour) {
        let print = print(&pair);
        let place = usize::from(shard) * PLACES + (print >> 32) as usize % PLACES;
        let count = &mut self.counts[usize::from(shard)];
        if self.prints[place] != print && *count < MAX_PENDING {
            *count += 1;
            self.prints[place] = print;
            self.pending.push(pair);
        }
    }

    /// Takes an ARP frame.
    #[cold]
    pub(super) fn arp(&mut self, frame: &[u8], ts_ns: i64, input: u16, number: u64) {
        if let Some((mac, ip)) = arp_sender(frame) {
            self.add(ip as u8, Neighbour { ts_ns, input, number, ip: IpAddr::V4(ip.into()), mac });
        }
    }

    /// Takes the first frame of a flow, of which `region` is the memory.
    pub(super) fn opened(&mut self, unit: &Unit, region: &[u8], home: &Home) {
        if self.counts[usize::from(unit.shard)] >= MAX_PENDING {
            return;
        }
        let Some([to, from]) = macs(unit, region) else { return };
        let ends: [IpAddr; 2] = match unit.packet.addrs {
            Addrs::V4 { src, dst } => [src.into(), dst.into()],
            Addrs::V6 { src, dst } => [src.into(), dst.into()],
        };
        for (ip, mac) in ends.into_iter().zip([from, to]) {
            if is_host(ip) && is_one(mac) {
                let ip = if home.is_outside(ip) { ROUTER } else { ip };
                let Unit { ts_ns, input, number, shard, .. } = *unit;
                self.add(shard, Neighbour { ts_ns, input, number, ip, mac });
            }
        }
    }
}

/// A print of a pair in its minute; never 0.
fn print(pair: &Neighbour) -> u64 {
    let mac = pair.mac.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    let ip = match pair.ip {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64 ^ (ip.to_bits() as u64).rotate_left(13),
    };
    let minute = pair.ts_ns.div_euclid(AGAIN_NS).cast_unsigned();
    let mixed = (mac ^ ip.rotate_left(17)).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ minute.rotate_left(40);
    mixed.wrapping_mul(0xD6E8_FEB8_6659_FD93).max(1)
}

/// Whether it is a single station's.
fn is_one(mac: Mac) -> bool {
    mac[0] & GROUP == 0 && mac != [0; 6]
}

/// Where the EtherType is that no tag has, and what it is.
fn ethertype(frame: &[u8]) -> Option<(usize, [u8; 2])> {
    let mut at = 12;
    for _ in 0..=MAX_TAGS {
        let kind: [u8; 2] = frame.get(at..at + 2)?.try_into().ok()?;
        if !TAGS.contains(&kind) {
            return Some((at, kind));
        }
        at += 4;
    }
    None
}

/// Who says in an ARP frame that it has which address. One that names another station than the one that sends it is a proxy's, or
/// worse (RFC 826 has them equal).
fn arp_sender(frame: &[u8]) -> Option<(Mac, u32)> {
    let (at, ARP) = ethertype(frame)? else { return None };
    let arp = frame.get(at + 2..at + 2 + 28)?;
    let source: Mac = frame.get(6..12)?.try_into().ok()?;
    let (mac, ip): (Mac, [u8; 4]) = (arp[8..14].try_into().ok()?, arp[14..18].try_into().ok()?);
    let right = arp[..6] == ARP_HEAD && matches!(arp[6..8], [0, 1 | 2]) && mac == source && is_one(mac);
    // A probe (RFC 5227) has no sender's address.
    let ip = u32::from_be_bytes(ip);
    (right && is_host(IpAddr::V4(ip.into()))).then_some((mac, ip))
}

/// Destination and source of the Ethernet frame that a packet lies in, if it is that frame's own packet.
fn macs(unit: &Unit, region: &[u8]) -> Option<[Mac; 2]> {
    if unit.in_extra || unit.layer != 0 {
        return None;
    }
    let frame = region.get(unit.at.checked_sub(unit.packet.payload_at as usize)?..unit.at)?;
    // Another link layer's header is told from Ethernet's by where the IP header is.
    let (at, kind) = ethertype(frame)?;
    let ip = frame.get(at + 2..)?;
    let header = match (kind, ip.first()? >> 4) {
        (IPV4, 4) => usize::from(ip[0] & 0x0F) * 4,
        (IPV6, 6) => 40,
        _ => return None,
    };
    let own = at + 2 + header == unit.packet.l4_at as usize;
    own.then(|| Some([frame[..6].try_into().ok()?, frame[6..12].try_into().ok()?])).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Decoded, Decoder, Link, Outcome};

    const PI: Mac = [0xB8, 0x27, 0xEB, 1, 2, 3];

    fn arp(source: Mac, sender: Mac, ip: [u8; 4], tag: &[u8]) -> Vec<u8> {
        let head: [&[u8]; 6] = [&[0xFF; 6], &source, tag, &ARP, &ARP_HEAD, &[0, 1]];
        [&head.concat()[..], &sender, &ip, &[0; 10]].concat()
    }

    #[test]
    fn an_arp_frame_tells_its_sender_also_behind_a_tag() {
        let ours = Some((PI, 0xC0A8_0107));
        assert_eq!(arp_sender(&arp(PI, PI, [192, 168, 1, 7], &[])), ours);
        assert_eq!(arp_sender(&arp(PI, PI, [192, 168, 1, 7], &[0x81, 0, 0, 7])), ours);
    }

    #[test]
    fn probes_proxies_groups_and_cut_frames_tell_nothing() {
        let other = [2, 0, 0, 0, 0, 9];
        assert_eq!(arp_sender(&arp(PI, PI, [0; 4], &[])), None, "a probe");
        assert_eq!(arp_sender(&arp(other, PI, [192, 168, 1, 7], &[])), None, "another station sends it");
        assert_eq!(arp_sender(&arp([1; 6], [1; 6], [192, 168, 1, 7], &[])), None, "a group");
        let whole = arp(PI, PI, [192, 168, 1, 7], &[]);
        assert_eq!(whole.len(), 42);
        assert!((0..whole.len()).all(|n| arp_sender(&whole[..n]).is_none()));
    }

    #[test]
    fn a_pair_is_told_once_a_minute() {
        let mut pairs = Pairs::default();
        let frame = arp(PI, PI, [192, 168, 1, 7], &[]);
        for second in 0..61 {
            pairs.arp(&frame, second * SECOND_NS, 0, 1);
        }
        assert_eq!(pairs.take().iter().map(|n| n.ts_ns / SECOND_NS).collect::<Vec<_>>(), [0, 60]);
        assert!(pairs.take().is_empty());
    }

    #[test]
    fn the_first_frame_of_a_flow_tells_the_ends_inside_and_only_on_ethernet() {
        let packet = [
            0x45, 0, 0, 29, 0, 1, 0, 0, 64, 17, 0, 0, 192, 168, 1, 7, 8, 8, 8, 8, 0x9C, 0x40, 0, 53, 0, 9, 0,
            0, 1,
        ];
        let told = |link: Link, head: &[u8]| {
            let frame = [head, &packet].concat();
            let mut out = Decoded::default();
            let outcome = Decoder::default().decode(link, &frame, frame.len() as u32, 0, &mut out);
            assert_eq!(outcome, Outcome::Packets(1));
            let packet = out.packets[0];
            let unit = Unit {
                packet,
                at: 5 + packet.payload_at as usize,
                in_extra: false,
                shard: 3,
                layer: 0,
                input: 0,
                joined: false,
                seq: 0,
                number: 9,
                ts_ns: 0,
            };
            let mut pairs = Pairs::default();
            pairs.opened(&unit, &[&[0; 5], &frame[..]].concat(), &Home::default());
            pairs.take().iter().map(|n| (n.ip.to_string(), n.mac)).collect::<Vec<_>>()
        };
        let gateway = [2, 0, 0, 0, 0, 1];
        let ours = vec![("192.168.1.7".to_owned(), PI), ("0.0.0.0".to_owned(), gateway)];
        assert_eq!(told(Link::Ethernet, &[&gateway[..], &PI, &IPV4].concat()), ours);
        assert_eq!(told(Link::Ethernet, &[&gateway[..], &PI, &[0x81, 0, 0, 7], &IPV4].concat()), ours);
        assert!(told(Link::RawIp, &[]).is_empty());
        let cooked = [&[0, 0, 0, 1, 0, 6][..], &PI, &[0, 0], &IPV4].concat();
        assert!(told(Link::Sll, &cooked).is_empty());
    }
}
