//! A configuration as commented TOML: the shipped file with other values put in, so that comments have one home.

use toml::{Table, Value};

use super::{Config, TEMPLATE};

impl Config {
    /// The configuration with the comments of the shipped file. Parsing it gives the configuration again.
    #[must_use]
    pub fn to_commented_toml(&self) -> String {
        let (ours, defaults) = (values(self), values(&Self::default()));
        let mut section = String::new();
        let mut out = String::with_capacity(TEMPLATE.len());
        for line in TEMPLATE.lines() {
            if let Some(name) = section_of(line) {
                section = format!("{name}.");
            }
            let changed = key_of(line).and_then(|key| {
                let path = format!("{section}{key}");
                let value = at(&ours, &path)?;
                (at(&defaults, &path) != Some(value)).then(|| format!("{key} = {value}"))
            });
            out.push_str(changed.as_deref().unwrap_or(line));
            out.push('\n');
        }
        out
    }
}

/// The section that a line begins.
fn section_of(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.split(']').next()
}

/// The key that a line sets, or would set if its `#` were taken away.
fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.strip_prefix("# ").unwrap_or(line).split_once(" = ")?;
    key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_').then_some(key)
}

fn values(config: &Config) -> Value {
    // Strings, integers and paths; a path that is not UTF-8 cannot be written in TOML and was not read from it.
    Value::try_from(config).unwrap_or_else(|_| Value::Table(Table::new()))
}

/// The value of a dotted name.
fn at<'a>(values: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(values, |value, part| value.get(part))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{FailOn, Whole, check};
    use super::*;
    use crate::sink::terminal::thousands;

    fn parse(text: &str) -> Config {
        check::parse(Path::new("f.toml"), text).expect("valid")
    }

    #[test]
    fn the_defaults_are_shown_as_they_are_shipped() {
        assert_eq!(Config::default().to_commented_toml(), TEMPLATE);
    }

    #[test]
    fn what_is_shown_parses_to_what_was_meant() {
        let mut config = Config { workers: Whole::new(3), ..Config::default() };
        config.home.networks = vec!["203.0.113.0/24".parse().expect("a network")];
        config.input.filter = Some("tcp port 3389 and not host \"x\\y\"\u{7f}\u{1}\t".into());
        config.intel.files = vec!["/a b/ü.mmdb".into(), "c".into()];
        config.catalogue.files = vec!["tools.toml".into()];
        config.weights.file = Some("w.toml".into());
        config.flow.timeouts.closed = Whole::new(7);
        config.inspect.bytes = Whole::new(1 << 30);
        config.output.eve = Some("-".into());
        config.output.eve_types.truncate(1);
        config.output.fail_on = Some(FailOn::Critical);
        let shown = config.to_commented_toml();
        assert_eq!(parse(&shown), config);
        assert!(shown.contains("\nclosed = 7\n") && shown.lines().count() == TEMPLATE.lines().count());
    }

    #[test]
    fn every_key_is_in_the_shipped_file_once_under_a_comment_with_its_default_and_range() {
        let schema = Config::schema();
        let mut known = Vec::new();
        check::paths(&schema, "", &mut known);
        let (mut section, mut comment, mut seen) = (String::new(), String::new(), Vec::new());
        for line in TEMPLATE.lines() {
            if let Some(name) = section_of(line) {
                section = format!("{name}.");
                seen.push(name.to_owned());
            } else if let Some(key) = key_of(line) {
                let path = format!("{section}{key}");
                assert!(comment.contains("Default"), "{path}: its comment names no default: {comment}");
                let about = path.split('.').fold(&schema, |at, part| &at["properties"][part]);
                if let (Some(min), Some(max)) = (about["minimum"].as_u64(), about["maximum"].as_u64()) {
                    let range = format!("{} to {}", thousands(min), thousands(max));
                    assert!(comment.contains(&range), "{path}: its comment does not say {range}: {comment}");
                }
                seen.push(path);
                comment.clear();
            } else if let Some(text) = line.strip_prefix('#') {
                comment.push_str(text);
            } else {
                comment.clear();
            }
        }
        known.sort();
        seen.sort();
        assert_eq!(seen, known);
    }
}
