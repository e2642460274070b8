//! The title of a web page, read from the first bytes of an answer's body.
//!
//! In: the body as it comes, chunk sizes and all. Out: the text between `<title>` and `</title>` (HTML Living Standard section
//! 4.2.2) once both are there, or that there is none.

use crate::device::{Said, What};
use crate::{Dir, Out};

/// Bytes of a page within which its title must end: a head begins with it.
pub(crate) const PAGE_MAX: u64 = 8_192;
/// Characters kept of a title.
const TITLE_MAX: usize = 64;
/// What a compressed body begins with: gzip (RFC 1952 section 2.3.1), in which nothing can be read.
const GZIP: [u8; 2] = [0x1F, 0x8B];
/// A head has ended without a title where one of these begins.
const BEHIND: [&[u8]; 2] = [b"</head", b"<body"];

/// Reads what there is of a page sent in direction `dir`; answers whether nothing more is wanted of it.
pub(crate) fn read(page: &[u8], dir: Dir, out: &mut Out) -> bool {
    match title(page) {
        Seen::Title(title) => {
            out.says(Said { what: What::Title, text: title, mac: None, addr: None, by: Some(dir.sender()) });
            true
        }
        Seen::None => true,
        Seen::NotYet => u64::try_from(page.len()).unwrap_or(u64::MAX) >= PAGE_MAX,
    }
}

enum Seen {
    Title(Box<str>),
    None,
    NotYet,
}

fn title(page: &[u8]) -> Seen {
    if page.starts_with(&GZIP) {
        return Seen::None;
    }
    let Some(at) = find(page, b"<title") else {
        let over = BEHIND.iter().any(|tag| find(page, tag).is_some());
        return if over { Seen::None } else { Seen::NotYet };
    };
    // An attribute may stand in the tag.
    let tag = page.get(at..).unwrap_or_default();
    let Some(open) = tag.iter().position(|b| *b == b'>') else { return Seen::NotYet };
    let text = tag.get(open.saturating_add(1)..).unwrap_or_default();
    let Some(end) = find(text, b"</title") else { return Seen::NotYet };
    let text = String::from_utf8_lossy(text.get(..end).unwrap_or_default());
    let words: Vec<&str> = text.split_whitespace().collect();
    Seen::Title(
        words.join(" ").chars().filter(|c| !c.is_control()).take(TITLE_MAX).collect::<String>().into(),
    )
}

/// Where `wanted`, in lower case, begins, whatever its case.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;

    fn titles(page: &[u8]) -> (bool, Vec<String>) {
        let mut out = Out::default();
        let done = read(page, Dir::ToClient, &mut out);
        assert!(out.said.iter().all(|s| s.by == Some(Side::Dest) && s.what == What::Title));
        (done, out.said.iter().map(|s| s.text.to_string()).collect())
    }

    #[test]
    fn a_title_is_read_whatever_its_case_attributes_and_blanks() {
        let page = b"<!DOCTYPE html>\n<html><head>\n<TITLE class=x>\n  PiKVM\tLogin </Title></head>";
        assert_eq!(titles(page), (true, vec!["PiKVM Login".to_owned()]));
        assert_eq!(titles(b"1f\r\n<title>JetKVM</title>"), (true, vec!["JetKVM".to_owned()]));
    }

    #[test]
    fn a_title_that_has_not_ended_is_waited_for_and_not_for_ever() {
        assert_eq!(titles(b"<html><head><title>PiKVM Lo"), (false, vec![]));
        assert_eq!(titles(b"<html><head><titl"), (false, vec![]));
        assert_eq!(titles(b""), (false, vec![]));
        assert_eq!(titles(&[b' '; 8_192]), (true, vec![]));
    }

    #[test]
    fn a_page_without_a_title_or_one_that_is_compressed_is_done_with() {
        assert_eq!(titles(b"<html><head></head><body><p>x"), (true, vec![]));
        assert_eq!(titles(b"\x1f\x8b\x08\x00\x00"), (true, vec![]));
    }

    #[test]
    fn a_long_title_is_cut_and_controls_are_left_out() {
        let page = [b"<title>a\x07b".as_slice(), &[b'x'; 300], b"</title>"].concat();
        let (done, said) = titles(&page);
        assert!(done && said[0].starts_with("abxx") && said[0].len() == TITLE_MAX, "{said:?}");
    }
}
