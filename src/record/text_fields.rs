//! The fields of a line of text: those of web server logs and of syslog by their names, the words of any other line by number.

use std::ops::Range;

/// A field of a line, and the bytes of its value.
pub type TextField = (String, Range<usize>);

/// The fields of a line in their order.
///
/// | line | fields |
/// |---|---|
/// | common and combined logs of web servers | client, ident, user, time, method, target, protocol, status, bytes, referrer, agent |
/// | syslog (RFC 3164 or 5424) | priority, version, time, host, program, pid, msgid; the words of the message are message.1, message.2, ... |
/// | any other | the words as in awk: $1, $2, ... |
pub fn text_fields(line: &[u8]) -> Vec<TextField> {
    web(line).or_else(|| syslog(line)).unwrap_or_else(|| numbered(words(line), "$"))
}

fn numbered(words: Vec<Range<usize>>, name: &str) -> Vec<TextField> {
    words.into_iter().enumerate().map(|(i, word)| (format!("{name}{}", i + 1), word)).collect()
}

/// The words between white space.
fn words(line: &[u8]) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, byte) in line.iter().chain(b" ").enumerate() {
        match (byte.is_ascii_whitespace(), start) {
            (false, None) => start = Some(at),
            (true, Some(first)) => {
                words.push(first..at);
                start = None;
            }
            _ => (),
        }
    }
    words
}

/// Takes fields off the beginning of a line.
struct Cursor<'a> {
    line: &'a [u8],
    at: usize,
    fields: Vec<TextField>,
}

impl<'a> Cursor<'a> {
    fn new(line: &'a [u8]) -> Self {
        Cursor { line, at: 0, fields: Vec::new() }
    }

    fn rest(&self) -> &'a [u8] {
        &self.line[self.at..]
    }

    /// Takes the bytes that come next; `None` if others do.
    fn skip(&mut self, bytes: &[u8]) -> Option<()> {
        self.rest().starts_with(bytes).then(|| self.at += bytes.len())
    }

    /// Takes a field of at least one byte up to one of `ends`, or to the end of the line.
    fn until(&mut self, name: &str, ends: &[u8]) -> Option<&'a [u8]> {
        let length = self.rest().iter().position(|byte| ends.contains(byte)).unwrap_or(self.rest().len());
        self.field(name, length)
    }

    fn field(&mut self, name: &str, length: usize) -> Option<&'a [u8]> {
        let value = self.rest().get(..length).filter(|value| !value.is_empty())?;
        self.fields.push((name.to_string(), self.at..self.at + length));
        self.at += length;
        Some(value)
    }

    /// Takes a field in quotes, in which a backslash escapes.
    fn quoted(&mut self, name: &str) -> Option<()> {
        self.skip(b"\"")?;
        let mut escaped = false;
        let end = self.rest().iter().position(|&byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        if end > 0 {
            self.field(name, end)?;
        }
        self.skip(b"\"")
    }
}

/// `192.0.2.1 - ann [01/Mar/2024:10:00:00 +0000] "GET /x HTTP/1.1" 200 12 "-" "curl/8"`
fn web(line: &[u8]) -> Option<Vec<TextField>> {
    let mut cursor = Cursor::new(line);
    for name in ["client", "ident", "user"] {
        cursor.until(name, b" ")?;
        cursor.skip(b" ")?;
    }
    cursor.skip(b"[")?;
    let time = cursor.until("time", b"]")?;
    (time.len() >= 20 && time[2] == b'/' && time[6] == b'/').then_some(())?;
    cursor.skip(b"] \"")?;
    let request = cursor.rest().iter().position(|&byte| byte == b'"')?;
    let parts = words(&cursor.rest()[..request]);
    // A request that is not one (a scan, another protocol) is one field.
    match parts.len() {
        2 | 3 => {
            let begin = cursor.at;
            for (name, part) in ["method", "target", "protocol"].into_iter().zip(parts) {
                cursor.fields.push((name.to_string(), begin + part.start..begin + part.end));
            }
        }
        0 => {}
        _ => cursor.fields.push(("request".into(), cursor.at..cursor.at + request)),
    }
    cursor.at += request;
    cursor.skip(b"\" ")?;
    let status = cursor.until("status", b" ")?;
    (status.len() == 3 && status.iter().all(u8::is_ascii_digit)).then_some(())?;
    cursor.skip(b" ")?;
    cursor.until("bytes", b" ")?;
    for name in ["referrer", "agent"] {
        if cursor.skip(b" ").is_none() {
            break;
        }
        if cursor.quoted(name).is_none() {
            cursor.at -= 1;
            break;
        }
    }
    let (at, rest) = (cursor.at, words(cursor.rest()));
    cursor
        .fields
        .extend(numbered(rest, "more.").into_iter().map(|(name, word)| (name, at + word.start..at + word.end)));
    Some(cursor.fields)
}

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// `<34>Mar  1 10:00:00 host sshd[812]: text`, or `<165>1 2024-03-01T10:00:00Z host sshd 812 - - text`.
fn syslog(line: &[u8]) -> Option<Vec<TextField>> {
    let mut cursor = Cursor::new(line);
    if cursor.skip(b"<").is_some() {
        let priority = cursor.until("priority", b">")?;
        (priority.len() <= 3 && priority.iter().all(u8::is_ascii_digit)).then_some(())?;
        cursor.skip(b">")?;
        if cursor.rest().first().is_some_and(u8::is_ascii_digit) {
            for name in ["version", "time", "host", "program", "pid", "msgid"] {
                cursor.until(name, b" ")?;
                cursor.skip(b" ")?;
            }
            return Some(message(cursor));
        }
    }
    let month = cursor.rest().get(..3)?;
    MONTHS.contains(&month).then_some(())?;
    let time = cursor.rest().get(..15)?;
    (time[3] == b' ' && time[6] == b' ' && time[9] == b':' && time[12] == b':').then_some(())?;
    cursor.field("time", 15)?;
    cursor.skip(b" ")?;
    cursor.until("host", b" ")?;
    cursor.skip(b" ")?;
    cursor.until("program", b"[: ")?;
    if cursor.skip(b"[").is_some() {
        cursor.until("pid", b"]")?;
        cursor.skip(b"]")?;
    }
    cursor.skip(b":")?;
    Some(message(cursor))
}

fn message(mut cursor: Cursor) -> Vec<TextField> {
    let (at, rest) = (cursor.at, words(cursor.rest()));
    let named = numbered(rest, "message.").into_iter().map(|(name, word)| (name, at + word.start..at + word.end));
    cursor.fields.extend(named);
    cursor.fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fields_of_any_line_lie_in_it_in_order(line in r#"(<34>1? ?)?(Mar  1 10:00:00 |h - a |\[01/Mar/2024:10:00:00 \+0000\] |"GET /x" |a\[1\]: |2024-03-01T10:00:00Z |- |é\\|"|\t| 200 |b){0,9}"#) {
            let mut end = 0;
            for (name, span) in text_fields(line.as_bytes()) {
                prop_assert!(!name.is_empty() && span.start >= end && span.start < span.end && span.end <= line.len());
                end = span.end;
            }
        }
    }

    fn seen(line: &str) -> String {
        let fields = text_fields(line.as_bytes());
        assert!(fields.is_sorted_by_key(|(_, span)| span.start), "{fields:?}");
        fields.iter().map(|(name, span)| format!("{name}={}", &line[span.clone()])).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn web_logs_have_names() {
        assert_eq!(
            seen(r#"192.0.2.1 - ann [01/Mar/2024:10:00:00 +0000] "GET /x?q HTTP/1.1" 200 12 "-" "a \"b\" c" 0.3"#),
            r#"client=192.0.2.1|ident=-|user=ann|time=01/Mar/2024:10:00:00 +0000|method=GET|target=/x?q|protocol=HTTP/1.1|status=200|bytes=12|referrer=-|agent=a \"b\" c|more.1=0.3"#
        );
        assert_eq!(
            seen(r#"h - - [01/Mar/2024:10:00:00 +0000] "" 400 -"#),
            "client=h|ident=-|user=-|time=01/Mar/2024:10:00:00 +0000|status=400|bytes=-"
        );
        assert!(
            seen(r#"h - - [01/Mar/2024:10:00:00 +0000] "a b c d" 400 - "x"#)
                .ends_with(r#"request=a b c d|status=400|bytes=-|more.1="x"#)
        );
    }

    #[test]
    fn syslog_has_names() {
        assert_eq!(
            seen("<34>Mar  1 10:00:00 pine sshd[812]: Accepted  key"),
            "priority=34|time=Mar  1 10:00:00|host=pine|program=sshd|pid=812|message.1=Accepted|message.2=key"
        );
        assert_eq!(
            seen("<165>1 2024-03-01T10:00:00Z pine app - ID47 [x y=\"1\"] go"),
            "priority=165|version=1|time=2024-03-01T10:00:00Z|host=pine|program=app|pid=-|msgid=ID47|message.1=[x|message.2=y=\"1\"]|message.3=go"
        );
    }

    #[test]
    fn other_lines_have_numbers() {
        for line in ["Mar  1 10:00:00 pine no colon", "[01/Mar/2024] x", "<x>1 a", "a - - [1] \"x\" 200 1", ""] {
            assert!(text_fields(line.as_bytes()).iter().all(|(name, _)| name.starts_with('$')), "{line}");
        }
        assert_eq!(seen(" GET  /x "), "$1=GET|$2=/x");
    }
}
