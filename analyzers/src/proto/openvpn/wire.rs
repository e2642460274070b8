//! Wire format of OpenVPN messages.
//!
//! In: one message, without TCP's length. Out: a control packet under the wrapping its shape allows, or the head of a data packet.
//!
//! Facts: "OpenVPN Protocol" (openvpn.net), draft-openvpn-protocol, doc/tls-crypt-v2.txt of OpenVPN.

use crate::{Reader, Short};

/// Packet opcodes, the upper five bits of the first byte.
pub(super) mod opcode {
    pub(in super::super) const CLIENT_RESET_V1: u8 = 1;
    pub(in super::super) const SERVER_RESET_V1: u8 = 2;
    pub(in super::super) const CONTROL: u8 = 4;
    pub(in super::super) const ACK: u8 = 5;
    pub(in super::super) const DATA_V1: u8 = 6;
    pub(in super::super) const CLIENT_RESET_V2: u8 = 7;
    pub(in super::super) const SERVER_RESET_V2: u8 = 8;
    pub(in super::super) const DATA_V2: u8 = 9;
    pub(in super::super) const CLIENT_RESET_V3: u8 = 10;
    /// Control packet with the wrapped client key behind it (tls-crypt-v2).
    pub(in super::super) const CONTROL_WKC: u8 = 11;
}

/// No message of the control channel is shorter.
pub(super) const LEN_MIN: u16 = 14;
/// Opcode and own session id.
const HEAD: usize = 9;
/// A client's reset in the clear: head, empty acknowledgement array, packet id.
pub(super) const CLIENT_RESET_LEN: usize = HEAD + 1 + 4;
/// What a server's reset has more than the client's: one acknowledged packet id and the client's session id.
pub(super) const ANSWER_EXTRA: usize = 4 + 8;
/// Replay protection of a wrapped packet: packet id and Unix time.
pub(super) const STAMP: usize = 8;
/// HMAC lengths that `--auth` can give: MD5, SHA-1, SHA-224, SHA-256, SHA-384, SHA-512.
pub(super) const HMACS: [usize; 6] = [16, 20, 28, 32, 48, 64];
/// Authentication tag of tls-crypt.
const CRYPT_TAG: usize = 32;
/// A client's reset under tls-crypt.
pub(super) const CRYPT_RESET_LEN: usize = HEAD + STAMP + CRYPT_TAG + 1 + 4;
/// A type-length-value that a server's reset may hold for tls-crypt-v2 (two bytes each of type, length and flags).
const EARLY_NEGOTIATION: usize = 6;
/// A wrapped client key: tag, 256 bytes of key, its own length; then metadata.
const WRAPPED_KEY_MIN: usize = 32 + 256 + 2;
/// A receiver acknowledges at most this many packets at once (RELIABLE_ACK_SIZE).
const ACKS_MAX: u8 = 8;
/// The first stamped packets of a session; resets are sent again a few times.
const STAMP_FIRST_MAX: u32 = 64;
/// Upper half of the first packet ids: zero, or the mark of early negotiation (0x0f000000; 0x0a010000 in development versions of 2.6).
const STAMP_MARKS: [u32; 3] = [0, 0x0F00, 0x0A01];
/// September 2001: no OpenVPN clock stands before it.
const TIME_MIN: u32 = 1_000_000_000;

/// How control packets are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrap {
    /// In the clear.
    Plain,
    /// tls-auth, with an HMAC of so many bytes.
    Auth(usize),
    /// tls-crypt or tls-crypt-v2.
    Crypt,
}

impl Wrap {
    /// For a person.
    pub(super) fn name(self) -> String {
        match self {
            Self::Plain => "control channel in the clear".to_owned(),
            Self::Auth(hmac) => format!("tls-auth, HMAC of {hmac} bytes"),
            Self::Crypt => "tls-crypt".to_owned(),
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        [Self::Plain, Self::Crypt].into_iter().chain(HMACS.map(Self::Auth))
    }
}

/// Packet id and Unix time of a wrapped packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) id: u32,
    pub(super) time: u32,
}

impl Stamp {
    fn parse(r: &mut Reader<'_>) -> Result<Self, Short> {
        Ok(Self { id: r.u32()?, time: r.u32()? })
    }

    /// Whether it may be the stamp of a session's first packets.
    const fn is_first(self) -> bool {
        let (mark, id) = (self.id >> 16, self.id & 0xFFFF);
        let [plain, early, development] = STAMP_MARKS;
        let known = mark == plain || mark == early || mark == development;
        known && id <= STAMP_FIRST_MAX && (id > 0 || mark != plain) && self.time >= TIME_MIN
    }
}

/// A control packet.
#[derive(Debug)]
pub(super) struct Control<'a> {
    pub(super) opcode: u8,
    /// The sender's session id.
    pub(super) session: u64,
    /// Wrapped packets.
    pub(super) stamp: Option<Stamp>,
    /// The first packet id that is acknowledged, and the receiver's session id, as the sender knows it.
    pub(super) acked: Option<(u32, u64)>,
    /// This packet's id; none for a pure acknowledgement, and unknown under encryption.
    pub(super) id: Option<u32>,
    /// A part of the TLS stream.
    pub(super) tls: &'a [u8],
}

/// Opcode and key id of a message.
pub(super) fn opcode(message: &[u8]) -> Option<(u8, u8)> {
    message.first().map(|b| (b >> 3, b & 7))
}

/// Whether there is such an opcode.
pub(super) const fn is_known(opcode: u8) -> bool {
    matches!(opcode, opcode::CLIENT_RESET_V1..=opcode::CONTROL_WKC)
}

/// A control packet under this wrapping; `None` if it cannot be one.
pub(super) fn control(message: &[u8], wrap: Wrap) -> Option<Control<'_>> {
    let (opcode, _) = opcode(message)?;
    if !is_known(opcode) || matches!(opcode, opcode::DATA_V1 | opcode::DATA_V2) {
        return None;
    }
    parse(message, opcode, wrap).ok().flatten()
}

fn parse(message: &[u8], opcode: u8, wrap: Wrap) -> Result<Option<Control<'_>>, Short> {
    let mut r = Reader::new(message);
    r.skip(1)?;
    let session = r.u64()?;
    let stamp = match wrap {
        Wrap::Plain => None,
        Wrap::Auth(hmac) => {
            r.skip(hmac)?;
            Some(Stamp::parse(&mut r)?)
        }
        Wrap::Crypt => {
            let stamp = Some(Stamp::parse(&mut r)?);
            r.skip(CRYPT_TAG)?;
            return Ok(Some(Control { opcode, session, stamp, acked: None, id: None, tls: &[] }));
        }
    };
    let acks = r.u8()?;
    if acks > ACKS_MAX || session == 0 {
        return Ok(None);
    }
    let acked = if acks > 0 {
        let first = r.u32()?;
        r.skip(usize::from(acks.saturating_sub(1)).saturating_mul(4))?;
        Some((first, r.u64()?))
    } else {
        None
    };
    let id = if opcode == opcode::ACK { None } else { Some(r.u32()?) };
    // An acknowledgement says nothing else, and acknowledges something.
    if opcode == opcode::ACK && (acked.is_none() || !r.is_empty()) {
        return Ok(None);
    }
    Ok(Some(Control { opcode, session, stamp, acked, id, tls: r.rest() }))
}

/// Whether an opcode is a client's reset.
pub(super) const fn is_client_reset(opcode: u8) -> bool {
    matches!(opcode, opcode::CLIENT_RESET_V1 | opcode::CLIENT_RESET_V2 | opcode::CLIENT_RESET_V3)
}

/// Whether an opcode is a server's reset.
pub(super) const fn is_server_reset(opcode: u8) -> bool {
    matches!(opcode, opcode::SERVER_RESET_V1 | opcode::SERVER_RESET_V2)
}

/// The reset that opens a session, the client's or the server's, by its exact size and everything in it that is no free choice.
pub(super) fn reset(message: &[u8]) -> Option<(Wrap, Control<'_>)> {
    let (opcode, key_id) = opcode(message)?;
    let (client, server) = (is_client_reset(opcode), is_server_reset(opcode));
    if key_id != 0 || !(client || server) {
        return None;
    }
    Wrap::all().find_map(|wrap| {
        let reset = control(message, wrap)?;
        let stamped = reset.stamp.is_none_or(Stamp::is_first);
        let fits = match wrap {
            // A DNS message of one question has zeros and a short label where the stamp would be; version 1 is older than tls-crypt.
            Wrap::Crypt if has_one_question(message) || opcode < opcode::CLIENT_RESET_V2 => false,
            Wrap::Crypt if client => client_crypt_len(message, opcode),
            Wrap::Crypt => {
                let len = CRYPT_RESET_LEN.saturating_add(ANSWER_EXTRA);
                message.len() == len || message.len() == len.saturating_add(EARLY_NEGOTIATION)
            }
            // Nothing was acknowledged yet, or the client's packet 0; and this is packet 0.
            _ => {
                reset.id == Some(0)
                    && reset.tls.is_empty()
                    && opcode != opcode::CLIENT_RESET_V3
                    && if client {
                        reset.acked.is_none()
                    } else {
                        matches!(reset.acked, Some((0, remote)) if remote != 0)
                    }
            }
        };
        (stamped && fits).then_some((wrap, reset))
    })
}

/// QDCOUNT of a DNS message (RFC 1035 section 4.1.1) is 1.
fn has_one_question(message: &[u8]) -> bool {
    message.get(4..6) == Some(&[0, 1])
}

/// Size of a client's reset under tls-crypt; version 2 has the wrapped client key behind it, its length at the very end.
fn client_crypt_len(message: &[u8], opcode: u8) -> bool {
    if opcode != opcode::CLIENT_RESET_V3 {
        return message.len() == CRYPT_RESET_LEN;
    }
    let key = message.last_chunk::<2>().map_or(0, |len| usize::from(u16::from_be_bytes(*len)));
    key >= WRAPPED_KEY_MIN && message.len() == CRYPT_RESET_LEN.saturating_add(key)
}

/// The wrapping under which `message` names `session`, the receiver's id, as the one it acknowledges.
pub(super) fn echoes(message: &[u8], session: u64) -> Option<Wrap> {
    let plain_or_auth = Wrap::all().filter(|wrap| *wrap != Wrap::Crypt);
    let names = |wrap: &Wrap| {
        control(message, *wrap)
            .and_then(|c| c.acked)
            .is_some_and(|(_, remote)| remote == session && session != 0)
    };
    plain_or_auth.into_iter().find(names)
}

/// The sender's session id that a message of a control opcode would have.
pub(super) fn session(message: &[u8]) -> Option<u64> {
    let mut r = Reader::new(message);
    r.skip(1).ok()?;
    r.u64().ok()
}

/// Head of a data packet of version 2 under an AEAD cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Data {
    /// Opcode, key id and peer id: constant until the next negotiation.
    pub(super) head: u32,
    /// Grows by one with each packet.
    pub(super) id: u32,
    /// Ciphertext tag: looks random.
    pub(super) tag: [u8; 16],
}

impl Data {
    /// Peer ids are small numbers that the server hands out.
    const PEER_MAX: u32 = 0x000F_FFFF;

    /// `None` if `message` cannot be one.
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        let (opcode, _) = opcode(message)?;
        let mut r = Reader::new(message);
        let (head, id) = (r.u32().ok()?, r.u32().ok()?);
        let tag = r.array().ok()?;
        let fits =
            opcode == opcode::DATA_V2 && head & 0x00FF_FFFF <= Self::PEER_MAX && id > 0 && id >> 31 == 0;
        fits.then_some(Self { head, id, tag })
    }

    /// Whether `next` may come soon after this one: same head, a slightly higher id, and another tag altogether.
    pub(super) fn goes_on_as(&self, next: &Self) -> bool {
        /// Packets that a capture may miss between two.
        const STEP_MAX: u32 = 64;
        let step = next.id.wrapping_sub(self.id);
        // Two random tags share four bytes or more once in 2^21.
        let same = self.tag.iter().zip(&next.tag).filter(|(a, b)| a == b).count();
        self.head == next.head && (1..=STEP_MAX).contains(&step) && same < 4
    }
}
