//! What `farend intel lookup`, `info`, `build`, `update` and `compare` print. Arguments are parsed elsewhere; each
//! function takes what was asked for and returns the text for standard output.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::build::database;
use super::source::IPORIGIN_MAGIC;
use super::{BuildInputs, BuildReport, Date, Error, FarEnd, Intel, Place, SourceInfo, archive, pack};

pub use super::compare::compare_text;

/// Name ending that asks `build` for the packed form.
const PACKED_SUFFIX: &str = ".pack";

/// The commands that fetch what `update` reads; farend itself opens no connection.
const FETCH: &str =
    "npm pack @ip-location-db/asn @ip-location-db/asn-country\npip download --no-deps iporigin";

/// A looked-up address as JSON.
#[derive(Serialize)]
pub struct LookupRow {
    /// As asked for.
    pub ip: String,
    /// AS number.
    pub asn: Option<u32>,
    /// Name of its organisation.
    pub as_org: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// Name of the class.
    pub class: &'static str,
    /// What the class rests on.
    pub class_basis: String,
    /// Prefix that was matched.
    pub network: Option<String>,
}

impl LookupRow {
    /// The row of `ip`.
    pub fn new(ip: IpAddr, far_end: &FarEnd) -> Self {
        Self {
            ip: ip.to_string(),
            asn: far_end.asn,
            as_org: far_end.as_org.as_deref().map(Into::into),
            country: far_end.country.map(|code| String::from_utf8_lossy(&code).into_owned()),
            class: far_end.class.as_str(),
            class_basis: far_end.class_basis.to_string(),
            network: far_end.network.map(|net| net.to_string()),
        }
    }
}

/// `intel lookup IP…`: a table, or with `json` one object a line.
///
/// # Errors
/// An argument that is no address, before any output.
pub fn lookup_text(intel: &Intel, ips: &[String], json: bool) -> Result<String, Error> {
    if ips.is_empty() {
        return Err(Error::Usage("no address given: farend intel lookup IP…".into()));
    }
    let rows = ips
        .iter()
        .map(|text| {
            let ip: IpAddr = text.parse().map_err(|_| {
                Error::Usage(format!("{text}: not an IPv4 or IPv6 address (no port, no prefix)"))
            })?;
            Ok(LookupRow::new(ip, &intel.lookup(ip)))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    if json {
        return Ok(json_lines(&rows));
    }
    let cells = rows.into_iter().map(|row| {
        let asn = row.asn.map_or_else(|| "-".to_owned(), |asn| format!("AS{asn}"));
        let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        [
            row.ip,
            dash(row.network),
            asn,
            dash(row.as_org),
            dash(row.country),
            row.class.to_owned(),
            row.class_basis,
        ]
    });
    Ok(table(["address", "network", "AS", "organisation", "country", "class", "basis"], cells))
}

/// A source as JSON.
#[derive(Serialize)]
struct InfoRow {
    name: String,
    kind: &'static str,
    licence: String,
    attribution: String,
    built: Option<String>,
    age_days: Option<i64>,
    stale: bool,
    records: u64,
}

impl InfoRow {
    fn new(source: SourceInfo, today: Date) -> Self {
        Self {
            kind: source.kind.as_str(),
            built: source.built.map(|built| built.to_string()),
            age_days: source.age_days(today),
            stale: source.stale(today),
            name: source.name,
            licence: source.licence,
            attribution: source.attribution,
            records: source.records,
        }
    }
}

/// `intel info`: every source with licence, credit, date and age on the day `today`, and what to do about stale ones.
pub fn info_text(intel: &Intel, today: Date, json: bool) -> String {
    let rows: Vec<InfoRow> = intel.info().into_iter().map(|source| InfoRow::new(source, today)).collect();
    if json {
        return json_lines(&rows);
    }
    let stale: Vec<String> = rows.iter().filter(|row| row.stale).map(|row| row.name.clone()).collect();
    let mut out = String::new();
    for row in rows {
        let built = row.built.as_deref().unwrap_or("no date");
        let age = row.age_days.map(|days| format!(", {days} days old")).unwrap_or_default();
        let mark = if row.stale { " - STALE" } else { "" };
        let _ = writeln!(out, "{} ({})", row.name, row.kind);
        let _ = writeln!(out, "    {built}{age}{mark}, {} records", row.records);
        let _ = writeln!(out, "    {}; {}", row.licence, row.attribution);
    }
    if !stale.is_empty() {
        let _ = writeln!(out, "\nstale: {}. Newer data:\n{}", stale.join(", "), indented(&update_help()));
    }
    out
}

/// `intel build … -o OUT`: builds from the given files; OUT ending in `.pack` is written in packed form.
///
/// # Errors
/// As [`super::build`], and if `out` cannot be written.
pub fn build_text(inputs: &BuildInputs, out: &Path) -> Result<String, Error> {
    let (bytes, mut report) = database(inputs)?;
    let bytes = if out.to_string_lossy().ends_with(PACKED_SUFFIX) {
        pack::pack(&bytes).map_err(|error| Error::format(out.display().to_string(), Place::File, error.0))?
    } else {
        bytes
    };
    report.bytes = bytes.len();
    // A reader never sees half a database.
    let partial = out.with_extension("partial");
    fs::write(&partial, &bytes).map_err(|error| Error::io(&partial, error))?;
    fs::rename(&partial, out).map_err(|error| Error::io(out, error))?;
    Ok(report_text(&report, out))
}

fn report_text(report: &BuildReport, out: &Path) -> String {
    let mut text = String::new();
    for source in &report.sources {
        let built = source.built.map_or_else(|| "no date".to_owned(), |built| built.to_string());
        let _ = writeln!(text, "{}: {built}, {} records, {}", source.name, source.records, source.licence);
    }
    if !report.left_out.is_empty() {
        let _ = writeln!(text, "left out (no licence, or no class): {}", report.left_out.join(", "));
    }
    for row in &report.skipped_rows {
        let _ = writeln!(text, "skipped {row}");
    }
    let unnamed = report.skipped - report.skipped_rows.len();
    if unnamed > 0 {
        let _ = writeln!(text, "skipped {unnamed} more rows");
    }
    let _ = writeln!(
        text,
        "{}: {} bytes, {} ranges, {} records; {} overlapping ranges clipped, {} rows skipped",
        out.display(),
        report.bytes,
        report.ranges,
        report.records,
        report.clipped,
        report.skipped
    );
    text
}

/// `intel update` without files: the commands that fetch newer data.
pub fn update_help() -> String {
    format!(
        "{FETCH}\nfarend intel update *.tgz *.whl -o farend.mmdb\nfarend replay --intel farend.mmdb …\n\
         # or give GeoLite2-ASN, DB-IP Lite ASN or ipinfo files and plain lists straight to --intel\n"
    )
}

/// `intel update FILE… -o OUT`: builds from whatever packages, tables and iporigin files are given, each recognised by
/// its content.
///
/// # Errors
/// A file that is none of these, and as [`build_text`].
pub fn update_text(files: &[PathBuf], out: &Path) -> Result<String, Error> {
    let mut inputs = BuildInputs::default();
    for file in files {
        match kind_of(file)? {
            InputKind::Asn => inputs.asn_csv.push(file.clone()),
            InputKind::Country => inputs.country_csv.push(file.clone()),
            InputKind::IpOrigin => inputs.iporigin = Some(file.clone()),
        }
    }
    if inputs.asn_csv.is_empty() {
        let what = format!("no ASN table among the files; fetch one:\n{}", indented(&update_help()));
        return Err(Error::Usage(what.trim_end().to_owned()));
    }
    let mut text = build_text(&inputs, out)?;
    let _ =
        writeln!(text, "use it with: --intel {}\nnewer data:\n{}", out.display(), indented(FETCH).trim_end());
    Ok(text)
}

enum InputKind {
    Asn,
    Country,
    IpOrigin,
}

fn kind_of(file: &Path) -> Result<InputKind, Error> {
    let members = archive::open(file)?;
    if members.iter().any(|member| member.bytes.starts_with(IPORIGIN_MAGIC)) {
        return Ok(InputKind::IpOrigin);
    }
    let columns = members
        .iter()
        .filter(|member| members.len() == 1 || member.name.ends_with(".csv"))
        .find_map(|member| columns_of(&member.bytes));
    match columns {
        Some(3) => Ok(InputKind::Country),
        Some(4 | 5) => Ok(InputKind::Asn),
        _ => {
            let what = "none of: ASN table, country table (CSV rows of 4 or 3 fields), iporigin ranges.bin; databases and \
                        lists go straight to --intel";
            Err(Error::format(file.display().to_string(), Place::File, what))
        }
    }
}

/// Fields of the first row of a table of address ranges.
fn columns_of(bytes: &[u8]) -> Option<usize> {
    let line = bytes.split(|&b| b == b'\n').find(|line| !line.is_empty() && !line.starts_with(b"#"))?;
    let line = std::str::from_utf8(line).ok()?.trim_end();
    if line.contains('\t') {
        return Some(line.split('\t').count());
    }
    // Only the name, which comes last, may hold commas.
    Some(line.split(',').count().min(4))
}

fn json_lines(rows: &[impl Serialize]) -> String {
    rows.iter().filter_map(|row| serde_json::to_string(row).ok()).map(|line| line + "\n").collect()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// Columns as wide as their widest cell; the last one is left ragged.
fn table<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut cells = vec![header.map(str::to_owned)];
    cells.extend(rows);
    let widths: Vec<usize> =
        (0..N).map(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for row in &cells {
        for (column, cell) in row.iter().enumerate() {
            if column + 1 == N {
                let _ = writeln!(out, "{cell}");
            } else {
                let _ = write!(out, "{cell:<width$}  ", width = widths[column]);
            }
        }
    }
    out
}
