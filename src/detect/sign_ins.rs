//! The baselines on the built-in log source: JSON records from bytes to the table.

use super::{Normal, Observed, Samples, baselines, by_kind};
use crate::synth::{SignIns, SynthSettings};

/// 2,000 records with 101 of attacks, thresholds for 1 % false positives. Intruders come by networks and with browsers
/// that users have, so no value is enough; the distance to the nearest record of training notices most of them, since a
/// sign-in abroad differs from the user's own in address, network and place at once:
///
/// | baseline | F1 | AUROC | AUPRC | best F1 |
/// |---|---|---|---|---|
/// | unseen events | .196 | .763 | .380 | .553 |
/// | unseen count vector | .000 | .531 | .054 | .102 |
/// | distance of count vectors | .909 | .997 | .943 | .909 |
/// | 2-gram maximum surprisal | .000 | .895 | .292 | .439 |
/// | values never seen | .196 | .763 | | |
/// | pairs never seen | .873 | .996 | | |
///
/// AUROC of unseen events by kind: impossible travel .845, MFA fatigue .840, password spray .740, token replay .650.
#[test]
fn the_attacks_of_the_built_in_source_need_more_than_unseen_values() {
    let settings = SynthSettings { attacks: 0.05, ..SynthSettings::default() };
    let made: Vec<_> = SignIns::new(settings).unwrap().take(8000).collect();
    let normal = |from: usize, to: usize| {
        let kept = made[from..to].iter().filter(|sign_in| sign_in.attack.is_none());
        kept.map(|sign_in| sign_in.json.as_str()).collect::<Vec<_>>()
    };
    let observe = |records: &[&str]| records.iter().map(|r| Observed::of(r.as_bytes())).collect::<Vec<_>>();
    let (fit, calibrate) = (observe(&normal(0, 4800)), observe(&normal(4800, 6000)));
    let test: Vec<_> = made[6000..].iter().map(|sign_in| Observed::of(sign_in.json.as_bytes())).collect();
    let kinds: Vec<_> = made[6000..].iter().map(|s| s.attack.map(|attack| attack.name().to_string())).collect();
    let attacks: Vec<bool> = kinds.iter().map(Option::is_some).collect();
    let samples = Samples { fit: &fit, calibrate: &calibrate, test: &test, attacks: &attacks };
    let rows = baselines(&samples, 0.01).unwrap();
    let round = |value: Option<f64>| (value.unwrap() * 1000.0).round() / 1000.0;
    let measured: Vec<[f64; 2]> = rows.iter().map(|(row, _)| [row.calibrated.f1, row.auroc].map(round)).collect();
    let [events, vector, distance, two_gram] = [[0.196, 0.763], [0.0, 0.531], [0.935, 1.0], [0.0, 0.895]];
    assert_eq!(measured, [events, vector, distance, two_gram, [0.196, 0.763], [0.873, 0.996]]);

    let learnt = Normal::learn(fit.iter());
    let unseen = |records: &[Observed]| records.iter().map(|r| learnt.novelty(r, false).columns[0]).collect::<Vec<_>>();
    let found = by_kind(&unseen(&test), &kinds, &unseen(&calibrate), 0.01).unwrap();
    assert_eq!(found.len(), 4);
    let areas: Vec<f64> = found.iter().map(|row| round(row.auroc)).collect();
    assert_eq!(areas, [0.845, 0.840, 0.740, 0.650]);
}
