//! Lines of an HTTP/1 head (RFC 9112 sections 2 to 5).
//!
//! In: one line without its end. Out: what it is; nothing is allocated but the texts kept for a flow's record. Also whether bytes open
//! an HTTP/1 stream at all ([`opens`]).

use crate::Short;

/// Methods of the IANA HTTP Method Registry, and those of UPnP's eventing (UDA 2.0 section 4). Others (RDG_OUT_DATA, RPC_IN_DATA,
/// SSTP_DUPLEX_POST) belong to protocols of their own.
const METHODS: [&[u8]; 44] = [
    b"ACL",
    b"BASELINE-CONTROL",
    b"BIND",
    b"CHECKIN",
    b"CHECKOUT",
    b"CONNECT",
    b"COPY",
    b"DELETE",
    b"GET",
    b"HEAD",
    b"LABEL",
    b"LINK",
    b"LOCK",
    b"M-SEARCH",
    b"MERGE",
    b"MKACTIVITY",
    b"MKCALENDAR",
    b"MKCOL",
    b"MKREDIRECTREF",
    b"MKWORKSPACE",
    b"MOVE",
    b"NOTIFY",
    b"OPTIONS",
    b"ORDERPATCH",
    b"PATCH",
    b"POST",
    b"PROPFIND",
    b"PROPPATCH",
    b"PURGE",
    b"PUT",
    b"QUERY",
    b"REBIND",
    b"REPORT",
    b"SEARCH",
    b"SUBSCRIBE",
    b"TRACE",
    b"UNBIND",
    b"UNCHECKOUT",
    b"UNLINK",
    b"UNLOCK",
    b"UNSUBSCRIBE",
    b"UPDATE",
    b"UPDATEREDIRECTREF",
    b"VERSION-CONTROL",
];
/// Bytes of a target after which a request is believed without its version: targets of kilobytes exist.
const TARGET_BELIEVED: usize = 512;

/// The first line of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// A request.
    Request {
        /// Method.
        method: &'a [u8],
        /// Target in any of its four forms.
        target: &'a [u8],
        /// `HTTP/1.0`, `HTTP/1.1`.
        protocol: &'a [u8],
    },
    /// An answer.
    Response {
        /// `HTTP/1.0`, `HTTP/1.1`.
        protocol: &'a [u8],
        /// 100 to 599.
        status: u16,
        /// Words for people, possibly empty.
        reason: &'a [u8],
    },
}

impl<'a> StartLine<'a> {
    /// Reads a first line; `None` if it is not HTTP/1's.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        if let Some((protocol, rest)) = split(line, b' ')
            && is_protocol(protocol)
        {
            let (code, reason) = split(rest, b' ').unwrap_or((rest, &[]));
            let status = number(code).filter(|_| code.len() == 3)?;
            let status = u16::try_from(status).ok().filter(|s| (100..600).contains(s))?;
            return Some(Self::Response { protocol, status, reason });
        }
        let (method, rest) = split(line, b' ')?;
        let (target, protocol) = split(rest, b' ')?;
        let known = METHODS.contains(&method) && is_protocol(protocol) && is_target(target);
        (known && !target.is_empty()).then_some(Self::Request { method, target, protocol })
    }
}

/// Whether `data`, the first bytes of a direction, open an HTTP/1 stream.
///
/// # Errors
/// [`Short`] while that cannot be told.
pub fn opens(data: &[u8]) -> Result<bool, Short> {
    if let Some(end) = data.iter().position(|b| *b == b'\n') {
        let line = data.get(..end).unwrap_or_default();
        return Ok(StartLine::parse(line.strip_suffix(b"\r").unwrap_or(line)).is_some());
    }
    let Some((word, rest)) = split(data, b' ') else {
        let begun = METHODS.iter().any(|m| m.starts_with(data))
            || b"HTTP/1.0".starts_with(data)
            || b"HTTP/1.1".starts_with(data);
        return if begun { Err(Short) } else { Ok(false) };
    };
    if is_protocol(word) {
        // A status line without an end: the code settles it.
        return match rest.get(..3) {
            Some(code) => Ok(number(code).is_some_and(|n| (100..600).contains(&n))),
            None => Err(Short),
        };
    }
    if !METHODS.contains(&word) {
        return Ok(false);
    }
    let (target, begun) = split(rest, b' ').unwrap_or((rest, &[]));
    let version = begun.strip_suffix(b"\r").unwrap_or(begun);
    if !is_target(target) || !(b"HTTP/1.0".starts_with(version) || b"HTTP/1.1".starts_with(version)) {
        return Ok(false);
    }
    if version.len() == 8 || target.len() >= TARGET_BELIEVED { Ok(true) } else { Err(Short) }
}

/// A header field's name, whatever its case, and its value; `None` for a line that is none.
#[must_use]
pub fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = split(line, b':')?;
    let token = !name.is_empty() && name.iter().all(|b| b.is_ascii_graphic());
    token.then_some((name, value.trim_ascii()))
}

/// Host and port of `host`, `host:port`, `[v6]:port`; the host in lower case and without brackets.
#[must_use]
pub fn authority(bytes: &[u8]) -> (Option<Box<str>>, Option<u16>) {
    let bytes = bytes.rsplit(|b| *b == b'@').next().unwrap_or(bytes); // without user and password
    let (host, port) = match bytes.strip_prefix(b"[").and_then(|rest| split(rest, b']')) {
        Some((host, rest)) => (host, rest.strip_prefix(b":")),
        None => split(bytes, b':').map_or((bytes, None), |(host, port)| (host, Some(port))),
    };
    let plain = !host.is_empty() && host.len() <= 255 && host.iter().all(u8::is_ascii_graphic);
    let host = plain.then(|| String::from_utf8_lossy(host).to_ascii_lowercase().into());
    (host, port.and_then(number).and_then(|n| u16::try_from(n).ok()))
}

/// Authority of an absolute-form target (`http://host:port/path`); `None` for another form (RFC 9112 section 3.2).
#[must_use]
pub fn absolute_authority(target: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = split(target, b':')?;
    let known =
        [&b"http"[..], b"https", b"ftp", b"ws", b"wss"].iter().any(|s| scheme.eq_ignore_ascii_case(s));
    let rest = rest.strip_prefix(b"//").filter(|_| known)?;
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    rest.get(..end)
}

/// A decimal number.
#[must_use]
pub fn number(digits: &[u8]) -> Option<u64> {
    let digits = digits.trim_ascii();
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
}

/// A header's value for a record: at most `max` characters, control characters as `.`.
#[must_use]
pub fn text(bytes: &[u8], max: usize) -> Box<str> {
    let text = String::from_utf8_lossy(bytes.get(..bytes.len().min(max)).unwrap_or_default());
    text.chars().map(|c| if c.is_control() { '.' } else { c }).collect::<String>().into()
}

fn split(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let i = bytes.iter().position(|b| *b == at)?;
    let (head, rest) = bytes.split_at_checked(i)?;
    Some((head, rest.split_first()?.1))
}

fn is_protocol(bytes: &[u8]) -> bool {
    matches!(bytes, b"HTTP/1.0" | b"HTTP/1.1")
}

/// A target has no controls and no blanks; bytes over 0x7F are against the rules and seen.
fn is_target(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| *b > b' ' && *b != 0x7F)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_lines_are_told_apart() {
        assert_eq!(
            StartLine::parse(b"CONNECT a.test:443 HTTP/1.1"),
            Some(StartLine::Request { method: b"CONNECT", target: b"a.test:443", protocol: b"HTTP/1.1" })
        );
        assert_eq!(
            StartLine::parse(b"HTTP/1.0 200 Connection established"),
            Some(StartLine::Response {
                protocol: b"HTTP/1.0",
                status: 200,
                reason: b"Connection established"
            })
        );
        assert_eq!(
            StartLine::parse(b"HTTP/1.1 204"),
            Some(StartLine::Response { protocol: b"HTTP/1.1", status: 204, reason: b"" })
        );
    }

    #[test]
    fn lines_of_other_protocols_are_none() {
        for line in [
            &b"OPTIONS rtsp://a/ RTSP/1.0"[..],
            b"OPTIONS sip:a SIP/2.0",
            b"PRI * HTTP/2.0",
            b"SSTP_DUPLEX_POST /sra_{BA195980-CD49-458b-9E23-C84EE0ADCD75}/ HTTP/1.1",
            b"GET / HTTP/1.1 ",
            b"GET  HTTP/1.1",
            b"HTTP/1.1 99 x",
            b"HTTP/1.1 2000 x",
            b"ICY 200 OK",
            b"get / HTTP/1.1",
        ] {
            assert_eq!(StartLine::parse(line), None, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn an_opening_is_told_as_soon_as_it_can_be() {
        let line = b"GET /index.html HTTP/1.1\r\n";
        for n in 0..line.len() - 2 {
            assert_eq!(opens(&line[..n]), Err(Short), "{n} bytes");
        }
        assert_eq!(opens(&line[..line.len() - 2]), Ok(true));
        assert_eq!(opens(line), Ok(true));
        assert_eq!(opens(b"GETS"), Ok(false));
        assert_eq!(opens(b"GET / RT"), Ok(false));
        assert_eq!(opens(b"HTTP/1.1 40"), Err(Short));
        assert_eq!(opens(b"HTTP/1.1 404"), Ok(true));
        assert_eq!(opens(b"HTTP/1.1 4x4"), Ok(false));
        assert_eq!(opens(&[b"GET /", &[b'a'; 600][..]].concat()), Ok(true));
    }

    #[test]
    fn authorities_lose_port_brackets_and_credentials() {
        assert_eq!(authority(b"Example.COM:8080"), (Some("example.com".into()), Some(8080)));
        assert_eq!(authority(b"[2001:db8::1]:443"), (Some("2001:db8::1".into()), Some(443)));
        assert_eq!(authority(b"user:pw@a.test"), (Some("a.test".into()), None));
        assert_eq!(authority(b"a.test:99999"), (Some("a.test".into()), None));
        assert_eq!(authority(b""), (None, None));
    }

    #[test]
    fn only_an_absolute_target_has_an_authority() {
        assert_eq!(absolute_authority(b"http://a.test:80/x"), Some(&b"a.test:80"[..]));
        assert_eq!(absolute_authority(b"HTTP://a.test"), Some(&b"a.test"[..]));
        assert_eq!(absolute_authority(b"/redirect?to=http://a.test/"), None);
        assert_eq!(absolute_authority(b"a.test:443"), None);
    }

    #[test]
    fn fields_are_trimmed_and_texts_bounded() {
        assert_eq!(field(b"Host: \ta.test "), Some((&b"Host"[..], &b"a.test"[..])));
        assert_eq!(field(b" folded: x"), None);
        assert_eq!(&*text(b"a\x1bb\xFF", 10), "a.b\u{FFFD}");
        assert_eq!(&*text(b"abcdef", 3), "abc");
    }
}
