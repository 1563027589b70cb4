//! How sessions go: what follows what in them, how many records they have, and how fast these come. All of it is compared with
//! normal sessions, beside what the records themselves say.

use super::evidence::{NOISE, score};
use super::lesson::Lesson;
use super::ranks::{Ranks, Sorted};
use super::steps::Steps;
use crate::detect::Sequences;
use serde::{Deserialize, Serialize};

/// The evidence beside that of the records, in the order of [`NormalSessions::kinds`].
pub const SESSION_KINDS: [&str; 6] = ["order", "events", "many", "few", "pause", "hurry"];
/// Added to the seconds between two records, so that none at all has a logarithm.
const SHORTEST: f64 = 0.001;

/// What happened in a session, and when.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Course {
    events: Vec<u64>,
    /// Records with a time.
    timed: u32,
    first: f64,
    last: f64,
    pause: f64,
}

/// What a calibration learns of normal sessions, beside their records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NormalSessions {
    steps: Steps,
    sequences: Sequences,
    /// The scores of sessions by their records alone.
    records: Ranks,
    /// One for each of [`SESSION_KINDS`].
    kinds: Vec<Ranks>,
}

/// The evidence that a session is not normal, in nats.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionEvidence {
    /// That of its records.
    pub records: f64,
    /// One for each of [`SESSION_KINDS`].
    pub kinds: [f64; 6],
    /// What the records say, and what the strongest of the other kinds adds.
    pub score: f64,
    /// What is odd about the session, in words.
    pub reasons: Vec<String>,
}

impl Course {
    /// Adds a record: its event, and its time in seconds if it has one.
    pub fn add(&mut self, event: u64, time: Option<f64>) {
        self.events.push(event);
        let Some(time) = time else { return };
        match self.timed {
            0 => self.first = time,
            _ => self.pause = self.pause.max(time - self.last),
        }
        (self.timed, self.last) = (self.timed + 1, time);
    }

    /// Mean seconds between two records with a time; None with fewer than two.
    fn interval(&self) -> Option<f64> {
        (self.timed > 1).then(|| (self.last - self.first).max(0.0) / f64::from(self.timed - 1))
    }

    /// The numbers that the ranks of [`SESSION_KINDS`] are of; NaN where a session has none.
    fn numbers(&self, sequences: &Sequences, is_own: bool) -> [f32; 6] {
        let [_, _, distance, two_gram] = sequences.score(&self.events, is_own);
        let records = (self.events.len() as f64).ln();
        let interval = self.interval();
        let pause = interval.map_or(f64::NAN, |_| (self.pause + SHORTEST).ln());
        let hurry = interval.map_or(f64::NAN, |seconds| -(seconds + SHORTEST).ln());
        [two_gram, distance, records, -records, pause, hurry].map(|number| number as f32)
    }
}

impl NormalSessions {
    /// From the records of normal sessions, each with its time in seconds, and the scores of the sessions by their records. Returns it
    /// with the score of each session beside the others.
    pub fn learn(sessions: &[Vec<(&Lesson, Option<f64>)>], scores: &[f64]) -> (Self, Vec<f64>) {
        let lessons: Vec<Vec<&Lesson>> =
            sessions.iter().map(|session| session.iter().map(|(lesson, _)| *lesson).collect()).collect();
        let steps = Steps::learn(&lessons);
        let course = |session: &Vec<(&Lesson, Option<f64>)>| {
            let mut course = Course::default();
            session.iter().for_each(|(lesson, time)| course.add(steps.event(lesson), *time));
            course
        };
        let courses: Vec<Course> = sessions.iter().map(course).collect();
        let events: Vec<Vec<u64>> = courses.iter().map(|course| course.events.clone()).collect();
        let sequences = Sequences::learn(&events);
        let numbers: Vec<[f32; 6]> = courses.iter().map(|course| course.numbers(&sequences, true)).collect();
        let sorted: [Sorted; 6] = std::array::from_fn(|kind| Sorted::of(numbers.iter().map(|numbers| numbers[kind])));
        let records = Sorted::of(scores.iter().map(|&score| score as f32));
        let own = |(numbers, &by_records): (&[f32; 6], &f64)| {
            let kinds: [f64; 6] = std::array::from_fn(|kind| sorted[kind].bounded_evidence_of_own(numbers[kind]));
            score(records.bounded_evidence_of_own(by_records as f32), &kinds)
        };
        let own: Vec<f64> = numbers.iter().zip(scores).map(own).collect();
        let kinds = sorted.iter().map(Ranks::of).collect();
        (NormalSessions { records: Ranks::of(&records), kinds, steps, sequences }, own)
    }

    /// The event that a record is of.
    pub fn event(&self, lesson: &Lesson) -> u64 {
        self.steps.event(lesson)
    }

    /// The evidence of a session whose score by its records alone is given.
    pub fn of(&self, course: &Course, by_records: f64) -> SessionEvidence {
        let numbers = course.numbers(&self.sequences, false);
        let kinds: [f64; 6] = std::array::from_fn(|kind| self.kinds[kind].evidence(numbers[kind].into()));
        let records = self.records.evidence(by_records);
        let reasons = (0..kinds.len()).filter(|&kind| kinds[kind] > NOISE).map(|kind| self.reason(kind, course));
        SessionEvidence { records, score: score(records, &kinds), reasons: reasons.collect(), kinds }
    }

    fn reason(&self, kind: usize, course: &Course) -> String {
        let (records, interval) = (course.events.len(), course.interval().unwrap_or(0.0));
        match SESSION_KINDS[kind] {
            "order" => match self.sequences.rarest_step(&course.events) {
                0 => "it hardly ever begins like that".to_string(),
                step if step == records => "it hardly ever ends like that".to_string(),
                step => format!("what its record {} is hardly ever follows what its record {step} is", step + 1),
            },
            "events" => "other events, or other numbers of them".to_string(),
            "many" => format!("unusually many records: {records}"),
            "few" => format!("unusually few records: {records}"),
            "pause" => format!("an unusually long pause: {} s", shortened(course.pause)),
            _ => format!("its records come unusually fast: one in {} s", shortened(interval)),
        }
    }

    /// Checks what is always so; the error names the member.
    pub fn check(&self) -> Result<(), String> {
        if self.kinds.len() != SESSION_KINDS.len() {
            return Err(format!("kinds: found {}, expected {}", self.kinds.len(), SESSION_KINDS.len()));
        }
        for (name, ranks) in SESSION_KINDS.iter().zip(&self.kinds).chain([(&"records", &self.records)]) {
            ranks.check().map_err(|e| format!("{name}: {e}"))?;
        }
        self.sequences.check()
    }
}

/// Seconds to three significant digits.
fn shortened(seconds: f64) -> f64 {
    format!("{seconds:.2e}").parse().expect("a number that was just written")
}
