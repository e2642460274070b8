//! IP-KVMs on the local network: which host inside is one, how it was recognised, and who sits beside it.
//!
//! In: clues of flows (names, pages, certificates), and who has which MAC address. Out: the finding `ip_kvm`, begun once what is
//! known of a device adds up, so that weak clues never show as a suspicion. A MAC address counts only while one
//! IPv4 address has it: a router's is that of every host behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use farend_analyzers::device::Mac;
use farend_analyzers::{Category, LabelInfo, Side};

use super::finding::{Finding, FindingKind, Line};
use super::ledger::{Claim, Context, Ledger};
use super::session::{SUSTAINED_PACKETS, Session, weighed};
use crate::catalog::device::Worth;
use crate::catalog::{Catalogue, Hit};
use crate::clock::SECOND_NS;
use crate::home::is_host;
use crate::inspect::{Clue, Verdict};
use crate::pipeline::{FlowId, Neighbour};

/// Addresses kept with their MAC address.
const MAX_PRESENT: usize = 65_536;
/// Devices that something is known of, and MAC addresses without an address yet.
const MAX_ACCOUNTS: usize = 4_096;
/// Marks kept of one device.
const MAX_MARKS: usize = 16;
/// Devices found; more of them on one network are not to be believed.
const MAX_FOUND: usize = 256;
/// The bits of an IPv4 address that hosts of a /24 differ in.
const LAST_OCTET: u32 = 0xFF;
/// Hosts named that sit beside a device.
const MAX_NAMED: usize = 8;
/// Whoever was seen this close in time was there at the same time.
const TOGETHER_NS: i64 = 600 * SECOND_NS;
/// Whoever was not seen for this long has gone, or has another address by now.
const GONE_NS: i64 = 86_400 * SECOND_NS;
/// When there is no room, those that have gone are looked for at most this often.
const SWEEP_NS: i64 = 60 * SECOND_NS;
/// Pictures that replace each other (the WHATWG and Netscape's `multipart/x-mixed-replace`).
const PICTURES: &str = "multipart/x-mixed-replace";

/// What is known of devices.
#[derive(Debug)]
pub(super) struct Devices {
    catalogue: &'static Catalogue,
    present: BTreeMap<IpAddr, Present>,
    /// IPv4 addresses of each MAC address: one, or the first two of a router's.
    owners: BTreeMap<Mac, Vec<IpAddr>>,
    /// MAC addresses that hosts outside have, too.
    routers: BTreeSet<Mac>,
    accounts: BTreeMap<IpAddr, Vec<Mark>>,
    /// Marks of devices whose address is not known yet.
    unplaced: BTreeMap<Mac, Vec<Mark>>,
    /// Devices whose findings have changed since the last call of [`Ledger::devices_told`].
    told: Vec<IpAddr>,
    /// Devices found.
    found: Vec<IpAddr>,
    /// When those that have gone were looked for, ns since the epoch.
    swept_ns: i64,
}

impl Default for Devices {
    fn default() -> Self {
        Self {
            catalogue: Catalogue::embedded(),
            present: BTreeMap::new(),
            owners: BTreeMap::new(),
            routers: BTreeSet::new(),
            accounts: BTreeMap::new(),
            unplaced: BTreeMap::new(),
            told: Vec::new(),
            found: Vec::new(),
            swept_ns: i64::MIN,
        }
    }
}

/// A host on the link.
#[derive(Clone, Copy, Debug)]
struct Present {
    mac: Mac,
    seen_ns: [i64; 2],
    /// Input and number of the first frame with that MAC address.
    frame: (u16, u64),
}

/// A piece of evidence for what a device is.
#[derive(Clone, Debug)]
struct Mark {
    tool: &'static str,
    label: &'static LabelInfo,
    line: Line,
    /// The flow that shows it; a MAC address belongs to none.
    flow: Option<FlowId>,
}

impl Devices {
    /// The only address of a MAC address.
    fn owner(&self, mac: Mac) -> Option<IpAddr> {
        match self.owners.get(&mac)?[..] {
            [only] if !self.routers.contains(&mac) => Some(only),
            _ => None,
        }
    }

    /// Lets go of who has gone when there is no room for somebody new; a sensor runs for months.
    fn make_room(&mut self, now_ns: i64) {
        if self.present.len() < MAX_PRESENT || now_ns.saturating_sub(self.swept_ns) < SWEEP_NS {
            return;
        }
        self.swept_ns = now_ns;
        self.present.retain(|_, host| now_ns.saturating_sub(host.seen_ns[1]) < GONE_NS);
        let present = &self.present;
        self.owners.retain(|_, addresses| addresses.iter().any(|ip| present.contains_key(ip)));
    }

    /// The address by which a device is known: its IPv4 address, if its MAC address tells it.
    fn known_as(&self, ip: IpAddr) -> IpAddr {
        let mac = self.present.get(&ip).filter(|_| ip.is_ipv6()).map(|p| p.mac);
        mac.and_then(|mac| self.owner(mac)).unwrap_or(ip)
    }

    /// Whether two products are one family: one runs the other's software.
    fn related(&self, a: &str, b: &str) -> bool {
        let via = |tool: &str| self.catalogue.tool(tool).map(|t| &t.via[..]).unwrap_or_default();
        let names = |list: &[String], tool: &str| list.iter().any(|name| name.eq_ignore_ascii_case(tool));
        a == b || names(via(a), b) || names(via(b), a) || via(a).iter().any(|shared| names(via(b), shared))
    }

    /// The marks that speak for the product with the strongest one.
    fn best(&self, marks: &[Mark]) -> Option<(Mark, Vec<Mark>)> {
        // Of equal ones the more particular: whoever runs another's software shows that one's marks, too.
        let special = |m: &Mark| self.catalogue.tool(m.tool).is_some_and(|tool| !tool.via.is_empty());
        let strongest = marks
            .iter()
            .enumerate()
            .max_by_key(|(n, m)| (m.line.decibans, special(m), std::cmp::Reverse(*n)))?;
        let best = strongest.1.clone();
        let of_it = marks.iter().filter(|m| self.related(m.tool, best.tool)).cloned().collect();
        Some((best, of_it))
    }

    /// Who shares the device's link at the time, the device aside: as far as is known those with an address of the same /24.
    fn beside(&self, device: IpAddr, seen_ns: [i64; 2]) -> Vec<IpAddr> {
        let IpAddr::V4(own) = device else { return Vec::new() };
        let net = own.to_bits() & !LAST_OCTET;
        let [first, last] = [net, net | LAST_OCTET].map(|bits| IpAddr::V4(bits.into()));
        let all = self.present.range(first..=last).filter(|(ip, host)| {
            **ip != device
                && self.owner(host.mac).is_some()
                && host.seen_ns[0] <= seen_ns[1].saturating_add(TOGETHER_NS)
                && host.seen_ns[1] >= seen_ns[0].saturating_sub(TOGETHER_NS)
        });
        all.map(|(ip, _)| *ip).collect()
    }
}

impl Ledger {
    /// Devices are what this catalogue says.
    pub fn set_catalogue(&mut self, catalogue: &'static Catalogue) {
        self.devices.catalogue = catalogue;
    }

    /// Devices whose findings have changed since the last call.
    pub fn devices_told(&mut self) -> Vec<IpAddr> {
        std::mem::take(&mut self.devices.told)
    }

    /// Somebody inside has been seen with a MAC address.
    pub fn neighbour(&mut self, seen: &Neighbour, ctx: Context<'_>) {
        let ip = seen.ip;
        // Beyond a router only its own MAC address shows; of IPv6 only link-local addresses never pass one.
        let on_link = match ip {
            IpAddr::V4(_) => true,
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        if ip.is_unspecified() {
            self.router(seen.mac);
            return;
        }
        if !on_link || !is_host(ip) || ctx.home.is_outside(ip) {
            return;
        }
        let devices = &mut self.devices;
        devices.make_room(seen.ts_ns);
        let full = devices.present.len() >= MAX_PRESENT;
        let known = devices.present.get_mut(&ip);
        let new = known.as_ref().is_none_or(|host| host.mac != seen.mac);
        match known {
            Some(host) => {
                host.seen_ns = [host.seen_ns[0].min(seen.ts_ns), host.seen_ns[1].max(seen.ts_ns)];
                if new {
                    (host.mac, host.frame) = (seen.mac, (seen.input, seen.number));
                }
            }
            None if full => return,
            None => {
                let frame = (seen.input, seen.number);
                devices.present.insert(ip, Present { mac: seen.mac, seen_ns: [seen.ts_ns; 2], frame });
            }
        }
        if !new {
            return;
        }
        if ip.is_ipv4() {
            self.owned(seen, ip);
        }
        self.judge(ip, ctx);
        for device in self.devices.found.clone() {
            self.name_hosts_beside(device);
        }
    }

    /// Notes whose a MAC address is; one of several hosts says nothing of any of them.
    fn owned(&mut self, seen: &Neighbour, ip: IpAddr) {
        let (mac, now_ns) = (seen.mac, seen.ts_ns);
        let devices = &mut self.devices;
        if devices.owners.len() >= 2 * MAX_PRESENT && !devices.owners.contains_key(&mac) {
            return;
        }
        let owners = devices.owners.entry(mac).or_default();
        // One that was leased to somebody else since, or not used for long, is no second host.
        let present = &devices.present;
        let stays = |ip: &IpAddr| {
            present
                .get(ip)
                .is_some_and(|host| host.mac == mac && now_ns.saturating_sub(host.seen_ns[1]) < GONE_NS)
        };
        owners.retain(stays);
        if !owners.contains(&ip) && owners.len() < 2 {
            owners.push(ip);
        }
        if owners.len() > 1 {
            self.disown(mac);
        } else if let Some(marks) = devices.unplaced.remove(&mac) {
            marks.into_iter().for_each(|mark| self.mark(ip, mark));
        }
    }

    /// Hosts outside have this MAC address, too.
    fn router(&mut self, mac: Mac) {
        if self.devices.routers.len() < MAX_ACCOUNTS && self.devices.routers.insert(mac) {
            self.disown(mac);
            for device in self.devices.found.clone() {
                self.name_hosts_beside(device);
            }
        }
    }

    /// A MAC address says nothing any more of whoever has it.
    fn disown(&mut self, mac: Mac) {
        for ip in self.devices.owners.get(&mac).cloned().unwrap_or_default() {
            if let Some(finding) = self.kvm(ip) {
                finding.retract("device.mac");
                finding.retract("device.mac_shared");
            }
        }
    }

    /// Takes what a flow shows of devices.
    pub(super) fn clues(&mut self, flow: &FlowId, verdict: &Verdict, ctx: Context<'_>) {
        for clue in &verdict.clues {
            if let (Some(mac), Some(ip)) = (clue.mac, clue.addr) {
                let (ts_ns, input) = (flow.birth.first_ns, flow.birth.input);
                self.neighbour(&Neighbour { ts_ns, input, number: clue.packet, ip, mac }, ctx);
            }
            let Some(mark) = clue.hit.and_then(|hit| self.mark_of(flow, clue, hit)) else { continue };
            match self.whose(flow, clue) {
                Some(ip) if is_host(ip) && !ctx.home.is_outside(ip) => {
                    self.mark(ip, mark);
                    self.judge(ip, ctx);
                }
                Some(_) => {}
                None => {
                    let unplaced = &mut self.devices.unplaced;
                    if let Some(mac) = clue.mac
                        && (unplaced.len() < MAX_ACCOUNTS || unplaced.contains_key(&mac))
                    {
                        add(unplaced.entry(mac).or_default(), mark);
                    }
                }
            }
        }
    }

    /// The address of the device that a clue is about, if it is known yet.
    fn whose(&self, flow: &FlowId, clue: &Clue) -> Option<IpAddr> {
        let multicast = flow.ip.map(|ip| ip.is_multicast());
        let side = match clue.by {
            Some(Side::Src) => Some(flow.ip[0]),
            Some(Side::Dest) => Some(flow.ip[1]),
            None => None,
        };
        let ip = match (clue.addr, clue.mac) {
            (Some(addr), _) => addr,
            // A client of DHCP may have no address of its own yet, or a link-local one.
            (None, Some(mac)) => match self.devices.owner(mac) {
                Some(ip) => ip,
                None => side.filter(|ip| is_host(*ip))?,
            },
            // Whoever multicasts says it of itself; of an answer to one host the sides do not tell.
            (None, None) => match (multicast, side) {
                ([false, true], _) => flow.ip[0],
                ([true, false], _) => flow.ip[1],
                (_, side) => side?,
            },
        };
        Some(self.devices.known_as(ip))
    }

    fn mark_of(&self, flow: &FlowId, clue: &Clue, hit: Hit) -> Option<Mark> {
        let kind = match clue.kind {
            "catalogue.device_name" => "device.name",
            "catalogue.device_name_hint" => "device.name_hint",
            "catalogue.device_vendor_class" => "device.vendor_class",
            "catalogue.device_service" => "device.service",
            "catalogue.device_title" => "device.page",
            "catalogue.certificate" => "device.certificate",
            _ => "device.session",
        };
        let (decibans, family) = self.weights.of(kind);
        let line = Line {
            kind,
            family: family.to_owned(),
            decibans,
            packet: clue.packet,
            input: flow.birth.input,
            detail: format!("{}: {}", clue.seen, hit.tool),
        };
        let kvm = hit.label.category == Category::IpKvm;
        kvm.then(|| Mark { tool: hit.tool, label: hit.label, line, flow: Some(flow.clone()) })
    }

    /// Keeps a mark of a device.
    fn mark(&mut self, ip: IpAddr, mark: Mark) {
        let accounts = &mut self.devices.accounts;
        if accounts.len() < MAX_ACCOUNTS || accounts.contains_key(&ip) {
            add(accounts.entry(ip).or_default(), mark);
        }
    }

    /// What the MAC address of a host says.
    fn mac_mark(&self, ip: IpAddr) -> Option<Mark> {
        let host = self.devices.present.get(&ip)?;
        if self.devices.owner(host.mac) != Some(ip) {
            return None;
        }
        let (hit, worth) = self.devices.catalogue.devices().mac(host.mac)?;
        let kind = match worth {
            Worth::Proof => "device.mac",
            Worth::Hint => "device.mac_shared",
        };
        let (decibans, family) = self.weights.of(kind);
        let m = host.mac;
        let line = Line {
            kind,
            family: family.to_owned(),
            decibans,
            packet: host.frame.1,
            input: host.frame.0,
            detail: format!(
                "{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}: {} (block {})",
                m[0], m[1], m[2], m[3], m[4], m[5], hit.tool, hit.rule
            ),
        };
        (hit.label.category == Category::IpKvm).then_some(Mark {
            tool: hit.tool,
            label: hit.label,
            line,
            flow: None,
        })
    }

    /// Adds up what is known of a host; what adds up to a finding becomes one.
    fn judge(&mut self, ip: IpAddr, ctx: Context<'_>) {
        let Some(mut marks) = self.devices.accounts.get(&ip).cloned() else { return };
        marks.extend(self.mac_mark(ip));
        let Some((best, marks)) = self.devices.best(&marks) else { return };
        let Some(flow) = best.flow.iter().chain(marks.iter().filter_map(|m| m.flow.as_ref())).next().cloned()
        else {
            return;
        };
        let (kind, weights) = (FindingKind::IpKvm, Arc::clone(&self.weights));
        let prior = weights.prior(kind.as_str());
        let far = ctx.intel.lookup(ip);
        let begin = || Finding {
            host: ip,
            peer: ip,
            label: Some(best.label.label),
            tool: Some(best.tool),
            ..Finding::begun(kind, &flow, 1, &far, prior)
        };
        if !self.devices.found.contains(&ip) {
            let mut trial = begin();
            marks.iter().for_each(|m| trial.put(m.line.clone()));
            if trial.score(&weights) < weights.raise_at || self.devices.found.len() >= MAX_FOUND {
                return;
            }
        }
        let claim = Claim { kind, service: None, peer: ip, label: None };
        let Some(finding) = self.entry(ip, claim, marks.len() as u64, begin) else { return };
        for mark in marks {
            if let Some(flow) = &mark.flow {
                let first_ns = flow.birth.first_ns;
                finding.seen_ns = [finding.seen_ns[0].min(first_ns), finding.seen_ns[1].max(first_ns)];
            }
            let same = |l: &Line| l.kind == mark.line.kind;
            finding.put_once(mark.line.clone(), same);
        }
        if !finding.raised {
            // Until somebody is told of it, the strongest mark says what it is.
            (finding.label, finding.tool) = (Some(best.label.label), Some(best.tool));
        }
        if !self.devices.found.contains(&ip) {
            self.devices.found.push(ip);
        }
        self.name_hosts_beside(ip);
        self.devices.told.push(ip);
    }

    fn kvm(&mut self, ip: IpAddr) -> Option<&mut Finding> {
        let claim = Claim { kind: FindingKind::IpKvm, service: None, peer: ip, label: None };
        self.hosts.get_mut(&ip)?.findings.get_mut(&claim).map(|f| &mut **f)
    }

    fn name_hosts_beside(&mut self, device: IpAddr) {
        let weights = Arc::clone(&self.weights);
        let there = self.devices.present.get(&device).map(|p| p.seen_ns);
        let Some(seen_ns) = there.or(self.kvm(device).map(|f| f.seen_ns)) else { return };
        let all = self.devices.beside(device, seen_ns);
        let Some(finding) = self.kvm(device) else { return };
        if all.is_empty() {
            finding.retract("device.beside");
            return;
        }
        let mut named: Vec<String> = all.iter().take(MAX_NAMED).map(ToString::to_string).collect();
        if all.len() > MAX_NAMED {
            named.push(format!("{} more", all.len() - MAX_NAMED));
        }
        let line = weighed(&weights, "device.beside", &finding.flow, named.join(", "));
        finding.put(line);
    }

    /// A session by which somebody outside uses a device that was found.
    pub(super) fn used_device(&mut self, s: &Session<'_>, controlled: Side, ctx: Context<'_>) {
        let n = usize::from(controlled == Side::Dest);
        let (device, peer) = (s.flow.ip[n], s.flow.ip[1 - n]);
        let sustained = s.volume.packets.iter().all(|p| *p >= SUSTAINED_PACKETS);
        if !sustained || !ctx.home.is_outside(peer) {
            return;
        }
        let weights = Arc::clone(&self.weights);
        let Some(finding) = self.kvm(device) else { return };
        let line = weighed(&weights, "device.operator_outside", s.flow, peer.to_string());
        finding.put_once(line, |l| l.kind == "device.operator_outside");
        finding.seen_ns = [finding.seen_ns[0].min(s.span[0]), finding.seen_ns[1].max(s.span[1])];
    }

    /// Pictures that a device which was found sends one after the other.
    pub(super) fn streamed(&mut self, flow: &FlowId, verdict: &Verdict) {
        let pictures = verdict
            .facts
            .http
            .as_deref()
            .and_then(|http| http.content_type.as_deref())
            .is_some_and(|kind| kind.to_ascii_lowercase().starts_with(PICTURES));
        if !pictures {
            return;
        }
        let weights = Arc::clone(&self.weights);
        let Some(finding) = self.kvm(flow.ip[1]) else { return };
        let line = weighed(&weights, "device.stream", flow, format!("{PICTURES} to {}", flow.ip[0]));
        finding.put_once(line, |l| l.kind == "device.stream");
    }
}

/// Keeps a mark; of one kind and product the first.
fn add(marks: &mut Vec<Mark>, mark: Mark) {
    let same = |m: &Mark| (m.line.kind, m.tool) == (mark.line.kind, mark.tool);
    if marks.len() < MAX_MARKS && !marks.iter().any(same) {
        marks.push(mark);
    }
}

#[cfg(test)]
mod tests {
    use super::super::weights::Weights;
    use super::*;
    use crate::flow::{Birth, OpenerBasis};
    use crate::home::Home;
    use crate::host::{Loss, Severity};
    use crate::intel::Intel;

    const KVM: &str = "192.168.1.42";
    const JETKVM: Mac = [0x30, 0x52, 0x53, 1, 2, 3];
    const SIPEED: Mac = [0x48, 0xDA, 0x35, 0x61, 2, 3];
    const PI: Mac = [0xB8, 0x27, 0xEB, 1, 2, 3];
    const OTHER: Mac = [0x00, 0x1B, 0x21, 1, 2, 3];

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    struct Case {
        ledger: Ledger,
        number: u64,
        raised: Vec<Finding>,
    }

    impl Case {
        fn new() -> Self {
            Self { ledger: Ledger::new(Weights::default()), number: 0, raised: Vec::new() }
        }

        fn with(mut self, act: impl FnOnce(&mut Ledger, u64, Context<'_>)) -> Self {
            self.number += 1;
            let (intel, home) = (Intel::embedded(), Home::default());
            act(&mut self.ledger, self.number, Context { intel: &intel, home: &home, private_seen: true });
            let raised = &mut self.raised;
            let mut told = self.ledger.devices_told();
            self.ledger.raise(&mut told, &Loss::default(), |finding, _| raised.push(finding.clone()));
            self
        }

        fn seen(self, address: &str, mac: Mac) -> Self {
            self.with(|ledger, number, ctx| {
                let ts_ns = number as i64 * SECOND_NS;
                ledger.neighbour(&Neighbour { ts_ns, input: 0, number, ip: ip(address), mac }, ctx);
            })
        }

        /// A flow between two ends shows this.
        fn shown(self, ends: [&str; 2], clue: Clue) -> Self {
            self.with(|ledger, number, ctx| {
                let flow = FlowId {
                    id: number,
                    ip: ends.map(ip),
                    port: [5_000, 80],
                    proto: 6,
                    birth: Birth { first_ns: number as i64 * SECOND_NS, number, ..Birth::default() },
                    basis: OpenerBasis::Syn,
                };
                let verdict = Verdict { clues: vec![Clue { packet: number, ..clue }], ..Verdict::default() };
                ledger.clues(&flow, &verdict, ctx);
            })
        }

        fn named(self, name: &str, mac: Option<Mac>, addr: Option<&str>) -> Self {
            let (hit, worth) = Catalogue::embedded().devices().host_name(name).expect("known");
            let kind = match worth {
                Worth::Proof => "catalogue.device_name",
                Worth::Hint => "catalogue.device_name_hint",
            };
            let clue = Clue { mac, addr: addr.map(ip), ..clue(hit, kind, name) };
            self.shown(["0.0.0.0", "255.255.255.255"], clue)
        }

        fn findings(&self) -> Vec<(String, Option<&'static str>, Vec<&'static str>)> {
            let all = self.ledger.findings();
            all.iter()
                .map(|f| (f.host.to_string(), f.tool, f.lines.iter().map(|l| l.kind).collect()))
                .collect()
        }
    }

    fn clue(hit: Hit, kind: &'static str, seen: &str) -> Clue {
        Clue {
            hit: Some(hit),
            kind,
            seen: seen.into(),
            packet: 0,
            mac: None,
            addr: None,
            by: Some(Side::Src),
        }
    }

    fn page(title: &str) -> Clue {
        let hit = Catalogue::embedded().devices().title(title).expect("known");
        Clue { by: Some(Side::Dest), ..clue(hit, "catalogue.device_title", title) }
    }

    #[test]
    fn the_products_own_name_in_dhcp_is_a_kvm_at_the_address_it_asks_for() {
        let case = Case::new().named("pikvm", Some(PI), Some(KVM));
        assert_eq!(case.findings(), [(KVM.to_owned(), Some("PiKVM"), vec!["device.name"])]);
        assert_eq!(case.raised.iter().map(Finding::severity).collect::<Vec<_>>(), [Severity::Medium]);
    }

    #[test]
    fn a_name_without_an_address_waits_until_somebody_has_that_mac_address() {
        let case = Case::new().named("jetkvm", Some(JETKVM), None);
        assert!(case.findings().is_empty());
        let case = case.seen(KVM, JETKVM);
        assert_eq!(case.findings(), [(KVM.to_owned(), Some("JetKVM"), vec!["device.name", "device.mac"])]);
    }

    #[test]
    fn weak_clues_of_one_product_add_up_and_of_several_do_not() {
        let weak = |mac| Case::new().seen(KVM, mac).named("kvm-1a2f", Some(mac), Some(KVM)).findings();
        assert_eq!(weak(SIPEED).len(), 1, "the maker's address and the product's pattern of names");
        assert!(weak(PI).is_empty() && weak(OTHER).is_empty() && weak(JETKVM).is_empty());
    }

    #[test]
    fn a_mac_address_alone_and_a_raspberry_pi_are_no_kvm() {
        for mac in [JETKVM, SIPEED, PI] {
            let case = Case::new().seen(KVM, mac).seen("192.168.1.5", OTHER);
            assert!(case.findings().is_empty() && case.ledger.hosts() == 0, "{mac:?}");
        }
    }

    #[test]
    fn a_mac_address_of_several_hosts_or_of_a_router_is_nobodys() {
        let alone = |case: Case| case.findings()[0].2.contains(&"device.mac");
        let found = || Case::new().seen(KVM, JETKVM).named("jetkvm", Some(JETKVM), Some(KVM));
        assert!(alone(found()));
        assert!(!alone(found().seen("192.168.1.43", JETKVM)), "another host has it, too");
        assert!(!alone(found().seen("0.0.0.0", JETKVM)), "whoever is outside has it, too");
        assert!(alone(found().seen("fe80::1", JETKVM)), "its own address of IPv6");
    }

    #[test]
    fn a_page_tells_the_server_inside_and_nobody_outside() {
        let case = Case::new().shown(["192.168.1.5", KVM], page("NanoKVM"));
        assert_eq!(case.findings()[0].0, KVM);
        let shop = Case::new().shown(["192.168.1.5", "198.41.0.4"], page("NanoKVM"));
        assert!(shop.findings().is_empty());
    }

    #[test]
    fn one_who_runs_anothers_software_is_found_once_by_the_name_of_its_own() {
        let hit = Catalogue::embedded().certificate("O=PiKVM", "").expect("known");
        let certificate = Clue { by: Some(Side::Dest), ..clue(hit, "catalogue.certificate", "O=PiKVM") };
        let case =
            Case::new().named("blikvm", Some(OTHER), Some(KVM)).shown(["192.168.1.5", KVM], certificate);
        let found = case.findings();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].1, found[0].2.len()), (Some("BliKVM"), 2));
    }

    #[test]
    fn hosts_on_the_same_link_are_named_and_routers_and_other_networks_are_not() {
        let case = Case::new()
            .seen("192.168.1.1", [2, 0, 0, 0, 0, 1])
            .seen("0.0.0.0", [2, 0, 0, 0, 0, 1])
            .named("pikvm", Some(PI), Some(KVM))
            .seen("192.168.1.9", OTHER)
            .seen("192.168.2.9", [0x00, 0x1B, 0x21, 9, 9, 9]);
        let finding = case.ledger.findings()[0];
        let beside: Vec<&str> =
            finding.lines.iter().filter(|l| l.kind == "device.beside").map(|l| &*l.detail).collect();
        assert_eq!(beside, ["192.168.1.9"]);
        assert!(finding.summary().ends_with("on its network at the time: 192.168.1.9"));
    }

    #[test]
    fn what_is_kept_of_hostile_traffic_is_bounded_and_every_piece_is_accounted_for() {
        let (intel, home) = (Intel::embedded(), Home::default());
        let ctx = Context { intel: &intel, home: &home, private_seen: true };
        let mut ledger = Ledger::new(Weights::default());
        for number in 0..(MAX_PRESENT as u32 + 100) {
            let (address, bytes) = (IpAddr::V4((0x0A00_0000 + number).into()), number.to_be_bytes());
            let mac = [2, 0, bytes[0], bytes[1], bytes[2], bytes[3]];
            let seen = Neighbour { ts_ns: 0, input: 0, number: number.into(), ip: address, mac };
            ledger.neighbour(&seen, ctx);
        }
        assert_eq!(ledger.devices.present.len(), MAX_PRESENT);
        // A day later there is room again for who is there then.
        let (late, ip) = (2 * GONE_NS, IpAddr::V4(0x0A10_0000.into()));
        ledger.neighbour(&Neighbour { ts_ns: late, input: 0, number: 1, ip, mac: PI }, ctx);
        assert_eq!((ledger.devices.present.len(), ledger.devices.owners.len()), (1, 1));
        assert_eq!(ledger.devices.owner(PI), Some(ip));
        // Another lease after a day is the same host; two addresses at a time are two, or a router.
        for (days, second, owner) in [(3, 0x0A10_0001_u32, true), (3, 0x0A10_0002, false)] {
            let ip = IpAddr::V4(second.into());
            ledger.neighbour(&Neighbour { ts_ns: days * GONE_NS, input: 0, number: 2, ip, mac: PI }, ctx);
            assert_eq!(ledger.devices.owner(PI), owner.then_some(ip));
        }
        let case = Case::new().named("pikvm", Some(PI), Some(KVM)).named("pikvm.local", None, Some(KVM));
        let tally = case.ledger.tally();
        let told =
            tally.applied + tally.coalesced + tally.over_lines + tally.over_findings + tally.over_hosts;
        assert_eq!(tally.offered, told);
    }
}
