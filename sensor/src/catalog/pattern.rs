//! Patterns of host names, as catalogue files write them.
//!
//! Three forms: `relay.example.com` is that name alone, `*.example.com` everything below it but not the name itself, and
//! `relay-*.example.com` names whose first label is like that: `*` stands for any characters of the label, `#` for a number.

use std::fmt;

/// Longest host name without its last dot (RFC 1035 section 2.3.4).
pub(super) const NAME_MAX: usize = 253;
/// Longest label (RFC 1035 section 2.3.4).
const LABEL_MAX: usize = 63;

/// A pattern that can be looked up by its fixed end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    form: Form,
}

/// How a pattern matches; the order is that of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// The name itself.
    Exact,
    /// One label before the fixed end, like the pattern's.
    Like,
    /// Any labels before the fixed end.
    Below,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, and the way out.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > NAME_MAX {
            return Err(format!("a host name has at most {NAME_MAX} characters"));
        }
        if text.contains(|c: char| c.is_ascii_uppercase()) {
            return Err(format!("'{text}': names are written in lower case"));
        }
        let (first, rest) = text.split_once('.').unwrap_or((text, ""));
        let wild = |label: &str| label.contains(['*', '#']);
        let form = match first {
            "*" => Form::Below,
            like if wild(like) => Form::Like,
            _ => Form::Exact,
        };
        if rest.split('.').any(wild) {
            return Err(format!("'{text}': only the first label may have * or #"));
        }
        let fixed = if form == Form::Exact { text } else { rest };
        if !is_host_name(fixed) || (form == Form::Like && !is_host_name(&first.replace(['*', '#'], "0"))) {
            return Err(format!("'{text}' is no host name (letters, digits, '-' and '_' between dots)"));
        }
        if !fixed.contains('.') {
            return Err(format!("'{text}' is too wide: two labels at least must be fixed"));
        }
        Ok(Self { text: text.to_owned(), form })
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) const fn form(&self) -> Form {
        self.form
    }

    /// The end that every name it matches has: the whole name, or what is behind its first label.
    #[must_use]
    pub fn fixed(&self) -> &str {
        match self.form {
            Form::Exact => &self.text,
            Form::Like | Form::Below => self.text.split_once('.').map_or("", |(_, rest)| rest),
        }
    }

    /// Whether it matches a name that ends in its fixed part and has the labels `before` in front of it (without the dot).
    pub(super) fn matches(&self, before: &str) -> bool {
        match self.form {
            Form::Exact => before.is_empty(),
            Form::Below => !before.is_empty(),
            Form::Like => {
                let like = self.text.split('.').next().unwrap_or_default();
                !before.is_empty() && !before.contains('.') && is_like(like.as_bytes(), before.as_bytes())
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether `text` could be a host name in lower case: labels of 1 to 63 letters, digits, `-` and `_`.
pub(super) fn is_host_name(text: &str) -> bool {
    text.len() <= NAME_MAX
        && text.split('.').all(|label| {
            (1..=LABEL_MAX).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
        })
}

/// Whether `label` is like `pattern`. Goes back to the last `*` at most once a byte, so the time is bounded by the product of both
/// lengths, and labels are short.
fn is_like(pattern: &[u8], label: &[u8]) -> bool {
    let (mut p, mut l) = (0, 0);
    // Where to go on when what came after the last `*` does not fit: behind it, with one byte more taken by it.
    let mut again: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                again = Some((p, l));
                continue;
            }
            Some(b'#') => {
                let digits = label[l..].iter().take_while(|b| b.is_ascii_digit()).count();
                (digits > 0).then_some(digits)
            }
            Some(byte) => (label.get(l) == Some(byte)).then_some(1),
            None => {
                if l == label.len() {
                    return true;
                }
                None
            }
        };
        if let Some(step) = step {
            p += 1;
            l += step;
            continue;
        }
        match &mut again {
            Some((behind, from)) if *from < label.len() => {
                *from += 1;
                (p, l) = (*behind, *from);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        let pattern = Pattern::parse(pattern).expect("valid");
        match name.strip_suffix(pattern.fixed()) {
            Some("") => pattern.matches(""),
            Some(before) => before.strip_suffix('.').is_some_and(|before| pattern.matches(before)),
            None => false,
        }
    }

    #[test]
    fn each_form_matches_what_it_says_and_nothing_beside_it() {
        for (pattern, yes, no) in [
            (
                "a.example.com",
                &["a.example.com"][..],
                &["b.a.example.com", "example.com", "xa.example.com"][..],
            ),
            ("*.example.com", &["a.example.com", "b.a.example.com"], &["example.com", "aexample.com"]),
            (
                "relay-*.example.com",
                &["relay-1.example.com", "relay-.example.com", "relay-a-b.example.com"],
                &[
                    "relay.example.com",
                    "relay-1.eu.example.com",
                    "xrelay-1.example.com",
                    "a.relay-1.example.com",
                ],
            ),
            (
                "a*-b.example.com",
                &["a-b.example.com", "ax-b-b.example.com"],
                &["a-bc.example.com", "ab.example.com"],
            ),
            (
                "*#.example.com",
                &["us12.example.com", "7.example.com"],
                &["us.example.com", "us12x.example.com"],
            ),
            ("*-*#.example.com", &["ams-a01.example.com"], &["ams01.example.com", "www.example.com"]),
        ] {
            for name in yes {
                assert!(matches(pattern, name), "{pattern} does not match {name}");
            }
            for name in no {
                assert!(!matches(pattern, name), "{pattern} matches {name}");
            }
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_a_reason() {
        let long = "a.".repeat(130);
        for (text, told) in [
            ("", "no host name"),
            ("com", "two labels"),
            ("*.com", "two labels"),
            ("*.*.example.com", "only the first label"),
            ("a.b*.example.com", "only the first label"),
            ("Relay.example.com", "lower case"),
            ("exa mple.com", "no host name"),
            ("a..example.com", "no host name"),
            ("example.com.", "no host name"),
            ("bücher.example.com", "no host name"),
            ("https://example.com", "no host name"),
            (&long, "at most 253"),
        ] {
            let error = Pattern::parse(text).expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_against_a_long_label_ends_soon() {
        let pattern = format!("{}b.example.com", "a*".repeat(30));
        assert!(!matches(&pattern, &format!("{}.example.com", "a".repeat(63))));
    }
}
