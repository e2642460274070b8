//! Where the answers come from: name, licence, date and size of every source, and whether it is too old to trust.

use serde::{Deserialize, Serialize};

use super::Date;

/// What a source is about, which decides how fast it ages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// Which AS announces a prefix.
    Asn,
    /// Which country a prefix is allocated to.
    Country,
    /// Hosting, VPN, Tor and proxy prefixes.
    Anonymizers,
    /// Classes of ASes and organisations.
    Classes,
    /// Addresses that published reports name.
    Reports,
}

impl SourceKind {
    /// Days after which the source is called stale: prefixes change hands over months, VPN and Tor exits over weeks;
    /// tables and reports are dated statements and do not expire.
    pub fn max_age_days(self) -> Option<i64> {
        match self {
            Self::Asn | Self::Country => Some(180),
            Self::Anonymizers => Some(30),
            Self::Classes | Self::Reports => None,
        }
    }

    /// The name in `intel info`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asn => "asn",
            Self::Country => "country",
            Self::Anonymizers => "anonymizers",
            Self::Classes => "classes",
            Self::Reports => "reports",
        }
    }
}

/// One source of the database in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceInfo {
    /// Package and version, or file.
    pub name: String,
    /// Licence of the data.
    pub licence: String,
    /// Whom to credit.
    pub attribution: String,
    /// Day of the data; `None` if the source does not say.
    pub built: Option<Date>,
    /// Rows or ranges taken from it.
    pub records: u64,
    /// What it is about.
    pub kind: SourceKind,
}

impl SourceInfo {
    /// Age in days on the day `today`.
    pub fn age_days(&self, today: Date) -> Option<i64> {
        Some(today.days_since(self.built?))
    }

    /// Whether it is older than its kind allows; a source without a date that should have one is stale.
    pub fn stale(&self, today: Date) -> bool {
        let limit = self.kind.max_age_days();
        limit.is_some_and(|limit| self.age_days(today).is_none_or(|age| age > limit))
    }
}

/// As written into the metadata of a database.
#[derive(Serialize, Deserialize)]
struct Encoded {
    name: String,
    licence: String,
    attribution: String,
    built: Option<String>,
    records: u64,
    kind: SourceKind,
}

pub(super) fn encode_sources(sources: &[SourceInfo]) -> String {
    let encoded: Vec<Encoded> = sources
        .iter()
        .map(|source| Encoded {
            name: source.name.clone(),
            licence: source.licence.clone(),
            attribution: source.attribution.clone(),
            built: source.built.map(|built| built.to_string()),
            records: source.records,
            kind: source.kind,
        })
        .collect();
    serde_json::to_string(&encoded).unwrap_or_default()
}

pub(super) fn decode_sources(text: &str) -> Option<Vec<SourceInfo>> {
    let encoded: Vec<Encoded> = serde_json::from_str(text).ok()?;
    let decode = |source: Encoded| SourceInfo {
        name: source.name,
        licence: source.licence,
        attribution: source.attribution,
        built: source.built.and_then(|built| built.parse().ok()),
        records: source.records,
        kind: source.kind,
    };
    Some(encoded.into_iter().map(decode).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(kind: SourceKind, built: Option<&str>) -> SourceInfo {
        SourceInfo {
            name: "s".into(),
            licence: "CC0-1.0".into(),
            attribution: "nobody".into(),
            built: built.map(|day| day.parse().expect(day)),
            records: 3,
            kind,
        }
    }

    #[test]
    fn a_source_is_stale_one_day_after_its_limit() {
        let today: Date = "2026-11-24".parse().unwrap();
        for (kind, fresh, stale) in [
            (SourceKind::Anonymizers, "2026-10-25", "2026-10-24"),
            (SourceKind::Asn, "2026-05-28", "2026-05-27"),
        ] {
            assert!(!source(kind, Some(fresh)).stale(today), "{kind:?} of {fresh}");
            assert!(source(kind, Some(stale)).stale(today), "{kind:?} of {stale}");
        }
        assert!(source(SourceKind::Asn, None).stale(today));
        assert!(!source(SourceKind::Reports, Some("1990-01-01")).stale(today));
        assert_eq!(source(SourceKind::Asn, Some("2026-11-20")).age_days(today), Some(4));
    }

    #[test]
    fn sources_survive_the_metadata() {
        let sources = vec![source(SourceKind::Asn, Some("2026-06-17")), source(SourceKind::Classes, None)];
        assert_eq!(decode_sources(&encode_sources(&sources)), Some(sources));
        assert_eq!(decode_sources("[{}]"), None);
    }
}
