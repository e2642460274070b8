//! VLESS without TLS (Xray, V2Ray): behind a proxy that takes TLS off, or inside another carrier.
//!
//! In: a byte stream. Out: the label `vless` once the server's two bytes came back; both directions behind the heads as inner stream.
//! Inside TLS or REALITY, where it belongs, nothing of this shows. The user's id is never kept.

use crate::{
    Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
};

const REQUEST: Kind = Kind {
    name: "vless.request",
    decibans: 22,
    says: "version 0, a UUID, add-ons, a command and an address, all in their form (VLESS protocol, Project X)",
};
const ANSWER: Kind = Kind {
    name: "vless.answer",
    decibans: 12,
    says: "the server answered with version 0 and no add-ons, then the stream (VLESS protocol, Project X)",
};

/// The heads (Project X documentation, VLESS protocol; Xray-core, proxy/vless/encoding).
mod head {
    pub(super) const VERSION: u8 = 0;
    pub(super) const TCP: u8 = 1;
    pub(super) const UDP: u8 = 2;
    pub(super) const MUX: u8 = 3;
    pub(super) const IPV4: u8 = 1;
    pub(super) const NAME: u8 = 2;
    pub(super) const IPV6: u8 = 3;
    /// Add-ons are a protobuf message whose first field names the flow control (`xtls-rprx-vision`).
    pub(super) const FLOW_FIELD: u8 = 0x0A;
    pub(super) const FLOW: &[u8] = b"xtls-rprx-";
    /// Version 0 and an empty add-on field.
    pub(super) const ANSWER: [u8; 2] = [0, 0];
}

/// Mux.Cool (V2Ray documentation): the first frame opens a session.
mod mux {
    pub(super) const NEW: u8 = 1;
    pub(super) const OPTIONS: u8 = 3;
}

/// Different bytes that a random UUID has at least: 16 drawn from 256 have fewer in 1 of 10^9.
const DIFFERENT: usize = 10;

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    client: Option<Dir>,
    answered: bool,
}

/// Whether 16 bytes are a UUID as random or hashed ones are made (RFC 9562 sections 5.4 and 5.5).
fn is_uuid(bytes: &[u8; 16]) -> bool {
    let [.., version, _, variant, _, _, _, _, _, _, _] = bytes;
    let mut sorted = *bytes;
    sorted.sort_unstable();
    let different =
        sorted.iter().zip(sorted.iter().skip(1)).filter(|(a, b)| a != b).count().saturating_add(1);
    matches!(version >> 4, 4 | 5) && variant >> 6 == 0b10 && different >= DIFFERENT
}

/// A name as resolvers take it.
fn is_host(name: &[u8]) -> bool {
    let legal = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    name.len() >= 4 && name.iter().all(legal) && name.contains(&b'.')
}

/// Port and address; how an address is written is the same in the head and in a mux frame.
fn target(r: &mut Reader<'_>) -> Result<Option<String>, Short> {
    let port = r.u16()?;
    let host = match r.u8()? {
        head::IPV4 => std::net::Ipv4Addr::from(r.array::<4>()?).to_string(),
        head::IPV6 => std::net::Ipv6Addr::from(r.array::<16>()?).to_string(),
        head::NAME => match r.vec8()? {
            name if is_host(name) => String::from_utf8_lossy(name).into_owned(),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok((port != 0).then(|| format!("{host} port {port}")))
}

/// The request at the start of `data`: its target, and its length without what it carries.
fn request(data: &[u8]) -> Result<Option<(String, usize)>, Short> {
    let mut r = Reader::new(data);
    if r.u8()? != head::VERSION || !is_uuid(&r.array()?) {
        return Ok(None);
    }
    let addons = r.vec8()?;
    let flow = addons.get(2..).is_some_and(|text| text.starts_with(head::FLOW));
    if !addons.is_empty() && (addons.first() != Some(&head::FLOW_FIELD) || !flow) {
        return Ok(None);
    }
    match r.u8()? {
        head::TCP | head::UDP => {
            let found = target(&mut r)?;
            Ok(found.map(|target| (target, r.taken())))
        }
        head::MUX => {
            let before = r.taken();
            let mut frame = Reader::new(r.vec16()?);
            let (_session, status, options) = (frame.u16()?, frame.u8()?, frame.u8()?);
            let network = frame.u8()?;
            if status != mux::NEW || options > mux::OPTIONS || !matches!(network, head::TCP | head::UDP) {
                return Ok(None);
            }
            let found = target(&mut frame)?;
            Ok(found.map(|target| (format!("mux, {target}"), before)))
        }
        _ => Ok(None),
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "vless",
        title: "VLESS",
        label: Some("vless"),
        app_proto: "failed",
        transports: &[Transport::Tcp],
        ports: &[],
        first: FirstBytes::of(&[head::VERSION]),
        budget: 65_536,
        carrier: true,
        reference: "Project X documentation, VLESS protocol; V2Ray documentation, Mux.Cool; RFC 9562",
        evidence: &[REQUEST, ANSWER],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if !p.from_start {
            return Verdict::No;
        }
        match request(p.data) {
            Ok(Some(_)) => Verdict::Yes,
            Ok(None) => Verdict::No,
            Err(Short) => Verdict::More,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if seg.gap && self.client.is_some() {
            return Next::Done;
        }
        let Some(client) = self.client else {
            return match request(seg.data) {
                Ok(Some((target, n))) => {
                    self.client = Some(seg.dir);
                    out.client = Some(seg.dir.sender());
                    out.evidence(&REQUEST, target);
                    out.inner.extend_from_slice(seg.data.get(n..).unwrap_or_default());
                    Next::Continue { consumed: seg.data.len() }
                }
                Err(Short) => Next::Continue { consumed: 0 },
                Ok(None) => Next::NotMine,
            };
        };
        let mut data = seg.data;
        if seg.dir != client && !self.answered {
            let Some((answer, behind)) = data.split_first_chunk::<2>() else {
                return Next::Continue { consumed: 0 };
            };
            if *answer != head::ANSWER {
                return Next::NotMine;
            }
            self.answered = true;
            data = behind;
            out.evidence(&ANSWER, "");
            out.is("vless");
        }
        out.inner.extend_from_slice(data);
        Next::Continue { consumed: seg.data.len() }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::SESSION];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, drive};

    const UUID: &[u8; 17] = b"\0\xb8\x31\x38\x1d\x63\x24\x4d\x53\xad\x4f\x8c\xda\x48\xb3\x08\x11";
    const REQUEST_BYTES: &[u8] = b"\0\xb8\x31\x38\x1d\x63\x24\x4d\x53\xad\x4f\x8c\xda\x48\xb3\x08\x11\0\x01\x01\xbb\x02\x0bexample.orginner up";

    pub(super) const SESSION: Fixture<'_> = Fixture {
        name: "request and stream",
        transport: Transport::Tcp,
        payloads: &[(Dir::ToServer, REQUEST_BYTES), (Dir::ToClient, b"\0\0inner down")],
    };

    fn label(request: &[u8], answer: &[u8]) -> Option<&'static str> {
        let payloads = &[(Dir::ToServer, request), (Dir::ToClient, answer)];
        drive::<State>(&Fixture { payloads, ..SESSION }, usize::MAX).out.label
    }

    #[test]
    fn an_answered_request_is_vless_and_the_stream_goes_on_inside() {
        for piece in [usize::MAX, 5, 1] {
            let got = drive::<State>(&SESSION, piece);
            assert_eq!((got.out.label, got.out.client), (Some("vless"), Some(Side::Src)));
            assert_eq!(got.inner, [b"inner up".to_vec(), b"inner down".to_vec()]);
        }
    }

    #[test]
    fn flow_control_addresses_and_mux_are_all_read() {
        for tail in [
            &b"\x12\x0a\x10xtls-rprx-vision\x01\x01\xbb\x01\xcb\x00\x71\x09"[..],
            b"\0\x02\x00\x35\x03\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x53",
            b"\0\x03\0\x14\0\x01\x01\x01\x01\x01\xbb\x02\x0bexample.org\0\x02up",
        ] {
            assert_eq!(label(&[&UUID[..], tail].concat(), b"\0\0down"), Some("vless"), "{tail:x?}");
        }
    }

    #[test]
    fn another_answer_takes_it_back_and_none_leaves_evidence() {
        assert_eq!(label(REQUEST_BYTES, b"\0\x01down"), None);
        let alone = drive::<State>(&Fixture { payloads: &SESSION.payloads[..1], ..SESSION }, usize::MAX);
        assert_eq!((alone.out.label, alone.out.evidence.len()), (None, 1));
    }

    #[test]
    fn what_is_not_in_form_is_not_vless() {
        // Version, UUID version and variant, add-ons, command, port, kind of address, a letter of the name.
        for (at, value) in [(0, 1), (7, 0x1d), (9, 0x4f), (17, 3), (18, 4), (21, 4), (26, b' ')] {
            let mut bytes = REQUEST_BYTES.to_vec();
            bytes[at] = value;
            assert_eq!(label(&bytes, b"\0\0down"), None, "byte {at}");
        }
        let mut zeros = REQUEST_BYTES.to_vec();
        zeros[1..7].fill(0);
        zeros[10..14].fill(0);
        assert_eq!(label(&zeros, b"\0\0down"), None, "not random");
    }
}
