//! What a pcapng file says at its end of packets that were lost.
//!
//! Interface statistics (draft-ietf-opsawg-pcapng, section 4.6) are written when a capture ends, so whoever reads from the beginning
//! learns of a loss after the last packet. Every block repeats its length at its end, so they can be found from there.

use super::super::fields::u32_at;
use super::INTERFACE_STATISTICS;
use super::options::options;
use super::section::{ISB_IFDROP, ISB_IFRECV, ISB_OSDROP, u64_of};

/// Blocks looked at: as many as there are interfaces in all but strange files.
const BLOCKS: usize = 64;
/// Type, length, interface, time, and the length again.
const LEAST: usize = 24;

/// Packets lost and packets there were, by the statistics at the end of `bytes`, which are the last of a file; `None` where there are
/// none or they do not say how many there were.
pub(in crate::source) fn losses(bytes: &[u8]) -> Option<[u64; 2]> {
    let little = |at: usize| u32_at::<false>(bytes, at);
    let big = |at: usize| u32_at::<true>(bytes, at);
    let mut end = bytes.len();
    let (mut lost, mut received) = (0u64, 0u64);
    for _ in 0..BLOCKS {
        let Some(last) = end.checked_sub(4) else { break };
        let block = |len: u32| {
            let start = end.checked_sub(usize::try_from(len).ok()?)?;
            (len as usize >= LEAST).then_some(start)
        };
        let read = |big_endian: bool| {
            let word = |at| if big_endian { big(at) } else { little(at) };
            let start = block(word(last))?;
            let is = word(start) == INTERFACE_STATISTICS && word(start + 4) == word(last);
            is.then(|| (start, of(&bytes[start + 20..last], big_endian)))
        };
        let Some((start, [theirs, all])) = read(false).or_else(|| read(true)) else { break };
        (lost, received) = (lost.saturating_add(theirs), received.saturating_add(all));
        end = start;
    }
    (received > 0).then_some([lost.min(received), received])
}

/// Lost and received by the options of one block.
fn of(fields: &[u8], big_endian: bool) -> [u64; 2] {
    let sum = |codes: &[u16]| {
        let add = |sum: u64, value: Option<u64>| sum.saturating_add(value.unwrap_or(0));
        if big_endian {
            let all = options::<true>(fields).filter(|(code, _)| codes.contains(code));
            all.map(|(_, value)| u64_of::<true>(value)).fold(0, add)
        } else {
            let all = options::<false>(fields).filter(|(code, _)| codes.contains(code));
            all.map(|(_, value)| u64_of::<false>(value)).fold(0, add)
        }
    };
    [sum(&[ISB_IFDROP, ISB_OSDROP]), sum(&[ISB_IFRECV])]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(options: &[(u16, u64)]) -> Vec<u8> {
        let len = (24 + 12 * options.len() + 4) as u32;
        let mut block = [5, len, 0, 0, 0].map(u32::to_le_bytes).concat();
        for (code, value) in options {
            block.extend(code.to_le_bytes());
            block.extend(8u16.to_le_bytes());
            block.extend(value.to_le_bytes());
        }
        block.extend([0; 4]);
        block.extend(len.to_le_bytes());
        block
    }

    #[test]
    fn statistics_at_the_end_are_summed_over_interfaces() {
        let packet = [&6u32.to_le_bytes()[..], &16u32.to_le_bytes(), &[0; 4], &16u32.to_le_bytes()].concat();
        let a = statistics(&[(ISB_IFRECV, 900), (ISB_IFDROP, 60)]);
        let b = statistics(&[(ISB_IFRECV, 100), (ISB_IFDROP, 30), (ISB_OSDROP, 10)]);
        assert_eq!(losses(&[&packet[..], &a, &b].concat()), Some([100, 1_000]));
        assert_eq!(losses(&[&a[..], &packet, &b].concat()), Some([40, 100]), "those at the end alone");
        assert_eq!(losses(&packet), None);
    }

    #[test]
    fn what_is_no_end_of_a_capture_says_nothing() {
        assert_eq!(losses(&[]), None);
        assert_eq!(losses(&[0xFF; 64]), None);
        let whole = statistics(&[(ISB_IFRECV, 900)]);
        for cut in 0..whole.len() {
            assert_eq!(losses(&whole[..cut]), None);
            assert_eq!(losses(&whole[whole.len() - cut..]), None);
        }
    }
}
