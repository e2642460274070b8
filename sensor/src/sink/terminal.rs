//! The summary that an analyst reads in ten seconds: findings by host (worst first), sessions, what could not be seen.

use std::fmt::Write as _;
use std::net::IpAddr;

use serde_json::json;

use super::{iso8601, stamp};
use crate::home::Home;
use crate::host::{Finding, Ledger, Severity};
use crate::pipeline::{Ended, Far, Summary};
use farend_analyzers::{Category, Side, label_info};

/// Sessions kept for the summary; more are counted.
const MAX_SESSIONS: usize = 10_000;
/// Session rows printed.
const SHOWN_SESSIONS: usize = 20;
/// Evidence lines printed a finding.
const SHOWN_LINES: usize = 6;

/// A labelled session, for the summary.
#[derive(Clone, Debug)]
pub struct Session {
    /// Label.
    pub label: &'static str,
    /// Opener and called side.
    pub ends: [(IpAddr, u16); 2],
    /// Operated side.
    pub controlled: Option<Side>,
    /// Start and end, ns since the epoch.
    pub span: [i64; 2],
    /// Bytes of both directions.
    pub bytes: u64,
    /// First packet.
    pub packet: u64,
    /// The far end's network and class.
    pub far: String,
    /// Name of the far end by DNS.
    pub name: Option<String>,
}

/// Collects sessions for the summary.
#[derive(Debug, Default)]
pub struct Sessions {
    rows: Vec<Session>,
    /// Sessions beyond the bound.
    pub more: u64,
}

impl Sessions {
    /// Takes a flow; only labelled ones are kept.
    pub fn flow(&mut self, ended: &Ended, far: &Far<'_>) {
        let Some(verdict) = ended.verdict.as_deref() else { return };
        let Some(label) = verdict.labels.label else { return };
        if label_info(label).is_none_or(|l| l.category == Category::Encapsulation) {
            return;
        }
        if self.rows.len() >= MAX_SESSIONS {
            self.more += 1;
            return;
        }
        let flow = &ended.flow;
        let org = far.end.as_org.as_deref().map(|o| format!("{o}, ")).unwrap_or_default();
        self.rows.push(Session {
            label,
            ends: [(flow.ip[0], flow.port[0]), (flow.ip[1], flow.port[1])],
            controlled: verdict.controlled,
            span: [flow.birth.first_ns, ended.hot.last_ns],
            bytes: ended.hot.bytes.iter().sum(),
            packet: flow.birth.number,
            far: match far.relay {
                Some(_) => format!("{} behind this relay, {org}{}", far.ip, far.end.class.as_str()),
                None => format!("{org}{}", far.end.class.as_str()),
            },
            name: far.name.map(str::to_owned),
        });
    }
}

/// How to print.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// ANSI colours.
    pub colour: bool,
    /// Print all evidence and counters.
    pub verbose: bool,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn severity(self, severity: Severity) -> String {
        let word = format!("{:<8}", severity.as_str().to_uppercase());
        match severity {
            Severity::Critical | Severity::High => self.paint("1;31", &word),
            Severity::Medium => self.paint("1;33", &word),
            Severity::Low => self.paint("36", &word),
        }
    }
}

/// Everything the summary tells.
pub struct Story<'a> {
    /// Findings and hosts.
    pub ledger: &'a Ledger,
    /// Counters.
    pub summary: &'a Summary,
    /// Labelled sessions.
    pub sessions: &'a Sessions,
    /// What is inside.
    pub home: &'a Home,
    /// Names of the inputs.
    pub files: &'a [String],
    /// Problems of the inputs, a line each.
    pub problems: &'a [String],
    /// First and last packet, ns since the epoch.
    pub span: Option<[i64; 2]>,
    /// What was written, a line each.
    pub written: &'a [String],
    /// Seconds that the run took.
    pub seconds: f64,
}

/// The summary as text.
#[must_use]
pub fn text(story: &Story<'_>, style: Style) -> String {
    let mut out = String::new();
    let _ = write_text(&mut out, story, style);
    out
}

fn write_text(out: &mut String, story: &Story<'_>, style: Style) -> std::fmt::Result {
    let s = story.summary;
    if story.home.is_auto() && !s.private_seen && s.decode.decoded > 0 {
        writeln!(
            out,
            "No packet has a private address: both sides of every flow are scored as inside. Name your networks with --home CIDR."
        )?;
    }
    let span = story
        .span
        .map(|[a, b]| format!("{} – {} UTC", stamp(a), stamp(b)))
        .unwrap_or_else(|| "no packets".into());
    writeln!(out, "{} packets, {} flows, {span}", thousands(s.decode.delivered), thousands(s.flows.opened),)?;
    findings(out, story, style)?;
    sessions(out, story, style)?;
    unseen(out, story, style)?;
    for line in story.written {
        writeln!(out, "{line}")?;
    }
    if style.verbose {
        counters(out, story)?;
    }
    Ok(())
}

fn findings(out: &mut String, story: &Story<'_>, style: Style) -> std::fmt::Result {
    let weights = story.ledger.weights();
    let findings = story.ledger.findings();
    if findings.is_empty() {
        writeln!(out, "\n{}", style.paint("1;32", "No findings."))?;
        return Ok(());
    }
    let mut hosts: Vec<IpAddr> = Vec::new();
    for f in &findings {
        if !hosts.contains(&f.host) {
            hosts.push(f.host);
        }
    }
    writeln!(
        out,
        "\n{}",
        style
            .paint("1", &format!("{} on {}", plural(findings.len(), "finding"), plural(hosts.len(), "host")))
    )?;
    for host in hosts {
        writeln!(out, "\n  {}", style.paint("1", &host.to_string()))?;
        let of_host: Vec<&Finding> = findings.iter().copied().filter(|f| f.host == host).collect();
        for f in &of_host {
            // The same session seen under a weaker claim needs no second telling.
            let told = of_host
                .iter()
                .take_while(|g| !std::ptr::eq(**g, *f))
                .any(|g| g.peer == f.peer && g.flow.id == f.flow.id);
            if told && !style.verbose {
                writeln!(
                    out,
                    "    {} {}  {}  the same session",
                    style.severity(f.severity()),
                    f.kind.as_str(),
                    f.id()
                )?;
            } else {
                finding(out, f, weights, story, style)?;
            }
        }
    }
    Ok(())
}

fn finding(
    out: &mut String,
    f: &Finding,
    weights: &crate::host::Weights,
    story: &Story<'_>,
    style: Style,
) -> std::fmt::Result {
    let p = f.posterior(weights);
    writeln!(
        out,
        "    {} {}  {}  probability {}.{:03}",
        style.severity(f.severity()),
        f.kind.as_str(),
        f.id(),
        p / 1000,
        p % 1000
    )?;
    writeln!(out, "             {}", f.summary())?;
    writeln!(
        out,
        "             {} – {} UTC, flow {}:{} → {}:{}",
        stamp(f.seen_ns[0]),
        stamp(f.seen_ns[1]),
        f.flow.ip[0],
        f.flow.port[0],
        f.flow.ip[1],
        f.flow.port[1]
    )?;
    let shown = if style.verbose { usize::MAX } else { SHOWN_LINES };
    writeln!(out, "             {} before any evidence", style.paint("2", &format!("{:+4}", f.prior)))?;
    for line in f.lines.iter().take(shown) {
        let file = story
            .files
            .get(usize::from(line.input))
            .filter(|_| story.files.len() > 1)
            .map(|f| format!(" of {f}"))
            .unwrap_or_default();
        writeln!(
            out,
            "             {} {:<22} packet {}{file}: {}",
            style.paint("2", &format!("{:+4}", line.decibans)),
            line.kind,
            line.packet,
            line.detail
        )?;
    }
    for (family, sum, cap) in f.capped(weights) {
        writeln!(
            out,
            "             {} evidence of the family {family} counts for {cap:+} at most",
            style.paint("2", &format!("{:+4}", cap - sum))
        )?;
    }
    if f.lines.len() > shown {
        writeln!(out, "             … {} more: farend explain {}", f.lines.len() - shown, f.id())?;
    }
    Ok(())
}

fn sessions(out: &mut String, story: &Story<'_>, style: Style) -> std::fmt::Result {
    let rows = &story.sessions.rows;
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", style.paint("1", &plural(rows.len() + story.sessions.more as usize, "session")))?;
    let mut order: Vec<&Session> = rows.iter().collect();
    order.sort_by_key(|r| (std::cmp::Reverse(r.bytes), r.span[0], r.packet));
    let end = |(ip, port): (IpAddr, u16)| {
        if port == 0 {
            ip.to_string()
        } else if ip.is_ipv6() {
            format!("[{ip}]:{port}")
        } else {
            format!("{ip}:{port}")
        }
    };
    let shown = if style.verbose { usize::MAX } else { SHOWN_SESSIONS };
    let text: Vec<[String; 6]> = order
        .iter()
        .take(shown)
        .map(|r| {
            let operated = match r.controlled {
                Some(Side::Src) => format!("operates {}", r.ends[0].0),
                Some(Side::Dest) => format!("operates {}", r.ends[1].0),
                None => String::new(),
            };
            let far = r.name.as_ref().map_or_else(|| r.far.clone(), |n| format!("{n}, {}", r.far));
            [
                r.label.to_owned(),
                format!("{} → {}", end(r.ends[0]), end(r.ends[1])),
                format!("{} s", r.span[1].saturating_sub(r.span[0]).max(0) / 1_000_000_000),
                bytes(r.bytes),
                format!("packet {}", r.packet),
                [far, operated].into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join("; "),
            ]
        })
        .collect();
    let width = |i: usize| text.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    for r in &text {
        writeln!(
            out,
            "    {:<w0$}  {:<w1$}  {:>w2$}  {:>w3$}  {:<w4$}  {}",
            r[0],
            r[1],
            r[2],
            r[3],
            r[4],
            r[5],
            w0 = widths[0],
            w1 = widths[1],
            w2 = widths[2],
            w3 = widths[3],
            w4 = widths[4]
        )?;
    }
    if rows.len() > shown {
        writeln!(out, "    … {} more in the EVE file (--eve PATH)", rows.len() - shown)?;
    }
    Ok(())
}

fn unseen(out: &mut String, story: &Story<'_>, style: Style) -> std::fmt::Result {
    let s = story.summary;
    let mut rows: Vec<String> = story.problems.to_vec();
    let mut row = |n: u64, what: &str| {
        if n > 0 {
            rows.push(format!("{} {what}", thousands(n)));
        }
    };
    row(s.decode.malformed_total(), "malformed frames");
    row(s.flows.untracked[0], "duplicate frames (counted once)");
    row(s.flows.untracked[1], "packets of flows beyond the table's capacity");
    row(s.flows.closed[3], "flows ended early to make room");
    row(s.flows.one_sided, "TCP flows of which only one direction was captured");
    row(s.flows.uninspected, "flows not inspected to their end");
    row(s.flows.unwatched, "times there was no room to follow a flow for its shape");
    row(
        s.decode.oversize,
        "frames larger than any link carries (offloads of the capturing machine: ethtool -K IFACE gro off lro off tso off)",
    );
    row(s.time[0], "frames stamped more than a second back in time");
    row(s.time[1], "frames stamped far ahead of all others");
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", style.paint("1", "Not seen or not whole"))?;
    for r in rows {
        writeln!(out, "    {r}")?;
    }
    Ok(())
}

fn counters(out: &mut String, story: &Story<'_>) -> std::fmt::Result {
    let s = story.summary;
    writeln!(out, "\nCounters")?;
    writeln!(
        out,
        "    frames {} = decoded {} + fragments held {} + malformed {} + ignored {}",
        s.decode.delivered,
        s.decode.decoded,
        s.decode.fragments_held,
        s.decode.malformed_total(),
        s.decode.ignored_total()
    )?;
    writeln!(out, "    flows {} opened, {} inspected", s.flows.opened, s.flows.inspected)?;
    let h = &s.latency;
    writeln!(
        out,
        "    a batch took p50 {} µs, p99 {} µs, p99.9 {} µs, max {} µs; {:.3} s in all, {} packets/s",
        h.value_at_quantile(0.5) / 1000,
        h.value_at_quantile(0.99) / 1000,
        h.value_at_quantile(0.999) / 1000,
        h.max() / 1000,
        story.seconds,
        thousands((s.decode.delivered as f64 / story.seconds.max(1e-9)) as u64)
    )
}

/// The summary as JSON: the same facts, for programs.
#[must_use]
pub fn json(story: &Story<'_>) -> serde_json::Value {
    let weights = story.ledger.weights();
    let s = story.summary;
    json!({
        "packets": s.decode.delivered,
        "flows": s.flows.opened,
        "first_packet": story.span.map(|s| iso8601(s[0])),
        "last_packet": story.span.map(|s| iso8601(s[1])),
        "home": if story.home.is_auto() { if s.private_seen { "private" } else { "both_sides" } } else { "configured" },
        "inputs": story.files,
        "problems": story.problems,
        "findings": story.ledger.findings().iter().map(|f| json!({
            "finding_id": f.id(),
            "finding": f.kind.as_str(),
            "host": f.host,
            "far_end": {
                "ip": f.peer, "asn": f.far_end.asn, "as_org": f.far_end.as_org.as_deref(),
                "class": f.far_end.class.as_str(), "class_basis": &*f.far_end.class_basis,
            },
            "label": f.label,
            "severity": f.severity().as_str(),
            "posterior": f64::from(f.posterior(weights)) / 1000.0,
            "score_decibans": f.score(weights),
            "first_seen": iso8601(f.seen_ns[0]),
            "last_seen": iso8601(f.seen_ns[1]),
            "summary": f.summary(),
            "evidence": f.lines.iter().map(|l| json!({
                "kind": l.kind, "decibans": l.decibans, "packet": l.packet, "file": l.input, "detail": l.detail,
            })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "sessions": story.sessions.rows.iter().map(|r| json!({
            "label": r.label,
            "src_ip": r.ends[0].0, "src_port": r.ends[0].1, "dest_ip": r.ends[1].0, "dest_port": r.ends[1].1,
            "controlled": r.controlled.map(|c| if c == Side::Src { "src" } else { "dest" }),
            "start": iso8601(r.span[0]), "end": iso8601(r.span[1]), "bytes": r.bytes, "packet": r.packet,
        })).collect::<Vec<_>>(),
    })
}

fn plural(n: usize, word: &str) -> String {
    if n == 1 { format!("1 {word}") } else { format!("{} {word}s", thousands(n as u64)) }
}

/// `1,234,567`.
#[must_use]
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `12.3 MB` (powers of ten, as network people count).
fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_sizes_have_units() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_250_000), "1.2 MB");
    }

    #[test]
    fn without_colour_no_escape_is_written() {
        assert_eq!(Style::default().severity(Severity::High), "HIGH    ");
        assert!(Style { colour: true, verbose: false }.severity(Severity::High).contains('\x1b'));
    }
}
