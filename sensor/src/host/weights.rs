//! The weights of evidence, from `config/weights.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The file that is built in.
pub(super) const DEFAULT: &str = include_str!("../../../config/weights.toml");

/// A weights file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("weights: {0}")]
pub struct WeightsError(String);

/// What evidence weighs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// A finding is raised at this score.
    pub raise_at: i32,
    prior: BTreeMap<String, Weight>,
    family: BTreeMap<String, Family>,
    evidence: BTreeMap<String, Weight>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Weight {
    decibans: i32,
    #[serde(default)]
    family: String,
    source: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Family {
    cap: i32,
    source: String,
}

impl Default for Weights {
    fn default() -> Self {
        // The built-in file is checked by a test.
        Self::parse(DEFAULT).unwrap_or_else(|e| unreachable!("built-in {e}"))
    }
}

impl Weights {
    /// Reads a weights file.
    ///
    /// # Errors
    /// TOML errors with line and column, unknown keys, evidence of an unknown family, an empty source.
    pub fn parse(text: &str) -> Result<Self, WeightsError> {
        let weights: Self = toml::from_str(text).map_err(|e| WeightsError(e.to_string()))?;
        for (name, weight) in &weights.evidence {
            if !weights.family.contains_key(&weight.family) {
                return Err(WeightsError(format!("evidence.{name}: no family '{}'", weight.family)));
            }
        }
        let sources = weights.prior.values().chain(weights.evidence.values()).map(|w| &w.source);
        if sources.chain(weights.family.values().map(|f| &f.source)).any(|s| s.trim().is_empty()) {
            return Err(WeightsError("every figure needs a source".into()));
        }
        Ok(weights)
    }

    /// Score of a finding before any evidence.
    #[must_use]
    pub fn prior(&self, finding: &str) -> i32 {
        self.prior.get(finding).map_or(-30, |w| w.decibans)
    }

    /// Decibans and family of a kind of evidence that is no analyzer's.
    #[must_use]
    pub fn of(&self, kind: &str) -> (i32, &str) {
        self.evidence.get(kind).map_or((0, ""), |w| (w.decibans, &w.family))
    }

    /// The most that a family may add.
    #[must_use]
    pub fn cap(&self, family: &str) -> i32 {
        self.family.get(family).map_or(i32::MAX, |f| f.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_file_is_valid_and_knows_every_kind_that_the_ledger_uses() {
        let weights = Weights::parse(DEFAULT).expect("valid");
        for kind in
            ["session.sustained", "session.short", "capture.one_sided", "origin.hosting", "inbound.session"]
        {
            assert!(weights.evidence.contains_key(kind), "{kind}");
        }
        assert!(weights.cap("capture") == 0 && weights.prior("remote_control") < 0);
    }

    #[test]
    fn evidence_without_a_family_or_a_source_is_refused() {
        let bad = DEFAULT.replace("family = \"inbound\"", "family = \"nowhere\"");
        assert!(Weights::parse(&bad).unwrap_err().to_string().contains("no family 'nowhere'"));
        let bad = DEFAULT.replace("only lowers", "");
        assert!(Weights::parse(&bad).unwrap_err().to_string().contains("source"));
    }
}
