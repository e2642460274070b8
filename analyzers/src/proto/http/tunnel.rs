//! Tunnels in HTTP/1: GNU httptunnel, reGeorg, and the programs that tunnel through a WebSocket (wstunnel, chisel), by their requests.
//!
//! In: a request's target and fields, and the body of an httptunnel connection. Out: whose request it is; what httptunnel carries.

use crate::{Kind, Reader, Short};

pub(super) const HTTPTUNNEL: Kind = Kind {
    name: "http.httptunnel",
    decibans: 40,
    says: "a target with `?crap=` and a number, and a body of httptunnel's frames (GNU httptunnel 3, tunnel.c)",
};
pub(super) const REGEORG: Kind = Kind {
    name: "http.regeorg",
    decibans: 35,
    says: "a request with reGeorg's X-CMD field, answered with its X-STATUS: OK (reGeorgSocksProxy.py)",
};
pub(super) const WEBSOCKET: Kind = Kind {
    name: "http.websocket_tunnel",
    decibans: 40,
    says: "the WebSocket was opened with the subprotocol of a tunnel: chisel-v3, tunnel-protocol (npm wstunnel), or a token that names \
           where to go (wstunnel); and granted",
};

/// What httptunnel's requests end in, before digits.
const CRAP: &[u8] = b"?crap=";

/// Whether a target is one of httptunnel's.
pub(super) fn is_httptunnel(target: &[u8]) -> bool {
    let at = target.windows(CRAP.len()).position(|w| w == CRAP);
    let number = at.and_then(|at| target.get(at.saturating_add(CRAP.len())..)).unwrap_or_default();
    number.len() >= 6 && number.iter().all(u8::is_ascii_digit)
}

/// Whether the value of X-CMD is one of reGeorg's.
pub(super) fn is_regeorg(command: &[u8]) -> bool {
    matches!(command, b"CONNECT" | b"READ" | b"FORWARD" | b"DISCONNECT")
}

/// The tunnel that a list of WebSocket subprotocols asks for.
pub(super) fn websocket(protocols: &[u8]) -> Option<&'static str> {
    for item in protocols.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
        if let Some(version) = item.strip_prefix(b"chisel-v")
            && !version.is_empty()
            && version.iter().all(u8::is_ascii_digit)
        {
            return Some("chisel");
        }
        if item == b"tunnel-protocol"
            || item.strip_prefix(b"authorization.bearer.").is_some_and(is_wstunnel_token)
        {
            return Some("wstunnel");
        }
    }
    None
}

/// A JSON Web Token whose claims are an identifier, a protocol, a remote host and its port (wstunnel, `JwtTunnelConfig`).
fn is_wstunnel_token(token: &[u8]) -> bool {
    let Some(claims) = token.split(|b| *b == b'.').nth(1).filter(|_| token.starts_with(b"eyJ")) else {
        return false;
    };
    let claims = base64url(claims);
    let has = |what: &[u8]| claims.windows(what.len()).any(|w| w == what);
    claims.starts_with(b"{\"id\":\"") && has(b",\"p\":") && has(b",\"r\":\"") && has(b",\"rp\":")
}

fn base64url(text: &[u8]) -> Vec<u8> {
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0_u32);
    for b in text {
        let value = match b {
            b'A'..=b'Z' => b.wrapping_sub(b'A'),
            b'a'..=b'z' => b.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => b.wrapping_sub(b'0').wrapping_add(52),
            b'-' => 62,
            b'_' => 63,
            _ => break,
        };
        (bits, held) = ((bits << 6) | u32::from(value), held.saturating_add(6));
        if let Some(rest) = held.checked_sub(8) {
            bytes.push(u8::try_from((bits >> rest) & 0xFF).unwrap_or(0));
            held = rest;
        }
    }
    bytes
}

/// Requests of httptunnel's frames (tunnel.c): those with bit 6 have no length and no data.
mod frame {
    pub(super) const OPEN: u8 = 0x01;
    pub(super) const DATA: u8 = 0x02;
    pub(super) const PADDING: u8 = 0x03;
    pub(super) const ERROR: u8 = 0x04;
    pub(super) const PAD1: u8 = 0x45;
    pub(super) const CLOSE: u8 = 0x46;
    pub(super) const DISCONNECT: u8 = 0x47;
}

/// The frames of one body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Frames {
    /// Bytes left of the frame at work, and whether they are data.
    left: usize,
    data: bool,
    /// A frame with data was read.
    pub(super) some: bool,
}

impl Frames {
    /// Takes what it can of `body`; the data in it goes to `inner`. `None` for what is no frame.
    pub(super) fn take(&mut self, body: &[u8], inner: &mut Vec<u8>) -> Option<usize> {
        let mut r = Reader::new(body);
        loop {
            if self.left > 0 {
                let n = self.left.min(r.rest().len());
                let piece = r.take(n).unwrap_or_default();
                if self.data {
                    inner.extend_from_slice(piece);
                }
                self.left = self.left.saturating_sub(n);
                if self.left > 0 || r.is_empty() {
                    return Some(r.taken());
                }
            }
            let taken = r.taken();
            match Self::head(&mut r) {
                Err(Short) => return Some(taken),
                Ok(None) => return None,
                Ok(Some((data, left))) => {
                    self.some |= left > 0; // one byte of padding may be a letter
                    (self.data, self.left) = (data, left);
                }
            }
        }
    }

    fn head(r: &mut Reader<'_>) -> Result<Option<(bool, usize)>, Short> {
        match r.u8()? {
            frame::PAD1 | frame::CLOSE | frame::DISCONNECT => Ok(Some((false, 0))),
            // Its data is one byte.
            frame::OPEN => Ok((r.u16()? == 1).then_some((false, 1))),
            kind @ (frame::DATA | frame::PADDING | frame::ERROR) => {
                let length = usize::from(r.u16()?);
                Ok((length > 0 || kind != frame::DATA).then_some((kind == frame::DATA, length)))
            }
            _ => Ok(None),
        }
    }
}
