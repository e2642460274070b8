//! DHCP for IPv4 (RFC 2131) and IPv6 (RFC 8415): who asks for an address, and what it calls itself.
//!
//! In: messages of clients and servers; one flow may carry those of a whole network, since clients without an address share one.
//! Out: for each message the client's host name and vendor class, with its MAC address and the address it asks for or was
//! given; no label. A message is taken only if its options can be walked to their end.

use std::net::{IpAddr, Ipv4Addr};

use crate::device::{Mac, Said, What};
use crate::{Analyzer, FirstBytes, Meta, Next, Out, Probe, Reader, Segment, Short, Side, Transport, Verdict};

/// `op`: a client's message, a server's (RFC 2131 section 2).
const BOOTREQUEST: u8 = 1;
const BOOTREPLY: u8 = 2;
/// Hardware type of Ethernet and its address length (RFC 1700).
const ETHERNET: u8 = 1;
const MAC_LEN: u8 = 6;
/// Bytes between `hops` and `ciaddr` that say nothing here: xid, secs, flags.
const TRANSACTION: usize = 8;
/// siaddr and giaddr.
const OTHER_ADDRESSES: usize = 8;
/// chaddr has 16 bytes, of which a MAC takes 6; then `sname` and `file`.
const BEHIND_MAC: usize = 10 + 64 + 128;
/// What options begin with (RFC 2131 section 3).
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// Options of DHCPv4 (RFC 2132; 81: RFC 4702).
mod option {
    pub(super) const PAD: u8 = 0;
    pub(super) const HOST_NAME: u8 = 12;
    pub(super) const REQUESTED_ADDRESS: u8 = 50;
    pub(super) const MESSAGE_TYPE: u8 = 53;
    pub(super) const VENDOR_CLASS: u8 = 60;
    pub(super) const CLIENT_FQDN: u8 = 81;
    pub(super) const END: u8 = 255;
}

/// Message types (RFC 2132 section 9.6): the last is INFORM.
const DHCPREQUEST: u8 = 3;
const DHCPACK: u8 = 5;
const DHCPINFORM: u8 = 8;
/// Flags and two response codes before the name of option 81; the flag that says the name is in DNS's form (RFC 4702 section 2.1).
const FQDN_HEAD: usize = 3;
const FQDN_ENCODED: u8 = 4;

/// DHCPv6: the last message type of clients and servers (RFC 8415 section 7.3); relays' wrap others.
const LAST_V6: u8 = 11;
/// Options of DHCPv6 (RFC 8415 section 21; 39: RFC 4704).
mod option6 {
    pub(super) const CLIENT_ID: u16 = 1;
    pub(super) const VENDOR_CLASS: u16 = 16;
    pub(super) const CLIENT_FQDN: u16 = 39;
}
/// DUIDs with a link-layer address: with a time before it, and without (RFC 8415 section 11).
const DUID_LLT: u16 = 1;
const DUID_LL: u16 = 3;
/// DUID-UUID (RFC 6355) is the last type assigned.
const LAST_DUID: u16 = 4;

/// Nothing is kept between messages.
#[derive(Debug, Default)]
pub struct State;

impl Analyzer for State {
    const META: Meta = Meta {
        name: "dhcp",
        title: "DHCP",
        label: None,
        app_proto: "dhcp",
        transports: &[Transport::Udp],
        ports: &[67, 68, 546, 547],
        first: FirstBytes::range(1, LAST_V6),
        budget: 65_536,
        carrier: false,
        reference: "RFC 2131, RFC 2132, RFC 4702, RFC 8415, RFC 4704",
        evidence: &[],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if read(p.data, p.wire_len).is_some() { Verdict::Yes } else { Verdict::No }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if let Some(message) = read(seg.data, seg.wire_len) {
            let client = if message.from_client { seg.dir.sender() } else { seg.dir.receiver() };
            out.client.get_or_insert(client);
            message.tell(client, out);
        }
        Next::Continue { consumed: seg.data.len() }
    }
}

/// What matters of a message.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    from_client: bool,
    mac: Option<Mac>,
    address: Option<IpAddr>,
    /// The address is the client's by a server's word.
    granted: bool,
    host_name: Option<Box<str>>,
    vendor_class: Option<Box<str>>,
}

impl Message {
    fn tell(self, client: Side, out: &mut Out) {
        let words = [(What::HostName, self.host_name), (What::VendorClass, self.vendor_class)];
        let address = self.granted.then(|| (What::Address, Some("".into())));
        for (what, text) in words.into_iter().chain(address) {
            let Some(text) = text else { continue };
            out.says(Said { what, text, mac: self.mac, addr: self.address, by: Some(client) });
        }
    }
}

/// A message of `len` bytes of either version; `None` for what is none. One that a snap length has cut gives what is there.
fn read(data: &[u8], len: usize) -> Option<Message> {
    let cut = data.len() < len;
    v4(data, cut).or_else(|| v6(data, cut))
}

fn v4(data: &[u8], cut: bool) -> Option<Message> {
    let mut r = Reader::new(data);
    let op = r.u8().ok()?;
    if !matches!(op, BOOTREQUEST | BOOTREPLY) || r.array::<2>() != Ok([ETHERNET, MAC_LEN]) {
        return None;
    }
    r.skip(1 + TRANSACTION).ok()?;
    let (own, given) = (r.u32().ok()?, r.u32().ok()?);
    r.skip(OTHER_ADDRESSES).ok()?;
    let mac: Mac = r.array().ok()?;
    r.skip(BEHIND_MAC).ok()?;
    if r.array() != Ok(COOKIE) {
        return None;
    }
    let mut message = Message { from_client: op == BOOTREQUEST, mac: Some(mac), ..Message::default() };
    let (mut kind, mut requested, mut fqdn) = (None, None, None);
    let walked = options(&mut r, |code, value| match code {
        option::MESSAGE_TYPE => kind = value.first().copied(),
        option::REQUESTED_ADDRESS => requested = <[u8; 4]>::try_from(value).ok().map(u32::from_be_bytes),
        option::HOST_NAME => message.host_name = words(value),
        option::VENDOR_CLASS => message.vendor_class = words(value),
        option::CLIENT_FQDN => fqdn = fqdn_of(value),
        _ => {}
    });
    let kind = kind.filter(|kind| (1..=DHCPINFORM).contains(kind))?;
    if walked.is_err() && !cut {
        return None;
    }
    message.host_name = message.host_name.or(fqdn);
    let some = |bits: u32| (bits != 0).then(|| IpAddr::V4(Ipv4Addr::from_bits(bits)));
    message.granted = !message.from_client && kind == DHCPACK && some(given).is_some();
    message.address = match (message.from_client, kind) {
        // What a DISCOVER asks for may be another's by now.
        (true, DHCPREQUEST) => some(own).or(requested.and_then(some)),
        (true, _) => some(own),
        (false, DHCPACK) => some(given),
        (false, _) => None,
    };
    Some(message)
}

/// Walks the options to their end; padding may follow.
fn options<'a>(r: &mut Reader<'a>, mut each: impl FnMut(u8, &'a [u8])) -> Result<(), Short> {
    loop {
        match r.u8()? {
            option::PAD => {}
            option::END => return Ok(()),
            code => each(code, r.vec8()?),
        }
    }
}

/// The name in option 81, in ASCII or as DNS writes it.
fn fqdn_of(value: &[u8]) -> Option<Box<str>> {
    let flags = *value.first()?;
    let name = value.get(FQDN_HEAD..)?;
    if flags & FQDN_ENCODED == 0 { words(name) } else { dns_name(name) }
}

/// The labels of a name without pointers (RFC 1035 section 3.1), which may lack its end (RFC 4704 section 4.2).
fn dns_name(bytes: &[u8]) -> Option<Box<str>> {
    let mut r = Reader::new(bytes);
    let mut name = String::new();
    while let Ok(label) = r.vec8() {
        if label.is_empty() {
            break;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&words(label)?);
    }
    (!name.is_empty()).then(|| name.into())
}

/// Text of printable ASCII; a zero may end it.
fn words(bytes: &[u8]) -> Option<Box<str>> {
    let bytes = bytes.split(|b| *b == 0).next().unwrap_or_default();
    let text = str::from_utf8(bytes).ok()?;
    (!text.is_empty() && text.bytes().all(|b| (b' '..0x7F).contains(&b))).then(|| text.into())
}

fn v6(data: &[u8], cut: bool) -> Option<Message> {
    let mut r = Reader::new(data);
    let kind = r.u8().ok()?;
    // ADVERTISE, REPLY and RECONFIGURE are servers'.
    let from_client = !matches!(kind, 2 | 7 | 10);
    if !(1..=LAST_V6).contains(&kind) {
        return None;
    }
    r.skip(3).ok()?; // transaction-id
    let mut message = Message { from_client, ..Message::default() };
    let mut identified = false;
    while !r.is_empty() {
        let option = (|| Ok::<_, Short>((r.u16()?, r.vec16()?)))();
        let Ok((code, value)) = option else {
            if cut {
                break;
            }
            return None;
        };
        match code {
            option6::CLIENT_ID => {
                let mut duid = Reader::new(value);
                let kind = duid.u16().ok().filter(|kind| (1..=LAST_DUID).contains(kind))?;
                identified = true;
                if matches!(kind, DUID_LLT | DUID_LL) && duid.u16() == Ok(u16::from(ETHERNET)) {
                    let time = if kind == DUID_LLT { 4 } else { 0 };
                    message.mac = duid.skip(time).and_then(|()| duid.array()).ok();
                }
            }
            option6::VENDOR_CLASS => {
                // An enterprise number, then texts behind their lengths.
                message.vendor_class =
                    value.get(4..).and_then(|rest| Reader::new(rest).vec16().ok()).and_then(words);
            }
            option6::CLIENT_FQDN => message.host_name = value.get(1..).and_then(dns_name),
            _ => {}
        }
    }
    identified.then_some(message)
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture] = &[
    crate::fixture::Fixture {
        name: "a request with a host name",
        transport: Transport::Udp,
        payloads: &[(crate::Dir::ToServer, &tests::REQUEST), (crate::Dir::ToClient, &tests::ACK)],
    },
    crate::fixture::Fixture {
        name: "a SOLICIT",
        transport: Transport::Udp,
        payloads: &[(crate::Dir::ToServer, tests::SOLICIT)],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dir;
    use crate::fixture::{Fixture, drive};

    const MAC: Mac = [0xB8, 0x27, 0xEB, 1, 2, 3];

    /// A message with these addresses and options, padded to BOOTP's 300 bytes.
    const fn message<const N: usize>(op: u8, own: [u8; 4], given: [u8; 4], options: &[u8; N]) -> [u8; 300] {
        let mut m = [0; 300];
        (m[0], m[1], m[2]) = (op, 1, 6);
        (m[4], m[5], m[6], m[7]) = (0x39, 0x03, 0xF3, 0x26);
        let mut i = 0;
        while i < 4 {
            m[12 + i] = own[i];
            m[16 + i] = given[i];
            m[236 + i] = COOKIE[i];
            i += 1;
        }
        i = 0;
        while i < 6 {
            m[28 + i] = MAC[i];
            i += 1;
        }
        i = 0;
        while i < N {
            m[240 + i] = options[i];
            i += 1;
        }
        m
    }

    /// DHCPREQUEST of a client without an address: the one it was offered, host name, vendor class, parameter list.
    pub(super) const REQUEST: [u8; 300] = message(
        1,
        [0; 4],
        [0; 4],
        b"\x35\x01\x03\x32\x04\xc0\xa8\x01\x2a\x0c\x05pikvm\x3c\x0cudhcp 1.35.0\x37\x03\x01\x03\x06\xff",
    );
    pub(super) const ACK: [u8; 300] =
        message(2, [0; 4], [192, 168, 1, 42], b"\x35\x01\x05\x36\x04\xc0\xa8\x01\x01\xff");
    /// SOLICIT: DUID-LL, elapsed time, the client's name (RFC 4704).
    pub(super) const SOLICIT: &[u8] =
        b"\x01\x0a\x0b\x0c\x00\x01\x00\x0a\x00\x03\x00\x01\xb8\x27\xeb\x01\x02\x03\
        \x00\x08\x00\x02\x00\x00\x00\x27\x00\x08\x01\x06jetkvm";

    fn said(payloads: &[(Dir, &[u8])]) -> Vec<(What, String, Option<Mac>, Option<String>)> {
        let fixture = Fixture { name: "", transport: Transport::Udp, payloads };
        let outcome = drive::<State>(&fixture, 0);
        outcome
            .out
            .said
            .iter()
            .map(|s| (s.what, s.text.to_string(), s.mac, s.addr.map(|a| a.to_string())))
            .collect()
    }

    #[test]
    fn a_request_names_the_client_and_the_address_it_asks_for() {
        let at = Some("192.168.1.42".to_owned());
        assert_eq!(
            said(&[(Dir::ToServer, &REQUEST)]),
            [
                (What::HostName, "pikvm".to_owned(), Some(MAC), at.clone()),
                (What::VendorClass, "udhcp 1.35.0".to_owned(), Some(MAC), at.clone()),
            ]
        );
        assert_eq!(said(&[(Dir::ToClient, &ACK)]), [(What::Address, String::new(), Some(MAC), at)]);
    }

    #[test]
    fn a_discover_has_a_name_and_no_address_whatever_it_wishes_for() {
        let discover = message(
            1,
            [0; 4],
            [0; 4],
            b"\x35\x01\x01\x32\x04\xc0\xa8\x01\x2a\x51\x09\x04\x00\x00\x05glkvm\xff",
        );
        assert_eq!(
            said(&[(Dir::ToServer, &discover)]),
            [(What::HostName, "glkvm".to_owned(), Some(MAC), None)]
        );
    }

    #[test]
    fn dhcpv6_tells_the_name_and_the_mac_of_its_identifier() {
        assert_eq!(
            said(&[(Dir::ToServer, SOLICIT)]),
            [(What::HostName, "jetkvm".to_owned(), Some(MAC), None)]
        );
    }

    #[test]
    fn what_is_no_dhcp_is_not_taken() {
        let mut cookie = REQUEST;
        cookie[236] = 98;
        let mut endless = REQUEST;
        endless[240..].fill(12);
        let mut kind = REQUEST;
        kind[242] = 9;
        let mut token_ring = REQUEST;
        token_ring[1] = 6;
        let mut duid = SOLICIT.to_vec();
        duid[9] = 9;
        let longer = [SOLICIT, &[0]].concat();
        for (what, bytes) in [
            ("no cookie", &cookie[..]),
            ("options without an end", &endless),
            ("an unknown message type", &kind),
            ("not Ethernet", &token_ring),
            ("cut short", &REQUEST[..239]),
            ("an unknown identifier", &duid),
            ("bytes behind the last option", &longer),
            ("a request without an identifier", &SOLICIT[..4]),
            (
                "DNS",
                b"\x01\x02\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01",
            ),
        ] {
            assert_eq!(read(bytes, bytes.len()), None, "{what}");
        }
    }

    #[test]
    fn a_message_that_the_snap_length_has_cut_gives_what_is_there() {
        let message = read(&REQUEST[..260], 300).expect("a message");
        assert_eq!(message.host_name.as_deref(), Some("pikvm"));
        assert_eq!(message.vendor_class, None);
    }

    #[test]
    fn names_of_hostile_bytes_are_no_names() {
        assert_eq!(words(b"pi\x1b[2Jkvm"), None);
        assert_eq!(words(b"pikvm\0"), Some("pikvm".into()));
        assert_eq!(dns_name(&[200, b'x']), None);
        assert_eq!(dns_name(b"\x05pikvm\x03lan\x00"), Some("pikvm.lan".into()));
    }
}
