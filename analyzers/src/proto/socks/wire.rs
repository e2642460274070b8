//! Wire format of SOCKS 4, 4a and 5.
//!
//! In: bytes of one direction. Out: messages and how many bytes they took; `None` for what is none, [`Short`] while the end is missing.

use crate::{Reader, Short};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) const V4: u8 = 4;
pub(super) const V5: u8 = 5;
/// Version byte of a SOCKS 4 reply.
pub(super) const V4_REPLY: u8 = 0;
/// Version byte of the user name and password messages (RFC 1929).
pub(super) const PASSWORD_VERSION: u8 = 1;
/// Authentication methods (RFC 1928 section 3).
pub(super) const NO_AUTHENTICATION: u8 = 0;
pub(super) const USER_PASSWORD: u8 = 2;
pub(super) const NONE_ACCEPTABLE: u8 = 0xFF;
const CONNECT: u8 = 1;
const BIND: u8 = 2;
const UDP_ASSOCIATE: u8 = 3;
/// Tor's look-ups (socks-extensions).
const RESOLVE: [u8; 2] = [0xF0, 0xF1];
/// SOCKS 4 reply codes: granted, then three refusals.
const V4_GRANTED: u8 = 90;
const V4_LAST: u8 = 93;
/// Reply codes up to this are assigned (RFC 1928 section 6).
const V5_LAST: u8 = 8;
/// Text of SOCKS 4 (user name, host name) is not waited for beyond this.
const TEXT_MAX: usize = 255;

/// Whether the bytes can be a client's from its first on; [`Short`] if they may become that.
pub(super) fn is_client(data: &[u8]) -> Result<bool, Short> {
    if data.first() == Some(&V4) {
        // Nothing goes behind a request before its answer.
        return Ok(request_v4(data)?.is_some_and(|(_, n)| n == data.len()));
    }
    let Some((_, n)) = greeting(data)? else { return Ok(false) };
    let behind = data.get(n..).unwrap_or(&[]);
    match behind.first() {
        None => Ok(true),
        Some(&PASSWORD_VERSION) => password(behind).map(|_| true),
        Some(_) => Ok(request_v5(behind)?.is_some()),
    }
}

/// Whether the bytes can be a proxy's from its first on. After a client's greeting the choice of a method is enough; alone, the reply
/// must be there too.
pub(super) fn is_proxy(data: &[u8], answers: bool) -> Result<bool, Short> {
    if answers {
        return Ok(false);
    }
    if data.first() == Some(&V4_REPLY) {
        return Ok(false);
    }
    let (method, n) = method(data)?;
    let mut rest = data.get(n..).unwrap_or(&[]);
    match method {
        Some(NO_AUTHENTICATION) => {}
        Some(USER_PASSWORD) => {
            let (_, n) = password_status(rest)?;
            rest = rest.get(n..).unwrap_or(&[]);
        }
        _ => return Ok(false),
    }
    Ok(reply_v5(rest)?.is_some())
}

/// A SOCKS 5 greeting: the methods offered.
pub(super) fn greeting(data: &[u8]) -> Result<Option<(&[u8], usize)>, Short> {
    let mut r = Reader::new(data);
    if r.u8()? != V5 {
        return Ok(None);
    }
    let methods = r.vec8()?;
    let known = |m: &u8| *m <= 9 || (0x80..NONE_ACCEPTABLE).contains(m);
    let distinct = |i: usize, m: &u8| methods.iter().skip(i.saturating_add(1)).all(|other| other != m);
    let fits = !methods.is_empty() && methods.iter().enumerate().all(|(i, m)| known(m) && distinct(i, m));
    Ok(fits.then(|| (methods, r.taken())))
}

/// Methods, for a person.
pub(super) fn names(methods: &[u8]) -> String {
    let name = |m: &u8| match *m {
        NO_AUTHENTICATION => "no authentication".to_owned(),
        1 => "GSSAPI".to_owned(),
        USER_PASSWORD => "user name and password".to_owned(),
        other => format!("method {other:#04x}"),
    };
    methods.iter().take(8).map(name).collect::<Vec<_>>().join(", ")
}

/// The proxy's choice; `None` if it is none.
pub(super) fn method(data: &[u8]) -> Result<(Option<u8>, usize), Short> {
    let mut r = Reader::new(data);
    let (version, method) = (r.u8()?, r.u8()?);
    Ok(((version == V5).then_some(method), r.taken()))
}

/// User name and password: only their length.
pub(super) fn password(data: &[u8]) -> Result<usize, Short> {
    let mut r = Reader::new(data);
    r.skip(1)?;
    r.vec8()?;
    r.vec8()?;
    Ok(r.taken())
}

/// Whether the password was right.
pub(super) fn password_status(data: &[u8]) -> Result<(bool, usize), Short> {
    let mut r = Reader::new(data);
    let (version, status) = (r.u8()?, r.u8()?);
    Ok((version == PASSWORD_VERSION && status == 0, r.taken()))
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    command: u8,
    host: String,
    port: u16,
}

impl Request {
    pub(super) const fn is_bind(&self) -> bool {
        self.command == BIND
    }

    pub(super) const fn is_udp(&self) -> bool {
        self.command == UDP_ASSOCIATE
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = match self.command {
            CONNECT => "CONNECT",
            BIND => "BIND",
            UDP_ASSOCIATE => "UDP ASSOCIATE",
            _ => "RESOLVE",
        };
        write!(f, "{command} {}:{}", self.host, self.port)
    }
}

/// A SOCKS 5 request.
pub(super) fn request_v5(data: &[u8]) -> Result<Option<(Request, usize)>, Short> {
    let mut r = Reader::new(data);
    let (version, command, reserved) = (r.u8()?, r.u8()?, r.u8()?);
    let known = matches!(command, CONNECT | BIND | UDP_ASSOCIATE) || RESOLVE.contains(&command);
    if version != V5 || !known || reserved != 0 {
        return Ok(None);
    }
    let Some(host) = address(&mut r)? else { return Ok(None) };
    let port = r.u16()?;
    Ok(Some((Request { command, host, port }, r.taken())))
}

/// A SOCKS 4 or 4a request.
pub(super) fn request_v4(data: &[u8]) -> Result<Option<(Request, usize)>, Short> {
    let mut r = Reader::new(data);
    let (version, command, port) = (r.u8()?, r.u8()?, r.u16()?);
    let address = Ipv4Addr::from(r.array::<4>()?);
    if version != V4 || !matches!(command, CONNECT | BIND) || port == 0 || address.is_multicast() {
        return Ok(None);
    }
    let Some(_user) = text(&mut r)? else { return Ok(None) };
    // 0.0.0.x with x not zero: a name follows (SOCKS 4A).
    let host = match address.octets() {
        [0, 0, 0, 0] => return Ok(None),
        [0, 0, 0, _] => {
            let Some(name) = text(&mut r)?.filter(|name| !name.is_empty()) else { return Ok(None) };
            name
        }
        _ => address.to_string(),
    };
    Ok(Some((Request { command, host, port }, r.taken())))
}

/// What the proxy answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    version: u8,
    code: u8,
}

impl Reply {
    pub(super) const fn granted(self) -> bool {
        if self.version == V5 { self.code == 0 } else { self.code == V4_GRANTED }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // RFC 1928 section 6.
        f.write_str(match (self.version, self.code) {
            (V5, 0) | (_, V4_GRANTED) => "granted",
            (V5, 2) => "not allowed by ruleset",
            (V5, 3) => "network unreachable",
            (V5, 4) => "host unreachable",
            (V5, 5) => "connection refused",
            (V5, 6) => "TTL expired",
            (V5, 7) => "command not supported",
            (V5, 8) => "address type not supported",
            _ => "failed",
        })
    }
}

/// A SOCKS 5 reply.
pub(super) fn reply_v5(data: &[u8]) -> Result<Option<(Reply, usize)>, Short> {
    let mut r = Reader::new(data);
    let (version, code, reserved) = (r.u8()?, r.u8()?, r.u8()?);
    if version != V5 || code > V5_LAST || reserved != 0 {
        return Ok(None);
    }
    if address(&mut r)?.is_none() {
        return Ok(None);
    }
    r.skip(2)?;
    Ok(Some((Reply { version, code }, r.taken())))
}

/// A SOCKS 4 reply; a code that is none is a refusal.
pub(super) fn reply_v4(data: &[u8]) -> Result<(Reply, usize), Short> {
    let mut r = Reader::new(data);
    let (version, code) = (r.u8()?, r.u8()?);
    r.skip(6)?;
    let code = if (V4_GRANTED..=V4_LAST).contains(&code) { code } else { V4_LAST };
    Ok((Reply { version, code }, r.taken()))
}

/// Address type and address (RFC 1928 section 5).
fn address(r: &mut Reader<'_>) -> Result<Option<String>, Short> {
    Ok(match r.u8()? {
        1 => Some(Ipv4Addr::from(r.array::<4>()?).to_string()),
        3 => {
            let name = r.vec8()?;
            let fits = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
            fits.then(|| String::from_utf8_lossy(name).into_owned())
        }
        4 => Some(format!("[{}]", Ipv6Addr::from(r.array::<16>()?))),
        _ => None,
    })
}

/// Printable ASCII up to a NUL.
fn text(r: &mut Reader<'_>) -> Result<Option<String>, Short> {
    let mut text = String::new();
    loop {
        match r.u8()? {
            0 => return Ok(Some(text)),
            b if (b.is_ascii_graphic() || b == b' ') && text.len() < TEXT_MAX => text.push(char::from(b)),
            _ => return Ok(None),
        }
    }
}
