//! MeshCentral inside TLS: its agent's control connection, the relayed sessions of agents and operators, the operator's command line.
//!
//! In: the server's certificate up to TLS 1.2, and the lengths of the first records. Out: the label `meshcentral`, and that the agent's
//! machine is the one that is operated. Of a session under way an agent's control connection is known by the way it writes alone.
//!
//! Everything is a WebSocket message here, and small messages have fixed lengths. The agent writes a frame's header, mask and payload
//! one by one, so each is a record of its own; server, browser and command line write a frame at once.

use super::{Answer, RECORDS, Record, Rule, overhead};
use crate::tls_record::content;
use crate::{Basis, FirstBytes, Kind, Meta, Out, Side, Tls};

#[path = "meshcentral_in_tls/writer.rs"]
mod writer;
use writer::{PIECEWISE, WHOLE_MAX, Writer};

const CERTIFICATE: Kind = Kind {
    name: "meshcentral_in_tls.certificate",
    decibans: 30,
    says: "the certificate is issued by a root that a MeshCentral server makes for itself (MeshCentral's certoperations.js)",
};
const AGENT: Kind = Kind {
    name: "meshcentral_in_tls.agent",
    decibans: 38,
    says: "records as long as the agent's and the server's AuthRequest, AuthVerify and AuthConfirm (MeshCentral's meshagent.js, agentcore.h)",
};
const RELAY_AGENT: Kind = Kind {
    name: "meshcentral_in_tls.relay_agent",
    decibans: 28,
    says: "records as long as a relayed session's first messages, on a connection that an agent opened (meshrelay.js, and as recorded)",
};
const RELAY_OPERATOR: Kind = Kind {
    name: "meshcentral_in_tls.relay_operator",
    decibans: 25,
    says: "records as long as a relayed session's first messages, on an operator's connection (meshrelay.js, agent-redir-ws.js, meshctrl.js)",
};
const CONSOLE: Kind = Kind {
    name: "meshcentral_in_tls.console",
    decibans: 22,
    says: "a server with a key of 3,072 bits greets with two long messages, as the console's does, and is asked for a cookie (meshctrl.js)",
};

const WRITES: Kind = Kind {
    name: "meshcentral_in_tls.writes",
    decibans: 20,
    says: "one side writes header, mask and payload of each WebSocket frame as records of their own, as MeshCentral's agent does (recorded)",
};

/// How the issuer's name begins; six hex digits of the root's fingerprint follow (`certoperations.js`).
const ROOT: &str = "CN=MeshCentralRoot-";
const ROOT_DIGITS: usize = 6;

/// Lengths of messages in bytes.
mod message {
    /// AuthRequest: command, two hashes of SHA-384 (hash of the certificate, nonce).
    pub(super) const AUTH_REQUEST: u16 = 2 + 48 + 48;
    /// AuthVerify: command, length, certificate and signature. Keys have 2,048 or 3,072 bits.
    pub(super) const AUTH_VERIFY: std::ops::RangeInclusive<u16> = 700..=2600;
    /// AuthConfirm is its command alone; proxies may join the question for the core's hash (two bytes of header, four) to it.
    pub(super) const AUTH_CONFIRM: [u16; 2] = [2, 2 + 2 + 4];
    /// A relay says `c` to both ends when they are connected, `cr` where it records.
    pub(super) const CONNECTED: std::ops::RangeInclusive<u16> = 1..=2;
    /// The kind of session, in digits: 1 terminal, 2 desktop, 5 files, 10 …
    pub(super) const SESSION_KIND: std::ops::RangeInclusive<u16> = 1..=2;
    /// What the operator's side may say before it: options, a measurement of the round trip.
    pub(super) const OPTIONS: std::ops::RangeInclusive<u16> = 40..=700;
    pub(super) const OPTIONS_MAX: usize = 3;
    /// `{"action":"authcookie"}`, the command line's first message.
    pub(super) const COOKIE: u16 = 23;
    /// What the server tells of itself and of the operator, unasked.
    pub(super) const GREETING_LEAST: u16 = 300;
}

/// The answer of Node's `ws` to an opening: status, Upgrade, Connection, Sec-WebSocket-Accept; nginx adds its name and the date.
const SWITCHED: [u16; 2] = [129, 129 + 15 + 37];
/// As any proxy may have it.
const SWITCHED_SOMEHOW: std::ops::RangeInclusive<u16> = 129..=256;
/// Shorter is no opening of any of these connections: that of an agent has 146 bytes beside its host name.
const OPENING_LEAST: u16 = 130;
/// An opening of a relayed session has cookies in its target.
const RELAY_OPENING_LEAST: u16 = 200;
/// What the agent's HTTP client writes behind a relayed session's opening, as a record of its own (recorded, agents of 2022 and later).
const RELAY_AGENT_TAIL: u16 = 21;
/// CertificateVerify with RSA of 3,072 bits (RFC 8446 section 4.4.3), which MeshCentral makes its keys with.
const STRONG_VERIFY: u16 = 4 + 2 + 2 + 384;
/// Finished with SHA-256 and with SHA-384 (RFC 8446 section 4.4.4).
const FINISHED: [u16; 2] = [4 + 32, 4 + 48];
/// WebSocket header, mask (RFC 6455 section 5.2).
const HEADER: u16 = 2;
const LONG_HEADER: u16 = 4;
const MASK: u16 = 4;
const SHORT_PAYLOAD_MAX: u16 = 125;
/// Records of the server by which an opening is answered: its part of the handshake and tickets come before.
const ANSWERED_BY: usize = 12;

/// Lengths of what is inside the records, by direction.
#[derive(Debug, Default)]
pub struct State {
    overhead: u16,
    client: Vec<u16>,
    server: Vec<u16>,
    /// Of a session under way, by side (the opener's first).
    writers: Option<[Writer; 2]>,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Agent,
    RelayAgent,
    RelayOperator,
    Console,
}

/// Payload lengths of the frames that records of these lengths are, header, mask and payload in one or in records of their own.
fn frames(records: &[u16], mask: u16) -> impl Iterator<Item = u16> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let (head, behind) = rest.split_first()?;
        let behind = match behind {
            [m, behind @ ..] if mask > 0 && *m == mask => Some(behind),
            behind if mask == 0 => Some(behind),
            _ => None,
        };
        let split = behind.and_then(|behind| behind.split_first()).filter(|(payload, _)| {
            (*head == HEADER && **payload <= SHORT_PAYLOAD_MAX)
                || (*head == LONG_HEADER && **payload > SHORT_PAYLOAD_MAX)
        });
        if let Some((payload, behind)) = split {
            rest = behind;
            return Some(*payload);
        }
        rest = rest.get(1..)?;
        let short = head.saturating_sub(HEADER.saturating_add(mask));
        Some(if short > SHORT_PAYLOAD_MAX { short.saturating_sub(2) } else { short })
    })
}

/// Whether a kind of session is told after at most a few options; at least `least` of them.
fn tells_kind(mut frames: impl Iterator<Item = u16>, least: usize) -> bool {
    let mut options = 0_usize;
    loop {
        match frames.next() {
            Some(n) if message::SESSION_KIND.contains(&n) => return options >= least,
            Some(n) if message::OPTIONS.contains(&n) && options < message::OPTIONS_MAX => {
                options = options.saturating_add(1);
            }
            _ => return false,
        }
    }
}

impl State {
    /// The client's opening and what follows it.
    fn opening(&self) -> Option<(u16, &[u16])> {
        let records = match self.client.split_first() {
            Some((first, behind)) if FINISHED.contains(first) => behind,
            _ => &self.client,
        };
        records.split_first().map(|(opening, behind)| (*opening, behind))
    }

    /// What the server may say once it has switched to WebSocket, for each record that may be that answer.
    fn switched(&self, is_answer: impl Fn(u16) -> bool) -> impl Iterator<Item = &[u16]> {
        let at = move |(at, n): (usize, &u16)| is_answer(*n).then_some(at.saturating_add(1));
        self.server.iter().enumerate().filter_map(at).filter_map(|at| self.server.get(at..))
    }

    fn role(&self) -> Option<Role> {
        let (opening, said) = self.opening()?;
        if self.is_agent(said) {
            return Some(Role::Agent);
        }
        if opening >= RELAY_OPENING_LEAST && said.first() == Some(&RELAY_AGENT_TAIL) {
            let relayed = self.switched(|n| SWITCHED_SOMEHOW.contains(&n)).any(|answers| {
                let mut heard = frames(answers, 0);
                heard.next().is_some_and(|n| message::CONNECTED.contains(&n)) && tells_kind(heard, 0)
            });
            return relayed.then_some(Role::RelayAgent);
        }
        let answers = self.switched(|n| SWITCHED.contains(&n)).next()?;
        let mut heard = frames(answers, 0);
        let first = heard.next()?;
        if opening >= RELAY_OPENING_LEAST && message::CONNECTED.contains(&first) {
            return tells_kind(frames(said, MASK), 1).then_some(Role::RelayOperator);
        }
        let greets = first >= message::GREETING_LEAST && heard.next()? >= message::GREETING_LEAST;
        let asks = frames(said, MASK).next()? == message::COOKIE;
        (greets && asks && self.server.contains(&STRONG_VERIFY)).then_some(Role::Console)
    }

    /// Whether both sides have proved themselves as agent and server do. Proxies in between may change the answer to the opening.
    fn is_agent(&self, said: &[u16]) -> bool {
        let mut ours = frames(said, MASK);
        let asked = ours.any(|n| n == message::AUTH_REQUEST);
        if !asked || !ours.any(|n| message::AUTH_VERIFY.contains(&n)) {
            return false;
        }
        let theirs: Vec<u16> = frames(&self.server, 0).collect();
        let Some(at) = theirs.iter().position(|n| *n == message::AUTH_REQUEST) else { return false };
        match theirs.get(at.saturating_add(1)..) {
            Some([confirm, ..]) if message::AUTH_CONFIRM.contains(confirm) => true,
            Some([verify, confirm, ..]) => {
                message::AUTH_VERIFY.contains(verify) && message::AUTH_CONFIRM.contains(confirm)
            }
            _ => false,
        }
    }

    /// Whether nothing can come of it any more.
    fn is_hopeless(&self) -> bool {
        let short = self.opening().is_some_and(|(opening, _)| opening < OPENING_LEAST);
        let unanswered = self.server.len() > ANSWERED_BY
            && self.switched(|n| SWITCHED_SOMEHOW.contains(&n)).next().is_none()
            && !self.server.contains(&HEADER.saturating_add(message::AUTH_REQUEST))
            && !self.server.contains(&message::AUTH_REQUEST);
        short || unanswered
    }
}

impl Rule for State {
    const META: Meta = Meta {
        name: "meshcentral_in_tls",
        title: "MeshCentral inside TLS",
        label: Some("meshcentral"),
        app_proto: "tls",
        transports: &[],
        ports: &[],
        first: FirstBytes::ANY,
        budget: 65_536,
        carrier: false,
        reference: "MeshCentral sources (Apache-2.0): meshagent.js, meshrelay.js, certoperations.js, public/scripts/agent-redir-ws.js, meshctrl.js; \
                    MeshAgent, meshcore/agentcore.h",
        evidence: &[CERTIFICATE, AGENT, RELAY_AGENT, RELAY_OPERATOR, CONSOLE, WRITES],
    };

    fn on_hellos(&mut self, tls: &Tls, out: &mut Out) -> Answer {
        let of_root = tls.issuer.as_deref().and_then(|issuer| {
            let name = issuer.split(", ").find_map(|part| part.strip_prefix(ROOT))?;
            let hex = name.len() == ROOT_DIGITS && name.bytes().all(|b| b.is_ascii_hexdigit());
            hex.then_some(name)
        });
        if let Some(name) = of_root {
            out.evidence(&CERTIFICATE, format!("{ROOT}{name}"));
            out.is("meshcentral");
        }
        // Agent and command line speak of no protocol, browsers of HTTP/1.1 alone when they open a WebSocket.
        let offers = tls.alpn_offered.iter().all(|protocol| &**protocol == "http/1.1");
        let Some(overhead) = overhead(tls).filter(|_| offers) else { return Answer::No };
        self.overhead = overhead;
        Answer::Wait
    }

    fn on_midstream(&mut self) -> Answer {
        self.writers = Some(Default::default());
        Answer::Wait
    }

    fn on_record(&mut self, _: &Tls, record: &Record, out: &mut Out) -> Answer {
        if record.kind != content::APPLICATION_DATA {
            return Answer::Wait;
        }
        if let Some([opener, other]) = &mut self.writers {
            let (side, writer) =
                if record.from_client { (Side::Src, &mut *opener) } else { (Side::Dest, &mut *other) };
            if writer.push(record.len) {
                out.client.get_or_insert(side);
                out.controlled = Some(side);
                out.evidence(&WRITES, format!("{PIECEWISE} frames in a row"));
                out.basis = Basis::Midstream;
                out.is("meshcentral");
                return Answer::Yes;
            }
            let over = opener.others.max(other.others) >= WHOLE_MAX;
            return if over { Answer::No } else { Answer::Wait };
        }
        let sent = if record.from_client { &mut self.client } else { &mut self.server };
        if sent.len() >= usize::from(RECORDS) {
            return Answer::No;
        }
        sent.push(record.len.saturating_sub(self.overhead));
        let Some(role) = self.role() else {
            return if self.is_hopeless() { Answer::No } else { Answer::Wait };
        };
        let (kind, says, agent) = match role {
            Role::Agent => (&AGENT, "an agent's control connection", true),
            Role::RelayAgent => (&RELAY_AGENT, "a session into the agent's machine", true),
            Role::RelayOperator => (&RELAY_OPERATOR, "an operator's session", false),
            Role::Console => (&CONSOLE, "an operator's command line", false),
        };
        if agent {
            out.controlled = out.client;
        }
        out.evidence(kind, says);
        if out.label.is_none() {
            out.basis = Basis::Behaviour;
        }
        out.is("meshcentral");
        Answer::Yes
    }
}

#[cfg(test)]
pub(crate) fn fixtures() -> Vec<super::Fixture> {
    tests::all()
}

#[cfg(test)]
#[path = "meshcentral_in_tls/tests.rs"]
mod tests;
