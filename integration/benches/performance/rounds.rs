//! Measuring in turns: every variant once a round, in an order that changes, so that what disturbs the machine disturbs all alike.

/// What the rounds gave for one variant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(pub(crate) Vec<f64>);

impl Samples {
    /// The middle one.
    pub(crate) fn median(&self) -> f64 {
        let mut values = self.0.clone();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// The smallest one.
    pub(crate) fn low(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The largest one.
    pub(crate) fn high(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// Round by round, this one less the other.
    pub(crate) fn over(&self, base: &Samples) -> Samples {
        Samples(self.0.iter().zip(&base.0).map(|(own, base)| own - base).collect())
    }
}

/// Measures each of so many variants once a round, by its number.
///
/// # Errors
/// The first one of a measurement.
pub(crate) fn interleaved(
    variants: usize,
    rounds: usize,
    mut measure: impl FnMut(usize) -> anyhow::Result<f64>,
) -> anyhow::Result<Vec<Samples>> {
    let mut samples = vec![Samples::default(); variants];
    for round in 0..rounds {
        for turn in 0..variants {
            // Each round begins elsewhere, and every other one goes backwards.
            let turn = if round % 2 == 0 { turn } else { variants - 1 - turn };
            let variant = (turn + round * variants / rounds.max(1)) % variants;
            samples[variant].0.push(measure(variant)?);
        }
    }
    Ok(samples)
}
