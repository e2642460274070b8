//! What an HTTP exchange tells of a tool that only pretends to be a web site, or that has a protocol of its own inside HTTP.
//!
//! In: the fields of a request and of its answer. Out: what it is: Shadowsocks behind simple-obfs (`obfs=http`), whose WebSocket is none,
//! or Tor's directory protocol.

/// `Sec-WebSocket-Key`: 16 random bytes in base64 (RFC 6455 section 4.1).
const KEY: usize = 24;
/// `Sec-WebSocket-Accept` is a SHA-1 in base64, 28 characters (RFC 6455 section 4.2.2). simple-obfs sends 16 random bytes instead.
const FALSE_ACCEPT: usize = 24;
/// All of Tor's directory documents are below this (dir-spec section 4).
const TOR_DOCUMENTS: &[u8] = b"/tor/";

/// A finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disguise {
    SimpleObfs,
    TorDirectory,
}

/// Fields that count, of the exchange at work.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Exchange {
    key: bool,
    version: bool,
    false_accept: bool,
    your_address: bool,
}

impl Exchange {
    /// A field of the request.
    pub(crate) fn asked(&mut self, name: &[u8], value: &[u8]) {
        self.key |= name.eq_ignore_ascii_case(b"sec-websocket-key") && value.len() == KEY;
        self.version |= name.eq_ignore_ascii_case(b"sec-websocket-version");
    }

    /// A field of the answer.
    pub(crate) fn answered(&mut self, name: &[u8], value: &[u8]) {
        self.false_accept |=
            name.eq_ignore_ascii_case(b"sec-websocket-accept") && value.len() == FALSE_ACCEPT;
        // Relays tell whoever asks a directory which address they see (dir-spec section 4).
        self.your_address |= name.eq_ignore_ascii_case(b"x-your-address-is");
    }

    /// What the whole exchange is. A WebSocket's client must name the version (RFC 6455 section 4.1) and fail the connection on such
    /// an answer (section 4.1): going on with it is no WebSocket.
    pub(crate) fn tells(self, status: u16, target: &[u8]) -> Option<Disguise> {
        match status {
            101 if self.key && !self.version && self.false_accept => Some(Disguise::SimpleObfs),
            200..300 if self.your_address && target.starts_with(TOR_DOCUMENTS) => {
                Some(Disguise::TorDirectory)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(asked: &[(&str, &str)], answered: &[(&str, &str)]) -> Exchange {
        let mut exchange = Exchange::default();
        asked.iter().for_each(|(name, value)| exchange.asked(name.as_bytes(), value.as_bytes()));
        answered.iter().for_each(|(name, value)| exchange.answered(name.as_bytes(), value.as_bytes()));
        exchange
    }

    const ASKED: (&str, &str) = ("Sec-WebSocket-Key", "Lt7wAMa/Zks58/0IEiPQFw==");

    #[test]
    fn an_accept_that_is_no_hash_is_simple_obfs() {
        let answered = [("Sec-WebSocket-Accept", "c0gzZlHcsHT/XEkZSpToKg==")];
        assert_eq!(exchange(&[ASKED], &answered).tells(101, b"/"), Some(Disguise::SimpleObfs));
        assert_eq!(exchange(&[ASKED], &answered).tells(200, b"/"), None);
        let versioned = [ASKED, ("Sec-WebSocket-Version", "13")];
        assert_eq!(exchange(&versioned, &answered).tells(101, b"/"), None, "a clumsy WebSocket server");
    }

    #[test]
    fn a_websocket_is_none() {
        let answered = [("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")];
        assert_eq!(exchange(&[ASKED], &answered).tells(101, b"/"), None);
    }

    #[test]
    fn a_directory_document_and_the_askers_address_are_tor_and_neither_alone_is() {
        let answered = [("X-Your-Address-Is", "203.0.113.9")];
        let target = b"/tor/status-vote/current/consensus-microdesc";
        assert_eq!(exchange(&[], &answered).tells(200, target), Some(Disguise::TorDirectory));
        assert_eq!(exchange(&[], &answered).tells(404, target), None);
        assert_eq!(exchange(&[], &answered).tells(200, b"/index.html"), None);
        assert_eq!(exchange(&[], &[]).tells(200, target), None);
    }
}
