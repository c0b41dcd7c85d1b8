//! Rows divided by their lengths, as cosines need them.

use candle_core::{D, Tensor};

use super::simd::dot;
use crate::error::Result;

/// Rows of length 1; a row of zeros stays. From stock operations, for any device.
pub(crate) fn unit(x: &Tensor) -> Result<Tensor> {
    let length = x.sqr()?.sum_keepdim(D::Minus1)?.affine(1.0, 1e-24)?.sqrt()?;
    Ok(x.broadcast_div(&length)?)
}

/// Rows of length 1 with what they were divided by; a row of zeros stays.
pub(super) struct UnitRows {
    pub d: usize,
    /// [n, d]
    pub values: Vec<f32>,
    lengths: Vec<f32>,
}

impl UnitRows {
    /// `x`: [n, d], d at least 1.
    pub fn of(x: Vec<f32>, d: usize) -> Self {
        let mut values = x;
        let lengths = values
            .chunks_exact_mut(d)
            .map(|row| {
                let length = dot(row, row).sqrt().max(1e-12);
                row.iter_mut().for_each(|v| *v /= length);
                length
            })
            .collect();
        Self { d, values, lengths }
    }

    pub fn n(&self) -> usize {
        self.lengths.len()
    }

    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.d..(i + 1) * self.d]
    }

    /// Makes gradients of the rows from `first` on, [k, d], those of the rows before the division, in their place.
    pub fn backward(&self, first: usize, gradient: &mut [f32]) {
        for (i, du) in gradient.chunks_exact_mut(self.d).enumerate() {
            let u = self.row(first + i);
            let (along, length) = (dot(u, du), self.lengths[first + i]);
            du.iter_mut().zip(u).for_each(|(du, u)| *du = (*du - along * u) / length);
        }
    }
}
