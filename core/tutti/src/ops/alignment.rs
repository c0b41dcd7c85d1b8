//! Alignment of rows with their nearest rows of another set: value and gradients without those of all other pairs.

use candle_core::{D, Tensor};
use rayon::prelude::*;

use super::known;
use super::matmul::{matmul_new, plain, transposed};
use super::product::product;
use super::simd::{add_scaled, dot, masked_max};
use super::unit_rows::{UnitRows, unit};
use super::values::with_cpu_f32;
use crate::error::Result;

/// How many of the best pairs count, and where given the margin and the query row that each query row's reference row is set against.
#[derive(Clone, Copy)]
pub(crate) struct Settings<'a> {
    pub n_kept: usize,
    pub negatives: Option<(f64, &'a [u32])>,
}

/// See [`crate::loss::top_p_cosine_alignment`], which checks the arguments; on the CPU.
pub(crate) fn alignment_fused(query: &Tensor, reference: &Tensor, settings: Settings<'_>) -> Result<Tensor> {
    let (query, reference) = (query.contiguous()?, reference.contiguous()?);
    let d = query.dim(1)?;
    let (value, gradients) = with_cpu_f32(&query, |q| {
        with_cpu_f32(&reference, |r| value_and_gradients(UnitRows::of(q.to_vec(), d), UnitRows::of(r.to_vec(), d), settings))
    })??;
    known::scalar_of_two("top_p_cosine_alignment", &query, &reference, value, gradients)
}

/// The plain twin, from stock operations, for any device.
pub(crate) fn alignment_plain(query: &Tensor, reference: &Tensor, settings: Settings<'_>) -> Result<Tensor> {
    let (query, reference) = (unit(query)?, unit(reference)?);
    let cosines = product(&query, &reference)?; // [q, r]
    let best = cosines.detach().argmax(D::Minus1)?; // [q]
    let cosine = cosines.gather(&best.unsqueeze(1)?, 1)?.squeeze(1)?; // [q]
    let order = best_first(&cosine.detach().to_vec1()?, settings.n_kept);
    let kept = Tensor::new(order.as_slice(), query.device())?;
    let aligned = cosine.index_select(&kept, 0)?.mean_all()?.neg()?;
    let Some((margin, partners)) = settings.negatives else { return Ok(aligned) };
    let others: Vec<u32> = order.iter().map(|i| partners[*i as usize]).collect();
    let others = query.index_select(&Tensor::new(others.as_slice(), query.device())?, 0)?;
    let found = reference.index_select(&best.index_select(&kept, 0)?, 0)?;
    let apart = (found * others)?.sum(1)?.affine(1.0, margin)?.relu()?.mean_all()?;
    Ok((aligned + apart)?)
}

/// The first of the rows in the order of their cosines, the largest first.
fn best_first(cosines: &[f32], n_kept: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..cosines.len() as u32).collect();
    order.sort_by(|a, b| cosines[*b as usize].total_cmp(&cosines[*a as usize]));
    order.truncate(n_kept);
    order
}

fn value_and_gradients(query: UnitRows, reference: UnitRows, settings: Settings<'_>) -> (f32, [Vec<f32>; 2]) {
    let (q, r, d) = (query.n(), reference.n(), query.d);
    let cosines = matmul_new(plain(&query.values), transposed(&reference.values), (q, r, d));
    let all = vec![1.0; r];
    let nearest = |row: &[f32]| {
        let top = masked_max(row, &all);
        // None where nothing is a number: the loss is not one either then.
        row.iter().position(|v| *v == top).map_or((0, f32::NAN), |j| (j, top))
    };
    let (best, cosine): (Vec<usize>, Vec<f32>) = cosines.par_chunks_exact(r).map(nearest).unzip();
    let order = best_first(&cosine, settings.n_kept);
    let share = 1.0 / order.len() as f32;
    let [mut of_query, mut of_reference] = [q, r].map(|n| vec![0f32; n * d]);
    let at = |i: usize| i * d..(i + 1) * d;
    let mut value = 0f64;
    for i in order {
        let (i, j) = (i as usize, best[i as usize]);
        value -= f64::from(cosine[i]);
        add_scaled(&mut of_query[at(i)], -share, reference.row(j));
        add_scaled(&mut of_reference[at(j)], -share, query.row(i));
        if let Some((margin, partners)) = settings.negatives {
            let other = partners[i] as usize;
            let above = f64::from(dot(reference.row(j), query.row(other))) + margin;
            if above > 0.0 {
                value += above;
                add_scaled(&mut of_query[at(other)], share, reference.row(j));
                add_scaled(&mut of_reference[at(j)], share, query.row(other));
            }
        }
    }
    query.backward(0, &mut of_query);
    reference.backward(0, &mut of_reference);
    ((value * f64::from(share)) as f32, [of_query, of_reference])
}
