//! UMAP (McInnes, Healy and Melville 2018): a layout of cells in two or three dimensions, for looking at.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use ndarray_linalg::{Eigh, UPLO};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::neighbors::{Graph, Metric, NeighborConfig, nearest_self};
use crate::observe::may_stop;
use crate::rng::{Rng, Stream};

/// Settings of [`umap`]. The defaults are those of umap-learn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UmapConfig {
    /// Dimensions of the layout, 2 or 3. Default 2.
    pub n_components: usize,
    /// Neighbours per cell, the cell itself among them, at least 2. Fewer show finer structure. Default 15.
    pub n_neighbors: usize,
    /// Distance of the cells. Default Euclidean; use the cosine for CONCORD.
    pub metric: Metric,
    /// How near cells may lie in the layout, 0 or above, at most `spread`. Default 0.1.
    pub min_dist: f64,
    /// Scale of the layout, above 0. Default 1.
    pub spread: f64,
    /// Rounds; 0 takes 500 for up to 10,000 cells and 200 for more. Default 0.
    pub n_epochs: usize,
    /// Random cells that a cell is pushed from each time a neighbour pulls it. Default 5.
    pub negative_sample_rate: usize,
    /// Step of the first round, above 0; it falls to 0. Default 1.
    pub learning_rate: f64,
    /// Names all draws.
    pub seed: u64,
}

impl Default for UmapConfig {
    fn default() -> Self {
        Self {
            n_components: 2,
            n_neighbors: 15,
            metric: Metric::Euclidean,
            min_dist: 0.1,
            spread: 1.0,
            n_epochs: 0,
            negative_sample_rate: 5,
            learning_rate: 1.0,
            seed: 0,
        }
    }
}

impl UmapConfig {
    fn validate(&self) -> Result<()> {
        if !matches!(self.n_components, 2 | 3) {
            return Err(Error::argument("n_components", format!("is {}", self.n_components), "give 2 or 3"));
        }
        if !(self.spread > 0.0 && self.spread.is_finite() && (0.0..=self.spread).contains(&self.min_dist)) {
            let problem = format!("is {} with a spread of {}", self.min_dist, self.spread);
            return Err(Error::argument("min_dist", problem, "give 0 <= min_dist <= spread, e.g. 0.1 and 1"));
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return Err(Error::argument("learning_rate", format!("is {}", self.learning_rate), "give a number above 0, e.g. 1"));
        }
        Ok(())
    }
}

/// Lays cells out: x [n_cells, d] gives [n_cells, n_components]. Starts from the principal components of x, which keeps groups that
/// lie near each other near (Kobak and Linderman 2021).
///
/// The same bytes for the same seed with any number of threads. Memory: the neighbours, 24 bytes per edge of the graph.
///
/// # Errors
/// [`Error::Argument`] for a setting outside its range or more neighbours than cells; [`Error::Data`] for values that are not finite.
///
/// ```
/// use tutti::downstream::{UmapConfig, umap};
/// // Two groups of 30 cells.
/// let x = ndarray::Array2::from_shape_fn((60, 4), |(i, j)| ((i * 7 + j * 3) % 11) as f32 + if i < 30 { 0.0 } else { 50.0 });
/// let layout = umap(x.view(), &UmapConfig::default())?;
/// assert_eq!(layout.dim(), (60, 2));
/// # Ok::<(), tutti::Error>(())
/// ```
pub fn umap(x: ArrayView2<'_, f32>, config: &UmapConfig) -> Result<Array2<f32>> {
    config.validate()?;
    if config.n_neighbors < 2 {
        return Err(Error::argument("n_neighbors", format!("is {}", config.n_neighbors), "give at least 2, e.g. 15"));
    }
    let NeighborConfig { method, .. } = NeighborConfig::default();
    let search = NeighborConfig { n_neighbors: config.n_neighbors, metric: config.metric, method, seed: config.seed };
    let graph = Graph::fuzzy(&nearest_self(x, &search)?);
    umap_of_graph(&graph, principal_components(x, config.n_components)?.view(), config)
}

/// Lays the nodes of a graph out, such as one of [`Graph::fuzzy`], from a start [n_nodes, n_components]; `n_neighbors` and `metric`
/// have no part in it. The start is scaled to a width of 10.
///
/// # Errors
/// As [`umap`]; [`Error::Data`] for a start of another size or values that are not finite.
pub fn umap_of_graph(graph: &Graph, start: ArrayView2<'_, f32>, config: &UmapConfig) -> Result<Array2<f32>> {
    config.validate()?;
    if start.dim() != (graph.n_nodes(), config.n_components) {
        let problem = format!("a start of {:?} for {} nodes in {} dimensions", start.dim(), graph.n_nodes(), config.n_components);
        return Err(Error::data(problem, "give a row per node and a column per dimension"));
    }
    if let Some(i) = start.rows().into_iter().position(|row| row.iter().any(|v| !v.is_finite())) {
        return Err(Error::data(format!("row {} of the start is not finite", i + 1), "leave the cell out"));
    }
    match config.n_components {
        2 => lay_out::<2>(graph, start, config),
        _ => lay_out::<3>(graph, start, config),
    }
}

/// Coordinates on the first principal components, [n, k]; 0 for those beyond the width of x.
fn principal_components(x: ArrayView2<'_, f32>, k: usize) -> Result<Array2<f32>> {
    let mean = x.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(x.ncols()));
    let centred = &x - &mean;
    let covariance = centred.t().dot(&centred).mapv(f64::from);
    let (_, vectors) = covariance
        .eigh(UPLO::Lower)
        .map_err(|e| Error::data(format!("the embedding has no principal components ({e})"), "check its values"))?;
    let mut out = Array2::zeros((x.nrows(), k));
    for (column, vector) in out.columns_mut().into_iter().zip(vectors.columns().into_iter().rev()) {
        // An eigenvector has no sign of its own: its largest entry is made positive, as another library may turn it.
        let largest = vector.iter().copied().fold(0.0f64, |a, b| if b.abs() > a.abs() { b } else { a });
        centred.dot(&vector.mapv(|v| (v * largest.signum()) as f32)).assign_to(column);
    }
    Ok(out)
}

/// Width of the start.
const START_WIDTH: f32 = 10.0;

/// Steps of one round. In a step, every cell sees all others where they were before it, so that cells can move at once; more steps
/// keep pulls that agree from adding up to a jump, fewer are faster. Even, since an edge acts in two of them.
const SLOTS: usize = 4;

fn lay_out<const D: usize>(graph: &Graph, start: ArrayView2<'_, f32>, config: &UmapConfig) -> Result<Array2<f32>> {
    let n = graph.n_nodes();
    let n_epochs = match config.n_epochs {
        0 if n <= 10_000 => 500,
        0 => 200,
        n_epochs => n_epochs,
    };
    let mut rng = Rng::new(config.seed).stream("umap", 0, 0);
    let mut places: Vec<[f32; D]> = scaled(start, &mut rng);
    let mut moved = places.clone();
    let edges = Edges::new(graph, rng.next_u64());
    let (a, b) = curve(config.min_dist, config.spread);
    let forces = Forces { a: a as f32, b: b as f32, n_negatives: config.negative_sample_rate, key: rng.next_u64() };
    for epoch in 0..n_epochs {
        let rate = (config.learning_rate * (1.0 - epoch as f64 / n_epochs as f64)) as f32;
        for slot in 0..SLOTS {
            may_stop();
            let step = |(i, to): (usize, &mut [f32; D])| {
                let force = forces.on(i, &places, &edges, epoch, slot);
                *to = std::array::from_fn(|d| places[i][d] + rate * force[d]);
            };
            moved.par_iter_mut().enumerate().with_min_len(256).for_each(step);
            std::mem::swap(&mut places, &mut moved);
        }
    }
    Ok(Array2::from_shape_fn((n, D), |(i, d)| places[i][d]))
}

/// The start at a width of 10, moved by very little so that no two cells coincide.
fn scaled<const D: usize>(start: ArrayView2<'_, f32>, rng: &mut Stream) -> Vec<[f32; D]> {
    let (low, high) = start.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let scale = if high > low { START_WIDTH / (high - low) } else { 0.0 };
    let place = |row: ndarray::ArrayView1<'_, f32>| std::array::from_fn(|d| row[d] * scale + 1e-4 * rng.normal() as f32);
    start.rows().into_iter().map(place).collect()
}

/// The edges of each cell, by the slot in which they first act.
struct Edges {
    /// Where the edges of cell i in slot s begin, at i * SLOTS + s.
    offsets: Vec<usize>,
    /// The other cell, and the weight as a share of the heaviest.
    edges: Vec<(u32, f32)>,
}

impl Edges {
    fn new(graph: &Graph, key: u64) -> Self {
        let heaviest = (0..graph.n_nodes()).flat_map(|i| graph.row(i).1).copied().fold(f32::MIN_POSITIVE, f32::max);
        // Both ends of an edge must find the same slot.
        let slot = |i: u32, j: u32| Draw::new(key, i.min(j) as usize, i.max(j) as usize).below(SLOTS);
        let (mut offsets, mut edges) = (vec![0], Vec::with_capacity(2 * graph.n_edges()));
        for i in 0..graph.n_nodes() {
            let (neighbors, weights) = graph.row(i);
            for s in 0..SLOTS {
                let here = neighbors.iter().zip(weights).filter(|(j, _)| slot(i as u32, **j) == s);
                edges.extend(here.map(|(j, weight)| (*j, weight / heaviest)));
                offsets.push(edges.len());
            }
        }
        Self { offsets, edges }
    }

    /// The cells whose edges to i, of one slot, act in a round: each edge in its share of the rounds, spread evenly.
    fn due(&self, i: usize, slot: usize, epoch: usize) -> impl Iterator<Item = usize> {
        let at = i * SLOTS + slot;
        let acts = move |share: f32| (share * (epoch + 1) as f32) as u32 > (share * epoch as f32) as u32;
        self.edges[self.offsets[at]..self.offsets[at + 1]].iter().filter(move |(_, s)| acts(*s)).map(|(j, _)| *j as usize)
    }
}

/// What moves cells.
struct Forces {
    a: f32,
    b: f32,
    n_negatives: usize,
    key: u64,
}

impl Forces {
    /// The force on cell i. The published loop visits each edge from both ends, moves both cells by the same force each time, and pushes the
    /// cell it came from away from random ones. Here the ends of an edge compute the same force from the same places, in two slots.
    fn on<const D: usize>(&self, i: usize, places: &[[f32; D]], edges: &Edges, epoch: usize, slot: usize) -> [f32; D] {
        let own = &places[i];
        let (mut force, mut pulls, mut pushes) = ([0f32; D], Lanes::new(), Lanes::new());
        let mut n_visits = 0;
        for j in edges.due(i, slot, epoch) {
            n_visits += 1;
            pulls.add(own, &places[j], &mut force, |squared| self.pull(squared));
        }
        for j in edges.due(i, (slot + SLOTS / 2) % SLOTS, epoch) {
            pulls.add(own, &places[j], &mut force, |squared| self.pull(squared));
        }
        pulls.flush(&mut force, |squared| self.pull(squared));
        let mut draw = Draw::new(self.key, epoch * SLOTS + slot, i);
        for _ in 0..n_visits * self.n_negatives {
            // A cell drawn for itself lies at distance 0 and pushes by nothing.
            pushes.add(own, &places[draw.below(places.len())], &mut force, |squared| self.push(squared));
        }
        pushes.flush(&mut force, |squared| self.push(squared));
        force
    }

    /// Gradient of log(1 / (1 + a d^(2b))), over the difference.
    #[inline(always)]
    fn pull(&self, squared: f32) -> f32 {
        let squared = squared.max(f32::MIN_POSITIVE);
        let power = power(squared, self.b);
        -2.0 * self.a * self.b * power / (squared * (1.0 + self.a * power))
    }

    /// Gradient of log(1 - 1 / (1 + a d^(2b))), over the difference, bounded near 0.
    #[inline(always)]
    fn push(&self, squared: f32) -> f32 {
        2.0 * self.b / ((0.001 + squared) * (1.0 + self.a * power(squared.max(f32::MIN_POSITIVE), self.b)))
    }
}

/// Differences whose forces are computed together.
const LANES: usize = 8;

/// Bound of one force in one dimension.
const CLIP: f32 = 4.0;

struct Lanes<const D: usize> {
    differences: [[f32; LANES]; D],
    n: usize,
}

impl<const D: usize> Lanes<D> {
    fn new() -> Self {
        Self { differences: [[0.0; LANES]; D], n: 0 }
    }

    #[inline(always)]
    fn add(&mut self, own: &[f32; D], other: &[f32; D], force: &mut [f32; D], factor: impl Fn(f32) -> f32) {
        (0..D).for_each(|d| self.differences[d][self.n] = own[d] - other[d]);
        self.n += 1;
        if self.n == LANES {
            self.flush(force, factor);
        }
    }

    /// Adds the forces: of each difference, itself times `factor` of its squared length.
    #[inline(always)]
    fn flush(&mut self, force: &mut [f32; D], factor: impl Fn(f32) -> f32) {
        if self.n == 0 {
            return;
        }
        let factors: [f32; LANES] = std::array::from_fn(|lane| factor(self.differences.iter().map(|d| d[lane] * d[lane]).sum()));
        for (force, differences) in force.iter_mut().zip(&self.differences) {
            *force += differences.iter().zip(&factors).map(|(d, factor)| (factor * d).clamp(-CLIP, CLIP)).sum::<f32>();
        }
        *self = Self::new();
    }
}

/// x^b for x above 0, to about seven digits: several are computed at once where the library's power takes one at a time.
#[inline(always)]
fn power(x: f32, b: f32) -> f32 {
    // x = m 2^e with m from sqrt(1/2) to sqrt(2); log2 m by the series of atanh at (m - 1) / (m + 1), at most 0.172.
    let bits = x.to_bits();
    let exponent = (bits.wrapping_sub(0x3f35_04f3) as i32) >> 23;
    let mantissa = f32::from_bits(bits.wrapping_sub((exponent << 23) as u32));
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let square = t * t;
    let series = t * (1.0 + square * (1.0 / 3.0 + square * (1.0 / 5.0 + square * (1.0 / 7.0 + square / 9.0))));
    let y = b * (exponent as f32 + 2.0 * std::f32::consts::LOG2_E * series);
    // 2^y: its whole part goes into the exponent, the rest (at most 1/2) into the series of e^z.
    let y = y.clamp(-126.0, 126.0);
    // Adding 1.5 * 2²³ leaves no digits behind the point: the nearest whole number stands in the last bits.
    let shifted = y + ROUND;
    let z = (y - (shifted - ROUND)) * std::f32::consts::LN_2;
    let rest = 1.0 + z * (1.0 + z / 2.0 * (1.0 + z / 3.0 * (1.0 + z / 4.0 * (1.0 + z / 5.0 * (1.0 + z / 6.0)))));
    rest * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

/// 1.5 * 2²³.
const ROUND: f32 = 12_582_912.0;

/// Cheap draws, of one cell in one step: SplitMix64 (Steele et al. 2014), whose start is a hash of what they are for.
struct Draw(u64);

impl Draw {
    fn new(key: u64, first: usize, second: usize) -> Self {
        let mut draw = Self(key ^ ((first as u64) << 32) ^ second as u64);
        draw.0 = draw.next();
        draw
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below n, which is less than 2³².
    fn below(&mut self, n: usize) -> usize {
        (((self.next() >> 32) * n as u64) >> 32) as usize
    }
}

/// a and b of 1 / (1 + a d^(2b)) closest, by least squares at 300 distances up to 3 spreads, to a curve that is 1 up to `min_dist` and
/// falls as exp(-(d - min_dist) / spread) beyond (Gauss-Newton steps, damped by Levenberg and Marquardt).
fn curve(min_dist: f64, spread: f64) -> (f64, f64) {
    let points: Vec<(f64, f64)> = (0..300)
        .map(|i| {
            let d = 3.0 * spread * f64::from(i) / 299.0;
            (d, if d < min_dist { 1.0 } else { (-(d - min_dist) / spread).exp() })
        })
        .collect();
    let value = |a: f64, b: f64, d: f64| 1.0 / (1.0 + a * d.powf(2.0 * b));
    let error = |a: f64, b: f64| points.iter().map(|(d, y)| (value(a, b, *d) - y).powi(2)).sum::<f64>();
    let (mut a, mut b, mut damping) = (1.0, 1.0, 1e-3);
    for _ in 0..200 {
        let (mut aa, mut ab, mut bb, mut ra, mut rb) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (d, y) in points.iter().filter(|(d, _)| *d > 0.0) {
            let (f, power) = (value(a, b, *d), d.powf(2.0 * b));
            let (da, db) = (-f * f * power, -f * f * a * power * 2.0 * d.ln());
            (aa, ab, bb) = (aa + da * da, ab + da * db, bb + db * db);
            (ra, rb) = (ra + da * (y - f), rb + db * (y - f));
        }
        let (aa, bb) = (aa * (1.0 + damping), bb * (1.0 + damping));
        let determinant = aa * bb - ab * ab;
        let (next_a, next_b) = (a + (bb * ra - ab * rb) / determinant, b + (aa * rb - ab * ra) / determinant);
        if next_a > 0.0 && next_b > 0.0 && error(next_a, next_b) < error(a, b) {
            (a, b, damping) = (next_a, next_b, damping * 0.3);
        } else {
            damping *= 4.0;
        }
    }
    (a, b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{knn_purity, trustworthiness};
    use crate::threads::Threads;

    fn groups(n: usize, apart: f32) -> (Array2<f32>, Vec<u32>) {
        let mut stream = Rng::new(5).stream("points", 0, 0);
        let labels: Vec<u32> = (0..n as u32).map(|i| i % 4).collect();
        let place = |(i, j): (usize, usize)| apart * f32::from(u8::from(labels[i] as usize == j)) + stream.normal() as f32;
        (Array2::from_shape_fn((n, 12), place), labels)
    }

    #[test]
    fn curve_equals_that_of_umap_learn() {
        // find_ab_params of umap-learn 0.5.12.
        for (spread, min_dist, a, b) in [(1.0, 0.1, 1.576_943_5, 0.895_060_9), (1.0, 0.5, 0.583_030_0, 1.334_167_1)] {
            let found = curve(min_dist, spread);
            assert!((found.0 - a).abs() < 1e-4 && (found.1 - b).abs() < 1e-4, "{found:?}");
        }
    }

    #[test]
    fn power_has_seven_digits() {
        for i in 1..4000 {
            let x = (0.01 * f64::from(i) - 20.0).exp() as f32;
            for b in [0.3, 0.895_060_9, 1.9] {
                let exact = f64::from(x).powf(f64::from(b as f32));
                assert!((f64::from(power(x, b as f32)) / exact - 1.0).abs() < 3e-6, "{x}^{b}");
            }
        }
    }

    #[test]
    fn groups_stay_apart_and_neighbourhoods_hold_in_two_and_three_dimensions() {
        let (x, labels) = groups(400, 9.0);
        for n_components in [2, 3] {
            let layout = umap(x.view(), &UmapConfig { n_components, ..Default::default() }).unwrap();
            let near = nearest_self(layout.view(), &NeighborConfig::default()).unwrap();
            assert!(knn_purity(&near, &labels).unwrap() > 0.999);
            let trusted = trustworthiness(x.view(), layout.view(), &[15], Metric::Euclidean).unwrap()[0];
            assert!(trusted > 0.87, "{trusted}");
        }
    }

    #[test]
    fn a_circle_stays_a_circle() {
        let angle = |i: usize| std::f32::consts::TAU * i as f32 / 300.0;
        let x = Array2::from_shape_fn((300, 2), |(i, j)| if j == 0 { angle(i).cos() } else { angle(i).sin() });
        let layout = umap(x.view(), &UmapConfig::default()).unwrap();
        let centre = layout.mean_axis(Axis(0)).unwrap();
        let radius: Vec<f32> = layout.rows().into_iter().map(|r| (&r - &centre).mapv(|v| v * v).sum().sqrt()).collect();
        let (low, high) = radius.iter().fold((f32::INFINITY, 0f32), |(l, h), r| (l.min(*r), h.max(*r)));
        assert!(low > 0.3 * high, "the middle stays empty: radii {low} to {high}");
    }

    #[test]
    fn threads_change_no_byte_and_seeds_do() {
        let (x, _) = groups(700, 4.0);
        let config = UmapConfig { n_epochs: 40, ..Default::default() };
        let run = |n, config: &UmapConfig| Threads::new(n).unwrap().run(|| umap(x.view(), config).unwrap());
        let one = run(1, &config);
        assert_eq!(one, run(2, &config));
        assert_eq!(one, run(3, &config));
        assert_ne!(one, run(1, &UmapConfig { seed: 1, ..config }));
    }

    #[test]
    fn equal_cells_give_finite_places_and_bad_settings_are_refused() {
        let x = Array2::<f32>::ones((40, 3));
        assert!(umap(x.view(), &UmapConfig::default()).unwrap().iter().all(|v| v.is_finite()));
        let one_wide = Array2::from_shape_fn((40, 1), |(i, _)| i as f32);
        assert!(umap(one_wide.view(), &UmapConfig::default()).unwrap().iter().all(|v| v.is_finite()));
        let refused = |config: UmapConfig| umap(x.view(), &config).unwrap_err().to_string();
        assert!(refused(UmapConfig { n_components: 4, ..Default::default() }).contains("n_components"));
        assert!(refused(UmapConfig { min_dist: 2.0, ..Default::default() }).contains("min_dist"));
        assert!(refused(UmapConfig { n_neighbors: 41, ..Default::default() }).contains("n_neighbors"));
        let start = Array2::zeros((3, 2));
        let graph = Graph::from_edges(4, &[(0, 1, 1.0)]).unwrap();
        assert!(umap_of_graph(&graph, start.view(), &UmapConfig::default()).unwrap_err().to_string().contains("4 nodes"));
    }
}
