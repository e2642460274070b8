//! Labels: the table of what farend can say, and how the labels of a flow's layers become the one a reader sees.

/// Category of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the documentation
pub enum Category {
    RemoteDesktop,
    Rmm,
    IpKvm,
    Vpn,
    Tunnel,
    Proxy,
    Anonymizer,
    /// Network plumbing that is peeled; never flagged by itself.
    Encapsulation,
}

impl Category {
    /// The contract's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RemoteDesktop => "remote_desktop",
            Self::Rmm => "rmm",
            Self::IpKvm => "ip_kvm",
            Self::Vpn => "vpn",
            Self::Tunnel => "tunnel",
            Self::Proxy => "proxy",
            Self::Anonymizer => "anonymizer",
            Self::Encapsulation => "encapsulation",
        }
    }

    /// Whether somebody operates a machine through it.
    #[must_use]
    pub const fn is_remote_control(self) -> bool {
        matches!(self, Self::RemoteDesktop | Self::Rmm | Self::IpKvm)
    }
}

/// A row of `config/labels.tsv`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelInfo {
    /// The label.
    pub label: &'static str,
    /// What kind of thing it is.
    pub category: Category,
    /// Name for people.
    pub name: &'static str,
    /// ATT&CK technique, empty for plumbing.
    pub attack: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/labels.rs"));

/// The row of `label`.
#[must_use]
pub fn label_info(label: &str) -> Option<&'static LabelInfo> {
    LABELS.binary_search_by(|row| row.label.cmp(label)).ok().and_then(|i| LABELS.get(i))
}

/// One protocol layer of a flow, as its analyzer left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The label it gave, if any.
    pub label: Option<&'static str>,
    /// Other protocols ride in it ([`crate::Meta::carrier`]).
    pub carrier: bool,
    /// Label of a carrier that is found to hide something other than a desktop, where the protocol alone is no reason for one.
    pub hiding: Option<&'static str>,
}

impl Layer {
    /// A layer of the analyzer called `name`: what it hides makes it `<name>_tunnel` where `config/labels.tsv` has that.
    #[must_use]
    pub fn of(name: &str, label: Option<&'static str>, carrier: bool) -> Self {
        let hiding = if carrier { label_info(&format!("{name}_tunnel")).map(|l| l.label) } else { None };
        Self { label, carrier, hiding }
    }
}

/// Whether the label is a desktop that people open in a browser, or a tool whose own connections are like that: then the carrier hides
/// nothing.
fn is_desktop(label: &str) -> bool {
    let shell = matches!(label, "ssh" | "telnet" | "rsh" | "mosh");
    let shown = |l: &LabelInfo| matches!(l.category, Category::RemoteDesktop | Category::Rmm);
    !shell && label_info(label).is_some_and(shown)
}

/// At most this many labels in a record (contract).
pub const MAX_LABELS: usize = 4;

/// The labels of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// The one a reader sees.
    pub label: Option<&'static str>,
    all: [Option<&'static str>; MAX_LABELS],
}

impl Labels {
    /// All of them, the outermost first.
    pub fn iter(&self) -> impl Iterator<Item = &'static str> {
        self.all.iter().copied().flatten()
    }

    /// Puts a brand over the protocol that it sells: the protocol stays in the list, the brand leads. Whether there was room for it.
    pub fn brand(&mut self, brand: &'static str) -> bool {
        self.push(brand);
        let there = self.iter().any(|label| label == brand);
        if there {
            self.label = Some(brand);
        }
        there
    }

    fn push(&mut self, label: &'static str) {
        if self.iter().any(|l| l == label) {
            return;
        }
        if let Some(free) = self.all.iter_mut().find(|l| l.is_none()) {
            *free = Some(label);
        }
    }
}

/// Labels of a flow from its layers, outermost first.
///
/// The outermost labelled carrier leads where it hides another protocol, else the innermost label (the most special one). A
/// desktop in a carrier without a label of its own (a browser's WebSocket) is simply that desktop; such a carrier right around
/// anything else of ours is a tunnel ([`Layer::hiding`]).
#[must_use]
pub fn resolve(layers: &[Layer]) -> Labels {
    let mut labels = Labels::default();
    let mut carrier = None;
    for (i, layer) in layers.iter().enumerate() {
        let next = layers.get(i.saturating_add(1));
        // What is around a tunnel is not one more: HTTP before a WebSocket that is known as one.
        let tunnel = next.is_some_and(|l| l.label.is_some() && l.label == l.hiding);
        let hides = !tunnel && next.and_then(|l| l.label).is_some_and(|label| !is_desktop(label));
        let label = layer.label.or_else(|| layer.hiding.filter(|_| hides));
        if let Some(label) = label {
            labels.push(label);
            if layer.carrier && carrier.is_none() {
                carrier = Some(label);
            }
        }
    }
    labels.label = carrier.or_else(|| layers.iter().rev().find_map(|l| l.label));
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(label: Option<&'static str>, carrier: bool) -> Layer {
        Layer::of("websocket", label, carrier)
    }

    #[test]
    fn every_label_is_found_by_its_name() {
        for row in LABELS {
            assert_eq!(label_info(row.label).map(|r| r.label), Some(row.label));
        }
        assert_eq!(label_info("vnc").map(|r| r.category), Some(Category::RemoteDesktop));
        assert_eq!(label_info("nonsense"), None);
    }

    #[test]
    fn a_desktop_in_a_websocket_is_that_desktop() {
        let labels = resolve(&[layer(None, true), layer(Some("vnc"), false)]);
        assert_eq!(labels.label, Some("vnc"));
        assert_eq!(labels.iter().collect::<Vec<_>>(), ["vnc"]);
    }

    #[test]
    fn a_management_tool_that_speaks_websocket_is_that_tool() {
        let labels = resolve(&[layer(None, true), layer(Some("rustdesk"), false)]);
        assert_eq!(labels.label, Some("rustdesk"));
        assert_eq!(labels.iter().collect::<Vec<_>>(), ["rustdesk"]);
    }

    #[test]
    fn a_shell_in_a_websocket_is_a_tunnel_and_the_shell_is_listed() {
        let http = Layer::of("http", None, true);
        let labels = resolve(&[http, layer(None, true), layer(Some("ssh"), false)]);
        assert_eq!(labels.label, Some("websocket_tunnel"));
        assert_eq!(labels.iter().collect::<Vec<_>>(), ["websocket_tunnel", "ssh"]);
    }

    #[test]
    fn http_around_a_websocket_that_is_known_as_a_tunnel_is_no_tunnel_of_its_own() {
        let http = Layer::of("http", None, true);
        let labels = resolve(&[http, layer(Some("websocket_tunnel"), true), layer(Some("ssh"), false)]);
        assert_eq!(labels.label, Some("websocket_tunnel"));
        assert_eq!(labels.iter().collect::<Vec<_>>(), ["websocket_tunnel", "ssh"]);
    }

    #[test]
    fn a_brand_leads_before_its_protocol_where_there_is_room() {
        let mut labels = resolve(&[layer(Some("wireguard"), false)]);
        assert!(labels.brand("mullvad"));
        assert_eq!(labels.label, Some("mullvad"));
        assert_eq!(labels.iter().collect::<Vec<_>>(), ["wireguard", "mullvad"]);
        let mut full = resolve(&["socks", "ssh", "rdp", "openvpn"].map(|l| layer(Some(l), false)));
        assert!(!full.brand("mullvad"));
        assert_eq!(full.label, Some("openvpn"));
    }

    #[test]
    fn a_labelled_carrier_leads_before_what_it_hides() {
        let labels = resolve(&[layer(Some("socks"), true), layer(Some("rdp"), false)]);
        assert_eq!(labels.label, Some("socks"));
        assert_eq!(labels.iter().collect::<Vec<_>>(), ["socks", "rdp"]);
    }
}
