//! The layers peeled on the way to a packet. In: a [`Layer`] each time one is opened. Out: an ordered list in one
//! machine word. Its capacity is also what bounds the depth of every walk: no layer is opened that it cannot hold.

use super::outcome::Layer;
use std::fmt;

/// The peeled layers of a packet, outermost first, at most [`Encap::CAPACITY`].
///
/// One byte a layer, lowest byte outermost, zero where the list has ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Encap(u64);

impl Encap {
    /// How many layers are peeled from a frame at most: deeper nesting is not met in real networks, and hostile
    /// frames must not cost more.
    pub const CAPACITY: usize = 8;

    /// No layer peeled.
    pub const NONE: Self = Self(0);

    /// How many layers were peeled.
    pub fn len(self) -> usize {
        (u64::BITS - self.0.leading_zeros()).div_ceil(8) as usize
    }

    /// Whether the packet came as it is.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The layers, outermost first.
    pub fn iter(self) -> impl Iterator<Item = Layer> {
        self.0
            .to_le_bytes()
            .into_iter()
            .map_while(|byte| Layer::ALL.get(usize::from(byte).checked_sub(1)?).copied())
    }

    /// Whether `layer` is among them.
    pub fn contains(self, layer: Layer) -> bool {
        self.iter().any(|l| l == layer)
    }

    /// The list with one more layer inside, or `None` if it is full.
    pub(super) fn with(self, layer: Layer) -> Option<Self> {
        let len = self.len();
        (len < Self::CAPACITY).then(|| Self(self.0 | (u64::from(layer as u8) + 1) << (8 * len)))
    }
}

impl fmt::Debug for Encap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(Layer::as_str)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_come_back_in_the_order_they_were_opened() {
        let encap = Encap::NONE
            .with(Layer::Vlan)
            .and_then(|e| e.with(Layer::Gre))
            .and_then(|e| e.with(Layer::Erspan));
        let encap = encap.expect("three of eight");
        assert_eq!(encap.iter().map(Layer::as_str).collect::<Vec<_>>(), ["vlan", "gre", "erspan"]);
        assert_eq!(encap.len(), 3);
        assert!(encap.contains(Layer::Gre) && !encap.contains(Layer::Vxlan));
    }

    #[test]
    fn a_full_list_takes_no_more() {
        let mut encap = Encap::NONE;
        for _ in 0..Encap::CAPACITY {
            encap = encap.with(Layer::Ethernet).expect("room for eight");
        }
        assert_eq!(encap.len(), 8);
        assert_eq!(encap.with(Layer::Gre), None);
        assert!(Encap::NONE.is_empty() && !encap.is_empty());
    }
}
