//! Addresses that published threat reports name: `config/intel/reported.toml`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use serde::Deserialize;

use super::Class;
use super::info::{SourceInfo, SourceKind};

const EMBEDDED: &str = include_str!("../../../config/intel/reported.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportsFile {
    report: Vec<ReportRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportRow {
    by: String,
    title: String,
    url: String,
    published: Option<String>,
    class: String,
    what: String,
    addresses: Vec<IpAddr>,
}

/// What a report says of an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reported {
    pub(super) class: Class,
    /// `report:LevelBlue 2026-03-17 Astrill VPN exit`.
    pub(super) basis: String,
}

/// The reports in the binary.
pub(super) struct Reports {
    by_address: HashMap<IpAddr, Reported>,
    infos: Vec<SourceInfo>,
}

static REPORTS: LazyLock<Reports> = LazyLock::new(|| {
    // The file is compiled in and a test reads it: nothing a user does can make this fail.
    Reports::parse(EMBEDDED).unwrap_or_else(|error| panic!("config/intel/reported.toml: {error}"))
});

impl Reports {
    /// The reports, parsed at first use.
    pub(super) fn embedded() -> &'static Self {
        &REPORTS
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: ReportsFile = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut by_address = HashMap::new();
        let mut infos = Vec::new();
        for row in file.report {
            let class = row.class.parse().map_err(|_| format!("no class `{}` ({})", row.class, row.title))?;
            let published = row.published.as_deref().map(|day| format!(" {day}")).unwrap_or_default();
            let basis = format!("report:{}{published} {}", row.by, row.what);
            infos.push(SourceInfo {
                name: row.title,
                licence: "facts".into(),
                attribution: format!("{}, {}", row.by, row.url),
                built: row.published.and_then(|day| day.parse().ok()),
                records: row.addresses.len() as u64,
                kind: SourceKind::Reports,
            });
            for address in row.addresses {
                by_address.insert(address, Reported { class, basis: basis.clone() });
            }
        }
        Ok(Self { by_address, infos })
    }

    /// What the first report that names `ip` says.
    pub(super) fn get(&self, ip: IpAddr) -> Option<&Reported> {
        self.by_address.get(&ip)
    }

    /// Every reported address and what the report says that it was.
    pub(super) fn classes(&self) -> impl Iterator<Item = (IpAddr, Class)> {
        self.by_address.iter().map(|(ip, reported)| (*ip, reported.class))
    }

    /// One entry a report.
    pub(super) fn infos(&self) -> &[SourceInfo] {
        &self.infos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reported_address_carries_who_said_what_and_when() {
        let reports = Reports::embedded();
        let reported = reports.get("155.94.199.59".parse().unwrap()).expect("LevelBlue names it");
        assert_eq!(
            *reported,
            Reported { class: Class::Vpn, basis: "report:LevelBlue 2026-03-17 Astrill VPN exit".into() }
        );
        assert!(reports.get("155.94.199.60".parse().unwrap()).is_none());
    }

    #[test]
    fn every_report_has_a_source_to_read() {
        for info in Reports::embedded().infos() {
            assert!(info.attribution.contains("https://"), "{} has no URL", info.name);
            assert!(info.records > 0, "{} names no address", info.name);
        }
    }
}
