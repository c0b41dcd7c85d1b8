//! Highly variable genes.

use super::filter::each_row;
use super::loess::loess;
use crate::data::CellSource;
use crate::error::{Error, Result};

/// How variability is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HvgFlavor {
    /// Variance of clipped standardised counts (Stuart et al. 2019), on counts.
    #[default]
    SeuratV3,
    /// Dispersion standardised within 20 bins of the mean (Satija et al. 2015), on log-normalised values.
    Seurat,
    /// Dispersion against the median of its bin by percentiles of the mean (Zheng et al. 2017), on log-normalised values.
    CellRanger,
}

/// Settings of [`highly_variable_genes`].
#[derive(Debug, Clone, PartialEq)]
pub struct HvgConfig {
    /// Genes to pick. Default 2000.
    pub n_top_genes: usize,
    /// How variability is measured.
    pub flavor: HvgFlavor,
    /// Share of the genes in each local fit of `SeuratV3`. Default 0.3.
    pub span: f64,
    /// Cells that a batch needs to be ranked on its own; smaller ones are left out with a warning. Default 20.
    pub min_batch_size: usize,
}

impl Default for HvgConfig {
    fn default() -> Self {
        Self { n_top_genes: 2000, flavor: HvgFlavor::SeuratV3, span: 0.3, min_batch_size: 20 }
    }
}

/// Scores of all genes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HvgResult {
    /// Column numbers of the picked genes, ascending.
    pub selected: Vec<usize>,
    /// Mean of each gene over all cells.
    pub mean: Vec<f64>,
    /// Variance (n - 1) of each gene over all cells.
    pub variance: Vec<f64>,
    /// Normalised variance or dispersion, the mean over batches.
    pub score: Vec<f64>,
    /// Batches in which the gene is among the top.
    pub n_batches: Vec<usize>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Picks genes that vary more than their mean explains, ranked within each batch where `batch` (a code per cell) is given.
///
/// A gene's rank is taken over batches as in scanpy: for `SeuratV3` by the median rank among the top genes of each batch, ties by the
/// number of batches; for the others by the number of batches, ties by the mean dispersion.
///
/// # Errors
/// [`Error::Argument`] for no genes to pick; [`Error::Data`] where every batch is too small; what the source fails at.
pub fn highly_variable_genes(
    source: &dyn CellSource,
    batch: Option<&[u32]>,
    n_batches: usize,
    config: &HvgConfig,
) -> Result<HvgResult> {
    if config.n_top_genes == 0 || !(config.span > 0.0 && config.span <= 1.0) {
        let problem = format!("must pick at least one gene with a span above 0 and at most 1 (got {config:?})");
        return Err(Error::argument("hvg", problem, "use 2000 genes and span 0.3"));
    }
    let code = |i: usize| batch.map_or(0, |b| b[i] as usize);
    let n_batches = if batch.is_some() { n_batches } else { 1 };
    let moments = Moments::of(source, n_batches, &code, config.flavor)?;
    let mut out = HvgResult { mean: moments.all.mean(), variance: moments.all.variance(), ..Default::default() };
    let used: Vec<usize> =
        (0..n_batches).filter(|b| moments.batches[*b].n >= config.min_batch_size.max(2) || n_batches == 1).collect();
    let tiny = (0..n_batches).filter(|b| moments.batches[*b].n > 0 && !used.contains(b)).count();
    if tiny > 0 {
        out.warnings
            .push(format!("{tiny} batches with fewer than {} cells take no part in the choice of genes", config.min_batch_size));
    }
    if used.is_empty() {
        let problem = format!("every batch has fewer than {} cells, too few to rank genes in", config.min_batch_size);
        let fix = "take all genes or a list of your own; in the library also a smaller `min_batch_size`";
        return Err(Error::data(problem, fix));
    }
    let scores: Vec<Vec<f64>> = match config.flavor {
        HvgFlavor::SeuratV3 => standardised_variances(source, &moments, &used, &code, config.span)?,
        HvgFlavor::Seurat => by_dispersion(&moments, &used, |sums| binned_dispersion(sums, bins_of_equal_width)),
        HvgFlavor::CellRanger => by_dispersion(&moments, &used, median_dispersion),
    };
    rank(&scores, config, &mut out);
    Ok(out)
}

/// Sums of one group of cells.
#[derive(Debug, Clone)]
struct Sums {
    n: usize,
    sum: Vec<f64>,
    squares: Vec<f64>,
}

impl Sums {
    fn new(n_genes: usize) -> Self {
        Self { n: 0, sum: vec![0.0; n_genes], squares: vec![0.0; n_genes] }
    }

    fn add(&mut self, columns: &[u32], values: &[f64]) {
        self.n += 1;
        for (column, value) in columns.iter().zip(values) {
            self.sum[*column as usize] += value;
            self.squares[*column as usize] += value * value;
        }
    }

    fn mean(&self) -> Vec<f64> {
        self.sum.iter().map(|s| s / self.n.max(1) as f64).collect()
    }

    fn variance(&self) -> Vec<f64> {
        let n = self.n as f64;
        let one = |(sum, squares): (&f64, &f64)| ((squares - sum * sum / n) / (n - 1.0).max(1.0)).max(0.0);
        self.sum.iter().zip(&self.squares).map(one).collect()
    }
}

struct Moments {
    all: Sums,
    batches: Vec<Sums>,
}

impl Moments {
    /// `Seurat` measures on the scale before the logarithm, the others on the values as they are, as scanpy does.
    fn of(source: &dyn CellSource, n_batches: usize, code: &impl Fn(usize) -> usize, flavor: HvgFlavor) -> Result<Self> {
        let n_genes = source.n_genes();
        let mut out = Self { all: Sums::new(n_genes), batches: vec![Sums::new(n_genes); n_batches] };
        let mut scratch: Vec<f64> = Vec::new();
        each_row(source, |i, columns, values| {
            scratch.clear();
            match flavor {
                HvgFlavor::Seurat => scratch.extend(values.iter().map(|v| f64::from(*v).exp_m1())),
                _ => scratch.extend(values.iter().map(|v| f64::from(*v))),
            }
            out.all.add(columns, &scratch);
            out.batches[code(i)].add(columns, &scratch);
        })?;
        Ok(out)
    }
}

/// Normalised variance of each gene in each used batch (Stuart et al. 2019, Methods): the variance after standardising by the
/// fitted deviation, with values clipped at sqrt(n).
fn standardised_variances(
    source: &dyn CellSource,
    moments: &Moments,
    used: &[usize],
    code: &impl Fn(usize) -> usize,
    span: f64,
) -> Result<Vec<Vec<f64>>> {
    let n_genes = source.n_genes();
    let place: Vec<Option<usize>> = (0..moments.batches.len()).map(|b| used.iter().position(|u| *u == b)).collect();
    let limits: Vec<(Vec<f64>, Vec<f64>)> = used
        .iter()
        .map(|b| {
            let sums = &moments.batches[*b];
            let deviation = fitted_deviation(&sums.mean(), &sums.variance(), span);
            let clip = sums.mean().iter().zip(&deviation).map(|(m, d)| d * (sums.n as f64).sqrt() + m).collect();
            (deviation, clip)
        })
        .collect();
    let mut clipped = vec![Sums::new(n_genes); used.len()];
    let mut scratch: Vec<f64> = Vec::new();
    each_row(source, |i, columns, values| {
        let Some(u) = place[code(i)] else { return };
        scratch.clear();
        scratch.extend(columns.iter().zip(values).map(|(c, v)| f64::from(*v).min(limits[u].1[*c as usize])));
        clipped[u].add(columns, &scratch);
    })?;
    let score = |u: usize| {
        let (n, mean) = (clipped[u].n as f64, moments.batches[used[u]].mean());
        (0..n_genes)
            .map(|g| {
                let d = limits[u].0[g];
                let numerator = n * mean[g].powi(2) + clipped[u].squares[g] - 2.0 * clipped[u].sum[g] * mean[g];
                if d > 0.0 { numerator / ((n - 1.0) * d * d) } else { 0.0 }
            })
            .collect()
    };
    Ok((0..used.len()).map(score).collect())
}

/// Deviation that the mean explains: a local quadratic of log10 variance on log10 mean. 0 for constant genes.
fn fitted_deviation(mean: &[f64], variance: &[f64], span: f64) -> Vec<f64> {
    let varying: Vec<usize> = (0..mean.len()).filter(|g| variance[*g] > 0.0 && mean[*g] > 0.0).collect();
    let x: Vec<f64> = varying.iter().map(|g| mean[*g].log10()).collect();
    let y: Vec<f64> = varying.iter().map(|g| variance[*g].log10()).collect();
    let (fit, _) = loess(&x, &y, span);
    let mut deviation = vec![0.0; mean.len()];
    varying.iter().zip(fit).for_each(|(g, f)| deviation[*g] = 10f64.powf(f).sqrt());
    deviation
}

/// Scores within each batch. Among several batches, genes that a batch lacks take no part in its bins and are not ranked there.
fn by_dispersion(moments: &Moments, used: &[usize], score: impl Fn(&Sums) -> Vec<f64>) -> Vec<Vec<f64>> {
    if moments.batches.len() == 1 {
        return vec![score(&moments.all)];
    }
    let one = |b: &usize| {
        let sums = &moments.batches[*b];
        let present: Vec<usize> = (0..sums.sum.len()).filter(|g| sums.sum[*g] != 0.0).collect();
        let take = |x: &[f64]| present.iter().map(|g| x[*g]).collect();
        let mut scores = vec![f64::NEG_INFINITY; sums.sum.len()];
        let found = score(&Sums { n: sums.n, sum: take(&sums.sum), squares: take(&sums.squares) });
        present.iter().zip(found).for_each(|(g, s)| scores[*g] = s);
        scores
    };
    used.iter().map(one).collect()
}

/// Mean and dispersion as the flavours take them: log(1 + mean) and variance / mean.
fn dispersion(sums: &Sums) -> (Vec<f64>, Vec<f64>) {
    let (mean, variance) = (sums.mean(), sums.variance());
    let dispersion = mean.iter().zip(&variance).map(|(m, v)| if *m > 0.0 { v / m } else { 0.0 }).collect();
    (mean, dispersion)
}

/// `seurat`: log dispersion standardised within bins of the log mean; a bin of one gene gets the score 1.
fn binned_dispersion(sums: &Sums, bins: fn(&[f64]) -> Vec<usize>) -> Vec<f64> {
    let (mean, dispersion) = dispersion(sums);
    let log_dispersion: Vec<f64> = dispersion.iter().map(|d| if *d > 0.0 { d.ln() } else { f64::NAN }).collect();
    let log_mean: Vec<f64> = mean.iter().map(|m| m.ln_1p()).collect();
    let bin = bins(&log_mean);
    let n_bins = bin.iter().max().map_or(0, |b| b + 1);
    let mut scores = vec![f64::NEG_INFINITY; mean.len()];
    for b in 0..n_bins {
        let genes: Vec<usize> = (0..mean.len()).filter(|g| bin[*g] == b && log_dispersion[*g].is_finite()).collect();
        let n = genes.len() as f64;
        let average = genes.iter().map(|g| log_dispersion[*g]).sum::<f64>() / n;
        let deviation = (genes.iter().map(|g| (log_dispersion[*g] - average).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        for g in genes {
            // A lone gene has no deviation: its own dispersion stands in, as in the published definition.
            scores[g] = if n > 1.0 && deviation > 0.0 { (log_dispersion[g] - average) / deviation } else { 1.0 };
        }
    }
    scores
}

const N_BINS: usize = 20;

/// 20 bins of equal width over the range, the lowest edge included.
fn bins_of_equal_width(x: &[f64]) -> Vec<usize> {
    let (low, high) = x.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let width = ((high - low) / N_BINS as f64).max(f64::MIN_POSITIVE);
    // Edges belong to the bin below.
    x.iter().map(|v| (((v - low) / width).ceil() as usize).saturating_sub(1).min(N_BINS - 1)).collect()
}

/// `cell_ranger`: distance from the median dispersion of the bin, in median absolute deviations; bins by percentiles of the mean.
fn median_dispersion(sums: &Sums) -> Vec<f64> {
    let (mean, dispersion) = dispersion(sums);
    let mut sorted = mean.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let percentile = |p: f64| {
        let at = p / 100.0 * (sorted.len() - 1) as f64;
        let (low, share) = (at.floor() as usize, at.fract());
        sorted[low] + share * (sorted[(low + 1).min(sorted.len() - 1)] - sorted[low])
    };
    let edges: Vec<f64> = (2..=20).map(|i| percentile(5.0 * f64::from(i))).collect();
    let bin: Vec<usize> = mean.iter().map(|m| edges.iter().take(18).filter(|e| *m > **e).count()).collect();
    let mut scores = vec![f64::NEG_INFINITY; mean.len()];
    for b in 0..=18 {
        let genes: Vec<usize> = (0..mean.len()).filter(|g| bin[*g] == b).collect();
        let middle = median(genes.iter().map(|g| dispersion[*g]).collect());
        // The factor makes the median absolute deviation of a normal distribution its standard deviation.
        let spread = median(genes.iter().map(|g| (dispersion[*g] - middle).abs()).collect()) / 0.674_489_750_196_081_7;
        for g in genes {
            scores[g] = if spread > 0.0 { (dispersion[g] - middle) / spread } else { 0.0 };
        }
    }
    scores
}

fn median(mut x: Vec<f64>) -> f64 {
    x.sort_unstable_by(f64::total_cmp);
    match x.len() {
        0 => 0.0,
        n if n % 2 == 1 => x[n / 2],
        n => 0.5 * (x[n / 2 - 1] + x[n / 2]),
    }
}

/// Fills `selected`, `score` and `n_batches`.
fn rank(scores: &[Vec<f64>], config: &HvgConfig, out: &mut HvgResult) {
    let n_genes = out.mean.len();
    let n_top = config.n_top_genes.min(n_genes);
    let mut ranks: Vec<Vec<f64>> = vec![Vec::new(); n_genes];
    for batch in scores {
        let mut order: Vec<usize> = (0..n_genes).filter(|g| batch[*g] > f64::NEG_INFINITY).collect();
        order.sort_by(|a, b| batch[*b].total_cmp(&batch[*a]).then(a.cmp(b)));
        order.iter().take(n_top).enumerate().for_each(|(r, g)| ranks[*g].push(r as f64));
    }
    let finite = |g: usize| scores.iter().map(move |b| b[g]).filter(|s| s.is_finite());
    out.score = (0..n_genes).map(|g| finite(g).sum::<f64>() / scores.len() as f64).collect();
    out.n_batches = ranks.iter().map(Vec::len).collect();
    let mut order: Vec<usize> = (0..n_genes).filter(|g| !ranks[*g].is_empty()).collect();
    let middle: Vec<f64> = ranks.iter().map(|r| median(r.clone())).collect();
    order.sort_by(|a, b| {
        let by_rank = middle[*a].total_cmp(&middle[*b]).then(out.n_batches[*b].cmp(&out.n_batches[*a]));
        let by_batches = out.n_batches[*b].cmp(&out.n_batches[*a]).then(out.score[*b].total_cmp(&out.score[*a]));
        if config.flavor == HvgFlavor::SeuratV3 { by_rank } else { by_batches }.then(a.cmp(b))
    });
    order.truncate(n_top);
    order.sort_unstable();
    out.selected = order;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Csr;
    use crate::rng::Rng;

    /// 300 cells, 200 genes of different level; genes 0 to 9 differ between two kinds of cells.
    fn counts() -> Csr {
        let mut stream = Rng::new(1).stream("counts", 0, 0);
        let x = ndarray::Array2::from_shape_fn((300, 200), |(i, g)| {
            let mut p = 0.02 + 0.9 * (g as f64 / 200.0);
            if g < 10 {
                p = if i % 2 == 0 { 0.25 + 0.07 * g as f64 } else { 0.005 };
            }
            (0..4).filter(|_| stream.bernoulli(p)).count() as f32
        });
        Csr::from_dense(x.view()).unwrap()
    }

    #[test]
    fn planted_genes_are_found_by_every_flavour_with_and_without_batches() {
        let x = counts();
        let logged = crate::preprocess::to_memory(&crate::preprocess::Normalized::new(&x, None, true).unwrap()).unwrap();
        let batch: Vec<u32> = (0..300).map(|i| if i == 7 { 2 } else { u32::from(i > 150) }).collect();
        for flavor in [HvgFlavor::SeuratV3, HvgFlavor::Seurat, HvgFlavor::CellRanger] {
            let config = HvgConfig { n_top_genes: 10, flavor, ..Default::default() };
            let source: &dyn CellSource = if flavor == HvgFlavor::SeuratV3 { &x } else { &logged };
            let all = highly_variable_genes(source, None, 1, &config).unwrap();
            let within = highly_variable_genes(source, Some(&batch), 3, &config).unwrap();
            for result in [&all, &within] {
                let found = result.selected.iter().filter(|g| **g < 10).count();
                // By chance it would be half a gene.
                assert!(found >= 7, "{flavor:?}: {found} of 10 planted genes");
            }
            assert!(all.warnings.is_empty() && within.warnings[0].contains("1 batches with fewer than 20 cells"));
        }
    }

    #[test]
    fn a_batch_of_constant_genes_does_not_break_it() {
        let x =
            Csr::from_dense(ndarray::Array2::from_shape_fn((40, 5), |(i, g)| if g < 3 { 2.0 } else { (i % 2) as f32 }).view())
                .unwrap();
        let config = HvgConfig { n_top_genes: 2, ..Default::default() };
        assert_eq!(highly_variable_genes(&x, None, 1, &config).unwrap().selected, [3, 4]);
        let tiny: Vec<u32> = (0..40).collect();
        assert!(highly_variable_genes(&x, Some(&tiny), 40, &config).unwrap_err().to_string().contains("min_batch_size"));
    }
}
