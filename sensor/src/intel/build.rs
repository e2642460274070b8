//! Makes the database: ASN and country tables, iporigin's ranges and the class rules become one MaxMind-format file.
//!
//! Each address ends up with AS number, organisation, country, class and the basis of the class. The result depends on
//! the inputs alone: no clock is read, the build date is that of the newest source.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::archive::{self, Member};
use super::info::{SourceInfo, SourceKind, encode_sources};
use super::mmdb;
use super::ranges::{Range, Ranges, overlay};
use super::rules::{NO_BASIS, Rules, Verdict};
use super::source::{Country, IPORIGIN_MAGIC, IpOrigin, Skipped, Tables};
use super::{Class, Date, Error, Place, SOURCES_TAG, modified};

/// Files to build from: plain, gzipped, or as `npm pack` and `pip download` leave them.
#[derive(Clone, Debug, Default)]
pub struct BuildInputs {
    /// Rows `start,end,asn,organisation`.
    pub asn_csv: Vec<PathBuf>,
    /// Rows `start,end,country`.
    pub country_csv: Vec<PathBuf>,
    /// iporigin's `ranges.bin`, or the wheel with it.
    pub iporigin: Option<PathBuf>,
    /// A class table of the shape of `config/intel/asn-classes.toml`; the embedded one if absent.
    pub classes: Option<PathBuf>,
}

/// What a build read, wrote and left out.
#[derive(Debug)]
pub struct BuildReport {
    /// The sources with licence, date and number of records.
    pub sources: Vec<SourceInfo>,
    /// Distinct records written.
    pub records: usize,
    /// Address ranges written.
    pub ranges: usize,
    /// Ranges that overlapped another and were clipped.
    pub clipped: usize,
    /// Rows that could not be read.
    pub skipped: usize,
    /// The first skipped rows as `file:line: why`.
    pub skipped_rows: Vec<String>,
    /// iporigin providers left out because their lists carry no licence, or because they say nothing on class.
    pub left_out: Vec<String>,
    /// Bytes written.
    pub bytes: usize,
}

/// iporigin providers whose ranges come, in whole or in part, from two lists without a licence (its NOTICE, section 3).
const UNLICENSED: [&str; 12] = [
    "Akamai", "BunnyCDN", "BuyVM", "CDN77", "Cogent", "Contabo", "DataCamp", "GTHost", "GleSYS", "Melbicom",
    "Scalaxy", "Vercel",
];
/// The one provider that iporigin calls a VPN and that only hides the address, not the region.
const RELAY_PROVIDERS: [&str; 1] = ["Apple Private Relay"];
/// An AS is taken for a hoster if iporigin knows this share of its addresses as hosting.
const HOSTING_SHARE: f64 = 0.5;
/// Share and name are no ground for a class if the AS announces fewer addresses than a /24.
const MIN_ADDRESSES: u128 = 256;

const DATABASE_TYPE: &str = "farend-intel";
const DESCRIPTION: &str = "ASN, country and network class. IP to ASN data by RouteViews (routeviews.org), NRO (nro.net) \
                           and DB-IP (db-ip.com), CC BY 4.0, modified.";

/// Builds the database from local files and writes it to `out`.
///
/// # Errors
/// A file that cannot be read or is not what its option says; malformed rows are no error and are in the report.
pub fn build(inputs: &BuildInputs, out: &mut impl Write) -> Result<BuildReport, Error> {
    let (bytes, mut report) = database(inputs)?;
    out.write_all(&bytes).map_err(|error| Error::io(Path::new("output"), error))?;
    report.bytes = bytes.len();
    Ok(report)
}

/// As [`build`], but returns the bytes.
pub(super) fn database(inputs: &BuildInputs) -> Result<(Vec<u8>, BuildReport), Error> {
    let own_rules;
    let (rules, rules_name) = match &inputs.classes {
        None => (Rules::embedded(), "asn-classes.toml".to_owned()),
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
            own_rules = Rules::parse(&text, &path.display().to_string())?;
            (&own_rules, path.file_name().unwrap_or_default().to_string_lossy().into_owned())
        }
    };
    let mut sources = Vec::new();
    let mut tables = Tables::default();
    for path in &inputs.asn_csv {
        sources.push(read_tables(path, &mut tables, SourceKind::Asn)?);
    }
    for path in &inputs.country_csv {
        sources.push(read_tables(path, &mut tables, SourceKind::Country)?);
    }
    if tables.asn.is_empty() {
        return Err(Error::Usage(
            "no row of any --asn-csv file could be read: expected start,end,asn,name".into(),
        ));
    }
    let mut labels = Labels::default();
    if let Some(path) = &inputs.iporigin {
        labels = Labels::read(path, &mut sources)?;
    }
    sources.push(SourceInfo {
        name: rules_name,
        licence: "Apache-2.0 OR MIT".into(),
        attribution: "the farend authors".into(),
        built: Some(rules.checked),
        records: rules.len() as u64,
        kind: SourceKind::Classes,
    });

    let Tables { asn, orgs, country, skipped } = tables;
    let asn = Ranges::from_unsorted(asn);
    let country = Ranges::from_unsorted(country);
    let Skipped { count: skipped, named: skipped_rows } = skipped;
    let verdicts = classify(rules, &asn, &orgs, &labels);

    let mut records = Records::default();
    let pieces = overlay(
        asn.as_slice(),
        country.as_slice(),
        labels.ranges.as_slice(),
        |asn: Option<u32>, country: Option<Country>, label: Option<u16>| {
            let by_asn = asn.and_then(|asn| verdicts.get(&asn));
            let label = label.filter(|&label| wins(labels.class(label), by_asn.map(|verdict| verdict.class)));
            (asn.is_some() || country.is_some() || label.is_some())
                .then(|| records.id(Key { asn, country, label }))
        },
    );
    let clipped = asn.clipped + country.clipped + labels.ranges.clipped;
    let record_count = records.keys.len();
    let (data, offsets) = records.write(&orgs, &verdicts, &labels);
    let ranges: Vec<Range<u32>> = pieces
        .iter()
        .map(|piece| Range { first: piece.first, last: piece.last, value: offsets[piece.value as usize] })
        .collect();

    let newest = sources.iter().filter(|s| s.kind != SourceKind::Classes).filter_map(|s| s.built).max();
    let encoded = encode_sources(&sources);
    let metadata = mmdb::Metadata {
        database_type: DATABASE_TYPE,
        build_epoch: newest.map_or(0, Date::unix),
        description: &[("en", DESCRIPTION), (SOURCES_TAG, &encoded)],
    };
    let bytes = mmdb::file(&ranges, data, &metadata)
        .map_err(|_| Error::Usage("the inputs make a database of more than 4 GB".into()))?;
    let report = BuildReport {
        sources,
        records: record_count,
        ranges: ranges.len(),
        clipped,
        skipped,
        skipped_rows,
        left_out: labels.left_out,
        bytes: bytes.len(),
    };
    Ok((bytes, report))
}

/// Whether what is known of a prefix says more than what is known of its AS.
///
/// Anonymizer exits always do. That a prefix is rented out or a CDN's says nothing new of an AS of the same class, and
/// does not clear one that is known for VPN exits.
fn wins(prefix: Class, asn: Option<Class>) -> bool {
    match (prefix, asn) {
        (Class::Tor | Class::Vpn | Class::Relay, _) => true,
        (_, Some(Class::Vpn)) => false,
        (prefix, asn) => asn != Some(prefix),
    }
}

/// Class of every AS: table, else share of its space that iporigin knows as hosting, else name.
fn classify(
    rules: &Rules,
    asn: &Ranges<u32>,
    orgs: &HashMap<u32, String>,
    labels: &Labels,
) -> HashMap<u32, Verdict> {
    // IPv6 space is counted apart: one of its prefixes outweighs all of IPv4.
    let mut space: HashMap<u32, [Space; 2]> = HashMap::new();
    overlay(asn.as_slice(), labels.ranges.as_slice(), &[] as &[Range<()>], |asn, label, _| {
        // Keeps pieces apart so that each is seen with its borders below.
        Some((asn?, label))
    })
    .iter()
    .for_each(|piece| {
        let (asn, label) = piece.value;
        let family = usize::from(piece.first >> 32 != 0);
        let space = &mut space.entry(asn).or_default()[family];
        let len = piece.last - piece.first + 1;
        space.all += len;
        if label.is_some_and(|label| labels.class(label) == Class::Hosting) {
            space.hosting += len;
        }
    });
    space
        .into_iter()
        .filter_map(|(asn, [v4, v6])| {
            let counted = if v4.all > 0 { v4 } else { v6 };
            let by_share = || {
                (counted.all >= MIN_ADDRESSES && counted.hosting as f64 / counted.all as f64 >= HOSTING_SHARE)
                    .then(|| Verdict { class: Class::Hosting, basis: "asn:iporigin-share".into() })
            };
            let by_name = || rules.by_name(orgs.get(&asn)?);
            Some((asn, rules.by_table(asn).or_else(by_share).or_else(by_name)?))
        })
        .collect()
}

#[derive(Clone, Copy, Default)]
struct Space {
    all: u128,
    hosting: u128,
}

/// iporigin's providers that may be used, and where they are.
#[derive(Default)]
struct Labels {
    /// Class and basis by label index; `None` for a provider that is left out.
    verdicts: Vec<Option<Verdict>>,
    ranges: Ranges<u16>,
    left_out: Vec<String>,
}

impl Labels {
    fn read(path: &Path, sources: &mut Vec<SourceInfo>) -> Result<Self, Error> {
        let members = archive::open(path)?;
        let member =
            members.iter().find(|member| member.bytes.starts_with(IPORIGIN_MAGIC)).ok_or_else(|| {
                Error::format(path.display().to_string(), Place::File, "no iporigin ranges.bin in it")
            })?;
        let parsed = IpOrigin::parse(&member.shown, &member.bytes)?;
        let mut left_out = Vec::new();
        let verdicts: Vec<Option<Verdict>> = parsed
            .labels
            .iter()
            .map(|(provider, kind)| {
                let verdict = label_class(provider, kind)
                    .map(|class| Verdict { class, basis: format!("prefix:iporigin {provider}") });
                if verdict.is_none() {
                    left_out.push(provider.clone());
                }
                verdict
            })
            .collect();
        left_out.sort();
        let usable = parsed.ranges.into_iter().filter(|range| verdicts[usize::from(range.value)].is_some());
        let ranges = Ranges::from_unsorted(usable.collect());
        sources.push(SourceInfo {
            name: "PyPI iporigin".into(),
            licence: "MIT (lists: operators' own feeds and CC0-1.0)".into(),
            attribution: "Yuix Networks; rezmoss/cloud-provider-ip-addresses; lord-alfred/ipranges".into(),
            built: Some(parsed.built),
            records: ranges.as_slice().len() as u64,
            kind: SourceKind::Anonymizers,
        });
        Ok(Self { verdicts, ranges, left_out })
    }

    fn verdict(&self, label: u16) -> Option<&Verdict> {
        self.verdicts.get(usize::from(label))?.as_ref()
    }

    fn class(&self, label: u16) -> Class {
        self.verdict(label).map_or(Class::Unknown, |verdict| verdict.class)
    }
}

/// Class of an iporigin label; `None` where it may not be used or says nothing on class (crawlers live in clouds).
fn label_class(provider: &str, kind: &str) -> Option<Class> {
    if UNLICENSED.contains(&provider) {
        return None;
    }
    match kind {
        "vpn" if RELAY_PROVIDERS.contains(&provider) => Some(Class::Relay),
        "hosting" => Some(Class::Hosting),
        "cdn" => Some(Class::Cdn),
        "vpn" => Some(Class::Vpn),
        "tor" => Some(Class::Tor),
        _ => None,
    }
}

/// What tells two records apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    asn: Option<u32>,
    country: Option<Country>,
    label: Option<u16>,
}

/// The distinct records, in order of first use.
#[derive(Default)]
struct Records {
    ids: HashMap<Key, u32>,
    keys: Vec<Key>,
}

impl Records {
    fn id(&mut self, key: Key) -> u32 {
        *self.ids.entry(key).or_insert_with(|| {
            self.keys.push(key);
            (self.keys.len() - 1) as u32
        })
    }

    /// Writes all records sorted by AS number, which compresses best; returns the offset of each by its number.
    fn write(
        &self,
        orgs: &HashMap<u32, String>,
        verdicts: &HashMap<u32, Verdict>,
        labels: &Labels,
    ) -> (mmdb::Data, Vec<u32>) {
        let unknown = Verdict { class: Class::Unknown, basis: NO_BASIS.to_owned() };
        let mut data = mmdb::Data::default();
        let mut offsets = vec![0; self.keys.len()];
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        order.sort_by_key(|&id| self.keys[id]);
        let mut countries: HashMap<Country, u32> = HashMap::new();
        for id in order {
            let Key { asn, country, label } = self.keys[id];
            let org = asn.and_then(|asn| orgs.get(&asn));
            let by_label = label.and_then(|label| labels.verdict(label));
            let by_asn = || verdicts.get(&asn?);
            let verdict = by_label.or_else(by_asn).unwrap_or(&unknown);
            offsets[id] = data.offset();
            data.map(
                2 + usize::from(asn.is_some()) + usize::from(org.is_some()) + usize::from(country.is_some()),
            );
            if let Some(asn) = asn {
                data.string("autonomous_system_number");
                data.uint32(asn);
            }
            if let Some(org) = org {
                data.string("autonomous_system_organization");
                data.string(org);
            }
            if let Some(country) = country {
                data.string("country");
                match countries.get(&country) {
                    Some(&offset) => data.pointer(offset),
                    None => {
                        countries.insert(country, data.offset());
                        data.map(1);
                        data.string("iso_code");
                        data.string(&String::from_utf8_lossy(&country));
                    }
                }
            }
            data.string("class");
            data.string(verdict.class.as_str());
            data.string("class_basis");
            data.string(&verdict.basis);
        }
        (data, offsets)
    }
}

/// Reads the CSV and TSV members at `path`; the package's own description says name and date.
fn read_tables(path: &Path, tables: &mut Tables, kind: SourceKind) -> Result<SourceInfo, Error> {
    let members = archive::open(path)?;
    let mut records = 0;
    for member in members.iter().filter(|member| is_table(member, members.len())) {
        records += tables.read(&member.shown, &member.bytes) as u64;
    }
    if records == 0 {
        let shown = path.display().to_string();
        let first = tables.skipped.named.iter().find(|row| row.starts_with(&shown));
        let why =
            first.map_or_else(|| "no rows".to_owned(), |row| format!("no readable row, the first is {row}"));
        return Err(Error::format(shown, Place::File, why));
    }
    let package = package_of(path, &members);
    let built = package.as_ref().and_then(|p| Date::from_version(&p.version)).or_else(|| modified(path));
    let name = match &package {
        Some(package) => format!("npm {} {}", package.name, package.version),
        None => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let (licence, attribution) = licence_of(package.as_ref().map_or("", |p| p.name.as_str()));
    Ok(SourceInfo { name, licence: licence.into(), attribution: attribution.into(), built, records, kind })
}

/// In a package each table comes twice, with textual addresses and, as `-num`, with numbers.
fn is_table(member: &Member, members: usize) -> bool {
    members == 1 || (member.name.ends_with(".csv") && !member.name.ends_with("-num.csv"))
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
}

/// The `package.json` in the archive, or the one beside an unpacked table.
fn package_of(path: &Path, members: &[Member]) -> Option<Package> {
    let beside = || fs::read(path.parent()?.join("package.json")).ok();
    let text = match members.iter().find(|member| member.file_name() == "package.json") {
        Some(member) => member.bytes.clone(),
        None => beside()?,
    };
    serde_json::from_slice(&text).ok()
}

fn licence_of(package: &str) -> (&'static str, &'static str) {
    match package {
        "@ip-location-db/asn" => (
            "CC BY 4.0",
            "IP to ASN by RouteViews (routeviews.org), NRO (nro.net) and DB-IP (db-ip.com), merged by ip-location-db; \
             modified",
        ),
        "@ip-location-db/asn-country" => ("CC0-1.0", "NRO (nro.net), merged by ip-location-db"),
        _ => ("as its owner gives it", "none stated"),
    }
}
