//! IP intelligence: what is known of an address at the far end.
//!
//! In: an address. Out: AS number and name, country, class of the network, and on what the class rests. The answer
//! comes from a database inside the binary (unpacked at the first look-up), laid over by files of the user's: databases
//! in MaxMind format and plain lists, the later file over the earlier. farend opens no connection: [`build`] makes a
//! newer database from files that the user's own package clients fetched.

mod archive;
mod build;
mod class;
pub mod cli;
mod compare;
mod coverage;
mod date;
mod db;
mod error;
mod info;
mod list;
mod mmdb;
mod net;
mod pack;
mod ranges;
mod reports;
mod rules;
mod source;
mod special;
mod spur;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::UNIX_EPOCH;

pub use build::{BuildInputs, BuildReport, build};
pub use class::{Class, UnknownClass};
pub use coverage::Coverage;
pub use date::{Date, NotADate};
pub use error::{Error, Place};
pub use info::{SourceInfo, SourceKind};
pub use net::{Net, NotANet};

use db::{Db, Record};
use list::List;
use reports::Reports;
use special::Special;

/// Description under which a database carries the list of its sources: a private-use language tag (BCP 47), which other
/// readers of the format skip.
const SOURCES_TAG: &str = "x-farend-sources";

static PACKED: &[u8] = include_bytes!("../../../config/intel/farend.mmdb.pack");

static EMBEDDED: LazyLock<Db> = LazyLock::new(|| {
    // The bytes are compiled in and a test unpacks them: nothing a user does can make this fail.
    let bytes = pack::unpack(PACKED).unwrap_or_else(|error| panic!("embedded intel: {}", error.0));
    Db::open(bytes, None).unwrap_or_else(|error| panic!("embedded intel: {error}"))
});

/// What is known of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FarEnd {
    /// AS that announces the address.
    pub asn: Option<u32>,
    /// Name of its organisation.
    pub as_org: Option<Arc<str>>,
    /// Country the prefix is registered in, ISO 3166-1 alpha-2; where the machine stands is another matter.
    pub country: Option<[u8; 2]>,
    /// Kind of network.
    pub class: Class,
    /// What the class rests on: `asn:hosting-table`, `asn:hosting-name 'vps'`, `prefix:iporigin Mullvad`,
    /// `special:rfc1918`, `report:…`, `file:tor.txt 2026-11-01`, or `none`.
    pub class_basis: Arc<str>,
    /// The longest prefix that any of it was said of.
    pub network: Option<Net>,
}

/// The intelligence in use: an immutable snapshot that any thread may ask.
#[derive(Clone)]
pub struct Intel {
    base: Base,
    /// The user's files, in the order given.
    layers: Vec<Layer>,
    warnings: Vec<String>,
}

#[derive(Clone)]
enum Base {
    Embedded,
    File(Arc<Db>),
}

#[derive(Clone)]
enum Layer {
    Db(Arc<Db>),
    List(Arc<List>),
}

impl Intel {
    /// What the binary carries. Costs nothing until the first look-up, which unpacks the database.
    pub fn embedded() -> Self {
        Self { base: Base::Embedded, layers: Vec::new(), warnings: Vec::new() }
    }

    /// The embedded database under the given files: databases in MaxMind format, packed ones, or plain lists (any of
    /// them gzipped). Where they speak of the same address a later file wins; a database made by [`build`] takes the
    /// embedded one's place.
    ///
    /// # Errors
    /// The first file that cannot be read or is neither; the error names file and place.
    pub fn with_files(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut intel = Self::embedded();
        for path in paths {
            intel.add(path)?;
        }
        Ok(intel)
    }

    fn add(&mut self, path: &Path) -> Result<(), Error> {
        let shown = path.display().to_string();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut members = archive::open(path)?;
        if members.len() != 1 {
            // GeoLite2 comes with its licence in a .tar.gz.
            members.retain(|member| member.name.ends_with(".mmdb"));
        }
        let [member] = members.as_mut_slice() else {
            let what = "an archive of several files: give the database or list itself";
            return Err(Error::format(shown, Place::File, what));
        };
        let bytes = std::mem::take(&mut member.bytes);
        let bytes = if bytes.starts_with(pack::MAGIC) {
            pack::unpack(&bytes).map_err(|error| Error::format(&shown, Place::File, error.0))?
        } else {
            bytes
        };
        if is_mmdb(&bytes) {
            let db = Db::open(bytes, Some(&name))
                .map_err(|error| Error::format(&shown, Place::File, format!("damaged database: {error}")))?;
            if db.is_complete() {
                self.base = Base::File(Arc::new(db));
            } else {
                self.layers.push(Layer::Db(Arc::new(db)));
            }
            return Ok(());
        }
        if name.ends_with(".mmdb") {
            let what = "no MaxMind-format database: its metadata is missing, is the file cut off?";
            return Err(Error::format(shown, Place::File, what));
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let what = "neither a MaxMind-format database nor text";
            Error::format(&shown, Place::Byte(error.valid_up_to()), what)
        })?;
        let list = List::parse(&shown, &name, text, modified(path))?;
        let skipped = &list.skipped;
        if let Some(first) = skipped.named.first() {
            self.warnings.push(match skipped.count {
                1 => format!("{first}; the line was skipped"),
                count => format!("{first}; it and {} more lines were skipped", count - 1),
            });
        }
        self.layers.push(Layer::List(Arc::new(list)));
        Ok(())
    }

    /// What to tell the user once about the files: lines that were skipped.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What is known of `ip`.
    ///
    /// Longest match in each source. An IPv4-mapped address is looked up as IPv4; a 6to4, Teredo or NAT64 address as
    /// the IPv4 address it carries, and the basis says so.
    pub fn lookup(&self, ip: IpAddr) -> FarEnd {
        if let IpAddr::V6(v6) = ip
            && let Some((v4, carrier)) = special::embedded_v4(v6)
        {
            let mut far_end = self.lookup_plain(v4.into());
            if let Some(note) = carrier.note() {
                far_end.class_basis = format!("{note} {v4}: {}", far_end.class_basis).into();
            }
            return far_end;
        }
        self.lookup_plain(ip)
    }

    fn lookup_plain(&self, ip: IpAddr) -> FarEnd {
        let special = special::find(ip);
        let mut answer = Answer::new();
        match &special {
            Some(special) => answer.set_special(special),
            None => self.lookup_base(ip, &mut answer),
        }
        for layer in &self.layers {
            match layer {
                Layer::Db(db) if special.is_none() => {
                    if let Some((record, net)) = db.lookup(ip) {
                        answer.lay_over(&record, net);
                    }
                }
                Layer::Db(_) => {}
                Layer::List(list) => {
                    let found = list.lookup(ip).filter(|&(_, net)| may_override(net, special.as_ref()));
                    if let Some((said, net)) = found {
                        answer.set_class(said.class, Arc::clone(&said.basis), net);
                    }
                }
            }
        }
        answer.far_end
    }

    fn lookup_base(&self, ip: IpAddr, answer: &mut Answer) {
        let db = match &self.base {
            Base::Embedded => &*EMBEDDED,
            Base::File(db) => db,
        };
        if let Some((record, net)) = db.lookup(ip) {
            answer.set(&record, net);
        }
        if let Some(reported) = Reports::embedded().get(ip) {
            let basis = format!("{}; {}", reported.basis, answer.far_end.class_basis);
            answer.set_class(
                reported.class,
                basis.into(),
                Net::around(ip, net::to_number(ip), net::to_number(ip)),
            );
        }
    }

    /// The sources of the answers with licence, date and size; unpacks the embedded database.
    pub fn info(&self) -> Vec<SourceInfo> {
        let base = match &self.base {
            Base::Embedded => &*EMBEDDED,
            Base::File(db) => db,
        };
        let mut infos = base.sources();
        infos.extend_from_slice(Reports::embedded().infos());
        for layer in &self.layers {
            match layer {
                Layer::Db(db) => infos.extend(db.sources()),
                Layer::List(list) => infos.push(list.info.clone()),
            }
        }
        infos
    }

    /// The day of the embedded database, without unpacking it.
    pub fn embedded_date() -> Date {
        Date::from_unix(pack::build_epoch(PACKED).unwrap_or_default())
    }
}

/// An answer in the making.
struct Answer {
    far_end: FarEnd,
    /// Whether the class was said of the prefix, not of its AS.
    prefix_class: bool,
}

impl Answer {
    fn new() -> Self {
        static NO_BASIS: LazyLock<Arc<str>> = LazyLock::new(|| rules::NO_BASIS.into());
        let class_basis = Arc::clone(&NO_BASIS);
        let (asn, as_org, country, network) = (None, None, None, None);
        Self {
            far_end: FarEnd { asn, as_org, country, class: Class::Unknown, class_basis, network },
            prefix_class: false,
        }
    }

    fn set_special(&mut self, special: &Special) {
        self.far_end.class = special.class;
        self.far_end.class_basis = special.basis.into();
        self.far_end.network = Some(special.net);
    }

    fn set(&mut self, record: &Record, net: Net) {
        self.far_end = FarEnd {
            asn: record.asn,
            as_org: record.as_org.clone(),
            country: record.country,
            class: record.class,
            class_basis: Arc::clone(&record.basis),
            network: Some(net),
        };
        self.prefix_class = record.prefix_class;
    }

    /// A later database: what it knows replaces what was known. A class that it only has by way of the AS gives way to
    /// one of the prefix, and to the earlier one if the AS is the same, for that rests on more.
    fn lay_over(&mut self, record: &Record, net: Net) {
        let same_as = record.asn.is_none() || record.asn == self.far_end.asn;
        if record.asn.is_some() && (!same_as || record.as_org.is_some()) {
            self.far_end.as_org.clone_from(&record.as_org);
        }
        self.far_end.asn = record.asn.or(self.far_end.asn);
        self.far_end.country = record.country.or(self.far_end.country);
        let better = record.prefix_class
            || (!self.prefix_class
                && (!same_as || self.far_end.class == Class::Unknown)
                && record.asn.is_some());
        if better {
            self.set_class(record.class, Arc::clone(&record.basis), net);
            self.prefix_class = record.prefix_class;
        } else {
            self.narrow(net);
        }
    }

    fn set_class(&mut self, class: Class, basis: Arc<str>, net: Net) {
        self.far_end.class = class;
        self.far_end.class_basis = basis;
        self.prefix_class = true;
        self.narrow(net);
    }

    fn narrow(&mut self, net: Net) {
        if self.far_end.network.is_none_or(|known| net.depth() > known.depth()) {
            self.far_end.network = Some(net);
        }
    }
}

/// Whether a list's entry counts inside a special range: only where it singles out a part of it, so that lists that
/// contain all unroutable space do not turn a home network into a proxy. Documentation ranges may be given whole.
fn may_override(net: Net, special: Option<&Special>) -> bool {
    special.is_none_or(|special| {
        net.depth() > special.net.depth()
            || (special.class != Class::Private && net.depth() == special.net.depth())
    })
}

/// The format has no magic at its start: what makes a file one is the marker within its last 128 KiB.
fn is_mmdb(bytes: &[u8]) -> bool {
    const MAX_METADATA: usize = 128 << 10;
    let tail = &bytes[bytes.len().saturating_sub(MAX_METADATA)..];
    tail.windows(mmdb::METADATA_MARKER.len()).any(|window| window == mmdb::METADATA_MARKER)
}

fn modified(path: &Path) -> Option<Date> {
    let since = std::fs::metadata(path).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Date::from_unix(since.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_database_was_built_with_the_class_table_beside_it() {
        let rules = rules::Rules::embedded();
        let mut checked = 0;
        for (record, net) in EMBEDDED.records() {
            let Some(expected) = record.asn.and_then(|asn| rules.by_table(asn)) else { continue };
            if !record.prefix_class {
                assert_eq!(
                    (record.class, &*record.basis),
                    (expected.class, expected.basis.as_str()),
                    "AS{} ({net}): run `farend intel build` again after a change of asn-classes.toml",
                    record.asn.unwrap_or_default()
                );
                checked += 1;
            }
        }
        assert!(checked > 10_000, "only {checked} prefixes are of an AS in the table");
    }

    #[test]
    fn the_embedded_database_is_well_formed_and_small() {
        assert!(PACKED.len() <= 4 << 20, "{} bytes", PACKED.len());
        let bytes = pack::unpack(PACKED).expect("unpacks");
        maxminddb::Reader::from_source(bytes).expect("opens").verify().expect("every node and record");
    }

    #[test]
    fn a_later_database_replaces_the_as_but_not_what_is_known_of_the_prefix() {
        let record = |asn, class, basis: &str, prefix_class| Record {
            asn: Some(asn),
            as_org: Some("Org".into()),
            country: None,
            class,
            basis: basis.into(),
            prefix_class,
        };
        let net: Net = "192.0.2.0/24".parse().expect("a prefix");
        for (earlier, later, class, basis) in [
            // Another AS: its class.
            ((1, Class::Hosting, "a", false), (2, Class::Isp, "b", false), Class::Isp, "b"),
            // The same AS, known by way of it both times: the earlier answer rests on more.
            ((1, Class::Hosting, "a", false), (1, Class::Unknown, "b", false), Class::Hosting, "a"),
            ((1, Class::Unknown, "a", false), (1, Class::Isp, "b", false), Class::Isp, "b"),
            // A class of the prefix stands against one of the AS, and gives way to another of the prefix.
            ((1, Class::Tor, "a", true), (2, Class::Isp, "b", false), Class::Tor, "a"),
            ((1, Class::Tor, "a", true), (1, Class::Vpn, "b", true), Class::Vpn, "b"),
        ] {
            let mut answer = Answer::new();
            answer.set(&record(earlier.0, earlier.1, earlier.2, earlier.3), net);
            answer.lay_over(&record(later.0, later.1, later.2, later.3), net);
            assert_eq!(answer.far_end.asn, Some(later.0));
            assert_eq!((answer.far_end.class, &*answer.far_end.class_basis), (class, basis));
        }
    }
}
