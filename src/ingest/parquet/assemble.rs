//! From the entries of columns back to rows: the way of Dremel, whose levels say what is null, empty or repeated.

use super::column::Column;
use super::value::Row;
use crate::ingest::rows::{json_string, unique};
use crate::record::json::DEEPEST;
use ::parquet::basic::{ConvertedType, LogicalType, Repetition};
use ::parquet::errors::{ParquetError, Result};
use ::parquet::schema::types::Type;
use std::ops::Range;

/// A part of the schema.
pub(super) struct Node {
    kind: Kind,
    /// The definition level of entries in which it is there; below it, it is null.
    definition: i16,
    nullable: bool,
    /// Its columns.
    leaves: Range<usize>,
}

enum Kind {
    Value,
    /// Members, each with its name as JSON and a colon.
    Group(Vec<(Vec<u8>, Node)>),
    /// Elements, each of which begins an entry of this repetition level or, if it is the first, of a lower one.
    List(i16, Box<Node>),
    Map(i16, Box<Node>, Box<Node>),
}

/// Where in the schema a part stands: the levels of what is around it, its depth, and the columns before it.
#[derive(Clone, Copy)]
struct Spot {
    definition: i16,
    repetition: i16,
    depth: usize,
    leaf: usize,
}

impl Node {
    pub fn of_schema(root: &Type) -> Result<Self> {
        let node = Node::contents(root, Spot { definition: 0, repetition: 0, depth: 1, leaf: 0 }, false)?;
        match node.leaves.is_empty() {
            true => Err(ParquetError::General("it has no columns".into())),
            false => Ok(node),
        }
    }

    fn of(part: &Type, spot: Spot) -> Result<Self> {
        let info = part.get_basic_info();
        match info.has_repetition().then(|| info.repetition()) {
            Some(Repetition::OPTIONAL) => Node::contents(part, Spot { definition: spot.definition + 1, ..spot }, true),
            Some(Repetition::REPEATED) => Node::list(spot, false, |inside| Node::contents(part, inside, false)),
            _ => Node::contents(part, spot, false),
        }
    }

    /// What is there where the part is not null.
    fn contents(part: &Type, spot: Spot, nullable: bool) -> Result<Self> {
        if spot.depth > DEEPEST {
            return Err(ParquetError::General(format!("it is nested deeper than {DEEPEST} levels")));
        }
        if part.is_primitive() {
            let leaves = spot.leaf..spot.leaf + 1;
            return Ok(Node { kind: Kind::Value, definition: spot.definition, nullable, leaves });
        }
        match (wraps(part), repeated_child(part)) {
            (Some(Wraps::List), Some(child)) if is_element(part, child) => {
                Node::list(spot, nullable, |inside| Node::contents(child, inside, false))
            }
            (Some(Wraps::List), Some(child)) => {
                Node::list(spot, nullable, |inside| Node::of(&child.get_fields()[0], inside))
            }
            (Some(Wraps::Map), Some(child)) if child.is_group() => match child.get_fields() {
                [key] => Node::list(spot, nullable, |inside| Node::of(key, inside)),
                [key, value] => Node::map(spot, nullable, key, value),
                _ => Node::group(part, spot, nullable),
            },
            _ => Node::group(part, spot, nullable),
        }
    }

    fn group(part: &Type, spot: Spot, nullable: bool) -> Result<Self> {
        let mut inside = Spot { depth: spot.depth + 1, ..spot };
        let names = unique(part.get_fields().iter().map(|field| field.name().to_string()));
        let mut members = Vec::new();
        for (field, name) in part.get_fields().iter().zip(names) {
            let member = Node::of(field, inside)?;
            inside.leaf = member.leaves.end;
            let mut key = Vec::new();
            json_string(&name, &mut key);
            key.push(b':');
            members.push((key, member));
        }
        let leaves = spot.leaf..inside.leaf;
        Ok(Node { kind: Kind::Group(members), definition: spot.definition, nullable, leaves })
    }

    fn list(spot: Spot, nullable: bool, element: impl FnOnce(Spot) -> Result<Node>) -> Result<Self> {
        let inside = spot.repeated();
        let element = element(inside)?;
        let leaves = element.leaves.clone();
        let kind = Kind::List(inside.repetition, Box::new(element));
        Ok(Node { kind, definition: spot.definition, nullable, leaves })
    }

    fn map(spot: Spot, nullable: bool, key: &Type, value: &Type) -> Result<Self> {
        let inside = spot.repeated();
        let key = Node::of(key, inside)?;
        let value = Node::of(value, Spot { leaf: key.leaves.end, ..inside })?;
        let leaves = spot.leaf..value.leaves.end;
        let kind = Kind::Map(inside.repetition, Box::new(key), Box::new(value));
        Ok(Node { kind, definition: spot.definition, nullable, leaves })
    }

    /// Takes the part's next entries and writes it as JSON.
    pub fn write(&self, columns: &mut [Box<dyn Column>], row: &mut Row) -> Result<()> {
        let Some(first) = self.leaves.clone().next() else {
            row.json.extend_from_slice(b"{}");
            return Ok(());
        };
        let (definition, _) = columns[first].peek()?;
        if self.nullable && definition < self.definition {
            row.json.extend_from_slice(b"null");
            return self.skip(columns);
        }
        match &self.kind {
            Kind::Value => columns[first].take(row),
            Kind::Group(members) => write_group(members, columns, row),
            Kind::List(_, _) | Kind::Map(..) if definition <= self.definition => {
                row.json.extend_from_slice(if matches!(self.kind, Kind::Map(..)) { b"{}" } else { b"[]" });
                self.skip(columns)
            }
            Kind::List(level, element) => {
                row.json.push(b'[');
                element.write(columns, row)?;
                while columns[first].continues()? >= *level {
                    row.json.push(b',');
                    element.write(columns, row)?;
                }
                row.json.push(b']');
                Ok(())
            }
            Kind::Map(level, key, value) => write_map(first, *level, key, value, columns, row),
        }
    }

    /// Something that is null or empty is one entry in each of its columns.
    fn skip(&self, columns: &mut [Box<dyn Column>]) -> Result<()> {
        columns[self.leaves.clone()].iter_mut().try_for_each(|column| column.skip())
    }
}

impl Spot {
    /// Inside of a list that stands here.
    fn repeated(self) -> Self {
        Spot { definition: self.definition + 1, repetition: self.repetition + 1, depth: self.depth + 1, ..self }
    }
}

fn write_group(members: &[(Vec<u8>, Node)], columns: &mut [Box<dyn Column>], row: &mut Row) -> Result<()> {
    row.json.push(b'{');
    for (number, (key, member)) in members.iter().enumerate() {
        if number > 0 {
            row.json.push(b',');
        }
        row.json.extend_from_slice(key);
        member.write(columns, row)?;
    }
    row.json.push(b'}');
    Ok(())
}

/// A map is an object; a key that is no string becomes one, and one that is there twice gets `_2`.
fn write_map(
    first: usize,
    level: i16,
    key: &Node,
    value: &Node,
    columns: &mut [Box<dyn Column>],
    row: &mut Row,
) -> Result<()> {
    let begin = row.json.len();
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    loop {
        key.write(columns, row)?;
        let text = row.json.split_off(begin);
        keys.push(serde_json::from_slice(&text).unwrap_or_else(|_| String::from_utf8_lossy(&text).into_owned()));
        value.write(columns, row)?;
        values.push(row.json.split_off(begin));
        if columns[first].continues()? < level {
            break;
        }
    }
    for (number, (key, value)) in unique(keys.into_iter()).iter().zip(values).enumerate() {
        row.json.push(if number == 0 { b'{' } else { b',' });
        json_string(key, &mut row.json);
        row.json.push(b':');
        row.json.extend_from_slice(&value);
    }
    row.json.push(b'}');
    Ok(())
}

enum Wraps {
    List,
    Map,
}

/// What a group stands for.
fn wraps(group: &Type) -> Option<Wraps> {
    let info = group.get_basic_info();
    match (info.logical_type_ref(), info.converted_type()) {
        (Some(LogicalType::List), _) | (None, ConvertedType::LIST) => Some(Wraps::List),
        (Some(LogicalType::Map), _) | (None, ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE) => Some(Wraps::Map),
        _ => None,
    }
}

fn repeated_child(group: &Type) -> Option<&Type> {
    match group.get_fields() {
        [child] if is_repeated(child) => Some(child),
        _ => None,
    }
}

fn is_repeated(part: &Type) -> bool {
    part.get_basic_info().has_repetition() && part.get_basic_info().repetition() == Repetition::REPEATED
}

/// Whether the repeated part of a list is its element itself, as in files of before the rules of Parquet, and not a group around it.
fn is_element(list: &Type, child: &Type) -> bool {
    if child.is_primitive() {
        return true;
    }
    match child.get_fields() {
        [inner] => {
            let old = child.name() == "array" || child.name() == format!("{}_tuple", list.name());
            old || is_repeated(inner) || wraps(child).is_some()
        }
        _ => true,
    }
}
