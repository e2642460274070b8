//! QUIC long headers and the protection of Initial packets (RFC 9000 section 17.2, RFC 9001 section 5, RFC 9369).
//!
//! In: a datagram. Out: its packets' headers ([`LongHeader`]) and what a client's Initial says ([`Keys::open`]): its keys come from
//! the packet itself, so anybody on the path can read it.

use crate::{Reader, Short};
use aes::cipher::{Array, BlockCipherEncrypt};
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;

/// Version 1 (RFC 9000) and version 2 (RFC 9369).
pub const VERSION_1: u32 = 0x0000_0001;
/// Version 2.
pub const VERSION_2: u32 = 0x6B33_43CF;
/// Drafts are 0xff000000 plus their number.
const DRAFT: u32 = 0xFF00_0000;
/// First and last draft whose long header is that of RFC 9000.
const DRAFTS: std::ops::RangeInclusive<u32> = DRAFT | 22..=DRAFT | 34;
/// Google's Q050, T050 and T051, whose keys are not known here; Facebook's mvfst of drafts 22 and 27, the latter with that draft's keys.
const Q050: u32 = 0x5130_3530;
const T050: u32 = 0x5430_3530;
const T051: u32 = 0x5430_3531;
const MVFST_22: u32 = 0xFACE_B001;
const MVFST_27: u32 = 0xFACE_B002;

/// Salts of Initial keys: RFC 9001 section 5.2 (also drafts 33 and 34), RFC 9369 section 3.3.1, drafts 29 to 32, drafts 23 to 28.
const SALT_V1: [u8; 20] = [
    0x38, 0x76, 0x2C, 0xF7, 0xF5, 0x59, 0x34, 0xB3, 0x4D, 0x17, 0x9A, 0xE6, 0xA4, 0xC8, 0x0C, 0xAD, 0xCC,
    0xBB, 0x7F, 0x0A,
];
const SALT_V2: [u8; 20] = [
    0x0D, 0xED, 0xE3, 0xDE, 0xF7, 0x00, 0xA6, 0xDB, 0x81, 0x93, 0x81, 0xBE, 0x6E, 0x26, 0x9D, 0xCB, 0xF9,
    0xBD, 0x2E, 0xD9,
];
const SALT_DRAFT_29: [u8; 20] = [
    0xAF, 0xBF, 0xEC, 0x28, 0x99, 0x93, 0xD2, 0x4C, 0x9E, 0x97, 0x86, 0xF1, 0x9C, 0x61, 0x11, 0xE0, 0x43,
    0x90, 0xA8, 0x99,
];
const SALT_DRAFT_23: [u8; 20] = [
    0xC3, 0xEE, 0xF7, 0x12, 0xC7, 0x2E, 0xBB, 0x5A, 0x11, 0xA7, 0xD2, 0x43, 0x2B, 0xB4, 0x63, 0x65, 0xBE,
    0xF9, 0xF5, 0x02,
];

/// Longest connection id (RFC 9000 section 17.2).
const CONNECTION_ID_MAX: usize = 20;
/// Where the sample for header protection starts, counted from the packet number, and its length (RFC 9001 section 5.4.2).
const SAMPLE_AT: usize = 4;
const SAMPLE_LEN: usize = 16;

/// What a long header opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// Carries the hellos.
    Initial,
    /// Data before the handshake is done.
    ZeroRtt,
    /// The rest of the handshake.
    Handshake,
    /// A server asks for the Initial again with a token.
    Retry,
}

/// The header of one packet of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct LongHeader<'a> {
    /// Version, one of those that this project knows.
    pub version: u32,
    /// Kind of packet.
    pub kind: PacketKind,
    /// Connection id of the receiver.
    pub dcid: &'a [u8],
    /// Connection id of the sender.
    pub scid: &'a [u8],
    /// The packet, from its first byte to its end.
    packet: &'a [u8],
    /// Where the packet number starts.
    number_at: usize,
}

impl<'a> LongHeader<'a> {
    /// Reads the packet that `r` stands at and passes over it; `Ok(None)` if it is none with a long header of a known version.
    ///
    /// # Errors
    /// [`Short`] where it runs past the bytes.
    pub fn parse(r: &mut Reader<'a>) -> Result<Option<Self>, Short> {
        let whole = r.rest();
        let mut at = Reader::new(whole);
        let (first, version) = (at.u8()?, at.u32()?);
        let known = matches!(version, VERSION_1 | VERSION_2 | Q050 | T050 | T051 | MVFST_22 | MVFST_27)
            || DRAFTS.contains(&version);
        if first & 0xC0 != 0xC0 || !known {
            return Ok(None);
        }
        let (dcid, scid) = (at.vec8()?, at.vec8()?);
        if dcid.len() > CONNECTION_ID_MAX || scid.len() > CONNECTION_ID_MAX {
            return Ok(None);
        }
        let kind = match ((first >> 4) & 3, version) {
            (0, VERSION_2) => PacketKind::Retry,
            (1, VERSION_2) | (0, _) => PacketKind::Initial,
            (2, VERSION_2) | (1, _) => PacketKind::ZeroRtt,
            (3, VERSION_2) | (2, _) => PacketKind::Handshake,
            _ => PacketKind::Retry,
        };
        if kind == PacketKind::Retry {
            at.skip(at.rest().len())?;
            *r = at;
            return Ok(Some(Self { version, kind, dcid, scid, packet: whole, number_at: whole.len() }));
        }
        if kind == PacketKind::Initial {
            let token = varint(&mut at)?;
            at.skip(token)?;
        }
        let length = varint(&mut at)?;
        let number_at = at.taken();
        if length < SAMPLE_AT.saturating_add(SAMPLE_LEN) {
            return Ok(None); // too short to be protected
        }
        at.skip(length)?;
        let packet = whole.get(..at.taken()).ok_or(Short)?;
        r.skip(packet.len())?;
        Ok(Some(Self { version, kind, dcid, scid, packet, number_at }))
    }
}

/// Whether a datagram asks for, or is, version negotiation: a version reserved for that, or none (RFC 9000 section 15, RFC 8999).
#[must_use]
pub fn negotiates_version(datagram: &[u8]) -> bool {
    let mut r = Reader::new(datagram);
    let (Ok(first), Ok(version), Ok(dcid), Ok(scid)) = (r.u8(), r.u32(), r.vec8(), r.vec8()) else {
        return false;
    };
    let reserved = version & 0x0F0F_0F0F == 0x0A0A_0A0A;
    first & 0x80 != 0
        && (version == 0 || (reserved && first & 0x40 != 0))
        && dcid.len() <= CONNECTION_ID_MAX
        && scid.len() <= CONNECTION_ID_MAX
        && !dcid.is_empty() | !scid.is_empty()
}

/// Keys of a client's Initial packets.
pub struct Keys {
    aead: Aes128Gcm,
    iv: [u8; 12],
    header: aes::Aes128,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys {
    /// Keys for `version` from the connection id that the client's first Initial is sent to; `None` for a version whose salt is not
    /// known here.
    #[must_use]
    pub fn client(version: u32, dcid: &[u8]) -> Option<Self> {
        let (key, iv, header) = derive(version, dcid)?;
        Some(Self { aead: Aes128Gcm::new(&key.into()), iv, header: aes::Aes128::new(&header.into()) })
    }

    /// Frames of an Initial packet; `None` if these are not its keys.
    #[must_use]
    pub fn open(&self, packet: &LongHeader<'_>) -> Option<Vec<u8>> {
        let sample_at = packet.number_at.checked_add(SAMPLE_AT)?;
        let [first_mask, number_mask @ ..] = self.mask(packet.packet.get(sample_at..)?)?;
        let first = packet.packet.first()? ^ (first_mask & 0x0F);
        let number_len = usize::from(first & 3).checked_add(1)?;
        let payload_at = packet.number_at.checked_add(number_len)?;
        let mut header = packet.packet.get(..payload_at)?.to_vec();
        *header.first_mut()? = first;
        let mut number = 0_u64;
        for (byte, mask) in header.get_mut(packet.number_at..)?.iter_mut().zip(number_mask) {
            *byte ^= mask;
            number = number << 8 | u64::from(*byte);
        }
        let sealed = Payload { msg: packet.packet.get(payload_at..)?, aad: &header };
        self.aead.decrypt(&self.nonce(number), sealed).ok()
    }

    /// Five bytes that hide the first byte's low bits and the packet number (RFC 9001 section 5.4.3).
    fn mask(&self, sample: &[u8]) -> Option<[u8; 5]> {
        let mut block: Array<u8, _> = <[u8; SAMPLE_LEN]>::try_from(sample.get(..SAMPLE_LEN)?).ok()?.into();
        self.header.encrypt_block(&mut block);
        block.get(..5)?.try_into().ok()
    }

    /// IV exclusive-or packet number (RFC 9001 section 5.3).
    fn nonce(&self, number: u64) -> Nonce<aes_gcm::aead::consts::U12> {
        let mut nonce = self.iv;
        for (byte, n) in nonce.iter_mut().rev().zip(number.to_le_bytes()) {
            *byte ^= n;
        }
        nonce.into()
    }
}

type Secrets = ([u8; 16], [u8; 12], [u8; 16]);

/// Key, IV and header key of a client's Initials (RFC 9001 sections 5.1 and 5.2).
fn derive(version: u32, dcid: &[u8]) -> Option<Secrets> {
    let (salt, [key, iv, header]) = match version {
        VERSION_2 => (SALT_V2, ["quicv2 key", "quicv2 iv", "quicv2 hp"]),
        _ => (salt_before_2(version)?, ["quic key", "quic iv", "quic hp"]),
    };
    let initial = Hkdf::<Sha256>::new(Some(&salt), dcid);
    let client = Hkdf::<Sha256>::from_prk(&expand::<32>(&initial, "client in")?).ok()?;
    Some((expand(&client, key)?, expand(&client, iv)?, expand(&client, header)?))
}

fn salt_before_2(version: u32) -> Option<[u8; 20]> {
    match version {
        VERSION_1 => Some(SALT_V1),
        MVFST_27 => Some(SALT_DRAFT_23),
        _ if (DRAFT | 33..=DRAFT | 34).contains(&version) => Some(SALT_V1),
        _ if (DRAFT | 29..=DRAFT | 32).contains(&version) => Some(SALT_DRAFT_29),
        _ if (DRAFT | 23..=DRAFT | 28).contains(&version) => Some(SALT_DRAFT_23),
        _ => None,
    }
}

/// HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
fn expand<const N: usize>(secret: &Hkdf<Sha256>, label: &str) -> Option<[u8; N]> {
    let prefix = "tls13 ";
    let label_len = u8::try_from(prefix.len().checked_add(label.len())?).ok()?;
    let out_len = u16::try_from(N).ok()?.to_be_bytes();
    let info = [&out_len[..], &[label_len], prefix.as_bytes(), label.as_bytes(), &[0]].concat();
    let mut out = [0; N];
    secret.expand(&info, &mut out).ok()?;
    Some(out)
}

/// A variable-length integer (RFC 9000 section 16).
///
/// # Errors
/// [`Short`] where the bytes end, or it is no length that anything could have.
pub fn varint(r: &mut Reader<'_>) -> Result<usize, Short> {
    let first = r.u8()?;
    let mut value = u64::from(first & 0x3F);
    for _ in 1..1_u8 << (first >> 6) {
        value = value << 8 | u64::from(r.u8()?);
    }
    usize::try_from(value).map_err(|_| Short)
}

#[cfg(test)]
impl Keys {
    /// An Initial packet with these frames, as a client sends it; `frames` must fill the sample.
    pub(crate) fn seal(&self, version: u32, dcid: &[u8], number: u16, frames: &[u8]) -> Vec<u8> {
        let first = if version == VERSION_2 { 0xD1 } else { 0xC1 };
        let mut packet = vec![first];
        packet.extend_from_slice(&version.to_be_bytes());
        packet.push(dcid.len().try_into().unwrap());
        packet.extend_from_slice(dcid);
        packet.extend_from_slice(&[0, 0]); // no source id, no token
        let length = u16::try_from(2 + frames.len() + 16).unwrap();
        packet.extend_from_slice(&(0x4000 | length).to_be_bytes());
        let number_at = packet.len();
        packet.extend_from_slice(&number.to_be_bytes());
        let sealed =
            self.aead.encrypt(&self.nonce(number.into()), Payload { msg: frames, aad: &packet }).unwrap();
        packet.extend_from_slice(&sealed);
        let mask = self.mask(&packet[number_at + SAMPLE_AT..]).unwrap();
        packet[0] ^= mask[0] & 0x0F;
        packet[number_at] ^= mask[1];
        packet[number_at + 1] ^= mask[2];
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::hex;
    use crate::test_vectors::RFC9001_CLIENT_INITIAL;

    const DCID: [u8; 8] = [0x83, 0x94, 0xC8, 0xF0, 0x3E, 0x51, 0x57, 0x08];

    #[test]
    fn keys_are_those_of_rfc_9001_and_rfc_9369() {
        let (key, iv, header) = derive(VERSION_1, &DCID).unwrap();
        assert_eq!(hex(&key), "1f369613dd76d5467730efcbe3b1a22d");
        assert_eq!(hex(&iv), "fa044b2f42a3fd3b46fb255c");
        assert_eq!(hex(&header), "9f50449e04a0e810283a1e9933adedd2");
        let (key, iv, header) = derive(VERSION_2, &DCID).unwrap();
        assert_eq!(hex(&key), "8b1a0bc121284290a29e0971b5cd045d");
        assert_eq!(hex(&iv), "91f73e2351d8fa91660e909f");
        assert_eq!(hex(&header), "45b95e15235d6f45a6b19cbcb0294ba9");
    }

    #[test]
    fn the_client_initial_of_rfc_9001_opens() {
        let mut r = Reader::new(&RFC9001_CLIENT_INITIAL);
        let packet = LongHeader::parse(&mut r).unwrap().unwrap();
        assert_eq!((packet.kind, packet.dcid), (PacketKind::Initial, &DCID[..]));
        assert!(r.is_empty());
        let frames = Keys::client(VERSION_1, packet.dcid).unwrap().open(&packet).unwrap();
        assert_eq!(frames.len(), 1162);
        assert_eq!(hex(&frames[..10]), "060040f1010000ed0303");
    }

    #[test]
    fn a_changed_bit_does_not_open() {
        for at in [30, 600, 1199] {
            let mut datagram = RFC9001_CLIENT_INITIAL;
            datagram[at] ^= 1;
            let packet = LongHeader::parse(&mut Reader::new(&datagram)).unwrap().unwrap();
            assert_eq!(Keys::client(VERSION_1, packet.dcid).unwrap().open(&packet), None, "byte {at}");
        }
    }

    #[test]
    fn a_datagram_cut_anywhere_is_short_and_one_of_another_version_is_none() {
        for n in 0..RFC9001_CLIENT_INITIAL.len() {
            let cut = LongHeader::parse(&mut Reader::new(&RFC9001_CLIENT_INITIAL[..n]));
            assert!(cut.is_err(), "{n} bytes");
        }
        let mut datagram = RFC9001_CLIENT_INITIAL;
        datagram[4] = 0x7A;
        assert!(LongHeader::parse(&mut Reader::new(&datagram)).unwrap().is_none());
    }

    #[test]
    fn coalesced_packets_are_parsed_one_by_one() {
        let keys = Keys::client(VERSION_1, &DCID).unwrap();
        let datagram =
            [keys.seal(VERSION_1, &DCID, 0, &[1; 40]), keys.seal(VERSION_1, &DCID, 1, &[0; 50])].concat();
        let mut r = Reader::new(&datagram);
        for want in [&[1; 40][..], &[0; 50]] {
            let packet = LongHeader::parse(&mut r).unwrap().unwrap();
            assert_eq!(keys.open(&packet).as_deref(), Some(want));
        }
        assert!(r.is_empty());
    }

    #[test]
    fn integers_are_those_of_rfc_9000_appendix_a() {
        for (bytes, value) in [
            (&[0xC2, 0x19, 0x7C, 0x5E, 0xFF, 0x14, 0xE8, 0x8C][..], 151_288_809_941_952_652),
            (&[0x9D, 0x7F, 0x3E, 0x7D], 494_878_333),
            (&[0x7B, 0xBD], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ] {
            assert_eq!(varint(&mut Reader::new(bytes)), Ok(value));
        }
    }
}
