//! `farend explain`: the evidence behind one finding, from the EVE file of the run.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader};

use serde_json::Value;

use super::{ExplainArgs, Failure, code, say};

pub(super) fn explain(args: &ExplainArgs) -> Result<u8, Failure> {
    let path = args.from.display();
    let file = File::open(&args.from).map_err(|e| {
        Failure::usage(format!(
            "{path}: {} (give the EVE file of the run: farend explain {} --from FILE)",
            say::io(&e),
            args.id
        ))
    })?;
    let mut known = Vec::new();
    let mut inputs: Vec<String> = Vec::new();
    let mut found = None;
    for (n, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|e| Failure {
            code: code::PARTIAL,
            message: format!("{path}:{}: {}", n + 1, say::io(&e)),
        })?;
        if line.contains("\"event_type\":\"stats\"")
            && let Ok(Value::Object(stats)) = serde_json::from_str(&line)
        {
            inputs = stats["farend"]["inputs"]
                .as_array()
                .map(|a| a.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect())
                .unwrap_or_default();
        }
        if !line.contains("\"event_type\":\"alert\"") {
            continue;
        }
        let Ok(alert) = serde_json::from_str::<Value>(&line) else {
            say::warn(format!("{path}:{}: not a JSON record, passed over", n + 1));
            continue;
        };
        let id = alert["farend"]["finding_id"].as_str().unwrap_or_default().to_owned();
        if id.eq_ignore_ascii_case(&args.id) {
            found = Some(alert);
        }
        known.push(id);
    }
    let Some(alert) = found else {
        let have =
            if known.is_empty() { "it has none".to_owned() } else { format!("have: {}", known.join(", ")) };
        return Err(Failure::usage(format!("{path}: no finding {} ({have})", args.id)));
    };
    let mut out = String::new();
    let _ = write(&mut out, &alert, &inputs);
    say::text(&out)
}

fn write(out: &mut String, alert: &Value, inputs: &[String]) -> std::fmt::Result {
    let f = &alert["farend"];
    let text = |v: &Value| v.as_str().unwrap_or("-").to_owned();
    writeln!(out, "{}  {}  severity {}", text(&f["finding_id"]), text(&f["finding"]), text(&f["severity"]))?;
    writeln!(out, "  {}", text(&f["summary"]))?;
    writeln!(
        out,
        "  seen {} – {} (as it stood when it was raised)",
        text(&f["first_seen"]),
        text(&f["last_seen"])
    )?;
    let far = &f["far_end"];
    writeln!(
        out,
        "  far end {}: AS{} {}, class {} because {}",
        text(&far["ip"]),
        far["asn"],
        text(&far["as_org"]),
        text(&far["class"]),
        text(&far["class_basis"])
    )?;
    writeln!(
        out,
        "  deciding flow {}:{} → {}:{} {} (flow_id {}, {})",
        text(&alert["src_ip"]),
        alert["src_port"],
        text(&alert["dest_ip"]),
        alert["dest_port"],
        text(&alert["proto"]),
        alert["flow_id"],
        text(&alert["community_id"])
    )?;
    writeln!(out, "\n  decibans  evidence")?;
    writeln!(out, "  {:>8}  before any evidence", f["prior_decibans"].as_i64().unwrap_or(0))?;
    for line in f["evidence"].as_array().into_iter().flatten() {
        let file = line["file"]
            .as_u64()
            .and_then(|i| inputs.get(usize::try_from(i).ok()?))
            .map(|f| format!(" of {f}"))
            .unwrap_or_default();
        writeln!(
            out,
            "  {:>+8}  {}: packet {}{file}: {}",
            line["decibans"].as_i64().unwrap_or(0),
            text(&line["kind"]),
            line["packet"],
            text(&line["detail"])
        )?;
    }
    for family in f["capped"].as_array().into_iter().flatten() {
        let (sum, cap) = (family["decibans"].as_i64().unwrap_or(0), family["cap"].as_i64().unwrap_or(0));
        writeln!(
            out,
            "  {:>+8}  evidence of the family {} counts for {cap:+} at most",
            cap.saturating_sub(sum),
            text(&family["family"])
        )?;
    }
    writeln!(
        out,
        "  {:>8}  in all: probability {} (weights and their sources: config/weights.toml)",
        f["score_decibans"].as_i64().unwrap_or(0),
        f["posterior"]
    )
}
