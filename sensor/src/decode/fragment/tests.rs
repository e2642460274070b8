//! Fragments through the whole decoder, as frames bring them.

use super::super::fixtures::*;
use super::super::{DecodeConfig, Decoded, Decoder, Layer, Link, Malformed, Outcome, Packet};
use super::*;

const SECOND: i64 = 1_000_000_000;
const MORE: u16 = 0x2000;

struct Feed {
    decoder: Decoder,
    out: Decoded,
    now_ns: i64,
}

impl Feed {
    fn new() -> Self {
        Self::with(FragmentLimits::default())
    }

    fn with(fragments: FragmentLimits) -> Self {
        Self { decoder: Decoder::new(DecodeConfig { fragments }), out: Decoded::default(), now_ns: 0 }
    }

    fn frame(&mut self, frame: &[u8]) -> Outcome {
        self.cut(frame, frame.len())
    }

    fn cut(&mut self, frame: &[u8], captured: usize) -> Outcome {
        self.decoder.decode(Link::RawIp, &frame[..captured], frame.len() as u32, self.now_ns, &mut self.out)
    }

    /// The single packet of the last frame and its payload.
    fn packet(&self) -> (Packet, Vec<u8>) {
        assert_eq!(self.out.packets.len(), 1);
        let packet = self.out.packets[0];
        assert!(packet.reassembled);
        (packet, self.decoder.bytes(&[], &packet).to_vec())
    }

    fn stats(&self) -> FragmentStats {
        self.decoder.fragment_stats()
    }
}

/// A UDP datagram of 3,000 bytes of payload, and its pieces of at most `size` bytes as IPv4 fragments.
fn datagram() -> Vec<u8> {
    udp(5000, 9999, &(0..3000_u32).map(|i| (i % 251) as u8).collect::<Vec<_>>())
}

fn pieces(datagram: &[u8], size: usize) -> Vec<Vec<u8>> {
    let count = datagram.len().div_ceil(size);
    let piece = |(i, bytes): (usize, &[u8])| {
        let more = if i + 1 < count { MORE } else { 0 };
        ipv4_fragment(17, more | (i * size / 8) as u16, bytes)
    };
    datagram.chunks(size).enumerate().map(piece).collect()
}

fn malformed(why: Why) -> Outcome {
    Outcome::Malformed(Malformed { layer: Layer::Fragment, why })
}

#[test]
fn fragments_in_any_order_make_the_datagram() {
    let datagram = datagram();
    let pieces = pieces(&datagram, 1480);
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]] {
        let mut feed = Feed::new();
        assert_eq!(feed.frame(&pieces[order[0]]), Outcome::Fragment);
        assert_eq!(feed.frame(&pieces[order[1]]), Outcome::Fragment);
        assert_eq!(feed.frame(&pieces[order[2]]), Outcome::Packets(1));
        let (packet, payload) = feed.packet();
        assert_eq!((packet.src_port, packet.dst_port, packet.ip_id, packet.ttl), (5000, 9999, 0x1234, 63));
        assert_eq!(packet.ip_flags, 0, "whichever fragment came last");
        assert_eq!(payload, datagram[8..]);
        assert_eq!(
            packet.wire_len as usize,
            pieces.iter().map(Vec::len).sum::<usize>(),
            "every frame is accounted"
        );
        assert_eq!((feed.stats().reassembled, feed.stats().pending), (1, 0));
    }
}

#[test]
fn ipv6_fragments_make_the_datagram_and_its_extension_headers() {
    let body = join(&[&[17, 0, 1, 4, 0, 0, 0, 0], &udp(5000, 9999, b"twenty-four bytes of it!")]);
    let fragment = |offset_more: u16, bytes: &[u8]| {
        let [high, low] = offset_more.to_be_bytes();
        ipv6(44, &join(&[&[60, 0, high, low, 0xde, 0xad, 0xbe, 0xef], bytes]))
    };
    let mut feed = Feed::new();
    assert_eq!(feed.frame(&fragment(16, &body[16..])), Outcome::Fragment);
    assert_eq!(feed.frame(&fragment(1, &body[..16])), Outcome::Packets(1));
    let (packet, payload) = feed.packet();
    assert_eq!(
        (packet.src_port, packet.ip_id, payload.as_slice()),
        (5000, 0xbeef, &b"twenty-four bytes of it!"[..])
    );
}

#[test]
fn datagrams_of_other_hosts_protocols_and_numbers_are_kept_apart() {
    let pieces = pieces(&datagram(), 1480);
    for change in [5, 9, 15, 19] {
        let mut feed = Feed::new();
        assert_eq!(feed.frame(&pieces[0]), Outcome::Fragment);
        assert_eq!(feed.frame(&pieces[1]), Outcome::Fragment);
        let mut other = pieces[2].clone();
        other[change] ^= 1;
        assert_eq!(feed.frame(&other), Outcome::Fragment, "byte {change} differs");
        assert_eq!(feed.stats().pending, 2);
    }
}

#[test]
fn the_first_bytes_win_where_fragments_overlap() {
    let datagram = udp(5000, 9999, &[1; 40]);
    let mut feed = Feed::new();
    assert_eq!(feed.frame(&ipv4_fragment(17, MORE, &datagram[..32])), Outcome::Fragment);
    // Bytes 24 to 48 again as twos: only those from 32 on are new.
    assert_eq!(feed.frame(&ipv4_fragment(17, 3, &[2; 24])), Outcome::Packets(1));
    let (_, payload) = feed.packet();
    assert_eq!(payload, join(&[&[1; 24], &[2; 16]]));
    assert_eq!((feed.stats().overlaps, feed.stats().duplicates), (1, 0));
}

#[test]
fn a_gap_between_two_pieces_is_filled_by_a_fragment_that_overlaps_both() {
    let datagram = udp(5000, 9999, &[1; 56]);
    let mut feed = Feed::new();
    assert_eq!(feed.frame(&ipv4_fragment(17, MORE, &datagram[..16])), Outcome::Fragment);
    assert_eq!(feed.frame(&ipv4_fragment(17, 6, &datagram[48..])), Outcome::Fragment);
    assert_eq!(feed.frame(&ipv4_fragment(17, MORE | 1, &[9; 48])), Outcome::Packets(1));
    assert_eq!(feed.packet().1, join(&[&[1; 8], &[9; 32], &[1; 16]]));
}

#[test]
fn both_copies_of_a_mirrored_fragment_are_one() {
    let pieces = pieces(&datagram(), 1480);
    let mut feed = Feed::new();
    assert_eq!(feed.frame(&pieces[0]), Outcome::Fragment);
    assert_eq!(feed.frame(&pieces[0]), Outcome::Fragment);
    assert_eq!(feed.frame(&pieces[1]), Outcome::Fragment);
    assert_eq!(feed.frame(&pieces[2]), Outcome::Packets(1));
    assert_eq!((feed.stats().duplicates, feed.stats().overlaps), (1, 0));
    assert_eq!(feed.packet().0.wire_len, 3 * 20 + 3008, "a duplicate is not accounted twice");
}

#[test]
fn fragments_that_disagree_about_the_end_take_the_datagram_with_them() {
    for (first, second) in [
        // Teardrop: the last fragment ends before the first one does.
        (ipv4_fragment(17, MORE, &[0; 40]), ipv4_fragment(17, 3, &[0; 4])),
        // Two last fragments.
        (ipv4_fragment(17, 8, &[0; 16]), ipv4_fragment(17, 8, &[0; 20])),
        // A fragment behind the last one.
        (ipv4_fragment(17, 8, &[0; 16]), ipv4_fragment(17, MORE | 12, &[0; 16])),
    ] {
        let mut feed = Feed::new();
        assert_eq!(feed.frame(&first), Outcome::Fragment);
        assert_eq!(feed.frame(&second), malformed(Why::Contradiction));
        assert_eq!((feed.stats().pending, feed.stats().abandoned, feed.stats().rejected), (0, 1, 1));
    }
}

#[test]
fn overlarge_misaligned_and_empty_fragments_are_rejected() {
    let mut feed = Feed::new();
    assert_eq!(feed.frame(&ipv4_fragment(17, 0x1fff, &[0; 8])), malformed(Why::Overlarge));
    assert_eq!(feed.frame(&ipv4_fragment(17, MORE | 1, &[0; 12])), malformed(Why::Misaligned));
    assert_eq!(feed.frame(&ipv4_fragment(17, MORE, &[])), malformed(Why::TooShort));
    assert_eq!((feed.stats().rejected, feed.stats().pending), (3, 0));
}

#[test]
fn a_flood_of_tiny_fragments_is_given_up() {
    let mut feed = Feed::new();
    for i in 0..MAX_FRAGMENTS {
        assert_eq!(feed.frame(&ipv4_fragment(17, MORE | (2 * i + 1), &[0; 8])), Outcome::Fragment);
    }
    assert_eq!(feed.frame(&ipv4_fragment(17, MORE | 4000, &[0; 8])), malformed(Why::TooManyPieces));
    assert_eq!(feed.stats().pending, 0);
}

#[test]
fn an_incomplete_datagram_expires_on_packet_time() {
    let pieces = pieces(&datagram(), 1480);
    let mut feed = Feed::new();
    assert_eq!(feed.frame(&pieces[0]), Outcome::Fragment);
    feed.now_ns = 31 * SECOND;
    assert_eq!(feed.frame(&pieces[1]), Outcome::Fragment);
    assert_eq!((feed.stats().expired, feed.stats().pending), (1, 1));
    feed.now_ns = 5 * SECOND;
    assert_eq!(feed.frame(&pieces[2]), Outcome::Fragment, "time running backwards expires nothing");
    assert_eq!((feed.stats().expired, feed.stats().pending), (1, 1));
}

#[test]
fn at_the_cap_of_datagrams_the_oldest_goes() {
    let mut feed = Feed::with(FragmentLimits { datagrams: 2, ..FragmentLimits::default() });
    let numbered = |id: u8, piece: &[u8]| {
        let mut piece = piece.to_vec();
        piece[5] = id;
        piece
    };
    let pieces = pieces(&datagram(), 2000);
    for id in [1, 2, 3] {
        assert_eq!(feed.frame(&numbered(id, &pieces[0])), Outcome::Fragment);
    }
    assert_eq!((feed.stats().evicted, feed.stats().pending), (1, 2));
    assert_eq!(feed.frame(&numbered(2, &pieces[1])), Outcome::Packets(1));
    assert_eq!(feed.frame(&numbered(1, &pieces[1])), Outcome::Fragment, "the first one had to go");
    assert_eq!(feed.frame(&numbered(3, &pieces[1])), Outcome::Packets(1));
}

#[test]
fn at_the_cap_of_bytes_the_oldest_goes_and_the_store_never_grows() {
    let mut feed = Feed::with(FragmentLimits { bytes: 200_000, ..FragmentLimits::default() });
    let last = |id: u8, flags_offset: u16, len: usize| {
        let mut piece = ipv4_fragment(17, flags_offset, &vec![7; len]);
        piece[5] = id;
        piece
    };
    for id in 0..40 {
        assert_eq!(feed.frame(&last(id, MORE | 1, 16_000)), Outcome::Fragment);
    }
    let stats = feed.stats();
    assert_eq!(stats.pending + stats.evicted, 40);
    assert!(stats.pending * 16_000 <= 200_000 && stats.pending >= 10, "{stats:?}");
}

#[test]
fn fragments_that_a_snapshot_length_cut_still_complete_their_datagram() {
    let datagram = datagram();
    let mut feed = Feed::new();
    let pieces = pieces(&datagram, 1480);
    assert_eq!(feed.cut(&pieces[0], 64), Outcome::Fragment);
    assert_eq!(feed.cut(&pieces[1], 64), Outcome::Fragment);
    assert_eq!(feed.cut(&pieces[2], 64), Outcome::Packets(1));
    let (packet, payload) = feed.packet();
    assert_eq!((packet.payload_len, packet.payload_wire), (64 - 28, 3000));
    assert_eq!(payload, datagram[8..44]);
}

#[test]
fn fragments_inside_a_fragmented_tunnel_are_reassembled_twice() {
    let inner = pieces(&datagram(), 1480);
    let mut feed = Feed::new();
    let mut id = 0;
    let mut outcomes = Vec::new();
    for piece in &inner {
        let gre = join(&[&[0, 0, 8, 0], piece]);
        let cut = gre.len() / 16 * 8;
        id += 1;
        for (flags_offset, bytes) in [(MORE, &gre[..cut]), ((cut / 8) as u16, &gre[cut..])] {
            let mut outer = ipv4_fragment(47, flags_offset, bytes);
            outer[5] = id;
            outcomes.push(feed.frame(&outer));
        }
    }
    assert_eq!(outcomes[..5], [Outcome::Fragment; 5]);
    assert_eq!(outcomes[5], Outcome::Packets(1));
    let (packet, payload) = feed.packet();
    assert_eq!((packet.buffer, layers(&packet), payload), (2, vec!["gre"], datagram()[8..].to_vec()));
    assert_eq!(packet.wire_len, 3 * 20 + 3008, "the inner fragments' IP lengths");
}

#[test]
fn segments_with_the_same_addresses_do_not_mix() {
    let pieces = pieces(&datagram(), 2000);
    let in_segment =
        |vni, piece: &[u8]| ipv4(17, &udp(50000, 4790, &join(&[&[0x0c, 0, 0, 1, 0, 0, vni, 0], piece])));
    let mut feed = Feed::new();
    assert_eq!(feed.frame(&in_segment(1, &pieces[0])), Outcome::Fragment);
    assert_eq!(feed.frame(&in_segment(2, &pieces[1])), Outcome::Fragment);
    assert_eq!(feed.frame(&in_segment(1, &pieces[1])), Outcome::Packets(1));
    assert_eq!(layers(&feed.packet().0), ["vxlan"]);
}
