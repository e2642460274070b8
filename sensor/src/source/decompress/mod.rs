//! Decompression of captures.
//!
//! In: compressed bytes. Out: what is in them, up to the very point where they are cut or corrupt: which
//! frames are read before that point must not depend on the sizes of buffers. (The readers of `flate2` and
//! `zstd` drop what a failing call has produced, so these are built on the layer below.) Compression is
//! recognised by magic number, never by name.

mod gunzip;
mod unzstd;

use std::io::{self, BufRead, Read};

use super::info::Compression;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A skippable frame (RFC 8878 section 3.1.2) in any of its 16 versions; parallel compressors begin with one.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

/// The compression that the first four bytes announce.
pub(super) fn compression(bytes: &[u8]) -> Compression {
    match bytes {
        [a, b, ..] if [*a, *b] == GZIP_MAGIC => Compression::Gzip,
        [a, b, c, d, ..] if [*a, *b, *c, *d] == ZSTD_MAGIC => Compression::Zstd,
        [0x50..=0x5f, b, c, d, ..] if [*b, *c, *d] == ZSTD_SKIPPABLE => Compression::Zstd,
        _ => Compression::None,
    }
}

/// What `input` decompresses to.
///
/// Reading it fails with [`io::ErrorKind::UnexpectedEof`] where the compressed data is cut, with
/// [`io::ErrorKind::InvalidData`] where it is corrupt, and with the errors of `input`.
///
/// # Errors
/// When there is no memory for a decoder.
pub(super) fn decoder<'a>(
    compression: Compression,
    input: impl BufRead + 'a,
) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(gunzip::Gunzip::new(input)),
        Compression::Zstd => Box::new(unzstd::Unzstd::new(input)?),
    })
}

/// The bytes that are there, read again after an interruption.
fn fill(input: &mut impl BufRead) -> io::Result<&[u8]> {
    while let Err(error) = input.fill_buf() {
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    input.fill_buf()
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixtures::{gzip, noise, zstd},
        *,
    };

    /// Everything that comes out before the end or an error, read with buffers of this size.
    fn decoded(compressed: &[u8], buffer: usize) -> (Vec<u8>, Option<io::ErrorKind>) {
        let mut decoder = decoder(compression(compressed), compressed).unwrap();
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; buffer]);
        loop {
            match decoder.read(&mut buffer) {
                Ok(0) => return (bytes, None),
                Ok(read) => bytes.extend(&buffer[..read]),
                Err(error) => return (bytes, Some(error.kind())),
            }
        }
    }

    /// Half of it compresses, half does not.
    fn sample() -> Vec<u8> {
        let mut bytes = noise(100_000);
        bytes.extend(b"farend ".repeat(50_000));
        bytes
    }

    #[test]
    fn what_was_compressed_comes_out_again() {
        for bytes in [vec![], b"x".to_vec(), sample()] {
            for compress in [gzip, zstd] {
                for buffer in [1000, 1 << 20] {
                    assert!(decoded(&compress(&bytes), buffer) == (bytes.clone(), None));
                }
            }
        }
    }

    #[test]
    fn what_comes_out_before_a_cut_or_an_error_does_not_depend_on_buffers() {
        for compress in [gzip, zstd] {
            let whole = compress(&sample());
            for at in [10, 20_000, whole.len() / 2, whole.len() - 300, whole.len() - 5] {
                let mut corrupt = whole.clone();
                for byte in &mut corrupt[at..at + 4] {
                    *byte ^= 0xff;
                }
                for (bytes, kind) in
                    [(&whole[..at], io::ErrorKind::UnexpectedEof), (&corrupt, io::ErrorKind::InvalidData)]
                {
                    let (first, error) = decoded(bytes, 1 << 20);
                    assert_eq!(error, Some(kind), "at {at}");
                    for buffer in [1, 777, 60 << 10] {
                        let (again, _) = decoded(bytes, buffer);
                        assert_eq!(again.len(), first.len(), "at {at} with a buffer of {buffer}");
                        assert!(again == first);
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_is_lost_before_a_cut() {
        let bytes = noise(300_000);
        for compress in [gzip, zstd] {
            let compressed = compress(&bytes);
            let (before, _) = decoded(&compressed[..200_000], 1 << 20);
            assert!(before.len() > 200_000 - (128 << 10) - 1000, "only {} bytes", before.len());
            assert!(bytes.starts_with(&before));
        }
    }

    #[test]
    fn members_and_frames_follow_each_other_and_garbage_is_an_error() {
        for compress in [gzip, zstd] {
            let mut two = [compress(b"one"), compress(b""), compress(b"two")].concat();
            assert_eq!(decoded(&two, 100), (b"onetwo".to_vec(), None));
            two.extend(b"garbage");
            assert_eq!(decoded(&two, 100), (b"onetwo".to_vec(), Some(io::ErrorKind::InvalidData)));
        }
        let padded = [gzip(b"one"), vec![0; 20], gzip(b"two"), vec![0; 20]].concat();
        assert_eq!(decoded(&padded, 100), (b"onetwo".to_vec(), None));
    }

    #[test]
    fn compression_is_told_by_its_magic_number() {
        assert_eq!(compression(&gzip(b"")), Compression::Gzip);
        assert_eq!(compression(&zstd(b"")), Compression::Zstd);
        assert_eq!(compression(&[0x5a, 0x2a, 0x4d, 0x18]), Compression::Zstd);
        assert_eq!(compression(&[0x4f, 0x2a, 0x4d, 0x18]), Compression::None);
        assert_eq!(compression(&[0x1f]), Compression::None);
    }
}
