//! Tables of plain text, for terminals.

use super::visible;

/// Lines whose cells stand under each other, with two spaces between columns. What a log has put into a cell cannot control the
/// terminal.
pub fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let shown: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| visible(cell.as_bytes()))).collect();
    let width = |column: usize| shown.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_string() + "\n"
    };
    shown.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_under_each_other_and_control_nothing() {
        let rows = [["a", "bb", ""], ["accès", "\x1b[2J", "c"]].map(|row| row.map(String::from));
        let text = columns(&rows);
        assert_eq!(text.lines().next(), Some("a      bb"));
        assert!(!text.contains('\x1b') && text.lines().nth(1).unwrap().ends_with("  c"), "{text}");
    }
}
