//! The declaration of a kernel: `extern "C" __global__ void __launch_bounds__(N) name(parameters) {`.

use super::tokens::{Token, words};

/// What a parameter is: a pointer to what a kernel reads or writes, a tensor of which it does so box by box, or a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    /// `const T *`
    Input,
    /// `T *`
    Output,
    /// `LOAD_MAP`
    InputMap,
    /// `STORE_MAP`
    OutputMap,
    Scalar,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// In lower case, as Rust writes fields.
    pub name: String,
    pub role: Role,
    /// `NULLABLE` stands before the name.
    pub nullable: bool,
    /// The Rust type of the number, or of what the pointer points to.
    pub rust: &'static str,
    /// The letter by which the emulator knows the type (`kernels/emulator/device/kernel.h`).
    pub kind: char,
    pub bytes: usize,
}

/// A kernel's name: `a_kernel`, or `a_kernel_##HS` in a macro with the parameter HS.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    pub text: String,
    /// The macro's parameter.
    pub instance: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    pub name: Name,
    pub parameters: Vec<Parameter>,
    pub line: usize,
}

/// (C++ name, Rust name, letter, bytes): what kernels take by value, and what pointers point to.
const TYPES: [(&str, &str, char, usize); 7] = [
    ("bf16", "bf16", 'b', 2),
    ("float", "f32", 'f', 4),
    ("double", "f64", 'd', 8),
    ("int", "i32", 'i', 4),
    ("unsigned", "u32", 'u', 4),
    ("uint32_t", "u32", 'u', 4),
    ("long", "i64", 'l', 8),
];

const POINTER_BYTES: usize = 8;

/// `CUtensorMap`: its letter and its bytes.
const TENSOR_MAP: (char, usize) = ('m', 128);

/// Words that cannot be the name of a field.
const RESERVED: [&str; 12] = ["as", "box", "fn", "impl", "in", "let", "loop", "match", "move", "ref", "self", "type"];

/// An error and its line.
pub type Wrong = (usize, String);

/// The kernels that the tokens declare; `macro_parameter` where they are the body of a macro.
pub fn declarations(tokens: &[Token], macro_parameter: Option<&str>) -> Result<Vec<Declaration>, Wrong> {
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        if tokens[at].is("__global__") {
            found.push(declaration(tokens, at, macro_parameter)?);
        }
    }
    Ok(found)
}

fn declaration(tokens: &[Token], at: usize, macro_parameter: Option<&str>) -> Result<Declaration, Wrong> {
    let line = tokens[at].line;
    let wrong = |message: &str| (line, format!("{message}; expected {EXPECTED}"));
    let external = at >= 2 && tokens[at - 2].is("extern") && tokens[at - 1].is("\"C\"");
    if !external {
        return Err(wrong("a kernel without `extern \"C\"`"));
    }
    let mut rest = &tokens[at + 1..];
    if !take(&mut rest, "void") {
        return Err(wrong("a kernel that does not begin `extern \"C\" __global__ void`"));
    }
    if take(&mut rest, "__launch_bounds__") {
        parenthesised(&mut rest).ok_or_else(|| wrong("`__launch_bounds__` without its parentheses"))?;
    }
    let name = name(&mut rest, macro_parameter).map_err(|message| wrong(&message))?;
    let list = parenthesised(&mut rest).ok_or_else(|| wrong("a kernel without a list of parameters"))?;
    if !rest.first().is_some_and(|token| token.is("{")) {
        return Err(wrong(&format!("kernel {} is declared, not defined", name.text)));
    }
    let parameters = list.split(|token| token.is(",")).filter(|part| !part.is_empty());
    let parameters = parameters.map(|part| {
        parameter(part).ok_or_else(|| {
            (part[0].line, format!("parameter `{}` of kernel {}: expected {PARAMETERS}", words(part), name.text))
        })
    });
    Ok(Declaration { parameters: parameters.collect::<Result<_, _>>()?, name, line })
}

const EXPECTED: &str = "`extern \"C\" __global__ void [__launch_bounds__(N)] name(parameters) {`";
const PARAMETERS: &str = "`[const] T *[__restrict__] [NULLABLE] name` or `T name`, where T is bf16 (behind a pointer only), \
                          float, double, int, unsigned, uint32_t or long; `LOAD_MAP name` or `STORE_MAP name`; and no \
                          name is a keyword of Rust";

fn take(rest: &mut &[Token], text: &str) -> bool {
    let found = rest.first().is_some_and(|token| token.is(text));
    if found {
        *rest = &rest[1..];
    }
    found
}

/// What stands between `(` and its `)`, which are passed over.
pub fn parenthesised<'a>(rest: &mut &'a [Token]) -> Option<&'a [Token]> {
    let all = *rest;
    all.first().filter(|token| token.is("("))?;
    let mut depth = 0;
    for (at, token) in all.iter().enumerate() {
        depth += i32::from(token.is("(")) - i32::from(token.is(")"));
        if depth == 0 {
            *rest = &all[at + 1..];
            return Some(&all[1..at]);
        }
    }
    None
}

fn name(rest: &mut &[Token], macro_parameter: Option<&str>) -> Result<Name, String> {
    let Some((first, after)) = rest.split_first().filter(|(first, _)| first.is_word()) else {
        return Err("a kernel without a name".to_string());
    };
    let text = first.text.clone();
    *rest = after;
    let pasted = take(rest, "##");
    match (macro_parameter, pasted) {
        (None, false) => Ok(Name { text, instance: None }),
        (Some(parameter), true) if text.ends_with('_') && take(rest, parameter) => {
            let text = text.trim_end_matches('_').to_string();
            Ok(Name { text, instance: Some(parameter.to_string()) })
        }
        (None, true) => Err(format!("kernel {text} pastes its name together outside a macro")),
        (Some(parameter), _) => Err(format!("kernel {text} stands in a macro: its name must be `name_##{parameter}`")),
    }
}

fn parameter(tokens: &[Token]) -> Option<Parameter> {
    let name = tokens.last()?;
    let lower = name.text.to_lowercase();
    if !name.is_word() || RESERVED.contains(&lower.as_str()) {
        return None;
    }
    let map = [("LOAD_MAP", Role::InputMap), ("STORE_MAP", Role::OutputMap)];
    match (map.iter().find(|(word, _)| tokens[0].is(word)), TENSOR_MAP) {
        (Some((_, role)), (kind, bytes)) if tokens.len() == 2 => {
            Some(Parameter { name: lower, role: *role, nullable: false, rust: "bf16", kind, bytes })
        }
        _ => value_or_pointer(tokens, lower),
    }
}

/// `name`: in lower case.
fn value_or_pointer(tokens: &[Token], name: String) -> Option<Parameter> {
    let mut rest = tokens;
    let constant = take(&mut rest, "const");
    let (word, after) = rest.split_first()?;
    let &(cpp, rust, letter, bytes) = TYPES.iter().find(|(cpp, ..)| word.is(cpp))?;
    rest = after;
    let pointer = take(&mut rest, "*");
    let restrict = take(&mut rest, "__restrict__");
    let nullable = take(&mut rest, "NULLABLE");
    let [_] = rest else { return None };
    let (role, kind, bytes) = match (pointer, constant) {
        (true, true) => (Role::Input, letter.to_ascii_uppercase(), POINTER_BYTES),
        (true, false) => (Role::Output, letter.to_ascii_uppercase(), POINTER_BYTES),
        (false, _) if restrict || nullable || cpp == "bf16" => return None,
        (false, _) => (Role::Scalar, letter, bytes),
    };
    Some(Parameter { name, role, nullable, rust, kind, bytes })
}

#[cfg(test)]
mod tests {
    use super::super::tokens;
    use super::*;

    fn read(text: &str, macro_parameter: Option<&str>) -> Result<Vec<Declaration>, Wrong> {
        declarations(&tokens::read(text).code, macro_parameter)
    }

    #[test]
    fn pointers_become_inputs_and_outputs() {
        let text = "int helper(int a) { return a; }\nextern \"C\" __global__ void __launch_bounds__(8 * (4), 2)\n\
                    scale(bf16 *__restrict__ y, const float *__restrict__ NULLABLE x, long T) { y[0] = x[T]; }";
        let [kernel] = &read(text, None).unwrap()[..] else { panic!("one kernel") };
        assert_eq!((kernel.name.text.as_str(), kernel.line), ("scale", 2));
        let parameters: Vec<_> =
            kernel.parameters.iter().map(|p| (p.name.as_str(), p.role, p.nullable, p.kind)).collect();
        assert_eq!(
            parameters,
            [("y", Role::Output, false, 'B'), ("x", Role::Input, true, 'F'), ("t", Role::Scalar, false, 'l')]
        );
        assert_eq!(
            kernel.parameters.iter().map(|p| (p.rust, p.bytes)).collect::<Vec<_>>(),
            [("bf16", 8), ("f32", 8), ("i64", 8)]
        );
    }

    #[test]
    fn tensor_maps_become_inputs_and_outputs() {
        let text = "extern \"C\" __global__ void copy(LOAD_MAP from, STORE_MAP to, int T) {";
        let [kernel] = &read(text, None).unwrap()[..] else { panic!("one kernel") };
        let parameters: Vec<_> = kernel.parameters.iter().map(|p| (p.name.as_str(), p.role, p.kind, p.bytes)).collect();
        let expected =
            [("from", Role::InputMap, 'm', 128), ("to", Role::OutputMap, 'm', 128), ("t", Role::Scalar, 'i', 4)];
        assert_eq!(parameters, expected);
    }

    #[test]
    fn a_macro_pastes_the_size_to_the_name() {
        let [kernel] = &read("extern \"C\" __global__ void a_b_##HS(int n) {", Some("HS")).unwrap()[..] else {
            panic!("one kernel")
        };
        assert_eq!(kernel.name, Name { text: "a_b".to_string(), instance: Some("HS".to_string()) });
        assert!(read("extern \"C\" __global__ void a_b(int n) {", Some("HS")).unwrap_err().1.contains("`name_##HS`"));
    }

    /// Each is refused with its line, and told what is expected.
    #[test]
    fn what_is_not_understood_is_refused() {
        for (text, line, says) in [
            ("__global__ void a(int n) {", 1, "without `extern \"C\"`"),
            ("extern \"C\" __global__ int a(int n) {", 1, "does not begin"),
            ("extern \"C\" __global__ void a(int n);", 1, "declared, not defined"),
            ("extern \"C\" __global__ void a(\n  half *y) {", 2, "`half * y` of kernel a: expected `[const] T *"),
            ("extern \"C\" __global__ void a(bf16 y) {", 1, "`bf16 y` of kernel a"),
            ("extern \"C\" __global__ void a(float **y) {", 1, "`float * * y` of kernel a"),
            ("extern \"C\" __global__ void a(int NULLABLE n) {", 1, "`int NULLABLE n` of kernel a"),
            ("extern \"C\" __global__ void a(int type) {", 1, "keyword of Rust"),
            ("extern \"C\" __global__ void a(LOAD_MAP *x) {", 1, "`LOAD_MAP name`"),
            ("extern \"C\" __global__ void __launch_bounds__ a(int n) {", 1, "without its parentheses"),
        ] {
            let (at, message) = read(text, None).unwrap_err();
            assert!(at == line && message.contains(says) && message.contains("expected"), "{at}: {message}");
        }
    }
}
