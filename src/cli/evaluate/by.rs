//! `evaluate --by`: whether the detector treats users, countries or departments alike.

use clap::Args;
use logwright::detect::groups::{self, Division};
use logwright::record::fields;
use logwright::{Error, Result};

#[derive(Args)]
pub struct ByArgs {
    /// Compare false-positive rate and recall between the values of this field of the labelled records, each with the rest, and
    /// flag differences beyond chance; repeatable
    #[arg(long, value_name = "PATH", requires = "labelling")]
    by: Vec<String>,
}

impl ByArgs {
    /// The values of the labelled records at each path, as the model sees them (pseudonyms where names are replaced).
    ///
    /// # Errors
    /// A path that no record has.
    pub fn values(&self, records: &[Vec<u8>]) -> Result<Vec<Vec<Option<String>>>> {
        self.by.iter().map(|path| values_at(path, records)).collect()
    }

    /// How a detector that called the records above `threshold` anomalies treats the groups of each path.
    pub fn divide(
        &self,
        values: &[Vec<Option<String>>],
        scores: &[f64],
        attacks: &[bool],
        threshold: f64,
    ) -> Vec<Division> {
        let called: Vec<bool> = scores.iter().map(|&score| score > threshold).collect();
        self.by.iter().zip(values).map(|(path, values)| groups::divide(path, values, &called, attacks)).collect()
    }
}

fn values_at(path: &str, records: &[Vec<u8>]) -> Result<Vec<Option<String>>> {
    let values: Vec<Option<String>> = records.iter().map(|record| value_at(path, record)).collect();
    if values.iter().any(Option::is_some) {
        return Ok(values);
    }
    let known = records.iter().find_map(|record| fields::leaves(record)).unwrap_or_default();
    let known: Vec<String> = known.into_iter().map(|leaf| leaf.path).collect();
    let found = match known.is_empty() {
        true => "they are not JSON, so they have no paths".to_string(),
        false => format!("the first one has {}", known.join(", ")),
    };
    Err(Error::failed(format!(
        "--by {path}: none of the labelled records has a value there; expected the JSON path of a field, as in a.b: {found}"
    )))
}

/// The value of a record; several values at one path (of an array) are a value of their own, in their order.
fn value_at(path: &str, record: &[u8]) -> Option<String> {
    let leaves = fields::leaves(record)?;
    let values: Vec<String> = leaves.iter().filter(|leaf| leaf.path == path).map(|leaf| leaf.value()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}
