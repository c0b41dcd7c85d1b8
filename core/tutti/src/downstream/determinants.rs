//! Genes that determine the class of cells (CellPredX, "determinant features"), and how many of them are known markers.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::integrated_gradients::{GradientConfig, Target, gradients_by_block, integrated_gradients};
use crate::data::{Categorical, CellSource};
use crate::error::{Error, Result};
use crate::model::Network;
use crate::rng::Rng;

/// Settings of [`determinant_genes`]; the defaults are CellPredX's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeterminantConfig {
    /// Genes of the largest absolute attribution that count of each cell, at least 1. Default 100.
    pub n_top: usize,
    /// Genes of each class, at least 1: those that most often count. Default 50.
    pub n_genes: usize,
    /// Cells of a class at most, at random. Default 500; published: all.
    pub max_cells: usize,
    /// Of the integration. Default zero baseline, 50 steps.
    pub gradients: GradientConfig,
    /// Names the draws of cells.
    pub seed: u64,
}

impl Default for DeterminantConfig {
    fn default() -> Self {
        Self { n_top: 100, n_genes: 50, max_cells: 500, gradients: GradientConfig::default(), seed: 0 }
    }
}

/// A gene that determines a class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeterminantGene {
    /// Its number among the model's genes.
    pub gene: usize,
    /// Share of the cells in which it is among the first `n_top`, 0 to 1.
    pub frequency: f32,
    /// Mean attribution over the cells: above 0 where its expression speaks for the class.
    pub attribution: f32,
}

/// Genes of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassDeterminants {
    /// Name of the class.
    pub class: String,
    /// Cells that were looked at.
    pub n_cells: usize,
    /// The genes, those that most often count first; of equal ones the one with the larger mean absolute attribution.
    pub genes: Vec<DeterminantGene>,
    /// Mean error of the integration, see [`super::Attribution::completeness_error`].
    pub completeness_error: f32,
}

/// Genes on which the probability of their class rests, by class: integrated gradients of the probability of the class that each cell is called,
/// from no expression; of each cell the `n_top` genes of the largest absolute attribution count, of each class the `n_genes` that do so most
/// often (CellPredX, "interpretability").
///
/// `labels`: the class each cell of `source` was called, e.g. [`crate::model::PredictedClasses::label`]; `None` leaves the cell out, as one called
/// unknown. Classes without cells are left out.
///
/// # Errors
/// [`Error::Argument`] for settings of 0; [`Error::Data`] for labels of other cells or classes that the network does not have; as
/// [`integrated_gradients`].
pub fn determinant_genes(
    network: &dyn Network,
    source: &dyn CellSource,
    labels: &Categorical,
    config: &DeterminantConfig,
) -> Result<Vec<ClassDeterminants>> {
    let mut out = Vec::new();
    for (code, rows) in cells_by_class(source, labels, config)? {
        let class = &labels.levels()[code];
        let found = integrated_gradients(network, source, &rows, &Target::Class(code), &config.gradients)?;
        let n = rows.len() as f32;
        let absolute = found.mean_absolute();
        let mut mean = vec![0f64; source.n_genes()];
        for (gene, value) in found.values.indices().iter().zip(found.values.values()) {
            mean[*gene as usize] += f64::from(*value) / f64::from(n);
        }
        let mut genes: Vec<(usize, usize)> = found.most_frequent(config.n_top, source.n_genes());
        genes.sort_by(|a, b| b.1.cmp(&a.1).then(absolute[b.0].total_cmp(&absolute[a.0])));
        let genes = genes.into_iter().take(config.n_genes);
        out.push(ClassDeterminants {
            class: class.clone(),
            n_cells: rows.len(),
            genes: genes
                .map(|(gene, count)| DeterminantGene { gene, frequency: count as f32 / n, attribution: mean[gene] as f32 })
                .collect(),
            completeness_error: found.completeness_error.iter().sum::<f32>() / n,
        });
    }
    Ok(out)
}

/// Codes of the classes that have cells, each with the cells that are looked at, ascending.
fn cells_by_class(source: &dyn CellSource, labels: &Categorical, config: &DeterminantConfig) -> Result<Vec<(usize, Vec<usize>)>> {
    for (name, value) in [("n_top", config.n_top), ("n_genes", config.n_genes), ("max_cells", config.max_cells)] {
        if value == 0 {
            return Err(Error::argument(name, "must be at least 1 (got 0)", "leave it out for the default"));
        }
    }
    if labels.len() != source.n_cells() {
        let problem = format!("labels of {} cells for {} cells", labels.len(), source.n_cells());
        return Err(Error::data(problem, "give the class of each cell"));
    }
    let rng = Rng::new(config.seed);
    let of_class = |code: usize| {
        let members: Vec<usize> = (0..labels.len()).filter(|i| labels.codes()[*i] == Some(code as u32)).collect();
        let mut rows = rng.stream("cells to attribute", 0, code as u64).choose(&members, config.max_cells.min(members.len()));
        rows.sort_unstable();
        (code, rows)
    };
    Ok((0..labels.n_levels()).map(of_class).filter(|(_, rows)| !rows.is_empty()).collect())
}

/// Genes of one cell.
#[derive(Debug, Clone, PartialEq)]
pub struct CellDeterminants {
    /// Row of the cell.
    pub cell: usize,
    /// Name of its class.
    pub class: String,
    /// Genes with their attributions to the probability of the class, those of the largest absolute value first; genes without any are left out.
    pub genes: Vec<(usize, f32)>,
}

/// Genes on which the probability of the class rests in each cell by itself: the `n_top` of the largest absolute attribution, of all labelled cells or
/// `max_cells` of each class, by ascending cell. `n_genes` is not used. Arguments as in [`determinant_genes`], which sums these up.
///
/// Memory: what is returned, and the attributions of 256 cells.
///
/// # Errors
/// As [`determinant_genes`].
pub fn determinant_genes_of_cells(
    network: &dyn Network,
    source: &dyn CellSource,
    labels: &Categorical,
    config: &DeterminantConfig,
) -> Result<Vec<CellDeterminants>> {
    let mut out: Vec<CellDeterminants> = Vec::new();
    for (code, rows) in cells_by_class(source, labels, config)? {
        gradients_by_block(network, source, &rows, &Target::Class(code), &config.gradients, |rows, found| {
            out.extend(rows.iter().enumerate().map(|(i, cell)| CellDeterminants {
                cell: *cell,
                class: labels.levels()[code].clone(),
                genes: found.top(i, config.n_top).into_iter().filter(|(_, value)| *value != 0.0).collect(),
            }));
        })?;
    }
    out.sort_by_key(|found| found.cell);
    Ok(out)
}

/// How many known markers of a class are among its determinant genes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct KeyGeneHits {
    /// Markers that the model reads.
    pub n_markers: usize,
    /// Of these, those among the determinant genes.
    pub n_hits: usize,
    /// Their share, 0 to 1; NaN without markers.
    pub rate: f64,
    /// The share that is expected of as many genes at random: determinant genes of the class / genes of the model.
    pub chance: f64,
}

/// Key-gene hit rate: the share of the known markers of a class that are among its determinant genes. Markers that the model does not read are
/// left out. The paper's formula stands in a supplement; this is what its text describes.
pub fn key_gene_hit_rate<S: AsRef<str>>(determinants: &ClassDeterminants, genes: &[String], markers: &[S]) -> KeyGeneHits {
    let markers: HashSet<&str> = markers.iter().map(AsRef::as_ref).collect();
    let n_markers = genes.iter().filter(|gene| markers.contains(gene.as_str())).count();
    let n_hits = determinants.genes.iter().filter(|g| markers.contains(genes[g.gene].as_str())).count();
    let chance = determinants.genes.len() as f64 / genes.len() as f64;
    KeyGeneHits { n_markers, n_hits, rate: n_hits as f64 / n_markers as f64, chance }
}

/// Hit rates of all classes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeyGeneReport {
    /// Of each class that has determinant genes and markers that the model reads, in the order of the classes.
    pub by_class: Vec<(String, KeyGeneHits)>,
    /// Mean rate of these classes; NaN without any.
    pub mean_rate: f64,
    /// Mean of what is expected by chance.
    pub mean_chance: f64,
    /// Classes of the list for which there are no determinant genes, or none of whose markers the model reads.
    pub left_out: Vec<String>,
}

/// [`key_gene_hit_rate`] of every class, from pairs of a class and a gene.
pub fn key_gene_hit_rates(found: &[ClassDeterminants], genes: &[String], markers: &[(String, String)]) -> KeyGeneReport {
    let of = |class: &str| markers.iter().filter(|(c, _)| c == class).map(|(_, gene)| gene).collect::<Vec<_>>();
    let hits = found.iter().map(|c| (c.class.clone(), key_gene_hit_rate(c, genes, &of(&c.class))));
    let by_class: Vec<(String, KeyGeneHits)> = hits.filter(|(_, hits)| hits.n_markers > 0).collect();
    let mean = |of: &dyn Fn(&KeyGeneHits) -> f64| by_class.iter().map(|(_, h)| of(h)).sum::<f64>() / by_class.len() as f64;
    let (mean_rate, mean_chance) = (mean(&|h| h.rate), mean(&|h| h.chance));
    let mut left_out: Vec<String> = Vec::new();
    for (class, _) in markers {
        if by_class.iter().all(|(c, _)| c != class) && !left_out.contains(class) {
            left_out.push(class.clone());
        }
    }
    KeyGeneReport { by_class, mean_rate, mean_chance, left_out }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::Tensor;
    use ndarray::Array2;

    use super::*;
    use crate::data::Csr;
    use crate::downstream::Baseline;
    use crate::ops::sparse_batch::SparseBatch;

    /// Two classes; the logit of the first is gene 0 less gene 1, that of the second 0.
    struct Two(Vec<String>);

    impl Network for Two {
        fn genes(&self) -> &[String] {
            &self.0
        }

        fn first_layer(&self, x: &Arc<SparseBatch>) -> Result<Tensor> {
            x.to_tensor(&candle_core::Device::Cpu)
        }

        fn first_weight(&self) -> Result<Option<Array2<f32>>> {
            Ok(None)
        }

        fn latent(&self, first: &Tensor) -> Result<Tensor> {
            Ok(first.clone())
        }

        fn logits(&self, latent: &Tensor) -> Result<Tensor> {
            let logit = (latent.narrow(1, 0, 1)? - latent.narrow(1, 1, 1)?)?;
            Ok(Tensor::cat(&[&logit, &logit.zeros_like()?], 1)?)
        }
    }

    #[test]
    fn genes_of_a_class_are_those_on_which_its_probability_rests() {
        let network = Two(["A", "B", "C"].map(str::to_owned).to_vec());
        let x = ndarray::array![[2.0f32, 0.0, 5.0], [3.0, 0.1, 5.0], [0.0, 2.0, 5.0], [0.0, 0.0, 1.0]];
        let x = Csr::from_dense(x.view()).unwrap();
        let labels =
            Categorical::new(vec![Some(0), Some(0), Some(1), None], vec!["a".into(), "b".into(), "none".into()]).unwrap();
        let config = DeterminantConfig { n_top: 1, n_genes: 2, ..Default::default() };
        let found = determinant_genes(&network, &x, &labels, &config).unwrap();
        assert_eq!(found.iter().map(|c| (c.class.as_str(), c.n_cells)).collect::<Vec<_>>(), [("a", 2), ("b", 1)]);
        assert_eq!(found[0].genes.iter().map(|g| (g.gene, g.frequency)).collect::<Vec<_>>(), [(0, 1.0)]);
        // From no expression the probability of each class is a half.
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        let b = &found[1].genes[0];
        assert!(b.gene == 1 && (b.attribution - (sigmoid(2.0) - 0.5)).abs() < 1e-5, "{b:?}");
        assert!(found[0].completeness_error < 1e-5);

        // Of each cell by itself: the third has gene B alone, the first gene A.
        let of_cells = determinant_genes_of_cells(&network, &x, &labels, &config).unwrap();
        let first: Vec<_> = of_cells.iter().map(|c| (c.cell, c.class.as_str(), c.genes[0].0)).collect();
        assert_eq!(first, [(0, "a", 0), (1, "a", 0), (2, "b", 1)]);
        for (found, logit) in of_cells.iter().zip([2.0f32, 2.9, 2.0]) {
            let genes: f32 = found.genes.iter().map(|(_, v)| v).sum();
            assert!(found.cell == 1 || (genes - (sigmoid(logit) - 0.5)).abs() < 1e-5, "{found:?}");
        }
        let both = determinant_genes_of_cells(&network, &x, &labels, &DeterminantConfig { n_top: 3, ..config }).unwrap();
        // Gene C moves no logit.
        assert_eq!(both.iter().map(|c| c.genes.len()).collect::<Vec<_>>(), [1, 2, 1]);
        let all: f32 = both[1].genes.iter().map(|(_, v)| v).sum();
        assert!((all - (sigmoid(2.9) - 0.5)).abs() < 1e-5 && both[1].genes[1].1 < 0.0, "{both:?}");
        // From the mean cell, (1.25, 0.525, 4), the first cell adds gene A and, by having none, lacks gene B.
        let from_mean = DeterminantConfig {
            n_top: 3,
            gradients: GradientConfig { baseline: Baseline::named("mean").unwrap(), n_steps: 50 },
            ..config
        };
        let mean = determinant_genes_of_cells(&network, &x, &labels, &from_mean).unwrap();
        let sum: f32 = mean[0].genes.iter().map(|(_, v)| v).sum();
        assert!((sum - (sigmoid(2.0) - sigmoid(1.25 - 0.525))).abs() < 1e-5, "{mean:?}");
        assert!(mean[0].genes.iter().all(|(_, v)| *v > 0.0) && mean[0].genes.len() == 2, "{mean:?}");
        assert!(Baseline::named("none").unwrap_err().to_string().contains("give `zero` or `mean`"));

        let hits = key_gene_hit_rate(&found[0], &network.0, &["A", "C", "X"]);
        assert_eq!(hits, KeyGeneHits { n_markers: 2, n_hits: 1, rate: 0.5, chance: 1.0 / 3.0 });
        assert!(key_gene_hit_rate(&found[0], &network.0, &["X"]).rate.is_nan());
        let pairs = [("b", "A"), ("b", "B"), ("a", "A"), ("none", "A"), ("a", "C"), ("a", "B"), ("c", "C"), ("c", "C")];
        let pairs = pairs.map(|(class, gene)| (class.to_owned(), gene.to_owned()));
        let report = key_gene_hit_rates(&found, &network.0, &pairs);
        let counts: Vec<_> = report.by_class.iter().map(|(c, h)| (c.as_str(), h.n_hits, h.n_markers)).collect();
        assert_eq!(counts, [("a", 1, 3), ("b", 1, 2)]);
        assert!((report.mean_rate - (1.0 / 3.0 + 0.5) / 2.0).abs() < 1e-12 && report.mean_chance == 1.0 / 3.0);
        assert_eq!(report.left_out, ["none", "c"]);
        assert!(key_gene_hit_rates(&found, &network.0, &[]).mean_rate.is_nan());
        assert!(determinant_genes(&network, &x, &labels.select(&[0]), &config).is_err());
        assert!(determinant_genes(&network, &x, &labels, &DeterminantConfig { n_top: 0, ..config }).is_err());
    }
}
