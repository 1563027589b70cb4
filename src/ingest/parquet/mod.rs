//! Parquet: each row is a record, a JSON object of its columns.
//!
//! The end of such a file says where its columns lie, so what cannot seek (a pipe, a compressed file) is copied into a temporary
//! file first. Rows come from all columns at once, page by page, so a row group may be of any size.

mod assemble;
mod column;
mod guard;
#[cfg(test)]
mod tests;
mod value;

use self::assemble::Node;
use self::column::Column;
use self::guard::guarded;
use self::value::Row;
use super::collect::{Collector, Place};
use super::window::Window;
use crate::files::temporary;
use crate::{Error, Result};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Reads every row of every row group.
pub(super) fn read(window: &mut Window, file: Option<&Path>, out: &mut Collector) -> Result<()> {
    let file = match file {
        Some(path) => File::open(path).map_err(|e| Error::io("open", path, e))?,
        None => copy(window, out)?,
    };
    let mut rows = 0;
    let reader = guarded(|| SerializedFileReader::new(file)).map_err(|e| damaged(out, rows, &e))?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let tree = Node::of_schema(schema.root_schema()).map_err(|e| damaged(out, rows, &e))?;
    for number in 0..reader.num_row_groups() {
        let group = guarded(|| reader.get_row_group(number)).map_err(|e| damaged(out, rows, &e))?;
        read_group(&tree, &*group, &mut rows, out)?;
    }
    Ok(())
}

fn read_group(tree: &Node, group: &dyn RowGroupReader, rows: &mut u64, out: &mut Collector) -> Result<()> {
    let columns = (0..group.num_columns()).map(|number| guarded(|| column::open(group, number)));
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>();
    let mut columns: Vec<Box<dyn Column>> = columns.map_err(|e| damaged(out, *rows, &e))?;
    let mut row = Row::default();
    for _ in 0..group.metadata().num_rows() {
        *rows += 1;
        row.clear();
        tree.write(&mut columns, &mut row).map_err(|e| damaged(out, *rows, &e))?;
        debug_assert_eq!(crate::record::object_fault(&row.json), None);
        if row.json.len() > out.options.max_record_bytes {
            out.too_long(*rows, &row.json)?;
            continue;
        }
        if let Some(at) = row.invalid {
            if out.options.require_utf8 {
                return Err(out.not_utf8(*rows, at, "string"));
            }
            out.report.lossy_rows += 1;
        }
        out.record(&row.json, Place { line: *rows, column: 1, end: None })?;
    }
    Ok(())
}

/// The rest of a stream as a file that can seek.
fn copy(window: &mut Window, out: &Collector) -> Result<File> {
    let folder = std::env::temp_dir();
    let failed = |e| {
        let (name, folder) = (&out.source.name, folder.display());
        Error::failed(format!(
            "{name}: Parquet is read from its end, so a pipe or a compressed file is copied into {folder} first, which failed \
             ({e}); unpack it and name the file, or set TMPDIR to a folder with room"
        ))
    };
    let mut file = temporary(&folder)?;
    loop {
        file.write_all(window.bytes()).map_err(failed)?;
        window.advance(window.bytes().len());
        if !window.fill().map_err(|e| out.read_error(1, e))? {
            return Ok(file);
        }
    }
}

fn damaged(out: &Collector, row: u64, error: &ParquetError) -> Error {
    let (name, row, read) = (&out.source.name, row.max(1), out.source.records);
    Error::failed(format!(
        "{name}: cannot read row {row} of this Parquet file ({read} records read so far): it is truncated or damaged, or uses what \
         logwright does not know ({error}); fetch it again, or try another reader: duckdb -jsonlines -c \"FROM '{name}'\""
    ))
}
