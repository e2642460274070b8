//! From text to a [`Config`], or to mistakes that each name line, column and the way out.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::Config;

/// Names that differ in more than this are no misspelling of each other (0 = nothing alike, 1 = the same).
const ALIKE: f64 = 0.7;

/// Something wrong in a file of settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    file: PathBuf,
    /// Line and column, counted from 1; columns are characters.
    place: Option<[usize; 2]>,
    what: String,
}

impl Mistake {
    /// One about the file as a whole.
    pub(crate) fn of_file(file: &Path, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), place: None, what: what.into() }
    }

    /// One at a byte of the text.
    pub(crate) fn at(file: &Path, text: &str, offset: usize, what: String) -> Self {
        Self { file: file.to_owned(), place: Some(line_column(text, offset)), what }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some([line, column]) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", self.what)
    }
}

/// A configuration from its text; `file` is its name in mistakes.
pub(super) fn parse(file: &Path, text: &str) -> Result<Config, Vec<Mistake>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut mistakes: Vec<Mistake> = errors.iter().map(|e| of_error(file, text, None, e)).collect();
    if mistakes.is_empty() {
        let schema = Config::schema();
        let mut known = Vec::new();
        paths(&schema, "", &mut known);
        unknown(table.get_ref(), &schema, "", &mut |path, at| {
            let what = format!("unknown key '{path}'{}", hint(path, &known));
            mistakes.push(Mistake::at(file, text, at, what));
        });
    }
    if mistakes.is_empty() { typed(file, text) } else { Err(mistakes) }
}

/// Any TOML of which serde knows the keys; its first mistake.
pub(crate) fn typed<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, Vec<Mistake>> {
    toml::from_str(text).map_err(|e| {
        let (table, _) = DeTable::parse_recoverable(text);
        vec![of_error(file, text, Some(table.get_ref()), &e)]
    })
}

fn of_error(file: &Path, text: &str, table: Option<&DeTable<'_>>, e: &toml::de::Error) -> Mistake {
    let Some(span) = e.span() else { return Mistake::of_file(file, e.message()) };
    let key = table.and_then(|t| key_of(t, &span)).map(|k| format!("{k}: ")).unwrap_or_default();
    let message = e.message().replace('\n', " ");
    // Rust's names mean nothing to who writes the file.
    let message = match message.split_once("expected struct ") {
        Some((got, _)) => format!("{got}expected a section"),
        None => message,
    };
    Mistake::at(file, text, span.start, format!("{key}{message}"))
}

/// Dotted name of the key whose value the span lies in.
fn key_of(table: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    for (key, value) in table {
        let name = key.get_ref();
        if let DeValue::Table(inner) = value.get_ref()
            && let Some(rest) = key_of(inner, span)
        {
            return Some(format!("{name}.{rest}"));
        }
        if value.span().start <= span.start && span.end <= value.span().end {
            return Some(name.to_string());
        }
    }
    None
}

/// Calls `each` with dotted name and offset of every key that the schema does not have.
fn unknown(table: &DeTable<'_>, schema: &Value, prefix: &str, each: &mut impl FnMut(&str, usize)) {
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        match schema["properties"].get(key.get_ref().as_ref()) {
            None => each(&path, key.span().start),
            Some(inner) => {
                if let DeValue::Table(table) = value.get_ref()
                    && inner["properties"].is_object()
                {
                    unknown(table, inner, &format!("{path}."), each);
                }
            }
        }
    }
}

/// Dotted names of all keys, sections among them.
pub(super) fn paths(schema: &Value, prefix: &str, into: &mut Vec<String>) {
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{key}");
        paths(inner, &format!("{path}."), into);
        into.push(path);
    }
}

/// The nearest known key: by the last part of the name, which is what gets misspelt or put under the wrong heading, then by
/// the whole.
fn hint(path: &str, known: &[String]) -> String {
    let last = |p: &str| p.rsplit('.').next().unwrap_or_default().to_owned();
    let nearness = |k: &String| {
        (
            strsim::normalized_damerau_levenshtein(&last(path), &last(k)),
            strsim::normalized_damerau_levenshtein(path, k),
        )
    };
    let best = known
        .iter()
        .max_by(|a, b| nearness(a).partial_cmp(&nearness(b)).unwrap_or(std::cmp::Ordering::Equal));
    match best {
        Some(best) if nearness(best).0 >= ALIKE => format!(" (nearest: '{best}')"),
        _ => {
            let section = path.rsplit_once('.').map_or("", |(s, _)| s);
            let siblings: Vec<&str> = known
                .iter()
                .filter(|k| k.rsplit_once('.').map_or("", |(s, _)| s) == section)
                .map(String::as_str)
                .collect();
            format!(" (have: {})", siblings.join(", "))
        }
    }
}

fn line_column(text: &str, offset: usize) -> [usize; 2] {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    [line, column]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        parse(Path::new("f.toml"), text).expect_err("a mistake").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn unknown_keys_are_all_told_with_line_column_and_the_nearest_known_one() {
        assert_eq!(
            mistakes(
                "workers = 2\n\n[flow]\n  capasity = 5\n[flow.timeouts]\ntcp_establishd = 3\n[outptu]\neve = 'x'\n"
            ),
            [
                "f.toml:4:3: unknown key 'flow.capasity' (nearest: 'flow.capacity')",
                "f.toml:6:1: unknown key 'flow.timeouts.tcp_establishd' (nearest: 'flow.timeouts.tcp_established')",
                "f.toml:7:2: unknown key 'outptu' (nearest: 'output')",
            ]
        );
    }

    #[test]
    fn a_key_under_the_wrong_heading_is_led_to_its_own() {
        assert_eq!(
            mistakes("capacity = 5\n"),
            ["f.toml:1:1: unknown key 'capacity' (nearest: 'flow.capacity')"]
        );
        assert_eq!(
            mistakes("[inspect]\nzzz = 5\n"),
            ["f.toml:2:1: unknown key 'inspect.zzz' (have: inspect.bytes, inspect.flows)"]
        );
    }

    #[test]
    fn a_value_out_of_range_or_of_a_wrong_type_is_told_with_what_is_allowed() {
        for (text, told) in [
            (
                "[flow]\ncapacity = 7\n",
                "f.toml:2:12: flow.capacity: 7 is out of range: a whole number from 256 to 67,108,864",
            ),
            ("workers = -1\n", "f.toml:1:11: workers: -1 is out of range: a whole number from 0 to 256"),
            (
                "[flow.timeouts]\nclosed = \"soon\"\n",
                "f.toml:2:10: flow.timeouts.closed: invalid type: string \"soon\", expected a whole number from 1 to 604,800",
            ),
            (
                "[output]\nformat = \"xml\"\n",
                "f.toml:2:10: output.format: unknown variant `xml`, expected `table` or `json`",
            ),
            (
                "[home]\nnetworks = [\"auto\", \"10.0.0.0/33\"]\n",
                "f.toml:2:12: home.networks: '10.0.0.0/33': prefix length must be 0 to 32",
            ),
            ("flow = 3\n", "f.toml:1:8: flow: invalid type: integer `3`, expected a section"),
        ] {
            assert_eq!(mistakes(text), [told], "{text}");
        }
    }

    #[test]
    fn broken_toml_is_told_with_its_place() {
        let told = mistakes("workers = 2\n[flow\n");
        assert!(told[0].starts_with("f.toml:2:"), "{told:?}");
        assert_eq!(mistakes("workers = 1\nworkers = 2\n").len(), 1);
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(line_column("ä = 1\nöü x", "ä = 1\nöü ".len()), [2, 4]);
    }
}
