//! Arithmetic in constants and floors: integers, names, `+ - * /` and parentheses.

use super::tokens::{Token, words};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    Number(i64),
    Name(String),
    Binary(Box<Expression>, char, Box<Expression>),
}

/// Reads all of the tokens as one expression.
pub fn parse(tokens: &[Token]) -> Result<Expression, String> {
    let mut rest = tokens;
    let expression = sum(&mut rest)?;
    match rest {
        [] => Ok(expression),
        [token, ..] => Err(unexpected(Some(token), tokens)),
    }
}

fn unexpected(token: Option<&Token>, all: &[Token]) -> String {
    let found = token.map_or("the end".to_string(), |token| format!("`{}`", token.text));
    format!("in `{}`: found {found}, expected integers, names, + - * / and parentheses", words(all))
}

fn sum(rest: &mut &[Token]) -> Result<Expression, String> {
    chain(rest, &["+", "-"], product)
}

fn product(rest: &mut &[Token]) -> Result<Expression, String> {
    chain(rest, &["*", "/"], operand)
}

type Parser = fn(&mut &[Token]) -> Result<Expression, String>;

/// Operands joined by signs of one rank, from left to right.
fn chain(rest: &mut &[Token], signs: &[&str], operand: Parser) -> Result<Expression, String> {
    let mut left = operand(rest)?;
    while let Some((sign, after)) = rest.split_first().filter(|(sign, _)| signs.contains(&sign.text.as_str())) {
        *rest = after;
        let sign = sign.text.chars().next().expect("a sign has one character");
        left = Expression::Binary(Box::new(left), sign, Box::new(operand(rest)?));
    }
    Ok(left)
}

fn operand(rest: &mut &[Token]) -> Result<Expression, String> {
    let all = *rest;
    let Some((token, after)) = all.split_first() else { return Err(unexpected(None, all)) };
    *rest = after;
    if token.is_word() {
        return Ok(Expression::Name(token.text.clone()));
    }
    if token.is("(") {
        let inner = sum(rest)?;
        let closing = rest.split_first().filter(|(token, _)| token.is(")"));
        let Some((_, after)) = closing else { return Err(unexpected(rest.first(), all)) };
        *rest = after;
        return Ok(inner);
    }
    token.text.parse().map(Expression::Number).map_err(|_| unexpected(Some(token), all))
}

impl Expression {
    /// The value, where every name has one.
    pub fn evaluate(&self, names: &BTreeMap<String, i64>) -> Result<i64, String> {
        match self {
            Expression::Number(value) => Ok(*value),
            Expression::Name(name) => {
                names.get(name).copied().ok_or_else(|| format!("`{name}` is no integer constant known here"))
            }
            Expression::Binary(left, sign, right) => {
                let (left, right) = (left.evaluate(names)?, right.evaluate(names)?);
                let value = match sign {
                    '+' => left.checked_add(right),
                    '-' => left.checked_sub(right),
                    '*' => left.checked_mul(right),
                    _ => left.checked_div(right),
                };
                value.ok_or_else(|| format!("{left} {sign} {right} has no value"))
            }
        }
    }

    /// As Rust over f64, where names are fields of `self`.
    pub fn rust(&self) -> String {
        match self {
            Expression::Number(value) => format!("{value}.0"),
            Expression::Name(name) => format!("self.{} as f64", name.to_lowercase()),
            Expression::Binary(left, sign, right) => {
                let side = |of: &Expression| match of {
                    Expression::Number(_) => of.rust(),
                    _ => format!("({})", of.rust()),
                };
                format!("{} {sign} {}", side(left), side(right))
            }
        }
    }

    /// Adds the names that occur, in lower case and each once, in the order of their first occurrence.
    pub fn collect_names(&self, names: &mut Vec<String>) {
        match self {
            Expression::Number(_) => {}
            Expression::Name(name) => {
                let name = name.to_lowercase();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            Expression::Binary(left, _, right) => {
                left.collect_names(names);
                right.collect_names(names);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tokens;
    use super::*;

    fn read(text: &str) -> Result<Expression, String> {
        parse(&tokens::read(text).code)
    }

    #[test]
    fn arithmetic_is_that_of_cpp() {
        let names = BTreeMap::from([("WARPS".to_string(), 4)]);
        for (text, value) in [("32 * WARPS", 128), ("7 - 2 - 1", 4), ("2 + 3 * (4 - 1)", 11), ("100 / 8 / 2", 6)] {
            assert_eq!(read(text).unwrap().evaluate(&names), Ok(value), "{text}");
        }
    }

    #[test]
    fn floors_become_rust() {
        let floor = read("(8 - 2*dx_is_new)*N*C").unwrap();
        assert_eq!(floor.rust(), "((8.0 - (2.0 * (self.dx_is_new as f64))) * (self.n as f64)) * (self.c as f64)");
        let mut names = Vec::new();
        floor.collect_names(&mut names);
        assert_eq!(names, ["dx_is_new", "n", "c"]);
    }

    #[test]
    fn what_is_not_arithmetic_is_named() {
        assert_eq!(
            read("2 * sizeof(int").unwrap_err(),
            "in `2 * sizeof ( int`: found `(`, expected integers, names, + - * / and parentheses"
        );
        assert!(read("4 *").unwrap_err().contains("found the end"));
        assert!(read("1 << 4").unwrap_err().contains("found `<`"));
        assert_eq!(read("X").unwrap().evaluate(&BTreeMap::new()).unwrap_err(), "`X` is no integer constant known here");
    }
}
