//! Shares of small counts: an interval for one, a test of whether two differ, and a correction for many tests.

/// The 97.5th percentile of the normal distribution: 95 % lie between minus and plus it.
const Z: f64 = 1.959_963_984_540_054;

/// Terms within this factor of the observed one count as equally likely, in spite of rounding (as in R's `fisher.test`).
const EQUAL: f64 = 1.0 + 1e-7;

/// The 95 % score interval of a share of which `count` of `total` were seen (Wilson, 1927); None where nothing was seen. It keeps
/// its coverage for small counts and shares near 0 and 1, where the usual normal interval fails (Newcombe, 1998).
pub fn wilson(count: u64, total: u64) -> Option<[f64; 2]> {
    assert!(count <= total, "{count} of {total}");
    if total == 0 {
        return None;
    }
    let (k, n, square) = (count as f64, total as f64, Z * Z);
    let middle = (k + square / 2.0) / (n + square);
    let half = Z / (n + square) * (k * (n - k) / n + square / 4.0).sqrt();
    // At none and all the ends are exactly 0 and 1; rounding may leave them beside.
    let low = if count == 0 { 0.0 } else { middle - half };
    let high = if count == total { 1.0 } else { middle + half };
    Some([low, high])
}

/// Fisher's exact test, two-sided (Fisher, 1935): the chance that shares as different as `count` of `total` and `others` of
/// `others_total` or less likely ones come from one common share, given the sums of the table.
pub fn fisher_exact((count, total): (u64, u64), (others, others_total): (u64, u64)) -> f64 {
    assert!(count <= total && others <= others_total);
    let hits = count + others;
    let (least, most) = (hits.saturating_sub(others_total), hits.min(total));
    // Logarithms of the hypergeometric distribution but for a constant, each from the one before: no factorial overflows.
    let mut logs = vec![0.0f64];
    for x in least..most {
        let up = (total - x) as f64 * (hits - x) as f64;
        let down = (x + 1) as f64 * (others_total + x + 1 - hits) as f64;
        logs.push(logs[logs.len() - 1] + (up / down).ln());
    }
    let top = logs.iter().fold(f64::NEG_INFINITY, |top, &log| top.max(log));
    let weights: Vec<f64> = logs.iter().map(|log| (log - top).exp()).collect();
    let seen = weights[(count - least) as usize] * EQUAL;
    let (extreme, sum) = weights.iter().fold((0.0, 0.0), |(extreme, sum), &weight| {
        (extreme + if weight <= seen { weight } else { 0.0 }, sum + weight)
    });
    (extreme / sum).min(1.0)
}

/// The p-values of several tests, raised so that the chance of even one false rejection among them stays at the level (Holm, 1979).
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let (mut adjusted, mut largest) = (vec![0.0; p_values.len()], 0.0f64);
    for (rank, &test) in order.iter().enumerate() {
        largest = largest.max((p_values.len() - rank) as f64 * p_values[test]).min(1.0);
        adjusted[test] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance, "{found}, expected {expected}");
    }

    #[test]
    fn intervals_are_those_of_newcombe_1998() {
        // Table I there, method 3, to four decimals.
        for (count, total, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let found = wilson(count, total).unwrap();
            near(found[0], low, 5e-5);
            near(found[1], high, 5e-5);
            let mirrored = wilson(total - count, total).unwrap();
            near(mirrored[0], 1.0 - found[1], 1e-12);
        }
        assert_eq!((wilson(0, 0), wilson(0, 20).unwrap()[0], wilson(7, 7).unwrap()[1]), (None, 0.0, 1.0));
    }

    #[test]
    fn exact_tests_are_those_of_fisher() {
        // The lady tasting tea: 3 of 4 right among 4 and 4 cups: (16 + 1 + 16 + 1) / 70.
        near(fisher_exact((3, 4), (1, 4)), 34.0 / 70.0, 1e-12);
        // Convictions of the twins of criminals, 10 of 13 and 2 of 17; R gives 0.0005367.
        near(fisher_exact((10, 13), (2, 17)), 0.000_536_7, 5e-8);
        near(fisher_exact((2, 17), (10, 13)), 0.000_536_7, 5e-8);
        assert_eq!(
            [fisher_exact((0, 5), (0, 9)), fisher_exact((5, 5), (9, 9)), fisher_exact((0, 0), (3, 9))],
            [1.0; 3]
        );
        // Through log-gamma functions: factorials of a million.
        near(fisher_exact((600, 50_000), (10_000, 1_000_000)), 2.202_54e-5, 1e-9);
    }

    #[test]
    fn many_tests_are_corrected_in_the_order_of_their_p_values() {
        let found = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in found.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            near(*found, expected, 1e-12);
        }
        assert_eq!((holm(&[0.9, 0.8]), holm(&[])), (vec![1.0, 1.0], vec![]));
    }
}
