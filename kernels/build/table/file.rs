//! One kernel file: its kernels with their instances and floors, and its integer constants.

use super::declaration::{Declaration, Parameter, Wrong, declarations, parenthesised};
use super::expression;
use super::floor::{self, Floor};
use super::tokens::{self, Source, Token, words};
use std::collections::BTreeMap;
use std::path::Path;

/// A kernel, or a family of kernels with one signature.
#[derive(Debug)]
pub struct Kernel {
    pub name: String,
    pub instances: Option<Instances>,
    pub parameters: Vec<Parameter>,
    pub floor: Floor,
    pub line: usize,
}

/// The compute capability (major, minor) of the only cards that can run a file's kernels.
pub type Capability = (u32, u32);

/// A kernel is compiled once for each of these values, and `name_VALUE` is its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Instances {
    /// The macro's parameter, in lower case.
    pub parameter: String,
    pub values: Vec<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    Value(i64),
    List(Vec<i64>),
}

/// Constants of one source file in the order of their declaration.
#[derive(Clone, Debug, PartialEq)]
pub struct Constants {
    /// The file's name without its suffix.
    pub stem: String,
    pub values: Vec<(String, Constant)>,
}

#[derive(Debug)]
pub struct KernelFile {
    /// The file's name without its suffix.
    pub stem: String,
    /// From its head: `//   card       sm_90a alone`. None: every card that the program supports.
    pub only: Option<Capability>,
    pub kernels: Vec<Kernel>,
    /// Those of the headers first, its own last.
    pub constants: Vec<Constants>,
}

/// What is known while a file is read, headers included.
#[derive(Default)]
struct Known {
    names: BTreeMap<String, i64>,
    /// Macros that apply another macro to each of a list of integers.
    lists: BTreeMap<String, Vec<i64>>,
    constants: Vec<Constants>,
}

/// A function-like macro of one parameter.
struct Macro {
    name: String,
    parameter: String,
    body: Vec<Token>,
}

/// Gives the text of a file.
pub type Reader<'a> = &'a dyn Fn(&Path) -> Result<String, String>;

/// Reads a kernel file and the headers beside it that it includes.
pub fn parse(path: &Path, reader: Reader) -> Result<KernelFile, String> {
    let mut known = Known::default();
    let kernels = read(path, reader, &mut known)?;
    let only = only(&reader(path)?).map_err(|(line, message)| format!("{}:{line}: {message}", path.display()))?;
    Ok(KernelFile { stem: stem(path), only, kernels, constants: known.constants })
}

/// The head's line on the cards that the file is for.
fn only(text: &str) -> Result<Option<Capability>, Wrong> {
    let mut lines = text.lines().zip(1..).filter_map(|(line, number)| Some((floor::head_line(line, "card")?, number)));
    match lines.next() {
        None => Ok(None),
        Some(("sm_90a alone", _)) => Ok(Some((9, 0))),
        Some((found, line)) => Err((line, format!("card `{found}`: expected `sm_90a alone`, or no such line"))),
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a kernel file has a name").to_string_lossy().into_owned()
}

fn read(path: &Path, reader: Reader, known: &mut Known) -> Result<Vec<Kernel>, String> {
    let text = reader(path)?;
    let located = |(line, message): Wrong| format!("{}:{line}: {message}", path.display());
    let mut own = Constants { stem: stem(path), values: Vec::new() };
    let mut macros = Vec::new();
    let Source { directives, code } = tokens::read(&text);
    for directive in &directives {
        if let Some(header) = included(directive) {
            let header = path.with_file_name(header);
            if !known.constants.iter().any(|constants| constants.stem == stem(&header)) {
                read(&header, reader, known)?;
            }
        } else if let Some(defined) = macro_of(directive) {
            macros.extend(define(defined, known));
        }
    }
    constants(&code, known, &mut own).map_err(located)?;
    known.constants.push(own);
    let kernels = kernels(&code, known, &macros).map_err(located)?;
    with_floors(kernels, floor::floors(&text).map_err(located)?).map_err(located)
}

/// The file of `#include "FILE"`, but for the emulator's own header, which is no kernel source.
fn included(directive: &[Token]) -> Option<&str> {
    match directive {
        [include, file] if include.is("include") => {
            file.text.strip_prefix('"')?.strip_suffix('"').filter(|file| file.ends_with(".cuh"))
        }
        _ => None,
    }
}

fn macro_of(directive: &[Token]) -> Option<Macro> {
    match directive {
        [define, name, open, parameter, close, body @ ..]
            if define.is("define") && open.is("(") && parameter.is_word() && close.is(")") =>
        {
            Some(Macro { name: name.text.clone(), parameter: parameter.text.clone(), body: body.to_vec() })
        }
        _ => None,
    }
}

/// A macro such as `#define FOR_EACH_HEAD_SIZE(DO) DO(32) DO(64)` is a list; others are given back.
fn define(defined: Macro, known: &mut Known) -> Option<Macro> {
    let values: Option<Vec<i64>> = defined
        .body
        .chunks(4)
        .map(|call| match call {
            [name, open, value, close] if name.is(&defined.parameter) && open.is("(") && close.is(")") => {
                value.text.parse().ok()
            }
            _ => None,
        })
        .collect();
    match values.filter(|values| !values.is_empty()) {
        Some(values) => {
            known.lists.insert(defined.name, values);
            None
        }
        None => Some(defined),
    }
}

/// Kernels that stand in the code, and those of macros that it applies to lists.
fn kernels(tokens: &[Token], known: &Known, macros: &[Macro]) -> Result<Vec<(Declaration, Option<Instances>)>, Wrong> {
    let mut found: Vec<_> = declarations(tokens, None)?.into_iter().map(|kernel| (kernel, None)).collect();
    exported(tokens, &found)?;
    for (at, token) in tokens.iter().enumerate() {
        let Some(values) = known.lists.get(&token.text) else { continue };
        let Some([argument]) = parenthesised(&mut &tokens[at + 1..]) else { continue };
        let Some(defined) = macros.iter().find(|defined| argument.is(&defined.name)) else { continue };
        let instances = Instances { parameter: defined.parameter.to_lowercase(), values: values.clone() };
        let of_macro = declarations(&defined.body, Some(&defined.parameter))?;
        let of_macro: Vec<_> = of_macro.into_iter().map(|kernel| (kernel, Some(instances.clone()))).collect();
        exported(&defined.body, &of_macro)?;
        found.extend(of_macro);
    }
    Ok(found)
}

/// The emulator needs an entry of every kernel.
fn exported(tokens: &[Token], kernels: &[(Declaration, Option<Instances>)]) -> Result<(), Wrong> {
    for (kernel, _) in kernels {
        let name = match &kernel.name.instance {
            None => kernel.name.text.clone(),
            Some(parameter) => format!("{}_##{parameter}", kernel.name.text),
        };
        let export = |at: usize| {
            let argument = parenthesised(&mut &tokens[at + 1..])?;
            Some(argument.iter().map(|token| token.text.as_str()).collect::<String>() == name)
        };
        let places = (0..tokens.len()).filter(|&at| tokens[at].is("KERNEL_EXPORT"));
        if !places.map(export).any(|same| same == Some(true)) {
            return Err((kernel.line, format!("kernel {name}: expected KERNEL_EXPORT({name}); behind its body")));
        }
    }
    Ok(())
}

/// Gives each kernel the floor that names it, or the one without a name that stands above it.
fn with_floors(kernels: Vec<(Declaration, Option<Instances>)>, floors: Vec<Floor>) -> Result<Vec<Kernel>, Wrong> {
    let mut left = floors;
    let mut done = Vec::new();
    for (Declaration { name, parameters, line }, instances) in kernels {
        let mine = |floor: &Floor| match &floor.kernel {
            Some(kernel) => *kernel == name.text,
            None => floor.line < line,
        };
        let mut floors: Vec<Floor> = left.extract_if(.., |floor| mine(floor)).collect();
        let floor = match floors.len() {
            1 => floors.remove(0),
            0 => return Err((line, format!("kernel {}: expected {FLOOR} in its head", name.text))),
            _ => {
                return Err((
                    floors[1].line,
                    format!("kernel {} has a floor already, of line {}", name.text, floors[0].line),
                ));
            }
        };
        done.push(Kernel { name: name.text, instances, parameters, floor, line });
    }
    match left.first() {
        None => Ok(done),
        Some(floor) => Err((floor.line, format!("floor `{}`: this file has no such kernel", floor.text))),
    }
}

const FLOOR: &str = "a line `//   floor      EXPRESSION bytes[, EXPRESSION FLOPs]`";

/// `constexpr int` variables and arrays outside of braces.
fn constants(tokens: &[Token], known: &mut Known, own: &mut Constants) -> Result<(), Wrong> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        depth += i32::from(token.is("{")) - i32::from(token.is("}"));
        let [_, int, ..] = &tokens[at..] else { continue };
        if depth > 0 || !token.is("constexpr") || !int.is("int") {
            continue;
        }
        let end =
            tokens[at..].iter().position(|token| token.is(";") || token.is("(")).map_or(tokens.len(), |end| at + end);
        // A function's name is followed by a parenthesis before any `=`.
        let declarators = &tokens[at + 2..end];
        if tokens.get(end).is_some_and(|token| token.is("(")) && !declarators.iter().any(|token| token.is("=")) {
            continue;
        }
        let end = tokens[at..].iter().position(|token| token.is(";")).map_or(tokens.len(), |end| at + end);
        for declarator in split_outside_brackets(&tokens[at + 2..end]) {
            let (name, constant) = constant(declarator, known).map_err(|message| (token.line, message))?;
            if let Constant::Value(value) = constant {
                known.names.insert(name.clone(), value);
            }
            own.values.push((name, constant));
        }
    }
    Ok(())
}

fn split_outside_brackets(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, token) in tokens.iter().enumerate() {
        depth += i32::from(["(", "{", "["].contains(&token.text.as_str()));
        depth -= i32::from([")", "}", "]"].contains(&token.text.as_str()));
        if depth == 0 && token.is(",") {
            parts.push(&tokens[start..at]);
            start = at + 1;
        }
    }
    parts.push(&tokens[start..]);
    parts
}

/// `NAME = EXPRESSION`, `NAME[] = {EXPRESSION, ...}` or `NAME[] = {FOR_EACH(MACRO)}`.
fn constant(tokens: &[Token], known: &Known) -> Result<(String, Constant), String> {
    let value = |tokens: &[Token]| expression::parse(tokens)?.evaluate(&known.names);
    match tokens {
        [name, equals, rest @ ..] if equals.is("=") => {
            Ok((name.text.clone(), Constant::Value(value(rest).map_err(|e| format!("constant {}: {e}", name.text))?)))
        }
        [name, open, close, equals, brace, inner @ .., end]
            if open.is("[") && close.is("]") && equals.is("=") && brace.is("{") && end.is("}") =>
        {
            let list = inner.first().and_then(|first| known.lists.get(&first.text)).filter(|_| inner.len() == 4);
            let values = match list {
                Some(values) => Ok(values.clone()),
                None => split_outside_brackets(inner).into_iter().map(value).collect(),
            };
            Ok((name.text.clone(), Constant::List(values.map_err(|e| format!("constant {}: {e}", name.text))?)))
        }
        _ => Err(format!(
            "`constexpr int {}`: expected NAME = EXPRESSION or NAME[] = {{EXPRESSION, ...}}",
            words(tokens)
        )),
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
