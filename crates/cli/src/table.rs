//! Tables of left-aligned columns with two blanks between them
//! (`reference/cli.md` section 2).

/// Blanks between columns.
const GAP: usize = 2;

/// Lays out rows. The last cell of a row is not padded, so a row that ends in
/// an empty cell ends in the blanks before it.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    table_with_gap(rows, GAP)
}

/// As [`table`], with so many blanks between columns.
pub(crate) fn table_with_gap(rows: &[Vec<String>], gap: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.trim().chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let cell = cell.trim();
                line.push_str(cell);
                if column + 1 < row.len() {
                    let blanks = widths[column] - cell.chars().count() + gap;
                    line.extend(std::iter::repeat_n(' ', blanks));
                }
            }
            line
        })
        .collect();
    lines.join("\n")
}

/// A row of texts.
pub(crate) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows =
            [row(["Node", "ID", "DC"]), row(["a", "12345", ""]), row(["büro", " x ", "dc1"])];
        assert_eq!(table(&rows), "Node  ID     DC\na     12345  \nbüro  x      dc1");
        assert_eq!(table(&[]), "");
    }
}
