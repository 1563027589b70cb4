//! The entries of one leaf column of a row group, in batches.

use super::guard::guarded;
use super::value::{self, Row};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::DataType;
use ::parquet::errors::{ParquetError, Result};
use ::parquet::file::reader::RowGroupReader;
use ::parquet::schema::types::ColumnDescPtr;

/// The records of which the entries are read at once.
const BATCH: usize = 256;

/// An entry has a value or stands for something that is null or empty further up; its definition level says how much of its path
/// is there, its repetition level which list it continues.
pub(super) trait Column {
    /// The definition and the repetition level of the next entry.
    fn peek(&mut self) -> Result<(i16, i16)>;
    /// The repetition level of the next entry; 0 at the end.
    fn continues(&mut self) -> Result<i16>;
    /// Passes over the next entry.
    fn skip(&mut self) -> Result<()>;
    /// Takes the next entry and writes its value, `null` if it has none.
    fn take(&mut self, row: &mut Row) -> Result<()>;
}

struct Typed<T: DataType> {
    reader: ColumnReaderImpl<T>,
    description: ColumnDescPtr,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
    values: Vec<T::T>,
    /// The entries of the batch, how many of them were taken, and how many of their values.
    entries: usize,
    taken: usize,
    values_taken: usize,
    write: value::Write<T::T>,
}

/// The column of a row group with this number.
pub(super) fn open(group: &dyn RowGroupReader, number: usize) -> Result<Box<dyn Column>> {
    let d = group.metadata().column(number).column_descr_ptr();
    Ok(match group.get_column_reader(number)? {
        ColumnReader::BoolColumnReader(reader) => Typed::boxed(reader, value::boolean(), d),
        ColumnReader::Int32ColumnReader(reader) => Typed::boxed(reader, value::int32(&d), d),
        ColumnReader::Int64ColumnReader(reader) => Typed::boxed(reader, value::int64(&d), d),
        ColumnReader::Int96ColumnReader(reader) => Typed::boxed(reader, value::int96(), d),
        ColumnReader::FloatColumnReader(reader) => Typed::boxed(reader, value::float(), d),
        ColumnReader::DoubleColumnReader(reader) => Typed::boxed(reader, value::double(), d),
        ColumnReader::ByteArrayColumnReader(reader) => Typed::boxed(reader, value::bytes(&d), d),
        ColumnReader::FixedLenByteArrayColumnReader(reader) => Typed::boxed(reader, value::fixed(&d), d),
    })
}

impl<T: DataType> Typed<T> {
    fn boxed(reader: ColumnReaderImpl<T>, write: value::Write<T::T>, description: ColumnDescPtr) -> Box<dyn Column>
    where
        ColumnReaderImpl<T>: 'static,
    {
        let (definitions, repetitions, values) = (Vec::new(), Vec::new(), Vec::new());
        let (entries, taken, values_taken) = (0, 0, 0);
        Box::new(Typed { reader, description, definitions, repetitions, values, entries, taken, values_taken, write })
    }

    /// Reads a batch where the last one is taken; false at the end.
    fn fill(&mut self) -> Result<bool> {
        if self.taken < self.entries {
            return Ok(true);
        }
        self.definitions.clear();
        self.repetitions.clear();
        self.values.clear();
        let levels = (Some(&mut self.definitions), Some(&mut self.repetitions));
        let (_, _, entries) = guarded(|| self.reader.read_records(BATCH, levels.0, levels.1, &mut self.values))?;
        (self.entries, self.taken, self.values_taken) = (entries, 0, 0);
        Ok(entries > 0)
    }

    fn definition(&self) -> i16 {
        // A column that is always there has no levels.
        self.definitions.get(self.taken).copied().unwrap_or(self.description.max_def_level())
    }
}

impl<T: DataType> Column for Typed<T> {
    fn peek(&mut self) -> Result<(i16, i16)> {
        if !self.fill()? {
            let path = self.description.path();
            return Err(ParquetError::General(format!("column {path} has fewer values than the row group has rows")));
        }
        Ok((self.definition(), self.repetitions.get(self.taken).copied().unwrap_or(0)))
    }

    fn continues(&mut self) -> Result<i16> {
        Ok(if self.fill()? { self.peek()?.1 } else { 0 })
    }

    fn skip(&mut self) -> Result<()> {
        let (definition, _) = self.peek()?;
        self.values_taken += usize::from(definition == self.description.max_def_level());
        self.taken += 1;
        Ok(())
    }

    fn take(&mut self, row: &mut Row) -> Result<()> {
        let (definition, _) = self.peek()?;
        match self.values.get(self.values_taken) {
            Some(value) if definition == self.description.max_def_level() => (self.write)(value, row),
            _ => row.json.extend_from_slice(b"null"),
        }
        self.skip()
    }
}
