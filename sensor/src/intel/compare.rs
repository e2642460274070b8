//! `intel compare`: how far our classes agree with another list of AS numbers, and where they do not.
//!
//! In: lists with an AS number a line (`AS24940`, `24940,"Hetzner"`), each of one class by its header `# class: …`, or
//! tables `asn TAB class TAB …`. Out: for each class of a list how our table classes the same ASes, and the largest
//! disagreements by address space. Such a list is checked against, never copied.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::{Class, EMBEDDED, Error, Place};

/// Disagreements shown a class.
const MAX_SHOWN: usize = 25;

/// An AS in our database.
struct Own {
    class: Class,
    org: String,
    /// IPv4 addresses.
    space: u64,
}

/// Compares the embedded classes with the AS lists at `paths`; a class in `stated` holds for lists that say none.
///
/// # Errors
/// A list that cannot be read, or one whose class nothing says.
pub fn compare_text(paths: &[impl AsRef<Path>], stated: Option<Class>) -> Result<String, Error> {
    let own = own_classes();
    let mut out = String::new();
    for path in paths {
        let path = path.as_ref();
        let shown = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
        for (class, listed) in read(&shown, &text, stated)? {
            compare(&mut out, &shown, class, &listed, &own);
        }
    }
    Ok(out)
}

fn compare(out: &mut String, shown: &str, class: Class, listed: &[u32], own: &HashMap<u32, Own>) {
    let mut by_class: BTreeMap<Class, Vec<(u32, &Own)>> = BTreeMap::new();
    for &asn in listed {
        if let Some(own) = own.get(&asn) {
            by_class.entry(own.class).or_default().push((asn, own));
        }
    }
    let announced: usize = by_class.values().map(Vec::len).sum();
    let space = |rows: &[(u32, &Own)]| rows.iter().map(|(_, own)| own.space).sum::<u64>();
    let all: u64 = by_class.values().map(|rows| space(rows)).sum();
    let _ = writeln!(out, "{shown}: {} listed as {class}, {announced} announce addresses", listed.len());
    for (ours, rows) in &by_class {
        let percent = |part: f64, whole: f64| if whole > 0.0 { 100.0 * part / whole } else { 0.0 };
        let _ = writeln!(
            out,
            "    {ours:<12} {:>6} ASes {:>5.1} %   {:>5.1} % of the space",
            rows.len(),
            percent(rows.len() as f64, announced as f64),
            percent(space(rows) as f64, all as f64)
        );
    }
    let mut different: Vec<(u32, &Own)> = by_class
        .into_iter()
        .filter(|(ours, _)| *ours != class && *ours != Class::Unknown)
        .flat_map(|(_, rows)| rows)
        .collect();
    different.sort_by_key(|(asn, own)| (std::cmp::Reverse(own.space), *asn));
    for (asn, own) in different.iter().take(MAX_SHOWN) {
        let _ = writeln!(out, "      AS{asn} {}: {}, {} addresses", own.org, own.class, own.space);
    }
}

/// Class, name and IPv4 space of every AS in the embedded database.
fn own_classes() -> HashMap<u32, Own> {
    let mut out: HashMap<u32, Own> = HashMap::new();
    // The AS's own class, not that of single prefixes of it: the record with the most space says it.
    let mut largest: HashMap<u32, u64> = HashMap::new();
    for (record, net) in EMBEDDED.records() {
        let Some(asn) = record.asn else { continue };
        let len = if net.addr().is_ipv4() { 1_u64 << (32 - net.prefix_len()) } else { 0 };
        let entry = out.entry(asn).or_insert_with(|| Own {
            class: record.class,
            org: record.as_org.as_deref().unwrap_or_default().to_owned(),
            space: 0,
        });
        entry.space += len;
        let best = largest.entry(asn).or_default();
        if !record.prefix_class && len >= *best {
            *best = len;
            entry.class = record.class;
        }
    }
    out
}

/// The classes that a list states and the ASes under each.
fn read(shown: &str, text: &str, stated: Option<Class>) -> Result<BTreeMap<Class, Vec<u32>>, Error> {
    let mut class = stated;
    let mut out: BTreeMap<Class, Vec<u32>> = BTreeMap::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# class:") {
            class = name.trim().parse().ok();
            continue;
        }
        let mut fields = line.split(['\t', ',', ' ', '#']).map(str::trim);
        let first = fields.next().unwrap_or_default();
        // Headings and comments have no number here.
        let Ok(asn) = first.trim_start_matches("AS").parse::<u32>() else { continue };
        let own = fields.next().and_then(|field| field.parse::<Class>().ok()).filter(|_| line.contains('\t'));
        let Some(class) = own.or(class) else {
            let what = "the list does not say what the ASes are: give its class";
            return Err(Error::format(shown, Place::File, what));
        };
        out.entry(class).or_default().push(asn);
    }
    for listed in out.values_mut() {
        listed.sort_unstable();
        listed.dedup();
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_every_layout_give_as_numbers_by_class() {
        let expected = BTreeMap::from([(Class::Hosting, vec![14061, 24940])]);
        for text in [
            "AS24940 # Hetzner, DE\nAS14061\n",
            "ASN,Entity\n24940,\"Hetzner, DE\"\n14061, \"DigitalOcean\"\n24940,again\n",
        ] {
            assert_eq!(read("l", text, Some(Class::Hosting)).expect("valid"), expected);
        }
        let own = "asn\tclass\tsources\n24940\thosting\ta\n7922\tisp\tb\n14061\thosting\tb\n";
        let read_own = read("l", own, None).expect("the rows say their class");
        assert_eq!(read_own[&Class::Hosting], [14061, 24940]);
        assert_eq!(read_own[&Class::Isp], [7922]);
        assert!(read("l", "24940\n", None).is_err());
    }

    #[test]
    fn a_hoster_listed_as_isp_shows_as_a_disagreement() {
        let list = std::env::temp_dir().join(format!("farend-compare-{}", std::process::id()));
        fs::write(&list, "# class: isp\n24940\n7922\n").expect("temporary file");
        let compared = compare_text(&[&list], None);
        let _ = fs::remove_file(&list);
        let text = compared.expect("valid");
        assert!(text.contains("2 listed as isp, 2 announce addresses"), "{text}");
        assert!(text.contains("AS24940 Hetzner Online GmbH: hosting"), "{text}");
        assert!(!text.contains("AS7922"), "{text}");
    }
}
