//! Class of an autonomous system: a hand-written table first, then rules on the organisation's name.
//!
//! In: `config/intel/asn-classes.toml` (or a file of the same shape). Out: class and basis of (ASN, name).

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde::Deserialize;

use super::{Class, Date, Error, Place};

/// The table that is part of the binary.
const EMBEDDED: &str = include_str!("../../../config/intel/asn-classes.toml");
const EMBEDDED_NAME: &str = "config/intel/asn-classes.toml";

/// ASN classes and name rules, validated.
#[derive(Debug)]
pub(super) struct Rules {
    /// When a person last went through the table.
    pub(super) checked: Date,
    table: HashMap<u32, Class>,
    names: Vec<NameRule>,
}

#[derive(Debug)]
struct NameRule {
    class: Class,
    any: Vec<Pattern>,
    unless: Vec<Pattern>,
}

/// Words that must follow each other in a name; each may begin or end in `*`.
#[derive(Debug)]
struct Pattern {
    text: String,
    words: Vec<Word>,
}

#[derive(Debug)]
enum Word {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Inside(String),
}

/// Class of an ASN and the rule that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) class: Class,
    /// `asn:hosting-table`, `asn:hosting-name 'vps'`; `none` for `Unknown`.
    pub(super) basis: String,
}

/// The basis of an answer that rests on nothing.
pub(super) const NO_BASIS: &str = "none";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    checked: String,
    asn: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    name_rule: Vec<RuleRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleRow {
    class: String,
    any: Vec<String>,
    #[serde(default)]
    unless: Vec<String>,
}

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    // The file is compiled in and a test reads it: nothing a user does can make this fail.
    Rules::parse(EMBEDDED, EMBEDDED_NAME).unwrap_or_else(|error| panic!("{error}"))
});

impl Rules {
    /// The rules that are part of the binary, parsed at first use.
    pub(super) fn embedded() -> &'static Self {
        &RULES
    }

    /// Reads a rules file; `file` is its name for errors.
    pub(super) fn parse(text: &str, file: &str) -> Result<Self, Error> {
        let wrong = |what: String| Error::format(file, Place::File, what);
        let parsed: RulesFile = toml::from_str(text).map_err(|error| {
            let place = error.span().map_or(Place::File, |span| Place::Line(line_of(text, span.start)));
            Error::format(file, place, error.message().to_owned())
        })?;
        let class_of = |name: &str| {
            name.parse::<Class>().map_err(|_| wrong(format!("no class `{name}` (have: {})", Class::names())))
        };

        let mut table = HashMap::new();
        for (class_name, rows) in &parsed.asn {
            let class = class_of(class_name)?;
            for (asn, reason) in rows {
                let number: u32 = asn.parse().map_err(|_| wrong(format!("`{asn}` is not an AS number")))?;
                if reason.trim().is_empty() {
                    return Err(wrong(format!("AS{asn} has no name and reason")));
                }
                if let Some(other) = table.insert(number, class) {
                    return Err(wrong(format!("AS{asn} is both {other} and {class}: keep one")));
                }
            }
        }
        let names = parsed
            .name_rule
            .iter()
            .map(|row| {
                let patterns = |list: &[String]| list.iter().map(|text| Pattern::new(text)).collect();
                Ok(NameRule {
                    class: class_of(&row.class)?,
                    any: patterns(&row.any),
                    unless: patterns(&row.unless),
                })
            })
            .collect::<Result<_, Error>>()?;
        let checked = parsed.checked.parse();
        let checked = checked
            .map_err(|_| wrong(format!("checked = `{}` is not a day like 2026-01-31", parsed.checked)))?;
        Ok(Self { checked, table, names })
    }

    /// Rows of the table.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// What the hand-written table says.
    pub(super) fn by_table(&self, asn: u32) -> Option<Verdict> {
        self.table.get(&asn).map(|&class| Verdict { class, basis: format!("asn:{class}-table") })
    }

    /// What the organisation's name says; the first rule of the file that matches wins.
    pub(super) fn by_name(&self, org: &str) -> Option<Verdict> {
        let lower = org.to_lowercase();
        let words: Vec<&str> =
            lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
        self.names.iter().find_map(|rule| {
            let hit = rule.any.iter().find(|pattern| pattern.matches(&words))?;
            if rule.unless.iter().any(|pattern| pattern.matches(&words)) {
                return None;
            }
            Some(Verdict { class: rule.class, basis: format!("asn:{}-name '{}'", rule.class, hit.text) })
        })
    }

    /// Table, then name, else unknown.
    pub(super) fn classify(&self, asn: Option<u32>, org: Option<&str>) -> Verdict {
        asn.and_then(|asn| self.by_table(asn))
            .or_else(|| org.and_then(|org| self.by_name(org)))
            .unwrap_or_else(|| Verdict { class: Class::Unknown, basis: NO_BASIS.to_owned() })
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        let words = text.split_whitespace().map(Word::new).collect();
        Self { text: text.to_owned(), words }
    }

    fn matches(&self, words: &[&str]) -> bool {
        !self.words.is_empty()
            && words
                .windows(self.words.len())
                .any(|window| window.iter().zip(&self.words).all(|(word, wanted)| wanted.matches(word)))
    }
}

impl Word {
    fn new(text: &str) -> Self {
        let core = text.trim_matches('*').to_lowercase();
        match (text.starts_with('*'), text.ends_with('*')) {
            (false, false) => Self::Exact(core),
            (false, true) => Self::Prefix(core),
            (true, false) => Self::Suffix(core),
            (true, true) => Self::Inside(core),
        }
    }

    fn matches(&self, word: &str) -> bool {
        match self {
            Self::Exact(core) => word == core,
            Self::Prefix(core) => word.starts_with(core.as_str()),
            Self::Suffix(core) => word.ends_with(core.as_str()),
            Self::Inside(core) => word.contains(core.as_str()),
        }
    }
}

fn line_of(text: &str, byte: usize) -> usize {
    1 + text.bytes().take(byte).filter(|&b| b == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
checked = "2026-11-01"
[asn.hosting]
64500 = "Example Host: VPS"
[asn.isp]
64501 = "Example Cable: access"
[[name_rule]]
class = "education"
any = ["university", "school district"]
[[name_rule]]
class = "hosting"
any = ["*hosting", "data center", "vps"]
unless = ["telecom*"]
"#;

    fn verdict(class: Class, basis: &str) -> Verdict {
        Verdict { class, basis: basis.to_owned() }
    }

    #[test]
    fn the_table_comes_before_the_name_and_the_basis_says_which() {
        let rules = Rules::parse(SMALL, "small.toml").expect("valid");
        assert_eq!(
            rules.classify(Some(64501), Some("Example University")),
            verdict(Class::Isp, "asn:isp-table")
        );
        assert_eq!(
            rules.classify(Some(64999), Some("UNIVERSITY of Examples")),
            verdict(Class::Education, "asn:education-name 'university'")
        );
        assert_eq!(rules.classify(Some(64999), Some("Example Ltd")), verdict(Class::Unknown, "none"));
    }

    #[test]
    fn name_rules_match_whole_words_in_sequence_and_give_way_to_their_exceptions() {
        let rules = Rules::parse(SMALL, "small.toml").expect("valid");
        let class = |org| rules.classify(None, Some(org)).class;
        assert_eq!(class("Rapid WebHosting, Inc."), Class::Hosting);
        assert_eq!(class("Example Data-Center GmbH"), Class::Hosting);
        assert_eq!(class("Example Data Transport Center"), Class::Unknown);
        assert_eq!(class("Telecommunications VPS Ltd"), Class::Unknown);
        assert_eq!(class("Elgin School District"), Class::Education);
        assert_eq!(class("MVPSA"), Class::Unknown);
    }

    #[test]
    fn an_error_names_file_and_line() {
        let error =
            Rules::parse("checked = \"2026-11-01\"\nasns = 1\n", "mine.toml").expect_err("unknown key");
        assert!(error.to_string().starts_with("mine.toml:2: unknown field `asns`"), "{error}");
        let twice = SMALL.replace("64501 = \"Example Cable", "64500 = \"Example Cable");
        let error = Rules::parse(&twice, "mine.toml").expect_err("an AS in two classes");
        assert_eq!(error.to_string(), "mine.toml: AS64500 is both hosting and isp: keep one");
    }

    #[test]
    fn the_embedded_table_is_valid_and_large_enough_to_be_useful() {
        assert!(Rules::embedded().len() > 300, "{} rows", Rules::embedded().len());
        let class = |asn| Rules::embedded().classify(Some(asn), None).class;
        for hoster in [24940, 16276, 14061, 63949, 20473, 51167, 60781, 62240, 46844, 32181, 36352, 53850] {
            assert_eq!(class(hoster), Class::Hosting, "AS{hoster}");
        }
        for isp in [7922, 7018, 20115, 22773, 701, 3320, 3215, 2856, 4713] {
            assert_eq!(class(isp), Class::Isp, "AS{isp}");
        }
        assert_eq!(class(21928), Class::Mobile);
        assert_eq!(class(13335), Class::Cdn);
        assert_eq!(class(39351), Class::Vpn);
    }
}
