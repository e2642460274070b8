//! `intel compare`: how far our classes agree with other lists, and where they do not.
//!
//! In: lists with an AS number a line (`AS24940`, `24940,"Hetzner"`) or an address, prefix or range a line, each of one class by
//! its header `# class: …`, its name or the caller's word, or tables `asn TAB class TAB …`. Out: for each class of a list how our
//! data class the same ASes or addresses, and the largest disagreements. Such a list is checked against, never copied.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::list::{List, class_of_name};
use super::{Class, EMBEDDED, Error, Intel, Place};

/// Disagreements shown a class.
const MAX_SHOWN: usize = 25;
/// ASes shown a class that we have none for.
const MAX_UNKNOWN_SHOWN: usize = 10;

/// An AS in our database.
struct Own {
    class: Class,
    org: String,
    /// IPv4 addresses.
    space: u64,
}

/// Compares the embedded classes with the lists at `paths`; a class in `stated` holds for those that say none.
///
/// # Errors
/// A list that cannot be read, or one whose class nothing says.
pub fn compare_text(paths: &[impl AsRef<Path>], stated: Option<Class>) -> Result<String, Error> {
    let mut own = None;
    let mut out = String::new();
    for path in paths {
        let path = path.as_ref();
        let shown = path.display().to_string();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
        let stated = stated.or_else(|| class_of_name(&name));
        if is_as_list(&text) {
            let own = own.get_or_insert_with(own_classes);
            for (class, listed) in read(&shown, &text, stated)? {
                compare(&mut out, &shown, class, &listed, own);
            }
        } else {
            let header = stated.map(|class| format!("# class: {class}\n")).unwrap_or_default();
            let list = List::parse(&shown, &name, &format!("{header}{text}"), None)?;
            compare_addresses(&mut out, &shown, &list);
        }
    }
    Ok(out)
}

/// Whether the first line with a number is about an AS.
fn is_as_list(text: &str) -> bool {
    let numbers = text.lines().filter(|line| line.bytes().any(|b| b.is_ascii_digit()));
    numbers
        .map(|line| line.split(['\t', ',', ' ', '#']).next().unwrap_or_default())
        .find(|word| word.starts_with(|c: char| c.is_ascii_hexdigit()) || word.starts_with("AS"))
        .is_some_and(|word| word.trim_start_matches("AS").parse::<u32>().is_ok())
}

/// Every line counts once, by its first address: lists are made of addresses and small prefixes.
fn compare_addresses(out: &mut String, shown: &str, list: &List) {
    let intel = Intel::embedded();
    let mut by_class: BTreeMap<Class, BTreeMap<Class, u64>> = BTreeMap::new();
    let mut different: BTreeMap<Class, HashMap<(Option<u32>, Class), u64>> = BTreeMap::new();
    let mut names: HashMap<u32, String> = HashMap::new();
    for (ip, _, said) in list.lines() {
        let ours = intel.lookup(ip);
        *by_class.entry(said.class).or_default().entry(ours.class).or_default() += 1;
        if ours.class != said.class && ours.class != Class::Unknown {
            *different.entry(said.class).or_default().entry((ours.asn, ours.class)).or_default() += 1;
            if let (Some(asn), Some(org)) = (ours.asn, &ours.as_org) {
                names.entry(asn).or_insert_with(|| org.to_string());
            }
        }
    }
    for (class, ours) in by_class {
        let all: u64 = ours.values().sum();
        let _ = writeln!(out, "{shown}: {all} ranges listed as {class}");
        for (own, count) in &ours {
            let percent = 100.0 * *count as f64 / all as f64;
            let _ = writeln!(out, "    {own:<12} {count:>6} ranges {percent:>5.1} %");
        }
        let mut rows: Vec<_> = different.remove(&class).unwrap_or_default().into_iter().collect();
        rows.sort_by_key(|((asn, own), count)| (std::cmp::Reverse(*count), *asn, *own));
        for ((asn, own), count) in rows.into_iter().take(MAX_SHOWN) {
            let name = asn.and_then(|asn| names.get(&asn)).map_or("", |name| name);
            let asn = asn.map_or_else(|| "no AS".to_owned(), |asn| format!("AS{asn}"));
            let _ = writeln!(out, "      {asn} {name}: {own}, {count} ranges");
        }
    }
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
    let different = by_class.iter().filter(|(ours, _)| **ours != class).flat_map(|(_, rows)| rows);
    let (mut unknown, mut different): (Vec<_>, Vec<_>) =
        different.partition(|(_, own)| own.class == Class::Unknown);
    for (rows, shown) in [(&mut different, MAX_SHOWN), (&mut unknown, MAX_UNKNOWN_SHOWN)] {
        rows.sort_by_key(|(asn, own)| (std::cmp::Reverse(own.space), *asn));
        for (asn, own) in rows.iter().take(shown) {
            let _ = writeln!(out, "      AS{asn} {}: {}, {} addresses", own.org, own.class, own.space);
        }
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
        let first = fields.next().unwrap_or_default().trim_matches('"');
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

    #[test]
    fn a_list_of_addresses_is_compared_line_by_line() {
        let list = std::env::temp_dir().join(format!("farend-compare-vpn-{}.txt", std::process::id()));
        fs::write(&list, "185.213.154.68\n88.198.0.0/24\n73.1.1.1\n2a03:1b20::/48\n")
            .expect("temporary file");
        let compared = compare_text(&[&list], None);
        let _ = fs::remove_file(&list);
        let text = compared.expect("valid");
        assert!(text.contains("4 ranges listed as vpn"), "{text}");
        assert!(text.contains("    vpn               2 ranges  50.0 %"), "{text}");
        assert!(text.contains("AS24940 Hetzner Online GmbH: hosting, 1 ranges"), "{text}");
        assert!(text.contains("AS7922 Comcast Cable Communications, LLC: isp, 1 ranges"), "{text}");
    }
}
