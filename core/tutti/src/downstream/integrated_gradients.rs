//! Which genes a scalar of a network rests on, by integrated gradients (Sundararajan et al. 2017).

use std::sync::Arc;

use candle_core::{D, Tensor, Var};
use ndarray::{Array1, Array2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::{CellSource, Csr};
use crate::error::{Error, Result};
use crate::model::{Network, to_array};
use crate::observe::may_stop;
use crate::ops::product::product;
use crate::ops::sparse_batch::SparseBatch;
use crate::preprocess::gene_means;

/// What the scalar is.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// A latent coordinate, not normalised.
    Latent(usize),
    /// Cosine of the latent coordinates with this direction, as of the centroid of a lineage.
    Cosine(Vec<f32>),
    /// Probability of a class.
    Class(usize),
    /// Probability of the class that each cell is predicted to have.
    PredictedClass,
}

/// Expression from which the path to a cell starts; `zero` or `mean` in settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// No expression: attributions are as sparse as the cells.
    #[default]
    Zero,
    /// The mean over all cells of the source: every gene has an attribution in every cell.
    Mean,
}

impl Baseline {
    /// By its name, `zero` or `mean`.
    ///
    /// # Errors
    /// [`Error::Argument`] for another name.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "zero" => Ok(Self::Zero),
            "mean" => Ok(Self::Mean),
            _ => Err(Error::argument("baseline", format!("is `{name}`"), "give `zero` or `mean`")),
        }
    }
}

/// Settings of [`integrated_gradients`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GradientConfig {
    /// Where the path starts. Default zero.
    pub baseline: Baseline,
    /// Points of the Gauss-Legendre quadrature along the path, at least 1. Default 50.
    pub n_steps: usize,
}

impl Default for GradientConfig {
    fn default() -> Self {
        Self { baseline: Baseline::Zero, n_steps: 50 }
    }
}

/// Attributions of some cells.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribution {
    /// What each gene adds to the scalar, [n_cells, n_genes]; a row sums to the scalar of the cell less that of the baseline.
    pub values: Csr,
    /// The scalar of each cell.
    pub scalar: Vec<f32>,
    /// The scalar of the baseline, for the cell's class where each has its own.
    pub baseline: Vec<f32>,
    /// By how much each row misses that sum: the error of the quadrature. Large ones ask for more steps.
    pub completeness_error: Vec<f32>,
}

impl Attribution {
    fn empty(n_genes: usize) -> Self {
        Self { values: Csr::empty(n_genes), scalar: Vec::new(), baseline: Vec::new(), completeness_error: Vec::new() }
    }

    /// Mean over cells of the absolute attribution of each gene.
    pub fn mean_absolute(&self) -> Array1<f32> {
        let mut sum = Array1::<f64>::zeros(self.values.n_cols());
        for (gene, value) in self.values.indices().iter().zip(self.values.values()) {
            sum[*gene as usize] += f64::from(value.abs());
        }
        sum.mapv(|v| (v / self.values.n_rows().max(1) as f64) as f32)
    }

    /// The `n` genes with the largest absolute attribution in cell `i`, the largest first.
    pub fn top(&self, i: usize, n: usize) -> Vec<(usize, f32)> {
        let (genes, values) = self.values.row(i);
        let mut order: Vec<usize> = (0..genes.len()).collect();
        order.sort_by(|a, b| values[*b].abs().total_cmp(&values[*a].abs()));
        order.into_iter().take(n).map(|k| (genes[k] as usize, values[k])).collect()
    }

    /// Genes that are most often among the `n_top` of a cell, `n` of them with the number of these cells.
    pub fn most_frequent(&self, n_top: usize, n: usize) -> Vec<(usize, usize)> {
        let mut counts = vec![0; self.values.n_cols()];
        (0..self.values.n_rows()).for_each(|i| self.top(i, n_top).iter().for_each(|(gene, _)| counts[*gene] += 1));
        let mut genes: Vec<(usize, usize)> = counts.into_iter().enumerate().filter(|(_, count)| *count > 0).collect();
        genes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        genes.truncate(n);
        genes
    }
}

/// Cells whose path is followed together.
pub(super) const BLOCK: usize = 256;

/// Attributes a scalar of a network to the genes, for the cells `rows` of `source`:
/// `(x_j - b_j) ∫ dF/dx_j (b + t (x - b)) dt` for t from 0 to 1, b being the baseline.
///
/// The integral is over gradients of the first layer's outputs, which one product with its weight takes to the genes. Memory: a block of 256
/// cells times hidden, and the attributions. Parallel in the caller's pool; the same for any number of threads.
///
/// # Errors
/// [`Error::Argument`] for a dimension, direction or class that the network does not have, or no steps; what the source fails at.
pub fn integrated_gradients(
    network: &dyn Network,
    source: &dyn CellSource,
    rows: &[usize],
    target: &Target,
    config: &GradientConfig,
) -> Result<Attribution> {
    let n_genes = network.genes().len();
    let mut out = Attribution::empty(n_genes);
    gradients_by_block(network, source, rows, target, config, |_, block| {
        (0..block.values.n_rows()).for_each(|i| {
            let (genes, values) = block.values.row(i);
            out.values.push_row(genes.iter().copied().zip(values.iter().copied()));
        });
        out.scalar.extend(block.scalar);
        out.baseline.extend(block.baseline);
        out.completeness_error.extend(block.completeness_error);
    })?;
    Ok(out)
}

/// As [`integrated_gradients`], without keeping them: `each` gets the rows of a block of 256 cells and their attributions.
///
/// # Errors
/// As [`integrated_gradients`].
pub(super) fn gradients_by_block(
    network: &dyn Network,
    source: &dyn CellSource,
    rows: &[usize],
    target: &Target,
    config: &GradientConfig,
    mut each: impl FnMut(&[usize], Attribution),
) -> Result<()> {
    let n_genes = network.genes().len();
    if source.n_genes() != n_genes {
        let problem = format!("the data have {} genes, the model {n_genes}", source.n_genes());
        return Err(Error::data(problem, "put the genes in the model's order with `GeneAlignment`"));
    }
    let path = Path::new(network, source, target, config)?;
    let mut x = Csr::empty(n_genes);
    for block in rows.chunks(BLOCK) {
        source.read_rows(block, &mut x)?;
        let x = Arc::new(SparseBatch::without_gradient(std::mem::take(&mut x)));
        let mut out = Attribution::empty(n_genes);
        path.attribute(&x, &mut out)?;
        each(block, out);
    }
    Ok(())
}

struct Path<'a> {
    network: &'a dyn Network,
    target: &'a Target,
    /// Weight of the first layer, [n_genes, hidden].
    weight: Option<Array2<f32>>,
    /// Expression of the baseline, where it is not zero.
    start: Option<Array1<f32>>,
    /// The first layer's outputs for it, [1, hidden].
    first: Tensor,
    quadrature: Vec<(f64, f64)>,
}

impl<'a> Path<'a> {
    fn new(network: &'a dyn Network, source: &dyn CellSource, target: &'a Target, config: &GradientConfig) -> Result<Self> {
        if config.n_steps == 0 {
            return Err(Error::argument("n_steps", "must be at least 1 (got 0)", "use 50 to 300"));
        }
        let start = match config.baseline {
            Baseline::Zero => None,
            Baseline::Mean => Some(gene_means(source)?.mapv(|m| m as f32)),
        };
        let expression = start.clone().unwrap_or_else(|| Array1::zeros(network.genes().len())).insert_axis(ndarray::Axis(0));
        let batch = Arc::new(SparseBatch::without_gradient(Csr::from_dense(expression.view())?));
        Ok(Self {
            network,
            target,
            weight: network.first_weight()?,
            start,
            first: network.first_layer(&batch)?.detach(),
            quadrature: gauss_legendre(config.n_steps),
        })
    }

    fn attribute(&self, x: &Arc<SparseBatch>, out: &mut Attribution) -> Result<()> {
        let first = self.network.first_layer(x)?.detach();
        let (n, _) = first.dims2()?;
        let classes = self.classes(&first)?;
        let span = first.broadcast_sub(&self.first)?;
        let mut mean: Option<Tensor> = None;
        for (at, weight) in &self.quadrature {
            may_stop();
            let point = Var::from_tensor(&self.first.broadcast_add(&(&span * *at)?)?)?;
            let store = self.scalar(&point, &classes)?.sum_all()?.backward()?;
            let Some(gradient) = store.get(&point) else { continue };
            let weighted = (gradient * *weight)?;
            mean = Some(match mean {
                Some(sum) => (sum + weighted)?,
                None => weighted,
            });
        }
        let gradient = match mean {
            Some(mean) => to_array(&mean)?,
            None => Array2::zeros(first.dims2()?),
        };
        let scalar: Vec<f32> = self.scalar(&first, &classes)?.to_vec1()?;
        let baseline: Vec<f32> = self.scalar(&self.first.broadcast_as(first.shape())?.contiguous()?, &classes)?.to_vec1()?;
        for (i, row) in self.to_genes(x.rows(), &gradient).into_iter().enumerate() {
            let sum: f64 = row.iter().map(|(_, v)| f64::from(*v)).sum();
            out.completeness_error.push((sum - (f64::from(scalar[i]) - f64::from(baseline[i]))).abs() as f32);
            out.values.push_row(row);
        }
        assert_eq!(scalar.len(), n);
        out.scalar.extend(scalar);
        out.baseline.extend(baseline);
        Ok(())
    }

    /// From mean gradients of the first layer's outputs, [n, hidden], to attributions of genes.
    fn to_genes(&self, x: &Csr, gradient: &Array2<f32>) -> Vec<Vec<(u32, f32)>> {
        let slope = |i: usize, gene: usize| match &self.weight {
            Some(weight) => weight.row(gene).dot(&gradient.row(i)),
            None => gradient[[i, gene]],
        };
        let row = |i: usize| -> Vec<(u32, f32)> {
            let (genes, values) = x.row(i);
            let Some(start) = &self.start else {
                return genes.iter().zip(values).map(|(gene, v)| (*gene, v * slope(i, *gene as usize))).collect();
            };
            let mut moved = start.mapv(|b| -b);
            genes.iter().zip(values).for_each(|(gene, v)| moved[*gene as usize] += v);
            let moved = moved.iter().enumerate().filter(|(_, v)| **v != 0.0);
            moved.map(|(gene, v)| (gene as u32, v * slope(i, gene))).collect()
        };
        (0..x.n_rows()).into_par_iter().map(row).collect()
    }

    /// The class that is asked of each cell, where the target is one.
    fn classes(&self, first: &Tensor) -> Result<Option<Tensor>> {
        let (n, _) = first.dims2()?;
        let of_all = || -> Result<Tensor> { self.network.logits(&self.network.latent(first)?) };
        Ok(match self.target {
            Target::Latent(_) | Target::Cosine(_) => None,
            Target::PredictedClass => Some(of_all()?.argmax(D::Minus1)?.reshape((n, 1))?),
            Target::Class(class) => {
                let n_classes = of_all()?.dim(1)?;
                if *class >= n_classes {
                    let problem = format!("{class} does not exist");
                    return Err(Error::argument("class", problem, format!("the network has classes 0 to {}", n_classes - 1)));
                }
                Some(Tensor::full(*class as u32, (n, 1), first.device())?)
            }
        })
    }

    /// The scalar of each row, \[n\].
    fn scalar(&self, first: &Tensor, classes: &Option<Tensor>) -> Result<Tensor> {
        let latent = self.network.latent(first)?;
        let (_, width) = latent.dims2()?;
        match (self.target, classes) {
            (Target::Latent(dimension), _) if *dimension < width => Ok(latent.narrow(1, *dimension, 1)?.squeeze(1)?),
            (Target::Latent(dimension), _) => {
                let problem = format!("{dimension} does not exist");
                Err(Error::argument("dimension", problem, format!("the network has dimensions 0 to {}", width - 1)))
            }
            (Target::Cosine(direction), _) if direction.len() == width => {
                let unit = unit(direction);
                let along = product(&latent, &Tensor::from_vec(unit, (1, width), latent.device())?)?.squeeze(1)?;
                let length = latent.sqr()?.sum(1)?.affine(1.0, 1e-24)?.sqrt()?;
                Ok((along / length)?)
            }
            (Target::Cosine(direction), _) => {
                let problem = format!("has {} values for {width} latent dimensions", direction.len());
                Err(Error::argument("direction", problem, "give a centroid of the same network"))
            }
            (_, Some(classes)) => {
                let log_p = candle_nn::ops::log_softmax(&self.network.logits(&latent)?, D::Minus1)?;
                Ok(log_p.gather(classes, 1)?.squeeze(1)?.exp()?)
            }
            (_, None) => Err(Error::argument("class", "is not known", "report this")),
        }
    }
}

fn unit(x: &[f32]) -> Vec<f32> {
    let length = x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt().max(1e-12);
    x.iter().map(|v| (f64::from(*v) / length) as f32).collect()
}

/// Points and weights of the Gauss-Legendre quadrature between 0 and 1: zeros of the Legendre polynomial by Newton's method.
fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    let point = |i: usize| {
        let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..100 {
            // P_n and P_(n-1) at x by their recurrence.
            let (mut p, mut before) = (1.0, 0.0);
            for k in 0..n {
                let k = k as f64;
                (p, before) = (((2.0 * k + 1.0) * x * p - k * before) / (k + 1.0), p);
            }
            slope = n as f64 * (x * p - before) / (x * x - 1.0);
            let step = p / slope;
            x -= step;
            if step.abs() < 1e-15 {
                break;
            }
        }
        ((1.0 - x) / 2.0, 1.0 / ((1.0 - x * x) * slope * slope))
    };
    (0..n).map(point).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// F(first) of a network whose first layer is the expression itself: latent = (x0 x1, x0 + 3 x2, exp(x1)).
    struct Formula;

    impl Network for Formula {
        fn genes(&self) -> &[String] {
            static GENES: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
            GENES.get_or_init(|| ["a", "b", "c"].map(str::to_owned).to_vec())
        }

        fn first_layer(&self, x: &Arc<SparseBatch>) -> Result<Tensor> {
            x.to_tensor(&Device::Cpu)
        }

        fn first_weight(&self) -> Result<Option<Array2<f32>>> {
            Ok(None)
        }

        fn latent(&self, first: &Tensor) -> Result<Tensor> {
            let column = |j| first.narrow(1, j, 1);
            let (a, b, c) = (column(0)?, column(1)?, column(2)?);
            Ok(Tensor::cat(&[(&a * &b)?, (&a + (c * 3.0)?)?, b.exp()?], 1)?)
        }
    }

    #[test]
    fn quadrature_is_exact_for_polynomials_and_its_weights_sum_to_one() {
        for n in [1, 2, 5, 50, 100] {
            let points = gauss_legendre(n);
            assert!((points.iter().map(|(_, w)| w).sum::<f64>() - 1.0).abs() < 1e-13);
            for degree in 0..(2 * n).min(20) {
                let integral: f64 = points.iter().map(|(x, w)| w * x.powi(degree as i32)).sum();
                assert!((integral - 1.0 / (degree as f64 + 1.0)).abs() < 1e-13, "{n} {degree}: {integral}");
            }
        }
    }

    #[test]
    fn attributions_equal_the_integrals_by_hand_and_add_up() {
        let x = Csr::from_dense(ndarray::array![[2.0f32, 3.0, 0.0], [1.0, 0.0, 2.0], [0.0, 1.0, 4.0]].view()).unwrap();
        let of = |target, baseline| {
            integrated_gradients(&Formula, &x, &[0, 2, 1], &target, &GradientConfig { baseline, n_steps: 20 }).unwrap()
        };
        // a b from zero: each factor gets half of the product.
        let product = of(Target::Latent(0), Baseline::Zero);
        assert!((product.values.row(0).1[0] - 3.0).abs() < 1e-5 && (product.values.row(0).1[1] - 3.0).abs() < 1e-5);
        // Linear in a and c: exact from the mean (1, 4/3, 2) too, where the gene b adds nothing.
        let linear = of(Target::Latent(1), Baseline::Mean);
        assert_eq!(linear.values.to_dense().row(1).mapv(|v| v.round()).to_vec(), [-1.0, 0.0, 6.0]);
        for found in
            [product, linear, of(Target::Latent(2), Baseline::Mean), of(Target::Cosine(vec![1.0, 2.0, 0.5]), Baseline::Mean)]
        {
            assert!(found.completeness_error.iter().all(|e| *e < 1e-4), "{:?}", found.completeness_error);
            let sums = (0..3).map(|i| found.values.row(i).1.iter().sum::<f32>());
            assert!(sums.zip(0..).all(|(sum, i)| (sum - (found.scalar[i] - found.baseline[i])).abs() < 1e-4));
        }
        let found = of(Target::Latent(1), Baseline::Zero);
        assert_eq!(found.top(1, 1)[0].0, 2);
        assert_eq!(found.most_frequent(1, 2), [(2, 2), (0, 1)]);
        let wrong = integrated_gradients(&Formula, &x, &[0], &Target::Class(0), &GradientConfig::default());
        assert!(wrong.unwrap_err().to_string().contains("classifier"));
        let wrong = integrated_gradients(&Formula, &x, &[0], &Target::Latent(3), &GradientConfig::default());
        assert!(wrong.unwrap_err().to_string().contains("dimensions 0 to 2"));
    }
}
