//! The HTTP server. In: connections from this machine. Out: `/metrics` and `/healthz`, one request a connection, one at a time.
//!
//! Of its own over a parser of requests, since small server crates start a thread a connection and wait for a silent client for ever.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::request::{self, Refusal, Request};
use super::{Health, Snapshot, open_metrics};

/// A request that has not come after this long is not waited for: others want to be served. Scrapers send theirs at once.
const READ_WITHIN: Duration = Duration::from_secs(2);
/// A client that takes nothing for this long is left.
const WRITE_WITHIN: Duration = Duration::from_secs(5);
/// After a failed accept (no file descriptor is free) it is not tried again at once.
const REST: Duration = Duration::from_millis(100);
/// Bytes read of what follows a head, so that closing does not reset the connection before the answer has arrived.
const MAX_LEFTOVER: usize = 64 * 1024;

/// Media type of the page (OpenMetrics 1.0, section "Text format").
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// From where it may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// From this machine: any other address is refused.
    Loopback,
    /// From anywhere: the counters tell outsiders what this network is like, and there is no password.
    Anywhere,
}

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Others could reach it.
    #[error("{0}: metrics are served on loopback addresses alone (127.0.0.1, [::1])")]
    NotLoopback(SocketAddr),
    /// The address is not to be had.
    #[error("{address}: {}", crate::config::in_words(source))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// No thread.
    #[error("a thread for metrics: {}", crate::config::in_words(.0))]
    Thread(io::Error),
}

/// A running server; ends when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and its owner share.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// The connection being served, to be cut at the end.
    serving: Mutex<Option<TcpStream>>,
}

/// What is asked at a request.
struct Sources<S, H> {
    snapshot: S,
    health: H,
}

impl Server {
    /// Listens on `address` (port 0: any free one) and answers with what the closures give at that moment.
    ///
    /// # Errors
    /// An address that is not on loopback (unless `reach` says otherwise) or not to be had.
    pub fn start<S, H>(address: SocketAddr, reach: Reach, snapshot: S, health: H) -> Result<Self, StartError>
    where
        S: Fn() -> Snapshot + Send + 'static,
        H: Fn() -> Health + Send + 'static,
    {
        if reach == Reach::Loopback && !address.ip().to_canonical().is_loopback() {
            return Err(StartError::NotLoopback(address));
        }
        let bind = |source| StartError::Bind { address, source };
        let listener = TcpListener::bind(address).map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let sources = Sources { snapshot, health };
        let thread = thread::Builder::new()
            .name("metrics".into())
            .spawn(move || serve(&listener, &theirs, &sources))
            .map_err(StartError::Thread)?;
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(serving) = self.shared.serving() {
            let _ = serving.shutdown(Shutdown::Both);
        }
        // The thread waits for a connection: this is one.
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let woken = TcpStream::connect_timeout(&SocketAddr::new(ip, self.address.port()), REST * 10);
        // If that fails (no file descriptor is free) the thread stays behind rather than this one with it.
        if let Some(thread) = self.thread.take().filter(|_| woken.is_ok()) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serving(&self) -> Option<TcpStream> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Notes which connection is served; whether it is to be served at all.
    fn serves(&self, stream: &TcpStream) -> bool {
        *self.serving.lock().unwrap_or_else(PoisonError::into_inner) = stream.try_clone().ok();
        // After that: whoever stops first sets this, then cuts what it finds.
        !self.stop.load(Ordering::SeqCst)
    }
}

fn serve<S: Fn() -> Snapshot, H: Fn() -> Health>(
    listener: &TcpListener,
    shared: &Shared,
    sources: &Sources<S, H>,
) {
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                if !shared.serves(&stream) {
                    return;
                }
                // The other side's trouble.
                let _ = answer(&mut stream, sources);
                drop(shared.serving());
            }
            Err(_) if shared.stop.load(Ordering::SeqCst) => return,
            Err(_) => thread::sleep(REST),
        }
    }
}

/// An answer.
struct Response {
    status: &'static str,
    media: &'static str,
    /// A further field, with its line end.
    field: &'static str,
    body: String,
}

impl Response {
    fn plain(status: &'static str, body: impl Into<String>) -> Self {
        Self { status, media: PLAIN, field: "", body: body.into() }
    }
}

fn answer<S: Fn() -> Snapshot, H: Fn() -> Health>(
    stream: &mut TcpStream,
    sources: &Sources<S, H>,
) -> io::Result<()> {
    let deadline = Instant::now() + READ_WITHIN;
    let request = request::read(stream, deadline);
    let response = match &request {
        Ok(request) => respond(request, sources),
        Err(Refusal::Malformed) => Response::plain("400 Bad Request", "this is no HTTP request\n"),
        Err(Refusal::TooLarge) => {
            Response::plain("431 Request Header Fields Too Large", "the head of the request is too large\n")
        }
        Err(Refusal::Late) => Response::plain("408 Request Timeout", "the request came too slowly\n"),
        Err(Refusal::Gone) => return Ok(()),
    };
    let head = format!(
        "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{}Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        response.status,
        response.media,
        response.body.len(),
        response.field
    );
    stream.set_write_timeout(Some(WRITE_WITHIN))?;
    stream.write_all(head.as_bytes())?;
    if !request.is_ok_and(|r| r.method == "HEAD") {
        stream.write_all(response.body.as_bytes())?;
    }
    stream.shutdown(Shutdown::Write)?;
    drain(stream, deadline)
}

fn respond<S: Fn() -> Snapshot, H: Fn() -> Health>(request: &Request, sources: &Sources<S, H>) -> Response {
    let path = request.path.as_str();
    if !matches!(path, "/metrics" | "/healthz") {
        return Response::plain("404 Not Found", "here are /metrics and /healthz\n");
    }
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        let refused = Response::plain("405 Method Not Allowed", "GET or HEAD\n");
        return Response { field: "Allow: GET, HEAD\r\n", ..refused };
    }
    if path == "/metrics" {
        return Response {
            media: OPEN_METRICS,
            ..Response::plain("200 OK", open_metrics((sources.snapshot)()))
        };
    }
    match (sources.health)() {
        Ok(()) => Response::plain("200 OK", "ok\n"),
        Err(why) => Response::plain("503 Service Unavailable", format!("{why}\n")),
    }
}

/// Reads what is left until the other side closes.
fn drain(stream: &mut TcpStream, deadline: Instant) -> io::Result<()> {
    let mut chunk = [0; 4096];
    let mut read = 0;
    while read < MAX_LEFTOVER {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match stream.read(&mut chunk)? {
            0 => break,
            n => read += n,
        }
    }
    Ok(())
}
