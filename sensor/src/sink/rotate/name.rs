//! Names of finished files: `eve.json` that began at 13:00:00 UTC becomes `eve-20261124T130000Z.json`, a second one of that
//! second `eve-20261124T130000Z-1.json`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// A second, and which of its files: the order in which files were finished.
pub(super) type Order = ([u8; STAMP], u32);

/// Letters of `20261124T130000Z`.
const STAMP: usize = 16;

/// How finished files of one path are called.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// File name up to its extension, with a `-`.
    stem: Vec<u8>,
    /// Extension with its dot, or nothing.
    extension: Vec<u8>,
}

impl Names {
    pub(super) fn of(path: &Path) -> Self {
        let mut stem = path.file_stem().unwrap_or(OsStr::new("")).as_bytes().to_vec();
        stem.push(b'-');
        let extension = path.extension().map(|e| [b".", e.as_bytes()].concat()).unwrap_or_default();
        Self { stem, extension }
    }

    /// The name of the `nth` (from 0) file that began at `stamp`.
    pub(super) fn finished(&self, stamp: &str, nth: u32) -> OsString {
        let mut name = [&self.stem, stamp.as_bytes()].concat();
        if nth > 0 {
            name.extend_from_slice(format!("-{nth}").as_bytes());
        }
        name.extend_from_slice(&self.extension);
        OsString::from_vec(name)
    }

    /// Whether [`Self::finished`] makes such a name, and which place it has among them.
    pub(super) fn order(&self, name: &OsStr) -> Option<Order> {
        let middle = name.as_bytes().strip_prefix(&self.stem[..])?.strip_suffix(&self.extension[..])?;
        let (stamp, rest) = middle.split_first_chunk::<STAMP>()?;
        let shaped = stamp.iter().enumerate().all(|(i, c)| match i {
            8 => *c == b'T',
            15 => *c == b'Z',
            _ => c.is_ascii_digit(),
        });
        let nth = match rest.split_first() {
            None => 0,
            Some((b'-', [first @ b'1'..=b'9', more @ ..])) if more.iter().all(u8::is_ascii_digit) => {
                std::str::from_utf8(&[&[*first], more].concat()).ok()?.parse().ok()?
            }
            Some(_) => return None,
        };
        shaped.then_some((*stamp, nth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_it_gives_itself_are_its_own() {
        let names = Names::of(Path::new("/var/log/eve.json"));
        let order = |name: &str| names.order(OsStr::new(name));
        assert_eq!(names.finished("20261124T130000Z", 0), "eve-20261124T130000Z.json");
        assert_eq!(order("eve-20261124T130000Z.json"), Some((*b"20261124T130000Z", 0)));
        assert_eq!(order("eve-20261124T130000Z-12.json"), Some((*b"20261124T130000Z", 12)));
        for foreign in [
            "eve.json",
            "eve-.json",
            "eve-20261124T130000Z.json.gz",
            "eve-20261124T130000Z",
            "eve-20261124T130000Z-0.json",
            "eve-20261124T130000Z-01.json",
            "eve-20261124T130000Z-.json",
            "eve-20261124T130000Z-+1.json",
            "eve-20261124T130000Z-99999999999.json",
            "eve-20261124T13000.json",
            "eve-20261124 130000Z.json",
            "eve-wan-20261124T130000Z.json",
            "xeve-20261124T130000Z.json",
        ] {
            assert_eq!(order(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_name_without_an_extension_stays_without() {
        let names = Names::of(Path::new("eve"));
        assert_eq!(names.finished("20261124T130000Z", 3), "eve-20261124T130000Z-3");
        assert_eq!(names.order(OsStr::new("eve-20261124T130000Z")), Some((*b"20261124T130000Z", 0)));
        assert_eq!(names.order(OsStr::new("eve-20261124T130000Z.json")), None);
    }

    #[test]
    fn finished_files_are_ordered_by_number_not_by_letter() {
        let names = Names::of(Path::new("eve.json"));
        let order = |name: &str| names.order(OsStr::new(name));
        assert!(order("eve-20261124T130000Z-9.json") < order("eve-20261124T130000Z-10.json"));
        assert!(order("eve-20261124T130000Z-10.json") < order("eve-20261124T130001Z.json"));
    }
}
