//! Broken objects: what is told, and where reading goes on behind them.

use super::text::{broken_json, fill, next_value, one_line};
use super::{Level, Objects, Value};
use crate::Result;
use crate::ingest::collect::{Collector, Place};
use crate::ingest::window::{Line, Window};
use crate::words::counted;
use memchr::memchr;

const CUT: &str =
    "the JSON is cut in the middle: expected more, found the end of the file; repair or fetch the file again";

impl Objects {
    /// The value at the beginning of the window is broken at byte `at`. At the top level, reading goes on with the next line, or
    /// where a later line begins like a value: a line that was cut off takes no other with it.
    pub(super) fn broken(
        &mut self,
        window: &mut Window,
        at: usize,
        why: &str,
        level: Level,
        out: &mut Collector,
    ) -> Result<Value> {
        let fault = broken_json(why);
        if level != Level::Top {
            return self.bad_element(window, at, &fault, out).map(Value::Passed);
        }
        let (line, column) = window.place(at);
        let bytes = window.bytes();
        if memchr(b'\n', &bytes[..at]).is_none() {
            let limit = out.options.max_record_bytes;
            let (length, all) = match window.next_line(limit).map_err(|e| out.read_error(line, e))? {
                Line::Whole(length, all) => (length, all),
                Line::TooLong | Line::None => (limit.min(window.bytes().len()), 0),
            };
            let end = Some(window.offset() + all as u64).filter(|_| all > 0);
            out.bad(Place { line, column, end }, &fault, &one_line(&window.bytes()[..length]))?;
            match all {
                0 => self.skip_line(window, out)?,
                all => self.take_line(window, all),
            }
            return Ok(Value::Passed(true));
        }
        let next = next_value(&bytes[..=at]);
        let text = one_line(&bytes[..next.unwrap_or(at)]);
        out.bad(Place { line, column, end: next.map(|next| window.offset() + next as u64) }, &fault, &text)?;
        match next {
            Some(next) => self.take_line(window, next),
            None => {
                window.advance(at);
                self.resync(window, out)?;
            }
        }
        Ok(Value::Passed(true))
    }

    /// The source ends in the middle of a value.
    pub(super) fn cut(&mut self, window: &mut Window, level: Level, out: &mut Collector) -> Result<Value> {
        let bytes = window.bytes();
        let next = if level == Level::Top { next_value(bytes) } else { None };
        let length = next.unwrap_or(bytes.len());
        let (line, column) = window.place(bytes.len());
        out.bad(Place { line, column, end: Some(window.offset() + length as u64) }, CUT, &one_line(&bytes[..length]))?;
        self.take_line(window, length);
        Ok(Value::Passed(level == Level::Top))
    }

    /// The object of `length` bytes has a byte at `at` that is not UTF-8.
    pub(super) fn not_utf8(
        &mut self,
        window: &mut Window,
        length: usize,
        at: usize,
        out: &mut Collector,
    ) -> Result<Value> {
        let (line, column) = window.place(at);
        let place = Place { line, column, end: Some(window.offset() + length as u64) };
        out.bad(place, &broken_json("a byte that is not UTF-8"), &one_line(&window.bytes()[..length]))?;
        window.advance(length);
        Ok(Value::Passed(true))
    }

    /// The element at the beginning of the window is no object, as byte `at` shows. It ends before the next comma or bracket that
    /// is not inside it. Returns false where there is none.
    pub(super) fn bad_element(
        &mut self,
        window: &mut Window,
        at: usize,
        fault: &str,
        out: &mut Collector,
    ) -> Result<bool> {
        let (line, column) = window.place(at);
        let (mut end, mut depth, mut string, mut escape) = (0, 0usize, false, false);
        loop {
            let bytes = window.bytes();
            while let Some(&byte) = bytes.get(end) {
                match byte {
                    _ if escape => escape = false,
                    b'\\' if string => escape = true,
                    b'"' => string = !string,
                    _ if string => {}
                    b',' | b']' if depth == 0 => {
                        out.bad(Place { line, column, end: None }, fault, &one_line(&bytes[..end]))?;
                        window.advance(end);
                        return Ok(true);
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                end += 1;
            }
            if end > out.options.max_record_bytes {
                return self.too_long(window, out).map(|()| false);
            }
            if !fill(window, out)? {
                out.bad(Place { line, column, end: None }, fault, &one_line(window.bytes()))?;
                window.advance(window.bytes().len());
                return Ok(false);
            }
        }
    }

    /// The value at the beginning of the window is longer than the limit.
    pub(super) fn too_long(&mut self, window: &mut Window, out: &mut Collector) -> Result<()> {
        out.too_long(window.line(), window.bytes())?;
        match memchr(b'\n', window.bytes()) {
            None => self.skip_line(window, out),
            Some(_) => self.resync(window, out),
        }
    }

    /// The rest of the line is no value.
    pub(super) fn bad_line(&mut self, window: &mut Window, fault: &str, out: &mut Collector) -> Result<()> {
        let (line, column) = window.place(0);
        match window.next_line(out.options.max_record_bytes).map_err(|e| out.read_error(line, e))? {
            Line::Whole(length, all) => {
                let place = Place { line, column, end: Some(window.offset() + all as u64) };
                out.bad(place, fault, &window.bytes()[..length])?;
                self.take_line(window, all);
                Ok(())
            }
            Line::TooLong => {
                out.too_long(line, window.bytes())?;
                self.skip_line(window, out)
            }
            Line::None => Ok(()),
        }
    }

    /// Passes over lines up to one that begins like a value.
    pub(super) fn resync(&mut self, window: &mut Window, out: &mut Collector) -> Result<()> {
        loop {
            if self.line_holds {
                self.skip_line(window, out)?;
            }
            if window.bytes().is_empty() && !fill(window, out)? || matches!(window.bytes()[0], b'{' | b'[') {
                return Ok(());
            }
            self.line_holds = true;
        }
    }

    fn skip_line(&mut self, window: &mut Window, out: &mut Collector) -> Result<()> {
        self.line_holds = false;
        let line = window.line();
        window.skip_line().map_err(|e| out.read_error(line, e))
    }

    /// Takes bytes up to the beginning of a line.
    fn take_line(&mut self, window: &mut Window, length: usize) {
        self.line_holds = false;
        window.advance(length);
    }

    /// Says what was taken apart, and what was left out with it.
    pub(super) fn tell(&self, out: &Collector) {
        let (name, records, wrappers) = (&out.source.name, out.source.records, self.unwrapped);
        if wrappers > 0 {
            let (records, wrappers) = (counted(records, "record"), counted(wrappers, "wrapper"));
            tracing::info!("{name}: {records} from {wrappers} of arrays of records");
        }
        if !self.dropped.is_empty() {
            let dropped = self.dropped.join(", ");
            tracing::warn!(
                "{name}: only the records of the array are read; these other members are left out: {dropped}"
            );
        }
    }
}
