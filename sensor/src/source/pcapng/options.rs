//! pcapng options: a list of code, length and value behind the fixed fields of a block.

use super::super::fields::u16_at;

/// Ends a list of options.
const END_OF_OPTIONS: u16 = 0;

/// A comment, in any block.
pub(super) const COMMENT: u16 = 1;

/// The options in `bytes`; a list that is cut short or overruns ends where it stops making sense.
pub(super) fn options<const BIG_ENDIAN: bool>(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let header = rest.first_chunk::<4>()?;
        let code = u16_at::<BIG_ENDIAN>(header, 0);
        let length = usize::from(u16_at::<BIG_ENDIAN>(header, 2));
        if code == END_OF_OPTIONS {
            return None;
        }
        let value = rest.get(4..4 + length)?;
        rest = rest.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        Some((code, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_padded_to_four_bytes_and_end_at_the_end_marker() {
        let bytes = [0, 1, 0, 1, b'x', 0, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4, 0, 0, 0, 0, 0, 1, 0, 0];
        let found: Vec<_> = options::<true>(&bytes).collect();
        assert_eq!(found, [(1, &b"x"[..]), (9, &[1, 2, 3, 4][..])]);
    }

    #[test]
    fn an_option_that_overruns_its_block_is_not_an_option() {
        assert_eq!(options::<false>(&[1, 0, 5, 0, b'x', b'y', b'z', 0]).count(), 0);
        assert_eq!(options::<false>(&[1, 0, 2]).count(), 0);
        let without_padding = [1, 0, 1, 0, b'x'];
        assert_eq!(options::<false>(&without_padding).collect::<Vec<_>>(), [(1, &b"x"[..])]);
    }
}
