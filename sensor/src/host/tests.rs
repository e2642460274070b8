//! What raises each finding, what does not, and what speaks against it, on sessions made by hand.

use std::net::IpAddr;
use std::sync::LazyLock;

use farend_analyzers::{Evidence, Kind, Layer, Side, label_info, resolve};

use super::*;
use crate::clock::SECOND_NS;
use crate::decode::proto;
use crate::flow::{Birth, End, Hot, OpenerBasis, flag};
use crate::home::Home;
use crate::inspect::Verdict;
use crate::intel::Intel;
use crate::pipeline::{Ended, FlowId, Sighting, Volume};

const HOST: &str = "192.168.1.20";
/// Hetzner: hosting.
const RENTED: &str = "88.198.54.20";
/// Comcast: an access network.
const HOME_LINE: &str = "73.158.44.12";
/// Two exits of Tor, by the embedded lists.
const RELAYS: [&str; 2] = ["185.220.101.1", "185.220.101.2"];

static INTEL: LazyLock<Intel> = LazyLock::new(Intel::embedded);

static GREETING: Kind = Kind { name: "test.greeting", decibans: 12, says: "a greeting" };
static ANSWER: Kind = Kind { name: "test.answer", decibans: 20, says: "an answer to it" };
static OPERATED: Kind = Kind { name: "shape.operated", decibans: 99, says: "inputs at a person's pace" };

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

/// A session between a client and a server, to be changed by the tests.
#[derive(Clone)]
struct Talk {
    ends: [&'static str; 2],
    port: u16,
    label: Option<&'static str>,
    app_proto: &'static str,
    controlled: Option<Side>,
    kinds: Vec<&'static Kind>,
    packets: u32,
    bytes: u64,
    seconds: i64,
}

/// A used session of `label`.
fn talk(from: &'static str, to: &'static str, port: u16, label: Option<&'static str>) -> Talk {
    let control = label.and_then(label_info).is_some_and(|l| l.category.is_remote_control());
    Talk {
        ends: [from, to],
        port,
        label,
        app_proto: "tls",
        controlled: control.then_some(Side::Dest),
        kinds: if label.is_some() { vec![&GREETING, &ANSWER] } else { Vec::new() },
        packets: 60,
        bytes: 50_000,
        seconds: 60,
    }
}

impl Talk {
    fn flow(&self, number: u64) -> FlowId {
        FlowId {
            id: number,
            ip: self.ends.map(ip),
            port: [50_000, self.port],
            proto: proto::TCP,
            birth: Birth { first_ns: number as i64 * SECOND_NS, number, ..Birth::default() },
            basis: OpenerBasis::Syn,
        }
    }

    fn verdict(&self, number: u64) -> Verdict {
        let layers: Vec<Layer> = self.label.map(|l| Layer::of("test", Some(l), false)).into_iter().collect();
        let evidence = |kind: &&'static Kind| Evidence { kind, detail: "seen".into(), packet: number };
        Verdict {
            labels: resolve(&layers),
            controlled: self.controlled,
            app_proto: self.app_proto,
            evidence: self.kinds.iter().map(evidence).collect(),
            ..Verdict::default()
        }
    }

    fn ended(&self, number: u64) -> Ended {
        let flow = self.flow(number);
        let mut hot = Hot {
            last_ns: flow.birth.first_ns + self.seconds * SECOND_NS,
            bytes: [self.bytes, self.bytes],
            packets: [self.packets; 2],
            ..Hot::default()
        };
        hot.flags |= flag::DATA_A | flag::DATA_B;
        let verdict = Some(Box::new(self.verdict(number)));
        Ended { flow, hot, opener: 0, end: End::Closed, verdict }
    }

    fn sighted(&self, number: u64) -> Sighting {
        let flow = self.flow(number);
        Sighting {
            seq: number,
            ts_ns: flow.birth.first_ns + self.seconds * SECOND_NS,
            packet: number,
            flow,
            volume: Volume { packets: [self.packets.into(); 2], bytes: [self.bytes; 2] },
            verdict: self.verdict(number),
        }
    }
}

/// A ledger and what it was told to raise.
struct Case {
    ledger: Ledger,
    home: Home,
    raised: Vec<Finding>,
    number: u64,
    loss: Loss,
}

impl Case {
    fn new() -> Self {
        Self {
            ledger: Ledger::new(Weights::default()),
            home: Home::default(),
            raised: Vec::new(),
            number: 0,
            loss: Loss::default(),
        }
    }

    /// All sessions end in one tick, after which nothing more comes.
    fn of(talks: &[Talk]) -> Self {
        Self::with_loss(talks, Loss::default())
    }

    fn with_loss(talks: &[Talk], loss: Loss) -> Self {
        let mut case = Self { loss, ..Self::new() };
        case.end(talks);
        case.ledger.settle();
        case.raise(&mut talks.iter().flat_map(|t| t.ends.map(ip)).collect::<Vec<_>>());
        case
    }

    fn end(&mut self, talks: &[Talk]) {
        let ended: Vec<Ended> = talks.iter().map(|t| t.ended(self.next())).collect();
        let home = self.home.clone();
        let ctx = Context { intel: &INTEL, home: &home, private_seen: true };
        self.ledger.bytes(&ended, &[], ctx);
        for e in &ended {
            self.ledger.ended(e, ctx);
            self.raise(&mut e.flow.ip.clone());
        }
    }

    fn sight(&mut self, talk: &Talk) {
        let s = talk.sighted(self.next());
        let home = self.home.clone();
        self.ledger.sighted(&s, Context { intel: &INTEL, home: &home, private_seen: true });
        self.raise(&mut s.flow.ip.clone());
    }

    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn raise(&mut self, hosts: &mut [IpAddr]) {
        let Self { ledger, raised, loss, .. } = self;
        ledger.raise(hosts, loss, |finding, _| raised.push(finding.clone()));
    }

    /// The kinds raised, in order of kind.
    fn kinds(&self) -> Vec<&'static str> {
        let mut kinds: Vec<_> = self.raised.iter().map(|f| f.kind).collect();
        kinds.sort_unstable();
        kinds.into_iter().map(FindingKind::as_str).collect()
    }

    /// The account of a kind at the end, raised or not.
    fn account(&self, kind: FindingKind) -> Option<Finding> {
        self.ledger.records().flat_map(|r| r.findings).find(|f| f.kind == kind)
    }

    fn score(&self, kind: FindingKind) -> i32 {
        self.account(kind).map_or(i32::MIN, |f| f.score(self.ledger.weights()))
    }
}

#[test]
fn what_was_lost_meanwhile_lowers_a_finding() {
    let used = [talk(HOST, HOME_LINE, 1080, Some("socks"))];
    let lost = |delivered, lost| {
        let mut loss = Loss::default();
        loss.observe(i64::MAX, delivered, lost);
        let case = Case::with_loss(&used, loss);
        let finding = case.account(FindingKind::EgressProxy).expect("an account");
        let told = finding.lines.iter().find(|l| l.kind.starts_with("capture.loss"));
        (case.score(FindingKind::EgressProxy), told.map(|l| (l.kind, l.detail.clone())), case.kinds())
    };
    let (whole, none, _) = lost(1_000_000, 999);
    assert_eq!(none, None, "less than one in a thousand");
    let (score, told, kinds) = lost(998_000, 2_000);
    let detail = "2000 of 1000000 frames of that time were lost before they were captured".to_owned();
    assert_eq!((score, told), (whole - 2, Some(("capture.loss", detail))));
    assert_eq!(kinds, ["egress_proxy"]);
    assert_eq!(lost(98, 2).0, whole - 5);
    assert_eq!(lost(80, 20).0, whole - 12);
}

#[test]
fn a_proxy_outside_is_egress_and_one_inside_is_not() {
    let used = talk(HOST, HOME_LINE, 1080, Some("socks"));
    let case = Case::of(std::slice::from_ref(&used));
    assert_eq!(case.kinds(), ["egress_proxy"]);
    assert_eq!(case.raised[0].severity(), Severity::Low, "an access network is no anonymizer");
    assert_eq!(
        case.raised[0].summary(),
        "192.168.1.20 sends traffic through a proxy (SOCKS4/4a/5) at 73.158.44.12 (AS7922 Comcast Cable \
         Communications, LLC, isp): 100.0 % of its bytes over the border"
    );
    assert_eq!(Case::of(&[talk(HOST, "10.0.0.5", 1080, Some("socks"))]).kinds(), [] as [&str; 0]);
}

#[test]
fn a_host_that_serves_as_a_proxy_for_outsiders_sends_nothing_through_them() {
    let case = Case::of(&[talk(HOME_LINE, HOST, 1080, Some("socks"))]);
    assert_eq!(case.account(FindingKind::EgressProxy).map(|f| f.summary()), None);
}

#[test]
fn one_short_call_to_a_proxy_is_none_and_five_are_use() {
    let call = Talk { packets: 8, ..talk(HOST, HOME_LINE, 8080, Some("http_connect")) };
    assert_eq!(Case::of(&vec![call.clone(); 4]).kinds(), [] as [&str; 0]);
    let case = Case::of(&vec![call; 5]);
    assert_eq!(case.kinds(), ["egress_proxy"]);
    let finding = case.account(FindingKind::EgressProxy).expect("an account");
    assert!(finding.has("session.many") && !finding.has("session.short"), "{:?}", finding.lines);
    assert_eq!(finding.lines.iter().filter(|l| l.kind == "test.answer").count(), 1, "said once");
}

#[test]
fn tor_is_egress_whatever_its_transport_and_psiphon_is_a_proxy() {
    for label in ["tor", "obfs4", "snowflake"] {
        let strong = Talk { seconds: 700, ..talk(HOST, RELAYS[0], 443, Some(label)) };
        let case = Case::of(&[strong]);
        assert_eq!(case.kinds(), ["egress_tor"], "{label}");
        assert_eq!(case.raised[0].severity(), Severity::High);
    }
    assert_eq!(Case::of(&[talk(HOST, HOME_LINE, 443, Some("psiphon"))]).kinds(), ["egress_proxy"]);
}

#[test]
fn one_listed_relay_is_a_hint_and_two_are_a_finding_that_does_not_claim_the_protocol() {
    let tls = |to| Talk { seconds: 3_600, ..talk(HOST, to, 443, None) };
    let one = Case::of(&[tls(RELAYS[0]), tls(RELAYS[0])]);
    assert_eq!(one.kinds(), [] as [&str; 0]);
    assert_eq!(one.score(FindingKind::EgressTor), -5);
    let two = Case::of(&[tls(RELAYS[0]), tls(RELAYS[1])]);
    assert_eq!(two.kinds(), ["egress_tor"]);
    assert_eq!(two.raised[0].severity(), Severity::Medium);
    assert!(
        two.raised[0].summary().ends_with("Tor itself was not recognised"),
        "{}",
        two.raised[0].summary()
    );
    assert!(two.raised[0].lines[0].detail.contains("prefix:iporigin Tor"), "the list is named");
}

#[test]
fn a_listed_relay_needs_a_session_with_content_that_the_host_opened() {
    let tls = |from, to| talk(from, to, 443, None);
    let knock = |to| Talk { packets: 10, ..tls(HOST, to) };
    let other = |to| Talk { app_proto: "", ..tls(HOST, to) };
    for talks in [
        [knock(RELAYS[0]), knock(RELAYS[1])],
        // Peers of a torrent are on these lists, too.
        [other(RELAYS[0]), other(RELAYS[1])],
        [tls(RELAYS[0], HOST), tls(RELAYS[1], HOST)],
    ] {
        assert!(Case::of(&talks).account(FindingKind::EgressTor).is_none());
    }
}

#[test]
fn browsing_and_shells_at_hosting_addresses_are_no_carrier_of_ones_own() {
    let web = talk(HOST, RENTED, 443, None);
    let shell = talk(HOST, RENTED, 22, Some("ssh"));
    let case = Case::of(&[web.clone(), web.clone(), web, shell]);
    assert_eq!(case.kinds(), [] as [&str; 0]);
    assert!(case.account(FindingKind::EgressVps).is_none());
}

#[test]
fn a_carrier_to_a_rented_server_is_egress_vps_only_where_the_address_is_hosting() {
    for label in ["ssh_tunnel", "websocket_tunnel"] {
        let raised = |to| Case::of(&[talk(HOST, to, 22, Some(label))]).kinds().contains(&"egress_vps");
        assert!(raised(RENTED) && !raised(HOME_LINE), "{label}");
        // Somebody's tunnel into the host: its traffic does not leave through it.
        let into = Case::of(&[talk(RENTED, HOST, 22, Some(label))]);
        assert!(into.account(FindingKind::EgressVps).is_none(), "{label}");
    }
    let case = Case::of(&[talk(HOST, RENTED, 22, Some("ssh_tunnel"))]);
    assert_eq!(case.raised[0].severity(), Severity::Medium);
    assert!(case.raised[0].summary().ends_with("who rents it does not show"), "{}", case.raised[0].summary());
}

#[test]
fn a_covert_tunnel_in_use_is_a_finding_about_the_host_inside_whoever_began_it() {
    let labels =
        ["dns_tunnel", "icmp_tunnel", "websocket_tunnel", "http_tunnel", "tls_tunnel", "reverse_tunnel"];
    for label in labels {
        for session in [talk(HOST, HOME_LINE, 443, Some(label)), talk(HOME_LINE, HOST, 443, Some(label))] {
            let case = Case::of(&[session]);
            assert_eq!(case.kinds(), ["tunnel_covert"], "{label}");
            assert_eq!((case.raised[0].host, case.raised[0].peer), (ip(HOST), ip(HOME_LINE)), "{label}");
        }
        let short = Talk { packets: 6, ..talk(HOST, HOME_LINE, 443, Some(label)) };
        assert_eq!(Case::of(&[short]).kinds(), [] as [&str; 0], "an attempt at {label}");
    }
    for label in ["ssh_tunnel", "tunnel_unknown", "wireguard", "ssh"] {
        let case = Case::of(&[talk(HOST, HOME_LINE, 443, Some(label))]);
        assert!(case.account(FindingKind::TunnelCovert).is_none(), "{label}");
    }
}

#[test]
fn how_urgent_a_covert_tunnel_is_goes_by_where_it_leads() {
    let severity =
        |label, to| Case::of(&[talk(HOST, to, 53, Some(label))]).raised.pop().map(|f| f.severity());
    let of_tunnel = |label, to| {
        let case = Case::of(&[talk(HOST, to, 53, Some(label))]);
        case.raised.iter().find(|f| f.kind == FindingKind::TunnelCovert).map(Finding::severity)
    };
    assert_eq!(of_tunnel("icmp_tunnel", RENTED), Some(Severity::High));
    assert_eq!(severity("icmp_tunnel", HOME_LINE), Some(Severity::Medium));
    assert_eq!(severity("icmp_tunnel", "192.168.1.1"), Some(Severity::Low));
    assert_eq!(severity("reverse_tunnel", HOME_LINE), Some(Severity::High));
    assert_eq!(severity("dns_tunnel", "192.168.1.1"), Some(Severity::Medium));
    assert_eq!(severity("dns_tunnel", RENTED), Some(Severity::Medium));
    let case = Case::of(&[talk(HOST, HOME_LINE, 53, Some("dns_tunnel"))]);
    assert!(
        case.raised[0].summary().ends_with("where it ends does not show"),
        "{}",
        case.raised[0].summary()
    );
}

#[test]
fn brands_gateways_of_companies_meshes_and_relays_of_makers_are_not_ones_own() {
    for label in ["mullvad", "ipsec", "globalprotect", "tailscale", "dns_tunnel", "reverse_tunnel", "masque"]
    {
        let case = Case::of(&[talk(HOST, RENTED, 443, Some(label))]);
        assert!(case.account(FindingKind::EgressVps).is_none(), "{label}");
    }
}

#[test]
fn a_vpn_to_a_rented_server_is_two_claims_about_one_session_and_the_hosts_score_is_the_better_one() {
    let case = Case::of(&[talk(HOST, RENTED, 51820, Some("wireguard"))]);
    assert_eq!(case.kinds(), ["egress_vpn", "egress_vps"]);
    assert!(case.raised.iter().all(|f| f.flow.id == 1));
    let record = case.ledger.records().find(|r| r.host == ip(HOST)).expect("a record");
    assert_eq!(
        record.score,
        case.score(FindingKind::EgressVpn).max(case.score(FindingKind::EgressVps)),
        "not their sum"
    );
    assert_eq!(record.egress.len(), 1, "its bytes are counted once");
}

#[test]
fn a_carrier_that_takes_hardly_any_of_the_traffic_is_not_where_it_leaves() {
    let tunnel = talk(HOST, RENTED, 22, Some("ssh_tunnel"));
    let web = |bytes| Talk { bytes, ..talk(HOST, "104.16.1.1", 443, None) };
    // The tunnel began first and ends first; what else the host did counts all the same.
    let little = Case::of(&[tunnel.clone(), web(5_000_000)]);
    assert_eq!(little.kinds(), [] as [&str; 0]);
    assert!(little.account(FindingKind::EgressVps).expect("an account").has("egress.little"));
    let half = Case::of(&[tunnel.clone(), web(40_000)]);
    assert_eq!(half.kinds(), ["egress_vps"]);
    assert_eq!(half.raised[0].share, Some(555), "100 of 180 kB");
    let some = Case::of(&[tunnel, web(200_000)]);
    let finding = some.account(FindingKind::EgressVps).expect("an account");
    assert!(!finding.has("egress.most") && !finding.has("egress.little"));
}

#[test]
fn a_tunnel_that_goes_on_is_judged_after_ten_minutes_without_waiting_for_its_end() {
    let young = talk(HOST, RENTED, 22, Some("ssh_tunnel"));
    let mut case = Case::new();
    case.sight(&young);
    assert!(case.account(FindingKind::EgressVps).is_none(), "its share of the bytes is not known yet");
    case.sight(&Talk { seconds: 900, ..young });
    assert_eq!(case.kinds(), ["egress_vps"]);
}

#[test]
fn inbound_sessions_are_one_finding_a_service_and_one_line_a_peer() {
    let others = ["88.198.54.21", "194.33.44.11"];
    let mut talks = vec![talk(RENTED, HOST, 22, Some("ssh")); 3];
    talks.extend(others.map(|from| talk(from, HOST, 22, None)));
    talks.push(talk(RENTED, HOST, 8443, None));
    talks.extend([50_001, 60_002].map(|port| talk(RENTED, HOST, port, None)));
    let case = Case::of(&talks);
    let mut found: Vec<&Finding> =
        case.raised.iter().filter(|f| f.kind == FindingKind::InboundSuspiciousOrigin).collect();
    found.sort_by_key(|f| f.service);
    let told: Vec<String> = found.iter().map(|f| f.service.expect("a service").to_string()).collect();
    assert_eq!(told, ["TCP port 22", "TCP port 8443", "TCP ports from 49152 on"]);
    let mut ids: Vec<String> = found.iter().map(|f| f.id()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 3, "each has an id of its own: {ids:?}");
    let at_the_end = |service: &str| {
        let all = case.ledger.findings();
        let found = all.iter().find(|f| f.service.is_some_and(|s| s.to_string() == service));
        found.map(|f| (f.label, f.lines.len()))
    };
    assert_eq!(at_the_end("TCP port 22"), Some((Some("ssh"), 3)));
    assert_eq!(at_the_end("TCP port 8443"), Some((None, 1)));
}

#[test]
fn inbound_sessions_from_access_networks_and_unanswered_ones_are_no_finding() {
    let knock = Talk { packets: 3, ..talk(RENTED, HOST, 22, None) };
    let case = Case::of(&[talk(HOME_LINE, HOST, 22, None), knock, talk(HOST, RENTED, 22, None)]);
    assert!(case.account(FindingKind::InboundSuspiciousOrigin).is_none());
}

#[test]
fn every_remote_control_label_raises_where_the_operated_side_is_known() {
    let mut labels = 0;
    for info in farend_analyzers::LABELS.iter().filter(|l| l.category.is_remote_control()) {
        let strong = talk(RENTED, HOST, 4000, Some(info.label));
        let case = Case::of(std::slice::from_ref(&strong));
        let expected = ["remote_control", "remote_control_suspicious_origin", "inbound_suspicious_origin"];
        assert_eq!(case.kinds(), expected, "{}", info.label);
        let blind = Case::of(&[Talk { controlled: None, ..strong }]);
        assert!(blind.account(FindingKind::RemoteControl).is_none(), "{}", info.label);
        labels += 1;
    }
    assert!(labels > 30, "{labels}");
}

#[test]
fn inputs_at_a_persons_pace_count_for_remote_control_and_for_nothing_else() {
    let plain = talk(HOME_LINE, HOST, 3389, Some("rdp"));
    let mut operated = plain.clone();
    operated.kinds.push(&OPERATED);
    let score = |t: &Talk| Case::of(std::slice::from_ref(t)).score(FindingKind::RemoteControl);
    assert_eq!(score(&operated) - score(&plain), 15, "what the weights say, not what the analyzer does");
    let case = Case::of(&[operated]);
    let finding = case.account(FindingKind::RemoteControl).expect("an account");
    assert!(finding.summary().contains("at a person's pace"), "{}", finding.summary());
    assert!(!Case::of(&[plain]).raised[0].summary().contains("pace"));

    let vpn = talk(HOST, RENTED, 51820, Some("wireguard"));
    let mut shaped = vpn.clone();
    shaped.kinds.push(&OPERATED);
    let score = |t: &Talk| Case::of(std::slice::from_ref(t)).score(FindingKind::EgressVpn);
    assert_eq!(score(&shaped), score(&vpn));
}

#[test]
fn a_second_tool_from_outside_is_evidence_with_the_other_session_named() {
    let rdp = talk(RENTED, HOST, 3389, Some("rdp"));
    let anydesk = talk(HOME_LINE, HOST, 7070, Some("anydesk"));
    let case = Case::of(&[rdp.clone(), anydesk.clone()]);
    let lines: Vec<(IpAddr, Line)> = case
        .ledger
        .records()
        .flat_map(|r| r.findings)
        .filter(|f| f.kind == FindingKind::RemoteControl)
        .flat_map(|f| f.lines.into_iter().map(move |l| (f.peer, l)))
        .filter(|(_, l)| l.kind == "host.several_tools")
        .collect();
    assert_eq!(lines.len(), 2);
    for (peer, line) in &lines {
        let (other, packet) = if *peer == ip(RENTED) { (HOME_LINE, 2) } else { (RENTED, 1) };
        assert!(line.detail.starts_with(other) && line.packet == packet, "{peer}: {line:?}");
        assert!((1..=5).contains(&line.decibans));
    }
    // A third one adds nothing.
    let vnc = talk("194.33.44.11", HOST, 5900, Some("vnc"));
    let score = |talks: &[Talk]| Case::of(talks).score(FindingKind::RemoteControlSuspiciousOrigin);
    assert_eq!(score(&[rdp.clone(), anydesk.clone(), vnc]), score(&[rdp, anydesk]));
}

#[test]
fn tools_of_one_family_attempts_and_tools_from_inside_are_no_second_tool() {
    let rdp = talk(RENTED, HOST, 3389, Some("rdp"));
    let attempt = Talk { packets: 9, ..talk(RENTED, HOST, 5900, Some("vnc")) };
    for other in [
        talk("88.198.54.21", HOST, 3389, Some("rdp")),
        talk("88.198.54.21", HOST, 443, Some("rdp_gateway")),
        talk("192.168.1.9", HOST, 22, Some("ssh")),
        attempt,
    ] {
        let case = Case::of(&[rdp.clone(), other.clone()]);
        let several = |f: &Finding| f.has("host.several_tools");
        assert!(!case.ledger.records().flat_map(|r| r.findings).any(|f| several(&f)), "{:?}", other.label);
    }
}

#[test]
fn a_session_that_goes_on_is_found_behind_many_attempts_of_the_same_peer() {
    let guess = Talk { packets: 9, ..talk(HOME_LINE, HOST, 3389, Some("rdp")) };
    let mut talks = vec![guess; 40];
    talks.push(talk(HOME_LINE, HOST, 3389, Some("rdp")));
    let case = Case::of(&talks);
    assert_eq!(case.kinds(), ["remote_control"]);
    let found = &case.raised[0];
    assert_eq!(found.flow.id, 41, "the alert is about the session, not about the first attempt");
    assert!(found.lines.iter().all(|l| l.packet == 41), "{:?}", found.lines);
    let tally = case.ledger.tally();
    let sum = tally.applied + tally.coalesced + tally.over_lines + tally.over_findings + tally.over_hosts;
    assert_eq!(tally.offered, sum);
}
