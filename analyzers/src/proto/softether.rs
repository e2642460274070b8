//! SoftEther VPN, what it sends beside its TLS connection: R-UDP in ICMP echoes and in DNS questions, UDP acceleration, and the
//! NAT traversal service.
//!
//! In: datagrams, and payloads of ICMP echoes. Out: the label `softether`. UDP acceleration looks random but for one thing: each packet
//! begins with an initialisation vector that the packet before it has told, in every version. R-UDP signs what it puts into ICMP,
//! and its questions of the DNS are like nobody else's.

use crate::{Analyzer, Basis, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Segment, Transport, Verdict};

#[path = "softether/wire.rs"]
mod wire;

use wire::Answer;

pub(crate) use wire::{dns_question, is_signed};

const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_ICMPV6: u8 = 58;

/// Packets of UDP acceleration whose vector the packet before it has told: each fixes 96 bits.
const CHAIN: u8 = 2;
/// Signed echoes, and questions, that make a recognition.
const SIGNED: u8 = 2;
const QUESTIONS: u8 = 2;
/// Datagrams after which no label is expected any more.
const GIVE_UP: u8 = 32;

const ACCELERATION: Kind = Kind {
    name: "softether.acceleration",
    decibans: 40,
    says: "datagrams that begin with the initialisation vector which the one before has told (SoftEther, Cedar/UdpAccel.c)",
};
const ICMP: Kind = Kind {
    name: "softether.icmp",
    decibans: 40,
    says: "echoes that begin with the SHA-1 of what follows: R-UDP over ICMP (SoftEther, Mayaqua/Network.c; observed)",
};
const DNS: Kind = Kind {
    name: "softether.dns",
    decibans: 35,
    says: "DNSKEY questions for eight hexadecimal digits with data in place of EDNS options: R-UDP over DNS (observed)",
};
const NAT_T: Kind = Kind {
    name: "softether.nat_t",
    decibans: 40,
    says: "a PACK of the NAT traversal service, to its last byte (SoftEther, Mayaqua/Pack.c and Network.c)",
};
const MY_ADDRESS: Kind = Kind {
    name: "softether.my_address",
    decibans: 35,
    says: "the question A, and an answer that tells the caller's address and port (SoftEther, Mayaqua/Network.c)",
};

/// What is known of the flow.
#[derive(Debug, Default)]
pub struct State {
    /// What the next packet begins with, by direction.
    told: [Option<wire::Told>; 2],
    chain: u8,
    signed: u8,
    questions: u8,
    /// Checksum of the last question, so that one that is sent again does not count.
    last_question: u32,
    asked: [bool; 2],
    packs: [bool; 2],
    said_pack: bool,
    seen: u8,
}

impl State {
    fn on_datagram(&mut self, data: &[u8], dir: Dir, out: &mut Out) -> bool {
        let (here, there) = (dir.index(), dir.reverse().index());
        if data == wire::WHO_AM_I {
            if let Some(asked) = self.asked.get_mut(here) {
                *asked = true;
            }
            return false;
        }
        if wire::is_address(data) {
            if self.asked.get(there) == Some(&true) {
                out.client = Some(dir.receiver());
                out.evidence(&MY_ADDRESS, data.escape_ascii().to_string());
                return true;
            }
            return false;
        }
        if let Some(pack) = wire::nat_t(data) {
            let request = pack.answer == Answer::No;
            out.client = Some(if request { dir.sender() } else { dir.receiver() });
            if let Some(slot) = self.packs.get_mut(usize::from(!request)) {
                *slot = true;
            }
            if !self.said_pack || !request {
                self.said_pack = true;
                out.evidence(&NAT_T, pack.to_string());
            }
            // An answer alone says that it was asked.
            return !request;
        }
        if let Some(question) = dns_question(data) {
            let sum = sum_of(question);
            if sum != self.last_question {
                self.last_question = sum;
                self.questions = self.questions.saturating_add(1);
            }
            if self.questions >= QUESTIONS {
                out.client = Some(dir.sender());
                out.evidence(&DNS, format!("{} B in place of options", question.len()));
                return true;
            }
            return false;
        }
        self.on_acceleration(data, dir, out)
    }

    fn on_acceleration(&mut self, data: &[u8], dir: Dir, out: &mut Out) -> bool {
        let Some(slot) = self.told.get_mut(dir.index()) else { return false };
        if let Some(version) = slot.as_ref().and_then(|told| told.version(data)) {
            self.chain = self.chain.saturating_add(1);
            if self.chain >= CHAIN {
                out.evidence(&ACCELERATION, format!("version {version}"));
                out.basis = Basis::Midstream;
                return true;
            }
        }
        *slot = wire::Told::by(data);
        false
    }
}

/// FNV-1a: enough to tell a question from the one before.
fn sum_of(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811C_9DC5, |sum, b| (sum ^ u32::from(*b)).wrapping_mul(0x0100_0193))
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "softether",
        title: "SoftEther VPN",
        label: Some("softether"),
        app_proto: "failed",
        transports: &[Transport::Udp, Transport::Ip(PROTOCOL_ICMP), Transport::Ip(PROTOCOL_ICMPV6)],
        // Only where its own form would be taken for another protocol's.
        ports: &[53, 5004],
        first: FirstBytes::ANY,
        budget: 16_384,
        carrier: false,
        reference: "SoftEtherVPN sources: Cedar/UdpAccel.c, Mayaqua/Network.c, Mayaqua/Pack.c",
        evidence: &[ACCELERATION, ICMP, DNS, NAT_T, MY_ADDRESS],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if p.data.len() < p.wire_len {
            return Verdict::No;
        }
        if p.transport != Transport::Udp {
            return if is_signed(p.data) { Verdict::Yes } else { Verdict::No };
        }
        if p.data == wire::WHO_AM_I {
            return Verdict::More;
        }
        let clear =
            wire::is_address(p.data) || wire::nat_t(p.data).is_some() || dns_question(p.data).is_some();
        if clear {
            return Verdict::Yes;
        }
        match wire::Told::by(p.earlier) {
            Some(told) if told.version(p.data).is_some() => Verdict::Yes,
            // Another of this side's may have come between.
            _ if wire::Told::by(p.data).is_some() => Verdict::More,
            _ => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        self.seen = self.seen.saturating_add(1);
        let sure = if seg.transport == Transport::Udp {
            self.on_datagram(seg.data, seg.dir, out)
        } else {
            self.signed = self.signed.saturating_add(u8::from(is_signed(seg.data)));
            let enough = self.signed >= SIGNED;
            if enough {
                out.evidence(&ICMP, format!("{} B", seg.data.len()));
            }
            enough
        };
        if sure {
            out.is("softether");
            return Next::Done;
        }
        if self.seen < GIVE_UP { Next::Continue { consumed: seg.data.len() } } else { Next::Done }
    }
}

#[cfg(test)]
#[path = "softether/tests.rs"]
mod tests;
#[cfg(test)]
pub(crate) use tests::FIXTURES;
