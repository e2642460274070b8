//! EVE records, read back.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

/// All records of a run, in order.
#[derive(Clone, Debug)]
pub struct Records(pub Vec<Value>);

impl Records {
    /// Reads NDJSON.
    pub fn parse(eve: &[u8]) -> Self {
        let text = std::str::from_utf8(eve).expect("EVE is UTF-8");
        Self(
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON ({e}): {line}")))
                .collect(),
        )
    }

    /// The records of a type.
    pub fn of(&self, event_type: &str) -> Vec<&Value> {
        self.0.iter().filter(|r| r["event_type"] == event_type).collect()
    }

    pub fn flows(&self) -> Vec<&Value> {
        self.of("flow")
    }

    pub fn alerts(&self) -> Vec<&Value> {
        self.of("alert")
    }

    /// The statistics record.
    pub fn stats(&self) -> &Value {
        self.of("stats").first().copied().expect("every run ends with a stats record")
    }

    /// The only flow.
    #[track_caller]
    pub fn only_flow(&self) -> &Value {
        let flows = self.flows();
        assert_eq!(flows.len(), 1, "one flow expected: {:#?}", self.told());
        flows[0]
    }

    /// Flows between two ends, whoever opened them.
    pub fn between(&self, a: SocketAddr, b: SocketAddr) -> Vec<&Value> {
        self.flows()
            .into_iter()
            .filter(|f| {
                let ends = ends(f);
                ends == [a, b] || ends == [b, a]
            })
            .collect()
    }

    /// A line a record, for messages.
    pub fn told(&self) -> Vec<String> {
        self.0.iter().map(told).collect()
    }
}

/// Who talks to whom in a word, for messages.
pub fn told(r: &Value) -> String {
    if r["event_type"] == "flow" {
        format!(
            "flow {} {}:{} → {}:{} label {} packets {}/{} {} {}",
            r["proto"],
            r["src_ip"],
            r["src_port"],
            r["dest_ip"],
            r["dest_port"],
            r["farend"]["label"],
            r["flow"]["pkts_toserver"],
            r["flow"]["pkts_toclient"],
            r["flow"]["state"],
            r["flow"]["reason"]
        )
    } else {
        let text = r.to_string();
        text.chars().take(200).collect()
    }
}

/// Address in a field.
#[track_caller]
pub fn addr(v: &Value) -> IpAddr {
    v.as_str().and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("no address: {v}"))
}

/// Both ends of a record, the opener first; port 0 where there is none.
#[track_caller]
pub fn ends(r: &Value) -> [SocketAddr; 2] {
    let port = |v: &Value| v.as_u64().map_or(0, |p| u16::try_from(p).expect("a port"));
    [
        SocketAddr::new(addr(&r["src_ip"]), port(&r["src_port"])),
        SocketAddr::new(addr(&r["dest_ip"]), port(&r["dest_port"])),
    ]
}

/// Packets of the opener and of the other side.
#[track_caller]
pub fn packets(flow: &Value) -> [u64; 2] {
    [number(&flow["flow"]["pkts_toserver"]), number(&flow["flow"]["pkts_toclient"])]
}

/// A count in a field.
#[track_caller]
pub fn number(v: &Value) -> u64 {
    v.as_u64().unwrap_or_else(|| panic!("no count: {v}"))
}

/// The sum of an object's counts.
#[track_caller]
pub fn sum(v: &Value) -> u64 {
    v.as_object().unwrap_or_else(|| panic!("no object: {v}")).values().map(number).sum()
}

/// Text in a field, empty where it is null.
pub fn text(v: &Value) -> &str {
    v.as_str().unwrap_or("")
}
