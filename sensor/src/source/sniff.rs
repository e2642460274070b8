//! A first look at a file: is it a capture, of what kind, and when does it begin?
//!
//! In: a mapped file, of which as little as possible is read. Out: [`Sniffed`]. The timeline orders files by
//! their first frame and opens each when its time has come, so thousands of files need few of them open.

use std::io::{self, Read};

use super::{
    decompress::{compression, decoder},
    info::{Compression, FileInfo, Format},
    mapped::Mapped,
    parser::{Detected, Parser, Step, Window, detect, not_a_capture},
    problem::{Log, ProblemKind},
};

/// Decompressed bytes looked at: enough for the first frame behind any usual header.
const DECOMPRESSED: u64 = 64 << 10;

/// Mapped bytes looked at for a first frame, which may come behind long blocks of name resolution or
/// decryption secrets.
const LOOKED_AT: usize = 16 << 20;

/// What a first look says of a capture.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sniffed {
    pub(super) format: Format,
    /// Link types of the interfaces in front of the first frame.
    pub(super) dlts: Vec<u16>,
    /// Timestamp of the first frame, if one was found.
    pub(super) first_ns: Option<i64>,
}

/// Why a file is not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) kind: ProblemKind,
    pub(super) at: Option<u64>,
    pub(super) detail: String,
}

/// Looks at the beginning of a file.
///
/// # Errors
/// When it is no capture, or not even its first bytes can be read.
pub(super) fn sniff(mapped: &mut Mapped) -> Result<Sniffed, Refused> {
    more(mapped)?;
    let compression = compression(mapped.bytes());
    if compression != Compression::None {
        return compressed(mapped, compression);
    }
    let Detected::Known(container) = detect(mapped.bytes()) else {
        return Err(not_a_capture(mapped.bytes()).into());
    };
    let mut sniffed = Sniffed { format: Format { container, compression }, ..Sniffed::default() };
    while sniffed.first_frame(mapped.bytes(), mapped.is_whole())
        && mapped.bytes().len() < LOOKED_AT
        && mapped.more().is_ok()
    {}
    Ok(sniffed)
}

impl Sniffed {
    /// Looks for the first frame; returns whether it may lie further on.
    fn first_frame(&mut self, bytes: &[u8], last: bool) -> bool {
        let mut info = FileInfo::default();
        let mut problems = Vec::new();
        let mut log = Log { input: 0, info: &mut info, problems: &mut problems };
        let mut frames = Vec::with_capacity(1);
        let window = Window { bytes, base: 0, last };
        let step = Parser::Start.read(&window, &mut 0, &mut frames, 1, &mut log);
        self.first_ns = frames.first().map(|frame| frame.ts_ns);
        self.dlts = info.interfaces.iter().map(|interface| interface.dlt).collect();
        step == Step::NeedMore
    }
}

impl From<String> for Refused {
    fn from(detail: String) -> Self {
        Self { kind: ProblemKind::NotACapture, at: None, detail }
    }
}

fn more(mapped: &mut Mapped) -> Result<(), Refused> {
    mapped.more().map_err(|error| Refused {
        kind: ProblemKind::Unreadable,
        at: None,
        detail: format!("cannot be read: {error}"),
    })
}

/// Decompresses as much of the file as it takes to recognise what is in it.
fn compressed(mapped: &mut Mapped, compression: Compression) -> Result<Sniffed, Refused> {
    loop {
        let mut bytes = Vec::new();
        let end = decoder(compression, mapped.bytes())
            .and_then(|decoder| decoder.take(DECOMPRESSED).read_to_end(&mut bytes));
        let failed = match (detect(&bytes), end) {
            (Detected::Known(container), _) => {
                let mut sniffed = Sniffed { format: Format { container, compression }, ..Sniffed::default() };
                sniffed.first_frame(&bytes, false);
                return Ok(sniffed);
            }
            (Detected::Short, Err(error)) => error.kind(),
            _ => return Err((not_a_capture(&bytes) + " (decompressed)").into()),
        };
        if failed == io::ErrorKind::UnexpectedEof && !mapped.is_whole() && mapped.bytes().len() < LOOKED_AT {
            more(mapped)?;
            continue;
        }
        let (kind, how) = match failed {
            io::ErrorKind::UnexpectedEof => (ProblemKind::Truncated, "ends too early"),
            _ => (ProblemKind::Corrupt, "is corrupt"),
        };
        let at = Some(bytes.len() as u64).filter(|&at| at > 0);
        return Err(Refused { kind, at, detail: format!("the compressed data {how}: nothing can be read") });
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{
        super::{
            fixtures::{Order, THEN, block, gzip, interface, noise, packet, pcap, pcap_at, section, zstd},
            info::Container,
        },
        *,
    };

    fn sniffed(bytes: &[u8]) -> Result<Sniffed, Refused> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        sniff(&mut Mapped::new(&file).unwrap())
    }

    #[test]
    fn a_capture_tells_its_format_link_types_and_beginning() {
        let then = i64::from(THEN) * 1_000_000_000;
        let plain = sniffed(&pcap_at(&[5, 1])).unwrap();
        assert_eq!(plain.first_ns, Some(then + 5_000_000_000));
        assert_eq!(plain.dlts, [1]);
        for (compressed, name) in [(gzip(&pcap_at(&[5])), "gzip"), (zstd(&pcap_at(&[5])), "zstd")] {
            let sniffed = sniffed(&compressed).unwrap();
            assert_eq!((sniffed.first_ns, &sniffed.dlts), (plain.first_ns, &plain.dlts));
            assert!(sniffed.format.to_string().ends_with(name));
        }
    }

    #[test]
    fn the_first_packet_is_found_behind_long_blocks() {
        let order = Order::Big;
        let file = [
            section(order, &[]),
            block(order, 10, &vec![0; 6 << 20]),
            interface(order, 113, 0, &[]),
            packet(order, 0, 7, b"x", &[]),
        ]
        .concat();
        let found = sniffed(&file).unwrap();
        assert_eq!((found.first_ns, found.dlts), (Some(7000), vec![113]));
        let compressed = sniffed(&gzip(&file)).unwrap();
        assert_eq!(compressed.first_ns, None, "so far compressed files are not read ahead");
    }

    #[test]
    fn data_that_does_not_compress_is_no_obstacle() {
        let noise = noise(200_000);
        let file = pcap(Order::Little, 0xa1b2_c3d4, 1, &[(THEN, 0, &noise)]);
        for compressed in [zstd(&file), gzip(&file)] {
            assert!(compressed.len() > 150_000);
            assert!(matches!(sniffed(&compressed).unwrap().format.container, Container::Pcap { .. }));
        }
    }

    #[test]
    fn what_is_no_capture_is_refused_with_the_reason() {
        for (bytes, kind, reason) in [
            (&b""[..], ProblemKind::NotACapture, "not a capture: it is empty"),
            (b"\xd4\xc3", ProblemKind::NotACapture, "not a capture: it has only 2 bytes"),
            (
                b"GET / HTTP/1.1",
                ProblemKind::NotACapture,
                "not a capture: it begins with 47 45 54 20; pcap and pcapng are read",
            ),
            (
                b"\n\r\r\nIntroduction",
                ProblemKind::NotACapture,
                "not a capture: it begins with 0a 0d 0d 0a; pcap and pcapng are read",
            ),
            (
                &gzip(b"text"),
                ProblemKind::NotACapture,
                "not a capture: it begins with 74 65 78 74; pcap and pcapng are read (decompressed)",
            ),
            (&gzip(b""), ProblemKind::NotACapture, "not a capture: it is empty (decompressed)"),
            (
                &gzip(&pcap_at(&[1]))[..10],
                ProblemKind::Truncated,
                "the compressed data ends too early: nothing can be read",
            ),
            (
                b"\x1f\x8b\x07\0\0\0\0\0\0\0\0\0",
                ProblemKind::Corrupt,
                "the compressed data is corrupt: nothing can be read",
            ),
        ] {
            assert_eq!(sniffed(bytes), Err(Refused { kind, at: None, detail: reason.into() }));
        }
    }
}
