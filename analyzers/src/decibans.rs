//! Decibans and probabilities: integers inside, three decimals outside.

/// Probability × 1000 of `decibans` in favour, from -60 to 60; beyond that it is 0 or 1000 minus one thousandth.
///
/// A table, not a formula: the same digits on every machine.
#[must_use]
pub fn per_mille(decibans: i32) -> u16 {
    let magnitude = usize::try_from(decibans.unsigned_abs()).unwrap_or(usize::MAX);
    let p = TABLE.get(magnitude).copied().unwrap_or(CERTAIN);
    if decibans >= 0 { p } else { 1000_u16.saturating_sub(p) }
}

/// Nothing observed is more certain than this.
const CERTAIN: u16 = 999;

/// round(1000 / (1 + 10^(-d/10))) for d = 0, 1, 2, …, never above [`CERTAIN`].
const TABLE: [u16; 31] = [
    500, 557, 613, 666, 715, 760, 799, 834, 863, 888, 909, 926, 941, 952, 962, 969, 975, 980, 984, 988, 990,
    992, 994, 995, 996, 997, 997, 998, 998, 999, 999,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_logistic_function_of_decibans() {
        for d in 0..=30_i32 {
            let exact = 1000.0 / (1.0 + 10f64.powf(-f64::from(d) / 10.0));
            let rounded = exact.round().min(999.0);
            assert!(
                (f64::from(per_mille(d)) - rounded).abs() < 0.5,
                "{d}: {} is not {rounded}",
                per_mille(d)
            );
            assert_eq!(per_mille(-d), 1000 - per_mille(d));
        }
        assert_eq!(per_mille(500), 999);
        assert_eq!(per_mille(-500), 1);
    }
}
