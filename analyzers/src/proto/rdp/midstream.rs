//! RDP's native data plane, for captures that began after the opening.
//!
//! In: the bytes of one direction from a PDU's start on. Out: who sends them, if they are a chain of encrypted RDP PDUs.
//!
//! Only encrypted PDUs count: their security header is RDP's own, whereas MCS send-data alone is any T.120 conference.

use crate::{Reader, Short};

/// Which end sends a PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
}

/// Slow-path PDUs in a row that make a recognition: each fixes ten bytes and its length.
const SLOW_PDUS: u8 = 2;
/// Fast-path PDUs in a row that make a recognition: each fixes four bits and, by where the next one starts, its length.
const FAST_PDUS: u8 = 4;

/// Fast-path PDUs, or slow-path ones, for which a flow is looked at further.
const FAST_PROMISING: u8 = 2;
const SLOW_PROMISING: u8 = 1;

/// First bytes of an encrypted fast-path PDU: action 0 in bits 0 and 1, "encrypted" in bit 7 ([MS-RDPBCGR] 2.2.8.1.2, 2.2.9.1.2).
pub(super) const FAST_PATH: [u8; 32] = {
    let mut bytes = [0x80; 32];
    let mut i = 0;
    while i < bytes.len() {
        #[allow(clippy::indexing_slicing, clippy::as_conversions, clippy::arithmetic_side_effects)]
        // const; i < 32
        {
            bytes[i] = 0x80 + 4 * i as u8;
            i += 1;
        }
    }
    bytes
};

/// The sender of `data`, if it is a long enough chain of encrypted PDUs of one kind of sender; [`Short`] if it may become one.
pub(super) fn sender(data: &[u8]) -> Result<Option<Sender>, Short> {
    chain(data, SLOW_PDUS, FAST_PDUS)
}

/// Whether `data` is so much of such a chain that it is worth waiting for more.
pub(super) fn is_promising(data: &[u8]) -> bool {
    matches!(chain(data, SLOW_PROMISING, FAST_PROMISING), Ok(Some(_)))
}

fn chain(data: &[u8], slow_enough: u8, fast_enough: u8) -> Result<Option<Sender>, Short> {
    let mut r = Reader::new(data);
    let (mut slow, mut fast): (u8, u8) = (0, 0);
    let mut first: Option<(Sender, Option<u8>)> = None;
    loop {
        let Some(pdu) = pdu(&mut r)? else { return Ok(None) };
        let (sender, checksum) = *first.get_or_insert((pdu.sender, pdu.checksum));
        // A connection computes its MACs one way throughout.
        if sender != pdu.sender || pdu.checksum.zip(checksum).is_some_and(|(a, b)| a != b) {
            return Ok(None);
        }
        match pdu.checksum {
            Some(_) => fast = fast.saturating_add(1),
            None => slow = slow.saturating_add(1),
        }
        if slow >= slow_enough || fast >= fast_enough {
            return Ok(Some(sender));
        }
    }
}

struct Pdu {
    sender: Sender,
    /// Fast path: the salted-checksum bit.
    checksum: Option<u8>,
}

fn pdu(r: &mut Reader<'_>) -> Result<Option<Pdu>, Short> {
    let first = r.u8()?;
    if first == super::wire::TPKT_VERSION { slow_path(r) } else { fast_path(first, r) }
}

/// TPKT, X.224 data, MCS send-data request or indication, security header "encrypted", MAC.
fn slow_path(r: &mut Reader<'_>) -> Result<Option<Pdu>, Short> {
    /// TPKT's remaining header, X.224, MCS up to the PER length.
    const HEADERS: usize = 13;
    const X224_DATA: [u8; 3] = [0x02, 0xF0, 0x80];
    /// Data priority high, one whole segment (T.125 section 7).
    const WHOLE: u8 = 0x70;
    /// MCS channels are numbered from here (T.125 section 7).
    const CHANNEL_MIN: u16 = 1001;
    /// SEC_ENCRYPT with or without SEC_SECURE_CHECKSUM ([MS-RDPBCGR] 2.2.8.1.1.2.1).
    const ENCRYPTED: u16 = 0x0008;
    const SECURE_CHECKSUM: u16 = 0x0800;
    let zero = r.u8()?;
    let len = r.u16()?;
    let x224 = r.array::<3>()?;
    let kind = r.u8()?;
    let (_initiator, channel, priority) = (r.u16()?, r.u16()?, r.u8()?);
    let length = r.u8()?;
    let (user_data, length_bytes) = if length & 0x80 == 0 {
        (usize::from(length), 1)
    } else {
        (usize::from(u16::from_be_bytes([length & 0x7F, r.u8()?])), 2)
    };
    let body = r.take(user_data)?;
    let sender = match kind {
        0x64 => Sender::Client,
        0x68 => Sender::Server,
        _ => return Ok(None),
    };
    let mut body = Reader::new(body);
    let (Ok(flags), Ok(_flags_hi), Ok(_mac)) = (body.u16_le(), body.u16_le(), body.u64()) else {
        return Ok(None);
    };
    let fits = zero == 0
        && x224 == X224_DATA
        && channel >= CHANNEL_MIN
        && priority == WHOLE
        && usize::from(len) == HEADERS.saturating_add(length_bytes).saturating_add(user_data)
        && flags & !SECURE_CHECKSUM == ENCRYPTED;
    Ok(fits.then_some(Pdu { sender, checksum: None }))
}

/// Header, length of one or two bytes that counts the whole PDU, MAC.
fn fast_path(first: u8, r: &mut Reader<'_>) -> Result<Option<Pdu>, Short> {
    const MAC: usize = 8;
    if !FAST_PATH.contains(&first) {
        return Ok(None);
    }
    let length = r.u8()?;
    let (len, header) = if length & 0x80 == 0 {
        (usize::from(length), 2_usize)
    } else {
        (usize::from(u16::from_be_bytes([length & 0x7F, r.u8()?])), 3)
    };
    let Some(body) = len.checked_sub(header).filter(|body| *body > MAC) else { return Ok(None) };
    r.skip(body)?;
    // Bits 2 to 5 count input events and are reserved in output.
    let sender = if first & 0x3C == 0 { Sender::Server } else { Sender::Client };
    Ok(Some(Pdu { sender, checksum: Some(first & 0x40) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slow-path request: security header, MAC, two bytes.
    const SLOW: &[u8] = b"\x03\x00\x00\x1c\x02\xf0\x80\x64\x00\x08\x03\xeb\x70\x0e\x08\x00\x00\x00MMMMMMMMxx";
    const OUTPUT: &[u8] = b"\x80\x0cMMMMMMMMxx";

    #[test]
    fn two_encrypted_requests_are_the_client() {
        assert_eq!(sender(SLOW), Err(Short));
        assert_eq!(sender(&[SLOW, SLOW].concat()), Ok(Some(Sender::Client)));
    }

    #[test]
    fn four_encrypted_fast_path_updates_are_the_server() {
        assert_eq!(sender(&OUTPUT.repeat(3)), Err(Short));
        assert_eq!(sender(&OUTPUT.repeat(4)), Ok(Some(Sender::Server)));
    }

    #[test]
    fn one_request_or_two_updates_are_worth_waiting_for() {
        assert!(is_promising(SLOW) && is_promising(&OUTPUT.repeat(2)));
        assert!(!is_promising(OUTPUT) && !is_promising(&SLOW[..SLOW.len() - 1]));
    }

    #[test]
    fn a_length_that_does_not_lead_to_another_pdu_is_not_rdp() {
        assert_eq!(sender(b"\x80\x0cMMMMMMMMxxGET / HTTP"), Ok(None));
        assert_eq!(sender(b"\x80\x05MMMMMMMMxx"), Ok(None));
    }

    #[test]
    fn send_data_without_the_security_header_is_any_conference() {
        let mut plain = SLOW.to_vec();
        plain[14] = 0x1C;
        assert_eq!(sender(&plain.repeat(2)), Ok(None));
    }
}
