//! Alignment of query cells with their best reference cells.

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::ops::alignment::{Settings, alignment_fused, alignment_plain};

/// Cells that are pushed apart beside those that are aligned.
#[derive(Debug, Clone, Copy)]
pub struct AlignmentNegatives<'a> {
    /// Cosine to which they are pushed is minus this. The published code has 0.5.
    pub margin: f64,
    /// Row of `query` that each query cell's reference cell is set against, \[n_query\].
    pub partners: &'a [u32],
}

/// Draws query cells to the reference cells that they are nearest to (scJoint, stage 1; CellPredX, "feature alignment"). `query` [q, d] and
/// `reference` [r, d]: of the best cosine of every query cell, the share `top_p` of the largest counts, at least one; the loss is minus their
/// mean, -1 to 1. Which cells these are carries no gradient, their cosine does, to both sides.
///
/// With `negatives`, the mean of max(0, cosine + margin) between the reference cells found and other query cells is added, as in the published
/// code alone.
///
/// # Errors
/// Shapes that do not fit or are empty; a share outside of 0 to 1; partners of another number.
pub fn top_p_cosine_alignment(
    query: &Tensor,
    reference: &Tensor,
    top_p: f64,
    negatives: Option<AlignmentNegatives<'_>>,
) -> Result<Tensor> {
    let ((q, d), (r, width)) = (query.dims2()?, reference.dims2()?);
    if q == 0 || r == 0 || d == 0 || d != width {
        let problem = format!("got shapes {:?} and {:?}", query.dims(), reference.dims());
        return Err(Error::argument("top_p_cosine_alignment", problem, "both need rows, of the same width"));
    }
    if !(top_p > 0.0 && top_p <= 1.0) {
        return Err(Error::argument("top_p", format!("must be above 0 and at most 1 (got {top_p})"), "use 0.8"));
    }
    let negatives = negatives.map(|n| (n.margin, n.partners));
    if let Some((_, partners)) =
        negatives.filter(|(_, partners)| partners.len() != q || partners.iter().any(|i| *i as usize >= q))
    {
        let problem = format!("are {} for {q} query cells, or not all of these", partners.len());
        return Err(Error::argument("partners", problem, "give one per query cell"));
    }
    let settings = Settings { n_kept: ((top_p * q as f64).round() as usize).clamp(1, q), negatives };
    if query.device().is_cpu() {
        alignment_fused(query, reference, settings)
    } else {
        alignment_plain(query, reference, settings)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::rng::Rng;

    fn by_loops(query: &[f64], reference: &[f64], d: usize, kept: usize, negatives: Option<(f64, &[u32])>) -> f64 {
        let cosine = |x: &[f64], y: &[f64]| {
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            dot(x, y) / (dot(x, x) * dot(y, y)).sqrt()
        };
        let mut best: Vec<(f64, usize, usize)> = query
            .chunks(d)
            .enumerate()
            .map(|(i, x)| {
                let all: Vec<f64> = reference.chunks(d).map(|y| cosine(x, y)).collect();
                let j = (0..all.len()).max_by(|a, b| all[*a].total_cmp(&all[*b])).unwrap();
                (all[j], i, j)
            })
            .collect();
        best.sort_by(|a, b| b.0.total_cmp(&a.0));
        best.truncate(kept);
        let n = kept as f64;
        let apart = negatives.map_or(0.0, |(margin, partners)| {
            let rows: Vec<(&[f64], &[f64])> = query.chunks(d).zip(query.chunks(d)).collect();
            let one = |(_, i, j): &(f64, usize, usize)| {
                let other = rows[partners[*i] as usize].0;
                (cosine(&reference[j * d..(j + 1) * d], other) + margin).max(0.0)
            };
            best.iter().map(one).sum::<f64>() / n
        });
        apart - best.iter().map(|b| b.0).sum::<f64>() / n
    }

    #[test]
    fn value_and_both_gradients_equal_the_formula() {
        let d = 3;
        let mut stream = Rng::new(7).stream("rows", 0, 0);
        let mut draw = |n: usize| (0..n * d).map(|_| stream.normal()).collect::<Vec<f64>>();
        let (query, reference) = (draw(5), draw(4));
        let var =
            |x: &[f64]| Var::from_vec(x.iter().map(|v| *v as f32).collect::<Vec<_>>(), (x.len() / d, d), &Device::Cpu).unwrap();
        let partners = [3u32, 0, 4, 1, 2];
        for (negatives, plain) in
            [(None, false), (Some((0.5, &partners[..])), false), (None, true), (Some((0.5, &partners)), true)]
        {
            let (vq, vr) = (var(&query), var(&reference));
            let config = negatives.map(|(margin, partners)| AlignmentNegatives { margin, partners });
            let loss = match plain {
                true => alignment_plain(&vq, &vr, Settings { n_kept: 4, negatives }),
                false => top_p_cosine_alignment(&vq, &vr, 0.8, config),
            };
            let loss = loss.unwrap();
            let expected = by_loops(&query, &reference, d, 4, negatives);
            assert!((f64::from(loss.to_scalar::<f32>().unwrap()) - expected).abs() < 1e-5);
            let store = loss.backward().unwrap();
            for (var, second) in [(&vq, false), (&vr, true)] {
                let gradient: Vec<f32> = store.get(var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
                for (i, ours) in gradient.iter().enumerate() {
                    let at = |step: f64| {
                        let (mut q, mut r) = (query.clone(), reference.clone());
                        if second {
                            r[i] += step
                        } else {
                            q[i] += step
                        }
                        by_loops(&q, &r, d, 4, negatives)
                    };
                    let numeric = (at(1e-6) - at(-1e-6)) / 2e-6;
                    assert!((numeric - f64::from(*ours)).abs() < 1e-4 * (1.0 + numeric.abs()), "{numeric} {ours}");
                }
            }
        }
    }

    #[test]
    fn is_least_for_query_cells_on_reference_cells_and_ignores_the_worst() {
        let tensor = |rows: &[[f32; 2]]| Tensor::from_slice(rows.as_flattened(), (rows.len(), 2), &Device::Cpu).unwrap();
        let reference = tensor(&[[1.0, 0.0], [0.0, 2.0]]);
        let value = |query: &[[f32; 2]], p| {
            top_p_cosine_alignment(&tensor(query), &reference, p, None).unwrap().to_scalar::<f32>().unwrap()
        };
        assert!((value(&[[3.0, 0.0], [0.0, 0.1]], 1.0) + 1.0).abs() < 1e-6);
        let far = [[3.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [-1.0, -1.0]];
        assert!((value(&far, 0.8) + 1.0).abs() < 1e-6 && value(&far, 1.0) > -0.9);
        assert!(top_p_cosine_alignment(&reference, &reference, 0.0, None).is_err());
        let partners = AlignmentNegatives { margin: 0.5, partners: &[0, 2] };
        assert!(top_p_cosine_alignment(&reference, &reference, 0.8, Some(partners)).is_err());
    }
}
