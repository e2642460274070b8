//! Wire format of L2TP datagrams.
//!
//! In: a UDP payload. Out: a control message or the session that a data message belongs to, or `None` for what is neither.

use crate::{FirstBytes, Reader};
use std::fmt;

/// The first 16 bits (RFC 2661 section 3.1, RFC 3931 section 4.1.2); what is not named here is zero.
mod flag {
    pub(super) const CONTROL: u16 = 0x8000;
    pub(super) const LENGTH: u16 = 0x4000;
    pub(super) const SEQUENCE: u16 = 0x0800;
    pub(super) const OFFSET: u16 = 0x0200;
    pub(super) const PRIORITY: u16 = 0x0100;
    /// Of a version 2 data message.
    pub(super) const DATA: u16 = LENGTH | SEQUENCE | OFFSET | PRIORITY;
}

/// First bytes of control messages (control, length, sequence) and of data messages.
pub(super) const FIRST: FirstBytes = FirstBytes::of(&[
    0xC8, 0x00, 0x01, 0x02, 0x03, 0x08, 0x09, 0x0A, 0x0B, 0x40, 0x41, 0x42, 0x43, 0x48, 0x49, 0x4A, 0x4B,
]);

/// The first two bytes of every control message, by version.
const CONTROL_V2: u16 = flag::CONTROL | flag::LENGTH | flag::SEQUENCE | 2;
const CONTROL_V3: u16 = flag::CONTROL | flag::LENGTH | flag::SEQUENCE | 3;

/// Message types (RFC 2661 section 3.2; RFC 3931 section 3.1).
pub(super) mod kind {
    pub(in super::super) const START_REQUEST: u16 = 1;
    pub(in super::super) const START_REPLY: u16 = 2;
    pub(in super::super) const STOP: u16 = 4;
    /// The last that IANA has assigned ("Control Message Types"), with some room.
    pub(super) const LAST: u16 = 32;
}

/// Attributes (RFC 2661 section 4.4; RFC 3931 section 5.4).
mod attribute {
    pub(super) const MESSAGE_TYPE: u16 = 0;
    /// Assigned tunnel number of version 2, assigned control connection number of version 3.
    pub(super) const TUNNEL_V2: u16 = 9;
    pub(super) const TUNNEL_V3: u16 = 61;
    /// Message digest, which may come before or behind the message type (RFC 3931 section 5.4.1).
    pub(super) const DIGEST: u16 = 59;
    /// Mandatory, hidden, four reserved bits, ten bits of length.
    pub(super) const HEADER: u16 = 6;
    pub(super) const RESERVED: u16 = 0x3C00;
    pub(super) const LENGTH: u16 = 0x03FF;
}

/// A control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Control {
    version: u8,
    /// Message type; none for an empty message, which only acknowledges.
    pub(super) kind: Option<u16>,
    /// The receiver's tunnel (control connection) number; 0 while it is not known.
    pub(super) tunnel: u32,
    /// The number that the sender gives itself.
    pub(super) assigned: Option<u32>,
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}, message {}, tunnel {}", self.version, self.kind.unwrap_or(0), self.tunnel)
    }
}

/// The session of a data message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session {
    version: u8,
    flags: u16,
    tunnel: u16,
    session: u32,
    /// Version 3: where the frame begins.
    frame_at: usize,
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}, tunnel {}, session {}", self.version, self.tunnel, self.session)
    }
}

/// A datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Control(Control),
    Data(Session),
}

/// What a datagram is; a snap length may have cut it.
pub(super) fn message(data: &[u8], wire_len: usize) -> Option<Message> {
    let mut r = Reader::new(data);
    match r.u16().ok()? {
        CONTROL_V2 => control(r, 2, data, wire_len).map(Message::Control),
        CONTROL_V3 => control(r, 3, data, wire_len).map(Message::Control),
        3 => data_v3(r).map(Message::Data),
        flags if flags & !flag::DATA == 2 => data_v2(r, flags, wire_len).map(Message::Data),
        _ => None,
    }
}

fn control(mut r: Reader<'_>, version: u8, data: &[u8], wire_len: usize) -> Option<Control> {
    let len = r.u16().ok()?;
    if usize::from(len) != wire_len {
        return None;
    }
    let tunnel = match version {
        2 => {
            let (tunnel, _session) = (r.u16().ok()?, r.u16().ok()?);
            u32::from(tunnel)
        }
        _ => r.u32().ok()?,
    };
    let (_sent, _expected) = (r.u16().ok()?, r.u16().ok()?);
    let mut control = Control { version, kind: None, tunnel, assigned: None };
    if r.is_empty() {
        return (data.len() == wire_len).then_some(control);
    }
    let mut first = true;
    while !r.is_empty() {
        let Ok(head) = r.u16() else { return cut(control, data, wire_len) };
        let (Ok(vendor), Ok(attribute)) = (r.u16(), r.u16()) else { return cut(control, data, wire_len) };
        let value_len = (head & attribute::LENGTH).checked_sub(attribute::HEADER)?;
        if head & attribute::RESERVED != 0 {
            return None;
        }
        let Ok(value) = r.take(usize::from(value_len)) else { return cut(control, data, wire_len) };
        match (vendor, attribute) {
            (0, attribute::MESSAGE_TYPE) => {
                let kind = u16::from_be_bytes(value.try_into().ok()?);
                let known = (1..=kind::LAST).contains(&kind);
                control.kind = known.then_some(kind);
                control.kind?;
            }
            // Vendors have messages of their own, numbered as they please.
            (_, attribute::MESSAGE_TYPE) if first => return None,
            (0, attribute::DIGEST) if first && version == 3 => continue,
            _ if first => return None,
            (0, attribute::TUNNEL_V2) if version == 2 => {
                control.assigned = value.try_into().ok().map(u16::from_be_bytes).map(u32::from);
            }
            (0, attribute::TUNNEL_V3) if version == 3 => {
                control.assigned = value.try_into().ok().map(u32::from_be_bytes);
            }
            _ => {}
        }
        first = false;
    }
    control.kind.map(|_| control)
}

/// A message whose attributes end where the snap length cut it, and nowhere else.
fn cut(control: Control, data: &[u8], wire_len: usize) -> Option<Control> {
    (data.len() < wire_len && control.kind.is_some()).then_some(control)
}

fn data_v2(mut r: Reader<'_>, flags: u16, wire_len: usize) -> Option<Session> {
    if flags & flag::LENGTH != 0 && usize::from(r.u16().ok()?) > wire_len {
        return None;
    }
    let (tunnel, session) = (r.u16().ok()?, r.u16().ok()?);
    if flags & flag::SEQUENCE != 0 {
        r.skip(4).ok()?;
    }
    if flags & flag::OFFSET != 0 {
        let pad = r.u16().ok()?;
        r.skip(usize::from(pad)).ok()?;
    }
    let fits = tunnel != 0 && session != 0 && is_ppp(r.rest());
    // The priority bit may be set on keep-alives only.
    let flags = flags & !flag::PRIORITY;
    fits.then_some(Session { version: 2, flags, tunnel, session: session.into(), frame_at: 0 })
}

/// Whether a PPP frame begins here that shows more than its protocol: a packet of IP, or a negotiation (RFC 1661 section 5) with a
/// known code and a length.
fn is_ppp(data: &[u8]) -> bool {
    /// Address and control, which may be left out, and protocols: IPv4, IPv6; LCP, IPCP, IPv6CP, CCP, ECP, MPLSCP, LQR, PAP, CHAP, EAP, MP.
    const ADDRESS_AND_CONTROL: [u8; 2] = [0xFF, 0x03];
    const NEGOTIATIONS: [u16; 9] = [0xC021, 0x8021, 0x8057, 0x80FD, 0x8053, 0x8281, 0xC023, 0xC223, 0xC227];
    const LAST_CODE: u8 = 15;

    let framed = data.starts_with(&ADDRESS_AND_CONTROL);
    let rest = data.strip_prefix(&ADDRESS_AND_CONTROL).unwrap_or(data);
    let mut r = Reader::new(rest);
    match rest {
        [0x21, version, ..] | [0, 0x21, version, ..] if version >> 4 == 4 => {
            (5..=15).contains(&(version & 15))
        }
        [0x57, version, ..] | [0, 0x57, version, ..] => version >> 4 == 6,
        // Compressed and encrypted (CCP, MPPE), multilink: eight or sixteen bits do not prove much, so only framed ones count.
        [0, 0xFD | 0x3D, ..] => framed,
        _ => {
            let (Ok(protocol), Ok(code)) = (r.u16(), r.u8()) else { return false };
            let (Ok(_id), Ok(len)) = (r.u8(), r.u16()) else { return false };
            NEGOTIATIONS.contains(&protocol) && (1..=LAST_CODE).contains(&code) && len >= 4
        }
    }
}

/// Version 3 over UDP: 16 reserved bits, a session number, then a cookie of 0, 4 or 8 bytes and a sublayer header of 0 or 4.
fn data_v3(mut r: Reader<'_>) -> Option<Session> {
    const BEFORE_FRAME: [usize; 4] = [0, 4, 8, 12];
    let (reserved, session) = (r.u16().ok()?, r.u32().ok()?);
    if reserved != 0 || session == 0 {
        return None;
    }
    let frame_at = BEFORE_FRAME.into_iter().find(|at| r.rest().get(*at..).is_some_and(is_frame))?;
    Some(Session { version: 3, flags: 0, tunnel: 0, session, frame_at })
}

/// Whether an Ethernet frame begins here, by its type and how that goes on: IP, ARP of Ethernet and IPv4.
fn is_frame(data: &[u8]) -> bool {
    let tagged = data.get(12..14) == Some(&[0x81, 0x00]);
    let Some(rest) = data.get(if tagged { 16 } else { 12 }..) else { return false };
    matches!(
        rest,
        [0x08, 0x00, 0x45..=0x4F, ..] | [0x86, 0xDD, 0x60..=0x6F, ..] | [0x08, 0x06, 0, 1, 8, 0, 6, 4, ..]
    )
}
