//! Latent semantic indexing: singular vectors of TF-IDF values, the usual space for peaks.

use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayView1, Axis, s};

use super::filter::each_row;
use super::pca::{scores, truncated_svd};
use super::{IdfWeights, PcaConfig, TfIdf};
use crate::data::CellSource;
use crate::error::{Error, Result};

/// Settings of [`lsi`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LsiConfig {
    /// Singular vectors that are computed. Default 50.
    pub n_components: usize,
    /// Multiplies tf * idf before the log. Default 10,000.
    pub scale_factor: f64,
    /// Whether every dimension of the embedding is brought to mean 0 and standard deviation 1 over the cells, as Signac does. Without, a dimension
    /// is as long as its singular value, as in scikit-learn. Default true.
    pub standardise: bool,
    /// The first dimension is left out where the size of its correlation with the depth of the cells is above this, 0 to 1; `None` never leaves it
    /// out. Default 0.75.
    pub max_depth_correlation: Option<f64>,
    /// Names the starting directions.
    pub seed: u64,
}

impl Default for LsiConfig {
    fn default() -> Self {
        Self { n_components: 50, scale_factor: 1e4, standardise: true, max_depth_correlation: Some(0.75), seed: 0 }
    }
}

/// What [`lsi`] found; embeds further cells.
#[derive(Debug, Clone, PartialEq)]
pub struct Lsi {
    /// Coordinates of the cells, [n_cells, dimensions]: `n_components`, or one less where the first is left out.
    pub embedding: Array2<f32>,
    /// Whether the first singular vector is left out of the embedding.
    pub first_left_out: bool,
    /// Pearson correlation of each singular vector's coordinates with the log of the cells' totals, \[n_components\]; 0 where one does not vary.
    pub depth_correlation: Vec<f64>,
    /// Right singular vectors, [n_components, n_features], orthonormal; the entry of largest size is positive.
    pub components: Array2<f32>,
    /// Singular values of the TF-IDF matrix, descending, all `n_components`.
    pub singular_values: Array1<f64>,
    weights: Arc<IdfWeights>,
    scale_factor: f64,
    /// Mean and standard deviation that each dimension was freed of; 0 and 1 where it was not.
    moments: Vec<(f32, f32)>,
}

/// TF-IDF ([`TfIdf`]) and its truncated singular value decomposition, never dense and without centring. `source`: cells x peaks, counts or 0 and 1.
///
/// By the subspace iteration of [`super::pca`]. Memory: as there.
///
/// # Errors
/// [`Error::Argument`] for settings out of range or more components than cells or features; [`Error::Data`] for a value below 0, or no other than 0; what the
/// source fails at.
pub fn lsi(source: &dyn CellSource, config: &LsiConfig) -> Result<Lsi> {
    if let Some(limit) = config.max_depth_correlation.filter(|c| !(0.0..=1.0).contains(c)) {
        let problem = format!("must be between 0 and 1 (got {limit})");
        return Err(Error::argument("max_depth_correlation", problem, "use 0.75"));
    }
    let weights = Arc::new(IdfWeights::of(source)?);
    if weights.idf.iter().all(|w| *w == 0.0) {
        return Err(Error::data("all values are zero", "give counts of peaks, or 0 and 1"));
    }
    let values = TfIdf::new(source, weights.clone(), config.scale_factor)?;
    let svd = PcaConfig { n_components: config.n_components, seed: config.seed, ..PcaConfig::default() };
    let (components, singular_values) = truncated_svd(&values, &svd)?;
    let raw = scores(&values, &Array1::zeros(source.n_genes()), &components)?;
    let mut depth = Vec::with_capacity(source.n_cells());
    each_row(source, |_, _, values| depth.push(values.iter().map(|v| f64::from(*v)).sum::<f64>().max(1e-9).ln()))?;
    let depth_correlation: Vec<f64> = raw.columns().into_iter().map(|c| correlation(c, &depth)).collect();
    let first_left_out =
        config.n_components > 1 && config.max_depth_correlation.is_some_and(|limit| depth_correlation[0].abs() > limit);
    let moments = match config.standardise {
        true => raw.columns().into_iter().map(mean_and_deviation).collect(),
        false => vec![(0.0, 1.0); config.n_components],
    };
    let mut found = Lsi {
        embedding: Array2::zeros((0, 0)),
        first_left_out,
        depth_correlation,
        components: components.mapv(|v| v as f32),
        singular_values,
        weights,
        scale_factor: config.scale_factor,
        moments,
    };
    found.embedding = found.placed(raw);
    Ok(found)
}

impl Lsi {
    /// Coordinates of cells with the same features, in the same order, by the weights, vectors and moments of the first cells.
    ///
    /// # Errors
    /// [`Error::Data`] for another number of features; what the source fails at.
    pub fn embed(&self, source: &dyn CellSource) -> Result<Array2<f32>> {
        let values = TfIdf::new(source, self.weights.clone(), self.scale_factor)?;
        let components = self.components.mapv(f64::from);
        Ok(self.placed(scores(&values, &Array1::zeros(source.n_genes()), &components)?))
    }

    /// A word on the depth, for the user.
    pub fn note(&self) -> String {
        let first = self.depth_correlation.first().copied().unwrap_or(0.0);
        let what = if self.first_left_out { "left out" } else { "kept" };
        format!("the first dimension has a correlation of {first:.2} with the log of the cells' totals and is {what}")
    }

    fn placed(&self, mut raw: Array2<f32>) -> Array2<f32> {
        for (mut column, (mean, deviation)) in raw.columns_mut().into_iter().zip(&self.moments) {
            column.mapv_inplace(|v| (v - mean) / deviation);
        }
        raw.slice(s![.., usize::from(self.first_left_out)..]).to_owned()
    }
}

/// Standard deviation with n - 1; 1 for a dimension that does not vary.
fn mean_and_deviation(column: ArrayView1<'_, f32>) -> (f32, f32) {
    let values = column.mapv(f64::from);
    let mean = values.mean().unwrap_or(0.0);
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0).max(1.0);
    (mean as f32, if variance > 0.0 { variance.sqrt() as f32 } else { 1.0 })
}

fn correlation(column: ArrayView1<'_, f32>, depth: &[f64]) -> f64 {
    let both = ndarray::stack![Axis(0), column.mapv(f64::from), ArrayView1::from(depth)];
    let centred = &both - &both.sum_axis(Axis(1)).mapv(|sum| sum / depth.len().max(1) as f64).insert_axis(Axis(1));
    let (x, y) = (centred.row(0), centred.row(1));
    let size = (x.dot(&x) * y.dot(&y)).sqrt();
    if size > 0.0 { x.dot(&y) / size } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use ndarray_linalg::{Eigh, UPLO};

    use super::*;
    use crate::data::Csr;
    use crate::preprocess::to_memory;
    use crate::rng::Rng;

    /// Binary peaks of three groups of cells, whose depth differs a lot within each group.
    fn peaks(n: usize, d: usize) -> Csr {
        let mut stream = Rng::new(5).stream("peaks", 0, 0);
        let x = Array2::from_shape_fn((n, d), |(i, j)| {
            let open = if i % 3 == j % 3 { 0.3 } else { 0.06 };
            f32::from(u8::from(stream.bernoulli(open * (0.3 + (i / 3 % 5) as f64 / 2.0))))
        });
        Csr::from_dense(x.view()).unwrap()
    }

    #[test]
    fn equals_the_dense_decomposition_without_centring() {
        let x = peaks(120, 80);
        let config = LsiConfig { n_components: 8, standardise: false, max_depth_correlation: None, ..Default::default() };
        let found = lsi(&x, &config).unwrap();
        let weights = Arc::new(IdfWeights::of(&x).unwrap());
        let dense = to_memory(&TfIdf::new(&x, weights, 1e4).unwrap()).unwrap().to_dense().mapv(f64::from);
        let (values, _) = dense.t().dot(&dense).eigh(UPLO::Lower).unwrap();
        for (ours, exact) in found.singular_values.iter().zip(values.iter().rev().map(|v| v.max(0.0).sqrt())) {
            assert!((ours - exact).abs() < 1e-4 * exact, "{ours} {exact}");
        }
        let expected = dense.dot(&found.components.mapv(f64::from).t());
        assert!((&found.embedding.mapv(f64::from) - &expected).iter().all(|d| d.abs() < 1e-2));
        let lengths = found.embedding.columns().into_iter().map(|c| c.dot(&c).sqrt());
        assert!(lengths.zip(&found.singular_values).all(|(l, s)| (f64::from(l) - s).abs() < 1e-3 * s));
    }

    #[test]
    fn the_first_dimension_follows_depth_and_goes() {
        let x = peaks(150, 300);
        let found = lsi(&x, &LsiConfig { n_components: 5, ..Default::default() }).unwrap();
        assert!(found.first_left_out && found.depth_correlation[0].abs() > 0.9, "{:?}", found.depth_correlation);
        assert!(found.depth_correlation[1].abs() < 0.5 && found.note().contains("is left out"));
        assert_eq!(found.embedding.dim(), (150, 4));
        for column in found.embedding.columns() {
            let (mean, deviation) = mean_and_deviation(column);
            assert!(mean.abs() < 1e-4 && (deviation - 1.0).abs() < 1e-4);
        }
        // The groups of cells lie apart in what is left.
        let group = |g: usize| found.embedding.select(Axis(0), &(g..150).step_by(3).collect::<Vec<_>>());
        let means: Vec<Array1<f32>> = (0..3).map(|g| group(g).mean_axis(Axis(0)).unwrap()).collect();
        let distance = |i: usize, j: usize| (&means[i] - &means[j]).mapv(|v| v * v).sum().sqrt();
        assert!(distance(0, 1) > 1.5 && distance(1, 2) > 1.5 && distance(0, 2) > 1.5);
        // The same cells come to the same places.
        let again = found.embed(&x).unwrap();
        assert!((&again - &found.embedding).iter().all(|d| d.abs() < 1e-4));
        let whole = lsi(&x, &LsiConfig { n_components: 5, max_depth_correlation: None, ..Default::default() }).unwrap();
        assert_eq!((whole.embedding.ncols(), whole.first_left_out), (5, false));
    }

    #[test]
    fn bad_settings_are_refused() {
        let x = peaks(10, 30);
        let error = |config| lsi(&x, &config).unwrap_err().to_string();
        assert!(error(LsiConfig::default()).contains("between 1 and 10"));
        assert!(error(LsiConfig { max_depth_correlation: Some(2.0), ..Default::default() }).contains("max_depth_correlation"));
        assert!(error(LsiConfig { scale_factor: 0.0, ..Default::default() }).contains("scale_factor"));
        assert!(lsi(&x, &LsiConfig { n_components: 10, ..Default::default() }).is_ok());
    }
}
