//! What a request and its answer tell beyond HTTP: a tool that speaks it, a tunnel in it, a protocol that only looks like it.
//!
//! In: the fields of a request and of its answer. Out: whose they are, once the answer's head is over. A further tool that shows in
//! its exchange is an arm of [`Exchange::tells`].

use super::tunnel::{REGEORG, WEBSOCKET, is_regeorg, websocket};
use crate::http_tool::{End, HttpTool};
use crate::{Dir, Http, Kind, Out};

pub(super) const FALSE_WEBSOCKET: Kind = Kind {
    name: "http.false_websocket",
    decibans: 33,
    says: "a WebSocket whose key is not hashed into its answer and whose client goes on all the same: simple-obfs (obfs_http.c; RFC 6455 section 4)",
};
pub(super) const TOR_DIRECTORY: Kind = Kind {
    name: "http.tor_directory",
    decibans: 33,
    says: "a document below /tor/ was served together with the asker's address (Tor's dir-spec section 4)",
};
pub(super) const TOOL: Kind = Kind {
    name: "http.tool",
    decibans: 30,
    says: "the request is one that a remote-management or remote-desktop tool makes, by its target and the name it goes by, and was answered",
};

/// `Sec-WebSocket-Key`: 16 random bytes in base64 (RFC 6455 section 4.1).
const KEY: usize = 24;
/// `Sec-WebSocket-Accept` is a SHA-1 in base64, 28 characters (RFC 6455 section 4.2.2). simple-obfs sends 16 random bytes instead.
const FALSE_ACCEPT: usize = 24;
/// All of Tor's directory documents are below this (dir-spec section 4).
const TOR_DOCUMENTS: &str = "/tor/";
const SWITCHING_PROTOCOLS: u16 = 101;

/// What an exchange is.
#[derive(Debug)]
pub(super) struct Told {
    kind: &'static Kind,
    label: &'static str,
    tool: Option<&'static str>,
    detail: Box<str>,
    operated: Option<End>,
    /// What follows is no protocol that could be read on.
    pub(super) opaque: bool,
}

impl Told {
    fn new(kind: &'static Kind, label: &'static str, detail: impl Into<Box<str>>) -> Self {
        Self { kind, label, tool: None, detail: detail.into(), operated: None, opaque: false }
    }

    /// Says it of the flow; the answer went in direction `dir`.
    pub(super) fn say(self, dir: Dir, out: &mut Out) {
        out.evidence(self.kind, self.detail);
        out.is(self.label);
        out.tool = self.tool.or(out.tool);
        out.controlled = self.operated.map(|end| match end {
            End::Client => dir.receiver(),
            End::Server => dir.sender(),
        });
    }
}

/// Fields that count, of the exchange at work.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Exchange {
    key: bool,
    version: bool,
    /// The program that tunnels through the WebSocket asked for.
    socket: Option<&'static str>,
    regeorg: [bool; 2],
    false_accept: bool,
    your_address: bool,
}

impl Exchange {
    /// A field of the request.
    pub(super) fn asked(&mut self, name: &[u8], value: &[u8]) {
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        if is(b"sec-websocket-key") {
            self.key |= value.len() == KEY;
        } else if is(b"sec-websocket-version") {
            self.version = true;
        } else if is(b"sec-websocket-protocol") {
            self.socket = self.socket.or_else(|| websocket(value));
        } else if is(b"x-cmd") {
            self.regeorg[0] |= is_regeorg(value);
        }
    }

    /// A field of the answer.
    pub(super) fn answered(&mut self, name: &[u8], value: &[u8]) {
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        if is(b"sec-websocket-accept") {
            self.false_accept |= value.len() == FALSE_ACCEPT;
        } else if is(b"x-your-address-is") {
            // Relays tell whoever asks a directory which address they see (dir-spec section 4).
            self.your_address = true;
        } else if is(b"x-status") {
            self.regeorg[1] |= value == b"OK";
        }
    }

    /// What the whole exchange is. A WebSocket's client must name the version (RFC 6455 section 4.1) and fail the connection on a
    /// false answer (section 4.1): going on with it is no WebSocket.
    pub(super) fn tells(&self, http: &Http, status: u16) -> Option<Told> {
        let (switched, served) = (status == SWITCHING_PROTOCOLS, (200..300).contains(&status));
        let target = http.url.as_deref().unwrap_or_default();
        if let Some(tool) = HttpTool::of(http, status) {
            return Some(Told { operated: tool.operated, ..Told::new(&TOOL, tool.label, tool.detail) });
        }
        if switched && self.key && !self.version && self.false_accept {
            let host = http.hostname.clone().unwrap_or_default();
            return Some(Told { opaque: true, ..Told::new(&FALSE_WEBSOCKET, "shadowsocks", host) });
        }
        if let Some(tool) = self.socket.filter(|_| switched) {
            return Some(Told { tool: Some(tool), ..Told::new(&WEBSOCKET, "websocket_tunnel", tool) });
        }
        if served && self.your_address && target.starts_with(TOR_DOCUMENTS) {
            return Some(Told::new(&TOR_DIRECTORY, "tor", target));
        }
        if status == 200 && self.regeorg == [true; 2] {
            return Some(Told { tool: Some("reGeorg"), ..Told::new(&REGEORG, "http_tunnel", "") });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The label that comes of these fields, this status and this target.
    fn told(
        asked: &[(&str, &str)],
        answered: &[(&str, &str)],
        status: u16,
        target: &str,
    ) -> Option<&'static str> {
        let mut exchange = Exchange::default();
        asked.iter().for_each(|(name, value)| exchange.asked(name.as_bytes(), value.as_bytes()));
        answered.iter().for_each(|(name, value)| exchange.answered(name.as_bytes(), value.as_bytes()));
        let http = Http { url: Some(target.into()), ..Http::default() };
        exchange.tells(&http, status).map(|told| told.label)
    }

    const ASKED: (&str, &str) = ("Sec-WebSocket-Key", "Lt7wAMa/Zks58/0IEiPQFw==");

    #[test]
    fn an_accept_that_is_no_hash_is_simple_obfs() {
        let answered = [("Sec-WebSocket-Accept", "c0gzZlHcsHT/XEkZSpToKg==")];
        assert_eq!(told(&[ASKED], &answered, 101, "/"), Some("shadowsocks"));
        assert_eq!(told(&[ASKED], &answered, 200, "/"), None);
        let versioned = [ASKED, ("Sec-WebSocket-Version", "13")];
        assert_eq!(told(&versioned, &answered, 101, "/"), None, "a clumsy WebSocket server");
    }

    #[test]
    fn a_real_websocket_tells_nothing() {
        let answered = [("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")];
        assert_eq!(told(&[ASKED], &answered, 101, "/"), None);
    }

    #[test]
    fn a_directory_document_and_the_askers_address_are_tor_and_neither_alone_is() {
        let answered = [("X-Your-Address-Is", "203.0.113.9")];
        let target = "/tor/status-vote/current/consensus-microdesc";
        assert_eq!(told(&[], &answered, 200, target), Some("tor"));
        assert_eq!(told(&[], &answered, 404, target), None);
        assert_eq!(told(&[], &answered, 200, "/index.html"), None);
        assert_eq!(told(&[], &[], 200, target), None);
    }
}
