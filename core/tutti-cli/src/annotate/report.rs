//! What `tutti annotate` writes and prints.

use ndarray::s;
use serde_json::{Map, Value, json};
use tutti::data::Categorical;
use tutti::downstream::{Annotated, Annotations, ClassFound, HoldOut, LevelTransfer, Rejection, UnknownReason};
use tutti::metrics::{Coverage, OpenSet, calibration, coverage, open_set};
use tutti::preprocess::Pair;
use tutti_io::{AnnData, ObsColumn};

use super::Arguments;
use super::genes::Determinants;
use super::system::Outcome;
use crate::Result;
use crate::output::write_embedding;

/// All that is reported.
pub struct Report<'a> {
    pub arguments: &'a Arguments,
    pub pair: &'a Pair<'static>,
    pub labels: &'a Categorical,
    pub split: &'a HoldOut,
    pub outcome: &'a Outcome,
    pub found: &'a Annotated,
    /// Finer labels, where they were asked for.
    pub finer: Option<LevelTransfer>,
    /// Genes of the classes, where they were asked for.
    pub determinants: Option<Determinants>,
    pub truth: Option<Truth>,
}

/// How the query compares with its true labels.
pub struct Truth {
    coverage: Coverage,
    /// Ranks by the probability and by 1 - novelty; `None` where all types are known or none is.
    by_probability: Option<OpenSet>,
    by_novelty: Option<OpenSet>,
    /// Expected calibration error of the probabilities of cells of known types.
    calibration_error: Option<f64>,
}

impl Truth {
    /// Cells without a true label are left out.
    pub fn of(truth: &Categorical, found: &Annotations) -> Result<Self> {
        let numbers = |values: &[f32], f: &dyn Fn(f64) -> f64| values.iter().map(|v| f(f64::from(*v))).collect::<Vec<f64>>();
        let by_probability = open_set(truth, &found.label, &numbers(&found.probability, &|p| p)).ok();
        let by_novelty = found.novelty.as_ref().and_then(|n| open_set(truth, &found.label, &numbers(n, &|n| 1.0 - n)).ok());
        let known: Vec<usize> =
            (0..truth.len()).filter(|i| truth.value(*i).is_some_and(|t| found.label.levels().iter().any(|l| l == t))).collect();
        let confidence: Vec<f64> = known.iter().map(|i| f64::from(found.probability[*i]).clamp(0.0, 1.0)).collect();
        let correct: Vec<bool> = known.iter().map(|i| truth.value(*i) == found.label.value(*i)).collect();
        Ok(Self {
            coverage: coverage(truth, &found.label, &found.unknown())?,
            by_probability,
            by_novelty,
            calibration_error: calibration(&confidence, &correct, 15).ok().map(|c| c.expected_error),
        })
    }

    fn json(&self) -> Value {
        json!({
            "coverage": self.coverage,
            "by_probability": self.by_probability,
            "by_novelty": self.by_novelty,
            "calibration_error": self.calibration_error,
        })
    }

    fn lines(&self) -> Vec<String> {
        let c = &self.coverage;
        let percent = |share: Option<f64>| share.map_or_else(|| "none".to_owned(), |s| format!("{:.1} %", 100.0 * s));
        let mut lines = vec![
            format!(
                "truth    {} cells, {} of types that the reference has: {} of these get the right label, {} of those that keep one",
                c.n_cells,
                c.n_known,
                percent(c.accuracy),
                percent(c.accuracy_of_kept)
            ),
            format!(
                "         coverage {}; refused of known types {}; named right or refused rightly {}; calibration error {}",
                percent(Some(c.coverage)),
                percent(c.false_rejection_rate),
                percent(Some(c.overall_accuracy)),
                self.calibration_error.map_or_else(|| "none".to_owned(), |e| format!("{e:.3}"))
            ),
        ];
        if !c.unknown_types.is_empty() {
            let types: Vec<String> =
                c.unknown_types.iter().map(|(name, n, refused)| format!("{name} {refused} of {n}")).collect();
            lines.push(format!("         types that the reference lacks are refused: {}", types.join(", ")));
        }
        for (name, ranks) in [("probability", &self.by_probability), ("novelty", &self.by_novelty)] {
            lines.extend(ranks.iter().map(|r| {
                format!(
                    "         unknown types by {name}: AUROC {:.3}, AUPR {:.3} (guessing {:.3}), OSCR {:.3}",
                    r.auroc, r.aupr, r.share_unknown, r.oscr
                )
            }));
        }
        lines
    }
}

impl Report<'_> {
    fn key(&self) -> String {
        self.arguments.key.clone().unwrap_or_else(|| format!("X_{}", self.arguments.system.as_str()))
    }

    /// Columns of obs.
    fn columns(&self) -> Vec<(String, ObsColumn)> {
        let (name, query) = (format!("predicted_{}", self.arguments.label), &self.found.query);
        let mut columns = vec![
            (name.clone(), ObsColumn::Levels(query.label.clone())),
            (format!("{name}_probability"), ObsColumn::Float(query.probability.clone())),
            (format!("{name}_runner_up"), ObsColumn::Levels(query.runner_up.clone())),
            (format!("{name}_runner_up_probability"), ObsColumn::Float(query.runner_up_probability.clone())),
        ];
        columns.extend(query.novelty.iter().map(|novelty| (format!("{name}_novelty"), ObsColumn::Float(novelty.clone()))));
        columns.push((format!("{name}_unknown"), ObsColumn::Bool(query.unknown())));
        columns.push((format!("{name}_reason"), ObsColumn::Levels(query.reasons())));
        if let (Some(column), Some(finer)) = (&self.arguments.finer, &self.finer) {
            let name = format!("predicted_{column}");
            columns.push((name.clone(), ObsColumn::Levels(finer.label.clone())));
            columns.push((format!("{name}_score"), ObsColumn::Float(finer.confidence.clone())));
            columns.push((format!("{name}_novelty"), ObsColumn::Float(finer.novelty.clone())));
        }
        columns
    }

    /// The query with columns and embedding, or the columns alone.
    pub fn write(&self, query: &AnnData) -> Result<()> {
        if let Some(determinants) = &self.determinants {
            determinants.write(query.cell_names())?;
        }
        let output = &self.arguments.output;
        if output.extension().is_some_and(|e| e.eq_ignore_ascii_case("h5ad")) {
            let embedding = self.outcome.embedding.slice(s![self.pair.n_reference.., ..]).to_owned();
            let input = &self.arguments.query;
            return write_embedding(query, input, output, &self.key(), &embedding, self.columns(), self.summary());
        }
        let names = query.cell_names().iter().cloned().map(Some).collect();
        let columns: Vec<_> = std::iter::once(("cell".to_owned(), ObsColumn::Text(names))).chain(self.columns()).collect();
        Ok(tutti_io::write_table(output, &columns)?)
    }

    /// Prints it as the arguments ask.
    pub fn print(&self) {
        if self.arguments.run.json {
            say!("{}", self.summary());
        } else if !self.arguments.run.quiet {
            say!("{}", self.text());
        }
    }

    /// Everything needed to repeat the run, and what came out.
    fn summary(&self) -> Value {
        let (arguments, found) = (self.arguments, self.found);
        let counts = found.query.label.levels().iter().zip(found.query.label.counts());
        let counts: Map<String, Value> = counts.map(|(class, n)| (class.clone(), json!(n))).collect();
        let mut summary = json!({
            "tutti_version": env!("CARGO_PKG_VERSION"),
            "command": "annotate",
            "system": arguments.system.as_str(),
            "reference": arguments.reference.display().to_string(),
            "query": arguments.query.display().to_string(),
            "output": arguments.output.display().to_string(),
            "label": arguments.label,
            "genes": self.pair.genes,
            "input_values": self.pair.prepared,
            "n_reference": self.pair.n_reference,
            "n_voters": self.split.train.len(),
            "n_held_out": self.split.held_out.len(),
            "n_neighbors": arguments.n_neighbors,
            "n_query": found.query.n_cells(),
            "false_rejection_rate": arguments.false_rejection_rate,
            "temperature": found.temperature,
            "probability_threshold": found.probability_threshold,
            "novelty_threshold": found.novelty_threshold,
            "min_probability": found.limits.min_confidence,
            "max_novelty": found.limits.max_novelty,
            "limits": arguments.limits,
            "limits_by_class": found.by_class,
            "smoothing": found.smoothing,
            "coverage": found.query.coverage(),
            "n_novel": self.n_unknown(UnknownReason::Novel),
            "n_low_probability": self.n_unknown(UnknownReason::LowProbability),
            "held_out": self.held_out(),
            "predicted": counts,
            "finer": self.finer.as_ref().map(|finer| {
                let counts = finer.label.levels().iter().zip(finer.label.counts());
                json!({"label": arguments.finer, "predicted": counts.map(|(l, n)| (l.clone(), json!(n))).collect::<Map<String, Value>>()})
            }),
            "determinants": self.determinants.as_ref().map(Determinants::json),
            "truth": self.truth.as_ref().map(Truth::json),
            "warnings": found.warnings,
        });
        if let Value::Object(map) = &mut summary {
            map.extend(self.outcome.details.clone());
        }
        summary
    }

    fn held_out(&self) -> Option<Coverage> {
        let truth = self.labels.select(&self.split.held_out);
        coverage(&truth, &self.found.held_out.label, &self.found.held_out.unknown()).ok()
    }

    fn n_unknown(&self, reason: UnknownReason) -> usize {
        self.found.query.reason.iter().filter(|r| **r == Some(reason)).count()
    }

    fn text(&self) -> String {
        let (genes, found, prepared) = (&self.pair.genes, self.found, &self.pair.prepared);
        let mut lines = vec![
            format!(
                "input    {} reference cells ({} vote, {} held out), {} query cells",
                self.pair.n_reference,
                self.split.train.len(),
                self.split.held_out.len(),
                found.query.n_cells()
            ),
            format!(
                "genes    {} of {} (reference) and {} (query) are shared; {}",
                genes.n_shared, genes.n_reference, genes.n_query, prepared.gene_selection
            ),
        ];
        lines.extend(genes.orthologues.map(|o| {
            format!(
                "         orthologues: {} pairs one to one; left out {} one to many, {} many to one",
                o.n_one_to_one, o.n_one_to_many, o.n_many_to_one
            )
        }));
        lines.extend(self.outcome.method.iter().map(|line| format!("method   {line}")));
        lines.extend(self.limits());
        lines.extend(found.smoothing.map(|s| {
            format!("smooth   {} cells take the label that most of the {} around them have", s.n_changed, s.n_neighbors)
        }));
        lines.extend(self.classes());
        lines.push(format!(
            "coverage {:.1} % of the query keeps its label; refused: {} novel, {} of low probability",
            100.0 * found.query.coverage(),
            self.n_unknown(UnknownReason::Novel),
            self.n_unknown(UnknownReason::LowProbability)
        ));
        lines.extend(self.truth.iter().flat_map(Truth::lines));
        lines.extend(self.determinants.iter().flat_map(Determinants::lines));
        lines.push(format!("output   {}", self.arguments.output.display()));
        lines.join("\n")
    }

    fn limits(&self) -> Vec<String> {
        let found = self.found;
        let limit = |limit: Option<f32>| limit.map_or_else(|| "none".to_owned(), |l| format!("{l:.3}"));
        let temperature = found.temperature.map_or_else(|| "none".to_owned(), |t| format!("{:.2}", t.temperature));
        let both =
            |limits: &Rejection| format!("probability {}, novelty {}", limit(limits.min_confidence), limit(limits.max_novelty));
        let mut lines = vec![format!("limits   {}; temperature {temperature}", both(&found.limits))];
        lines.extend(found.by_class.iter().map(|class| {
            format!("         {}: {} ({} held-out cells are called so)", class.class, both(&class.limits), class.n_held_out)
        }));
        lines.extend(self.held_out().map(|c| {
            let percent = |share: Option<f64>| share.map_or(f64::NAN, |s| 100.0 * s);
            format!(
                "         of the held-out cells {:.1} % get the right label, {:.1} % are refused ({:.1} % were allowed)",
                percent(c.accuracy),
                percent(c.false_rejection_rate),
                100.0 * self.arguments.false_rejection_rate
            )
        }));
        lines
    }

    /// A line per class that was found.
    fn classes(&self) -> Vec<String> {
        let (query, title) = (&self.found.query, format!("predicted_{}", self.arguments.label));
        let classes = query.by_class();
        let width = classes.iter().map(|(c, _)| c.class.chars().count()).chain([title.chars().count()]).max().unwrap_or(0);
        let header =
            format!("{title:<width$}  {:>8}  {:>8}  {:>18}  {:>14}", "cells", "kept", "median probability", "median novelty");
        let line = |(c, kept): (ClassFound, usize)| {
            let novelty = if c.median_novelty.is_nan() { "-".to_owned() } else { format!("{:.3}", c.median_novelty) };
            format!("{:<width$}  {:>8}  {kept:>8}  {:>18.3}  {novelty:>14}", c.class, c.n_cells, c.median_confidence)
        };
        std::iter::once(header).chain(classes.into_iter().map(line)).collect()
    }
}
