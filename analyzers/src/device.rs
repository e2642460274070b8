//! What a device says of itself on the wire: the names it announces, its vendor's words in DHCP, the title of the page it serves.
//!
//! In: analyzers that read such words. Out: [`Said`], which the sensor looks up in its catalogue of devices; what the catalogue
//! does not know is forgotten at once, so saying much costs nothing.

use std::net::IpAddr;

use crate::Side;

/// A MAC address.
pub type Mac = [u8; 6];

/// Which words they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A host's name: DHCP option 12 or 81 (RFC 2132, RFC 4702), option 39 of DHCPv6 (RFC 4704).
    HostName,
    /// DHCP option 60 (RFC 2132 section 9.13), option 16 of DHCPv6 (RFC 8415 section 21.16).
    VendorClass,
    /// The title of a page that a web server answered with.
    Title,
    /// Nothing but that this MAC address has this IP address: a lease.
    Address,
}

/// Something said of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Which words.
    pub what: What,
    /// The words, as sent.
    pub text: Box<str>,
    /// The device's MAC address, where the message tells it.
    pub mac: Option<Mac>,
    /// The device's address, where the message tells it.
    pub addr: Option<IpAddr>,
    /// Else: the side of the flow that the device is.
    pub by: Option<Side>,
}
