//! Entropy of soft assignments of rows to other rows: value and gradients in one pass over their similarities.

use candle_core::{D, Tensor};

use super::known;
use super::matmul::{matmul, plain, transposed};
use super::product::product;
use super::simd::{dot, exp_masked, masked_max};
use super::unit_rows::{UnitRows, unit};
use super::values::with_cpu_f32;
use crate::error::Result;

/// See [`crate::loss::entropy_penalty`], which checks the arguments; on the CPU.
pub(crate) fn entropy_fused(unlabelled: &Tensor, labelled: &Tensor, temperature: f64) -> Result<Tensor> {
    let (unlabelled, labelled) = (unlabelled.contiguous()?, labelled.contiguous()?);
    let d = unlabelled.dim(1)?;
    let (value, gradients) = with_cpu_f32(&unlabelled, |u| {
        with_cpu_f32(&labelled, |l| {
            value_and_gradients(UnitRows::of(u.to_vec(), d), UnitRows::of(l.to_vec(), d), temperature as f32)
        })
    })??;
    known::scalar_of_two("entropy_penalty", &unlabelled, &labelled, value, gradients)
}

/// The plain twin, from stock operations, for any device.
pub(crate) fn entropy_plain(unlabelled: &Tensor, labelled: &Tensor, temperature: f64) -> Result<Tensor> {
    let logits = (product(&unit(unlabelled)?, &unit(labelled)?)? / temperature)?; // [u, m]
    let log_p = candle_nn::ops::log_softmax(&logits, D::Minus1)?;
    Ok((log_p.exp()? * log_p)?.sum(1)?.neg()?.mean_all()?)
}

fn value_and_gradients(unlabelled: UnitRows, labelled: UnitRows, temperature: f32) -> (f32, [Vec<f32>; 2]) {
    let (u, m, d) = (unlabelled.n(), labelled.n(), unlabelled.d);
    let mut weights = vec![0f32; u * m];
    let (of_u, of_m) = (plain(&unlabelled.values), plain(&labelled.values));
    matmul(&mut weights, of_u, transposed(&labelled.values), (u, m, d), 1.0 / temperature, false);
    let scale = 1.0 / (u as f32 * temperature);
    let value = weights.chunks_exact_mut(m).map(|row| f64::from(assignment(row, scale))).sum::<f64>() / u as f64;
    let [mut to_unlabelled, mut to_labelled] = [u, m].map(|n| vec![0f32; n * d]);
    matmul(&mut to_unlabelled, plain(&weights), of_m, (u, d, m), 1.0, false);
    matmul(&mut to_labelled, transposed(&weights), of_u, (m, d, u), 1.0, false);
    unlabelled.backward(0, &mut to_unlabelled);
    labelled.backward(0, &mut to_labelled);
    (value as f32, [to_unlabelled, to_labelled])
}

/// The entropy H of p = softmax(s), whose logits s become its derivatives `-p (log p + H)`, times `scale`.
fn assignment(logits: &mut [f32], scale: f32) -> f32 {
    let all = vec![1.0; logits.len()];
    let mut p = vec![0.0; logits.len()];
    let top = masked_max(logits, &all);
    let sum = exp_masked(&mut p, logits, &all, 1.0, top);
    p.iter_mut().for_each(|p| *p /= sum);
    logits.iter_mut().for_each(|s| *s -= top + sum.ln());
    let entropy = -dot(&p, logits);
    logits.iter_mut().zip(&p).for_each(|(log_p, p)| *log_p = -scale * p * (*log_p + entropy));
    entropy
}
