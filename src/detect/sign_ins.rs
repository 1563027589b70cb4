//! The baselines on the built-in log source: JSON records from bytes to the table.

use super::evaluate::{Sessions, baseline_rows, table};
use super::{Baselines, Events, by_kind};
use crate::logs::synth::{Settings, SignIns};

#[test]
fn the_attacks_of_the_built_in_source_betray_themselves_by_unseen_values() {
    let settings = Settings { attacks: 0.05, ..Settings::default() };
    let made: Vec<_> = SignIns::new(settings).unwrap().take(8000).collect();
    let normal = |from: usize, to: usize| {
        let kept = made[from..to].iter().filter(|sign_in| sign_in.attack.is_none());
        kept.map(|sign_in| sign_in.json.as_str()).collect::<Vec<_>>()
    };
    let learnt = Events::learn(normal(0, 4800));
    for (path, categorical) in [("identity", true), ("callerIpAddress", true), ("properties.id", false)] {
        assert_eq!(learnt.categorical().any(|found| found == path), categorical, "{path}");
    }
    let sessions = |records: &[&str]| records.iter().map(|r| learnt.of(r.as_bytes())).collect::<Vec<_>>();
    let (fit, calibrate) = (sessions(&normal(0, 4800)), sessions(&normal(4800, 6000)));
    let test: Vec<_> = made[6000..].iter().map(|sign_in| learnt.of(sign_in.json.as_bytes())).collect();
    let kinds: Vec<_> = made[6000..].iter().map(|s| s.attack.map(|attack| attack.name().to_string())).collect();
    let attacks: Vec<bool> = kinds.iter().map(Option::is_some).collect();
    let sessions = Sessions { fit: &fit, calibrate: &calibrate, test: &test, attacks: &attacks };
    let rows = baseline_rows(&sessions, 0.01).unwrap();
    eprintln!("{}", table(&rows));
    assert_eq!(rows[0].calibrated.f1, Some(1.0), "every attack comes by a network and a browser that no user has");
    // Whom and where stand side by side, so a 2-gram sees a user abroad; but other rare pairs come between.
    assert!(rows[3].auroc.unwrap() > 0.95 && rows[3].calibrated.f1.unwrap() < 0.9);

    let fitted = Baselines::fit(&fit);
    let unseen = |sessions: &[Vec<String>]| sessions.iter().map(|s| fitted.score(s)[0]).collect::<Vec<_>>();
    let found = by_kind(&unseen(&test), &kinds, &unseen(&calibrate), 0.01).unwrap();
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|row| row.calibrated.recall == Some(1.0) && row.auroc == Some(1.0)));
}
