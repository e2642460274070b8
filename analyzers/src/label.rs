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
/// desktop in a carrier without a label of its own (a browser's WebSocket) is simply that desktop; a carrier that was only
/// found to carry something of ours is named by `config/labels.tsv` as `<carrier>_tunnel` where such a label exists.
#[must_use]
pub fn resolve(layers: &[Layer]) -> Labels {
    let mut labels = Labels::default();
    for label in layers.iter().filter_map(|l| l.label) {
        labels.push(label);
    }
    let carrier = layers.iter().find(|l| l.carrier && l.label.is_some()).and_then(|l| l.label);
    labels.label = carrier.or_else(|| layers.iter().rev().find_map(|l| l.label));
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn layer(label: Option<&'static str>, carrier: bool) -> Layer {
        Layer { label, carrier }
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
    fn a_labelled_carrier_leads_before_what_it_hides() {
        let labels = resolve(&[layer(Some("socks"), true), layer(Some("rdp"), false)]);
        assert_eq!(labels.label, Some("socks"));
        assert_eq!(labels.iter().collect::<Vec<_>>(), ["socks", "rdp"]);
    }
}
