//! LISP control messages: who has which address where (RFC 9301). In: a UDP payload. Out: whether it is such a message,
//! whole: its records end where the datagram does.
//!
//! There is no packet inside but a control message in an encapsulated one: the datagram is the flow.

use super::content;

/// Message types (section 5).
mod message {
    pub(super) const MAP_REQUEST: u8 = 1;
    pub(super) const MAP_REPLY: u8 = 2;
    pub(super) const MAP_REGISTER: u8 = 3;
    pub(super) const MAP_NOTIFY: u8 = 4;
    pub(super) const ENCAPSULATED: u8 = 8;
}

/// Records and locators of one message at most; a datagram holds few.
const MAX_RECORDS: u8 = 64;

/// Address families (IANA "Address Family Numbers").
mod family {
    pub(super) const NONE: u16 = 0;
    pub(super) const IPV4: u16 = 1;
    pub(super) const IPV6: u16 = 2;
    /// LISP canonical address format (RFC 8060 section 3).
    pub(super) const CANONICAL: u16 = 16387;
    pub(super) const MAC: u16 = 16389;
}

/// Whether `payload`, all of it captured, is a message.
pub(super) fn is_whole(payload: &[u8], wire: usize) -> bool {
    payload.len() == wire && message(payload).is_some_and(|rest| rest)
}

fn message(payload: &[u8]) -> Option<bool> {
    let head = payload.first_chunk::<4>()?;
    let count = head[3];
    let kind = head[0] >> 4;
    if kind == message::ENCAPSULATED {
        return encapsulated(head, payload);
    }
    if !(1..=MAX_RECORDS).contains(&count) {
        return Some(false);
    }
    // A nonce follows.
    let mut rest = Rest(payload.get(12..)?);
    match kind {
        message::MAP_REQUEST => {
            if head[1] & 0x1f != 0 || head[2] & 0xe0 != 0 {
                return Some(false);
            }
            rest.address()?;
            for _ in 0..=head[2] & 0x1f {
                // Where to answer: an address.
                if rest.address()? == family::NONE {
                    return Some(false);
                }
            }
            for _ in 0..count {
                let [reserved, mask] = rest.take()?;
                let family = rest.address()?;
                if reserved != 0 || !mask_fits(mask, family) {
                    return Some(false);
                }
            }
            if head[0] & 0x04 != 0 {
                rest.records(1)?;
            }
            Some(rest.0.is_empty())
        }
        message::MAP_REPLY => {
            if head[0] & 0x01 != 0 || head[1] != 0 || head[2] != 0 {
                return Some(false);
            }
            rest.records(count)?;
            Some(rest.0.is_empty())
        }
        message::MAP_REGISTER | message::MAP_NOTIFY => {
            /// Identifier of the router and of its site, where a flag says so.
            const IDENTIFIERS: usize = 16 + 8;
            let [_, algorithm, high, low] = rest.take()?;
            let len = u16::from_be_bytes([high, low]);
            // None, or a code of HMAC-SHA-1 (whole or of 96 bits) or HMAC-SHA-256 (section 5.6).
            if head[1] != 0 || algorithm > 5 || !matches!(len, 0 | 12 | 16 | 20 | 32) {
                return Some(false);
            }
            rest.0 = rest.0.get(usize::from(len)..)?;
            rest.records(count)?;
            Some(rest.0.is_empty() || rest.0.len() == IDENTIFIERS)
        }
        _ => Some(false),
    }
}

/// A message in a packet between the addresses that it asks about (section 5.8).
fn encapsulated(head: &[u8; 4], payload: &[u8]) -> Option<bool> {
    const HEADER: usize = 4;
    const UDP_HEADER: usize = 8;
    if head[0] & 0x03 != 0 || head[1..] != [0; 3] || !content::packet_fits(payload, payload.len(), HEADER) {
        return Some(false);
    }
    let first = payload.get(HEADER)?;
    let ip_len = if first >> 4 == 6 { 40 } else { usize::from(first & 0x0f) * 4 };
    let inner = payload.get(HEADER + ip_len + UDP_HEADER..)?;
    // One level only: nothing encapsulates twice.
    if inner.first()? >> 4 == message::ENCAPSULATED { Some(false) } else { message(inner) }
}

/// What is left of a message.
struct Rest<'b>(&'b [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    /// Steps over an address and says its family.
    fn address(&mut self) -> Option<u16> {
        let family = u16::from_be_bytes(self.take()?);
        let len = match family {
            family::NONE => 0,
            family::IPV4 => 4,
            family::IPV6 => 16,
            family::MAC => 6,
            family::CANONICAL => {
                let [_, _, _, _, high, low] = self.take()?;
                u16::from_be_bytes([high, low]).into()
            }
            _ => return None,
        };
        self.0 = self.0.get(len..)?;
        Some(family)
    }

    /// Steps over mapping records: a prefix and its locators (section 5.4).
    fn records(&mut self, count: u8) -> Option<()> {
        for _ in 0..count {
            let [_, _, _, _, locators, mask, _, _, _, _] = self.take()?;
            let family = self.address()?;
            if locators > MAX_RECORDS || !mask_fits(mask, family) {
                return None;
            }
            for _ in 0..locators {
                let [_, _, _, _, _, _] = self.take()?;
                self.address()?;
            }
        }
        Some(())
    }
}

/// Whether a prefix of `mask` bits is one of the family.
fn mask_fits(mask: u8, family: u16) -> bool {
    match family {
        family::IPV4 => mask <= 32,
        family::IPV6 => mask <= 128,
        family::MAC => mask <= 48,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::*;
    use super::*;

    const NONCE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
    /// 192.0.2.0/24 at 198.51.100.2.
    const RECORD: [u8; 28] = [
        0, 0, 5, 0xa0, 1, 24, 0x10, 0, 0, 0, 0, 1, 192, 0, 2, 0, //
        1, 100, 1, 100, 0, 1, 0, 1, 198, 51, 100, 2,
    ];

    fn register(auth_len: u8, behind: &[u8]) -> Vec<u8> {
        let auth = vec![0xaa; auth_len.into()];
        join(&[&[0x32, 0, 1, 1], &NONCE, &[0, 1, 0, auth_len], &auth, &RECORD, behind])
    }

    fn request() -> Vec<u8> {
        join(&[&[0x10, 0, 0, 1], &NONCE, &[0, 0, 0, 1, 192, 0, 2, 1, 0, 32, 0, 1, 198, 51, 100, 9]])
    }

    #[test]
    fn messages_of_every_type_are_carriers_on_any_port() {
        let inner = ipv4(17, &udp(4342, 4342, &request()));
        for message in [
            request(),
            join(&[&[0x20, 0, 0, 1], &NONCE, &RECORD]),
            register(20, &[]),
            register(20, &[0xbb; 24]),
            register(0, &[]),
            join(&[&[0x40, 0, 0, 2], &NONCE, &[0, 2, 0, 32], &[0xaa; 32], &RECORD, &RECORD]),
            join(&[&[0x80, 0, 0, 0], &inner]),
        ] {
            let packets = packets_of(&ipv4(17, &udp(40001, 40002, &message)));
            assert_eq!((packets.len(), layers(&packets[0])), (1, vec!["lisp"]), "{message:02x?}");
        }
    }

    #[test]
    fn canonical_addresses_are_stepped_over() {
        // Instance 100 of an IPv4 prefix (RFC 8060 section 4.1).
        let mut record = RECORD.to_vec();
        record.splice(10..16, [0x40, 3, 0, 0, 2, 32, 0, 10, 0, 0, 0, 100, 0, 1, 192, 0, 2, 0]);
        let message = join(&[&[0x20, 0, 0, 1], &NONCE, &record]);
        assert!(is_whole(&message, message.len()));
    }

    #[test]
    fn records_that_do_not_end_where_the_datagram_does_are_none() {
        let whole = register(20, &[]);
        assert!(!is_whole(&whole, whole.len() + 1), "cut by the capture");
        for end in 0..whole.len() {
            assert!(!is_whole(&whole[..end], end), "{end}");
        }
        let longer = join(&[&whole, &[0; 4]]);
        assert!(!is_whole(&longer, longer.len()));
    }

    #[test]
    fn impossible_fields_are_none() {
        let bent = |at: usize, value: u8| {
            let mut message = register(20, &[]);
            message[at] = value;
            is_whole(&message, message.len())
        };
        assert!(!bent(0, 0x52) && !bent(3, 0) && !bent(1, 1), "type, count, reserved bits");
        assert!(!bent(13, 9) && !bent(15, 21), "algorithm and length of the code");
        assert!(!bent(16 + 20 + 5, 33), "more bits than an address has");
        assert!(!bent(16 + 20 + 11, 99), "unknown family");
    }
}
