//! HTTP/1 (RFC 9112), and what rides in it: CONNECT tunnels (RFC 9110 section 9.3.6) and upgraded connections such as WebSocket.
//!
//! In: both directions of a stream, or one. Out: the first request and its answer; the label `http_connect` for a CONNECT that was
//! granted, `http_proxy` for an absolute-form request that was served, or that has a proxy's field while the other side is not
//! seen, `http_tunnel` and `websocket_tunnel` for requests that only a tunnel makes (`http/tunnel.rs`); after a CONNECT or a 101
//! every later byte as inner stream, and what GNU httptunnel carries.
//! Lines are consumed one by one, so a head of any cut is read and a truncated one gives what it had.

use crate::http_disguise::{Disguise, Exchange};
use crate::http_head::{StartLine, absolute_authority, authority, field, number, opens, text};
use crate::http_tool::{End, HttpTool};
use crate::{
    Analyzer, Basis, Dir, FirstBytes, Http, Kind, Meta, Next, Out, Probe, Segment, Short, Transport, Verdict,
    novnc, page,
};

#[path = "http/tunnel.rs"]
mod tunnel;

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
const FALSE_WEBSOCKET: Kind = Kind {
    name: "http.false_websocket",
    decibans: 33,
    says: "a WebSocket whose key is not hashed into its answer and whose client goes on all the same: simple-obfs (obfs_http.c; RFC 6455 section 4)",
};
const TOR_DIRECTORY: Kind = Kind {
    name: "http.tor_directory",
    decibans: 33,
    says: "a document below /tor/ was served together with the asker's address (Tor's dir-spec section 4)",
};
const NOVNC: Kind = Kind {
    name: "http.novnc",
    decibans: 8,
    says: "the noVNC client was fetched from websockify: a desktop is offered to browsers here; whether it was opened shows elsewhere",
};
const TOOL: Kind = Kind {
    name: "http.tool",
    decibans: 30,
    says: "the request is one that a remote-management or remote-desktop tool makes, by its target and the name it goes by, and was answered",
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
    /// It is one of GNU httptunnel's, or of reGeorg's.
    httptunnel: bool,
    regeorg: bool,
    /// The program that tunnels through the WebSocket asked for.
    socket: Option<&'static str>,
}

/// What matters of the answer at work.
#[derive(Debug, Default)]
struct Answer {
    status: u16,
    /// Its words are those of a granted CONNECT, for captures without the request.
    says_established: bool,
    html: bool,
    /// It has reGeorg's field.
    regeorg: bool,
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
        } else if is(b"x-status") {
            self.answer.regeorg = value == b"OK";
        } else if is(b"upgrade") && self.answer.status == SWITCHING_PROTOCOLS {
            http.upgrade = Some(text(value, FIELD_MAX));
        }
    }

    fn request_field(&mut self, is: &dyn Fn(&[u8]) -> bool, value: &[u8], http: &mut Http) {
        if is(b"upgrade") {
            if let Some(request) = &mut self.request {
                request.upgrade = true;
            }
        } else if is(b"sec-websocket-protocol") || is(b"x-cmd") {
            if let Some(request) = &mut self.request {
                request.socket = request.socket.or_else(|| tunnel::websocket(value));
                request.regeorg |= is(b"x-cmd") && tunnel::is_regeorg(value);
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
        let tool = is_of_tool(out, status, dir);
        if disguised(self.exchange, status, out) {
            return Step::Done;
        }
        if status == SWITCHING_PROTOCOLS {
            if let Some(tool) = request.socket {
                out.evidence(&WEBSOCKET, tool);
                out.is("websocket_tunnel");
                out.tool = Some(tool);
            }
            return self.hand_on();
        }
        if tool {
            return Step::Done;
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
        if request.regeorg && self.answer.regeorg && status == 200 {
            out.evidence(&REGEORG, "");
            out.is("http_tunnel");
            out.tool = Some("reGeorg");
            return Step::Done;
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

/// Says so when the answer in direction `dir` is one to a remote-management tool.
fn is_of_tool(out: &mut Out, status: u16, dir: Dir) -> bool {
    let Some(tool) = out.facts.http.as_deref().and_then(|http| HttpTool::of(http, status)) else {
        return false;
    };
    out.evidence(&TOOL, tool.detail);
    out.is(tool.label);
    out.controlled = tool.operated.map(|end| match end {
        End::Client => dir.receiver(),
        End::Server => dir.sender(),
    });
    true
}

/// Says so when the exchange is something else's.
fn disguised(exchange: Exchange, status: u16, out: &mut Out) -> bool {
    let Some(http) = out.facts.http.as_deref() else { return false };
    let target: Box<str> = http.url.clone().unwrap_or_default();
    let (kind, label, detail) = match exchange.tells(status, target.as_bytes()) {
        Some(Disguise::SimpleObfs) => {
            (&FALSE_WEBSOCKET, "shadowsocks", http.hostname.clone().unwrap_or_default())
        }
        Some(Disguise::TorDirectory) => (&TOR_DIRECTORY, "tor", target),
        None => return false,
    };
    out.evidence(kind, detail);
    out.is(label);
    true
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
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, Outcome, drive};

    pub(super) const GET: &[u8] =
        b"GET /a?b=c HTTP/1.1\r\nHost: WWW.Example.test:8080\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";
    pub(super) const OK: &[u8] =
        b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello";
    pub(super) const UPGRADE: &[u8] =
        b"GET /websockify HTTP/1.1\r\nHost: kvm.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    pub(super) const SWITCHING: &[u8] =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x82\x03RFB";
    pub(super) const CONNECT_REQUEST: &[u8] =
        b"CONNECT [2001:db8::5]:3389 HTTP/1.1\r\nHost: [2001:db8::5]:3389\r\nUser-Agent: x\r\n\r\n";

    fn conversation(payloads: &[(Dir, &[u8])], piece: usize) -> Outcome {
        drive::<State>(&Fixture { name: "", transport: Transport::Tcp, payloads }, piece)
    }

    fn answered(request: &[u8], answer: &[u8]) -> Outcome {
        conversation(&[(Dir::ToServer, request), (Dir::ToClient, answer)], usize::MAX)
    }

    #[test]
    fn the_title_of_the_first_page_is_told_however_it_is_cut() {
        let page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 48\r\n\r\n\
            <html><head><title>NanoKVM</title></head></html>";
        for piece in [1, 7, 4_096] {
            let payloads: [(Dir, &[u8]); 2] = [(Dir::ToServer, GET), (Dir::ToClient, page)];
            let fixture = Fixture { name: "", transport: Transport::Tcp, payloads: &payloads };
            let said = drive::<State>(&fixture, piece).out.said;
            assert_eq!(said.len(), 1, "in pieces of {piece}");
            assert_eq!((&*said[0].text, said[0].by), ("NanoKVM", Some(Side::Dest)));
        }
    }

    #[test]
    fn a_request_and_its_answer_are_read_however_they_are_cut() {
        for piece in [1, 3, usize::MAX] {
            let got = drive::<State>(&FIXTURES[0], piece);
            assert!(got.mine);
            assert_eq!((got.out.label, got.out.client), (None, Some(Side::Src)));
            let http = got.out.facts.http.unwrap();
            assert_eq!((http.hostname.as_deref(), http.port), (Some("www.example.test"), Some(8080)));
            assert_eq!((http.method.as_deref(), http.url.as_deref()), (Some("GET"), Some("/a?b=c")));
            assert_eq!(http.user_agent.as_deref(), Some("curl/8.5.0"));
            assert_eq!((http.status, http.server.as_deref()), (Some(200), Some("nginx")));
            assert_eq!((http.content_type.as_deref(), http.requests), (Some("text/html"), 1));
        }
    }

    #[test]
    fn after_101_every_byte_of_both_directions_is_handed_on() {
        for piece in [1, 11, usize::MAX] {
            let got = drive::<State>(&FIXTURES[1], piece);
            assert_eq!(got.out.facts.http.as_ref().unwrap().upgrade.as_deref(), Some("websocket"));
            assert_eq!(got.inner[0], b"\x81\x80\x01\x02\x03\x04", "pieces of {piece}");
            assert_eq!(got.inner[1], b"\x82\x03RFB", "pieces of {piece}");
            assert_eq!(got.out.label, None);
        }
    }

    #[test]
    fn a_granted_connect_is_a_tunnel_and_its_inside_is_handed_on() {
        for piece in [1, usize::MAX] {
            let got = drive::<State>(&FIXTURES[2], piece);
            assert_eq!(got.out.label, Some("http_connect"));
            assert_eq!((&got.inner[0][..], &got.inner[1][..]), (&b"inner up"[..], &b"inner down"[..]));
            let http = got.out.facts.http.unwrap();
            assert_eq!((http.hostname.as_deref(), http.port), (Some("2001:db8::5"), Some(3389)));
        }
    }

    #[test]
    fn a_refused_or_unanswered_connect_is_evidence_and_no_label() {
        for answer in [&b"HTTP/1.1 403 Forbidden\r\n\r\n"[..], b"HTTP/1.1 502 Bad Gateway\r\n\r\n", b""] {
            let got = answered(CONNECT_REQUEST, answer);
            assert_eq!(got.out.label, None);
            assert_eq!(got.out.evidence.len(), 1);
            assert!(got.inner[0].is_empty());
        }
    }

    #[test]
    fn a_page_in_answer_to_connect_is_no_tunnel() {
        assert_eq!(answered(CONNECT_REQUEST, OK).out.label, None);
    }

    #[test]
    fn a_connect_refused_for_credentials_and_then_granted_is_a_tunnel() {
        let refused = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\
            Transfer-Encoding: chunked\r\n\r\n4\r\nnope\r\n0\r\n\r\n";
        for piece in [1, 9, usize::MAX] {
            let got = conversation(
                &[
                    (Dir::ToServer, CONNECT_REQUEST),
                    (Dir::ToClient, refused),
                    (Dir::ToServer, CONNECT_REQUEST),
                    (Dir::ToClient, b"HTTP/1.0 200 OK\r\n\r\n"),
                    (Dir::ToServer, b"SSH-2.0-x"),
                ],
                piece,
            );
            assert_eq!(got.out.label, Some("http_connect"), "pieces of {piece}");
            assert_eq!(got.inner[0], b"SSH-2.0-x");
        }
    }

    #[test]
    fn client_bytes_sent_before_the_grant_wait_for_it() {
        let early = [CONNECT_REQUEST, b"early"].concat();
        let got = conversation(
            &[
                (Dir::ToServer, &early),
                (Dir::ToClient, b"HTTP/1.1 200 OK\r\n\r\n"),
                (Dir::ToServer, b" and late"),
            ],
            usize::MAX,
        );
        assert_eq!(got.inner[0], b"early and late");
    }

    #[test]
    fn the_grant_alone_is_known_by_its_words() {
        let grant = b"HTTP/1.0 200 Connection established\r\n\r\ninner";
        let got = conversation(&[(Dir::ToServer, grant)], usize::MAX);
        assert_eq!((got.out.label, got.out.client), (Some("http_connect"), Some(Side::Dest)));
        assert_eq!(got.inner[0], b"inner");
    }

    #[test]
    fn an_absolute_request_that_is_served_is_a_proxy_and_one_refused_is_not() {
        let request =
            b"GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\nProxy-Authorization: Basic c2VjcmV0\r\n\r\n";
        let served = answered(request, OK).out;
        assert!(
            served.evidence.iter().all(|e| !e.detail.contains("c2Vj")),
            "a password would be in the record"
        );
        assert_eq!(served.evidence.len(), 3);
        assert_eq!(answered(request, OK).out.label, Some("http_proxy"));
        let refused = answered(request, b"HTTP/1.1 403 Forbidden\r\n\r\n");
        assert_eq!((refused.out.label, refused.out.evidence.len()), (None, 2));
        let origin = answered(b"GET /?u=http://a.test/ HTTP/1.1\r\nHost: b\r\n\r\n", OK);
        assert_eq!((origin.out.label, origin.out.evidence.len()), (None, 0));
    }

    #[test]
    fn an_absolute_request_with_a_proxys_field_is_a_proxy_while_no_answer_is_seen() {
        let request =
            b"POST http://a.test/x HTTP/1.1\r\nHost: a.test\r\nProxy-Connection: Keep-Alive\r\n\r\n";
        let got = |answer: &[u8]| answered(request, answer).out.label;
        assert_eq!(got(b""), Some("http_proxy"));
        assert_eq!(got(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"), None);
        assert_eq!(got(b"SSH-2.0-OpenSSH_9.2\r\n"), None);
        let without = b"POST http://a.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n";
        assert_eq!(answered(without, b"").out.label, None);
    }

    #[test]
    fn an_interim_answer_is_not_the_answer() {
        let request = b"POST http://a.test/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc";
        let got = answered(request, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!((got.out.label, got.out.facts.http.unwrap().status), (Some("http_proxy"), Some(204)));
    }

    #[test]
    fn an_answer_in_another_protocol_ends_it_and_keeps_the_request() {
        let got = answered(GET, b"SSH-2.0-OpenSSH_9.2\r\n");
        assert!(got.mine);
        assert_eq!(got.out.facts.http.unwrap().status, None);
    }

    #[test]
    fn a_tool_that_asks_its_gateway_as_a_proxy_is_that_tool() {
        let request = b"POST http://192.0.2.7/fakeurl.htm HTTP/1.1\r\nUser-Agent: NetSupport Manager/1.3\r\nContent-Length: 22\r\n\
            Host: 192.0.2.7\r\n\r\nCMD=POLL\nINFO=1\nACK=1\n";
        let answer =
            b"HTTP/1.1 200 OK\r\nServer: NetSupport Gateway/1.92 (Windows NT)\r\nContent-Length: 0\r\n\r\n";
        let payloads: &[(Dir, &[u8])] = &[(Dir::ToServer, request), (Dir::ToClient, answer)];
        let fixture = Fixture { name: "NetSupport", transport: Transport::Tcp, payloads };
        let out = drive::<State>(&fixture, usize::MAX).out;
        assert_eq!((out.label, out.controlled), (Some("netsupport"), None));
        let alone = Fixture { payloads: &payloads[..1], ..fixture };
        assert_eq!(drive::<State>(&alone, usize::MAX).out.label, None);
    }

    #[test]
    fn an_agent_that_switches_to_websocket_is_operated_by_its_server() {
        let request = b"GET /agent.ashx HTTP/1.1\r\nHost: mesh.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        let payloads: &[(Dir, &[u8])] = &[(Dir::ToServer, request), (Dir::ToClient, answer)];
        let out = drive::<State>(&Fixture { name: "", transport: Transport::Tcp, payloads }, 5).out;
        assert_eq!((out.label, out.controlled), (Some("meshcentral"), Some(Side::Src)));
    }

    #[test]
    fn a_false_websocket_is_shadowsocks_and_a_directory_is_tor() {
        let obfs: &[(Dir, &[u8])] = &[
            (
                Dir::ToServer,
                b"GET / HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: curl/7.43.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Key: Lt7wAMa/Zks58/0IEiPQFw==\r\nContent-Length: 4\r\n\r\n\xdb\x38\x51\xf0",
            ),
            (
                Dir::ToClient,
                b"HTTP/1.1 101 Switching Protocols\r\nServer: nginx/1.10.9\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Accept: c0gzZlHcsHT/XEkZSpToKg==\r\n\r\n\x85\x4e",
            ),
        ];
        let tor: &[(Dir, &[u8])] = &[
            (Dir::ToServer, b"GET /tor/server/all.z HTTP/1.0\r\nHost: 198.51.100.7\r\n\r\n"),
            (Dir::ToClient, b"HTTP/1.0 200 OK\r\nX-Your-Address-Is: 203.0.113.9\r\n\r\n"),
        ];
        for (payloads, label) in [(obfs, "shadowsocks"), (tor, "tor")] {
            for piece in [usize::MAX, 7] {
                let fixture = Fixture { name: "", transport: Transport::Tcp, payloads };
                assert_eq!(drive::<State>(&fixture, piece).out.label, Some(label));
            }
        }
    }
}
