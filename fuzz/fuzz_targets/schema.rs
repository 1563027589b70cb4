//! Lines as training records: the grammar of the schema that they teach reads each of them, the schema finds no fault in them, and
//! it is the same whenever it is learnt and after it was saved.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logwright::record::json_tree::Json;
use logwright::record::schema::Profile;
use logwright::record::{Form, Records, RecordsBuilder};
use logwright::sample::{Constraint, GrammarCompiler};
use logwright::tokens::Tokenizer;
use std::sync::{Arc, LazyLock};

static COMPILER: LazyLock<GrammarCompiler> =
    LazyLock::new(|| GrammarCompiler::new(&Tokenizer::bytes(), 256, false).expect("bytes are a vocabulary"));

fn learn(records: &[&[u8]]) -> Records {
    let mut builder = RecordsBuilder::new(Form::Json, &[]);
    records.iter().for_each(|record| builder.observe(record));
    builder.finish()
}

/// The first byte says how often the lines are repeated: categories close, and names become required, after many records.
fuzz_target!(|data: &[u8]| {
    let [times, text @ ..] = data else { return };
    let lines = text.split(|&byte| byte == b'\n');
    let is_promised = |line: &&[u8]| Json::of_record(line).is_some_and(|tree| tree.doubled_name(line).is_none());
    let lines: Vec<&[u8]> = lines.filter(is_promised).take(16).collect();
    if lines.is_empty() {
        return;
    }
    let corpus: Vec<&[u8]> = lines.iter().copied().cycle().take(lines.len() * (1 + usize::from(times % 40))).collect();
    let records = learn(&corpus);
    assert_eq!(learn(&corpus), records);
    let saved = serde_json::to_string(&records).expect("it can be saved");
    assert_eq!(serde_json::from_str::<Records>(&saved).expect("it can be loaded"), records);
    let mut profile = Profile::default();
    corpus.iter().for_each(|record| profile.observe(record));
    let constraint = COMPILER.learnt(&records, "records.json", &[]).expect("what is learnt is a grammar");
    let constraint = Arc::new(constraint);
    for line in lines {
        assert_eq!(profile.check(line), [], "{}", String::from_utf8_lossy(line));
        assert!(reads(&constraint, line), "{}", String::from_utf8_lossy(line));
    }
});

/// Whether the grammar reads the record to its end.
fn reads(constraint: &Arc<Constraint>, record: &[u8]) -> bool {
    let mut guide = constraint.guide();
    record.iter().all(|&byte| guide.consume(byte.into(), &[byte]).is_ok())
        && guide.allowed().is_ok_and(|allowed| allowed[0] >> b'\n' & 1 == 1)
        && guide.confirm(record).is_ok()
}
