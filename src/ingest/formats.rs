//! The formats of log files: one row each, in the order in which they are tried, binary ones before those of text. Help,
//! messages and the table of docs/formats.md come from here, and every command reads through it. A new format is its decoder,
//! its cases and its row.

use super::collect::Collector;
use super::feature::{self, Feature};
use super::format::InputFormat;
use super::sniff::{self, Answer, Beginning};
use super::window::Window;
use super::{cef, cri, csv, events, json, lines, syslog, w3c_zeek};
use crate::Result;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use regex::bytes::Regex;
use std::path::PathBuf;

/// What a decoder knows of its source beside the bytes.
pub(super) struct Known {
    /// Whether more of the source may follow than is read here: it grows, or others read the rest.
    pub live: bool,
    /// What the beginning of JSON lines said, where they are read from their middle.
    pub lines: Option<json::LinesStart>,
    /// The separator of cells that a CSV file seems to have.
    pub delimiter: u8,
    /// Whether the user has chosen the format.
    pub chosen: bool,
    /// The pattern of lines of text that begin a record; `None`: each line is one.
    pub start: Option<Regex>,
    /// The file of which the text is the plain content, if it is one that can seek.
    #[cfg_attr(not(feature = "parquet"), expect(dead_code, reason = "only Parquet seeks"))]
    pub file: Option<PathBuf>,
}

type Decode = fn(&mut Window, &Known, &mut Collector) -> Result<()>;

pub struct Format {
    pub format: InputFormat,
    /// The value of `--format`.
    pub name: &'static str,
    aliases: &'static [&'static str],
    /// What messages call it.
    pub label: &'static str,
    /// What it is: the help of `--format`.
    pub help: &'static str,
    /// What a record is.
    pub record: &'static str,
    /// By what it is recognised.
    pub recognised: &'static str,
    /// Whether records are JSON objects.
    pub gives_json: bool,
    /// The cargo feature that a build needs for it: that of a binary format.
    pub(super) feature: Option<Feature>,
    pub(super) recognise: fn(&Beginning) -> Answer,
    pub(super) decode: Decode,
}

#[cfg(feature = "evtx")]
const EVTX: Decode = |window, _, out| super::evtx::read(window, out);
#[cfg(not(feature = "evtx"))]
const EVTX: Decode = NOT_BUILT;

#[cfg(feature = "parquet")]
const PARQUET: Decode = |window, known, out| super::parquet::read(window, known.file.as_deref(), out);
#[cfg(not(feature = "parquet"))]
const PARQUET: Decode = NOT_BUILT;

#[cfg(not(all(feature = "evtx", feature = "parquet")))]
const NOT_BUILT: Decode = |_, _, _| unreachable!("`open` refuses what is not built");

pub const FORMATS: &[Format] = &[
    Format {
        format: InputFormat::Jsonl,
        name: "jsonl",
        aliases: &["ndjson"],
        label: "JSON lines",
        help: "One JSON object per line, whatever it wraps",
        record: "the object, byte for byte; with --format jsonl also one that wraps others",
        recognised: "the first line is an object, or a line among the first 20",
        gives_json: true,
        feature: None,
        recognise: sniff::json_lines,
        decode: |window, known, out| match known.chosen {
            true => lines::each(window, out, lines::json_line),
            false => json::read(window, known.live, known.lines, out),
        },
    },
    Format {
        format: InputFormat::Json,
        name: "json",
        aliases: &[],
        label: "JSON",
        help: "JSON objects in any arrangement: one after another, in arrays, in wrappers such as {\"Records\":[...]}",
        record: "an object without white space outside strings: one of several, an element of an array, or of the array in a \
                 wrapper, whose other members are left out and told; operations of _bulk requests are left out, byte arrays of \
                 journald become text, parts of Docker lines are joined",
        recognised: "it begins with an object or with an array of objects",
        gives_json: true,
        feature: None,
        recognise: sniff::json,
        decode: |window, known, out| json::read(window, known.live, None, out),
    },
    Format {
        format: InputFormat::W3c,
        name: "w3c",
        aliases: &["zeek"],
        label: "rows below a line #Fields (W3C, Zeek)",
        help: "Rows below a line #Fields: W3C extended logs (IIS, CloudFront), and Zeek's logs",
        record: "a row as an object: names in the header's order, every value a string; other lines that begin with # are left out",
        recognised: "a line #Fields: or #fields before the first row",
        gives_json: true,
        feature: None,
        recognise: sniff::headed,
        decode: |window, _, out| {
            let mut table = w3c_zeek::HeadedTable::default();
            lines::each(window, out, |line, place, out| table.line(line, place, out))
        },
    },
    Format {
        format: InputFormat::Syslog,
        name: "syslog",
        aliases: &[],
        label: "syslog messages with their lengths (RFC 6587)",
        help: "Syslog messages, each after its length in bytes (octet counting, RFC 6587)",
        record: "a message; a newline inside it becomes the two characters \\n",
        recognised: "it begins with a length and a priority: 85 <165>",
        gives_json: false,
        feature: None,
        recognise: sniff::counted,
        decode: |window, _, out| syslog::read(window, out),
    },
    Format {
        format: InputFormat::Cri,
        name: "cri",
        aliases: &[],
        label: "lines of containers (CRI)",
        help: "Lines of Kubernetes containers: TIME stdout F TEXT",
        record: "a line; parts (tag P) are joined with the line that ends them (tag F)",
        recognised: "the first line has a time, stdout or stderr, and P or F",
        gives_json: false,
        feature: None,
        recognise: |seen| sniff::first_line(seen, cri::is_cri),
        decode: |window, _, out| cri::read(window, out),
    },
    Format {
        format: InputFormat::Cef,
        name: "cef",
        aliases: &["leef"],
        label: "CEF or LEEF events",
        help: "CEF (ArcSight) or LEEF (QRadar) events, with or without a syslog header",
        record: "an event as an object: header and extension by name, custom fields by their labels, every value a string",
        recognised: "the first line holds CEF:0 or LEEF:1.0 and its header",
        gives_json: true,
        feature: None,
        recognise: |seen| sniff::first_line(seen, cef::is_event),
        decode: |window, _, out| lines::each(window, out, cef::line),
    },
    Format {
        format: InputFormat::Tsv,
        name: "tsv",
        aliases: &[],
        label: "TSV",
        help: "Tab-separated values with a header",
        record: "as CSV",
        recognised: "as CSV",
        gives_json: true,
        feature: None,
        recognise: |seen| sniff::table(seen, b'\t'),
        decode: |window, _, out| csv::read(window, b'\t', out),
    },
    Format {
        format: InputFormat::Csv,
        name: "csv",
        aliases: &[],
        label: "CSV",
        help: "Comma- or semicolon-separated values with a header",
        record: "a row as an object; a repeated name gets _2, an empty one becomes column_3; repeated headers and lines #TYPE are \
                 left out",
        recognised: "a first line of distinct names, and three rows or more that fit it and look unlike names",
        gives_json: true,
        feature: None,
        recognise: |seen| sniff::table(seen, sniff::delimiter(seen.text())),
        decode: |window, known, out| csv::read(window, known.delimiter, out),
    },
    Format {
        format: InputFormat::Spaced,
        name: "spaced",
        aliases: &["vpc"],
        label: "a table with spaces between its cells",
        help: "Values between spaces with a header, such as VPC flow logs",
        record: "as CSV",
        recognised: "as CSV, with four names or more",
        gives_json: true,
        feature: None,
        recognise: sniff::spaced,
        decode: |window, _, out| w3c_zeek::read_spaced(window, out),
    },
    Format {
        format: InputFormat::Evtx,
        name: "evtx",
        aliases: &[],
        label: "Windows event logs (EVTX)",
        help: "Windows event logs (EVTX), in a build with the cargo feature evtx",
        record: "an event as an object, as evtx_dump -o jsonl writes it",
        recognised: "it begins with ElfFile",
        gives_json: true,
        feature: Some(feature::EVTX),
        recognise: |seen| sniff::begins(seen, b"ElfFile\0"),
        decode: EVTX,
    },
    Format {
        format: InputFormat::Parquet,
        name: "parquet",
        aliases: &[],
        label: "Parquet",
        help: "Rows of Parquet files, in a build with the cargo feature parquet",
        record: "a row as an object, nested as its columns are: numbers with all their digits, times as RFC 3339 (without a zone \
                 where it is not known), bytes as text if they are UTF-8 and as base64 if not; a repeated name gets _2",
        recognised: "it begins with PAR1",
        gives_json: true,
        feature: Some(feature::PARQUET),
        recognise: |seen| sniff::begins(seen, b"PAR1"),
        decode: PARQUET,
    },
    Format {
        format: InputFormat::Text,
        name: "text",
        aliases: &[],
        label: "text lines",
        help: "One record per line, whatever it contains",
        record: "a line, byte for byte (NULs before it are left out); or an event of several lines, joined by the two characters \\n: see \
                 --record-start",
        recognised: "nothing else fits",
        gives_json: false,
        feature: None,
        recognise: |_| Answer::Yes,
        decode: |window, known, out| match &known.start {
            Some(start) => events::read(window, start, out),
            None => lines::each(window, out, lines::text_line),
        },
    },
];

/// The format of a source that begins so; `None`: more must be seen.
pub(super) fn recognise(seen: &Beginning) -> Option<InputFormat> {
    // The mark of a binary format says more than what its bytes would be as text.
    let (binary, text): (Vec<_>, Vec<_>) = FORMATS.iter().partition(|row| row.feature.is_some());
    for row in binary.into_iter().chain(text) {
        match (row.recognise)(seen) {
            Answer::Yes => return Some(row.format),
            Answer::More => return None,
            Answer::No => {}
        }
    }
    unreachable!("any source is text")
}

impl InputFormat {
    pub fn row(self) -> &'static Format {
        FORMATS.iter().find(|row| row.format == self).expect("each format has a row")
    }

    /// The name of the format in messages.
    pub fn label(self) -> &'static str {
        self.row().label
    }

    /// Whether records of this format are JSON objects (table rows become objects).
    pub fn gives_json(self) -> bool {
        self.row().gives_json
    }
}

impl ValueEnum for InputFormat {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [InputFormat; FORMATS.len()] = {
            let mut all = [InputFormat::Text; FORMATS.len()];
            let mut row = 0;
            while row < FORMATS.len() {
                all[row] = FORMATS[row].format;
                row += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let row = self.row();
        Some(PossibleValue::new(row.name).aliases(row.aliases).help(row.help))
    }
}

/// The table of `docs/formats.md`.
#[cfg(test)]
fn markdown() -> String {
    let row = |row: &Format| format!("| `{}` | {} | {} | {} |\n", row.name, row.help, row.record, row.recognised);
    "| format | | a record is | it is recognised by |\n|---|---|---|---|\n".to_string()
        + &FORMATS.iter().map(row).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_saved_folders() {
        for row in FORMATS {
            assert_eq!(serde_json::to_string(&row.format).unwrap(), format!("\"{}\"", row.name));
        }
    }

    #[test]
    fn the_readme_has_the_table() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/formats.md")).unwrap();
        assert!(page.contains(&markdown()), "put this table into docs/formats.md:\n{}", markdown());
    }

    fn format(text: &[u8], complete: bool) -> Option<InputFormat> {
        super::recognise(&Beginning::new(text, complete))
    }

    fn check(text: &str, want: InputFormat) {
        assert_eq!(format(text.as_bytes(), true), Some(want), "{text}");
        // In pieces of any length, nothing else is found, and what is certain stays.
        for length in 0..text.len() {
            let early = format(&text.as_bytes()[..length], false);
            assert!(early.is_none_or(|format| format == want), "{early:?} after {length} bytes of {text}");
        }
    }

    #[test]
    fn json_lines() {
        check("{\"a\":1}\n{\"a\":2}\n", InputFormat::Jsonl);
        check("{\"a\":1}", InputFormat::Jsonl);
        check("\n\n  {\"events\":[1,2]}\n{\"events\":[3]}\n", InputFormat::Jsonl);
        check("{\"a\":1\n{\"a\":2}\n{\"a\":3}\n", InputFormat::Jsonl);
        check("{\"Records\":[{\"a\":1}]}", InputFormat::Jsonl);
        check("{\"a\":1}{\"b\":1}", InputFormat::Jsonl);
        check("{\"a\":1}\nplain text\n", InputFormat::Jsonl);
        check("{\"events\":[{}],\"b\":1}\n{\"events\":[{}]}\n", InputFormat::Jsonl);
        check("{\"items\":[]}\n\n{\"items\":[{}]}\n", InputFormat::Jsonl);
        let long = [&b"{\"long\":\""[..], &[b'a'; 2 * sniff::PEEK]].concat();
        assert_eq!(format(&long, false), Some(InputFormat::Jsonl), "the first line is longer than what is seen");
    }

    #[test]
    fn json_documents() {
        check("[{\"a\":1},\n{\"a\":2}]", InputFormat::Json);
        check("[\n  {\n    \"a\": 1\n  }\n]\n", InputFormat::Json);
        check("{\n  \"a\": 1\n}\n{\n  \"a\": 2\n}\n", InputFormat::Json);
        check("[{\"a\":1},{\"b", InputFormat::Json);
        check("[{\"a\": 10 20}]", InputFormat::Json);
        check("{\n \"a\": 10 20\n}\n", InputFormat::Json);
        check("{\"Records\":[{\"a\": 10 20}]}", InputFormat::Json);
        check("[]", InputFormat::Json);
    }

    #[test]
    fn text_that_looks_like_something_else() {
        check("[Sun Dec 04 04:47:44 2005] [notice] workerEnv.init() ok\n", InputFormat::Text);
        check("[2024-01-01 00:00:00] {\"a\":1}\n", InputFormat::Text);
        check("[1, 2] starting\n[1, 3] starting\n", InputFormat::Text);
        check("{main} started\n{main} stopped\n", InputFormat::Text);
        check("[] done\n", InputFormat::Text);
        check("Jan  1 00:00:00 host sshd[1]: Accepted for a, b, c\nJan  1 00:00:01 host x, y, z\n", InputFormat::Text);
        check("error,disk,full\nerror,disk,gone\n", InputFormat::Text);
        check("started, waiting, done\nstopped, waiting, done\n", InputFormat::Text);
        check("1,2,3\n4,5,6\n", InputFormat::Text);
        check("a,b,c\n1,2\n", InputFormat::Text);
        check("one line", InputFormat::Text);
        check("Warning,disk,full\nError,net,down\nInfo,cpu,idle\nInfo,cpu,busy\n", InputFormat::Text);
        check("Warning,disk,1\nWarning,net,2\nInfo,cpu,3\n", InputFormat::Text);
        check("time,user\n1,bob\n2,al\n", InputFormat::Text);
        check("time,time\n1,bob\n2,al\n3,jo\n", InputFormat::Text);
    }

    #[test]
    fn tables() {
        check("time,user name,src.ip\n2024,bob,1.2.3.4\n2025,al,\"a,b\"\n2026,jo,\n", InputFormat::Csv);
        check("time,\"two\"\n1,\"line\nbreak\"\n2,x\n3,y\n", InputFormat::Csv);
        check("time\tuser\n1\tbob\n2\tal\n3\tjo\n", InputFormat::Tsv);
        check("time,user\r\n1,bob\r\n2,al\r\n3,jo\r\n", InputFormat::Csv);
        check("TimeGenerated [UTC],Identity\n2024-01-01,bob\n2024-01-02,al\n2024-01-03,jo\n", InputFormat::Csv);
        check("time,user\n1,bob\n2,user\n3,jo\n4,al\n", InputFormat::Csv);
        check("time;user\n1;a,b\n2;al\n3;jo\n", InputFormat::Csv);
        check("sep=|\r\ntime|user\r\n1|bob\r\n2|al\r\n3|jo\r\n", InputFormat::Csv);
    }
}
