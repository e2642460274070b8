//! Wire format of SSH's opening: identification strings and KEXINIT.
//!
//! In: a line, a payload in clear, the first bytes of a direction. Out: what it says, or that it is none.

use crate::fingerprint::hassh;
use crate::{Hassh, Reader, Short, Verdict};

/// Message numbers (RFC 4250 section 4.1.2). From 30 to 49 they belong to the key exchange method; in all methods in use (RFC 4253
/// section 8, RFC 4419, RFC 5656, RFC 8731) the client sends the even ones.
pub(super) mod message {
    pub(in super::super) const DISCONNECT: u8 = 1;
    pub(in super::super) const DEBUG: u8 = 4;
    pub(in super::super) const KEXINIT: u8 = 20;
    pub(in super::super) const NEWKEYS: u8 = 21;
    pub(in super::super) const KEX_FIRST: u8 = 30;
    pub(in super::super) const KEX_LAST: u8 = 34;
    /// Last number that belongs to key exchange methods (RFC 4250 section 4.1.1).
    pub(in super::super) const KEX_RESERVED_LAST: u8 = 49;
}

/// Longest line with an identification string (RFC 4253 section 4.2).
const LINE_MAX: usize = 255;
/// Packets must be accepted up to this size (RFC 4253 section 6.1); the least is 16 bytes with the length.
pub(super) const PACKET_MAX: usize = 35_000;
pub(super) const PACKET_MIN: usize = 12;
/// Pseudo-methods in the list of key exchange methods that tell the sender's role (RFC 8308 section 2.1, OpenSSH PROTOCOL 1.9).
const CLIENT_MARKS: [&str; 2] = ["ext-info-c", "kex-strict-c-v00@openssh.com"];
const SERVER_MARKS: [&str; 2] = ["ext-info-s", "kex-strict-s-v00@openssh.com"];

/// An identification string.
#[derive(Debug)]
pub(super) struct Banner {
    pub(super) protocol: Box<str>,
    pub(super) software: Box<str>,
}

impl Banner {
    /// Reads an identification string, without its line's end.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let rest = line.strip_prefix(b"SSH-")?;
        let dash = rest.iter().position(|b| *b == b'-')?;
        let (protocol, software) = rest.split_at_checked(dash)?;
        let version = protocol.len() <= 4 && protocol.iter().all(|b| b.is_ascii_digit() || *b == b'.');
        let software = software.strip_prefix(b"-")?;
        (version && !protocol.is_empty() && line.len() <= LINE_MAX).then(|| Self {
            protocol: protocol.escape_ascii().to_string().into(),
            software: software.escape_ascii().to_string().into(),
        })
    }

    /// Whether the packets behind it are those of version 2 (RFC 4253 section 5.1).
    pub(super) fn speaks_v2(&self) -> bool {
        matches!(&*self.protocol, "2.0" | "1.99")
    }
}

/// HASSH of a KEXINIT's sender, as either role, and what it says of the role.
#[derive(Debug)]
pub(super) struct Offers {
    pub(super) as_client: Hassh,
    pub(super) as_server: Hassh,
    pub(super) is_client: Option<bool>,
    /// Lists that may not be empty are not, and all names are printable (RFC 4251 section 6).
    pub(super) well_formed: bool,
}

impl Offers {
    /// Reads a KEXINIT's payload behind its number (RFC 4253 section 7.1).
    pub(super) fn parse(payload: &[u8]) -> Result<Self, Short> {
        let mut r = Reader::new(payload);
        r.skip(16)?; // cookie
        let kex = names(&mut r)?;
        names(&mut r)?; // host keys
        let (encryption_up, encryption_down) = (names(&mut r)?, names(&mut r)?);
        let (mac_up, mac_down) = (names(&mut r)?, names(&mut r)?);
        let (compression_up, compression_down) = (names(&mut r)?, names(&mut r)?);
        names(&mut r)?; // languages
        names(&mut r)?;
        r.skip(5)?; // a guess follows, and what is reserved
        let has = |marks: &[&str]| kex.split(',').any(|method| marks.contains(&method));
        let lists = [&kex, &encryption_up, &encryption_down];
        Ok(Self {
            well_formed: lists.iter().all(|list| !list.is_empty() && !list.contains('\\')),
            as_client: hassh::of(&kex, &encryption_up, &mac_up, &compression_up),
            as_server: hassh::of(&kex, &encryption_down, &mac_down, &compression_down),
            is_client: match (has(&CLIENT_MARKS), has(&SERVER_MARKS)) {
                (true, false) => Some(true),
                (false, true) => Some(false),
                _ => None,
            },
        })
    }
}

/// Whether a packet in clear with a KEXINIT opens the bytes, as far as its first list (RFC 4253 sections 6 and 7.1).
pub(super) fn begins_with_kexinit(data: &[u8]) -> Verdict {
    /// Padding that the protocol asks for, and the least of a list of methods, which all have longer names.
    const PADDING_LEAST: u8 = 4;
    const METHODS_LEAST: usize = 8;
    let mut r = Reader::new(data);
    let head = (|| {
        let (length, padding, number) = (r.u32()?, r.u8()?, r.u8()?);
        r.skip(16)?; // cookie
        let methods = usize::try_from(r.u32()?).unwrap_or(usize::MAX);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        Ok::<_, Short>((length, padding, number, methods))
    })();
    let Ok((length, padding, number, methods)) = head else {
        let begun = [0, 0].iter().zip(data).all(|(a, b)| a == b)
            && data.get(5).is_none_or(|n| *n == message::KEXINIT);
        return if begun { Verdict::More } else { Verdict::No };
    };
    let fits = length <= PACKET_MAX && padding >= PADDING_LEAST && number == message::KEXINIT;
    if !fits || methods < METHODS_LEAST || methods >= length {
        return Verdict::No;
    }
    match r.take(methods) {
        Ok(list) if list.iter().all(u8::is_ascii_graphic) => Verdict::Yes,
        Err(Short) if r.rest().iter().all(u8::is_ascii_graphic) => Verdict::More,
        _ => Verdict::No,
    }
}

/// A name-list (RFC 4251 section 5) as text.
fn names(r: &mut Reader<'_>) -> Result<String, Short> {
    let length = usize::try_from(r.u32()?).map_err(|_| Short)?;
    Ok(r.take(length)?.escape_ascii().to_string())
}
