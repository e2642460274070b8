//! IPsec: IKE versions 1 and 2 on any UDP port, over TCP (RFC 8229), and ESP and AH, also inside UDP.
//!
//! In: datagrams, a byte stream, or packets of IP protocols 50 and 51. Out: the label `ipsec` once an IKE message was answered, or
//! names the responder's SPI, which only an answer can have given, or for a whole opening while the other side says nothing (a
//! capture of one direction), which a refusal takes back; for ESP and AH by their headers.
//!
//! ESP inside UDP has no more structure than an SPI and a counter, which other protocols have too: alone it is believed only on the port that
//! RFC 3948 gives it.

use crate::{Analyzer, Basis, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Segment, Transport, Verdict};

#[path = "ipsec/wire.rs"]
mod wire;

use wire::{Esp, Ike};

const OFFER: Kind = Kind {
    name: "ipsec.offer",
    decibans: 15,
    says: "an IKE message whose payloads add up to its length (RFC 7296 section 3; RFC 2408 section 3)",
};
const ANSWER: Kind = Kind {
    name: "ipsec.answer",
    decibans: 45,
    says: "IKE messages both ways with the same two SPIs (RFC 7296 section 2.6)",
};
const MIDWAY: Kind = Kind {
    name: "ipsec.midway",
    decibans: 25,
    says: "an IKE message that names the responder's SPI: it was answered before (RFC 7296 section 2.6)",
};
const REFUSED: Kind = Kind {
    name: "ipsec.refused",
    decibans: 10,
    says: "the responder answered with nothing but an error (RFC 7296 section 3.10.1)",
};
const ESP: Kind = Kind {
    name: "ipsec.esp",
    decibans: 20,
    says: "ESP: constant SPI and counting sequence number (RFC 4303; in UDP RFC 3948)",
};
const AH: Kind = Kind { name: "ipsec.ah", decibans: 30, says: "AH: header of consistent length (RFC 4302)" };

const HEADER: Kind = Kind {
    name: "ipsec.header",
    decibans: 12,
    says: "an IKE header that fits its datagram, though what is behind it does not add up (RFC 7296 section 3.1)",
};

/// ESP packets in UDP in a row that make a recognition.
const ESP_RUN: u8 = 4;
/// ESP packets in UDP without such a run after which it is something else.
const ESP_GIVE_UP: u8 = 32;

/// What is known of the session.
#[derive(Debug, Default)]
pub struct State {
    /// Initiator's SPI of the last IKE message, by direction.
    initiator_spi: [Option<u64>; 2],
    said_offer: bool,
    said_refused: bool,
    /// Last ESP packet and how many in a row, by direction.
    esp: [Option<(Esp, u8)>; 2],
    esp_packets: u8,
    /// The prefix of IKE over TCP was read, by direction.
    prefix: [bool; 2],
}

impl State {
    fn on_ike(&mut self, ike: &Ike, dir: Dir, out: &mut Out) -> Next {
        let (here, there) = (dir.index(), dir.reverse().index());
        if let Some(slot) = self.initiator_spi.get_mut(here) {
            *slot = Some(ike.initiator_spi);
        }
        if let Some(initiator) = ike.from_initiator {
            out.client.get_or_insert(if initiator { dir.sender() } else { dir.receiver() });
        }
        if !self.said_offer {
            self.said_offer = true;
            out.evidence(&OFFER, ike.to_string());
        }
        let both = self.initiator_spi.get(there).copied().flatten() == Some(ike.initiator_spi);
        if ike.only_error.is_some() && !self.said_refused {
            self.said_refused = true;
            out.evidence(&REFUSED, ike.to_string());
            out.label = None;
        }
        if ike.opening && !self.said_refused {
            out.is("ipsec");
        }
        if ike.responder_spi == 0 || ike.only_error.is_some() {
            return Next::Continue { consumed: 0 };
        }
        out.evidence(if both { &ANSWER } else { &MIDWAY }, ike.to_string());
        out.is("ipsec");
        Next::Done
    }

    /// ESP inside UDP.
    fn on_esp(&mut self, esp: Esp, dir: Dir, out: &mut Out) -> Next {
        self.esp_packets = self.esp_packets.saturating_add(1);
        let Some(slot) = self.esp.get_mut(dir.index()) else { return Next::Done };
        let run = match slot {
            Some((last, run)) if last.goes_on_as(&esp) => run.saturating_add(1),
            // Overtaken on the way: neither counts nor breaks.
            Some((last, run)) if last.spi == esp.spi && esp.sequence < last.sequence => *run,
            _ => 1,
        };
        *slot = Some((esp, run));
        if run >= ESP_RUN {
            out.evidence(&ESP, format!("SPI {:#010x}, sequence {}, in UDP", esp.spi, esp.sequence));
            out.is("ipsec");
            out.basis = Basis::Midstream;
            return Next::Done;
        }
        if self.esp_packets >= ESP_GIVE_UP && out.evidence.is_empty() {
            Next::NotMine
        } else {
            Next::Continue { consumed: 0 }
        }
    }

    fn on_datagram(&mut self, data: &[u8], wire_len: usize, dir: Dir, out: &mut Out) -> Next {
        match (wire::ike(data, wire_len), wire::esp_in_udp(data, wire_len)) {
            (Some(ike), _) => self.on_ike(&ike, dir, out),
            (None, Some(esp)) => self.on_esp(esp, dir, out),
            (None, None) => {
                // Else keep-alives, fragments.
                if let Some(header) = wire::header(data, wire_len)
                    && !self.said_offer
                {
                    self.said_offer = true;
                    out.evidence(&HEADER, header);
                    out.is("ipsec");
                }
                Next::Continue { consumed: 0 }
            }
        }
    }

    fn on_stream(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let mut rest = seg.data;
        if let Some(read) = self.prefix.get_mut(seg.dir.index())
            && !*read
        {
            // Only the side that opened the connection sends it.
            if let Some(behind) = rest.strip_prefix(wire::TCP_PREFIX) {
                (*read, rest) = (true, behind);
            } else if wire::TCP_PREFIX.starts_with(rest) {
                return Next::Continue { consumed: 0 };
            } else {
                *read = true;
            }
        }
        loop {
            let consumed = seg.data.len().saturating_sub(rest.len());
            let Some((message, behind)) = wire::framed(rest) else { return Next::Continue { consumed } };
            match self.on_datagram(message, message.len(), seg.dir, out) {
                Next::Continue { .. } => rest = behind,
                next => return next,
            }
        }
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "ipsec",
        title: "IPsec (IKE, ESP, AH)",
        label: Some("ipsec"),
        app_proto: "ike",
        transports: &[
            Transport::Udp,
            Transport::Tcp,
            Transport::Ip(wire::PROTOCOL_ESP),
            Transport::Ip(wire::PROTOCOL_AH),
        ],
        ports: &[500, 4500],
        first: FirstBytes::ANY,
        budget: 16_384,
        carrier: false,
        reference: "RFC 7296 (IKEv2), RFC 2408 and 2409 (IKEv1), RFC 3948 (UDP), RFC 8229 (TCP), RFC 4303 (ESP), RFC 4302 (AH)",
        evidence: &[OFFER, ANSWER, MIDWAY, REFUSED, HEADER, ESP, AH],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        match p.transport {
            Transport::Ip(wire::PROTOCOL_ESP) if wire::esp(p.data, p.wire_len).is_some() => Verdict::Yes,
            Transport::Ip(wire::PROTOCOL_AH) if wire::ah(p.data, p.wire_len).is_some() => Verdict::Yes,
            Transport::Ip(_) => Verdict::No,
            Transport::Tcp if p.data.starts_with(wire::TCP_PREFIX) => Verdict::Yes,
            Transport::Tcp if wire::TCP_PREFIX.starts_with(p.data) => Verdict::More,
            Transport::Tcp => Verdict::No,
            Transport::Udp if wire::ike(p.data, p.wire_len).is_some() => Verdict::Yes,
            Transport::Udp if wire::header(p.data, p.wire_len).is_some() => Verdict::Yes,
            Transport::Udp if p.port_hint && wire::esp_in_udp(p.data, p.wire_len).is_some() => Verdict::Yes,
            // A keep-alive, or a message with a field that is wrong: the next one tells.
            Transport::Udp if wire::is_keep_alive(p.data) || wire::has_length(p.data, p.wire_len) => {
                Verdict::More
            }
            Transport::Udp => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        match seg.transport {
            Transport::Tcp => self.on_stream(seg, out),
            Transport::Udp => match self.on_datagram(seg.data, seg.wire_len, seg.dir, out) {
                Next::Continue { .. } => Next::Continue { consumed: seg.data.len() },
                next => next,
            },
            Transport::Ip(protocol) => {
                match (wire::esp(seg.data, seg.wire_len), wire::ah(seg.data, seg.wire_len)) {
                    (Some(esp), _) if protocol == wire::PROTOCOL_ESP => {
                        out.evidence(&ESP, format!("SPI {:#010x}, sequence {}", esp.spi, esp.sequence));
                    }
                    (_, Some(ah)) if protocol == wire::PROTOCOL_AH => out.evidence(&AH, ah),
                    _ => return Next::NotMine,
                }
                out.is("ipsec");
                out.basis = Basis::Midstream;
                Next::Done
            }
        }
    }
}

#[cfg(test)]
#[path = "ipsec/tests.rs"]
mod tests;
#[cfg(test)]
pub(crate) use tests::FIXTURES;
