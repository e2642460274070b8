//! DNS over UDP and TCP (RFC 1035, RFC 7766), mDNS (RFC 6762) and LLMNR (RFC 4795).
//!
//! In: messages of both directions, or one. Out: the first questions and answers of the flow, and, as long as it is fed, the names
//! that answers give to addresses. A look-up has no label; a flow whose names and answers are a tunnel's is `dns_tunnel`
//! (`dns/tunnel.rs`). A message is taken only if it can be read to its last byte.

use crate::dns_message::{Data, Fault, HEADER_LEN, Header, Item, Name, Section, read, rrtype, txt};
use crate::{
    Analyzer, Basis, DnsAnswer, DnsQuery, FirstBytes, Meta, Next, Out, Probe, Reader, Segment, Transport,
    Verdict,
};
use std::net::IpAddr;

#[path = "dns/tunnel.rs"]
mod tunnel;

use tunnel::{Found, Question, Watch};

/// Bounds of [`crate::Dns`].
const QUERIES_MAX: usize = 8;
const ANSWERS_MAX: usize = 16;
/// Text of a record, [`DnsAnswer::rdata`].
const RDATA_MAX: usize = 255;
/// CNAMEs that lead from the name asked for to an address: resolvers give up far earlier.
const ALIASES_MAX: usize = 16;
/// Addresses of one answer that are given names.
const ADDRESSES_MAX: usize = 32;
/// Bytes of a TCP message, after its two of length, that are enough to believe the rest: header, question and more.
const TCP_BELIEVED: usize = 512;

/// What is known of the flow.
#[derive(Debug, Default)]
pub struct State {
    /// A message was read.
    started: bool,
    tunnel: Tunnel,
}

/// What is known of a tunnel in it.
#[derive(Debug, Default)]
enum Tunnel {
    /// No name that would be long enough.
    #[default]
    None,
    Watched(Box<Watch>),
    Found,
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "dns",
        title: "DNS",
        label: None,
        app_proto: "dns",
        transports: &[Transport::Udp, Transport::Tcp],
        ports: &[53, 5353, 5355],
        first: FirstBytes::ANY,
        budget: 65_536,
        carrier: false,
        reference: "RFC 1035, RFC 7766, RFC 6762, RFC 4795",
        evidence: &[
            tunnel::IODINE,
            tunnel::DNS2TCP,
            tunnel::DNS2TCP_DATA,
            tunnel::DNSCAT2,
            tunnel::DNSTEAL,
            tunnel::RARE_TYPE,
            tunnel::TWO_WAYS,
            tunnel::ONE_WAY,
        ],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        match p.transport {
            // SoftEther's R-UDP wears the coat of a question.
            Transport::Udp if crate::softether::dns_question(p.data).is_some() => Verdict::No,
            Transport::Udp => match read(p.data, p.wire_len, |_| ()) {
                Ok(_) => Verdict::Yes,
                // Cut by the snap length: a whole question must be there.
                Err(Fault::Short) if p.data.len() < p.wire_len && has_question(p.data, p.wire_len) => {
                    Verdict::Yes
                }
                Err(_) => Verdict::No,
            },
            Transport::Tcp => {
                let mut r = Reader::new(p.data);
                let Ok(length) = r.u16().map(usize::from) else { return Verdict::More };
                let message = r.rest().get(..length).unwrap_or(r.rest());
                match read(message, length, |_| ()) {
                    Ok(_) => Verdict::Yes,
                    Err(Fault::Short) if message.len() < TCP_BELIEVED => Verdict::More,
                    Err(Fault::Short) if has_question(message, length) => Verdict::Yes,
                    Err(_) => Verdict::No,
                }
            }
            Transport::Ip(_) => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        match seg.transport {
            Transport::Udp => {
                self.message(seg.data, seg.wire_len, seg, out);
                Next::Continue { consumed: seg.data.len() }
            }
            Transport::Tcp => self.stream(seg, out),
            Transport::Ip(_) => Next::NotMine,
        }
    }
}

impl State {
    fn stream(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if seg.gap && self.started {
            return Next::Done; // message boundaries are lost
        }
        let mut r = Reader::new(seg.data);
        loop {
            let consumed = r.taken();
            let Ok(message) = r.vec16() else { return Next::Continue { consumed } };
            if !self.message(message, message.len(), seg, out) {
                return if self.started { Next::Done } else { Next::NotMine };
            }
        }
    }

    /// Reads one message; answers whether it is one.
    fn message(&mut self, data: &[u8], len: usize, seg: &Segment<'_>, out: &mut Out) -> bool {
        let Ok(header) = Header::parse(&mut Reader::new(data), len) else { return false };
        let full = out.facts.dns.as_ref().is_some_and(|dns| dns.queries.len() >= QUERIES_MAX);
        if full && !header.is_response() {
            self.look_for_a_tunnel(data, len, header, seg.ts_ns, out);
            return true; // nothing else in it would be kept
        }
        let answers = out.facts.dns.as_ref().map_or(0, |dns| dns.answers.len());
        let mut said = Said { room: ANSWERS_MAX.saturating_sub(answers), ..Said::default() };
        let outcome = read(data, len, |item| said.note(item, header.is_response()));
        if outcome == Err(Fault::Malformed)
            || said.questions.is_empty() && said.answers.is_empty() && said.addresses.is_empty()
        {
            return false;
        }
        self.started = true;
        if !said.questions.is_empty() {
            let asker = if header.is_response() { seg.dir.receiver() } else { seg.dir.sender() };
            out.client.get_or_insert(asker);
        }
        let first = said.questions.first().map(|(name, rrtype)| Question { name: *name, rrtype: *rrtype });
        said.tell(header, out);
        if first.is_some_and(|q| self.may_tunnel(q)) {
            self.look_for_a_tunnel(data, len, header, seg.ts_ns, out);
        }
        true
    }

    /// Reads a message for what tunnels in it, once a question could belong to one.
    fn look_for_a_tunnel(&mut self, data: &[u8], len: usize, header: Header, ts_ns: i64, out: &mut Out) {
        let (mut question, mut told) = (None, Vec::new());
        let _ = read(data, len, |item| match item {
            Item::Question { name, rrtype } => {
                question.get_or_insert(Question { name, rrtype });
            }
            Item::Record { section: Section::Answer, rrtype, data, .. } if told.len() < TOLD_MAX => {
                told.push((rrtype, data));
            }
            Item::Record { .. } => {}
        });
        let Some(question) = question.filter(|q| self.may_tunnel(*q)) else { return };
        if let Tunnel::None = self.tunnel {
            self.tunnel = Tunnel::Watched(Box::default());
        }
        let Tunnel::Watched(watch) = &mut self.tunnel else { return };
        let found = if !header.is_response() {
            watch.asked(question, ts_ns)
        } else if header.rcode() == 0 {
            watch.answered(question, &told, ts_ns)
        } else {
            watch.refused(question, ts_ns)
        };
        if let Some(found) = found {
            self.tunnel = Tunnel::Found;
            say(&found, out);
        }
    }

    fn may_tunnel(&self, question: Question<'_>) -> bool {
        match self.tunnel {
            Tunnel::None => tunnel::is_suspect(question),
            Tunnel::Watched(_) => true,
            Tunnel::Found => false,
        }
    }
}

/// Records of an answer that are looked at for a tunnel's data.
const TOLD_MAX: usize = 16;

fn say(found: &Found, out: &mut Out) {
    out.evidence(found.kind, &*found.detail);
    out.is("dns_tunnel");
    out.tool = found.tool;
    out.basis = if found.is_behaviour() { Basis::Behaviour } else { Basis::Handshake };
}

/// What one message says.
#[derive(Default)]
struct Said<'a> {
    /// Answers that the flow's facts have room for.
    room: usize,
    questions: Vec<(Name<'a>, u16)>,
    answers: Vec<(Name<'a>, u16, u32, Data<'a>)>,
    aliases: Vec<(Name<'a>, Name<'a>)>,
    addresses: Vec<(Name<'a>, IpAddr, u32)>,
}

impl<'a> Said<'a> {
    fn note(&mut self, item: Item<'a>, response: bool) {
        match item {
            Item::Question { name, rrtype } if self.questions.len() < QUERIES_MAX => {
                self.questions.push((name, rrtype));
            }
            Item::Record { section: Section::Answer, name, rrtype, ttl, data } if response => {
                if let (Data::Name(target), rrtype::CNAME | rrtype::DNAME) = (data, rrtype)
                    && self.aliases.len() < ALIASES_MAX
                {
                    self.aliases.push((name, target));
                }
                if let Data::Address(addr) = data
                    && self.addresses.len() < ADDRESSES_MAX
                {
                    self.addresses.push((name, addr, ttl));
                }
                if self.answers.len() < self.room {
                    self.answers.push((name, rrtype, ttl, data));
                }
            }
            _ => {}
        }
    }

    fn tell(self, header: Header, out: &mut Out) {
        self.tell_names(out);
        let first = out.facts.dns.is_none();
        let dns = out.facts.dns.get_or_insert_default();
        if first {
            dns.id = header.id;
        }
        for (name, rrtype) in &self.questions {
            if dns.queries.len() >= QUERIES_MAX {
                break;
            }
            let query = DnsQuery { rrname: name.text().into(), rrtype: *rrtype };
            if !dns.queries.contains(&query) {
                dns.queries.push(query);
            }
        }
        if !header.is_response() {
            return;
        }
        dns.rcode = u8::try_from(header.rcode()).ok();
        for (name, rrtype, ttl, data) in self.answers {
            let (addr, rdata) = match data {
                Data::Address(addr) => (Some(addr), None),
                Data::Name(target) => (None, Some(shortened(target.text()))),
                Data::Text(strings) => (None, Some(txt(strings, RDATA_MAX).into())),
                Data::Opaque(_) => (None, None),
            };
            dns.answers.push(DnsAnswer { rrname: name.text().into(), rrtype, ttl, addr, rdata });
        }
    }

    /// Gives every address the name that was asked for, if its record's owner is that name or what its CNAMEs lead to; without a
    /// question, as in mDNS, the owner's own name.
    fn tell_names(&self, out: &mut Out) {
        let Some((question, _)) = self.questions.first() else {
            for (owner, addr, ttl) in &self.addresses {
                out.name(*addr, &owner.text(), *ttl);
            }
            return;
        };
        if self.addresses.is_empty() {
            return;
        }
        let text = question.text();
        let mut chain = vec![question];
        // Every round adds a link or ends; there are at most as many links as aliases.
        while let Some((_, target)) =
            self.aliases.iter().find(|(owner, target)| chain.contains(&owner) && !chain.contains(&target))
        {
            chain.push(target);
        }
        for (owner, addr, ttl) in &self.addresses {
            if chain.contains(&owner) {
                out.name(*addr, &text, *ttl);
            }
        }
    }
}

/// Whether the question of a message that ends early is all there.
fn has_question(message: &[u8], len: usize) -> bool {
    let mut questions = 0_usize;
    let _ = read(message, len, |item| {
        if matches!(item, Item::Question { .. }) {
            questions = questions.saturating_add(1);
        }
    });
    message.len() > HEADER_LEN && questions > 0
}

fn shortened(mut text: String) -> Box<str> {
    text.truncate(RDATA_MAX); // ASCII, so any place is a boundary
    text.into()
}

#[cfg(test)]
use crate::Dir;
#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture] = &[
    crate::fixture::Fixture {
        name: "a name behind a CNAME",
        transport: Transport::Udp,
        payloads: &[(Dir::ToServer, tests::QUERY), (Dir::ToClient, tests::ANSWER)],
    },
    crate::fixture::Fixture {
        name: "over TCP",
        transport: Transport::Tcp,
        payloads: &[(Dir::ToServer, tests::TCP_QUERY), (Dir::ToClient, tests::TCP_ANSWER)],
    },
    crate::fixture::Fixture {
        name: "mDNS announcement",
        transport: Transport::Udp,
        payloads: &[(Dir::ToServer, tests::MDNS)],
    },
    tunnel::tests::IODINE_SESSION,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, drive};

    pub(super) const QUERY: &[u8] =
        b"\x2B\x67\x01\0\0\x01\0\0\0\0\0\x01\x03Www\x07example\x04test\0\0\x01\0\x01\
        \0\0\x29\x04\xD0\0\0\0\0\0\0";
    /// www.example.test is an alias of edge.cdn.test, which has two addresses; another name's address is among them.
    pub(super) const ANSWER: &[u8] =
        b"\x2B\x67\x81\x80\0\x01\0\x04\0\0\0\0\x03Www\x07example\x04test\0\0\x01\0\x01\
        \xC0\x0C\0\x05\0\x01\0\0\x01\x2C\0\x0B\x04edge\x03cdn\xC0\x18\
        \xC0\x2E\0\x01\0\x01\0\0\0\x3C\0\x04\xC0\0\x02\x01\
        \xC0\x2E\0\x01\0\x01\0\0\0\x3C\0\x04\xC0\0\x02\x02\
        \x05other\xC0\x18\0\x01\0\x01\0\0\0\x3C\0\x04\xC0\0\x02\x03";
    pub(super) const TCP_QUERY: &[u8] =
        b"\0\x22\x2B\x67\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x04test\0\0\x10\0\x01";
    pub(super) const TCP_ANSWER: &[u8] =
        b"\0\x37\x2B\x67\x81\x80\0\x01\0\x01\0\0\0\0\x03www\x07example\x04test\0\0\x10\0\x01\
        \xC0\x0C\0\x10\0\x01\0\0\x01\x2C\0\x09\x04v=1;\x03 ok";
    /// printer.local is at 192.0.2.9; class IN with the cache-flush bit.
    pub(super) const MDNS: &[u8] =
        b"\0\0\x84\0\0\0\0\x01\0\0\0\0\x07Printer\x05local\0\0\x01\x80\x01\0\0\0\x78\0\x04\xC0\0\x02\x09";

    fn udp(payloads: &[(Dir, &[u8])]) -> Out {
        drive::<State>(&Fixture { name: "", transport: Transport::Udp, payloads }, usize::MAX).out
    }

    fn probe(data: &[u8], wire_len: usize) -> Verdict {
        State::probe(&Probe {
            dir: Dir::ToServer,
            transport: Transport::Udp,
            data,
            wire_len,
            other: &[],
            earlier: &[],
            from_start: true,
            port_hint: true,
        })
    }

    #[test]
    fn addresses_are_named_by_the_question_through_its_aliases_and_strangers_are_not() {
        let out = udp(FIXTURES[0].payloads);
        let names: Vec<_> = out.names.iter().map(|n| (n.addr.to_string(), &*n.name, n.ttl)).collect();
        assert_eq!(
            names,
            [("192.0.2.1".into(), "www.example.test", 60), ("192.0.2.2".into(), "www.example.test", 60)]
        );
        assert_eq!(out.client, Some(Side::Src));
        assert_eq!(out.label, None);
    }

    #[test]
    fn questions_and_answers_are_kept_once() {
        let dns = udp(FIXTURES[0].payloads).facts.dns.unwrap();
        assert_eq!((dns.id, dns.rcode), (0x2B67, Some(0)));
        assert_eq!(dns.queries, [DnsQuery { rrname: "www.example.test".into(), rrtype: 1 }]);
        assert_eq!(dns.answers.len(), 4);
        assert_eq!((dns.answers[0].rrtype, dns.answers[0].rdata.as_deref()), (5, Some("edge.cdn.test")));
        assert_eq!(dns.answers[1].addr, Some([192, 0, 2, 1].into()));
    }

    #[test]
    fn an_answer_alone_tells_that_its_receiver_asked() {
        let out = udp(&[(Dir::ToServer, ANSWER)]);
        assert_eq!(out.client, Some(Side::Dest));
        assert_eq!(out.names.len(), 2);
        assert_eq!(out.facts.dns.unwrap().queries.len(), 1);
    }

    #[test]
    fn an_alias_loop_ends_and_names_nothing() {
        // a is an alias of b, b of a; c has an address.
        let looped = b"\x2B\x67\x81\x80\0\x01\0\x03\0\0\0\0\x01a\0\0\x01\0\x01\
            \xC0\x0C\0\x05\0\x01\0\0\0\x3C\0\x03\x01b\0\
            \xC0\x1F\0\x05\0\x01\0\0\0\x3C\0\x02\xC0\x0C\
            \x01c\0\0\x01\0\x01\0\0\0\x3C\0\x04\xC0\0\x02\x01";
        let out = udp(&[(Dir::ToClient, looped)]);
        assert_eq!((out.names.len(), out.facts.dns.unwrap().answers.len()), (0, 3));
    }

    #[test]
    fn over_tcp_messages_are_found_however_they_are_cut() {
        for piece in [1, 5, usize::MAX] {
            let got = drive::<State>(&FIXTURES[1], piece);
            assert!(got.mine, "pieces of {piece}");
            let dns = got.out.facts.dns.unwrap();
            assert_eq!(dns.answers[0].rdata.as_deref(), Some("v=1; ok"));
        }
    }

    #[test]
    fn an_announcement_is_named_by_its_own_owner_and_has_no_client() {
        let out = udp(FIXTURES[2].payloads);
        assert_eq!(&*out.names[0].name, "printer.local");
        assert_eq!(out.client, None);
    }

    #[test]
    fn a_message_cut_by_the_snap_length_is_taken_for_its_question() {
        assert_eq!(probe(&ANSWER[..40], ANSWER.len()), Verdict::Yes);
        assert_eq!(probe(&ANSWER[..20], ANSWER.len()), Verdict::No);
        let mut out = Out::default();
        let seg = Segment {
            dir: Dir::ToClient,
            transport: Transport::Udp,
            data: &ANSWER[..80],
            wire_len: ANSWER.len(),
            gap: false,
            ts_ns: 0,
        };
        assert_eq!(State::default().on_data(&seg, &mut out), Next::Continue { consumed: 80 });
        assert_eq!(out.names.len(), 1);
    }

    #[test]
    fn facts_are_bounded_and_names_go_on() {
        let mut payloads = Vec::new();
        let queries: Vec<Vec<u8>> = (0..40_u8)
            .map(|i| {
                let mut m = QUERY.to_vec();
                m[13] = b'a' + i % 26;
                m
            })
            .collect();
        for q in &queries {
            payloads.push((Dir::ToServer, &q[..]));
            payloads.push((Dir::ToClient, ANSWER));
        }
        let out = udp(&payloads);
        let dns = out.facts.dns.unwrap();
        assert_eq!((dns.queries.len(), dns.answers.len()), (QUERIES_MAX, ANSWERS_MAX));
        assert_eq!(out.names.len(), 64); // as many as are kept until the sensor takes them
    }

    #[test]
    fn other_udp_payloads_are_not_taken() {
        // NTP, SNMP's BER, a SIP request, RTP, and DNS with one byte more.
        let ntp = [&[0x1B_u8][..], &[0; 47]].concat();
        for data in
            [&ntp[..], b"\x30\x26\x02\x01\x01\x04\x06public\xA0\x19", b"OPTIONS sip:a SIP/2.0\r\n\r\n"]
        {
            assert_eq!(probe(data, data.len()), Verdict::No);
        }
        let longer = [QUERY, &[0]].concat();
        assert_eq!(probe(&longer, longer.len()), Verdict::No);
    }
}
