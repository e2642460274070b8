//! The catalogue's word on a layer: whose the names are that its facts show.
//!
//! In: the facts of a layer, whenever they may have grown. Out: evidence, and the tool that a session belongs to. Every fact is
//! looked up once, in the packet that brought it.

use farend_analyzers::{Facts, Http, Kind, LabelInfo, Out, Side, Tls};

use super::device::{self, Clue};
use crate::catalog::{Catalogue, Hit};

const SNI: Kind = Kind {
    name: "catalogue.sni",
    decibans: 15,
    says: "TLS or QUIC asked for a session name of the tool; judgement: hardly anybody but the tool itself talks to its relays and agents' services",
};
const ALPN: Kind = Kind {
    name: "catalogue.alpn",
    decibans: 15,
    says: "TLS or QUIC offered a protocol that only the tool speaks; judgement",
};
const CERTIFICATE: Kind = Kind {
    name: "catalogue.certificate",
    decibans: 20,
    says: "the server's certificate is one that the tool makes for itself; judgement: nobody else has a reason to call itself so",
};
const CERTIFICATE_NAME: Kind = Kind {
    name: "catalogue.certificate_name",
    decibans: 15,
    says: "no server name was asked for, and the certificate is for a session name of the tool; judgement, as for the server name",
};
const HOST: Kind = Kind {
    name: "catalogue.host",
    decibans: 12,
    says: "an HTTP request's Host is a session name of the tool; judgement: as the server name, but easier to write into a request by hand",
};
const SITE: Kind = Kind {
    name: "catalogue.site",
    decibans: 1,
    says: "a name of the tool's web site, updates or accounts: somebody reads about it or manages it; never a label",
};
const LOOKUP: Kind = Kind {
    name: "catalogue.lookup",
    decibans: 3,
    says: "a session name of the tool was looked up: a look-up is no session; never a label",
};
const LOOKUP_SITE: Kind = Kind {
    name: "catalogue.lookup_site",
    decibans: 1,
    says: "a name of the tool's web site was looked up; never a label",
};

/// Given where flows and names come together (`pipeline/brand.rs`).
pub const NAMED: Kind = Kind {
    name: "catalogue.named",
    decibans: 10,
    says: "an answer on the wire gave a session name of the tool to this address before; judgement: the protocol is a VPN's, and its server was just looked up by that name",
};

/// All evidence that the catalogue can give.
pub const KINDS: [&Kind; 14] = {
    let [name, hint, class, service, title] = device::KINDS;
    [
        &SNI,
        &ALPN,
        &CERTIFICATE,
        &CERTIFICATE_NAME,
        &HOST,
        &NAMED,
        &SITE,
        &LOOKUP,
        &LOOKUP_SITE,
        name,
        hint,
        class,
        service,
        title,
    ]
};

/// Look-ups told of one flow: more of them say no more.
const LOOKUPS_TOLD: usize = 4;
/// Clues to devices kept of one flow: a bound on memory.
const CLUES: usize = 32;

/// A session name of a tool that somebody looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookedUp {
    /// Whose name it is.
    pub hit: Hit,
    /// The name.
    pub name: Box<str>,
    /// Packet with the question.
    pub packet: u64,
}

/// What has been looked up of a layer, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Matched {
    hello: bool,
    certificate: bool,
    host: bool,
    queries: usize,
    lookups: usize,
    looked_up: Vec<LookedUp>,
    /// Records of answers that were looked at.
    answers: usize,
    clues: Vec<Clue>,
    /// The tool whose session this is, as far as one side can show it.
    tool: Option<Hit>,
    /// The other side has answered.
    answered: bool,
}

impl Matched {
    /// Looks up what is new. `answered`: both sides have sent something.
    #[inline]
    pub(super) fn look(&mut self, catalogue: &'static Catalogue, out: &mut Out, answered: bool) {
        let Facts { tls, http, dns, quic, .. } = &out.facts;
        // An alert refuses; of QUIC's answers only that there are some can be seen.
        let agreed = quic.is_some() || tls.as_deref().is_none_or(|tls| tls.cipher.is_some());
        self.answered |= answered && agreed;
        let grown = tls
            .as_deref()
            .is_some_and(|tls| !self.hello && is_hello(tls) || !self.certificate && tls.subject.is_some())
            || !self.host && http.as_deref().is_some_and(|http| http.hostname.is_some())
            || dns
                .as_deref()
                .is_some_and(|dns| dns.queries.len() > self.queries || dns.answers.len() > self.answers)
            || !out.said.is_empty();
        if grown {
            self.look_up(catalogue, out);
        }
    }

    /// Whether a tool shows that the other side has not answered yet.
    pub(super) const fn waits(&self) -> bool {
        self.tool.is_some() && !self.answered
    }

    /// Session names that were looked up.
    pub(super) fn looked_up(&self) -> &[LookedUp] {
        &self.looked_up
    }

    /// What tells devices.
    pub(super) fn clues(&self) -> &[Clue] {
        &self.clues
    }

    /// The label that the catalogue gives to the layer.
    pub(super) fn label(&self) -> Option<&'static LabelInfo> {
        self.tool.filter(|_| self.answered).map(|hit| hit.label)
    }

    /// The tool of that label.
    pub(super) fn tool(&self) -> Option<&'static str> {
        self.tool.filter(|_| self.answered).map(|hit| hit.tool)
    }

    #[cold]
    fn look_up(&mut self, catalogue: &'static Catalogue, out: &mut Out) {
        let mut found: Vec<(&'static Kind, Hit, Box<str>)> = Vec::new();
        if let Some(tls) = out.facts.tls.as_deref() {
            if !self.hello && is_hello(tls) {
                self.hello = true;
                let sni = tls.sni.as_deref().and_then(|sni| Some((&SNI, catalogue.name(sni)?, sni)));
                let alpn =
                    tls.alpn_offered.iter().find_map(|alpn| Some((&ALPN, catalogue.alpn(alpn)?, &**alpn)));
                found.extend(sni.into_iter().chain(alpn).map(|(kind, hit, seen)| (kind, hit, seen.into())));
            }
            if !self.certificate
                && let Some(subject) = tls.subject.as_deref()
            {
                self.certificate = true;
                self.answered = true; // whatever side we heard, a certificate is an answer
                found.extend(certificate(catalogue, tls, subject));
            }
        }
        if let Some(http) = out.facts.http.as_deref()
            && !self.host
            && let Some(host) = http.hostname.as_deref()
        {
            self.host = true;
            // What a proxy is asked for is not who it is.
            let hit = catalogue.name(host).filter(|_| asks_the_host(http));
            found.extend(hit.map(|hit| (&HOST, hit, host.into())));
        }
        if let Some(dns) = out.facts.dns.as_deref() {
            for query in dns.queries.iter().skip(self.queries) {
                let Some(hit) = catalogue.name(&query.rrname).filter(|_| self.lookups < LOOKUPS_TOLD) else {
                    continue;
                };
                self.lookups += 1;
                if hit.session {
                    let (name, packet) = (query.rrname.clone(), out.packet);
                    self.looked_up.push(LookedUp { hit, name, packet });
                }
                found.push((if hit.session { &LOOKUP } else { &LOOKUP_SITE }, hit, query.rrname.clone()));
            }
            self.queries = dns.queries.len();
        }
        self.devices(catalogue, out);
        let client = out.client;
        for (kind, hit, seen) in found {
            let lookup = matches!(kind.name, "catalogue.lookup" | "catalogue.lookup_site");
            let kind = if hit.session || lookup { kind } else { &SITE };
            out.evidence(kind, detail(&hit, &seen));
            if hit.session && !lookup {
                // A certificate is the called side's; whoever calls a service of the maker may be the device or its user.
                let certified = kind.name == CERTIFICATE.name;
                let by = if certified { client.map(Side::other) } else { client };
                if let Some(clue) = Clue::of_hit(hit, kind, &seen, out.packet, by) {
                    if certified {
                        out.controlled = out.controlled.or(by);
                    }
                    self.keep(clue);
                }
                // Of two that contradict each other the certificate tells what answered.
                let certificate = kind.name == CERTIFICATE.name;
                self.tool = self.tool.filter(|_| !certificate).or(Some(hit));
            }
        }
    }

    /// Looks up what was said of devices.
    fn devices(&mut self, catalogue: &'static Catalogue, out: &mut Out) {
        let packet = out.packet;
        for said in std::mem::take(&mut out.said) {
            if let Some(lease) = Clue::lease(&said, packet) {
                self.keep(lease);
            }
            let Some((kind, clue)) = Clue::of(catalogue, said, packet) else { continue };
            if kind.name == device::TITLE.name {
                // Somebody looks at it; of another tool that shows the page tells what answered.
                (self.tool, self.answered) = (clue.hit, true);
                out.controlled = out.controlled.or(clue.by);
            }
            self.tell(kind, clue, out);
        }
        let Some(dns) = out.facts.dns.take() else { return };
        let responder = out.client.map(Side::other);
        for answer in dns.answers.iter().skip(self.answers) {
            if let Some((kind, clue)) = Clue::of_answer(catalogue, answer, responder, packet) {
                self.tell(kind, clue, out);
            }
        }
        self.answers = dns.answers.len();
        out.facts.dns = Some(dns);
    }

    /// Keeps a clue, and tells of it once.
    fn tell(&mut self, kind: &'static Kind, clue: Clue, out: &mut Out) {
        let told = self
            .clues
            .iter()
            .any(|c| (c.kind, &c.seen, c.addr, c.mac) == (clue.kind, &clue.seen, clue.addr, clue.mac));
        if told {
            return;
        }
        if let Some(hit) = &clue.hit {
            out.evidence(kind, format!("{}: {} (rule {}; {})", clue.seen, hit.tool, hit.rule, hit.source));
        }
        self.keep(clue);
    }

    fn keep(&mut self, clue: Clue) {
        if self.clues.len() < CLUES {
            self.clues.push(clue);
        }
    }
}

/// What a certificate shows: that the tool made it, or, where the client asked for no name, what the certificate is for. A browser
/// always asks for a name, so a certificate for all names below one (`*.example.com`) is not the web site's here.
fn certificate(
    catalogue: &'static Catalogue,
    tls: &Tls,
    subject: &str,
) -> Option<(&'static Kind, Hit, Box<str>)> {
    let issuer = tls.issuer.as_deref().unwrap_or_default();
    if let Some(hit) = catalogue.certificate(subject, issuer) {
        let seen = if subject.split(", ").any(|part| part == hit.rule) { subject } else { issuer };
        return Some((&CERTIFICATE, hit, seen.into()));
    }
    if !is_hello(tls) || tls.sni.is_some() {
        return None;
    }
    let common = subject.split(", ").filter_map(|part| part.strip_prefix("CN="));
    common.chain(tls.sans.iter().map(|name| &**name)).find_map(|name| {
        let hit = match name.strip_prefix("*.") {
            Some(above) => catalogue.name(&format!("0.{above}")),
            None => catalogue.name(name),
        };
        Some((&CERTIFICATE_NAME, hit?, name.into()))
    })
}

/// Whether a ClientHello has been read.
fn is_hello(tls: &Tls) -> bool {
    tls.ja4.is_some() || tls.sni.is_some()
}

/// Whether the request asks the named host itself, not a proxy on the way to it.
fn asks_the_host(http: &Http) -> bool {
    let origin = http.url.as_deref().is_some_and(|url| url.starts_with('/') || url == "*");
    origin && http.method.as_deref() != Some("CONNECT")
}

fn detail(hit: &Hit, seen: &str) -> String {
    let what = if hit.session { "session" } else { "site" };
    format!("{seen}: {} ({what} rule {}; {})", hit.tool, hit.rule, hit.source)
}

#[cfg(test)]
mod tests {
    use farend_analyzers::device::{Said, What};
    use farend_analyzers::{Dns, DnsAnswer, DnsQuery};

    use super::*;

    fn catalogue() -> &'static Catalogue {
        Catalogue::embedded()
    }

    fn hello(sni: Option<&str>) -> Tls {
        Tls { sni: sni.map(Into::into), ja4: Some("t13d".into()), cipher: Some(0x1301), ..Tls::default() }
    }

    /// What comes of facts that both sides took part in.
    fn of(facts: Facts) -> (Option<&'static str>, Option<&'static str>, Vec<&'static str>) {
        let mut out = Out { facts, packet: 7, ..Out::default() };
        let mut matched = Matched::default();
        matched.look(catalogue(), &mut out, true);
        matched.look(catalogue(), &mut out, true);
        assert!(out.evidence.iter().all(|e| e.packet == 7));
        (matched.label().map(|l| l.label), matched.tool(), out.evidence.iter().map(|e| e.kind.name).collect())
    }

    fn of_tls(tls: Tls) -> (Option<&'static str>, Option<&'static str>, Vec<&'static str>) {
        of(Facts { tls: Some(Box::new(tls)), ..Facts::default() })
    }

    fn of_http(
        method: &str,
        url: &str,
        host: &str,
    ) -> (Option<&'static str>, Option<&'static str>, Vec<&'static str>) {
        let http = Http {
            method: Some(method.into()),
            url: Some(url.into()),
            hostname: Some(host.into()),
            ..Http::default()
        };
        of(Facts { http: Some(Box::new(http)), ..Facts::default() })
    }

    #[test]
    fn a_session_name_gives_the_label_and_a_site_name_only_a_hint() {
        assert_eq!(
            of_tls(hello(Some("relay-1.net.anydesk.com"))),
            (Some("anydesk"), Some("AnyDesk"), vec!["catalogue.sni"])
        );
        assert_eq!(of_tls(hello(Some("docs.anydesk.com"))), (None, None, vec!["catalogue.site"]));
        assert_eq!(of_tls(hello(Some("example.com"))), (None, None, vec![]));
    }

    #[test]
    fn an_opening_that_was_not_answered_is_evidence_and_no_label() {
        let mut out = Out::default();
        out.facts.tls = Some(Box::new(hello(Some("relay-1.net.anydesk.com"))));
        let mut matched = Matched::default();
        matched.look(catalogue(), &mut out, false);
        assert_eq!((matched.label(), matched.tool(), out.evidence.len()), (None, None, 1));
        matched.look(catalogue(), &mut out, true);
        assert_eq!((matched.label().map(|l| l.label), out.evidence.len()), (Some("anydesk"), 1));

        let refused = Tls { cipher: None, ..hello(Some("relay-1.net.anydesk.com")) };
        assert_eq!(of_tls(refused), (None, None, vec!["catalogue.sni"]), "an alert is no answer");
    }

    #[test]
    fn a_certificate_of_the_tools_own_making_gives_the_label_also_without_a_hello() {
        let tls = Tls {
            subject: Some("CN=AnyDesk Client".into()),
            issuer: Some("CN=AnyDesk Client".into()),
            ..Tls::default()
        };
        assert_eq!(of_tls(tls), (Some("anydesk"), Some("AnyDesk"), vec!["catalogue.certificate"]));
    }

    #[test]
    fn a_certificate_in_dtls_counts_as_in_tls_and_every_browsers_own_does_not() {
        let dtls = |name: &str| Tls {
            version: 0xFEFD,
            subject: Some(name.into()),
            issuer: Some(name.into()),
            ..hello(None)
        };
        assert_eq!(
            of_tls(dtls("CN=chromoting")),
            (Some("chrome_remote_desktop"), Some("Chrome Remote Desktop"), vec!["catalogue.certificate"])
        );
        assert_eq!(of_tls(dtls("CN=WebRTC")), (None, None, vec![]));
    }

    #[test]
    fn the_names_in_a_certificate_count_only_where_the_client_asked_for_none() {
        let certified = |sni| Tls { subject: Some("CN=*.dwservice.net".into()), ..hello(sni) };
        assert_eq!(
            of_tls(certified(None)),
            (Some("dwservice"), Some("DWService"), vec!["catalogue.certificate_name"])
        );
        assert_eq!(of_tls(certified(Some("www.dwservice.net"))), (None, None, vec!["catalogue.site"]));
        let unheard = Tls { subject: Some("CN=*.dwservice.net".into()), ..Tls::default() };
        assert_eq!(
            of_tls(unheard),
            (None, None, vec![]),
            "it may have been a browser's name that was not captured"
        );
    }

    #[test]
    fn an_offered_protocol_of_the_tools_own_gives_the_label() {
        let tls = Tls { alpn_offered: vec!["anydesk/6.2.0/linux".into()], ..hello(None) };
        assert_eq!(of_tls(tls), (Some("anydesk"), Some("AnyDesk"), vec!["catalogue.alpn"]));
    }

    #[test]
    fn a_host_is_whom_the_request_asks_but_not_what_a_proxy_is_asked_for() {
        let host = "agent-api.atera.com";
        assert_eq!(of_http("GET", "/x", host), (Some("atera"), Some("Atera"), vec!["catalogue.host"]));
        assert_eq!(of_http("GET", "http://agent-api.atera.com/x", host), (None, None, vec![]));
        assert_eq!(of_http("CONNECT", "agent-api.atera.com:443", host), (None, None, vec![]));
    }

    #[test]
    fn a_look_up_is_no_session_and_every_question_is_looked_up_once() {
        let query = |name: &str| DnsQuery { rrname: name.into(), rrtype: 1 };
        let mut out = Out::default();
        let mut matched = Matched::default();
        let names = ["boot.net.anydesk.com", "www.teamviewer.com", "example.com"];
        for n in 1..=names.len() {
            let queries = names.iter().take(n).map(|name| query(name)).collect();
            out.facts.dns = Some(Box::new(Dns { queries, ..Dns::default() }));
            matched.look(catalogue(), &mut out, true);
        }
        let told: Vec<&str> = out.evidence.iter().map(|e| e.kind.name).collect();
        assert_eq!(told, ["catalogue.lookup", "catalogue.lookup_site"]);
        assert!(out.evidence.iter().all(|e| e.kind.decibans <= 3));
        assert_eq!(matched.label(), None);
    }

    #[test]
    fn a_page_of_a_kvm_gives_its_label_and_what_it_shows_is_operated() {
        let said = |title: &str| Said {
            what: What::Title,
            text: title.into(),
            mac: None,
            addr: None,
            by: Some(Side::Dest),
        };
        let of = |title| {
            let mut out = Out { said: vec![said(title)], packet: 7, ..Out::default() };
            let mut matched = Matched::default();
            matched.look(catalogue(), &mut out, true);
            assert!(out.said.is_empty(), "what was looked up is forgotten");
            (matched.label().map(|l| l.label), out.controlled, matched.clues().len())
        };
        assert_eq!(of("JetKVM"), (Some("jetkvm"), Some(Side::Dest), 1));
        assert_eq!(of("Welcome to nginx!"), (None, None, 0));
    }

    #[test]
    fn names_in_dhcp_and_in_local_answers_are_evidence_and_no_label() {
        let name = |name: &str| Said {
            what: What::HostName,
            text: name.into(),
            mac: Some([0xB8, 0x27, 0xEB, 1, 2, 3]),
            addr: None,
            by: Some(Side::Src),
        };
        let answer = |name: &str, addr: &str, ttl| DnsAnswer {
            rrname: name.into(),
            rrtype: 1,
            ttl,
            addr: addr.parse().ok(),
            rdata: None,
        };
        let mut out = Out { said: vec![name("raspberrypi"), name("pikvm"), name("pikvm")], ..Out::default() };
        let answers = vec![
            answer("pikvm.local", "192.168.1.42", 120),
            answer("pikvm.local", "192.168.1.43", 0),
            answer("pikvm.org", "192.168.1.44", 120),
            answer("glkvm.lan", "198.41.0.4", 120),
        ];
        out.facts.dns = Some(Box::new(Dns { answers, ..Dns::default() }));
        let mut matched = Matched::default();
        matched.look(catalogue(), &mut out, true);
        matched.look(catalogue(), &mut out, true);
        let told: Vec<&str> = out.evidence.iter().map(|e| e.kind.name).collect();
        assert_eq!(told, ["catalogue.device_name"; 2], "one by DHCP, one by mDNS");
        let addresses: Vec<Option<String>> =
            matched.clues().iter().map(|c| c.addr.map(|a| a.to_string())).collect();
        assert_eq!(addresses, [None, Some("192.168.1.42".to_owned())]);
        assert_eq!(matched.label(), None);
    }
}
