//! Sessions: records of a stream with the same key.

use crate::Result;
use crate::finding::Finding;
use crate::record::{log_seconds, record_seconds};
use crate::score::session::{Grouping, Session, SessionScore, Sessions};
use crate::score::{Assessed, AssessedSession, Calibrator, Course, Detector, Reduced, ScoredRecord, Scorer};
use serde_json::json;

/// The record's key, and its time in seconds if it has one; else what is missing.
fn place(
    measured: &ScoredRecord,
    group: &Grouping,
    in_clear: bool,
) -> std::result::Result<(String, Option<f64>), String> {
    let value = |path: &str| {
        let field = measured.parts.fields.iter().find(|field| field.path == path);
        field.map(|field| measured.value(field, in_clear)).ok_or(format!("no field {path} in this record"))
    };
    let key = value(&group.by)?;
    let needed = group.time_field.as_ref().filter(|_| group.seconds.is_some());
    let time = match needed {
        Some(path) => Some(log_seconds(&value(path)?).ok_or(format!("the field {path} holds no time"))?),
        None => record_seconds(&measured.record, group.time_field.as_deref()),
    };
    Ok((key, time))
}

/// The number of a record in its input, and the name of the input where there are several.
type RecordPosition = (u64, Option<String>);

/// What is kept of a session's records.
#[derive(Default)]
pub struct Gathered {
    scores: Vec<f64>,
    /// The positions of its first and its last record.
    ends: Option<(RecordPosition, RecordPosition)>,
    /// The finding on the record with the highest score.
    worst: Option<(f64, Finding)>,
    /// The tokens of all its records, each with its separator, where they are scored as one sequence.
    tokens: Vec<u32>,
    course: Course,
}

pub type Closed = Session<Gathered>;

/// The open sessions of a stream.
pub struct Grouped {
    group: Grouping,
    /// Whether the key of a session is the raw value instead of its pseudonym.
    in_clear: bool,
    sessions: Sessions<Gathered>,
}

impl Grouped {
    pub fn new(group: Grouping, in_clear: bool) -> Self {
        Grouped { sessions: Sessions::new(group.clone()), group, in_clear }
    }

    /// Adds record `number` of all, which came from `source`, and returns the sessions that it closes; an error says what the
    /// record lacks.
    pub fn add(
        &mut self,
        number: u64,
        (in_input, source): (u64, Option<&str>),
        measured: &ScoredRecord,
        &Assessed { score, event, .. }: &Assessed,
        describe: impl FnOnce() -> Finding,
    ) -> std::result::Result<Vec<Closed>, String> {
        let (key, time) = place(measured, &self.group, self.in_clear)?;
        let as_sequence = self.group.score == SessionScore::Sequence;
        Ok(self.sessions.add(&key, time, number, |seen| {
            let here = (in_input, source.map(str::to_string));
            let first = seen.ends.take().map_or_else(|| here.clone(), |(first, _)| first);
            seen.ends = Some((first, here));
            seen.scores.push(score);
            seen.course.add(event, time);
            if seen.worst.as_ref().is_none_or(|(worst, _)| score > *worst) {
                seen.worst = Some((score, describe()));
            }
            if as_sequence {
                seen.tokens.extend_from_slice(&measured.surprisals.tokens);
            }
        }))
    }

    pub fn finish(self) -> impl Iterator<Item = Closed> {
        self.sessions.finish()
    }
}

/// Mean surprisal in nats per token of a sequence of records, each with its closing separator: see [`crate::score::ScoringModel::sequence`].
pub type SequenceSurprisal<'a> = &'a mut dyn FnMut(&[u32]) -> Result<f64>;

/// The verdict on a session.
pub fn describe(detector: &Detector, sequence: SequenceSurprisal, session: Closed) -> Result<super::answer::Session> {
    let Gathered { scores, ends, worst, tokens, course } = session.gathered;
    let (first, last) = ends.expect("a session has a record");
    let by_records =
        if tokens.is_empty() { detector.method.of_session(scores.into_iter()) } else { sequence(&tokens)? };
    let AssessedSession { score, evidence, reasons } = detector.assess_session(by_records, &course);
    let anomaly = detector.is_anomaly(score);
    let worst = worst.map(|(_, finding)| Box::new(finding));
    let mut value = json!({
        "session": session.key, "first": first.0, "last": last.0, "records": session.records,
        "score": score, "threshold": detector.threshold, "anomaly": anomaly, "worst": worst,
    });
    if let Some(p) = detector.p_value(score) {
        value["p_value"] = p.into();
    }
    if let Some(evidence) = evidence {
        value["evidence"] = json!(evidence);
        value["reasons"] = reasons.into();
    }
    if let (Some(first), Some(last)) = (first.1, last.1) {
        (value["first_source"], value["last_source"]) = (first.into(), last.into());
    }
    Ok(super::answer::Session { anomaly, worst, value })
}

/// What a calibration keeps of a session.
#[derive(Default)]
pub struct Lesson {
    records: Vec<Reduced>,
    tokens: Vec<u32>,
}

/// Adds a normal record to its session, and the sessions that it closes to the calibration; false if it lacks the key or time.
pub fn teach(
    calibrator: &mut Calibrator,
    scorer: &mut Scorer,
    open: &mut Sessions<Lesson>,
    group: &Grouping,
    number: u64,
    measured: &ScoredRecord,
) -> Result<bool> {
    let Ok((key, time)) = place(measured, group, false) else { return Ok(false) };
    let reduced = calibrator.reduce(measured, time);
    let closed = open.add(&key, time, number, |seen| {
        seen.records.push(reduced);
        if group.score == SessionScore::Sequence {
            seen.tokens.extend_from_slice(&measured.surprisals.tokens);
        }
    });
    closed.into_iter().try_for_each(|session| teach_session(calibrator, scorer, group, session))?;
    Ok(true)
}

/// Adds a closed session to the calibration.
pub fn teach_session(
    calibrator: &mut Calibrator,
    scorer: &mut Scorer,
    group: &Grouping,
    session: Session<Lesson>,
) -> Result<()> {
    let as_sequence = group.score == SessionScore::Sequence;
    let sequence = as_sequence.then(|| scorer.model.sequence(&session.gathered.tokens)).transpose()?;
    calibrator.add(session.gathered.records, sequence);
    Ok(())
}
