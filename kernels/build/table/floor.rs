//! The `floor` lines of kernels' heads: the least that a kernel must compute and move.
//!
//! ```text
//! //   floor      [KERNEL: ]EXPRESSION bytes[, EXPRESSION FLOPs][; remark]
//! ```

use super::expression::{self, Expression};
use super::tokens;

#[derive(Clone, Debug, PartialEq)]
pub struct Floor {
    /// The kernel it is of; none: the next one in the file.
    pub kernel: Option<String>,
    pub bytes: Option<Expression>,
    pub flops: Option<Expression>,
    /// As it is written.
    pub text: String,
    pub line: usize,
}

/// All floors of a file. An error comes with its line.
pub fn floors(source: &str) -> Result<Vec<Floor>, (usize, String)> {
    let mut floors = Vec::new();
    let mut lines = source.lines().zip(1..).peekable();
    while let Some((line, number)) = lines.next() {
        let Some(first) = head_line(line, "floor") else { continue };
        let mut text = first.to_string();
        while let Some(more) = lines.peek().and_then(|(line, _)| continuation(line)) {
            text = text + " " + more;
            lines.next();
        }
        floors.push(floor(&text, number).map_err(|message| (number, message))?);
    }
    Ok(floors)
}

/// What follows the keyword in a line such as `//   floor      4*N*C bytes`.
pub fn head_line<'a>(line: &'a str, keyword: &str) -> Option<&'a str> {
    let rest = line.strip_prefix("//   ")?.strip_prefix(keyword)?;
    rest.starts_with(' ').then(|| rest.trim())
}

/// A head's line goes on in lines that begin under its text.
fn continuation(line: &str) -> Option<&str> {
    line.strip_prefix("//              ").map(str::trim).filter(|text| !text.is_empty())
}

fn floor(text: &str, line: usize) -> Result<Floor, String> {
    let formula = text.split(';').next().unwrap_or(text);
    let (kernel, formula) = match formula.split_once(':') {
        Some((kernel, formula)) => (Some(kernel.trim().to_string()), formula),
        None => (None, formula),
    };
    let mut floor = Floor { kernel, bytes: None, flops: None, text: text.to_string(), line };
    for part in formula.split(',') {
        let wrong = || format!("floor `{text}`: expected `[KERNEL: ]EXPRESSION bytes[, EXPRESSION FLOPs][; remark]`");
        let (value, unit) = part.trim().rsplit_once(' ').ok_or_else(wrong)?;
        let value = expression::parse(&tokens::read(value).code).map_err(|message| format!("floor {message}"))?;
        let place = match unit {
            "bytes" => &mut floor.bytes,
            "FLOPs" => &mut floor.flops,
            _ => return Err(wrong()),
        };
        if place.replace(value).is_some() {
            return Err(wrong());
        }
    }
    Ok(floor)
}

impl Floor {
    /// The sizes that it is stated in, in lower case.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        [&self.bytes, &self.flops].into_iter().flatten().for_each(|part| part.collect_names(&mut names));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_are_read_from_heads() {
        let text = "// x = y.\n//   floor      a_b: 8*B*T +\n//              4*B bytes, 2*T FLOPs; once\n//   launch     1\n\
                    // floor of a building\n//   floor      0 bytes\n";
        let floors = floors(text).unwrap();
        assert_eq!(floors.len(), 2);
        assert_eq!((floors[0].kernel.as_deref(), floors[0].line), (Some("a_b"), 2));
        assert_eq!(floors[0].names(), ["b", "t"]);
        assert_eq!(floors[0].flops.as_ref().unwrap().rust(), "2.0 * (self.t as f64)");
        assert_eq!((floors[1].kernel.as_deref(), floors[1].flops.as_ref(), floors[1].line), (None, None, 6));
    }

    #[test]
    fn a_floor_in_words_is_refused_with_its_line() {
        for text in ["4 bytes a gradient", "4*N", "4*N bytes, 2*N bytes", "none: one launch"] {
            let (line, message) = floors(&format!("//\n//   floor      {text}\n")).unwrap_err();
            assert!(line == 2 && message.starts_with("floor "), "{line}: {message}");
        }
    }
}
