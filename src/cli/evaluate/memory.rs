//! What the model itself reveals of its training records: the loss by path, and how well it knows planted canaries.

use super::reader::{Reader, each_record};
use logwright::Result;
use logwright::dataset::{Canaries, Canary, Dataset};
use logwright::fidelity::language::{ByPath, by_path};
use logwright::fidelity::privacy::exposure;
use logwright::fidelity::{IndexRng, Reservoir};
use logwright::record::schema::Profile;
use logwright::report::evaluation::Exposed;
use logwright::score::{add_costs, surprisals};
use std::collections::BTreeMap;

/// Alternative secrets drawn for each canary: an exposure of at most log2 (n + 1), 10 bits, can be measured.
pub const ALTERNATIVES: usize = 1023;

/// The loss on the values at random paths, and on everything else, over at most `sample` validation records; None where the
/// records are not JSON.
pub fn loss_by_path(reader: &mut Reader, data: &Dataset, sample: usize, seed: u64) -> Result<Option<ByPath>> {
    let mut profile = Profile::default();
    each_record(data, &data.train, &mut |record| profile.observe(record))?;
    if profile.records() == 0 {
        return Ok(None);
    }
    let mut validation = Reservoir::new(sample, seed);
    each_record(data, &data.val, &mut |record| validation.offer(|| record.to_vec()))?;
    let (mut sums, tokenizer) = (BTreeMap::new(), reader.tokenizer);
    reader.each("validation records", &validation.into_sample(), &mut |measured| {
        measured.iter().for_each(|measured| add_costs(&mut sums, measured, tokenizer));
    })?;
    Ok(Some(by_path(&sums, &profile.random_paths())))
}

/// How well the model knows the canaries that `prepare --canaries` planted in the data.
pub fn canaries(reader: &mut Reader, planted: &Canaries, seed: u64) -> Result<Vec<Exposed>> {
    let Canaries { canaries, .. } = planted;
    tracing::info!("{} canaries, each compared with {ALTERNATIVES} records that have another secret", canaries.len());
    let mut draws = IndexRng::new(seed);
    let exposed = |canary: &Canary| {
        let others = (0..ALTERNATIVES).map(|_| canary.with(&secret(canary, &mut draws)));
        let texts: Vec<String> = std::iter::once(canary.text()).chain(others).collect();
        let records: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
        let found = surprisals(reader.engine, reader.tokenizer, &records, reader.batch)?;
        reader.progress.inc(records.len() as u64);
        let nats = found.into_iter().map(|one| Ok(one?.total())).collect::<Result<Vec<f64>>>()?;
        Ok(Exposed { repeats: canary.repeats, bits: canary.bits(), exposure: exposure(nats[0], &nats[1..]) })
    };
    canaries.iter().map(exposed).collect()
}

fn secret(canary: &Canary, draws: &mut IndexRng) -> String {
    let alphabet: Vec<char> = canary.alphabet.chars().collect();
    (0..canary.length).map(|_| alphabet[draws.below(alphabet.len())]).collect()
}
