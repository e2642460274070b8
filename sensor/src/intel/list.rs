//! Plain lists of the user's: an address, prefix or range a line, all of one class.
//!
//! Understood: CIDR lists, the Tor bulk exit list (an address a line) and Tor's `exit-addresses` (`ExitAddress A …`),
//! `first-last` ranges; `#` and `;` begin comments; what follows an address after a space or comma is ignored. Header
//! comments `# class: vpn`, `# name: My VPN exits` and `# date: 2026-11-01` say what the list is; without a class the
//! file's name must (`tor.txt`, `protonvpn_ipv4.txt`, `datacenters.txt`). Lines of a Spur feed (a JSON object an address)
//! say their class themselves.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::info::{SourceInfo, SourceKind};
use super::net::{to_addr, to_number};
use super::ranges::{Range, Ranges};
use super::source::Skipped;
use super::{Class, Date, Error, Net, Place, spur};

/// What a list says of an address.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) class: Class,
    /// `file:tor.txt 2026-11-01`, with the list's name if it has one, and what the line says by itself.
    pub(super) basis: Arc<str>,
}

/// A list of addresses.
#[derive(Debug)]
pub(super) struct List {
    /// What its lines say, the list's own class first.
    said: Vec<Said>,
    pub(super) info: SourceInfo,
    pub(super) skipped: Skipped,
    v4: Ranges<Entry>,
    v6: Ranges<Entry>,
}

/// First and last address of a line, and which of the list's statements it makes; kept with each piece of it, for a line inside
/// another one stands for itself.
type Entry = (u128, u128, u32);

impl List {
    /// Reads a list. `shown` is the file for messages, `name` its last part, `modified` its date if it states none.
    pub(super) fn parse(shown: &str, name: &str, text: &str, modified: Option<Date>) -> Result<Self, Error> {
        let mut header = Header::default();
        let mut ranges: [Vec<Range<Entry>>; 2] = [Vec::new(), Vec::new()];
        let mut skipped = Skipped::default();
        let mut own: HashMap<(Class, String), u32> = HashMap::new();
        let mut listed_only = 0;
        for (index, line) in text.lines().enumerate() {
            if line.starts_with('{') {
                let Some(entry) = spur::line(line) else {
                    skipped.add(shown, index + 1, "not a line of a feed: expected a JSON object with an ip");
                    continue;
                };
                let Some(said) = entry.said else { continue };
                let next = own.len() as u32 + 1;
                let at = *own.entry(said).or_insert(next);
                let (first, last) = entry.net.span();
                let value = (first, last, at);
                ranges[usize::from(!entry.net.addr().is_ipv4())].push(Range { first, last, value });
                continue;
            }
            let (content, comment) = match line.find(['#', ';']) {
                Some(at) => (&line[..at], line[at..].trim_start_matches(['#', ';', ' '])),
                None => (line, ""),
            };
            header.read(comment).map_err(|what| Error::format(shown, Place::Line(index + 1), what))?;
            match line_content(content) {
                Content::Nothing => {}
                Content::Range { v4, first, last } => {
                    listed_only += 1;
                    ranges[usize::from(!v4)].push(Range { first, last, value: (first, last, 0) });
                }
                Content::Malformed => skipped.add(shown, index + 1, "not an address, prefix or range"),
            }
        }
        let records: usize = ranges.iter().map(Vec::len).sum();
        if records == 0 {
            let what =
                "neither a MaxMind-format database nor a list with an address or prefix a line".to_owned();
            return Err(match skipped.named.first() {
                Some(first) => Error::format(first.clone(), Place::File, what),
                None => Error::format(shown, Place::File, what),
            });
        }
        let stated = header.class.or_else(|| class_of_name(name));
        let Some(class) = stated.or((listed_only == 0).then_some(Class::Unknown)) else {
            let what =
                format!("what are these? Add a first line `# class: NAME` with one of {}", Class::names());
            return Err(Error::format(shown, Place::File, what));
        };
        let built = header.date.or(modified);
        let mut basis = format!("file:{name}");
        if let Some(date) = built {
            basis = format!("{basis} {date}");
        }
        if let Some(title) = &header.name {
            basis = format!("{basis} {title}");
        }
        let info = SourceInfo {
            name: header.name.map_or_else(|| name.to_owned(), |title| format!("{name} ({title})")),
            licence: "as its owner gives it".into(),
            attribution: "none stated".into(),
            built,
            records: records as u64,
            kind: SourceKind::Anonymizers,
        };
        let [v4, v6] = ranges.map(Ranges::from_unsorted);
        let mut said = vec![Said { class, basis: basis.as_str().into() }];
        let mut own: Vec<((Class, String), u32)> = own.into_iter().collect();
        own.sort_unstable_by_key(|(_, at)| *at);
        said.extend(own.into_iter().map(|((class, what), _)| {
            let basis = format!("{basis} {what}").into();
            Said { class, basis }
        }));
        Ok(Self { said, info, skipped, v4, v6 })
    }

    /// What the narrowest line that covers `ip` says, and the largest prefix around it inside that line.
    pub(super) fn lookup(&self, ip: IpAddr) -> Option<(&Said, Net)> {
        let ranges = if ip.is_ipv4() { &self.v4 } else { &self.v6 };
        let (first, last, said) = ranges.find(to_number(ip))?.value;
        Some((self.said.get(said as usize)?, Net::around(ip, first, last)))
    }

    /// First address, number of addresses and statement of every line, in order; a line inside another one counts for itself.
    pub(super) fn lines(&self) -> impl Iterator<Item = (IpAddr, u128, &Said)> {
        self.v4
            .as_slice()
            .iter()
            .map(|r| (r, true))
            .chain(self.v6.as_slice().iter().map(|r| (r, false)))
            .filter_map(|(range, v4)| {
                let said = self.said.get(range.value.2 as usize)?;
                Some((to_addr(range.first, v4), range.last - range.first + 1, said))
            })
    }
}

#[derive(Default)]
struct Header {
    class: Option<Class>,
    name: Option<String>,
    date: Option<Date>,
}

impl Header {
    fn read(&mut self, comment: &str) -> Result<(), String> {
        let Some((key, value)) = comment.split_once(':') else { return Ok(()) };
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "class" => {
                let class = value.parse();
                let class = class.map_err(|_| format!("no class `{value}` (have: {})", Class::names()))?;
                self.class = Some(class);
            }
            "name" if self.name.is_none() && !value.is_empty() => self.name = Some(value.to_owned()),
            // Other people's lists date themselves in many ways: what is no day is a comment.
            "date" => self.date = value.parse().ok().or(self.date),
            _ => {}
        }
        Ok(())
    }
}

enum Content {
    Nothing,
    Range { v4: bool, first: u128, last: u128 },
    Malformed,
}

fn line_content(content: &str) -> Content {
    let mut words = content.split([' ', '\t', ',']).filter(|word| !word.is_empty());
    let word = match words.next() {
        None | Some("ExitNode" | "Published" | "LastStatus") => return Content::Nothing,
        Some("ExitAddress") => words.next().unwrap_or_default(),
        Some(word) => word,
    };
    if let Ok(net) = word.parse::<Net>() {
        let (first, last) = net.span();
        return Content::Range { v4: net.addr().is_ipv4(), first, last };
    }
    let ends = word.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    match ends {
        Some((a, b)) if IpAddr::is_ipv4(&a) == IpAddr::is_ipv4(&b) && a <= b => {
            Content::Range { v4: a.is_ipv4(), first: to_number(a), last: to_number(b) }
        }
        _ => Content::Malformed,
    }
}

/// Class that a file name tells; `None` if none or more than one.
pub(super) fn class_of_name(name: &str) -> Option<Class> {
    let stem = name.split('.').next().unwrap_or(name).to_ascii_lowercase();
    let of_word = |word: &str| match word {
        // "store" and "mirror" must not pass for Tor.
        "tor" | "torexits" | "torbulkexitlist" => Some(Class::Tor),
        "hosting" | "datacenter" | "datacenters" | "cloud" => Some(Class::Hosting),
        "relay" => Some(Class::Relay),
        _ if word.contains("vpn") => Some(Class::Vpn),
        _ if word.starts_with("prox") => Some(Class::Proxy),
        _ => word.parse().ok(),
    };
    let mut classes = stem.split(|c: char| !c.is_ascii_alphanumeric()).filter_map(of_word);
    let first = classes.next()?;
    classes.all(|class| class == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, text: &str) -> Result<List, Error> {
        List::parse(name, name, text, "2026-11-01".parse().ok())
    }

    fn net_of(list: &List, ip: &str) -> Option<String> {
        list.lookup(ip.parse().expect(ip)).map(|(_, net)| net.to_string())
    }

    #[test]
    fn every_kind_of_line_is_understood() {
        let list = parse(
            "my-vpn.txt",
            "# My exits\n\n198.51.100.0/25\n203.0.113.7 # Paris\n203.0.113.9,443\n2001:db8::/32\n\
             192.0.2.10-192.0.2.13\nExitNode 0011\nPublished 2026-11-01 00:00:00\nExitAddress 192.0.2.99 2026-11-01\n",
        )
        .expect("valid");
        assert_eq!((list.said[0].class, list.info.records, list.skipped.count), (Class::Vpn, 6, 0));
        assert_eq!(&*list.said[0].basis, "file:my-vpn.txt 2026-11-01");
        assert_eq!(net_of(&list, "198.51.100.77").as_deref(), Some("198.51.100.0/25"));
        assert_eq!(net_of(&list, "203.0.113.7").as_deref(), Some("203.0.113.7/32"));
        assert_eq!(net_of(&list, "203.0.113.9").as_deref(), Some("203.0.113.9/32"));
        assert_eq!(net_of(&list, "192.0.2.12").as_deref(), Some("192.0.2.12/31"));
        assert_eq!(net_of(&list, "192.0.2.99").as_deref(), Some("192.0.2.99/32"));
        assert_eq!(net_of(&list, "2001:db8:1::").as_deref(), Some("2001:db8::/32"));
        for outside in ["198.51.100.128", "203.0.113.8", "192.0.2.14", "2001:db9::"] {
            assert_eq!(net_of(&list, outside), None, "{outside}");
        }
    }

    #[test]
    fn a_header_says_class_name_and_date_over_file_name_and_modification_time() {
        let list = parse("tor.txt", "# class: proxy\n# name: Squid farm\n# date: 2026-10-31\n8.8.8.8\n")
            .expect("valid");
        assert_eq!(list.said[0].class, Class::Proxy);
        assert_eq!(&*list.said[0].basis, "file:tor.txt 2026-10-31 Squid farm");
        assert_eq!(list.info.built, "2026-10-31".parse().ok());
    }

    #[test]
    fn file_names_tell_the_class_only_by_whole_words_and_without_contradiction() {
        for (name, class) in [
            ("torbulkexitlist", Some(Class::Tor)),
            ("tor.ipset", Some(Class::Tor)),
            ("output_vpn_ipv4.txt", Some(Class::Vpn)),
            ("protonvpn_ipv4_merged.txt", Some(Class::Vpn)),
            ("socks_proxies.txt", Some(Class::Proxy)),
            ("output_datacenter_ipv4.txt", Some(Class::Hosting)),
            ("residential.txt", Some(Class::Residential)),
            ("store-list.txt", None),
            ("vpn-and-tor.txt", None),
            ("ips.txt", None),
        ] {
            assert_eq!(class_of_name(name), class, "{name}");
        }
    }

    #[test]
    fn a_list_without_a_class_or_without_an_address_is_refused_with_the_way_out() {
        let error = parse("ips.txt", "8.8.8.8\n").expect_err("no class").to_string();
        assert!(error.starts_with("ips.txt: what are these? Add a first line `# class: NAME`"), "{error}");
        let error = parse("tor.txt", "#\nhello\n").expect_err("no address").to_string();
        assert!(error.starts_with("tor.txt:2: not an address, prefix or range: neither"), "{error}");
        let error = parse("tor.txt", "# class: datacenter\n8.8.8.8\n").expect_err("wrong class").to_string();
        assert!(error.starts_with("tor.txt:1: no class `datacenter` (have: hosting, vpn"), "{error}");
    }

    #[test]
    fn malformed_lines_are_counted_named_and_skipped() {
        let list =
            parse("tor.txt", "8.8.8.8\n8.8.8.300\n9.9.9.9-8.8.8.8\n1.1.1.1-::1\n").expect("one is good");
        assert_eq!((list.info.records, list.skipped.count), (1, 3));
        assert_eq!(list.skipped.named[0], "tor.txt:2: not an address, prefix or range");
    }

    #[test]
    fn lines_of_a_feed_say_their_class_themselves() {
        let feed = concat!(
            r#"{"ip":"192.0.2.1","tunnels":[{"operator":"NORD_VPN","type":"VPN"}]}"#,
            "\n",
            r#"{"ip":"192.0.2.2","infrastructure":"DATACENTER"}"#,
            "\n",
            r#"{"ip":"192.0.2.3"}"#,
            "\n{oops\n"
        );
        let list = parse("feed.json", feed).expect("no class of its own is needed");
        let said = |ip: &str| {
            list.lookup(ip.parse().expect(ip)).map(|(said, _)| (said.class, said.basis.to_string()))
        };
        assert_eq!(said("192.0.2.1"), Some((Class::Vpn, "file:feed.json 2026-11-01 spur NORD_VPN".into())));
        assert_eq!(
            said("192.0.2.2"),
            Some((Class::Hosting, "file:feed.json 2026-11-01 spur DATACENTER".into()))
        );
        assert_eq!(said("192.0.2.3"), None);
        assert_eq!(
            list.skipped.named,
            ["feed.json:4: not a line of a feed: expected a JSON object with an ip"]
        );
    }
}
