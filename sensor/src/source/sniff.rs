//! A first look at a file: is it a capture, of what kind, and when does it begin?
//!
//! In: a mapped file, of which as little as possible is read. Out: [`Sniffed`]. The timeline orders files by their first
//! frame and opens each when its time has come, so thousands of files need few of them open.

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;

use super::{
    decompress,
    info::{Compression, FileInfo, Format},
    mapped::Mapped,
    parser::{Detected, Parser, Step, Window, detect, not_a_capture},
    problem::{Log, ProblemKind},
};

/// Decompressed bytes looked at: enough for the first frame behind any usual header.
const DECOMPRESSED: u64 = 64 << 10;

/// Mapped bytes looked at for a first frame, which may come behind long blocks of name resolution or decryption secrets.
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
    pub(super) detail: String,
}

/// Looks at the beginning of a file.
///
/// # Errors
/// When it is no capture, or not even its first bytes can be read.
pub(super) fn sniff(mapped: &mut Mapped) -> Result<Sniffed, Refused> {
    more(mapped)?;
    let compression = decompress::compression(mapped.bytes());
    if compression != Compression::None {
        return compressed(mapped, compression);
    }
    let container = match detect(mapped.bytes()) {
        Detected::Known(container) => container,
        _ => return Err(not_a_capture(mapped.bytes()).into()),
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
        Self { kind: ProblemKind::NotACapture, detail }
    }
}

fn more(mapped: &mut Mapped) -> Result<(), Refused> {
    mapped.more().map_err(|error| Refused {
        kind: ProblemKind::Unreadable,
        detail: format!("cannot be read: {error}"),
    })
}

/// Decompresses as much of the file as it takes to recognise what is in it.
fn compressed(mapped: &mut Mapped, compression: Compression) -> Result<Sniffed, Refused> {
    loop {
        let mut bytes = Vec::new();
        let end = match compression {
            Compression::Zstd => zstd::stream::read::Decoder::with_buffer(mapped.bytes())
                .and_then(|decoder| decoder.take(DECOMPRESSED).read_to_end(&mut bytes)),
            _ => MultiGzDecoder::new(mapped.bytes()).take(DECOMPRESSED).read_to_end(&mut bytes),
        };
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
        return Err(Refused { kind, detail: format!("the compressed data {how}: nothing can be read") });
    }
}
