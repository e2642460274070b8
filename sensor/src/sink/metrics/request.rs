//! One HTTP request (RFC 9112). In: a connection. Out: method and path, or the status that refuses it.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Bytes of a request's head; a scraper's has some 300.
const MAX_HEAD: usize = 8 * 1024;
/// Fields of a head; a browser sends some 20.
const MAX_FIELDS: usize = 64;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    /// Without query.
    pub(super) path: String,
}

/// Why a request is not answered with what it asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No HTTP.
    Malformed,
    /// More than is read.
    TooLarge,
    /// It did not come in time.
    Late,
    /// The other side has left.
    Gone,
}

/// Reads a request's head. What follows it stays unread.
pub(super) fn read(stream: &mut TcpStream, deadline: Instant) -> Result<Request, Refusal> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        // A time-out for each read alone would let a byte now and then hold the line for ever.
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left.max(Duration::from_millis(1)))).is_err() {
            return Err(Refusal::Late);
        }
        match stream.read(&mut chunk) {
            Ok(0) => return Err(Refusal::Gone),
            Ok(n) => head.extend_from_slice(&chunk[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(Refusal::Late);
            }
            Err(_) => return Err(Refusal::Gone),
        }
        if let Some(request) = parse(&head)? {
            return Ok(request);
        }
        if head.len() >= MAX_HEAD {
            return Err(Refusal::TooLarge);
        }
    }
}

/// A request, once its head is complete.
fn parse(head: &[u8]) -> Result<Option<Request>, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
        Err(_) => return Err(Refusal::Malformed),
    }
    let target = request.path.unwrap_or_default();
    // RFC 9112 section 3.2.2: "a server MUST accept the absolute-form in requests".
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    let path = target.split('?').next().unwrap_or_default();
    Ok(Some(Request { method: request.method.unwrap_or_default().to_owned(), path: path.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(method: &str, path: &str) -> Result<Option<Request>, Refusal> {
        Ok(Some(Request { method: method.into(), path: path.into() }))
    }

    #[test]
    fn a_head_gives_method_and_path_once_it_is_complete() {
        let head = b"GET /metrics?name=a HTTP/1.1\r\nHost: localhost:9469\r\nAccept: */*\r\n\r\n";
        for end in 0..head.len() {
            assert_eq!(parse(&head[..end]), Ok(None), "{end}");
        }
        assert_eq!(parse(head), asks("GET", "/metrics"));
        assert_eq!(parse(b"HEAD /healthz HTTP/1.0\n\n"), asks("HEAD", "/healthz"));
    }

    #[test]
    fn a_target_in_absolute_form_has_a_path_too() {
        assert_eq!(parse(b"GET http://[::1]:9/metrics HTTP/1.1\r\n\r\n"), asks("GET", "/metrics"));
        assert_eq!(parse(b"GET http://localhost HTTP/1.1\r\n\r\n"), asks("GET", "/"));
    }

    #[test]
    fn what_is_no_http_is_malformed_and_a_head_without_end_too_large() {
        assert_eq!(parse(b"\x16\x03\x01\x02\x00\x01\x00"), Err(Refusal::Malformed));
        assert_eq!(parse(b"GET /metrics HTTP/9\r\n\r\n"), Err(Refusal::Malformed));
        let many = [&b"GET / HTTP/1.1\r\n"[..], &b"A: b\r\n".repeat(MAX_FIELDS + 1), b"\r\n"].concat();
        assert_eq!(parse(&many), Err(Refusal::TooLarge));
    }
}
