//! Events of text over several lines, such as stack traces: a line that fits a pattern begins one, other lines continue it.

use super::collect::{Collector, Place};
use super::lines;
use super::sniff::Beginning;
use super::window::Window;
use crate::Result;
use regex::bytes::Regex;

/// Beginnings of events: times, levels, priorities.
const STARTS: &[&str] = &[
    r"^\[?\d{4}[-/.]\d\d[-/.]\d\d[T ,]\d\d:\d\d",
    r"^(?:<\d{1,3}>)?\[?(?:[A-Z][a-z]{2} )?[A-Z][a-z]{2} [ \d]\d (?:\d{4} )?\d\d:\d\d:\d\d",
    r"^\[?\d\d[-/. ](?:\d\d|[A-Z][a-z]{2})[-/. ]\d{2,4}[ :,T]\d\d:\d\d",
    r"^<\d{1,3}>1 \d{4}-\d\d-\d\dT",
    r"^\[?\d\d:\d\d:\d\d[.,\] ]",
    r"^\[?(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|CRITICAL)\b",
    r"^[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ ",
];

/// Lines that continue an event whatever begins one.
const CONTINUED: &str = r"^(?:\s+\S|Caused by: |Suppressed: |\.\.\. \d+ more|Traceback \(|[\w$]+(?:\.[\w$]+)+(?:: |$)|\w*(?:Error|Exception|Warning|Interrupt)(?:: |$)|goroutine \d|panic: |stack backtrace|---|[)}\]])";

/// Of a hundred lines, this many fit at least.
const FIT: usize = 95;
/// The fewest events that show a pattern.
const EVENTS: usize = 3;

/// The pattern with which the events of a text begin, if some of them have several lines and nearly all lines fit.
pub(super) fn find(seen: &Beginning) -> Option<Regex> {
    let continued = Regex::new(CONTINUED).expect("the pattern is a constant");
    let lines: Vec<&[u8]> = seen.whole_lines().collect();
    let first = lines.first()?;
    let starts = STARTS.iter().map(|start| Regex::new(start).expect("the patterns are constants"));
    let start = starts.into_iter().find(|start| start.is_match(first))?;
    let begins = lines.iter().filter(|line| start.is_match(line)).count();
    let continues = lines.iter().filter(|line| !start.is_match(line) && continued.is_match(line)).count();
    (begins >= EVENTS && continues > 0 && (begins + continues) * 100 >= lines.len() * FIT).then_some(start)
}

/// An event whose last line may not have come.
struct Pending {
    event: Vec<u8>,
    place: Place,
}

/// Reads events to the end. The lines of one are joined by the two characters `\n`. An event is whole when the next one begins, the
/// source ends, or nothing has come for a while.
pub(super) fn read(window: &mut Window, start: &Regex, out: &mut Collector) -> Result<()> {
    let limit = out.options.max_record_bytes;
    let mut pending: Option<Pending> = None;
    window.report_idle();
    while lines::until_idle(window, out, |line, place, out| match &mut pending {
        Some(pending) if !start.is_match(line) && pending.event.len() + line.len() + 2 <= limit => {
            pending.event.extend_from_slice(b"\\n");
            pending.event.extend_from_slice(line);
            pending.place.end = place.end;
            out.announce("line", " of continued events, joined");
            Ok(())
        }
        before => match before.replace(Pending { event: line.to_vec(), place }) {
            Some(Pending { event, place }) => out.record(&event, place),
            None => Ok(()),
        },
    })? {
        if let Some(Pending { event, place }) = pending.take() {
            out.record(&event, place)?;
        }
    }
    pending.map_or(Ok(()), |Pending { event, place }| out.record(&event, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<String> {
        find(&Beginning::new(text.as_bytes(), true)).map(|start| start.as_str().to_string())
    }

    #[test]
    fn stack_traces_show_where_events_begin() {
        let java = "2024-03-01T00:00:00 ERROR x\njava.lang.E: no\n\tat a.B(C.java:1)\n".repeat(3);
        assert_eq!(found(&java).as_deref(), Some(STARTS[0]));
        let python =
            "[INFO] a\n[ERROR] b\nTraceback (most recent call last):\n  File \"x\"\nValueError: no\n".repeat(2);
        assert!(found(&python).is_some());
        assert!(found(&"Mar  1 10:00:00 host app: x\n  more\n".repeat(3)).is_some());
    }

    #[test]
    fn lines_that_stand_alone_are_not_joined() {
        for text in [
            "2024-03-01T00:00:00 a\n".repeat(9),
            "2024-03-01T00:00:00 a\nplain words\n".repeat(9),
            "plain\n\tindented\n".repeat(9),
            "2024-03-01T00:00:00 a\n\tb\n".repeat(2),
            "    at the top\n2024-03-01T00:00:00 a\n".repeat(9),
        ] {
            assert_eq!(found(&text), None, "{text}");
        }
    }
}
