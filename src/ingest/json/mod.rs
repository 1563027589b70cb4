//! JSON objects one after another in any arrangement: lines, concatenated, pretty-printed, in arrays, in wrappers.
//!
//! An object at the top level that stands on one line keeps its bytes; white space outside strings is removed from others.
//! Numbers and the order of keys stay as they are. Memory: one record, bounded by the record limit. An object is passed on as soon
//! as its last byte is there.

mod faults;
mod kinds;
mod text;
mod wrapper;

use super::collect::{Collector, Place};
use super::format::InputFormat;
use super::lines::HOLE;
use super::window::Window;
use crate::Result;
use crate::record::json::{Scanner, Step};
use crate::record::object_fault;
use kinds::{Kind, Kinds, is_operation, kind};
use memchr::memchr;
use text::{broken_json, compact, fill, next_byte, shown};
use wrapper::{Wraps, is_of_the_page, others, wraps};

/// The number of names that a warning lists.
const LISTED: usize = 20;

/// What the beginning of JSON lines says of the objects in their middle.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinesStart(Kind);

/// Reads a source to its end. `live`: there may be more of it, so nothing depends on its end. `lines`: it is the middle of lines that
/// begin so.
pub(super) fn read(window: &mut Window, live: bool, lines: Option<LinesStart>, out: &mut Collector) -> Result<()> {
    let kinds = lines.map_or_else(Kinds::default, |LinesStart(kind)| Kinds::of(kind));
    let mut objects = Objects { live, begun: lines.is_some(), kinds, ..Objects::default() };
    objects.all(window, out)?;
    objects.kinds.finish(out)?;
    objects.tell(out);
    Ok(())
}

/// Takes the object of one line by itself, whatever lines may be before or behind it.
pub(super) fn line(object: &[u8], place: Place, out: &mut Collector) -> Result<()> {
    match object_fault(object) {
        None => kinds::alone(object, place, out),
        Some((column, fault)) => out.bad(Place { column, ..place }, &fault, object),
    }
}

/// Whether the array that has just opened in the value that begins with `text` may hold the records of its object.
pub(super) fn wraps_records(text: &[u8], scanner: &Scanner) -> bool {
    wraps(text, scanner) != Wraps::No
}

/// What the lines at the beginning of a source say, if each of its objects can be read by itself wherever a line begins with one: the
/// first is whole, wraps no records, and is none of Docker's, which are joined.
pub(super) fn lines_start(head: &[u8]) -> Option<LinesStart> {
    let whole = head.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
    for line in whole.map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        if object_fault(line).is_some() || may_wrap(line) {
            return None;
        }
        if !is_operation(line) {
            return Some(kind(line)).filter(|kind| *kind != Kind::Docker).map(LinesStart);
        }
    }
    None
}

/// Whether an object has an array that may hold its records.
fn may_wrap(object: &[u8]) -> bool {
    let (mut scanner, mut at) = (Scanner::watching(), 0);
    while let Step::Array(length) = scanner.push(&object[at..]) {
        at += length;
        if wraps(object, &scanner) != Wraps::No {
            return true;
        }
    }
    false
}

#[derive(Default)]
struct Objects {
    live: bool,
    /// Whether the line that is read holds something.
    line_holds: bool,
    /// Whether a value was read before.
    begun: bool,
    /// Whether the first object is a wrapper that is not certain by its key: later ones are then too.
    perhaps: bool,
    unwrapped: u64,
    /// Names of the members that wrappers have beside their records, except those that tell of the page.
    dropped: Vec<String>,
    compact: Vec<u8>,
    kinds: Kinds,
}

/// Where an object stands.
#[derive(Clone, Copy, PartialEq)]
enum Level {
    Top,
    /// In an array at the top level; it may be a wrapper.
    Batch,
    /// In the array of a wrapper.
    Wrapped,
}

/// How the bytes of a value ended.
enum Value {
    /// Behind this many bytes.
    End(usize),
    /// At an array, behind this many bytes, that holds the records of the object.
    Wrapper(usize, Box<Scanner>),
    /// It was broken or too long, and has been told and passed over. False: nothing is known of where the reader is.
    Passed(bool),
}

impl Objects {
    fn all(&mut self, window: &mut Window, out: &mut Collector) -> Result<()> {
        while let Some(byte) = self.skip_space(window, out)? {
            let follows = std::mem::replace(&mut self.line_holds, true);
            match byte {
                b'{' => {
                    if follows {
                        out.source.format = InputFormat::Json;
                    }
                    self.object(window, out)?;
                }
                b'[' => self.bracket(window, out)?,
                byte => {
                    let fault = format!("expected a JSON object or array, found {}", shown(byte));
                    self.bad_line(window, &fault, out)?;
                }
            }
        }
        Ok(())
    }

    /// Passes over white space and NULs between values, and returns the next byte.
    fn skip_space(&mut self, window: &mut Window, out: &mut Collector) -> Result<Option<u8>> {
        loop {
            let (mut used, mut found) = (0, None);
            for &byte in window.bytes() {
                match byte {
                    b'\n' if std::mem::take(&mut self.line_holds) => {}
                    b'\n' => out.empty_line(),
                    b' ' | b'\t' | b'\r' => {}
                    byte => {
                        found = Some(byte);
                        break;
                    }
                }
                used += 1;
            }
            window.advance(used);
            if found == Some(0) {
                window.skip_bytes(0).map_err(|e| out.read_error(window.line(), e))?;
                out.announce(HOLE.0, HOLE.1);
            } else if found.is_some() || !fill(window, out)? {
                return Ok(found);
            }
        }
    }

    /// Reads an object at the top level.
    fn object(&mut self, window: &mut Window, out: &mut Collector) -> Result<()> {
        match self.value(window, Level::Top, out)? {
            Value::Passed(_) => Ok(()),
            Value::Wrapper(at, scanner) => self.unwrap(window, at, *scanner, out).map(|_| ()),
            Value::End(length) => {
                // As far as it is there: a record does not wait for what follows.
                let follows = window.bytes()[length..].iter().position(|byte| !b" \t\r".contains(byte));
                let follows = follows.map(|at| length + at);
                if let Some(at) = follows.filter(|&at| !b"\n{[\0".contains(&window.bytes()[at])) {
                    return self.broken(window, at, "something follows the object", Level::Top, out).map(|_| ());
                }
                let text = &window.bytes()[..length];
                let line = memchr(b'\n', text).is_none();
                if !line {
                    out.source.format = InputFormat::Json;
                    compact(text, &mut self.compact);
                }
                let end = Some(window.offset() + length as u64);
                let place = Place { line: window.line(), column: window.place(0).1, end };
                self.begun = true;
                self.kinds.take(if line { text } else { &self.compact }, place, out)?;
                window.advance(length);
                Ok(())
            }
        }
    }

    /// Finds the end of the object at the beginning of the window, and checks it.
    fn value(&mut self, window: &mut Window, level: Level, out: &mut Collector) -> Result<Value> {
        let limit = out.options.max_record_bytes;
        let mut scanner = if level == Level::Wrapped { Scanner::new() } else { Scanner::watching() };
        let (mut at, mut perhaps, mut empty) = (0, None, false);
        loop {
            match scanner.push(&window.bytes()[at..]) {
                Step::Array(length) => {
                    at += length;
                    let wraps = wraps(window.bytes(), &scanner);
                    match if wraps == Wraps::No { None } else { next_byte(window, at, out)? } {
                        Some(b'{') if wraps == Wraps::Certainly => return Ok(Value::Wrapper(at, Box::new(scanner))),
                        Some(b'{') => perhaps = perhaps.or(Some((at, scanner.clone()))),
                        Some(b']') => empty = true,
                        _ => {}
                    }
                    continue;
                }
                Step::End(length) => at += length,
                Step::Broken(length, why) => return self.broken(window, at + length, why, level, out),
                Step::More => {
                    at = window.bytes().len();
                    if at <= limit {
                        if !fill(window, out)? {
                            return self.cut(window, level, out);
                        }
                        continue;
                    }
                }
            }
            break;
        }
        if at > limit {
            // An object of this length is no record, so the array in it holds records.
            return match perhaps {
                Some((at, scanner)) => Ok(Value::Wrapper(at, Box::new(scanner))),
                None => self.too_long(window, out).map(|()| Value::Passed(level == Level::Top)),
            };
        }
        if let Err(error) = std::str::from_utf8(&window.bytes()[..at]) {
            return self.not_utf8(window, at, error.valid_up_to(), out);
        }
        match perhaps {
            Some((array, scanner)) if self.wraps_perhaps(window, at, out)? => {
                Ok(Value::Wrapper(array, Box::new(scanner)))
            }
            _ if empty
                && others(&window.bytes()[..at]).is_some_and(|names| names.iter().all(|name| is_of_the_page(name))) =>
            {
                out.announce("wrapper", " without records");
                window.advance(at);
                Ok(Value::Passed(true))
            }
            _ => Ok(Value::End(at)),
        }
    }

    /// Whether the object of `length` bytes, whose wrapper key an event may have too, wraps records: it holds nothing but them
    /// and what tells of the page, or it is the only value of its source.
    fn wraps_perhaps(&mut self, window: &mut Window, length: usize, out: &mut Collector) -> Result<bool> {
        let Some(names) = others(&window.bytes()[..length]) else { return Ok(false) };
        let page = names.iter().all(|name| is_of_the_page(name));
        if self.begun {
            return Ok(self.perhaps && page);
        }
        self.perhaps = page;
        let only = !page && !self.live && next_byte(window, length, out)?.is_none();
        Ok(page || only)
    }

    /// Reads the records of a wrapper, whose array opens before `at`, and passes over the rest of it. Returns false where nothing
    /// is known of where the reader is.
    fn unwrap(&mut self, window: &mut Window, at: usize, mut scanner: Scanner, out: &mut Collector) -> Result<bool> {
        self.begun = true;
        let mut around = window.bytes()[..at].to_vec();
        window.advance(at);
        if !self.array(window, Level::Wrapped, out)? {
            return Ok(false);
        }
        self.unwrapped += 1;
        around.push(b']');
        scanner.push(b"]");
        loop {
            let step = scanner.push(window.bytes());
            let used = match step {
                Step::End(used) | Step::Array(used) => used,
                Step::More => window.bytes().len(),
                Step::Broken(at, why) => {
                    window.advance(at);
                    self.bad_line(window, &broken_json(why), out)?;
                    self.resync(window, out)?;
                    return Ok(false);
                }
            };
            if around.len() <= out.options.max_record_bytes {
                around.extend_from_slice(&window.bytes()[..used]);
            }
            window.advance(used);
            match step {
                Step::End(_) => break,
                Step::More if !fill(window, out)? => return self.cut(window, Level::Wrapped, out).map(|_| false),
                _ => {}
            }
        }
        self.drop_names(others(&around).unwrap_or_default());
        Ok(true)
    }

    fn drop_names(&mut self, names: Vec<String>) {
        for name in names.into_iter().filter(|name| !is_of_the_page(name)) {
            // A bound, because each name is compared with all before it.
            let name = format!("{name:?}");
            if self.dropped.len() < LISTED && !self.dropped.contains(&name) {
                self.dropped.push(name);
            }
        }
    }

    /// Reads what begins with [ at the top level: an array of records, or a line of text such as `[Sun Dec 04] notice`.
    fn bracket(&mut self, window: &mut Window, out: &mut Collector) -> Result<()> {
        match next_byte(window, 1, out)? {
            Some(b'{' | b']' | b'[') | None => {
                window.advance(1);
                self.array(window, Level::Batch, out).map(|_| ())
            }
            Some(_) => {
                self.bad_line(window, "expected an array of JSON objects, found something else in the brackets", out)
            }
        }
    }

    /// Reads the elements of an array behind its opening bracket, each of them a record, and the closing bracket. Returns false
    /// where the array was left because it is broken.
    fn array(&mut self, window: &mut Window, level: Level, out: &mut Collector) -> Result<bool> {
        out.source.format = InputFormat::Json;
        let mut after_comma = false;
        loop {
            match self.skip_space(window, out)? {
                None => return self.cut(window, level, out).map(|_| false),
                Some(b']') if !after_comma => break,
                Some(byte) => {
                    self.line_holds = true;
                    if !self.element(window, byte, level, out)? {
                        return Ok(false);
                    }
                }
            }
            match self.skip_space(window, out)? {
                Some(b',') => window.advance(1),
                Some(b']') => break,
                None => return self.cut(window, level, out).map(|_| false),
                Some(byte) => {
                    let fault = format!("expected , or ] after an array element, found {}", shown(byte));
                    self.bad_line(window, &fault, out)?;
                    self.resync(window, out)?;
                    return Ok(false);
                }
            }
            after_comma = true;
        }
        self.line_holds = true;
        window.advance(1);
        Ok(true)
    }

    /// Reads one element of an array. Returns false where the array cannot be read on.
    fn element(&mut self, window: &mut Window, byte: u8, level: Level, out: &mut Collector) -> Result<bool> {
        if byte != b'{' {
            let fault = format!("expected a JSON object, found something that begins with {}", shown(byte));
            return self.bad_element(window, 0, &fault, out);
        }
        match self.value(window, level, out)? {
            Value::Passed(known) => Ok(known),
            Value::Wrapper(at, scanner) => self.unwrap(window, at, *scanner, out),
            Value::End(length) => {
                compact(&window.bytes()[..length], &mut self.compact);
                let (line, column) = window.place(0);
                self.begun = true;
                self.kinds.take(&self.compact, Place { line, column, end: None }, out)?;
                window.advance(length);
                Ok(true)
            }
        }
    }
}
