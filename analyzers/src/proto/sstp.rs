//! SSTP (Microsoft's Secure Socket Tunneling Protocol) where it is in clear: behind a proxy that ends its TLS.
//!
//! In: a byte stream. Out: the label `sstp` once the server has accepted the duplex request and the caller has asked for its call.

use crate::{Analyzer, FirstBytes, Kind, Meta, Next, Out, Probe, Segment, Transport, Verdict};

/// How the request begins: a method of its own, and a path that is the same everywhere (MS-SSTP section 3.2.4.1).
const REQUEST: &[u8] = b"SSTP_DUPLEX_POST /sra_{BA195980-CD49-458b-9E23-C84EE0ADCD75}/ HTTP/1.";
/// An answer that accepts.
const ACCEPTED: [&[u8]; 2] = [b"HTTP/1.1 200", b"HTTP/1.0 200"];
/// Version 1.0, control, 14 bytes, Call Connect Request with one attribute: encapsulated protocol PPP (sections 2.2.9 and 2.2.5).
const CALL: &[u8] = b"\x10\x01\0\x0e\0\x01\0\x01\0\x01\0\x06\0\x01";
/// Version 1.0, control, 48 bytes, Call Connect Acknowledge (section 2.2.10).
const CALL_ACCEPTED: &[u8] = b"\x10\x01\0\x30\0\x02";

const OPENING: Kind = Kind {
    name: "sstp.request",
    decibans: 30,
    says: "SSTP_DUPLEX_POST for SSTP's own path (MS-SSTP 3.2.4.1)",
};
const ACCEPT: Kind = Kind {
    name: "sstp.accepted",
    decibans: 35,
    says: "the duplex request was answered with 200 (MS-SSTP 3.3.5.1)",
};
const CONNECT: Kind = Kind {
    name: "sstp.call",
    decibans: 40,
    says: "a Call Connect Request or its acknowledgement (MS-SSTP 2.2.9, 2.2.10)",
};

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    /// The head of this direction was read.
    heads: [bool; 2],
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "sstp",
        title: "SSTP",
        label: Some("sstp"),
        app_proto: "http",
        transports: &[Transport::Tcp],
        ports: &[],
        first: FirstBytes::of(b"S"),
        budget: 16_384,
        carrier: false,
        reference: "MS-SSTP",
        evidence: &[OPENING, ACCEPT, CONNECT],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if p.data.starts_with(REQUEST) {
            Verdict::Yes
        } else if REQUEST.starts_with(p.data) {
            Verdict::More
        } else {
            Verdict::No
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let Some(head) = self.heads.get_mut(seg.dir.index()) else { return Next::Done };
        let mut rest = seg.data;
        if !*head {
            let Some((first, behind)) = head_end(rest).and_then(|at| rest.split_at_checked(at)) else {
                return Next::Continue { consumed: 0 };
            };
            *head = true;
            rest = behind;
            if first.starts_with(REQUEST) {
                out.client = Some(seg.dir.sender());
                out.evidence(&OPENING, format!("head of {} B", first.len()));
            } else if ACCEPTED.iter().any(|ok| first.starts_with(ok)) {
                out.evidence(&ACCEPT, "200");
                out.is("sstp");
            } else {
                return Next::Done;
            }
        }
        let consumed = seg.data.len().saturating_sub(rest.len());
        if rest.starts_with(CALL) || rest.starts_with(CALL_ACCEPTED) {
            out.evidence(&CONNECT, format!("message {}", rest.get(5).copied().unwrap_or_default()));
            out.is("sstp");
            return Next::Done;
        }
        let begun = CALL.starts_with(rest) || CALL_ACCEPTED.starts_with(rest);
        if begun { Next::Continue { consumed } } else { Next::Done }
    }
}

/// Where a head ends, behind its empty line.
fn head_end(data: &[u8]) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    data.windows(END.len()).position(|w| w == END).map(|at| at.saturating_add(END.len()))
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::CALL_IN_CLEAR];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, drive};
    use crate::{Dir, Side};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;
    const HEAD: &[u8] = b"SSTP_DUPLEX_POST /sra_{BA195980-CD49-458b-9E23-C84EE0ADCD75}/ HTTP/1.1\r\n\
        Host: vpn.example.test\r\nContent-Length: 18446744073709551615\r\n\r\n";
    const OK: &[u8] =
        b"HTTP/1.1 200\r\nContent-Length: 18446744073709551615\r\nServer: Microsoft-HTTPAPI/2.0\r\n\r\n";

    pub(super) const CALL_IN_CLEAR: Fixture<'_> = Fixture {
        name: "request, answer, call",
        transport: Transport::Tcp,
        payloads: &[(UP, HEAD), (DOWN, OK), (UP, CALL)],
    };

    fn told(payloads: &[(Dir, &[u8])], piece: usize) -> (Option<&'static str>, usize) {
        let got = drive::<State>(&Fixture { payloads, ..CALL_IN_CLEAR }, piece);
        (got.out.label, got.out.evidence.len())
    }

    #[test]
    fn an_accepted_request_and_the_call_are_sstp_however_they_are_cut() {
        for piece in [usize::MAX, 7, 1] {
            let got = drive::<State>(&CALL_IN_CLEAR, piece);
            assert_eq!((got.out.label, got.out.client), (Some("sstp"), Some(Side::Src)));
            assert_eq!(got.out.evidence.len(), 3);
        }
        assert_eq!(told(&[(UP, HEAD), (UP, CALL)], usize::MAX), (Some("sstp"), 2), "one side alone");
    }

    #[test]
    fn a_request_that_is_refused_or_not_answered_is_no_label() {
        assert_eq!(told(&[(UP, HEAD)], usize::MAX), (None, 1));
        assert_eq!(told(&[(UP, HEAD), (DOWN, b"HTTP/1.1 404 Not Found\r\n\r\n")], usize::MAX), (None, 1));
    }

    #[test]
    fn other_methods_and_paths_are_not_taken() {
        for head in [
            &b"SSTP_DUPLEX_POST /sra_{00000000-CD49-458b-9E23-C84EE0ADCD75}/ HTTP/1.1\r\n\r\n"[..],
            b"SSH-2.0-x\r\n",
        ] {
            assert!(!drive::<State>(&Fixture { payloads: &[(UP, head)], ..CALL_IN_CLEAR }, usize::MAX).mine);
        }
    }
}
