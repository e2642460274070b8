//! Text in columns.

use std::fmt::Write as _;

/// A header and rows, each column as wide as its widest cell, the last one ragged.
pub(super) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut cells = vec![header.map(str::to_owned)];
    cells.extend(rows);
    let widths: [usize; N] =
        std::array::from_fn(|i| cells.iter().map(|row| row[i].chars().count()).max().unwrap_or(0));
    let mut out = String::new();
    for row in &cells {
        for (cell, width) in row.iter().zip(widths).take(N - 1) {
            let _ = write!(out, "{cell:<width$}  ");
        }
        let _ = writeln!(out, "{}", row[N - 1]);
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up_and_the_last_one_has_no_trailing_blanks() {
        let rows = [["ab".to_owned(), "c".to_owned()], ["d".to_owned(), "long".to_owned()]];
        assert_eq!(super::table(["x", "y"], rows), "x   y\nab  c\nd   long\n");
    }
}
