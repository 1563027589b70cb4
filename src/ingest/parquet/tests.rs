//! Files that the crate's own writer makes, and damaged ones.

use crate::ingest::tests::read_with;
use crate::ingest::{InputFormat, ReadOptions};
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, FloatType,
    Int32Type, Int64Type, Int96, Int96Type,
};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::parser::parse_message_type;
use std::io::Write;
use std::sync::Arc;

type Group<'a> = SerializedRowGroupWriter<'a, Vec<u8>>;

/// A file with these row groups.
fn file(schema: &str, compression: Compression, groups: &[&dyn Fn(&mut Group)]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(&format!("message m {{ {schema} }}")).unwrap());
    let properties = WriterProperties::builder().set_compression(compression).set_data_page_row_count_limit(100);
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build())).unwrap();
    for fill in groups {
        let mut group = writer.next_row_group().unwrap();
        fill(&mut group);
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

/// Writes the next column: its values and, where it has them, the levels of its entries.
fn column<T: DataType>(group: &mut Group, values: &[T::T], definitions: &[i16], repetitions: &[i16]) {
    let mut column = group.next_column().unwrap().expect("the schema has this column");
    let [definitions, repetitions] = [definitions, repetitions].map(|levels| Some(levels).filter(|l| !l.is_empty()));
    column.typed::<T>().write_batch(values, definitions, repetitions).unwrap();
    column.close().unwrap();
}

fn texts(values: &[&str]) -> Vec<ByteArray> {
    values.iter().map(|&text| ByteArray::from(text)).collect()
}

fn rows(bytes: &[u8]) -> Vec<String> {
    let (records, report) = read_with(bytes, &ReadOptions::default()).unwrap();
    assert_eq!(report.sources[0].format, InputFormat::Parquet);
    records.into_iter().map(|record| String::from_utf8(record).unwrap()).collect()
}

/// A row of one value.
#[track_caller]
fn check<T: DataType>(kind: &str, value: T::T, want: &str) {
    let bytes = file(
        &format!("required {kind}"),
        Compression::UNCOMPRESSED,
        &[&|group| {
            column::<T>(group, std::slice::from_ref(&value), &[], &[]);
        }],
    );
    assert_eq!(rows(&bytes), [format!("{{\"a\":{want}}}")], "{kind}");
}

#[test]
fn numbers_keep_all_their_digits() {
    check::<BoolType>("boolean a;", true, "true");
    check::<Int32Type>("int32 a;", i32::MIN, "-2147483648");
    check::<Int32Type>("int32 a (INTEGER(32,false));", -1, "4294967295");
    check::<Int64Type>("int64 a (UINT_64);", -1, "18446744073709551615");
    check::<FloatType>("float a;", 0.1, "0.1");
    check::<DoubleType>("double a;", 1e-7, "1e-7");
    check::<DoubleType>("double a;", f64::NAN, "\"NaN\"");
    check::<FloatType>("float a;", f32::NEG_INFINITY, "\"-inf\"");
    check::<Int32Type>("int32 a (DECIMAL(9,2));", -5, "-0.05");
    check::<Int64Type>("int64 a (DECIMAL(18,0));", 1_234, "1234");
    check::<Int64Type>("int64 a (DECIMAL(18,3));", 1_234_500, "1234.500");
    let wide = [&[1][..], &[0; 20]].concat();
    let digits = "1461501637330902918203684832716283019655932542.976";
    check::<ByteArrayType>("binary a (DECIMAL(60,3));", ByteArray::from(wide), digits);
    let half = FixedLenByteArray::from(vec![0, 0x3e]);
    check::<FixedLenByteArrayType>("fixed_len_byte_array(2) a (FLOAT16);", half, "1.5");
}

#[test]
fn times_are_rfc_3339() {
    check::<Int32Type>("int32 a (DATE);", -1, "\"1969-12-31\"");
    check::<Int32Type>("int32 a (TIME(MILLIS,true));", 86_399_999, "\"23:59:59.999\"");
    check::<Int32Type>("int32 a (TIME(MILLIS,true));", 86_400_000, "86400000");
    check::<Int64Type>("int64 a (TIMESTAMP(MILLIS,true));", 1_700_000_000_123, "\"2023-11-14T22:13:20.123Z\"");
    check::<Int64Type>("int64 a (TIMESTAMP(MICROS,false));", -1, "\"1969-12-31T23:59:59.999999\"");
    check::<Int64Type>("int64 a (TIMESTAMP(NANOS,true));", 1, "\"1970-01-01T00:00:00.000000001Z\"");
    check::<Int64Type>("int64 a (TIMESTAMP(MILLIS,true));", i64::MAX, "9223372036854775807");
    check::<Int64Type>("int64 a (TIMESTAMP_MICROS);", 0, "\"1970-01-01T00:00:00.000000Z\"");
    let mut old = Int96::new();
    old.set_data(5, 0, 2_440_589);
    check::<Int96Type>("int96 a;", old, "\"1970-01-02T00:00:00.000000005\"");
    let interval = FixedLenByteArray::from(vec![1, 0, 0, 0, 2, 0, 0, 0, 0xdc, 5, 0, 0]);
    check::<FixedLenByteArrayType>("fixed_len_byte_array(12) a (INTERVAL);", interval, "\"P1M2DT1.500S\"");
}

#[test]
fn bytes_are_text_or_base64() {
    check::<ByteArrayType>("binary a (UTF8);", ByteArray::from("a \"b\"\n\u{e9}"), "\"a \\\"b\\\"\\n\u{e9}\"");
    check::<ByteArrayType>("binary a;", ByteArray::from("GET /"), "\"GET /\"");
    check::<ByteArrayType>("binary a;", ByteArray::from(vec![0xff, 0xfe, 0xfd, 0xfc]), "\"//79/A==\"");
    let id: Vec<u8> = (0..16).collect();
    let want = "\"00010203-0405-0607-0809-0a0b0c0d0e0f\"";
    check::<FixedLenByteArrayType>("fixed_len_byte_array(16) a (UUID);", FixedLenByteArray::from(id), want);
    let bytes = file(
        "required binary a (UTF8);",
        Compression::UNCOMPRESSED,
        &[&|group| {
            column::<ByteArrayType>(group, &[ByteArray::from(vec![b'x', 0xff])], &[], &[]);
        }],
    );
    let (records, report) = read_with(&bytes, &ReadOptions::default()).unwrap();
    assert_eq!((records[0].as_slice(), report.lossy_rows), ("{\"a\":\"x\u{fffd}\"}".as_bytes(), 1));
    let utf8 = ReadOptions { require_utf8: true, ..Default::default() };
    let message = read_with(&bytes, &utf8).unwrap_err().to_string();
    assert!(message.contains(":1: byte 2 of a string is not valid UTF-8"), "{message}");
}

/// The example of the paper on Dremel, with the levels that it states.
#[test]
fn repeated_groups_come_back() {
    let schema = "required int64 DocId; optional group Links { repeated int64 Backward; repeated int64 Forward; } \
        repeated group Name { repeated group Language { required binary Code (UTF8); optional binary Country (UTF8); } \
        optional binary Url (UTF8); }";
    let bytes = file(
        schema,
        Compression::SNAPPY,
        &[&|group| {
            column::<Int64Type>(group, &[10, 20], &[], &[]);
            column::<Int64Type>(group, &[10, 30], &[1, 2, 2], &[0, 0, 1]);
            column::<Int64Type>(group, &[20, 40, 60, 80], &[2, 2, 2, 2], &[0, 1, 1, 0]);
            column::<ByteArrayType>(group, &texts(&["en-us", "en", "en-gb"]), &[2, 2, 1, 2, 1], &[0, 2, 1, 1, 0]);
            column::<ByteArrayType>(group, &texts(&["us", "gb"]), &[3, 2, 1, 3, 1], &[0, 2, 1, 1, 0]);
            column::<ByteArrayType>(group, &texts(&["http://A", "http://B", "http://C"]), &[2, 2, 1, 2], &[0, 1, 1, 0]);
        }],
    );
    let first = r#"{"DocId":10,"Links":{"Backward":[],"Forward":[20,40,60]},"Name":[{"Language":[{"Code":"en-us","Country":"us"},{"Code":"en","Country":null}],"Url":"http://A"},{"Language":[],"Url":"http://B"},{"Language":[{"Code":"en-gb","Country":"gb"}],"Url":null}]}"#;
    let second =
        r#"{"DocId":20,"Links":{"Backward":[10,30],"Forward":[80]},"Name":[{"Language":[],"Url":"http://C"}]}"#;
    assert_eq!(rows(&bytes), [first, second]);
}

#[test]
fn lists_and_maps_of_every_kind() {
    let schema = "optional group l (LIST) { repeated group list { optional int32 element; } } \
        optional group old (LIST) { repeated int32 array; } \
        optional group pairs (LIST) { repeated group array { required int32 x; } } \
        optional group m (MAP) { repeated group key_value { required binary key (UTF8); optional int32 value; } } \
        required group set (MAP) { repeated group key_value { required int32 key; } }";
    let bytes = file(
        schema,
        Compression::GZIP(Default::default()),
        &[&|group| {
            // [1, null], [], null
            column::<Int32Type>(group, &[1], &[3, 2, 1, 0], &[0, 1, 0, 0]);
            column::<Int32Type>(group, &[1, 2], &[2, 2, 1, 0], &[0, 1, 0, 0]);
            column::<Int32Type>(group, &[1, 2], &[2, 2, 1, 0], &[0, 1, 0, 0]);
            // A key that is there twice.
            column::<ByteArrayType>(group, &texts(&["k", "k"]), &[2, 2, 1, 0], &[0, 1, 0, 0]);
            column::<Int32Type>(group, &[7], &[3, 2, 1, 0], &[0, 1, 0, 0]);
            column::<Int32Type>(group, &[4, 5, 6], &[1, 1, 0, 1], &[0, 1, 0, 0]);
        }],
    );
    let want = [
        r#"{"l":[1,null],"old":[1,2],"pairs":[{"x":1},{"x":2}],"m":{"k":7,"k_2":null},"set":[4,5]}"#,
        r#"{"l":[],"old":[],"pairs":[],"m":{},"set":[]}"#,
        r#"{"l":null,"old":null,"pairs":null,"m":null,"set":[6]}"#,
    ];
    assert_eq!(rows(&bytes), want);
}

/// Three row groups of more rows than are read at once, with a column name that is there twice.
fn long() -> Vec<u8> {
    let schema = "required int32 a; optional binary a (UTF8);";
    let fill = |group: &mut Group| {
        column::<Int32Type>(group, &(0..700).collect::<Vec<_>>(), &[], &[]);
        let definitions: Vec<i16> = (0..700).map(|row| i16::from(row % 3 == 0)).collect();
        column::<ByteArrayType>(group, &texts(&["x"; 234]), &definitions, &[]);
    };
    file(schema, Compression::ZSTD(ZstdLevel::default()), &[&fill, &fill, &fill])
}

#[test]
fn rows_of_all_groups_are_records() {
    let all = rows(&long());
    assert_eq!(all.len(), 2100);
    assert_eq!([&all[0], &all[2099]], ["{\"a\":0,\"a_2\":\"x\"}", "{\"a\":699,\"a_2\":\"x\"}"]);
    assert_eq!(all[1], "{\"a\":1,\"a_2\":null}");
    // What cannot seek is copied first.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&long()).unwrap();
    assert_eq!(rows(&packed.finish().unwrap()), all);
    let small = ReadOptions { max_record_bytes: 15, ..Default::default() };
    let message = read_with(&long(), &small).unwrap_err().to_string();
    assert!(message.contains(":1: a record longer than 15 bytes"), "{message}");
}

#[test]
fn a_file_without_rows_has_no_records() {
    let message = read_with(&file("required int32 a;", Compression::UNCOMPRESSED, &[]), &ReadOptions::default());
    assert!(message.unwrap_err().to_string().contains("no complete record"));
}

#[test]
fn damage_is_an_error_that_names_the_file() {
    let whole = long();
    for length in (4..whole.len()).step_by(whole.len() / 60) {
        let message = read_with(&whole[..length], &ReadOptions::default()).unwrap_err().to_string();
        assert!(message.contains("Parquet file") && message.contains("truncated or damaged"), "{length}: {message}");
    }
    let message = read_with(&[&whole[..400], &whole[500..]].concat(), &ReadOptions::default()).unwrap_err();
    assert!(message.to_string().contains("truncated or damaged"), "{message}");
    // Other bytes may do no harm; but nothing panics.
    for at in 4..whole.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= mask;
            let _ = read_with(&bytes, &ReadOptions::default());
        }
    }
}
