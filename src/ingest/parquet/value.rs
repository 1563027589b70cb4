//! Values of columns as JSON: numbers with all their digits, times as RFC 3339, bytes as text or base64.

use crate::ingest::rows::json_string;
use ::parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use ::parquet::data_type::{ByteArray, Decimal, FixedLenByteArray, Int96};
use ::parquet::record::Field;
use ::parquet::schema::types::ColumnDescriptor;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Datelike, Timelike};
use std::io::Write as _;

/// A row as it grows.
#[derive(Default)]
pub(super) struct Row {
    pub json: Vec<u8>,
    /// Where in a string the first byte stands that is not UTF-8.
    pub invalid: Option<usize>,
}

impl Row {
    pub fn clear(&mut self) {
        self.json.clear();
        self.invalid = None;
    }

    fn put(&mut self, text: std::fmt::Arguments) {
        self.json.write_fmt(text).expect("a vector grows");
    }
}

/// Writes one value of a column.
pub(super) type Write<T> = Box<dyn Fn(&T, &mut Row)>;

/// What the numbers or bytes of a column mean.
#[derive(Clone, Copy)]
enum Meaning {
    Plain,
    Unsigned,
    Date,
    /// Parts of a second, so many to it.
    Time(i64),
    /// The same, and whether it is UTC; otherwise it is a local time of a zone that is not stated.
    Timestamp(i64, bool),
    /// Precision and scale.
    Decimal(i32, i32),
    Text,
    Uuid,
    Half,
    Interval,
}

fn meaning(column: &ColumnDescriptor) -> Meaning {
    let decimal = Meaning::Decimal(column.type_precision(), column.type_scale());
    match column.logical_type_ref() {
        Some(LogicalType::Integer(kind)) if !kind.is_signed => Meaning::Unsigned,
        Some(LogicalType::Date) => Meaning::Date,
        Some(LogicalType::Time(kind)) => Meaning::Time(parts(&kind.unit)),
        Some(LogicalType::Timestamp(kind)) => Meaning::Timestamp(parts(&kind.unit), kind.is_adjusted_to_u_t_c),
        Some(LogicalType::Decimal(_)) => decimal,
        Some(LogicalType::String | LogicalType::Enum | LogicalType::Json) => Meaning::Text,
        Some(LogicalType::Uuid) => Meaning::Uuid,
        Some(LogicalType::Float16) => Meaning::Half,
        Some(_) => Meaning::Plain,
        None => match column.converted_type() {
            ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64 => {
                Meaning::Unsigned
            }
            ConvertedType::DATE => Meaning::Date,
            ConvertedType::TIME_MILLIS => Meaning::Time(1_000),
            ConvertedType::TIME_MICROS => Meaning::Time(1_000_000),
            ConvertedType::TIMESTAMP_MILLIS => Meaning::Timestamp(1_000, true),
            ConvertedType::TIMESTAMP_MICROS => Meaning::Timestamp(1_000_000, true),
            ConvertedType::DECIMAL => decimal,
            ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON => Meaning::Text,
            ConvertedType::INTERVAL => Meaning::Interval,
            _ => Meaning::Plain,
        },
    }
}

fn parts(unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::MILLIS => 1_000,
        TimeUnit::MICROS => 1_000_000,
        TimeUnit::NANOS => 1_000_000_000,
    }
}

pub(super) fn boolean() -> Write<bool> {
    Box::new(|value, row| row.put(format_args!("{value}")))
}

pub(super) fn int32(column: &ColumnDescriptor) -> Write<i32> {
    match meaning(column) {
        Meaning::Unsigned => Box::new(|value, row| row.put(format_args!("{}", value.cast_unsigned()))),
        Meaning::Decimal(precision, scale) => {
            Box::new(move |value, row| decimal(Decimal::from_i32(*value, precision, scale), row))
        }
        meaning => Box::new(move |value, row| integer(meaning, i64::from(*value), row)),
    }
}

pub(super) fn int64(column: &ColumnDescriptor) -> Write<i64> {
    match meaning(column) {
        Meaning::Unsigned => Box::new(|value, row| row.put(format_args!("{}", value.cast_unsigned()))),
        Meaning::Decimal(precision, scale) => {
            Box::new(move |value, row| decimal(Decimal::from_i64(*value, precision, scale), row))
        }
        meaning => Box::new(move |value, row| integer(meaning, *value, row)),
    }
}

/// The old way to store nanoseconds: those of the day, and the day. It says no zone, and writers disagree.
pub(super) fn int96() -> Write<Int96> {
    Box::new(|value, row| {
        let [low, high, day] = [0, 1, 2].map(|at| u64::from(value.data()[at]));
        let seconds = (day.cast_signed() - 2_440_588) * 86_400;
        let nanos = high << 32 | low;
        let instant = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        timestamp(instant, 1_000_000_000, false, row);
    })
}

pub(super) fn float() -> Write<f32> {
    Box::new(|value, row| match value.is_finite() {
        true => serde_json::to_writer(&mut row.json, value).expect("a vector grows"),
        false => row.put(format_args!("\"{value}\"")),
    })
}

pub(super) fn double() -> Write<f64> {
    Box::new(|value, row| match value.is_finite() {
        true => serde_json::to_writer(&mut row.json, value).expect("a vector grows"),
        false => row.put(format_args!("\"{value}\"")),
    })
}

pub(super) fn bytes(column: &ColumnDescriptor) -> Write<ByteArray> {
    let meaning = meaning(column);
    Box::new(move |value, row| binary(meaning, value, row))
}

pub(super) fn fixed(column: &ColumnDescriptor) -> Write<FixedLenByteArray> {
    let meaning = meaning(column);
    Box::new(move |value, row| binary(meaning, value, row))
}

fn integer(meaning: Meaning, value: i64, row: &mut Row) {
    match meaning {
        Meaning::Date => match DateTime::from_timestamp(value.saturating_mul(86_400), 0).filter(is_common) {
            Some(day) => row.put(format_args!("\"{:04}-{:02}-{:02}\"", day.year(), day.month(), day.day())),
            None => row.put(format_args!("{value}")),
        },
        Meaning::Time(parts) if (0..86_400 * parts).contains(&value) => {
            let (seconds, part, digits) = (value / parts, value % parts, parts.ilog10() as usize);
            let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            row.put(format_args!("\"{hour:02}:{minute:02}:{second:02}.{part:0digits$}\""));
        }
        Meaning::Timestamp(parts, utc) => timestamp(i128::from(value), parts, utc, row),
        _ => row.put(format_args!("{value}")),
    }
}

/// A moment as RFC 3339 writes it, without a zone if that is not known; as a number if its year has more than four digits.
fn timestamp(value: i128, parts: i64, utc: bool, row: &mut Row) {
    let (seconds, part) = (value.div_euclid(i128::from(parts)), value.rem_euclid(i128::from(parts)));
    let moment = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0)).filter(is_common);
    let Some(at) = moment else { return row.put(format_args!("{value}")) };
    let (zone, digits) = (if utc { "Z" } else { "" }, parts.ilog10() as usize);
    let (year, month, day) = (at.year(), at.month(), at.day());
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    row.put(format_args!("\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{part:0digits$}{zone}\""));
}

/// Whether RFC 3339 has the year.
fn is_common<Z: chrono::TimeZone>(moment: &DateTime<Z>) -> bool {
    (0..=9999).contains(&moment.year())
}

fn decimal(value: Decimal, row: &mut Row) {
    let digits = Field::Decimal(value).to_string();
    // "12." where there are no digits behind the point.
    row.put(format_args!("{}", digits.trim_end_matches('.')));
}

fn binary(meaning: Meaning, value: &ByteArray, row: &mut Row) {
    let bytes = value.data();
    match (meaning, bytes.len()) {
        (Meaning::Decimal(precision, scale), _) => decimal(Decimal::from_bytes(value.clone(), precision, scale), row),
        (Meaning::Text, _) => {
            if let Err(error) = std::str::from_utf8(bytes) {
                row.invalid.get_or_insert(error.valid_up_to());
            }
            json_string(&String::from_utf8_lossy(bytes), &mut row.json);
        }
        (Meaning::Uuid, 16) => {
            row.json.push(b'"');
            for (at, byte) in bytes.iter().enumerate() {
                row.put(format_args!("{}{byte:02x}", if [4, 6, 8, 10].contains(&at) { "-" } else { "" }));
            }
            row.json.push(b'"');
        }
        (Meaning::Half, 2) => {
            let value = half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
            (float())(&value, row);
        }
        (Meaning::Interval, 12) => {
            let part = |at| u32::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
            let (months, days, millis) = (part(0), part(4), part(8));
            row.put(format_args!("\"P{months}M{days}DT{}.{:03}S\"", millis / 1_000, millis % 1_000));
        }
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => json_string(text, &mut row.json),
            Err(_) => json_string(&BASE64_STANDARD.encode(bytes), &mut row.json),
        },
    }
}
