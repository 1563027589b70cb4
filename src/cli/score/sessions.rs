//! Sessions of records for `logwright score`.

use crate::cli::values;
use clap::Args;
use logwright::Result;
use logwright::finding::Finding;
use logwright::record::{log_seconds, record_seconds};
use logwright::score::session::{Grouping, Session, SessionScore, Sessions};
use logwright::score::{Assessed, AssessedSession, Calibrator, Course, Detector, Reduced, ScoredRecord, Scorer};
use serde_json::{Value, json};

#[derive(Args)]
#[command(next_help_heading = "Sessions")]
pub struct GroupArgs {
    /// Score sessions (records with the same value in this field) and print one JSON object per session when it is closed
    #[arg(long, value_name = "PATH")]
    group_by: Option<String>,
    /// Close a session after N records [default: 1000]
    #[arg(long, value_name = "N", requires = "group_by", value_parser = clap::value_parser!(u32).range(1..))]
    group_window: Option<u32>,
    /// Close a session S seconds after its first record, by --time-field
    #[arg(long, value_name = "S", requires_all = ["group_by", "time_field"], value_parser = values::positive)]
    group_seconds: Option<f64>,
    /// Field that holds the time of a record: RFC 3339, a form that logs use, or seconds, milli-, micro- or nanoseconds since
    /// 1970 [default: where records usually have it; not for --group-seconds]
    #[arg(long, value_name = "PATH")]
    pub(super) time_field: Option<String>,
    /// Maximum number of open sessions; beyond it, the one that has been idle longest is closed
    #[arg(long, value_name = "N", default_value_t = 10_000, requires = "group_by", value_parser = clap::value_parser!(u32).range(1..))]
    group_open: u32,
    /// How the scores of a session's records become one score
    #[arg(long, value_enum, value_name = "HOW", default_value_t = SessionScore::Max, requires = "group_by")]
    session_score: SessionScore,
}

impl GroupArgs {
    pub fn grouping(&self) -> Result<Option<Grouping>> {
        Ok(self.group_by.clone().map(|by| Grouping {
            by,
            score: self.session_score,
            window: self.group_window.unwrap_or(1000) as usize,
            seconds: self.group_seconds,
            time_field: self.time_field.clone(),
            open: self.group_open as usize,
        }))
    }
}

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

/// The verdict on a session, and its line of output.
pub fn describe(detector: &Detector, scorer: &mut Scorer, session: Closed) -> Result<(Option<bool>, Value)> {
    let Gathered { scores, ends, worst, tokens, course } = session.gathered;
    let (first, last) = ends.expect("a session has a record");
    let by_records =
        if tokens.is_empty() { detector.method.of_session(scores.into_iter()) } else { scorer.sequence(&tokens)? };
    let AssessedSession { score, evidence, reasons } = detector.assess_session(by_records, &course);
    let anomaly = detector.is_anomaly(score);
    let mut value = json!({
        "session": session.key, "first": first.0, "last": last.0, "records": session.records,
        "score": score, "threshold": detector.threshold, "anomaly": anomaly, "worst": worst.map(|(_, finding)| finding),
    });
    if let Some(evidence) = evidence {
        value["evidence"] = json!(evidence);
        value["reasons"] = reasons.into();
    }
    if let (Some(first), Some(last)) = (first.1, last.1) {
        (value["first_source"], value["last_source"]) = (first.into(), last.into());
    }
    Ok((anomaly, value))
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
    let sequence = as_sequence.then(|| scorer.sequence(&session.gathered.tokens)).transpose()?;
    calibrator.add(session.gathered.records, sequence);
    Ok(())
}
