//! A kernel file as tokens of C++, without comments.

/// A word, a number, a string or a sign, and the line that it stands on.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

impl Token {
    pub fn is(&self, text: &str) -> bool {
        self.text == text
    }

    pub fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    }
}

/// A source text without its comments.
#[derive(Debug, Default)]
pub struct Source {
    /// The tokens of `#define NAME(PARAMETER) BODY`, `#include "FILE"` and the like, from the word after `#` on.
    pub directives: Vec<Vec<Token>>,
    /// Everything else.
    pub code: Vec<Token>,
}

/// Reads a source text. Lines that end in a backslash are joined.
pub fn read(text: &str) -> Source {
    let (mut source, mut line) = (Source::default(), 1);
    for logical in join_lines(&blank_comments(text)) {
        let tokens = tokens(&logical.text, line);
        line += logical.lines;
        match tokens.first() {
            Some(first) if first.is("#") => source.directives.push(tokens[1..].to_vec()),
            _ => source.code.extend(tokens),
        }
    }
    source
}

/// The tokens as a person would write them, for messages.
pub fn words(tokens: &[Token]) -> String {
    tokens.iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// Source lines that backslashes make one; the text keeps its line breaks.
struct Logical {
    text: String,
    lines: usize,
}

fn join_lines(text: &str) -> Vec<Logical> {
    let mut joined: Vec<Logical> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        let (body, continues) = match line.trim_end().strip_suffix('\\') {
            Some(body) => (body, true),
            None => (line, false),
        };
        match joined.last_mut().filter(|_| open) {
            Some(last) => {
                last.text += "\n";
                last.text += body;
                last.lines += 1;
            }
            None => joined.push(Logical { text: body.to_string(), lines: 1 }),
        }
        open = continues;
    }
    joined
}

/// Replaces comments by spaces; lines stay lines. Strings of kernels hold no comment signs.
fn blank_comments(text: &str) -> String {
    let mut blank = String::with_capacity(text.len());
    let (mut rest, mut in_block) = (text, false);
    while let Some(c) = rest.chars().next() {
        if in_block && rest.starts_with("*/") {
            (rest, in_block) = (&rest[2..], false);
            blank += "  ";
        } else if !in_block && rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if !in_block && rest.starts_with("/*") {
            (rest, in_block) = (&rest[2..], true);
            blank += "  ";
        } else {
            blank.push(if in_block && c != '\n' { ' ' } else { c });
            rest = &rest[c.len_utf8()..];
        }
    }
    blank
}

fn tokens(text: &str, first_line: usize) -> Vec<Token> {
    let (mut tokens, mut rest, mut line) = (Vec::new(), text, first_line);
    while let Some(c) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = match c {
            '"' => rest[1..].find('"').map_or(rest.len(), |end| end + 2),
            '#' if rest.starts_with("##") => 2,
            _ if is_word(c) => rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()),
            _ => c.len_utf8(),
        };
        line += usize::from(c == '\n');
        if !c.is_whitespace() {
            tokens.push(Token { text: rest[..length].to_string(), line });
        }
        rest = &rest[length..];
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_and_lines_are_counted() {
        let text = "int a; // one\n/* two\n three */ int b;\n#define TWICE(X) \\\n    X X\nint c;\n";
        let Source { directives, code } = read(text);
        assert_eq!(words(&code), "int a ; int b ; int c ;");
        assert_eq!([0, 3, 6].map(|at: usize| code[at].line), [1, 3, 6]);
        let [define] = &directives[..] else { panic!("{directives:?}") };
        assert_eq!(words(define), "define TWICE ( X ) X X");
        assert_eq!((define[0].line, define[5].line), (4, 5));
    }

    #[test]
    fn words_numbers_strings_and_signs() {
        let code = read("extern \"C\" a_##HS(256L*x);").code;
        assert_eq!(words(&code), "extern \"C\" a_ ## HS ( 256L * x ) ;");
    }
}
