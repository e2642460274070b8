//! Lines as wide as the terminal: a line that is too long goes on below, a little further in.

use std::io::IsTerminal;

/// What is narrower than this is not wrapped any further: one word a line helps nobody.
const NARROWEST: usize = 40;
/// How much further in a line goes on.
const HANGING: usize = 2;

/// The width to wrap to: `COLUMNS` where it is set, else the terminal's; `None` where the output is no terminal, for whole lines are
/// what programs want.
pub(super) fn width(out: &impl IsTerminal) -> Option<usize> {
    let asked: Option<usize> = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    let width = asked.or_else(|| {
        let (columns, _) = out.is_terminal().then(terminal_size::terminal_size).flatten()?;
        Some(columns.0.into())
    })?;
    Some(width.max(NARROWEST))
}

/// The text with every line broken at blanks to at most `width` columns, as far as words allow. Colours take no room.
pub(super) fn wrap(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    for line in text.lines() {
        wrap_line(line, width, &mut out);
        out.push('\n');
    }
    out
}

fn wrap_line(line: &str, width: usize, out: &mut String) {
    let indent = line.len() - line.trim_start_matches(' ').len();
    let mut column = 0;
    // A piece is a word with the blanks before it, which are left out where a line is broken before it.
    for piece in pieces(line) {
        let word = piece.trim_start_matches(' ');
        let wide = columns(piece);
        if column > indent && column + wide > width {
            out.push('\n');
            let inner = (indent + HANGING).min(width / 2);
            out.extend(std::iter::repeat_n(' ', inner));
            out.push_str(word);
            column = inner + columns(word);
        } else {
            out.push_str(piece);
            column += wide;
        }
    }
}

/// Splits before every run of blanks that follows a word, but not between a number and its unit.
fn pieces(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let bytes = rest.as_bytes();
        let word = rest.len() - rest.trim_start_matches(' ').len();
        let is = |at: usize, what: fn(&u8) -> bool| bytes.get(at).is_some_and(what);
        let breaks = |at: usize| {
            let unit = is(at - 1, u8::is_ascii_digit) && is(at + 1, u8::is_ascii_alphabetic);
            is(at, |b| *b == b' ') && !unit
        };
        let end = (word + 1..rest.len()).find(|at| breaks(*at)).unwrap_or(rest.len());
        let (piece, tail) = rest.split_at(end);
        rest = tail;
        Some(piece)
    })
}

/// Characters that are seen: all but colour sequences (`ESC [ … m`).
fn columns(text: &str) -> usize {
    let mut hidden = false;
    text.chars()
        .filter(|c| {
            hidden |= *c == '\x1b';
            let seen = !hidden;
            hidden &= *c != 'm';
            seen
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_goes_on_below_and_further_in_and_short_ones_stay_as_they_are() {
        let text = "short   one\n    rdp  192.0.2.1:50000 → 198.51.100.7:3389  103 s  Some Hoster, hosting\n";
        assert_eq!(
            wrap(text, Some(50)),
            "short   one\n    rdp  192.0.2.1:50000 → 198.51.100.7:3389\n      103 s  Some Hoster, hosting\n"
        );
        assert_eq!(wrap(text, None), text);
        assert_eq!(wrap(text, Some(200)), text);
    }

    #[test]
    fn colours_take_no_room_and_a_word_that_is_too_long_is_kept_whole() {
        let text = format!("  \x1b[1;31mHIGH\x1b[0m {} end", "x".repeat(60));
        let wrapped = wrap(&text, Some(40));
        assert_eq!(
            wrapped.lines().collect::<Vec<_>>(),
            ["  \x1b[1;31mHIGH\x1b[0m", &format!("    {}", "x".repeat(60)), "    end"]
        );
        assert!(wrap(&text, Some(70)).lines().count() == 2, "the escapes would have made it three");
    }
}
