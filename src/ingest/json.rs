//! JSON documents: arrays, wrapped arrays and pretty-printed objects. Each object is one record; memory is bounded.
//!
//! The scanner tracks only strings and brackets; serde_json then checks each object that the scanner cuts out. Numbers and
//! the order of keys stay byte for byte; white space outside strings is removed.

use super::collect::Collector;
use crate::record::json::object_fault;
use crate::{Error, Result};
use std::io::BufRead;

/// Keys under which the exports of many services wrap their records, as an array of objects.
const WRAPPERS: &[&[u8]] = &[
    b"\"Records\"",
    b"\"records\"",
    b"\"value\"",
    b"\"events\"",
    b"\"Events\"",
    b"\"logs\"",
    b"\"logEvents\"",
    b"\"entries\"",
    b"\"items\"",
    b"\"results\"",
    b"\"data\"",
    b"\"hits\"",
];

/// The number of names that a warning lists.
const LISTED: usize = 20;

/// Whether `key` (a JSON string with its quotes) is a key that wraps records.
pub(super) fn wraps(key: &[u8]) -> bool {
    WRAPPERS.contains(&key)
}

/// Reads objects and arrays of objects, one after another, until the end.
///
/// With `wrapped`, an object such as `{"Records":[...]}` stands for the objects of that array. Its other members are left
/// out, and a warning lists their names once. Memory: one record, bounded by the record limit.
pub(super) fn read(reader: impl BufRead, wrapped: bool, out: &mut Collector) -> Result<()> {
    let mut scanner = Scanner { reader, line: 1, column: 1, wrapped, dropped: Vec::new() };
    let mut record = Vec::new();
    loop {
        match scanner.next_token(out)? {
            None => {
                warn_of_dropped(&scanner.dropped, out);
                return Ok(());
            }
            Some(b'[') => {
                scanner.bump();
                scanner.array(&mut record, out)?;
            }
            Some(b'{') => scanner.object(&mut record, out)?,
            Some(byte) => {
                let fault = format!("expected a JSON object or array, found {}", shown(byte));
                return Err(out.broken(scanner.line, scanner.column, &fault));
            }
        }
    }
}

fn warn_of_dropped(dropped: &[String], out: &Collector) {
    if !dropped.is_empty() {
        let (name, dropped) = (&out.source.name, dropped.join(", "));
        tracing::warn!("{name}: only the records of the array are read; these other members are left out: {dropped}");
    }
}

fn shown(byte: u8) -> String {
    if byte.is_ascii_graphic() { format!("'{}'", byte as char) } else { format!("byte 0x{byte:02x}") }
}

struct Scanner<R> {
    reader: R,
    /// Line and column of the next byte, from 1; the column counts bytes.
    line: u64,
    column: u64,
    /// Whether objects at the top level may wrap records.
    wrapped: bool,
    /// Names, with their quotes, of the members that a wrapper has beside its records, except those that begin with `@`
    /// (OData metadata).
    dropped: Vec<String>,
}

impl<R: BufRead> Scanner<R> {
    fn peek(&mut self, out: &Collector) -> Result<Option<u8>> {
        let line = self.line;
        let buffer = self.reader.fill_buf().map_err(|e| out.read_error(line, e))?;
        Ok(buffer.first().copied())
    }

    /// Consumes the byte that `peek` returned, which must not be a newline.
    fn bump(&mut self) {
        self.column += 1;
        self.reader.consume(1);
    }

    /// Skips white space and returns the next byte without consuming it.
    fn next_token(&mut self, out: &Collector) -> Result<Option<u8>> {
        while let Some(byte) = self.peek(out)? {
            match byte {
                b'\n' => {
                    self.bump();
                    (self.line, self.column) = (self.line + 1, 1);
                }
                b' ' | b'\t' | b'\r' => self.bump(),
                _ => return Ok(Some(byte)),
            }
        }
        Ok(None)
    }

    fn cut(&self, out: &Collector) -> Error {
        out.broken(self.line, self.column, "the JSON is cut in the middle: expected more, found the end of the file")
    }

    /// Reads the elements of an array after its opening bracket, each of them a record, and the closing bracket.
    fn array(&mut self, record: &mut Vec<u8>, out: &mut Collector) -> Result<()> {
        loop {
            match self.next_token(out)? {
                None => return Err(self.cut(out)),
                Some(b']') => break,
                Some(_) => {
                    let (line, column) = (self.line, self.column);
                    record.clear();
                    self.copy(record, 0, line, out)?;
                    self.finish(record, line, column, out)?;
                }
            }
            match self.next_token(out)? {
                Some(b',') => self.bump(),
                Some(b']') => break,
                None => return Err(self.cut(out)),
                Some(byte) => {
                    let fault = format!("expected , or ] after an array element, found {}", shown(byte));
                    return Err(out.broken(self.line, self.column, &fault));
                }
            }
        }
        self.bump();
        Ok(())
    }

    /// Reads an object: a record or a wrapper of records, which may be nested: `{"hits":{"hits":[...]}}`.
    fn object(&mut self, record: &mut Vec<u8>, out: &mut Collector) -> Result<()> {
        let place = (self.line, self.column);
        record.clear();
        self.bump();
        record.push(b'{');
        let (mut names, mut empty, mut depth) = (Vec::new(), false, 1);
        while self.wrapped && self.next_token(out)? == Some(b'"') {
            let key = record.len();
            self.copy(record, 0, place.0, out)?;
            let name = record[key..].to_vec();
            if self.next_token(out)? != Some(b':') {
                break;
            }
            self.take(b':', record);
            match self.next_token(out)? {
                Some(b'[') if wraps(&name) => {
                    self.take(b'[', record);
                    match self.next_token(out)? {
                        Some(b'{') => return self.records_of(names, depth, record, out),
                        Some(b']') => empty = true,
                        _ => names.push(name),
                    }
                    self.copy(record, 1, place.0, out)?;
                }
                Some(b'{') if wraps(&name) => {
                    self.take(b'{', record);
                    depth += 1;
                    if self.next_token(out)? == Some(b'"') {
                        continue;
                    }
                }
                Some(_) => {
                    names.push(name);
                    self.copy(record, 0, place.0, out)?;
                }
                None => {}
            }
            while depth > 1 && self.next_token(out)? == Some(b'}') {
                self.take(b'}', record);
                depth -= 1;
            }
            if self.next_token(out)? != Some(b',') {
                break;
            }
            self.take(b',', record);
        }
        self.copy(record, depth, place.0, out)?;
        // An empty wrapper holds no record, but an object with an empty array and further members is a record itself.
        if empty && names.iter().all(|name| name.starts_with(b"\"@")) && object_fault(record).is_none() {
            return Ok(());
        }
        self.finish(record, place.0, place.1, out)
    }

    fn take(&mut self, byte: u8, record: &mut Vec<u8>) {
        self.bump();
        record.push(byte);
    }

    /// Reads the array of a wrapper after its opening bracket, then the rest of the `depth` objects around it, which is left
    /// out.
    fn records_of(
        &mut self,
        mut names: Vec<Vec<u8>>,
        depth: usize,
        record: &mut Vec<u8>,
        out: &mut Collector,
    ) -> Result<()> {
        self.array(record, out)?;
        for _ in 0..depth {
            self.rest_of_object(&mut names, record, out)?;
        }
        for name in names.iter().filter(|name| !name.starts_with(b"\"@")) {
            let name = String::from_utf8_lossy(name).into_owned();
            // A bound, because each name is compared with all before it.
            if self.dropped.len() < LISTED && !self.dropped.contains(&name) {
                self.dropped.push(name);
            }
        }
        Ok(())
    }

    /// Reads the members that follow a member, collects their names, and reads the closing brace.
    fn rest_of_object(&mut self, names: &mut Vec<Vec<u8>>, record: &mut Vec<u8>, out: &mut Collector) -> Result<()> {
        while self.next_token(out)? == Some(b',') {
            self.bump();
            let line = self.line;
            record.clear();
            self.copy(record, 0, line, out)?;
            names.push(record.clone());
            if self.next_token(out)? != Some(b':') {
                break;
            }
            self.bump();
            if self.next_token(out)?.is_some() {
                self.copy(record, 0, line, out)?;
            }
        }
        record.clear();
        let line = self.line;
        self.copy(record, 1, line, out)
    }

    /// Checks a value that began at `line` and `column`, and passes it on as a record.
    fn finish(&self, record: &mut [u8], line: u64, column: u64, out: &mut Collector) -> Result<()> {
        match object_fault(record) {
            None => out.record(record, line),
            Some((_, fault)) => {
                // A raw newline inside a broken string must not end the kept record.
                record.iter_mut().filter(|b| **b == b'\n').for_each(|b| *b = b' ');
                out.bad(line, column, &fault, record)
            }
        }
    }

    /// Appends one value, or the rest of a value with `depth` open brackets, without white space outside strings.
    /// A plain value (a number or a word) ends before the `,` `]` `}` or white space that follows it.
    fn copy(&mut self, value: &mut Vec<u8>, mut depth: usize, start: u64, out: &Collector) -> Result<()> {
        let (mut string, mut escape) = (false, false);
        let begin = value.len();
        loop {
            let line = self.line;
            let buffer = self.reader.fill_buf().map_err(|e| out.read_error(line, e))?;
            if buffer.is_empty() {
                return Err(self.cut(out));
            }
            let mut used = 0;
            let mut done = false;
            for &byte in buffer {
                let space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
                let plain_end = space || matches!(byte, b',' | b']' | b'}' | b':');
                if !string && depth == 0 && plain_end && value.len() > begin {
                    done = true;
                    break;
                }
                used += 1;
                self.column += 1;
                if byte == b'\n' {
                    (self.line, self.column) = (self.line + 1, 1);
                }
                if string || !space {
                    value.push(byte);
                }
                if string {
                    string = escape || byte != b'"';
                    escape = !escape && byte == b'\\';
                    done = !string && depth == 0;
                } else {
                    match byte {
                        b'"' => string = true,
                        b'{' | b'[' => depth += 1,
                        // At depth 0 a closing bracket can only be a misplaced first byte; it ends the broken value.
                        b'}' | b']' => {
                            depth = depth.saturating_sub(1);
                            done = depth == 0;
                        }
                        b',' | b':' if depth == 0 => done = true,
                        _ => {}
                    }
                }
                if done {
                    break;
                }
            }
            self.reader.consume(used);
            if value.len() > out.options.max_record_bytes {
                return Err(out.too_long(start));
            }
            if done {
                return Ok(());
            }
        }
    }
}
