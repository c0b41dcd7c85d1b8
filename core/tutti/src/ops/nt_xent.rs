//! NT-Xent with hard-negative weighting: loss and gradient in one pass over the similarity matrix.

use candle_core::Tensor;
use rayon::prelude::*;

use super::known;
use super::matmul::{matmul, plain, transposed};
use super::simd::{exp_masked, masked_max, scaled_difference, sum, with_columns};
use super::unit_rows::{UnitRows, unit};
use super::values::with_cpu_f32;
use crate::error::Result;

/// How a row is taken by the anchor of another row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Pushed away.
    Negative,
    /// Pulled near, as the partner is.
    Positive,
    /// Neither: known to be alike, or not known to differ.
    Ignored,
}

/// Relations of the 2n rows of both views stacked. Without changes a row's partner is positive and all others are negative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relations {
    n_pairs: usize,
    /// [2n, 2n]
    of: Vec<Relation>,
}

impl Relations {
    /// Those of `n_pairs` pairs, rows i and n_pairs + i being partners.
    pub fn new(n_pairs: usize) -> Self {
        let rows = 2 * n_pairs;
        let of = |p: usize| match (p / rows, p % rows) {
            (i, j) if i == j => Relation::Ignored,
            (i, j) if i % n_pairs == j % n_pairs => Relation::Positive,
            _ => Relation::Negative,
        };
        Self { n_pairs, of: (0..rows * rows).map(of).collect() }
    }

    /// Rows of pairs of the same group, e.g. of one lineage, are `relation` to each other; partners stay as they are. `groups`: one per pair.
    pub fn of_groups(groups: &[u32], relation: Relation) -> Self {
        let mut out = Self::new(groups.len());
        let n = groups.len();
        for i in 0..2 * n {
            for j in (0..i).filter(|j| j % n != i % n && groups[j % n] == groups[i % n]) {
                out.set(i, j, relation);
            }
        }
        out
    }

    /// Sets what rows `i` and `j` are to each other; a row has no relation to itself, and that of partners stays.
    pub fn set(&mut self, i: usize, j: usize, relation: Relation) {
        if i % self.n_pairs != j % self.n_pairs {
            let rows = 2 * self.n_pairs;
            self.of[i * rows + j] = relation;
            self.of[j * rows + i] = relation;
        }
    }

    /// What row `j` is to the anchor `i`.
    pub fn get(&self, i: usize, j: usize) -> Relation {
        self.row(i)[j]
    }

    /// Number of pairs.
    pub fn n_pairs(&self) -> usize {
        self.n_pairs
    }

    fn row(&self, i: usize) -> &[Relation] {
        &self.of[i * 2 * self.n_pairs..(i + 1) * 2 * self.n_pairs]
    }
}

/// Settings of the loss; see [`crate::loss::nt_xent`], which checks them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub temperature: f32,
    pub beta: f32,
    pub decoupled: bool,
    pub relations: Option<Relations>,
}

/// The fused loss on the CPU; z_a, z_b: [n, d], rows paired; a scalar, the mean over all 2n anchors.
pub(crate) fn nt_xent_fused(z_a: &Tensor, z_b: &Tensor, settings: &Settings) -> Result<Tensor> {
    let ((n, d), z_a, z_b) = (z_a.dims2()?, z_a.contiguous()?, z_b.contiguous()?);
    let both = with_cpu_f32(&z_a, |a| with_cpu_f32(&z_b, |b| [a, b].concat()))??;
    let views = Views { n, rows: UnitRows::of(both, d) };
    let (loss, weights) = views.loss_and_weights(settings);
    let gradient = |z: &Tensor, start: usize| if z.track_op() { views.gradient(&weights, start) } else { Vec::new() };
    known::scalar_of_two("nt_xent", &z_a, &z_b, loss, [gradient(&z_a, 0), gradient(&z_b, n)])
}

/// The plain twin, from stock operations, for any device.
pub(crate) fn nt_xent_plain(z_a: &Tensor, z_b: &Tensor, s: &Settings) -> Result<Tensor> {
    let (n, _) = z_a.dims2()?;
    let device = z_a.device();
    let z = Tensor::cat(&[z_a, z_b], 0)?;
    let u = unit(&z)?;
    let sim = (u.matmul(&u.t()?)? / f64::from(s.temperature))?; // [2n, 2n]
    let relations = s.relations.clone().unwrap_or_else(|| Relations::new(n));
    let mask = |relation: Relation| {
        let values: Vec<f32> = relations.of.iter().map(|r| f32::from(u8::from(*r == relation))).collect();
        Tensor::from_vec(values, (2 * n, 2 * n), device)
    };
    let (negative, positive) = (mask(Relation::Negative)?, mask(Relation::Positive)?);
    let count = negative.sum_keepdim(1)?; // [2n, 1]
    // Below all similarities where the row is no negative. The largest negative is subtracted: no sum of exponentials can vanish.
    let sim_negative = ((&sim * &negative)? + negative.affine(1e4, -1e4)?)?;
    let top = sim_negative.max_keepdim(1)?.detach(); // [2n, 1]
    let beta = f64::from(s.beta);
    let below = sim_negative.broadcast_sub(&top)?;
    let sum = |factor: f64| (((&below * factor)?.exp()? * &negative)?.sum_keepdim(1)?).clamp(1e-30, f64::INFINITY);
    let tilt = sum(beta)?.div(&count.clamp(1.0, f64::INFINITY)?)?;
    let log_negatives = ((sum(1.0 + beta)?.log()? - tilt.log()?)? + &top)?;
    let gap = log_negatives.broadcast_sub(&sim)?; // [2n, 2n]
    // log(1 + exp(gap)) without overflow
    let each = if s.decoupled { gap } else { (gap.relu()? + gap.abs()?.neg()?.exp()?.affine(1.0, 1.0)?.log()?)? };
    let of_anchor = (each * &positive)?.sum_keepdim(1)?.div(&positive.sum_keepdim(1)?)?;
    // An anchor without negatives has no loss.
    let of_anchor = (of_anchor * count.clamp(0.0, 1.0)?)?;
    Ok(of_anchor.mean_all()?)
}

/// Both views.
struct Views {
    n: usize,
    /// [2n, d]
    rows: UnitRows,
}

/// Rows of the similarity matrix that one task handles; fixed, so that threads change no bit.
const ROW_CHUNK: usize = 64;

impl Views {
    /// The mean loss, and the derivative of it by each similarity, [2n, 2n].
    fn loss_and_weights(&self, s: &Settings) -> (f32, Vec<f32>) {
        let (rows, d, unit) = (2 * self.n, self.rows.d, &self.rows.values[..]);
        let mut weights = vec![0f32; rows * rows];
        let losses: Vec<f64> = weights
            .par_chunks_mut(rows * ROW_CHUNK)
            .enumerate()
            .map(|(c, weights)| {
                let n_rows = weights.len() / rows;
                let chunk = &unit[c * ROW_CHUNK * d..][..n_rows * d];
                matmul(weights, plain(chunk), transposed(unit), (n_rows, rows, d), 1.0 / s.temperature, false);
                let mut scratch = Scratch::new(rows);
                let anchors = weights.chunks_exact_mut(rows).enumerate();
                anchors.map(|(i, row)| f64::from(self.anchor(c * ROW_CHUNK + i, row, s, &mut scratch))).sum()
            })
            .collect();
        ((losses.iter().sum::<f64>() / rows as f64) as f32, weights)
    }

    /// Loss of one anchor; its row of similarities becomes their derivatives, divided by 2n and the temperature.
    ///
    /// With A = sum exp((1 + beta) s), C = mean exp(beta s) over the negatives, the weighted negatives sum to R = A / C, and
    /// d log R / d s_j = (1 + beta) exp((1 + beta) s_j) / A - beta exp(beta s_j) / (m C).
    fn anchor(&self, i: usize, row: &mut [f32], s: &Settings, scratch: &mut Scratch) -> f32 {
        let partner = (i + self.n) % (2 * self.n);
        scratch.fill_mask(i, self.n, s);
        let m = sum(&scratch.mask);
        if m == 0.0 {
            row.fill(0.0);
            return 0.0;
        }
        let top = masked_max(row, &scratch.mask);
        let a = exp_masked(&mut scratch.raised, row, &scratch.mask, 1.0 + s.beta, top);
        let mut log_r = top + a.ln();
        let mut c = 1.0;
        if s.beta != 0.0 {
            c = exp_masked(&mut scratch.tilt, row, &scratch.mask, s.beta, top) / m;
            log_r -= c.ln();
        }
        let scale = 1.0 / (2.0 * self.n as f32 * s.temperature);
        let (loss, share) = scratch.positives(row, i, partner, log_r, scale, s);
        let raised_factor = scale * share * (1.0 + s.beta) / a;
        let tilt_factor = if s.beta == 0.0 { 0.0 } else { scale * share * s.beta / (m * c) };
        scaled_difference(row, raised_factor, &scratch.raised, tilt_factor, &scratch.tilt);
        scratch.pulls.iter().for_each(|(j, pull)| row[*j] = *pull);
        loss
    }

    /// Gradient of the loss by the n unnormalised rows from `start`, [n, d].
    fn gradient(&self, weights: &[f32], start: usize) -> Vec<f32> {
        let (n, d, rows) = (self.n, self.rows.d, 2 * self.n);
        let mut out = vec![0f32; n * d];
        out.par_chunks_mut(d * ROW_CHUNK).enumerate().for_each(|(c, out)| {
            let first = start + c * ROW_CHUNK;
            let n_rows = out.len() / d;
            // A similarity appears in the row of either of its ends.
            let mut both = weights[first * rows..(first + n_rows) * rows].to_vec();
            with_columns(&mut both, weights, rows, first, |out, v| *out += v);
            matmul(out, plain(&both), plain(&self.rows.values), (n_rows, d, rows), 1.0, false);
            self.rows.backward(first, out);
        });
        out
    }
}

struct Scratch {
    mask: Vec<f32>,
    raised: Vec<f32>,
    tilt: Vec<f32>,
    /// Derivatives of the anchor's loss by the similarities of its positives.
    pulls: Vec<(usize, f32)>,
}

impl Scratch {
    fn new(rows: usize) -> Self {
        Self { mask: vec![0.0; rows], raised: vec![0.0; rows], tilt: vec![0.0; rows], pulls: Vec::new() }
    }

    fn fill_mask(&mut self, i: usize, n: usize, s: &Settings) {
        match &s.relations {
            None => {
                self.mask.fill(1.0);
                self.mask[i % n] = 0.0;
                self.mask[i % n + n] = 0.0;
            }
            Some(relations) => {
                let row = self.mask.iter_mut().zip(relations.row(i));
                row.for_each(|(keep, r)| *keep = f32::from(u8::from(*r == Relation::Negative)));
            }
        }
    }

    /// Loss of the anchor, the mean over its positives, and the share of the negatives in their denominators; leaves the pulls.
    fn positives(&mut self, row: &[f32], i: usize, partner: usize, log_r: f32, scale: f32, s: &Settings) -> (f32, f32) {
        self.pulls.clear();
        match &s.relations {
            None => self.pulls.push((partner, 0.0)),
            Some(relations) => {
                let positive = relations.row(i).iter().enumerate().filter(|(_, r)| **r == Relation::Positive);
                self.pulls.extend(positive.map(|(j, _)| (j, 0.0)));
            }
        }
        let per_positive = 1.0 / self.pulls.len() as f32;
        let (mut loss, mut share) = (0.0, 0.0);
        for (j, pull) in &mut self.pulls {
            let gap = log_r - row[*j];
            // softplus without overflow; the share of the negatives is its derivative.
            let (of_pair, of_negatives) =
                if s.decoupled { (gap, 1.0) } else { (gap.max(0.0) + (-gap.abs()).exp().ln_1p(), 1.0 / (1.0 + (-gap).exp())) };
            loss += per_positive * of_pair;
            share += per_positive * of_negatives;
            *pull = -scale * per_positive * of_negatives;
        }
        (loss, share)
    }
}
