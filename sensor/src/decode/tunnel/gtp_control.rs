//! Control messages of mobile networks: GTP-C (3GPP TS 29.060, version 1; TS 29.274, version 2) and GTP' for charging
//! (TS 32.295). In: a UDP payload. Out: whether it is such a message, whole: its length and the lengths of its
//! information elements end where the datagram does.
//!
//! There is no packet inside: the datagram is the flow.

/// Information elements walked at most.
const MAX_ELEMENTS: usize = 128;

/// Most messages carried in one datagram behind another (TS 29.274 section 5.1: two).
const MAX_PIGGYBACKED: usize = 2;

/// Whether `payload`, all of it captured, is a message.
pub(super) fn is_whole(payload: &[u8], wire: usize) -> bool {
    let Some(head) = payload.first_chunk::<8>() else { return false };
    if payload.len() != wire {
        return false;
    }
    match head[0] {
        first if first & 0xf8 == 0x30 => version_1(head, payload),
        first if first & 0xe3 == 0x40 => version_2(payload),
        _ => charging(head, payload),
    }
}

/// Message types of TS 29.060 table 1 and of the path management of TS 29.281.
fn is_message_1(kind: u8) -> bool {
    matches!(kind, 1..=7 | 16..=38 | 48..=62 | 96..=106 | 112..=121 | 128..=130)
}

fn version_1(head: &[u8; 8], payload: &[u8]) -> bool {
    const SEQUENCE: u8 = 0x02;
    const EXTENSION: u8 = 0x04;
    const ECHO: [u8; 2] = [1, 2];
    let kind = head[1];
    let fits = usize::from(u16::from_be_bytes([head[2], head[3]])) + 8 == payload.len();
    // A message of the control plane has a sequence number, which the other two octets follow.
    let Some(optional) = payload.get(8..).and_then(<[u8]>::first_chunk::<4>) else { return false };
    if !fits || !is_message_1(kind) || head[0] & (SEQUENCE | EXTENSION) != SEQUENCE {
        return false;
    }
    // An echo goes to no tunnel, and asks without an element.
    if ECHO.contains(&kind) && (head[4..] != [0; 4] || optional[2..] != [0; 2]) {
        return false;
    }
    match elements_1(&payload[12..]) {
        Some(0) => kind == ECHO[0],
        Some(_) => true,
        None => false,
    }
}

/// How many elements there are until the end: type and value of a length that the type says, or type, length, value,
/// in ascending order (TS 29.060 section 7.7).
fn elements_1(mut rest: &[u8]) -> Option<usize> {
    let mut last = 0;
    for count in 0..MAX_ELEMENTS {
        let Some(kind) = rest.first() else { return Some(count) };
        if *kind < last {
            return None;
        }
        last = *kind;
        let len = match kind {
            1 | 8 | 11 | 13..=15 | 19..=21 | 23 | 24 | 29 | 126 => 1,
            25..=28 => 2,
            12 => 3,
            4 | 5 | 16 | 17 | 127 => 4,
            18 => 5,
            3 => 6,
            2 => 8,
            22 => 9,
            9 => 28,
            128.. => 2 + usize::from(u16::from_be_bytes(*rest.get(1..)?.first_chunk()?)),
            _ => return None,
        };
        rest = rest.get(1 + len..)?;
    }
    None
}

/// Message types of TS 29.274 table 6.1-1.
fn is_message_2(kind: u8) -> bool {
    matches!(kind, 1..=3 | 25..=31 | 32..=73 | 95..=103 | 128..=142 | 149..=181 | 200 | 201 | 211 | 212 | 231..=240)
}

fn version_2(mut rest: &[u8]) -> bool {
    const PIGGYBACK: u8 = 0x10;
    const TUNNEL: u8 = 0x08;
    const PRIORITY: u8 = 0x04;
    for _ in 0..=MAX_PIGGYBACKED {
        let Some(&[flags, kind, high, low]) = rest.first_chunk() else { return false };
        let end = 4 + usize::from(u16::from_be_bytes([high, low]));
        let header_len = if flags & TUNNEL != 0 { 12 } else { 8 };
        let Some(message) = rest.get(..end) else { return false };
        // The last octet of the header is spare, but for a priority in its first half.
        let Some(spare) = message.get(header_len - 1) else { return false };
        let spare = if flags & PRIORITY != 0 { spare & 0x0f } else { *spare };
        if flags & 0xe3 != 0x40 || !is_message_2(kind) || spare != 0 || !elements_2(&message[header_len..]) {
            return false;
        }
        rest = &rest[end..];
        if flags & PIGGYBACK == 0 {
            return rest.is_empty();
        }
    }
    false
}

/// Whether one element or more fill `rest`: type, length, four spare bits and the instance, value.
fn elements_2(mut rest: &[u8]) -> bool {
    for count in 0..MAX_ELEMENTS {
        let Some(&[kind, high, low, instance]) = rest.first_chunk() else {
            return rest.is_empty() && count > 0;
        };
        let Some(behind) = rest.get(4 + usize::from(u16::from_be_bytes([high, low]))..) else { return false };
        if kind == 0 || instance >> 4 != 0 {
            return false;
        }
        rest = behind;
    }
    false
}

/// GTP': a header of 6 bytes, or of version 0 with 20, whose last bytes are unused (TS 32.295 section 6.1.1).
fn charging(head: &[u8; 8], payload: &[u8]) -> bool {
    const LONG: usize = 20;
    const SHORT: usize = 6;
    /// Data record transfer request and response.
    const TRANSFER: [u8; 2] = [240, 241];
    let (version, short) = (head[0] >> 5, head[0] & 1 != 0);
    let header_len = if version == 0 && !short { LONG } else { SHORT };
    let fits = usize::from(u16::from_be_bytes([head[2], head[3]])) + header_len == payload.len();
    if head[0] & 0x1e != 0x0e
        || version > 2
        || !fits
        || !(matches!(head[1], 1..=7) || TRANSFER.contains(&head[1]))
    {
        return false;
    }
    let Some(rest) = payload.get(header_len..) else { return false };
    if header_len == LONG && payload[9..LONG].iter().any(|byte| !matches!(byte, 0 | 0xff)) {
        return false;
    }
    // Requests to send, and answers with a cause; an echo alone would be six bytes that anything may be.
    match head[1] {
        240 => rest.len() >= 2 && rest[0] == 126 && matches!(rest[1], 1..=4) && elements_charging(rest),
        _ => rest.len() >= 2 && elements_charging(rest),
    }
}

/// Elements of charging: like those of version 1, of which it uses these, in any order.
fn elements_charging(mut rest: &[u8]) -> bool {
    for _ in 0..MAX_ELEMENTS {
        let len = match rest.first() {
            None => return true,
            Some(1 | 14 | 126) => 1,
            // Requests responded, address of a node, sequence numbers, data records, private extension.
            Some(249..=255) => {
                let Some(len) = rest.get(1..).and_then(<[u8]>::first_chunk) else { return false };
                2 + usize::from(u16::from_be_bytes(*len))
            }
            Some(_) => return false,
        };
        let Some(behind) = rest.get(1 + len..) else { return false };
        rest = behind;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::*;
    use super::*;

    /// A version 2 message with a tunnel: flags, type, length, tunnel, sequence number, spare, elements.
    fn message_2(flags: u8, kind: u8, spare: u8, elements: &[u8]) -> Vec<u8> {
        let [high, low] = (8 + elements.len() as u16).to_be_bytes();
        join(&[&[flags, kind, high, low, 0, 0, 0, 7, 0, 0, 1, spare], elements])
    }

    /// Cause: accepted.
    const CAUSE: [u8; 6] = [2, 0, 2, 0, 16, 0];

    #[test]
    fn control_messages_of_every_version_are_carriers_on_any_port() {
        let create_pdp = [
            0x32, 16, 0, 21, 0, 0, 0, 0, 0, 1, 0, 0, // 12 bytes of header
            2, 1, 2, 3, 4, 5, 6, 7, 8, 14, 1, 131, 0, 2, 1, b'a', // IMSI, recovery, access point name
            255, 0, 0, // extension
        ];
        let mut create_pdp = create_pdp.to_vec();
        create_pdp[3] = create_pdp.len() as u8 - 8;
        let echo_2 = [0x40, 1, 0, 9, 0, 0, 1, 0, 3, 0, 1, 0, 7];
        let piggybacked = join(&[&message_2(0x58, 33, 0, &CAUSE), &message_2(0x48, 95, 0, &CAUSE)]);
        let transfer = [0x2e, 240, 0, 8, 0, 4, 126, 1, 252, 0, 3, 1, 1, 0];
        for message in [
            &[0x32, 1, 0, 4, 0, 0, 0, 0, 0, 1, 0, 0][..],
            &[0x32, 2, 0, 6, 0, 0, 0, 0, 0, 1, 0, 0, 14, 3],
            &create_pdp,
            &echo_2,
            &message_2(0x48, 32, 0, &CAUSE),
            &message_2(0x4c, 32, 0x50, &CAUSE),
            &piggybacked,
            &transfer,
        ] {
            let packets = packets_of(&ipv4(17, &udp(40001, 40002, message)));
            assert_eq!((packets.len(), layers(&packets[0])), (1, vec!["gtp"]), "{message:02x?}");
        }
    }

    #[test]
    fn a_message_that_does_not_end_where_its_datagram_does_is_none() {
        let whole = message_2(0x48, 32, 0, &CAUSE);
        assert!(is_whole(&whole, whole.len()));
        assert!(!is_whole(&whole, whole.len() + 1), "cut by the capture");
        for end in 0..whole.len() {
            assert!(!is_whole(&whole[..end], end));
        }
        let longer = join(&[&whole, &[0]]);
        assert!(!is_whole(&longer, longer.len()));
        let element_too_long = message_2(0x48, 32, 0, &[2, 0, 3, 0, 16, 0]);
        assert!(!is_whole(&element_too_long, element_too_long.len()));
    }

    #[test]
    fn spare_bits_unknown_types_and_missing_elements_are_none() {
        for message in [
            message_2(0x49, 32, 0, &CAUSE),
            message_2(0x48, 90, 0, &CAUSE),
            message_2(0x48, 32, 1, &CAUSE),
            message_2(0x48, 32, 0, &[2, 0, 2, 0x10, 16, 0]),
            message_2(0x48, 32, 0, &[]),
            // Version 1: an echo to a tunnel, an element out of order, one of unknown length.
            vec![0x32, 1, 0, 4, 0, 0, 0, 7, 0, 1, 0, 0],
            vec![0x32, 18, 0, 8, 0, 0, 0, 7, 0, 1, 0, 0, 14, 1, 1, 1],
            vec![0x32, 18, 0, 6, 0, 0, 0, 7, 0, 1, 0, 0, 77, 1],
            // Charging: a transfer without its command.
            vec![0x2e, 240, 0, 5, 0, 4, 252, 0, 2, 1, 1],
        ] {
            assert!(!is_whole(&message, message.len()), "{message:02x?}");
        }
    }
}
