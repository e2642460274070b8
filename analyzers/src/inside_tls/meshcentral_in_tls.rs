//! MeshCentral inside TLS: its agent's control connection, the relayed sessions of agents and operators, the operator's command line.
//!
//! In: the server's certificate up to TLS 1.2, and the lengths of the first records. Out: the label `meshcentral`, and that the agent's
//! machine is the one that is operated.
//!
//! Everything is a WebSocket message here, and small messages have fixed lengths. The agent writes a frame's header, mask and payload
//! one by one, so each is a record of its own; server, browser and command line write a frame at once.

use super::{Answer, RECORDS, Record, Rule, overhead};
use crate::tls_record::content;
use crate::{Basis, FirstBytes, Kind, Meta, Out, Tls};

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
        evidence: &[CERTIFICATE, AGENT, RELAY_AGENT, RELAY_OPERATOR, CONSOLE],
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

    fn on_record(&mut self, _: &Tls, record: &Record, out: &mut Out) -> Answer {
        if record.kind != content::APPLICATION_DATA {
            return Answer::Wait;
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
mod tests {
    use super::super::{Fixture, drive};
    use super::*;

    /// What a server with a key of 3,072 bits sends of its handshake, the client's Finished and its opening, tickets, the answer.
    macro_rules! opened {
        ($opening:expr, $($record:expr),* $(,)?) => {
            &[-23, -1220, -409, -69, 69, $opening, -282, -282, -146, $($record),*]
        };
    }

    const AGENT_KNOWS_SERVER: &[i32] = opened![
        190, 19, 21, 44, 19, 21, 55, 19, 21, 67, 19, 21, 19, 19, 21, 115, 19, 21, 104, -117, 21, 21, 1435,
        -21, 19, 21, 19, -23,
    ];
    const AGENT_ASKS_SERVER: &[i32] = opened![
        181, 19, 21, 44, 19, 21, 55, 19, 21, 67, 19, 21, 115, -117, 21, 21, 1435, -1485, 19, 21, 91, -21, 19,
        21, 19,
    ];
    const RELAY_AGENT_SIDE: &[i32] =
        &[-23, -1220, -409, -69, 69, -282, -282, 419, 38, -146, -20, -81, -20, 58];
    const RELAY_BROWSER: &[i32] = opened![517, 79, -20, 24, -120];
    const RELAY_COMMAND_LINE: &[i32] = opened![517, -20, 84, 24, -54];
    const COMMAND_LINE: &[i32] = opened![292, 46, -781, -1526];

    fn tls13() -> Tls {
        Tls { version: 0x0304, cipher: Some(0x1302), ..Tls::default() }
    }

    fn run(tls: Tls, lengths: &'static [i32]) -> Out {
        drive(&Fixture { name: "", tls, lengths })
    }

    pub(super) fn all() -> Vec<Fixture> {
        let browser = Tls { alpn_offered: vec!["http/1.1".into()], ..tls13() };
        [
            ("an agent that knows its server", tls13(), AGENT_KNOWS_SERVER),
            ("an agent that asks its server for proof", tls13(), AGENT_ASKS_SERVER),
            ("a terminal, at the agent's end", tls13(), RELAY_AGENT_SIDE),
            ("a desktop in a browser", browser, RELAY_BROWSER),
            ("a terminal, at the operator's end", tls13(), RELAY_COMMAND_LINE),
            ("the operator's command line", tls13(), COMMAND_LINE),
        ]
        .map(|(name, tls, lengths)| Fixture { name, tls, lengths })
        .into()
    }

    #[test]
    fn every_connection_is_told_from_its_record_lengths() {
        for (fixture, kind) in
            all().iter().zip([&AGENT, &AGENT, &RELAY_AGENT, &RELAY_OPERATOR, &RELAY_OPERATOR, &CONSOLE])
        {
            let got = drive(fixture);
            assert_eq!((got.label, got.basis), (Some("meshcentral"), Basis::Behaviour), "{}", fixture.name);
            assert_eq!(got.evidence.first().map(|e| e.kind), Some(kind), "{}", fixture.name);
        }
    }

    #[test]
    fn an_agent_that_writes_frames_at_once_over_tls_1_2_is_known_as_well() {
        let tls = Tls { version: 0x0303, cipher: Some(0xC030), ..Tls::default() };
        let lengths: &[i32] = &[205, -153, -124, 57, 80, 128, 1450, -1496, 104, -28, -30];
        assert_eq!(run(tls, lengths).label, Some("meshcentral"));
    }

    #[test]
    fn an_agent_behind_a_reverse_proxy_is_known_by_its_handshake_alone() {
        let lengths: &[i32] = &[
            -23, -2400, -281, -69, 69, 190, -282, -220, -117, 19, 21, 67, 19, 21, 115, 21, 21, 1435, -1485,
            -21,
        ];
        assert_eq!(run(tls13(), lengths).label, Some("meshcentral"));
    }

    #[test]
    fn messages_that_a_proxy_joins_and_an_answer_that_it_adds_to_are_still_known() {
        let control: &[i32] = &[
            -27, -1703, -96, -69, 69, 188, -298, -282, -198, 19, 21, 67, 19, 21, 115, -117, 21, 21, 1435, -27,
        ];
        assert_eq!(run(tls13(), control).label, Some("meshcentral"));
        let relay: &[i32] = &[-27, -1703, -97, -69, 69, -298, -298, 417, 38, -198, -20, -84, -20];
        assert_eq!(run(tls13(), relay).label, Some("meshcentral"));
    }

    #[test]
    fn lengths_that_are_off_by_one_are_nothing() {
        let cases: [&'static [i32]; 7] = [
            opened![190, 19, 21, 67, 19, 21, 116, -117, 21, 21, 1435, -21], // the agent's AuthRequest
            opened![190, 19, 21, 67, 19, 21, 115, -118, 21, 21, 1435, -21], // the server's
            opened![190, 19, 21, 67, 19, 21, 115, -117, 21, 21, 1435, -22], // AuthConfirm
            opened![517, -20, 84, 26, -54],                                 // the kind of session
            opened![517, -22, 84, 24, -54],                                 // the relay's word
            &[-23, -1220, -409, -69, 69, -282, -282, 419, 39, -146, -20, -81, -20],
            opened![292, 47, -781, -1526],
        ];
        for lengths in cases {
            let got = run(tls13(), lengths);
            assert_eq!((got.label, got.evidence.len()), (None, 0), "{lengths:?}");
        }
    }

    #[test]
    fn a_console_with_somebody_elses_key_is_nothing() {
        let lengths: &[i32] = &[-23, -2800, -281, -69, 69, 292, -282, -282, -146, 46, -781, -1526];
        assert_eq!(run(tls13(), lengths).label, None);
    }

    #[test]
    fn other_websockets_of_the_same_library_are_nothing() {
        // SockJS: `o`, then arrays; engine.io: an object, `40`; a web terminal: an object, then keys.
        let cases: [&'static [i32]; 2] =
            [opened![300, -20, 60, -80, -20, 60, -20], opened![300, -120, 25, -60, 40, -24]];
        for lengths in cases {
            assert_eq!(run(tls13(), lengths).label, None, "{lengths:?}");
        }
    }

    #[test]
    fn the_root_that_a_server_makes_for_itself_is_known_by_its_name() {
        let of = |issuer: &str| {
            let tls = Tls {
                version: 0x0303,
                cipher: Some(0xC030),
                alpn_offered: vec!["h2".into(), "http/1.1".into()],
                issuer: Some(issuer.into()),
                ..Tls::default()
            };
            run(tls, &[]).label
        };
        assert_eq!(of("CN=MeshCentralRoot-0f9b7c, O=unknown, C=unknown"), Some("meshcentral"));
        assert_eq!(of("CN=MeshCentralRoot-tutorial"), None);
        assert_eq!(of("CN=Not MeshCentralRoot-0f9b7c"), None);
    }
}
