//! What tells a device on the local network: the vendor of its MAC address, the name it ships with, what it says in DHCP and DNS-SD,
//! the title of its page.
//!
//! In: the keys `oui`, `oui_shared`, `hostname`, `hostname_hint`, `vendor_class`, `service` and `title` of catalogue files. Out: an
//! [`Index`] that answers whose a MAC address or a word is, and how much that says ([`Worth`]).

use std::collections::HashMap;

use farend_analyzers::device::Mac;

use super::Hit;

/// What one source says of a device's marks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Blocks of MAC addresses whose owner makes such devices and hardly anything else that joins a network.
    pub oui: Vec<String>,
    /// Blocks whose owner makes other things, too.
    pub oui_shared: Vec<String>,
    /// Names that the device ships with and that mean nothing else.
    pub hostname: Vec<String>,
    /// Names that others may have, too.
    pub hostname_hint: Vec<String>,
    /// Beginnings of DHCP's vendor class.
    pub vendor_class: Vec<String>,
    /// DNS-SD service types (RFC 6763) that only the device announces.
    pub service: Vec<String>,
    /// Titles of its pages; `*` at the end stands for anything.
    pub title: Vec<String>,
}

impl Marks {
    /// The lists by their keys.
    #[must_use]
    pub const fn rows(&self) -> [(&'static str, &Vec<String>); 7] {
        [
            ("oui", &self.oui),
            ("oui_shared", &self.oui_shared),
            ("hostname", &self.hostname),
            ("hostname_hint", &self.hostname_hint),
            ("vendor_class", &self.vendor_class),
            ("service", &self.service),
            ("title", &self.title),
        ]
    }
}

/// How much a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// Only such a device has it.
    Proof,
    /// Others have it, too.
    Hint,
}

/// Lengths that registries give blocks of MAC addresses in, longest first (IEEE MA-S, MA-M, MA-L).
const BLOCKS: [u32; 3] = [36, 28, 24];
/// Bits of a MAC address.
const MAC_BITS: u32 = 48;
/// The bits of a first byte that say: a group's, or given by the machine's owner (IEEE 802 section 8.2).
const NOT_UNIVERSAL: u8 = 0b11;
/// What local resolvers and mDNS put behind a host's name (RFC 6762, RFC 8375, and what home routers use).
const LOCAL: [&str; 8] =
    ["local", "lan", "home", "localdomain", "internal", "home.arpa", "fritz.box", "localhost"];

pub(super) const AN_OUI: &str =
    "block of MAC addresses like '30:52:53', '48:DA:35:6/28' or '8C:1F:64:BC:9/36'";
pub(super) const A_HOST_NAME: &str =
    "host name of at least four characters (# for a hexadecimal digit; * only at the end)";
pub(super) const A_TEXT: &str = "text of at least four characters (* only at the end)";
pub(super) const A_SERVICE: &str = "service type like '_name._tcp'";

/// Marks of all devices.
#[derive(Debug, Default)]
pub struct Index {
    /// By length and the first bits.
    ouis: HashMap<(u32, u64), (Hit, Worth)>,
    host_names: Vec<(Hit, Worth)>,
    vendor_classes: Vec<Hit>,
    services: Vec<Hit>,
    titles: Vec<Hit>,
}

impl Index {
    pub(super) fn add(&mut self, marks: &'static Marks, hit: &dyn Fn(bool, &'static str) -> Hit) {
        let hits = |rules: &'static [String]| rules.iter().map(move |rule| hit(true, rule));
        for (rules, worth) in [(&marks.oui, Worth::Proof), (&marks.oui_shared, Worth::Hint)] {
            for hit in hits(rules) {
                if let Some(block) = block(hit.rule) {
                    self.ouis.entry(block).or_insert((hit, worth));
                }
            }
        }
        for (rules, worth) in [(&marks.hostname, Worth::Proof), (&marks.hostname_hint, Worth::Hint)] {
            self.host_names.extend(hits(rules).map(|hit| (hit, worth)));
        }
        self.vendor_classes.extend(hits(&marks.vendor_class));
        self.services.extend(hits(&marks.service));
        self.titles.extend(hits(&marks.title));
    }

    /// Whose devices have such MAC addresses: the smallest block that holds it.
    #[must_use]
    pub fn mac(&self, mac: Mac) -> Option<(Hit, Worth)> {
        if mac[0] & NOT_UNIVERSAL != 0 {
            return None;
        }
        let bits = mac.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        BLOCKS.iter().find_map(|len| self.ouis.get(&(*len, bits >> (MAC_BITS - len)))).copied()
    }

    /// Whose devices are called so; what only a local network adds does not matter.
    #[must_use]
    pub fn host_name(&self, name: &str) -> Option<(Hit, Worth)> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let own = match name.split_once('.') {
            None => name,
            Some((own, zone)) if LOCAL.iter().any(|local| zone.eq_ignore_ascii_case(local)) => own,
            Some(_) => return None,
        };
        self.host_names.iter().find(|(hit, _)| matches(hit.rule, own)).copied()
    }

    /// Whose devices say so in DHCP.
    #[must_use]
    pub fn vendor_class(&self, text: &str) -> Option<Hit> {
        self.vendor_classes.iter().find(|hit| matches(hit.rule, text)).copied()
    }

    /// Whose devices offer such a service; `name` is a type in a domain, or an instance of one.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<Hit> {
        let name = name.strip_suffix(".local")?;
        let is = |hit: &&Hit| {
            name.strip_suffix(hit.rule).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        self.services.iter().find(is).copied()
    }

    /// Whose devices' pages are called so.
    #[must_use]
    pub fn title(&self, title: &str) -> Option<Hit> {
        self.titles.iter().find(|hit| matches(hit.rule, title)).copied()
    }
}

/// Whether a text is what a rule says, whatever the case.
fn matches(rule: &str, text: &str) -> bool {
    let (rule, open) = rule.strip_suffix('*').map_or((rule, false), |rule| (rule, true));
    let (rule, text) = (rule.as_bytes(), text.as_bytes());
    let one = |(rule, byte): (&u8, &u8)| match rule {
        b'#' => byte.is_ascii_hexdigit(),
        rule => rule.eq_ignore_ascii_case(byte),
    };
    (rule.len() == text.len() || open && rule.len() < text.len()) && rule.iter().zip(text).all(one)
}

/// Length and first bits of a block of MAC addresses.
fn block(text: &str) -> Option<(u32, u64)> {
    let (digits, len) = match text.split_once('/') {
        Some((digits, len)) => (digits, len.parse().ok()?),
        None => (text, 24),
    };
    let mut hex = String::new();
    let mut groups = digits.split(':').peekable();
    while let Some(group) = groups.next() {
        let last = groups.peek().is_none();
        if group.len() != 2 && !(last && group.len() == 1) {
            return None;
        }
        hex.push_str(group);
    }
    let upper = hex.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
    let whole = BLOCKS.contains(&len) && hex.len() as u32 * 4 == len && upper;
    Some((len, u64::from_str_radix(&hex, 16).ok()?)).filter(|_| whole)
}

pub(super) fn is_oui(text: &str) -> bool {
    block(text).is_some()
}

pub(super) fn is_host_name(text: &str) -> bool {
    let fixed = text.strip_suffix('*').unwrap_or(text);
    fixed.len() >= 4
        && fixed.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'#'))
}

pub(super) fn is_text(text: &str) -> bool {
    let fixed = text.strip_suffix('*').unwrap_or(text);
    fixed.trim().len() >= 4 && !fixed.contains(['*', '#'])
}

pub(super) fn is_service(text: &str) -> bool {
    let name =
        text.strip_prefix('_').and_then(|t| t.strip_suffix("._tcp").or_else(|| t.strip_suffix("._udp")));
    name.is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalogue;

    fn devices() -> &'static Index {
        Catalogue::embedded().devices()
    }

    #[test]
    fn the_smallest_block_that_holds_an_address_tells_its_maker() {
        let tool = |mac| devices().mac(mac).map(|(hit, worth)| (hit.tool, worth));
        assert_eq!(tool([0x30, 0x52, 0x53, 1, 2, 3]), Some(("JetKVM", Worth::Proof)));
        assert_eq!(tool([0x48, 0xDA, 0x35, 0x61, 2, 3]), Some(("NanoKVM (Sipeed)", Worth::Hint)));
        assert_eq!(tool([0x48, 0xDA, 0x35, 0x71, 2, 3]), None, "the neighbour's block");
        assert_eq!(tool([0x04, 0xC9, 0x8B, 0x1F, 2, 3]), Some(("TinyPilot", Worth::Proof)));
        assert_eq!(tool([0xB8, 0x27, 0xEB, 1, 2, 3]), None, "a Raspberry Pi is no KVM");
        assert_eq!(tool([0x32, 0x52, 0x53, 1, 2, 3]), None, "given by the machine's owner");
    }

    #[test]
    fn a_name_is_the_devices_own_with_what_local_networks_put_behind_it() {
        let name = |name: &str| devices().host_name(name).map(|(hit, worth)| (hit.tool, worth));
        for ours in ["pikvm", "PiKVM.local", "pikvm.local.", "pikvm.lan", "pikvm.fritz.box", "pikvm-2.local"]
        {
            assert_eq!(name(ours), Some(("PiKVM", Worth::Proof)), "{ours}");
        }
        assert_eq!(name("kvm-1a2f.local"), Some(("NanoKVM (Sipeed)", Worth::Hint)));
        for other in [
            "raspberrypi",
            "pikvm.org",
            "docs.pikvm.org",
            "pikvm.example.com",
            "mypikvm",
            "kvm-host",
            "kvm",
            "",
            ".",
        ] {
            assert_eq!(name(other), None, "{other}");
        }
    }

    #[test]
    fn services_titles_and_vendor_classes_are_compared_whole() {
        let tool = |hit: Option<Hit>| hit.map(|hit| hit.tool);
        assert_eq!(tool(devices().service("_pikvm._tcp.local")), Some("PiKVM"));
        assert_eq!(tool(devices().service("pikvm web server._pikvm._tcp.local")), Some("PiKVM"));
        assert_eq!(tool(devices().service("x_pikvm._tcp.local")), None);
        assert_eq!(tool(devices().service("_http._tcp.local")), None);
        assert_eq!(tool(devices().title("PiKVM Login")), Some("PiKVM"));
        assert_eq!(tool(devices().title("NanoKVM")), Some("NanoKVM (Sipeed)"));
        assert_eq!(tool(devices().title("PiKVM Manager - SuperDucks")), None);
        assert_eq!(tool(devices().title("JetKVM - Control any computer remotely")), None, "the shop");
    }

    #[test]
    fn what_is_no_mark_is_refused() {
        for text in ["30:52:53", "48:DA:35:6/28", "8C:1F:64:BC:9/36"] {
            assert!(is_oui(text), "{text}");
        }
        for text in [
            "30:52",
            "30:52:53/28",
            "48:DA:35:6",
            "305253",
            "30:5:253",
            "3g:52:53",
            "30:52:53:00:00:00/48",
            "",
        ] {
            assert!(!is_oui(text), "{text}");
        }
        assert!(is_host_name("kvm-####") && is_host_name("pikvm-*"));
        assert!(
            !is_host_name("*") && !is_host_name("kvm") && !is_host_name("PiKVM") && !is_host_name("a.b.c")
        );
        assert!(is_text("PiKVM *") && !is_text("*") && !is_text("a*bcd"));
        assert!(is_service("_pikvm._tcp") && !is_service("pikvm._tcp") && !is_service("_.tcp"));
    }
}
