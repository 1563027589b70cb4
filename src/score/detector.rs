//! Scores and verdicts of scored records, and what is found about each.

use super::aggregate::{Selection, aggregate};
use super::course::{Course, NormalSessions, SESSION_KINDS, SessionEvidence};
use super::drift::DriftMonitor;
use super::evidence::{Evidence, KINDS, NormalEvidence, ORDER_KIND, Reason};
use super::fields::PREFIX;
use super::lesson::Lesson;
use super::ranks::Ranks;
use super::scorer::{ScoredRecord, rounded};
use super::threshold::{Calibration, ScoringMethod};
use super::{Aggregate, FieldSurprisal};
use crate::Result;
use crate::finding::{Attached, Finding, FoundEvidence, FoundField, MaxToken, Origin, Shaded};
use crate::tokens::Tokenizer;
use std::ops::Range;
use std::sync::Arc;

/// The path under which an unusual order of members is found.
pub const ORDER: &str = "(order)";

/// Makes scores of records, and verdicts of scores. A clone shares what was learnt.
#[derive(Clone)]
pub struct Detector {
    pub method: ScoringMethod,
    pub(super) selection: Selection,
    /// What is normal, and the scores of normal units, where there is a calibration.
    learnt: Option<Arc<(NormalEvidence, Ranks)>>,
    /// How normal sessions go, where that counts.
    sessions: Option<Arc<NormalSessions>>,
    pub threshold: Option<f64>,
    /// Whether findings show what pseudonyms stand for.
    pub in_clear: bool,
}

/// The score of a record, and where it comes from if there is a calibration.
pub struct Assessed {
    pub score: f64,
    pub evidence: Option<Evidence>,
    /// Which event it is of in its session; 0 where that does not count.
    pub event: u64,
}

/// The score of a session, and where it comes from if there is a calibration.
pub struct AssessedSession {
    pub score: f64,
    pub evidence: Option<FoundEvidence>,
    /// What is odd about the session beside its records, in words.
    pub reasons: Vec<String>,
}

impl Detector {
    /// `threshold` stands for that of the calibration, if both are given.
    ///
    /// Errors: an invalid pattern over fields.
    pub fn new(method: ScoringMethod, calibration: Option<Calibration>, threshold: Option<f64>) -> Result<Self> {
        let selection = Selection::new(&method.only_field, &method.ignore_field)?;
        let threshold = threshold.or(calibration.as_ref().map(|calibration| calibration.threshold));
        let (learnt, sessions) = match calibration {
            Some(Calibration { normal, scores, sessions, .. }) => {
                (Some(Arc::new((normal, scores))), sessions.map(Arc::new))
            }
            None => (None, None),
        };
        Ok(Detector { method, selection, learnt, sessions, threshold, in_clear: false })
    }

    /// The score of a record, to four decimals, so that what is printed is what was compared with the threshold.
    pub fn assess(&self, measured: &ScoredRecord) -> Assessed {
        let fields = &measured.parts.fields;
        let lesson = self.learnt.is_some().then(|| Lesson::of(measured, &self.selection));
        let evidence = self
            .normal()
            .zip(lesson.as_ref())
            .map(|(normal, lesson)| normal.of(lesson, |place| fields[place].path.as_str()));
        let event = self.sessions.as_ref().zip(lesson.as_ref()).map_or(0, |(sessions, lesson)| sessions.event(lesson));
        let ScoringMethod { aggregate: kind, top_k, .. } = self.method;
        let score = match &evidence {
            Some(evidence) if kind == Aggregate::Evidence => evidence.score,
            _ => aggregate(kind, &measured.parts, &self.selection, top_k),
        };
        Assessed { score: rounded(score), evidence, event }
    }

    /// The score of a session by that of its records, and by how it went.
    pub fn assess_session(&self, by_records: f64, course: &Course) -> AssessedSession {
        let Some(sessions) = &self.sessions else {
            return AssessedSession { score: by_records, evidence: None, reasons: Vec::new() };
        };
        let SessionEvidence { records, kinds, score, reasons } = sessions.of(course, by_records);
        let all = SESSION_KINDS.into_iter().zip(kinds).chain([("records", records)]);
        AssessedSession { score: rounded(score), evidence: Some(found_evidence(all)), reasons }
    }

    /// Watches records for drift from the calibration; None without one, or where another threshold was given.
    pub fn drift_monitor(&self) -> Option<DriftMonitor> {
        let (_, scores) = self.learnt.as_deref()?;
        Some(DriftMonitor::new((-scores.evidence(self.threshold?)).exp(), scores.count()))
    }

    /// What is normal; None without a calibration.
    pub fn normal(&self) -> Option<&NormalEvidence> {
        self.learnt.as_deref().map(|(normal, _)| normal)
    }

    /// Whether a score is an anomaly; None without a threshold.
    pub fn is_anomaly(&self, score: f64) -> Option<bool> {
        self.threshold.map(|threshold| score > threshold)
    }

    /// The share of normal records or sessions with a score at least this high; None without a calibration.
    pub fn p_value(&self, score: f64) -> Option<f64> {
        self.learnt.as_deref().map(|(_, scores)| significant((-scores.evidence(score)).exp()))
    }

    /// The finding on record `number`, with its `top` most unusual fields (0: all) and, if `shaded`, all its tokens.
    pub fn finding(
        &self,
        (measured, assessed): (&ScoredRecord, &Assessed),
        (number, source): (u64, Option<&str>),
        tokenizer: &Tokenizer,
        top: usize,
        shaded: bool,
    ) -> Finding {
        let (&Assessed { score, ref evidence, .. }, total) = (assessed, measured.surprisals.total());
        let characters = String::from_utf8_lossy(&measured.record).chars().count() + 1;
        let fields = self.top_fields(measured, evidence.as_ref(), top);
        Finding {
            record: number,
            source: source.map(str::to_string),
            origin: Origin::default(),
            score,
            // That of a session is for sessions.
            p_value: self.p_value(score).filter(|_| self.method.group.is_none()),
            threshold: self.threshold,
            anomaly: self.is_anomaly(score),
            evidence: evidence.as_ref().map(|evidence| {
                found_evidence(KINDS.into_iter().zip(evidence.kinds).chain([("fields", evidence.fields)]))
            }),
            known: None,
            nats_per_char: rounded(total / characters as f64),
            nats_per_token: rounded(total / measured.surprisals.tokens.len() as f64),
            max_token: self.max_token(measured, tokenizer),
            tokens: if shaded { self.shades(measured, tokenizer, &fields) } else { Vec::new() },
            fields: fields.into_iter().map(|(field, _)| field).collect(),
            attached: Attached::default(),
            drift: None,
        }
    }

    /// The selected fields, the most unusual first, each with its index; an unusual order of members is one of them, of no index.
    fn top_fields(
        &self,
        measured: &ScoredRecord,
        evidence: Option<&Evidence>,
        top: usize,
    ) -> Vec<(FoundField, Option<usize>)> {
        let fields = &measured.parts.fields;
        let reason = |place: usize| evidence.and_then(|evidence| evidence.reasons.get(&place));
        let rank = |place: usize| reason(place).map_or(fields[place].nats, |reason| reason.nats);
        let counts = |place: &usize| self.selection.counts(&fields[*place].path);
        let mut ranked: Vec<(f64, Option<usize>)> =
            (0..fields.len()).filter(counts).map(|place| (rank(place), Some(place))).collect();
        let order = evidence.map(|evidence| evidence.kinds[ORDER_KIND]).filter(|_| !measured.disorder.is_empty());
        ranked.extend(order.map(|nats| (nats, None)));
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        ranked.truncate(if top == 0 { usize::MAX } else { top });
        let describe = |(nats, place): (f64, Option<usize>)| match place {
            Some(place) => (self.describe(measured, &fields[place], reason(place)), Some(place)),
            None => (disorder(measured, nats), None),
        };
        ranked.into_iter().map(describe).collect()
    }

    fn describe(&self, measured: &ScoredRecord, field: &FieldSurprisal, reason: Option<&Reason>) -> FoundField {
        let normal = self.normal();
        let with = reason.and_then(|reason| reason.never_with).map(|other| &measured.parts.fields[other].path);
        FoundField {
            path: field.path.clone(),
            value: shortened(&measured.value(field, self.in_clear)),
            nats: rounded(field.nats),
            expected: normal.map(|normal| rounded(normal.mean(&field.path))),
            evidence: reason.map(|reason| rounded(reason.nats)),
            reason: match (reason, with) {
                (Some(reason), _) if reason.is_unwritable => {
                    Some("holds a character that training never had".to_string())
                }
                (Some(reason), _) if reason.is_new => Some("never seen here".to_string()),
                (_, Some(path)) => Some(format!("never seen together with this {path}")),
                (_, None) => None,
            },
        }
    }

    /// The most surprising token of the selected fields; of all fields if none is selected.
    fn max_token(&self, measured: &ScoredRecord, tokenizer: &Tokenizer) -> MaxToken {
        let ScoredRecord { surprisals, parts, .. } = measured;
        let counts: Vec<bool> = parts.fields.iter().map(|field| self.selection.counts(&field.path)).collect();
        let none = !counts.contains(&true);
        let counted = parts.pieces.iter().filter(|piece| none || counts[piece.field]).map(|piece| piece.token);
        // The first of equal ones.
        let most = counted.reduce(|a, b| if surprisals.nats[b] > surprisals.nats[a] { b } else { a }).unwrap_or(0);
        let prefix = parts.fields.first().filter(|field| field.path == PREFIX).map_or(0, |field| field.span.end);
        let place = surprisals.places(tokenizer).nth(most).expect("a record has a token, its separator");
        let at = place.start.saturating_sub(prefix);
        let is_shown = self.in_clear && place.start < measured.record.len();
        let (text, at) = match measured.original.as_ref().filter(|_| is_shown) {
            Some(original) => (original.bytes(&place), original.offset(at)),
            None => (measured.text(&place), at),
        };
        let text = String::from_utf8_lossy(text).into_owned();
        MaxToken { text, nats: rounded(f64::from(surprisals.nats[most])), at }
    }

    /// The record's tokens for display; those of the fields found are marked.
    fn shades(
        &self,
        measured: &ScoredRecord,
        tokenizer: &Tokenizer,
        found: &[(FoundField, Option<usize>)],
    ) -> Vec<Shaded> {
        let tokens = shades(measured, tokenizer, found);
        match measured.original.as_ref().filter(|_| self.in_clear) {
            Some(original) => original.shades(tokens),
            None => tokens,
        }
    }
}

/// The record's tokens for display; those of the fields found are marked.
fn shades(measured: &ScoredRecord, tokenizer: &Tokenizer, found: &[(FoundField, Option<usize>)]) -> Vec<Shaded> {
    let values: Vec<_> = found.iter().filter_map(|(_, i)| Some(measured.parts.fields[(*i)?].value.clone())).collect();
    let shade = |(range, &nats): (Range<usize>, &f32)| {
        let text = measured.text(&range).to_vec();
        // A token such as `", "` reaches into two fields; it belongs to the one that holds more than half of it.
        let overlap = |value: &Range<usize>| value.end.min(range.end).saturating_sub(value.start.max(range.start));
        let found = values.iter().any(|value| 2 * overlap(value) > text.len());
        Shaded { text, nats: f64::from(nats), found }
    };
    measured.surprisals.places(tokenizer).zip(&measured.surprisals.nats).map(shade).collect()
}

/// Maximum number of characters shown of a value.
const LONGEST_VALUE: usize = 200;

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_VALUE) {
        None => text.to_string(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// Rounds a probability to three significant digits.
fn significant(p: f64) -> f64 {
    format!("{p:.2e}").parse().expect("a number that was just written")
}

fn disorder(measured: &ScoredRecord, nats: f64) -> FoundField {
    FoundField {
        path: ORDER.to_string(),
        value: shortened(&measured.disorder.join(", ")),
        nats: 0.0,
        expected: None,
        evidence: Some(rounded(nats)),
        reason: Some("an order of members that training never had".to_string()),
    }
}

fn found_evidence(all: impl Iterator<Item = (&'static str, f64)>) -> FoundEvidence {
    let rounded = all.map(|(name, nats)| (name, rounded(nats)));
    FoundEvidence(rounded.filter(|(_, nats)| *nats > 0.0).collect())
}
