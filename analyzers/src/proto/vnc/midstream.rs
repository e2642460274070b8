//! RFB's client messages, for captures that began after the opening.
//!
//! In: the bytes of one direction from a message's start on, or from behind the version. Out: whether they are a chain of RFB client
//! messages (RFC 6143 7.5 and the fence and continuous-update extensions). What the server sends cannot be cut into messages without
//! its pixel format.

use crate::{Reader, Short};

/// Bits that a chain must fix before it is believed: a chance of 2^-64 for random bytes.
const ENOUGH: u32 = 64;
/// Bits for which a flow is looked at further.
const PROMISING: u32 = 40;
/// Largest screen that is believed, in pixels either way.
const SCREEN_MAX: u16 = 16_384;
/// More encodings than any program knows.
const ENCODINGS_MAX: u16 = 64;
/// A pointer reported more often than it jumps moves by less than this, in pixels.
const STEP_MAX: u16 = 256;

/// Whether `data` is a chain of client messages; [`Short`] if it may become one.
pub(super) fn is_client(data: &[u8]) -> Result<bool, Short> {
    fixes(data, ENOUGH)
}

/// Whether `data` may be a client's, from a message's start on or from behind the version, so far that it is worth waiting for more.
pub(super) fn is_promising(data: &[u8]) -> Result<bool, Short> {
    either(fixes(data, PROMISING), behind_version(data, PROMISING))
}

/// Whether `data` is a client's, from a message's start on or from behind the version.
pub(super) fn client(data: &[u8]) -> Result<bool, Short> {
    either(is_client(data), is_client_behind_version(data))
}

/// Yes if one says so, and not yet if one says so.
const fn either(a: Result<bool, Short>, b: Result<bool, Short>) -> Result<bool, Short> {
    match (a, b) {
        (Ok(true), _) | (_, Ok(true)) => Ok(true),
        (Err(Short), _) | (_, Err(Short)) => Err(Short),
        (Ok(false), Ok(false)) => Ok(false),
    }
}

/// Whether `data` is a chain of client messages that fixes `enough` bits.
fn fixes(data: &[u8], enough: u32) -> Result<bool, Short> {
    let mut r = Reader::new(data);
    let mut fixed = 0_u32;
    let mut pointer: Option<(u16, u16)> = None;
    while fixed < enough {
        match message(&mut r, &mut pointer)? {
            Some(bits) => fixed = fixed.saturating_add(bits),
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// Whether `data`, which follows the version, is what only a client says: its choice of security, its response to a challenge, the
/// shared flag, then messages. Choice and response may be missing (protocol 3.3, no authentication).
pub(super) fn is_client_behind_version(data: &[u8]) -> Result<bool, Short> {
    /// TLS chosen, then a TLS handshake record; VeNCrypt 0.2 chosen, then a sub-type from 256 on.
    const SECURED: [&[u8]; 2] = [&[18, 0x16, 3], &[19, 0, 2, 0, 0, 1]];
    if SECURED.iter().any(|start| data.starts_with(start)) {
        return Ok(true);
    }
    behind_version(data, ENOUGH)
}

fn behind_version(data: &[u8], enough: u32) -> Result<bool, Short> {
    const RESPONSE: usize = 16;
    let mut found = Ok(false);
    for flag in [0, 1, RESPONSE, RESPONSE + 1] {
        let mut r = Reader::new(data.get(flag..).unwrap_or(&[]));
        let here = match r.u8() {
            Ok(shared) if shared <= 1 => fixes(r.rest(), enough),
            // A response that is not whole is waited for only where a choice of VNC's security stands before it.
            Err(Short) if data.first() == Some(&2) => Err(Short),
            _ => Ok(false),
        };
        found = either(found, here);
    }
    found
}

/// Reads a message; how many bits of it are no free choice.
fn message(r: &mut Reader<'_>, pointer: &mut Option<(u16, u16)>) -> Result<Option<u32>, Short> {
    let kind = r.u8()?;
    Ok(match kind {
        // SetPixelFormat: padding, bits a pixel, depth, two flags, three maxima of the form 2^n - 1, three shifts, padding.
        0 => {
            let (padding, bits, depth, flags) = (r.u24()?, r.u8()?, r.u8()?, r.u16()?);
            let (maxima, shifts, end) = (r.array::<6>()?, r.u24()?, r.u24()?);
            let fits = padding == 0 && end == 0 && matches!(bits, 8 | 16 | 32) && depth <= bits;
            (fits && flags & 0xFEFE == 0 && maxima.iter().any(|m| *m != 0) && shifts != 0).then_some(80)
        }
        // SetEncodings.
        2 => {
            let (padding, n) = (r.u8()?, r.u16()?);
            let fits = padding == 0 && (1..=ENCODINGS_MAX).contains(&n);
            if fits {
                r.skip(usize::from(n).saturating_mul(4))?;
            }
            fits.then_some(24)
        }
        // FramebufferUpdateRequest; EnableContinuousUpdates has the same fields.
        3 | 150 => {
            let flag = r.u8()?;
            (flag <= 1 && rectangle(r)?).then_some(20)
        }
        // KeyEvent: two bytes of padding, and a keysym below 2^25 (X11 protocol, appendix A).
        4 => {
            let (down, padding, keysym) = (r.u8()?, r.u16()?, r.u32()?);
            (down <= 1 && padding == 0 && (1..1 << 25).contains(&keysym)).then_some(38)
        }
        // PointerEvent.
        5 => {
            let (_buttons, x, y) = (r.u8()?, r.u16()?, r.u16()?);
            let near = pointer.is_some_and(|(px, py)| px.abs_diff(x) < STEP_MAX && py.abs_diff(y) < STEP_MAX);
            *pointer = Some((x, y));
            (x < SCREEN_MAX && y < SCREEN_MAX).then_some(if near { 22 } else { 12 })
        }
        // ClientFence: padding, flags (bits 0 to 2 and 31), at most 64 bytes.
        248 => {
            let (padding, flags) = (r.u24()?, r.u32()?);
            let payload = r.vec8()?;
            (padding == 0 && flags & 0x7FFF_FFF8 == 0 && payload.len() <= 64).then_some(60)
        }
        // QEMU extended key event: sub-type, down, keysym, XT key code (rfbproto, "QEMU Client Message").
        255 => {
            let (kind, down, keysym, code) = (r.u8()?, r.u16()?, r.u32()?, r.u32()?);
            (kind == 0 && down <= 1 && keysym < 1 << 25 && code <= 0xFFFF).then_some(54)
        }
        _ => None,
    })
}

fn rectangle(r: &mut Reader<'_>) -> Result<bool, Short> {
    let (x, y, width, height) = (r.u16()?, r.u16()?, r.u16()?, r.u16()?);
    let fits = |from: u16, len: u16| len > 0 && from.checked_add(len).is_some_and(|end| end <= SCREEN_MAX);
    Ok(fits(x, width) && fits(y, height))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = &[3, 1, 0, 0, 0, 0, 5, 0, 3, 0x20];
    const KEY: &[u8] = &[4, 1, 0, 0, 0, 0, 0, 0x61];

    fn pointer(x: u16, y: u16) -> Vec<u8> {
        [&[5, 0][..], &x.to_be_bytes(), &y.to_be_bytes()].concat()
    }

    #[test]
    fn keys_and_requests_in_a_row_are_a_client() {
        assert_eq!(is_client(&[REQUEST, KEY].concat()), Err(Short));
        assert_eq!(is_client(&[REQUEST, KEY, KEY].concat()), Ok(true));
    }

    #[test]
    fn a_choice_a_response_and_the_shared_flag_may_stand_before_the_messages() {
        let bytes = [&[2][..], &[0x5A; 16], &[1], REQUEST, KEY, KEY].concat();
        assert_eq!(is_client_behind_version(&bytes), Ok(true));
        assert_eq!(is_client_behind_version(&bytes[..9]), Err(Short));
        assert_eq!(is_promising(&bytes[..bytes.len() - KEY.len()]), Ok(true));
        assert_eq!(
            is_promising(b"\x02\x5A\x5A\x5A\x5A\x5A\x5A\x5A\x5A\x5A\x5A\x5A\x5A\x5A\x5A\x5A\x5A\x77\x03\x77"),
            Ok(false)
        );
    }

    #[test]
    fn qemu_keys_and_fences_are_a_client() {
        let key = [255, 0, 0, 1, 0, 0, 0, 0x61, 0, 0, 0, 0x1E];
        let fence = [248, 0, 0, 0, 0, 0, 0, 1, 1, 1];
        assert_eq!(is_client(&[&key[..], &fence].concat()), Ok(true));
        assert_eq!(is_client(&[255, 3, 0, 1]), Err(Short));
        assert_eq!(is_client(&[255, 3, 0, 1, 0, 0, 0, 0x61, 0, 0, 0, 0x1E]), Ok(false));
    }

    #[test]
    fn a_pointer_that_wanders_is_believed_after_few_reports_and_one_that_jumps_later() {
        let wander: Vec<u8> = (0..4).flat_map(|i| pointer(500 + 9 * i, 300)).collect();
        assert_eq!(is_client(&wander), Ok(true));
        let jump: Vec<u8> = (0..4).flat_map(|i| pointer(3000 * i, 300)).collect();
        assert_eq!(is_client(&jump), Err(Short));
    }

    #[test]
    fn padding_that_is_not_zero_or_a_rectangle_outside_any_screen_is_not_rfb() {
        assert_eq!(is_client(&[4, 1, 0, 1, 0, 0, 0, 0x61]), Ok(false));
        assert_eq!(is_client(&[3, 0, 0, 0x1C, 2, 0xF0, 0x80, 0x64, 0, 8]), Ok(false));
    }
}
