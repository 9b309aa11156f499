//! The table.

use std::collections::BTreeMap;

use crate::Run;
use crate::rounds::Samples;

/// Who everything is compared with.
pub(crate) const PALISADE: &str = "palisade";
/// A host without rules: nothing is even tracked.
pub(crate) const NO_RULESET: &str = "no ruleset";
/// What every firewall that keeps state costs.
pub(crate) const CONNTRACK: &str = "conntrack only";
/// What Felix would load.
pub(crate) const CALICO: &str = "Calico's layout";
/// One rule after the other.
pub(crate) const LINEAR: &str = "one chain by hand";

/// One figure.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What was measured; rows of the same work and size are compared with each other.
    pub(crate) work: String,
    /// Of how many policies.
    pub(crate) policies: usize,
    /// Of what.
    pub(crate) subject: String,
    /// In which unit.
    pub(crate) unit: &'static str,
    /// How much.
    pub(crate) samples: Samples,
}

/// All figures, in the order they were taken.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The figures.
    pub(crate) rows: Vec<Row>,
    /// What could not be measured, and why.
    pub(crate) failures: Vec<String>,
}

impl Report {
    /// Takes a part of the measurements; where it fails, the others are worth having all the same.
    pub(crate) fn part(
        &mut self,
        run: &Run,
        what: &str,
        measure: impl FnOnce(&mut Report) -> anyhow::Result<()>,
    ) {
        run.say(what);
        if let Err(error) = measure(self) {
            let failure = format!("{what}: {error:#}");
            run.say(&failure);
            self.failures.push(failure);
        }
    }

    /// Adds a figure.
    pub(crate) fn add(
        &mut self,
        work: &str,
        policies: usize,
        subject: &str,
        unit: &'static str,
        samples: Samples,
    ) {
        self.rows.push(Row {
            work: work.to_owned(),
            policies,
            subject: subject.to_owned(),
            unit,
            samples,
        });
    }

    /// The median of a figure.
    pub(crate) fn median(&self, work: &str, policies: usize, subject: &str) -> Option<f64> {
        let row = self
            .rows
            .iter()
            .find(|row| row.work == work && row.policies == policies && row.subject == subject)?;
        Some(row.samples.median())
    }

    /// How a figure compares with palisade's of the same work and size.
    pub(crate) fn ratio(&self, row: &Row) -> Option<f64> {
        let own = self.median(&row.work, row.policies, PALISADE)?;
        let other = row.samples.median();
        // A cost over a baseline that is none, or lost in the noise, is no multiple of anything.
        (row.subject != PALISADE && own > 0.0 && other > 0.0).then(|| other / own)
    }

    /// Medians of a work by subject and size: what is plotted.
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 policies")]
    pub(crate) fn series(&self, work: &str) -> BTreeMap<&str, Vec<(f64, f64)>> {
        let mut series: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| row.work == work) {
            let points = series.entry(&row.subject).or_default();
            points.push((row.policies as f64, row.samples.median()));
        }
        series
    }

    /// The table in Markdown: ratios first.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| times palisade's | work | policies | of what | median | unit | lowest to highest |\n|--:|---|--:|---|--:|---|---|\n",
        );
        for row in &self.rows {
            let ratio = self
                .ratio(row)
                .map_or_else(String::new, |ratio| format!("{}x", figure(ratio)));
            let samples = &row.samples;
            text += &format!(
                "| {ratio} | {} | {} | {} | {} | {} | {} to {} |\n",
                row.work,
                row.policies,
                row.subject,
                figure(samples.median()),
                row.unit,
                figure(samples.low()),
                figure(samples.high()),
            );
        }
        text
    }
}

/// A number with as many digits as it is worth.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
