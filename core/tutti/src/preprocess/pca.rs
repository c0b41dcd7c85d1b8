//! Principal components of a sparse matrix with implicit centring.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use ndarray_linalg::{Cholesky, Eigh, Inverse, QR, UPLO};
use rayon::prelude::*;

use super::filter::{each_row, gene_means};
use crate::data::{CellSource, Csr, row_blocks};
use crate::error::{Error, Result};
use crate::observe::may_stop;
use crate::rng::Rng;

/// Settings of [`pca`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PcaConfig {
    /// Components. Default 50.
    pub n_components: usize,
    /// Directions beyond these that are iterated. Default 20.
    pub n_oversamples: usize,
    /// Iterations at most. Default 60.
    pub max_iter: usize,
    /// Change of the singular values, relative, at which iteration ends. Default 1e-5.
    pub tolerance: f64,
    /// Names the starting directions.
    pub seed: u64,
}

impl Default for PcaConfig {
    fn default() -> Self {
        Self { n_components: 50, n_oversamples: 20, max_iter: 60, tolerance: 1e-5, seed: 0 }
    }
}

/// Principal components.
#[derive(Debug, Clone, PartialEq)]
pub struct Pca {
    /// Directions, [n_components, n_genes], orthonormal; the entry of largest size is positive.
    pub components: Array2<f32>,
    /// Mean of each gene.
    pub mean: Array1<f32>,
    /// Singular values of the centred matrix, descending.
    pub singular_values: Array1<f64>,
    /// Variance along each component (n - 1).
    pub explained_variance: Array1<f64>,
    /// Its share of the total variance.
    pub explained_variance_ratio: Array1<f64>,
    /// Coordinates of the cells, [n_cells, n_components].
    pub scores: Array2<f32>,
}

/// Rows read at a time.
const BLOCK: usize = 2048;

/// Principal components, never making the matrix dense: subspace iteration with Rayleigh-Ritz on the centred Gram matrix.
///
/// Up to 6000 genes the Gram matrix (n_genes², 8 bytes each) is formed once from the sparse rows; above, every iteration passes over
/// the rows. Memory beside it: 4 * n_genes * (n_components + n_oversamples) * 8 bytes and the scores.
///
/// # Errors
/// [`Error::Argument`] for more components than cells or genes allow; what the source or LAPACK fails at.
pub fn pca(source: &dyn CellSource, config: &PcaConfig) -> Result<Pca> {
    let (n_cells, n_genes) = (source.n_cells(), source.n_genes());
    let most = n_cells.saturating_sub(1).min(n_genes);
    if config.n_components == 0 || config.n_components > most {
        let problem = format!("must be between 1 and {most} for {n_cells} cells x {n_genes} genes (got {})", config.n_components);
        return Err(Error::argument("n_components", problem, "ask for fewer"));
    }
    let mean = gene_means(source)?;
    let operator = Operator::new(source, mean)?;
    let width = (config.n_components + config.n_oversamples).min(most);
    let (directions, values) = subspace(&operator, width, config)?;
    let components = oriented(directions.slice(s![.., ..config.n_components]).t().to_owned());
    let scores = scores(source, &operator.mean, &components)?;
    let singular_values: Array1<f64> = values.slice(s![..config.n_components]).mapv(|v| v.max(0.0).sqrt());
    let explained_variance = singular_values.mapv(|v| v * v / (n_cells - 1) as f64);
    let total = operator.trace / (n_cells - 1) as f64;
    Ok(Pca {
        components: components.mapv(|v| v as f32),
        mean: operator.mean.mapv(|v| v as f32),
        explained_variance_ratio: explained_variance.mapv(|v| v / total.max(f64::MIN_POSITIVE)),
        explained_variance,
        singular_values,
        scores,
    })
}

/// Right singular vectors, [n_components, n_genes], the entry of largest size positive, and singular values, descending, of the matrix as it is,
/// without centring; by the same iteration.
///
/// # Errors
/// As [`pca`]; as many components as there are cells are possible.
pub(super) fn truncated_svd(source: &dyn CellSource, config: &PcaConfig) -> Result<(Array2<f64>, Array1<f64>)> {
    let (n_cells, n_genes) = (source.n_cells(), source.n_genes());
    let most = n_cells.min(n_genes);
    if config.n_components == 0 || config.n_components > most {
        let problem =
            format!("must be between 1 and {most} for {n_cells} cells x {n_genes} features (got {})", config.n_components);
        return Err(Error::argument("n_components", problem, "ask for fewer"));
    }
    let operator = Operator::new(source, Array1::zeros(n_genes))?;
    let width = (config.n_components + config.n_oversamples).min(most);
    let (directions, values) = subspace(&operator, width, config)?;
    let components = oriented(directions.slice(s![.., ..config.n_components]).t().to_owned());
    Ok((components, values.slice(s![..config.n_components]).mapv(|v| v.max(0.0).sqrt())))
}

/// The centred Gram matrix, formed or applied row by row.
struct Operator<'s> {
    source: &'s dyn CellSource,
    mean: Array1<f64>,
    gram: Option<Array2<f64>>,
    /// Sum of squares of the centred matrix.
    trace: f64,
}

/// Genes up to which the Gram matrix is formed.
const GRAM_GENES: usize = 6000;

impl<'s> Operator<'s> {
    fn new(source: &'s dyn CellSource, mean: Array1<f64>) -> Result<Self> {
        let mut squares = 0.0;
        each_row(source, |_, _, values| squares += values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>())?;
        let trace = squares - source.n_cells() as f64 * mean.dot(&mean);
        let gram = if source.n_genes() <= GRAM_GENES { Some(gram(source, &mean)?) } else { None };
        Ok(Self { source, mean, gram, trace })
    }

    /// Gram matrix times `v` [n_genes, width].
    fn apply(&self, v: &Array2<f64>) -> Result<Array2<f64>> {
        match &self.gram {
            Some(gram) => Ok(product(gram.view(), v.view())),
            None => self.apply_by_rows(v),
        }
    }

    /// Xᵀ (X v) - n mean (meanᵀ v), each gene's sum in the order of the cells.
    fn apply_by_rows(&self, v: &Array2<f64>) -> Result<Array2<f64>> {
        let width = v.ncols();
        let mut out = Array2::<f64>::zeros(v.raw_dim());
        let mut rows = Csr::empty(self.source.n_genes());
        for block in row_blocks(self.source.n_cells(), BLOCK) {
            self.source.read_range(block, &mut rows)?;
            let projected = project(&rows, v);
            let columns = rows.transpose();
            out.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(g, mut out)| {
                let (cells, values) = columns.row(g);
                for (cell, value) in cells.iter().zip(values) {
                    out.scaled_add(f64::from(*value), &projected.row(*cell as usize));
                }
            });
        }
        let along = self.mean.dot(v);
        for (mut row, mean) in out.rows_mut().into_iter().zip(&self.mean) {
            for j in 0..width {
                row[j] -= self.source.n_cells() as f64 * mean * along[j];
            }
        }
        Ok(out)
    }
}

/// Rows times `v`, [n_rows, width].
fn project(rows: &Csr, v: &Array2<f64>) -> Array2<f64> {
    let mut out = Array2::<f64>::zeros((rows.n_rows(), v.ncols()));
    out.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(i, mut out)| {
        let (columns, values) = rows.row(i);
        for (column, value) in columns.iter().zip(values) {
            out.scaled_add(f64::from(*value), &v.row(*column as usize));
        }
    });
    out
}

/// Centred Gram matrix, [n_genes, n_genes]; each row of genes is summed by one thread in the order of the cells.
fn gram(source: &dyn CellSource, mean: &Array1<f64>) -> Result<Array2<f64>> {
    let (n_cells, n_genes) = (source.n_cells(), source.n_genes());
    let mut out = Array2::<f64>::zeros((n_genes, n_genes));
    let mut rows = Csr::empty(n_genes);
    for block in row_blocks(n_cells, BLOCK) {
        source.read_range(block, &mut rows)?;
        let (starts, entries) = entries_by_gene(&rows);
        let rows = &rows;
        out.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(g, mut out)| {
            let Some(out) = out.as_slice_mut() else { return };
            for (cell, from) in &entries[starts[g]..starts[g + 1]] {
                let (others, values) = rows.row(*cell as usize);
                // The upper triangle is enough.
                let (others, values) = (&others[*from as usize..], &values[*from as usize..]);
                let value = f64::from(values[0]);
                for (other, other_value) in others.iter().zip(values) {
                    out[*other as usize] += value * f64::from(*other_value);
                }
            }
        });
    }
    for g in 0..n_genes {
        for h in g..n_genes {
            let centred = out[[g, h]] - n_cells as f64 * mean[g] * mean[h];
            out[[g, h]] = centred;
            out[[h, g]] = centred;
        }
    }
    Ok(out)
}

/// For each gene, from where to where its entries stand; and of each entry, the cell and its place in the cell's row.
fn entries_by_gene(rows: &Csr) -> (Vec<usize>, Vec<(u32, u32)>) {
    let mut starts = vec![0usize; rows.n_cols() + 1];
    rows.indices().iter().for_each(|gene| starts[*gene as usize + 1] += 1);
    (0..rows.n_cols()).for_each(|g| starts[g + 1] += starts[g]);
    let (mut next, mut entries) = (starts.clone(), vec![(0, 0); rows.nnz()]);
    for cell in 0..rows.n_rows() {
        for (place, gene) in rows.row(cell).0.iter().enumerate() {
            entries[next[*gene as usize]] = (cell as u32, place as u32);
            next[*gene as usize] += 1;
        }
    }
    (starts, entries)
}

/// Directions [n_genes, width] and eigenvalues, descending.
fn subspace(operator: &Operator<'_>, width: usize, config: &PcaConfig) -> Result<(Array2<f64>, Array1<f64>)> {
    let n_genes = operator.mean.len();
    let mut stream = Rng::new(config.seed).stream("pca", 0, 0);
    let start = Array2::from_shape_fn((n_genes, width), |_| stream.normal());
    let mut basis = orthonormal(start)?;
    let mut before: Option<Array1<f64>> = None;
    let mut image = operator.apply(&basis)?;
    for _ in 0..config.max_iter {
        let (values, rotation) = ritz(&basis, &image)?;
        let top = values.slice(s![..config.n_components]).mapv(|v| v.max(0.0).sqrt());
        let settled = before
            .as_ref()
            .is_some_and(|b| top.iter().zip(b).all(|(t, b)| (t - b).abs() <= config.tolerance * t.abs().max(1e-300)));
        if settled {
            return Ok((product(basis.view(), rotation.view()), values));
        }
        before = Some(top);
        // Two applications per factorisation: the second costs no more digits than the gap between eigenvalues takes.
        basis = orthonormal(image)?;
        image = operator.apply(&basis)?;
        basis = orthonormal(image)?;
        image = operator.apply(&basis)?;
    }
    let (values, rotation) = ritz(&basis, &image)?;
    Ok((product(basis.view(), rotation.view()), values))
}

/// Eigenvalues and eigenvectors of the operator inside of the basis, descending.
fn ritz(basis: &Array2<f64>, image: &Array2<f64>) -> Result<(Array1<f64>, Array2<f64>)> {
    let inner = product(basis.t(), image.view());
    let symmetric = (&inner + &inner.t()) * 0.5;
    let (values, vectors) = symmetric.eigh(UPLO::Lower)?;
    Ok((values.slice(s![..;-1]).to_owned(), vectors.slice(s![.., ..;-1]).to_owned()))
}

/// Orthonormal columns of the same span: Cholesky QR twice (Yamamoto et al. 2015), which is all matrix products; by reflections where the
/// columns are almost dependent.
fn orthonormal(x: Array2<f64>) -> Result<Array2<f64>> {
    let step = |x: &Array2<f64>| {
        let factor = product(x.t(), x.view()).cholesky(UPLO::Upper)?;
        Ok::<_, ndarray_linalg::error::LinalgError>(product(x.view(), factor.inv()?.view()))
    };
    Ok(match step(&x).and_then(|once| step(&once)) {
        Ok(columns) if columns.iter().all(|v| v.is_finite()) => columns,
        _ => x.qr()?.0,
    })
}

/// Rows of `a` that one task multiplies; fixed, so that threads change no bit.
const PRODUCT_ROWS: usize = 64;

/// Matrix product, the same for any number of threads.
pub(crate) fn product(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> Array2<f64> {
    let mut out = Array2::<f64>::zeros((a.nrows(), b.ncols()));
    out.axis_chunks_iter_mut(Axis(0), PRODUCT_ROWS).into_par_iter().zip(a.axis_chunks_iter(Axis(0), PRODUCT_ROWS)).for_each(
        |(mut out, a)| {
            may_stop();
            let (m, k) = a.dim();
            let n = b.ncols();
            let (o, x, y) = (out.strides().to_vec(), a.strides().to_vec(), b.strides().to_vec());
            // SAFETY: the views hold m x n, m x k and k x n values with these strides, and `out` is borrowed alone.
            unsafe {
                gemm::gemm(
                    m,
                    n,
                    k,
                    out.as_mut_ptr(),
                    o[1],
                    o[0],
                    false,
                    a.as_ptr(),
                    x[1],
                    x[0],
                    b.as_ptr(),
                    y[1],
                    y[0],
                    0.0,
                    1.0,
                    false,
                    false,
                    false,
                    gemm::Parallelism::None,
                );
            }
        },
    );
    out
}

/// Rows turned so that their entry of largest size is positive.
fn oriented(mut components: Array2<f64>) -> Array2<f64> {
    for mut row in components.rows_mut() {
        let largest = row.iter().fold(0.0f64, |best, v| if v.abs() > best.abs() { *v } else { best });
        if largest < 0.0 {
            row.mapv_inplace(|v| -v);
        }
    }
    components
}

/// Coordinates of the cells: rows without `mean`, times `components` [n_components, n_genes].
pub(super) fn scores(source: &dyn CellSource, mean: &Array1<f64>, components: &Array2<f64>) -> Result<Array2<f32>> {
    let directions = components.t().as_standard_layout().into_owned();
    let offset = mean.dot(&directions);
    let mut out = Array2::<f32>::zeros((source.n_cells(), components.nrows()));
    let mut rows = Csr::empty(source.n_genes());
    for block in row_blocks(source.n_cells(), BLOCK) {
        source.read_range(block.clone(), &mut rows)?;
        let projected = project(&rows, &directions) - &offset;
        out.slice_mut(s![block, ..]).assign(&projected.mapv(|v| v as f32));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(n: usize, d: usize) -> Csr {
        let mut stream = Rng::new(2).stream("sample", 0, 0);
        let x = Array2::from_shape_fn((n, d), |(i, j)| {
            let signal = if (i % 3) * 7 == j % 21 { 3.0 } else { 0.0 };
            if stream.bernoulli(0.2) { (stream.uniform() + signal) as f32 } else { 0.0 }
        });
        Csr::from_dense(x.view()).unwrap()
    }

    /// All eigenvalues of the dense centred Gram matrix.
    fn dense_singular_values(x: &Csr) -> Vec<f64> {
        let mut dense = x.to_dense().mapv(f64::from);
        let mean = dense.mean_axis(Axis(0)).unwrap();
        dense.rows_mut().into_iter().for_each(|mut row| row -= &mean);
        let (values, _) = dense.t().dot(&dense).eigh(UPLO::Lower).unwrap();
        values.iter().rev().map(|v| v.max(0.0).sqrt()).collect()
    }

    #[test]
    fn equals_the_dense_decomposition() {
        let x = sample(200, 60);
        let result = pca(&x, &PcaConfig { n_components: 10, ..Default::default() }).unwrap();
        let exact = dense_singular_values(&x);
        for (ours, exact) in result.singular_values.iter().zip(&exact) {
            assert!((ours - exact).abs() < 1e-4 * exact, "{ours} {exact}");
        }
        let total: f64 = exact.iter().map(|v| v * v).sum();
        assert!((result.explained_variance_ratio[0] - exact[0].powi(2) / total).abs() < 1e-6);
        // Scores are the centred rows times the directions; their lengths are the singular values; directions are orthonormal.
        let mut dense = x.to_dense();
        dense.rows_mut().into_iter().for_each(|mut row| row -= &result.mean);
        let expected = dense.dot(&result.components.t());
        assert!((&expected - &result.scores).iter().all(|d| d.abs() < 1e-3));
        let inner = result.components.dot(&result.components.t());
        assert!((&inner - &Array2::<f32>::eye(10)).iter().all(|d| d.abs() < 1e-4));
    }

    #[test]
    fn by_rows_and_by_gram_matrix_agree() {
        let x = sample(150, 40);
        let with_gram = Operator::new(&x, gene_means(&x).unwrap()).unwrap();
        let by_rows = Operator { source: &x, mean: with_gram.mean.clone(), gram: None, trace: with_gram.trace };
        let v = Array2::from_shape_fn((40, 5), |(i, j)| ((i * 3 + j * 5) % 7) as f64 - 3.0);
        let difference = with_gram.apply(&v).unwrap() - by_rows.apply(&v).unwrap();
        assert!(difference.iter().all(|d| d.abs() < 1e-6));
    }

    #[test]
    fn columns_become_orthonormal_also_where_they_depend_on_each_other() {
        let mut stream = Rng::new(4).stream("columns", 0, 0);
        let mut x = Array2::from_shape_fn((50, 6), |(_, j)| stream.normal() * 10f64.powi(j as i32));
        for dependent in [false, true] {
            if dependent {
                let copy = x.column(1).to_owned();
                x.column_mut(4).assign(&copy);
            }
            let q = orthonormal(x.clone()).unwrap();
            let difference = q.t().dot(&q) - Array2::<f64>::eye(6);
            assert!(difference.iter().all(|v| v.abs() < 1e-12), "{difference}");
            let outside = &x - &q.dot(&q.t().dot(&x));
            assert!(outside.iter().zip(&x).all(|(o, x)| o.abs() < 1e-9 * (1.0 + x.abs())));
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let x = sample(300, 80);
        let run = |n| {
            crate::threads::Threads::new(n)
                .unwrap()
                .run(|| pca(&x, &PcaConfig { n_components: 5, ..Default::default() }).unwrap())
        };
        assert_eq!(run(1), run(2));
    }

    #[test]
    fn too_many_components_are_refused() {
        let error = pca(&sample(10, 60), &PcaConfig::default()).unwrap_err().to_string();
        assert!(error.contains("between 1 and 9"), "{error}");
    }
}
