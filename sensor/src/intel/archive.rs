//! Reads a source as its package client leaves it: a plain file, a member of an npm `.tgz` or of a Python wheel.
//!
//! Only what those two clients write is understood: gzip + ustar, and zip with stored or deflated members. Sizes are
//! bounded, so a hostile archive costs a fixed amount of memory.

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::{DeflateDecoder, GzDecoder};

use super::{Error, Place};

/// Members and archives beyond this size are refused: the largest real one is 24 MB.
const MAX_LEN: u64 = 512 << 20;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZIP_MAGIC: &[u8] = b"PK\x03\x04";

/// A file, or a member of an archive.
#[derive(Debug)]
pub(super) struct Member {
    /// Path inside the archive, or the file's own name.
    pub(super) name: String,
    /// For messages: `file` or `archive:member`.
    pub(super) shown: String,
    pub(super) bytes: Vec<u8>,
}

impl Member {
    /// The last part of the name.
    pub(super) fn file_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }
}

/// The members of the archive at `path`, or the file itself if it is no archive.
pub(super) fn open(path: &Path) -> Result<Vec<Member>, Error> {
    let bytes = fs::read(path).map_err(|error| Error::io(path, error))?;
    let shown = path.display().to_string();
    if bytes.starts_with(ZIP_MAGIC) {
        return zip(&shown, &bytes);
    }
    if bytes.starts_with(GZIP_MAGIC) {
        let inner = inflate(GzDecoder::new(&bytes[..]), &shown)?;
        if is_tar(&inner) {
            return tar(&shown, &inner);
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(vec![Member { name, shown, bytes: inner }]);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(vec![Member { name, shown, bytes }])
}

fn inflate(reader: impl Read, shown: &str) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    reader
        .take(MAX_LEN + 1)
        .read_to_end(&mut out)
        .map_err(|error| Error::format(shown, Place::File, format!("damaged archive: {error}")))?;
    if out.len() as u64 > MAX_LEN {
        return Err(Error::format(shown, Place::File, format!("unpacks to more than {} MB", MAX_LEN >> 20)));
    }
    Ok(out)
}

// POSIX.1-1988 ustar: 512-byte header blocks, size in octal at 124, type at 156, magic at 257, prefix at 345.
const TAR_BLOCK: usize = 512;

fn is_tar(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

fn tar(shown: &str, bytes: &[u8]) -> Result<Vec<Member>, Error> {
    let text = |field: &[u8]| {
        let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
        String::from_utf8_lossy(&field[..end]).trim().to_owned()
    };
    let mut members = Vec::new();
    let mut at = 0;
    while let Some(header) = bytes.get(at..at + TAR_BLOCK).filter(|header| header[0] != 0) {
        let size = usize::from_str_radix(&text(&header[124..136]), 8).ok();
        let start = at + TAR_BLOCK;
        let content = size.and_then(|size| bytes.get(start..start.checked_add(size)?));
        let Some(content) = content else {
            return Err(Error::format(shown, Place::Byte(at), "damaged archive: a member has no valid size"));
        };
        // '0' and NUL are regular files; everything else (folders, extended headers) is not data.
        if matches!(header[156], b'0' | 0) {
            let name = text(&header[..100]);
            members.push(Member { shown: format!("{shown}:{name}"), name, bytes: content.to_vec() });
        }
        at = start + content.len().next_multiple_of(TAR_BLOCK);
    }
    Ok(members)
}

// PKWARE APPNOTE 6.3.10, sections 4.3.12 (central directory header) and 4.3.16 (end of central directory).
const ZIP_END_MAGIC: &[u8] = b"PK\x05\x06";
const ZIP_ENTRY_MAGIC: &[u8] = b"PK\x01\x02";
const ZIP_END_LEN: usize = 22;
const ZIP_ENTRY_LEN: usize = 46;
const ZIP_LOCAL_LEN: usize = 30;

fn zip(shown: &str, bytes: &[u8]) -> Result<Vec<Member>, Error> {
    let damaged =
        |at: usize, what: &str| Error::format(shown, Place::Byte(at), format!("damaged zip: {what}"));
    let last_end = bytes.len().saturating_sub(ZIP_END_LEN);
    let end = (0..=last_end)
        .rev()
        .take(1 << 16)
        .find(|&at| bytes[at..].starts_with(ZIP_END_MAGIC))
        .ok_or_else(|| damaged(bytes.len(), "no end of central directory"))?;
    let u16_at = |at: usize| bytes.get(at..at + 2).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]])));
    let u32_at =
        |at: usize| bytes.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);

    let mut members = Vec::new();
    let mut at = u32_at(end + 16).unwrap_or(0);
    for _ in 0..u16_at(end + 10).unwrap_or(0) {
        let entry = bytes
            .get(at..)
            .filter(|rest| rest.starts_with(ZIP_ENTRY_MAGIC) && rest.len() >= ZIP_ENTRY_LEN)
            .ok_or_else(|| damaged(at, "a directory entry is cut off"))?;
        let field = |offset: usize| usize::from(u16::from_le_bytes([entry[offset], entry[offset + 1]]));
        let (method, name_len) = (field(10), field(28));
        let packed_len = u32_at(at + 20).unwrap_or(0);
        let local = u32_at(at + 42).unwrap_or(0);
        let name = String::from_utf8_lossy(entry.get(ZIP_ENTRY_LEN..ZIP_ENTRY_LEN + name_len).unwrap_or(&[]));
        // The local header repeats the name and has its own extra field: only its lengths tell where data starts.
        let start = u16_at(local + 26).zip(u16_at(local + 28)).map(|(n, e)| local + ZIP_LOCAL_LEN + n + e);
        let packed = start
            .and_then(|start| bytes.get(start..start.checked_add(packed_len)?))
            .ok_or_else(|| damaged(at, "a member is cut off"))?;
        let member_shown = format!("{shown}:{name}");
        let content = match method {
            0 => packed.to_vec(),
            8 => inflate(DeflateDecoder::new(packed), &member_shown)?,
            other => return Err(damaged(at, &format!("compression method {other} is not supported"))),
        };
        members.push(Member { name: name.into_owned(), shown: member_shown, bytes: content });
        at += ZIP_ENTRY_LEN + name_len + field(30) + field(32);
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder};
    use std::io::Write;

    /// Opens `bytes` as a file of that name.
    fn open_bytes(name: &str, bytes: &[u8]) -> Vec<Member> {
        let dir = std::env::temp_dir().join(format!("farend-archive-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("temporary folder");
        let path = dir.join(name);
        fs::write(&path, bytes).expect("temporary file");
        let opened = open(&path);
        let _ = fs::remove_dir_all(&dir);
        opened.expect(name)
    }

    fn tar_of(name: &str, content: &[u8]) -> Vec<u8> {
        let mut block = vec![0; TAR_BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        block[156] = b'0';
        block[257..263].copy_from_slice(b"ustar\0");
        block.extend_from_slice(content);
        block.resize(block.len().next_multiple_of(TAR_BLOCK) + 2 * TAR_BLOCK, 0);
        block
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn zip_of(name: &str, content: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).expect("memory");
        let packed = encoder.finish().expect("memory");
        let mut out = b"PK\x03\x04".to_vec();
        out.extend_from_slice(&[0; 22]);
        out.extend_from_slice(&(name.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&packed);
        let directory = out.len();
        let mut entry = vec![0; ZIP_ENTRY_LEN];
        entry[..4].copy_from_slice(ZIP_ENTRY_MAGIC);
        entry[10] = 8;
        entry[20..24].copy_from_slice(&(packed.len() as u32).to_le_bytes());
        entry[28..30].copy_from_slice(&(name.len() as u16).to_le_bytes());
        out.extend_from_slice(&entry);
        out.extend_from_slice(name.as_bytes());
        let mut end = vec![0; ZIP_END_LEN];
        end[..4].copy_from_slice(ZIP_END_MAGIC);
        end[10] = 1;
        end[16..20].copy_from_slice(&(directory as u32).to_le_bytes());
        out.extend_from_slice(&end);
        out
    }

    #[test]
    fn members_of_both_package_formats_come_out_whole() {
        let content = b"1.0.0.0,1.0.0.255,13335,Cloudflare\n".repeat(99);
        for (file, bytes) in [
            ("asn.tgz", gzip(&tar_of("package/asn-ipv4.csv", &content))),
            ("asn.whl", zip_of("package/asn-ipv4.csv", &content)),
        ] {
            let members = open_bytes(file, &bytes);
            assert_eq!(members.len(), 1, "{file}");
            assert_eq!(members[0].file_name(), "asn-ipv4.csv");
            assert!(members[0].shown.ends_with(&format!("{file}:package/asn-ipv4.csv")));
            assert_eq!(members[0].bytes, content, "{file}");
        }
    }

    #[test]
    fn a_plain_or_gzipped_file_is_its_own_only_member() {
        for (file, bytes) in [("list.txt", b"192.0.2.1\n".to_vec()), ("list.txt.gz", gzip(b"192.0.2.1\n"))] {
            let members = open_bytes(file, &bytes);
            assert_eq!((members[0].file_name(), &members[0].bytes[..]), ("list.txt", &b"192.0.2.1\n"[..]));
        }
    }

    #[test]
    fn an_archive_cut_at_any_byte_is_an_error_or_shorter_but_never_a_panic() {
        let whole = zip_of("data/ranges.bin", &[7; 500]);
        for cut in 4..whole.len() {
            assert!(zip("cut.whl", &whole[..cut]).is_err(), "cut at {cut}");
        }
        let whole = tar_of("package/asn-ipv4.csv", &[7; 700]);
        for cut in 300..whole.len() {
            let _ = tar("cut.tgz", &whole[..cut]);
        }
        let cut = tar("cut.tgz", &whole[..TAR_BLOCK + 100]).expect_err("700 bytes are announced");
        assert_eq!(cut.to_string(), "cut.tgz: byte 0: damaged archive: a member has no valid size");
    }
}
