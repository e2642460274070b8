//! What a flow shows of devices that the catalogue knows: names, pages, certificates that tell an IP-KVM.
//!
//! In: what analyzers say of devices, and the names in answers of local resolvers. Out: clues, each with the catalogue's word, the
//! packet, and which device it is about.

use std::net::IpAddr;

use farend_analyzers::device::{Mac, Said, What};
use farend_analyzers::{Category, DnsAnswer, Kind, Side};

use crate::catalog::device::Worth;
use crate::catalog::{Catalogue, Hit};
use crate::home::is_private;

pub(super) const NAME: Kind = Kind {
    name: "catalogue.device_name",
    decibans: 20,
    says: "a device is called by the name that this product ships with, in DHCP or a local resolver's answer; judgement: hardly anybody calls another machine so. Never a label",
};
pub(super) const NAME_HINT: Kind = Kind {
    name: "catalogue.device_name_hint",
    decibans: 5,
    says: "a device has a name like those that this product ships with; others have such, too. Never a label",
};
pub(super) const VENDOR_CLASS: Kind = Kind {
    name: "catalogue.device_vendor_class",
    decibans: 20,
    says: "DHCP's vendor class is this product's; judgement. Never a label",
};
pub(super) const SERVICE: Kind = Kind {
    name: "catalogue.device_service",
    decibans: 20,
    says: "a device announces a service by DNS-SD that only this product has; judgement. Never a label",
};
pub(super) const TITLE: Kind = Kind {
    name: "catalogue.device_title",
    decibans: 15,
    says: "a web server answered with a page of this product's title; judgement: a title is easily copied, and hardly anybody does",
};

/// Evidence about devices.
pub(super) const KINDS: [&Kind; 5] = [&NAME, &NAME_HINT, &VENDOR_CLASS, &SERVICE, &TITLE];

/// Type of a PTR record (RFC 1035) and of an SRV record (RFC 2782).
const PTR: u16 = 12;
const SRV: u16 = 33;

/// Something that tells a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clue {
    /// Whose device it is; nothing for the mere lease of an address.
    pub hit: Option<Hit>,
    /// What was seen.
    pub kind: &'static str,
    /// The words.
    pub seen: Box<str>,
    /// Packet that showed it.
    pub packet: u64,
    /// The device's MAC address, where the message tells it.
    pub mac: Option<Mac>,
    /// The device's address, where the message tells it.
    pub addr: Option<IpAddr>,
    /// Else the side of the flow that the device is.
    pub by: Option<Side>,
}

impl Clue {
    /// A clue from what an analyzer read; a lease is one, too, since it ties a MAC address to an address.
    pub(super) fn of(
        catalogue: &'static Catalogue,
        said: Said,
        packet: u64,
    ) -> Option<(&'static Kind, Self)> {
        let devices = catalogue.devices();
        let (kind, hit) = match said.what {
            What::HostName => {
                let (hit, worth) = devices.host_name(&said.text)?;
                (name_kind(worth), hit)
            }
            What::VendorClass => (&VENDOR_CLASS, devices.vendor_class(&said.text)?),
            What::Title => (&TITLE, devices.title(&said.text)?),
            What::Address => return None,
        };
        let Said { text: seen, mac, addr, by, .. } = said;
        Some((kind, Self { hit: Some(hit), kind: kind.name, seen, packet, mac, addr, by }))
    }

    /// A clue that only ties a MAC address to an address.
    pub(super) fn lease(said: &Said, packet: u64) -> Option<Self> {
        let known = said.what == What::Address && said.mac.is_some() && said.addr.is_some();
        let (mac, addr) = (said.mac, said.addr);
        known.then(|| Self { hit: None, kind: "", seen: "".into(), packet, mac, addr, by: said.by })
    }

    /// A clue from a record of an answer: a local name's address, or a service. Whoever multicasts a service has it.
    pub(super) fn of_answer(
        catalogue: &'static Catalogue,
        answer: &DnsAnswer,
        responder: Option<Side>,
        packet: u64,
    ) -> Option<(&'static Kind, Self)> {
        let devices = catalogue.devices();
        // A record that is taken back has no time to live (RFC 6762 section 10.1).
        if answer.ttl == 0 {
            return None;
        }
        let (kind, hit, by) = match (answer.addr, answer.rrtype) {
            (Some(addr), _) if is_private(addr) => {
                let (hit, worth) = devices.host_name(&answer.rrname)?;
                (name_kind(worth), hit, None)
            }
            (None, PTR | SRV) => (&SERVICE, devices.service(&answer.rrname)?, Some(responder?)),
            _ => return None,
        };
        let (seen, addr) = (answer.rrname.clone(), answer.addr);
        Some((kind, Self { hit: Some(hit), kind: kind.name, seen, packet, mac: None, addr, by }))
    }

    /// A clue from a rule that the catalogue has matched otherwise: a certificate, a session name.
    pub(super) fn of_hit(
        hit: Hit,
        kind: &'static Kind,
        seen: &str,
        packet: u64,
        by: Option<Side>,
    ) -> Option<Self> {
        let kvm = hit.label.category == Category::IpKvm && hit.session;
        kvm.then(|| Self {
            hit: Some(hit),
            kind: kind.name,
            seen: seen.into(),
            packet,
            mac: None,
            addr: None,
            by,
        })
    }
}

const fn name_kind(worth: Worth) -> &'static Kind {
    match worth {
        Worth::Proof => &NAME,
        Worth::Hint => &NAME_HINT,
    }
}
