//! TF-IDF cosine similarity of generated and real records, and of each record and the nearest training record.

use super::distance::percentile;
use rayon::prelude::*;
use serde::Serialize;

/// Number of bars of a histogram over 0..=1.
pub const BARS: usize = 25;

/// Counts of similarities in [`BARS`] equal bars over 0..=1, the last one closed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Histogram {
    pub bars: Vec<u64>,
    pub mean: f64,
    pub median: f64,
    pub largest: f64,
}

impl Histogram {
    fn new(values: &[f64]) -> Self {
        let mut bars = vec![0; BARS];
        values.iter().for_each(|&value| bars[((value * BARS as f64) as usize).min(BARS - 1)] += 1);
        Self {
            bars,
            mean: values.iter().sum::<f64>() / values.len().max(1) as f64,
            median: percentile(values.iter().copied(), 0.5),
            largest: values.iter().copied().fold(0.0, f64::max),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Similarity {
    /// Every generated record of the sample with every validation record of the sample.
    pub generated_and_validation: Histogram,
    /// Every training record with every validation record of the samples, as the baseline.
    pub training_and_validation: Histogram,
    /// Each generated record with the most similar training record.
    pub generated_nearest_training: Histogram,
    /// The same for each validation record, as the baseline. A generated maximum far above it is a sign of copying, far below it
    /// of records unlike the real ones.
    pub validation_nearest_training: Histogram,
}

/// Weights of terms, fitted on a sample.
pub struct TfIdf {
    /// ln((1 + n) / (1 + df)) for each token.
    weights: Vec<f64>,
}

/// Weight of each term of a record, sorted by term, with Euclidean length 1.
type Vector = Vec<(u32, f64)>;

impl TfIdf {
    /// Term weights tf x idf with idf = ln((1 + n) / (1 + df)) (Sparck Jones, "A statistical interpretation of term
    /// specificity", 1972, with one record added that has every term), over `vocabulary` tokens and the token sequences of
    /// `records`. A term that every record has weighs nothing, so that the fixed text of log records does not hide their
    /// contents.
    pub fn fit(records: &[Vec<u32>], vocabulary: usize) -> Self {
        let mut frequencies = vec![0u32; vocabulary];
        for record in records {
            counted(record).iter().for_each(|(token, _)| frequencies[*token as usize] += 1);
        }
        let weight = |df: u32| ((1 + records.len()) as f64 / f64::from(1 + df)).ln();
        Self { weights: frequencies.into_iter().map(weight).collect() }
    }

    pub fn vector(&self, record: &[u32]) -> Vector {
        let weigh = |(token, times): (u32, f64)| (token, times * self.weights[token as usize]);
        let mut vector: Vector = counted(record).into_iter().map(weigh).collect();
        let length = vector.iter().map(|(_, weight)| weight * weight).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|(_, weight)| *weight /= length.max(f64::MIN_POSITIVE));
        vector
    }
}

/// Tokens with their counts, by token.
fn counted(record: &[u32]) -> Vector {
    let mut tokens = record.to_vec();
    tokens.sort_unstable();
    tokens.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as f64)).collect()
}

/// Cosine of each of `left` with each of `right`: (left, right).
fn cosines(left: &[Vector], right: &[Vector], vocabulary: usize) -> Vec<Vec<f64>> {
    let row = |vector: &Vector| {
        let mut dense = vec![0.0; vocabulary];
        vector.iter().for_each(|&(token, weight)| dense[token as usize] = weight);
        let cosine =
            |other: &Vector| other.iter().map(|&(token, weight)| weight * dense[token as usize]).sum::<f64>().min(1.0);
        right.iter().map(cosine).collect()
    };
    left.par_iter().map(row).collect()
}

/// Similarities of samples, each (records) token sequences over `vocabulary` tokens.
pub fn similarity(
    training: &[Vec<u32>],
    validation: &[Vec<u32>],
    generated: &[Vec<u32>],
    vocabulary: usize,
) -> Similarity {
    let model = TfIdf::fit(training, vocabulary);
    let [training, validation, generated] = [training, validation, generated]
        .map(|side| side.iter().map(|record| model.vector(record)).collect::<Vec<_>>());
    let nearest =
        |rows: &[Vec<f64>]| -> Vec<f64> { rows.iter().map(|row| row.iter().copied().fold(0.0, f64::max)).collect() };
    let real = cosines(&validation, &training, vocabulary);
    Similarity {
        generated_and_validation: Histogram::new(&cosines(&generated, &validation, vocabulary).concat()),
        generated_nearest_training: Histogram::new(&nearest(&cosines(&generated, &training, vocabulary))),
        validation_nearest_training: Histogram::new(&nearest(&real)),
        training_and_validation: Histogram::new(&real.concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_by_hand() {
        // Three records: token 0 in two (idf ln(4/3) = c), 1, 2 and 3 in one each (idf ln 2 = w), 4 in all (idf 0).
        let records = [vec![0, 1, 4], vec![0, 2, 4, 2], vec![3, 4]];
        let model = TfIdf::fit(&records, 5);
        let (c, w) = ((4.0f64 / 3.0).ln(), 2.0f64.ln());
        let expected = c * c / ((c * c + w * w) * (c * c + 4.0 * w * w)).sqrt();
        let vectors = records.map(|record| model.vector(&record));
        let found = cosines(&vectors, &vectors, 5);
        assert!((found[0][1] - expected).abs() < 1e-12 && (found[0][0] - 1.0).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn the_nearest_training_record_is_found() {
        let training = [vec![0, 1, 2], vec![3, 4, 5]];
        let found = similarity(&training, &[vec![6]], &[vec![3, 4, 5], vec![0, 1, 6]], 7);
        assert_eq!(found.generated_nearest_training.bars.iter().sum::<u64>(), 2);
        assert!((found.generated_nearest_training.largest - 1.0).abs() < 1e-12);
        assert_eq!(found.generated_nearest_training.bars[BARS - 1], 1);
        assert_eq!(found.validation_nearest_training.largest, 0.0);
        assert_eq!(found.validation_nearest_training.bars[0], 1);
        assert_eq!(found.generated_and_validation.bars.iter().sum::<u64>(), 2);
        assert!(similarity(&training, &[vec![]], &[vec![]], 6).generated_and_validation.mean == 0.0);
    }
}
