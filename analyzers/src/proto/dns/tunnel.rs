//! Tunnels in DNS: iodine, dns2tcp, dnscat2 and DNSteal by their grammar, any other by how much its names say.
//!
//! In: the questions and answers of one flow. Out: what proves a tunnel ([`Found`]), once. An answer repeats its question, so most
//! rules read answers alone and hold where only one direction was captured.
//!
//! The behaviour rule counts, for each base domain of the flow, bytes of names not asked for before. What looks like it and is not:
//! block lists (answered with 127.0.0.0/8), reverse names, hashes and UUIDs of caches and virus scanners (shorter names, answers
//! that say little), host names of clouds (short labels).

use crate::Kind;
use crate::dns_message::{Data, Name, rrtype};

#[path = "tunnel/base.rs"]
mod base;
#[path = "tunnel/tools.rs"]
mod tools;

use base::Bases;

pub(super) const IODINE: Kind = Kind {
    name: "dns.iodine",
    decibans: 40,
    says: "a step of iodine's handshake and its answer: version and VACK, or the codec test that both sides know (iodine 0.6 to 0.8, \
           client.c, iodined.c)",
};
pub(super) const DNS2TCP: Kind = Kind {
    name: "dns.dns2tcp",
    decibans: 40,
    says: "a dns2tcp request (=auth, =connect, =resource) whose answer repeats its session's counters (dns2tcp 0.5, doc/PROTOCOL)",
};
pub(super) const DNS2TCP_DATA: Kind = Kind {
    name: "dns.dns2tcp_data",
    decibans: 30,
    says: "three questions in base64 whose TXT or KEY answers repeat session and packet number as dns2tcp's do",
};
pub(super) const DNSCAT2: Kind = Kind {
    name: "dns.dnscat2",
    decibans: 40,
    says: "two questions in hexadecimal and answers with the same type and session behind packet numbers of their own (dnscat2, \
           doc/protocol.md)",
};
pub(super) const DNSTEAL: Kind = Kind {
    name: "dns.dnsteal",
    decibans: 35,
    says: "a name that is a gzip stream in base64 and ends in the file name stored in that stream (DNSteal)",
};
pub(super) const RARE_TYPE: Kind = Kind {
    name: "dns.rare_type",
    decibans: 30,
    says: "three different names of 20 characters and more were answered with data of type NULL or of private use, which nothing but \
           tunnels asks for (RFC 1035 section 3.3.10, RFC 6895 section 3.1)",
};
pub(super) const TWO_WAYS: Kind = Kind {
    name: "dns.tunnel_rate",
    decibans: 27,
    says: "names of one domain never asked before, with labels of 40 characters and more, at 10 bytes a second or more, and answers \
           that carry as much: 4 of 4 tunnels, 0 of 1,510 other pairs of client and domain in public captures (lower end of 95 %)",
};
pub(super) const ONE_WAY: Kind = Kind {
    name: "dns.upload_rate",
    decibans: 24,
    says: "4,000 bytes of names of one domain never asked before, 100 characters each, at 50 bytes a second or more. Judgement: the \
           longest names of ordinary programs (virus scanners) have 80",
};

/// What proves a tunnel.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) kind: &'static Kind,
    pub(super) detail: String,
    /// Catalogue name of the program.
    pub(super) tool: Option<&'static str>,
}

impl Found {
    fn tool(kind: &'static Kind, tool: &'static str, detail: String) -> Self {
        Self { kind, detail, tool: Some(tool) }
    }

    fn rate(kind: &'static Kind, detail: String) -> Self {
        Self { kind, detail, tool: None }
    }

    /// By sizes and rates rather than by a program's grammar.
    pub(super) fn is_behaviour(&self) -> bool {
        self.tool.is_none()
    }
}

/// One question, as asked or as repeated in its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) name: Name<'a>,
    pub(super) rrtype: u16,
}

/// What the tunnels of one flow have shown so far. Some 700 bytes, and only for flows with long names.
#[derive(Debug, Default)]
pub(super) struct Watch {
    bases: Bases,
    dnscat2: tools::Session,
    dns2tcp: tools::Session,
    /// Names answered with data of a rare type.
    rare: u32,
    /// Hash of the last such name.
    rare_last: u64,
}

/// Labels from which on a flow is watched: dnscat2's shortest packets have 18 digits.
const LABEL_MIN: usize = 18;

/// Whether a question may belong to a tunnel, so that its flow is worth watching.
pub(super) fn is_suspect(q: Question<'_>) -> bool {
    is_rare(q.rrtype) || q.name.labels().any(|l| l.len() >= LABEL_MIN || tools::is_opening(l))
}

/// NULL, and types of private use.
const fn is_rare(rrtype: u16) -> bool {
    matches!(rrtype, rrtype::NULL | 65_280..=65_533)
}

/// Names of fewer characters say too little for [`RARE_TYPE`].
const RARE_NAME_MIN: usize = 20;
/// Names that [`RARE_TYPE`] takes.
const RARE_NAMES: u32 = 3;

impl Watch {
    /// A question was asked.
    pub(super) fn asked(&mut self, q: Question<'_>, ts_ns: i64) -> Option<Found> {
        if let Some(file) = tools::dnsteal(q.name) {
            return Some(Found::tool(&DNSTEAL, "DNSteal", file));
        }
        self.bases.asked(q, ts_ns)
    }

    /// A question was answered, without an error, with `data` (of each record, with its type).
    pub(super) fn answered(
        &mut self,
        q: Question<'_>,
        data: &[(u16, Data<'_>)],
        ts_ns: i64,
    ) -> Option<Found> {
        if let Some(step) = tools::iodine(q, data) {
            return Some(Found::tool(&IODINE, "iodine", step.into()));
        }
        if let Some(word) = tools::dns2tcp_request(q, data) {
            return Some(Found::tool(&DNS2TCP, "dns2tcp", word.into()));
        }
        if let Some((session, packet)) = tools::dnscat2(q, data)
            && self.dnscat2.repeats(session, packet, tools::DNSCAT2_PACKETS)
        {
            return Some(Found::tool(&DNSCAT2, "dnscat2", format!("session {session:#06x}")));
        }
        if let Some((session, packet)) = tools::dns2tcp_data(q, data)
            && self.dns2tcp.repeats(session, packet, tools::DNS2TCP_PACKETS)
        {
            return Some(Found::tool(&DNS2TCP_DATA, "dns2tcp", format!("session {session:#06x}")));
        }
        self.rare_type(q, data).or_else(|| self.bases.answered(q, data, ts_ns))
    }

    /// A question was answered with an error.
    pub(super) fn refused(&mut self, q: Question<'_>, ts_ns: i64) -> Option<Found> {
        self.bases.answered(q, &[], ts_ns)
    }

    fn rare_type(&mut self, q: Question<'_>, data: &[(u16, Data<'_>)]) -> Option<Found> {
        let carries = data.iter().any(|(t, d)| is_rare(*t) && matches!(d, Data::Opaque([_, ..])));
        let octets: usize = q.name.labels().map(<[u8]>::len).sum();
        if !carries || octets < RARE_NAME_MIN {
            return None;
        }
        let hash = base::hash(q.name.labels());
        if hash != self.rare_last {
            self.rare_last = hash;
            self.rare = self.rare.saturating_add(1);
        }
        (self.rare >= RARE_NAMES).then(|| Found::rate(&RARE_TYPE, format!("type {}", q.rrtype)))
    }
}

#[cfg(test)]
#[path = "tunnel/tests.rs"]
pub(super) mod tests;
