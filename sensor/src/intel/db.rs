//! One MaxMind-format database: ours, GeoLite2-ASN, DB-IP Lite, ipinfo and their relatives.
//!
//! In: the bytes of the file. Out: the record of an address, in our terms, and its prefix. The schemas differ in names
//! and nesting only, so a record is read generically and once: decoded records are kept by their place in the file.

use std::net::IpAddr;
use std::sync::Arc;

use dashmap::DashMap;
use maxminddb::{LookupResult, Reader};
use serde_json::Value;

use super::info::{SourceInfo, SourceKind, decode_sources};
use super::rules::{NO_BASIS, Rules};
use super::source::Country;
use super::{Class, Date, Net, SOURCES_TAG};

/// Decoded records kept; the embedded database has 111,000 and traffic touches few. At the limit all are dropped.
const MAX_CACHED: usize = 1 << 16;

/// What a database says of a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) asn: Option<u32>,
    pub(super) as_org: Option<Arc<str>>,
    pub(super) country: Option<Country>,
    pub(super) class: Class,
    pub(super) basis: Arc<str>,
    /// Whether the class is the prefix's own and not that of its AS.
    pub(super) prefix_class: bool,
}

/// An open database.
pub(super) struct Db {
    reader: Reader<Vec<u8>>,
    /// File name and day, which every basis from it names; `None` for the embedded one.
    origin: Option<String>,
    cache: DashMap<usize, Arc<Record>>,
}

impl Db {
    /// Opens the bytes of a database; `name` is the file's for a file of the user's.
    pub(super) fn open(bytes: Vec<u8>, name: Option<&str>) -> Result<Self, maxminddb::MaxMindDbError> {
        let reader = Reader::from_source(bytes)?;
        let origin = name.map(|name| format!("{name} {}", Date::from_unix(reader.metadata().build_epoch)));
        Ok(Self { reader, origin, cache: DashMap::new() })
    }

    /// Whether `farend intel build` made it, so that it can take the embedded one's place.
    pub(super) fn is_complete(&self) -> bool {
        self.reader.metadata().description.contains_key(SOURCES_TAG)
    }

    /// The record of `ip` and the longest prefix that has it; damaged parts of a file say nothing.
    pub(super) fn lookup(&self, ip: IpAddr) -> Option<(Arc<Record>, Net)> {
        self.record_at(&self.reader.lookup(ip).ok()?)
    }

    fn record_at(&self, found: &LookupResult<'_, Vec<u8>>) -> Option<(Arc<Record>, Net)> {
        let offset = found.offset()?;
        let network = found.network().ok()?;
        let net = Net::new(network.ip(), network.prefix())?;
        if let Some(record) = self.cache.get(&offset) {
            return Some((Arc::clone(&record), net));
        }
        let value: Value = found.decode().ok()??;
        let record = Arc::new(self.record(&value));
        if self.cache.len() >= MAX_CACHED {
            self.cache.clear();
        }
        self.cache.insert(offset, Arc::clone(&record));
        Some((record, net))
    }

    /// Every prefix that has a record; for going through the whole database.
    pub(super) fn records(&self) -> impl Iterator<Item = (Arc<Record>, Net)> {
        let networks = self.reader.networks(maxminddb::WithinOptions::default()).into_iter().flatten();
        networks.flatten().filter_map(|found| self.record_at(&found))
    }

    /// The sources it names, or the file itself as the only one.
    pub(super) fn sources(&self) -> Vec<SourceInfo> {
        let metadata = self.reader.metadata();
        let own = metadata.description.get(SOURCES_TAG).and_then(|text| decode_sources(text));
        own.unwrap_or_else(|| {
            let kind = if metadata.database_type.contains("Country") {
                SourceKind::Country
            } else {
                SourceKind::Asn
            };
            vec![SourceInfo {
                name: format!(
                    "{} ({})",
                    self.origin.as_deref().unwrap_or("embedded"),
                    metadata.database_type
                ),
                licence: "as its owner gives it".into(),
                attribution: metadata.description.get("en").cloned().unwrap_or_default(),
                built: Some(Date::from_unix(metadata.build_epoch)),
                records: metadata.node_count.into(),
                kind,
            }]
        })
    }

    fn record(&self, value: &Value) -> Record {
        let text = |paths: &[&[&str]]| paths.iter().find_map(|path| text_at(value, path));
        let asn = number_at(value, &["autonomous_system_number"])
            .or_else(|| number_at(value, &["asn"]))
            .or_else(|| number_at(value, &["asn", "asn"]))
            .or_else(|| number_at(value, &["traits", "autonomous_system_number"]));
        let org = text(&[
            &["autonomous_system_organization"],
            &["as_name"],
            &["asn", "name"],
            &["traits", "autonomous_system_organization"],
            &["name"],
            &["as_domain"],
            &["domain"],
        ]);
        let country =
            text(&[&["country", "iso_code"], &["country_code"], &["country"]]).and_then(country_code);

        let own_basis = text_at(value, &["class_basis"]);
        let stated = match text_at(value, &["class"]).and_then(|class| class.parse().ok()) {
            Some(class) => Some((class, own_basis.unwrap_or(NO_BASIS).to_owned())),
            None => stated_class(value).map(|(class, field)| (class, field.to_owned())),
        };
        let prefix_class = stated.is_some() && own_basis.is_none_or(|basis| basis.starts_with("prefix:"));
        let (class, basis) = stated.unwrap_or_else(|| {
            let verdict = Rules::embedded().classify(asn, org);
            (verdict.class, verdict.basis)
        });
        let basis = match &self.origin {
            Some(origin) => format!("file:{origin} {basis}"),
            None => basis,
        };
        Record { asn, as_org: org.map(Into::into), country, class, basis: basis.into(), prefix_class }
    }
}

/// Class that a record states in another vendor's fields, and the field.
fn stated_class(value: &Value) -> Option<(Class, &'static str)> {
    // GeoIP2 Anonymous IP (`is_…`) and ipinfo privacy; the more specific statement first.
    const FLAGS: [(&str, Class); 12] = [
        ("is_tor_exit_node", Class::Tor),
        ("tor", Class::Tor),
        ("relay", Class::Relay),
        ("is_residential_proxy", Class::Proxy),
        ("is_public_proxy", Class::Proxy),
        ("proxy", Class::Proxy),
        ("is_anonymous_vpn", Class::Vpn),
        ("vpn", Class::Vpn),
        ("is_hosting_provider", Class::Hosting),
        ("hosting", Class::Hosting),
        ("is_hosting", Class::Hosting),
        ("is_mobile", Class::Mobile),
    ];
    let flag = FLAGS.iter().find(|(field, _)| match value.get(field) {
        Some(Value::Bool(set)) => *set,
        Some(Value::String(text)) => text == "true",
        _ => false,
    });
    if let Some(&(field, class)) = flag {
        return Some((class, field));
    }
    // ipinfo `type` and `as_type`, GeoIP2 Enterprise `user_type`.
    const TYPES: [&[&str]; 5] =
        [&["type"], &["as_type"], &["asn", "type"], &["user_type"], &["traits", "user_type"]];
    TYPES.iter().find_map(|path| {
        let class = match text_at(value, path)? {
            "hosting" => Class::Hosting,
            "isp" => Class::Isp,
            "business" | "government" => Class::Business,
            "education" | "college" | "school" | "library" => Class::Education,
            "cellular" => Class::Mobile,
            "residential" => Class::Residential,
            "content_delivery_network" => Class::Cdn,
            _ => return None,
        };
        Some((class, *path.last()?))
    })
}

fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

fn text_at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(value, path)?.as_str().filter(|text| !text.is_empty())
}

/// A number, or text such as `AS13335`.
fn number_at(value: &Value, path: &[&str]) -> Option<u32> {
    let number = match at(value, path)? {
        Value::Number(number) => u32::try_from(number.as_u64()?).ok()?,
        Value::String(text) => text.trim_start_matches("AS").parse().ok()?,
        _ => return None,
    };
    (number != 0).then_some(number)
}

fn country_code(text: &str) -> Option<Country> {
    let code: Country = text.as_bytes().try_into().ok()?;
    code.iter().all(u8::is_ascii_uppercase).then_some(code)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::mmdb::{self, Data, Metadata};
    use super::super::ranges::Range;
    use super::*;
    use serde_json::json;

    /// A database with one JSON-like record for everything in `net`.
    pub(in super::super) fn one_record_file(net: &str, record: &Value) -> Vec<u8> {
        fn write(data: &mut Data, value: &Value) {
            match value {
                Value::Object(map) => {
                    data.map(map.len());
                    for (key, value) in map {
                        data.string(key);
                        write(data, value);
                    }
                }
                Value::Number(number) => data.uint32(number.as_u64().expect("unsigned") as u32),
                Value::Bool(set) => data.boolean(*set),
                other => data.string(other.as_str().expect("text")),
            }
        }
        let mut data = Data::default();
        write(&mut data, record);
        let (first, last) = net.parse::<Net>().expect(net).span();
        // 2026-10-01
        let metadata = Metadata { database_type: "Test-ASN", build_epoch: 1_790_812_800, description: &[] };
        mmdb::file(&[Range { first, last, value: 0 }], data, &metadata).expect("small")
    }

    fn read(record: &Value) -> Record {
        let db = Db::open(one_record_file("8.8.8.0/24", record), Some("x.mmdb")).expect("valid");
        let (record, net) = db.lookup("8.8.8.8".parse().unwrap()).expect("inside");
        assert_eq!(net.to_string(), "8.8.8.0/24");
        assert!(db.lookup("8.8.9.0".parse().unwrap()).is_none());
        Record::clone(&record)
    }

    #[test]
    fn geolite2_and_db_ip_asn_records_get_their_class_from_the_as() {
        let record = read(&json!({
            "autonomous_system_number": 24940, "autonomous_system_organization": "Hetzner Online GmbH"
        }));
        assert_eq!((record.asn, record.as_org.as_deref()), (Some(24940), Some("Hetzner Online GmbH")));
        assert_eq!((record.class, record.prefix_class), (Class::Hosting, false));
        assert_eq!(&*record.basis, "file:x.mmdb 2026-10-01 asn:hosting-table");
    }

    #[test]
    fn ipinfo_records_are_read_in_their_lite_and_nested_forms() {
        let lite = json!({"asn": "AS15169", "as_name": "Google LLC", "as_domain": "google.com",
                          "country": "United States", "country_code": "US"});
        let nested =
            json!({"asn": {"asn": "AS15169", "name": "Google LLC", "type": "hosting"}, "country": "US"});
        for record in [lite, nested] {
            let record = read(&record);
            assert_eq!((record.asn, record.as_org.as_deref()), (Some(15169), Some("Google LLC")));
            assert_eq!(record.country, Some(*b"US"));
            assert_eq!(record.class, Class::Hosting);
        }
    }

    #[test]
    fn a_stated_class_is_the_prefix_s_own_and_names_the_field() {
        for (record, class, field) in [
            (
                json!({"is_anonymous": true, "is_anonymous_vpn": true, "is_hosting_provider": true}),
                Class::Vpn,
                "is_anonymous_vpn",
            ),
            (json!({"tor": "true", "vpn": "", "hosting": "true"}), Class::Tor, "tor"),
            (json!({"traits": {"user_type": "residential"}}), Class::Residential, "user_type"),
        ] {
            let record = read(&record);
            assert_eq!((record.class, record.prefix_class), (class, true));
            assert_eq!(&*record.basis, format!("file:x.mmdb 2026-10-01 {field}"));
        }
    }

    #[test]
    fn a_record_that_says_nothing_we_know_has_no_class() {
        let record =
            read(&json!({"asn": "unknown", "country": "Elsewhere", "vpn": false, "city": {"geoname_id": 5}}));
        assert_eq!((record.asn, record.country, record.class), (None, None, Class::Unknown));
        assert_eq!(&*record.basis, "file:x.mmdb 2026-10-01 none");
    }

    #[test]
    fn a_database_damaged_at_any_byte_answers_or_refuses_but_never_panics() {
        let whole = one_record_file("8.8.8.0/24", &json!({"asn": {"asn": 5, "name": "n"}, "country": "US"}));
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            for bytes in [damaged, whole[..at].to_vec()] {
                if let Ok(db) = Db::open(bytes, Some("x")) {
                    let _ = db.lookup("8.8.8.8".parse().unwrap());
                    let _ = db.sources();
                }
            }
        }
    }
}
