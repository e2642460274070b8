//! HTTP/1 (RFC 9112), and what rides in it: CONNECT tunnels (RFC 9110 section 9.3.6) and upgraded connections such as WebSocket.
//!
//! In: both directions of a stream, or one. Out: the first request and its answer; the label `http_connect` for a CONNECT that was
//! granted, `http_proxy` for an absolute-form request that was served, or that has a proxy's field while the other side is not
//! seen, `http_tunnel` and `websocket_tunnel` for requests that only a tunnel makes (`http/tunnel.rs`); after a CONNECT or a 101
//! every later byte as inner stream, and what GNU httptunnel carries.
//! Lines are consumed one by one, so a head of any cut is read and a truncated one gives what it had.

use crate::http_head::{StartLine, absolute_authority, authority, field, number, opens, text};
use crate::{
    Analyzer, Basis, Dir, FirstBytes, Http, Kind, Meta, Next, Out, Probe, Segment, Short, Transport, Verdict,
    novnc, page,
};

#[path = "http/exchange.rs"]
mod exchange;
#[path = "http/tunnel.rs"]
mod tunnel;

use exchange::{Exchange, FALSE_WEBSOCKET, TOOL, TOR_DIRECTORY};
use tunnel::{Frames, HTTPTUNNEL, REGEORG, WEBSOCKET};

/// A line longer than this is no head that anything accepts (RFC 9112 section 3 asks for 8,000 at least).
const LINE_MAX: usize = 16_384;
/// Characters kept of a target ([`Http::url`]) and of other fields.
const URL_MAX: usize = 1024;
const FIELD_MAX: usize = 512;

const CONNECT: Kind = Kind {
    name: "http.connect",
    decibans: 30,
    says: "CONNECT was sent, which only a proxy is asked (RFC 9110 section 9.3.6): 1 of 1,024 HTTP flows without a tunnel in public test captures",
};
const CONNECT_GRANTED: Kind = Kind {
    name: "http.connect_granted",
    decibans: 20,
    says: "a CONNECT was answered 2xx without a page: the connection is a tunnel from here on (RFC 9110 section 9.3.6)",
};
const ABSOLUTE: Kind = Kind {
    name: "http.absolute_form",
    decibans: 20,
    says: "a request named its target in absolute form, as proxies are asked (RFC 9112 section 3.2.2); some programs ask origins so",
};
const ABSOLUTE_SERVED: Kind = Kind {
    name: "http.absolute_form_served",
    decibans: 3,
    says: "a request in absolute form was answered 2xx or 3xx; origins must serve it too (RFC 9112 section 3.2.2)",
};
const PROXY_FIELD: Kind = Kind {
    name: "http.proxy_field",
    decibans: 15,
    says: "the request has a Proxy-Authorization (RFC 9110 section 11.7.2) or Proxy-Connection field, sent to proxies only",
};
const NOVNC: Kind = Kind {
    name: "http.novnc",
    decibans: 8,
    says: "the noVNC client was fetched from websockify: a desktop is offered to browsers here; whether it was opened shows elsewhere",
};

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    sides: [Half; 2],
    request: Option<Request>,
    /// Direction of the requests, once one or an answer was seen.
    requests: Option<Dir>,
    answer: Answer,
    exchange: Exchange,
}

/// Where the reading of one direction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    StartLine,
    Fields,
    /// A body of known length.
    Body(u64),
    /// A chunk's size is next (RFC 9112 section 7.1).
    ChunkSize,
    Chunk(u64),
    /// A body of httptunnel's frames.
    Frames(Frames),
    Trailers,
    /// What comes next depends on the answer.
    Waiting,
    /// A page, of which so many bytes are there at most: its title is wanted.
    Page(u64),
    /// No longer HTTP: handed on.
    Inner,
    /// Nothing more can be told apart.
    Ended,
}

#[derive(Debug, Default)]
struct Half {
    phase: Phase,
    started: bool,
    body: Body,
}

/// How the body of the head at work is framed.
#[derive(Debug, Default)]
struct Body {
    length: Option<u64>,
    chunked: bool,
}

/// What matters of the last request.
#[derive(Debug, Default)]
struct Request {
    connect: bool,
    absolute: bool,
    /// It has a field that only proxies are sent.
    proxy_field: bool,
    head: bool,
    upgrade: bool,
    /// It is one of GNU httptunnel's.
    httptunnel: bool,
}

/// What matters of the answer at work.
#[derive(Debug, Default)]
struct Answer {
    status: u16,
    /// Its words are those of a granted CONNECT, for captures without the request.
    says_established: bool,
    html: bool,
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "http",
        title: "HTTP/1",
        label: None,
        app_proto: "http",
        transports: &[Transport::Tcp],
        ports: &[80, 3128, 5000, 8000, 8008, 8080, 8081, 8888],
        first: FirstBytes::range(b'A', b'Z'),
        budget: 65_536,
        carrier: true,
        reference: "RFC 9112, RFC 9110, RFC 6455 section 4",
        evidence: &[
            CONNECT,
            CONNECT_GRANTED,
            ABSOLUTE,
            ABSOLUTE_SERVED,
            PROXY_FIELD,
            NOVNC,
            HTTPTUNNEL,
            REGEORG,
            WEBSOCKET,
            TOOL,
            FALSE_WEBSOCKET,
            TOR_DIRECTORY,
        ],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        match opens(p.data) {
            Ok(true) => Verdict::Yes,
            Ok(false) => Verdict::No,
            Err(Short) => Verdict::More,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let mut rest = seg.data;
        if seg.gap && self.half(seg.dir).started {
            return Next::Done; // neither heads nor an inner stream can be followed over a hole
        }
        loop {
            if let Phase::Inner = self.half(seg.dir).phase {
                out.inner.extend_from_slice(rest);
                return Next::Continue { consumed: seg.data.len() };
            }
            let before = rest.len();
            let step = match self.half(seg.dir).phase {
                Phase::StartLine | Phase::Fields | Phase::ChunkSize | Phase::Trailers => {
                    match next_line(rest) {
                        Some((line, behind)) => {
                            rest = behind;
                            self.line(line, seg.dir, out)
                        }
                        None if rest.len() > LINE_MAX => Step::Done,
                        None => Step::On,
                    }
                }
                Phase::Body(left) => {
                    let (behind, left) = pass(rest, left);
                    rest = behind;
                    self.half(seg.dir).phase = if left == 0 { Phase::StartLine } else { Phase::Body(left) };
                    Step::On
                }
                Phase::Chunk(left) => {
                    let (behind, left) = pass(rest, left);
                    rest = behind;
                    self.half(seg.dir).phase = if left == 0 { Phase::ChunkSize } else { Phase::Chunk(left) };
                    Step::On
                }
                Phase::Frames(mut frames) => match frames.take(rest, &mut out.inner) {
                    Some(taken) => {
                        if frames.some && out.label.is_none() {
                            let target =
                                out.facts.http.as_ref().and_then(|h| h.url.clone()).unwrap_or_default();
                            out.evidence(&HTTPTUNNEL, target);
                            out.is("http_tunnel");
                            out.tool = Some("GNU httptunnel");
                        }
                        self.half(seg.dir).phase = Phase::Frames(frames);
                        rest = rest.get(taken..).unwrap_or_default();
                        return Next::Continue { consumed: seg.data.len().saturating_sub(rest.len()) };
                    }
                    None => Step::Done,
                },
                Phase::Page(length) => {
                    let whole = u64::try_from(rest.len()).is_ok_and(|n| n >= length);
                    if page::read(rest, seg.dir, out) || whole { Step::Done } else { Step::On }
                }
                Phase::Ended => {
                    rest = &[];
                    Step::On
                }
                Phase::Waiting | Phase::Inner => Step::On,
            };
            match step {
                Step::Done => return Next::Done,
                Step::NotMine => return Next::NotMine,
                Step::On if rest.len() == before && self.half(seg.dir).phase != Phase::Inner => {
                    return Next::Continue { consumed: seg.data.len().saturating_sub(rest.len()) };
                }
                Step::On => {}
            }
        }
    }
}

/// How to go on after a piece.
enum Step {
    On,
    Done,
    NotMine,
}

impl State {
    fn half(&mut self, dir: Dir) -> &mut Half {
        let [to_server, to_client] = &mut self.sides;
        match dir {
            Dir::ToServer => to_server,
            Dir::ToClient => to_client,
        }
    }

    fn line(&mut self, line: &[u8], dir: Dir, out: &mut Out) -> Step {
        match self.half(dir).phase {
            Phase::StartLine => self.start_line(line, dir, out),
            Phase::Fields if line.is_empty() => self.end_of_head(dir, out),
            Phase::Fields => {
                if let Some((name, value)) = field(line) {
                    self.field(name, value, dir, out);
                }
                Step::On
            }
            Phase::ChunkSize => {
                let digits = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
                let size = str::from_utf8(digits).ok().and_then(|d| u64::from_str_radix(d, 16).ok());
                self.half(dir).phase = match size {
                    Some(0) => Phase::Trailers,
                    Some(size) => Phase::Chunk(size.saturating_add(2)), // and its CRLF
                    None => Phase::Ended,
                };
                Step::On
            }
            Phase::Trailers => {
                if line.is_empty() {
                    self.half(dir).phase = Phase::StartLine;
                }
                Step::On
            }
            _ => Step::On,
        }
    }

    fn start_line(&mut self, line: &[u8], dir: Dir, out: &mut Out) -> Step {
        let parsed = StartLine::parse(line);
        match parsed {
            Some(StartLine::Request { method, target, protocol }) if self.requests != Some(dir.reverse()) => {
                self.requests = Some(dir);
                out.client.get_or_insert(dir.sender());
                let absolute = absolute_authority(target);
                let connect = method == b"CONNECT";
                let http = out.facts.http.get_or_insert_default();
                http.requests = http.requests.saturating_add(1);
                if http.requests == 1 {
                    http.method = Some(text(method, FIELD_MAX));
                    http.url = Some(text(target, URL_MAX));
                    http.protocol = Some(text(protocol, FIELD_MAX));
                    if let Some(named) = absolute.or(connect.then_some(target)) {
                        (http.hostname, http.port) = authority(named);
                    }
                    if connect {
                        out.evidence(&CONNECT, text(target, FIELD_MAX));
                    } else if let Some(named) = absolute {
                        out.evidence(&ABSOLUTE, text(named, FIELD_MAX));
                    }
                }
                self.exchange = Exchange::default();
                self.request = Some(Request {
                    connect,
                    absolute: absolute.is_some(),
                    head: method == b"HEAD",
                    httptunnel: tunnel::is_httptunnel(target),
                    ..Request::default()
                });
            }
            Some(StartLine::Response { protocol, status, reason }) if self.requests != Some(dir) => {
                self.requests = Some(dir.reverse());
                out.client.get_or_insert(dir.receiver());
                let http = out.facts.http.get_or_insert_default();
                http.protocol.get_or_insert_with(|| text(protocol, FIELD_MAX));
                http.status = Some(status);
                let says_established = reason.eq_ignore_ascii_case(b"connection established");
                self.answer = Answer { status, says_established, ..Answer::default() };
            }
            // A blank line may stand before a request (RFC 9112 section 2.2).
            _ if line.is_empty() && self.half(dir).started => return Step::On,
            _ => {
                if self.requests == Some(dir.reverse()) {
                    out.label = None; // no answer to a request
                }
                return if self.requests.is_some() { Step::Done } else { Step::NotMine };
            }
        }
        let half = self.half(dir);
        half.started = true;
        half.phase = Phase::Fields;
        half.body = Body::default();
        Step::On
    }

    fn field(&mut self, name: &[u8], value: &[u8], dir: Dir, out: &mut Out) {
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        if is(b"content-length") {
            self.half(dir).body.length = number(value);
        } else if is(b"transfer-encoding") {
            self.half(dir).body.chunked = contains_word(value, b"chunked");
        }
        let Some(http) = out.facts.http.as_mut() else { return };
        if self.requests == Some(dir.reverse()) {
            self.exchange.answered(name, value);
        }
        if self.requests == Some(dir) {
            self.exchange.asked(name, value);
            self.request_field(&is, value, http);
            // The value may be a password.
            if is(b"proxy-authorization") || is(b"proxy-connection") {
                if let Some(request) = &mut self.request {
                    request.proxy_field = true;
                }
                if http.requests == 1 {
                    out.evidence(&PROXY_FIELD, text(name, FIELD_MAX));
                }
            }
        } else if is(b"content-type") {
            self.answer.html = value.to_ascii_lowercase().starts_with(b"text/html");
            http.content_type = Some(text(value, FIELD_MAX));
        } else if is(b"server") {
            http.server = Some(text(value, FIELD_MAX));
        } else if is(b"upgrade") && self.answer.status == SWITCHING_PROTOCOLS {
            http.upgrade = Some(text(value, FIELD_MAX));
        }
    }

    fn request_field(&mut self, is: &dyn Fn(&[u8]) -> bool, value: &[u8], http: &mut Http) {
        if is(b"upgrade") {
            if let Some(request) = &mut self.request {
                request.upgrade = true;
            }
        } else if http.requests > 1 {
            // The first request is the flow's.
        } else if is(b"host") && http.hostname.is_none() {
            (http.hostname, http.port) = authority(value);
        } else if is(b"user-agent") {
            http.user_agent = Some(text(value, FIELD_MAX));
        }
    }

    fn end_of_head(&mut self, dir: Dir, out: &mut Out) -> Step {
        let has_body = |body: &Body| body.chunked || body.length.is_some_and(|n| n > 0);
        if self.requests == Some(dir) {
            let to_proxy = self.request.as_ref().is_some_and(|r| r.absolute && r.proxy_field);
            if to_proxy && !self.half(dir.reverse()).started {
                out.is("http_proxy"); // until something else is answered
            }
            let changes = self.request.as_ref().is_some_and(|r| r.connect || r.upgrade);
            let httptunnel = self.request.as_ref().is_some_and(|r| r.httptunnel);
            let half = self.half(dir);
            half.phase = match half.body {
                Body { chunked: true, .. } => Phase::ChunkSize,
                Body { length: Some(1..), .. } if httptunnel => Phase::Frames(Frames::default()),
                Body { length: Some(n @ 1..), .. } => Phase::Body(n),
                _ if changes => Phase::Waiting,
                _ => Phase::StartLine,
            };
            return Step::On;
        }
        let status = self.answer.status;
        let request = self.request.take().unwrap_or_default();
        let told = out.facts.http.as_deref().and_then(|http| self.exchange.tells(http, status));
        let ends = told.as_ref().is_some_and(|told| told.opaque || status != SWITCHING_PROTOCOLS);
        if let Some(told) = told {
            told.say(dir, out);
        }
        if ends {
            return Step::Done;
        }
        if status == SWITCHING_PROTOCOLS {
            return self.hand_on();
        }
        if (100..200).contains(&status) {
            self.half(dir).phase = Phase::StartLine; // the answer proper is still to come
            self.request = Some(request);
            return Step::On;
        }
        let granted = (200..300).contains(&status)
            && (request.connect
                || (self.answer.says_established && out.facts.http.as_ref().is_none_or(|h| h.requests == 0)));
        // A web server that takes CONNECT for a page answers with a page, which a tunnel has no place for.
        let page = self.answer.html && has_body(&self.half(dir).body);
        if granted && !page {
            out.evidence(&CONNECT_GRANTED, format!("status {status}"));
            out.is("http_connect");
            return self.hand_on();
        }
        let frames = request.httptunnel && self.half(dir).body.length.is_some_and(|n| n > 0);
        if frames && (200..300).contains(&status) {
            self.half(dir).phase = Phase::Frames(Frames::default());
            return Step::On;
        }
        out.label = None; // of a request alone
        if request.absolute && (200..400).contains(&status) {
            out.evidence(&ABSOLUTE_SERVED, format!("status {status}"));
            out.is("http_proxy");
            return Step::Done;
        }
        if (200..300).contains(&status) {
            offered_desktop(out, dir);
        }
        if !matches!(status, UNAUTHORIZED | PROXY_AUTHENTICATION_REQUIRED) {
            let body = &self.half(dir).body;
            let length = body.length.unwrap_or(if request.head { 0 } else { page::PAGE_MAX });
            if !self.answer.html || length == 0 || out.label.is_some() {
                return Step::Done;
            }
            self.half(dir).phase = Phase::Page(length);
            return Step::On;
        }
        // The same request is about to come again, with credentials, on this connection.
        let bodiless = request.head;
        let half = self.half(dir);
        half.phase = match half.body {
            _ if bodiless => Phase::StartLine,
            Body { chunked: true, .. } => Phase::ChunkSize,
            Body { length: Some(0), .. } => Phase::StartLine,
            Body { length: Some(n), .. } => Phase::Body(n),
            Body { length: None, .. } => return Step::Done, // until the connection closes
        };
        let asking = self.half(dir.reverse());
        if asking.phase == Phase::Waiting {
            asking.phase = Phase::StartLine;
        }
        Step::On
    }

    /// From here on both directions belong to another protocol.
    fn hand_on(&mut self) -> Step {
        for half in &mut self.sides {
            half.phase = Phase::Inner;
            half.started = true;
        }
        Step::On
    }
}

/// Says so when the answer in direction `dir` is the page or a script of a desktop in the browser.
fn offered_desktop(out: &mut Out, dir: Dir) {
    let Some(http) = out.facts.http.as_deref() else { return };
    let (Some(server), Some(url)) = (http.server.as_deref(), http.url.as_deref()) else { return };
    if novnc::serves_client(server, url) {
        let detail = format!("{url} from {server}");
        out.evidence(&NOVNC, detail);
        out.is("vnc");
        out.basis = Basis::Catalogue;
        out.tool = Some("noVNC");
        out.controlled = Some(dir.sender());
    }
}

const SWITCHING_PROTOCOLS: u16 = 101;
const UNAUTHORIZED: u16 = 401;
const PROXY_AUTHENTICATION_REQUIRED: u16 = 407;

/// The first line of `bytes` without its end, and what is behind it.
fn next_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let (line, behind) = bytes.split_at_checked(end)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), behind.split_first()?.1))
}

/// Passes over as much of `left` bytes as there is; answers the rest and what is still to pass.
fn pass(bytes: &[u8], left: u64) -> (&[u8], u64) {
    let n = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    let passed = u64::try_from(n).unwrap_or(u64::MAX);
    (bytes.get(n..).unwrap_or_default(), left.saturating_sub(passed))
}

/// Whether a comma-separated list holds `word`, whatever its case.
fn contains_word(list: &[u8], word: &[u8]) -> bool {
    list.split(|b| *b == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(word))
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture] = &[
    crate::fixture::Fixture {
        name: "a page",
        transport: Transport::Tcp,
        payloads: &[(Dir::ToServer, tests::GET), (Dir::ToClient, tests::OK)],
    },
    crate::fixture::Fixture {
        name: "a WebSocket",
        transport: Transport::Tcp,
        payloads: &[
            (Dir::ToServer, tests::UPGRADE),
            (Dir::ToClient, tests::SWITCHING),
            (Dir::ToServer, b"\x81\x80\x01\x02\x03\x04"),
        ],
    },
    crate::fixture::Fixture {
        name: "a CONNECT",
        transport: Transport::Tcp,
        payloads: &[
            (Dir::ToServer, tests::CONNECT_REQUEST),
            (Dir::ToClient, b"HTTP/1.1 200 Connection established\r\n\r\n"),
            (Dir::ToServer, b"inner up"),
            (Dir::ToClient, b"inner down"),
        ],
    },
    crate::fixture::Fixture {
        name: "GNU httptunnel",
        transport: Transport::Tcp,
        payloads: &[(Dir::ToServer, tunnel_tests::UP)],
    },
];

#[cfg(test)]
#[path = "http/tunnel_tests.rs"]
mod tunnel_tests;

#[cfg(test)]
#[path = "http/tests.rs"]
mod tests;
