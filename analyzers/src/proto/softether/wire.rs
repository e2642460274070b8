//! Wire formats of what SoftEther sends in datagrams.
//!
//! In: one datagram, or the payload of an ICMP echo. Out: what it is, or `None`.

use crate::Reader;
use sha1::{Digest, Sha1};
use std::fmt;

/// SHA-1.
const HASH: usize = 20;
/// Initialisation vectors of UDP acceleration, versions 1 and 2 (UDP_ACCELERATION_PACKET_IV_SIZE_V1 and _V2).
const IV_V1: usize = 20;
const IV_V2: usize = 12;
/// Vector, and what a packet has at least: cookie, two times and a length in version 2, with its tag (Cedar/UdpAccel.c).
const LEAST: usize = IV_V2 + 4 + 8 + 8 + 2 + 16;
/// Different values that this many random bytes have at least (24 random bytes have fewer once in some hundred).
const VARIED_OF: usize = 24;
const VARIED: u32 = 19;
/// … and those of a vector alone.
const VARIED_IV: u32 = 8;

/// What a packet of UDP acceleration tells of the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    /// Version 1: the last bytes.
    last: [u8; IV_V1],
    /// Version 2: how the ciphertext begins.
    first: [u8; IV_V2],
}

impl Told {
    /// By a packet; `None` for what is too short or not varied enough to be ciphertext.
    pub(super) fn by(data: &[u8]) -> Option<Self> {
        let varied = data.get(..VARIED_OF).is_some_and(|head| values(head) >= VARIED);
        if data.len() < LEAST || !varied {
            return None;
        }
        let last = *data.last_chunk()?;
        let first = *data.get(IV_V2..)?.first_chunk()?;
        (values(&first) >= VARIED_IV).then_some(Self { last, first })
    }

    /// The version by which `next` begins with what was told.
    pub(super) fn version(&self, next: &[u8]) -> Option<u8> {
        if next.len() < LEAST {
            return None;
        }
        if next.starts_with(&self.first) {
            return Some(2);
        }
        (next.starts_with(&self.last) && values(&self.last) >= VARIED_IV).then_some(1)
    }
}

/// How many different values the bytes have.
fn values(bytes: &[u8]) -> u32 {
    let mut seen = [0_u64; 4];
    for b in bytes {
        if let Some(word) = seen.get_mut(usize::from(b >> 6)) {
            *word |= 1 << (b & 63);
        }
    }
    seen.iter().map(|word| word.count_ones()).sum()
}

/// Whether the payload of an echo is signed: it begins with the SHA-1 of the rest, which is an opening (20 bytes of key, 19 of noise) or
/// longer.
pub(crate) fn is_signed(data: &[u8]) -> bool {
    const OPENING: usize = HASH + 19;
    const LONGEST: usize = 2_048;
    let Some((signature, rest)) = data.split_at_checked(HASH) else { return false };
    // The payloads of ping are anything but varied.
    if !(OPENING..=LONGEST).contains(&rest.len()) || values(signature) < 13 {
        return false;
    }
    Sha1::digest(rest).as_slice() == signature
}

/// A question of R-UDP over DNS: what it has in place of EDNS options. Nobody asks for the keys of a name of one label, and options
/// (RFC 6891 section 6.1.2) have codes and lengths.
pub(crate) fn dns_question(data: &[u8]) -> Option<&[u8]> {
    /// Recursion desired, one question, one additional record; a label of eight characters.
    const HEAD: &[u8] = b"\x01\0\0\x01\0\0\0\0\0\x01\x08";
    const NAME: usize = 8;
    /// The root, type DNSKEY, class Internet; then the root, OPT, 4,096 bytes, no error, DNSSEC wanted (RFC 3225).
    const TAIL: &[u8] = b"\0\0\x30\0\x01\0\0\x29\x10\0\0\0\x80\0";

    let mut r = Reader::new(data);
    r.skip(2).ok()?;
    let head = r.take(HEAD.len()).ok()?;
    let name = r.take(NAME).ok()?;
    let tail = r.take(TAIL.len()).ok()?;
    let hex = name.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let options = r.vec16().ok()?;
    let fits = head == HEAD && hex && tail == TAIL && r.is_empty();
    (fits && options.len() >= HASH && !add_up(options)).then_some(options)
}

/// Whether EDNS options fill the bytes.
fn add_up(options: &[u8]) -> bool {
    let mut r = Reader::new(options);
    while !r.is_empty() {
        if r.u16().and_then(|_| r.vec16()).is_err() {
            return false;
        }
    }
    true
}

/// The shortest question to the NAT traversal service: what are my address and port?
pub(super) const WHO_AM_I: &[u8] = b"A";

/// Whether it is the answer to that: `IP=192.0.2.1,PORT=50000`.
pub(super) fn is_address(data: &[u8]) -> bool {
    let parts = || {
        let text = std::str::from_utf8(data).ok()?;
        let (ip, port) = text.strip_prefix("IP=")?.split_once(",PORT=")?;
        Some(ip.parse::<std::net::IpAddr>().is_ok() && port.parse::<u16>().is_ok())
    };
    parts() == Some(true)
}

/// Whether a PACK of the NAT traversal service is an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
}

/// A PACK of the NAT traversal service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NatT<'a> {
    pub(super) answer: Answer,
    operation: &'a str,
}

impl fmt::Display for NatT<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operation)?;
        if self.answer == Answer::Yes { f.write_str(", answered") } else { Ok(()) }
    }
}

/// A PACK (Mayaqua/Pack.c): number of elements, then for each its name, type, number of values and values; all of it, to the last byte.
pub(super) fn nat_t(data: &[u8]) -> Option<NatT<'_>> {
    const ELEMENTS_MAX: u32 = 64;
    const NAME_MAX: usize = 64;
    const VALUES_MAX: u32 = 64;

    let mut r = Reader::new(data);
    let elements = r.u32().ok().filter(|n| (2..=ELEMENTS_MAX).contains(n))?;
    let (mut operation, mut transaction, mut versioned, mut answer) = (None, false, false, Answer::No);
    for _ in 0..elements {
        // The length counts the zero that is not sent.
        let len = usize::try_from(r.u32().ok()?).ok()?.checked_sub(1).filter(|n| *n <= NAME_MAX)?;
        let name = r.take(len).ok()?;
        let (kind, count) = (r.u32().ok()?, r.u32().ok()?);
        if count > VALUES_MAX || !name.iter().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        for _ in 0..count {
            let value = match kind {
                0 => r.take(4).ok()?,
                1..=3 => {
                    let len = usize::try_from(r.u32().ok()?).ok()?;
                    r.take(len).ok()?
                }
                4 => r.take(8).ok()?,
                _ => return None,
            };
            if name == b"opcode" && kind == 2 {
                operation = std::str::from_utf8(value).ok();
            }
        }
        match name {
            b"tran_id" => transaction = true,
            b"nat_traversal_version" => versioned = true,
            b"isret" => answer = Answer::Yes,
            _ => {}
        }
    }
    let operation = operation.filter(|o| o.starts_with("nat_t_") || *o == "get_token")?;
    let whole = r.is_empty() && transaction && (versioned || answer == Answer::Yes);
    whole.then_some(NatT { answer, operation })
}
