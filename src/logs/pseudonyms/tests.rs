//! The whole way of a record.

use super::*;

fn settled(records: &[&str]) -> Pseudonyms {
    let mut pseudonyms = Pseudonyms::new(Key::new(&[6; 32]), Rules::load(None).unwrap());
    records.iter().for_each(|record| pseudonyms.learn(record.as_bytes()));
    pseudonyms.settle().unwrap();
    pseudonyms
}

fn rewritten(pseudonyms: &mut Pseudonyms, record: &str) -> String {
    let mut out = Vec::new();
    pseudonyms.rewrite(record.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}
