//! Layer and batch normalisation followed by an activation.

use super::{Isa, per_isa, sum_inline};

per_isa! {
    /// Mean and 1 / sqrt(variance + eps) of a row (variance over n, as in layer normalisation), two passes.
    pub(crate) fn moments(x: &[f32], eps: f32) -> (f32, f32) {
        let n = x.len() as f32;
        let mean = sum_inline(x) / n;
        let mut parts = [0.0f32; 16];
        let chunks = x.chunks_exact(16);
        let rest: f32 = chunks.remainder().iter().map(|v| (v - mean) * (v - mean)).sum();
        for chunk in chunks {
            for (part, v) in parts.iter_mut().zip(chunk) {
                *part += (v - mean) * (v - mean);
            }
        }
        (mean, 1.0 / ((parts.iter().sum::<f32>() + rest) / n + eps).sqrt())
    }
}

per_isa! {
    /// `out = leaky_relu(gamma * (x - mean) * rstd + beta)`.
    pub(crate) fn norm_activate(out: &mut [f32], x: &[f32], gamma: &[f32], beta: &[f32], mean: f32, rstd: f32, slope: f32) {
        let n = out.len();
        let (x, gamma, beta) = (&x[..n], &gamma[..n], &beta[..n]);
        for i in 0..n {
            let y = gamma[i] * ((x[i] - mean) * rstd) + beta[i];
            out[i] = if y > 0.0 { y } else { slope * y };
        }
    }
}

per_isa! {
    /// Backward of [`norm_activate`] for one row: writes the input's gradient to `dx`, adds to `dgamma` and `dbeta`.
    pub(crate) fn norm_activate_backward(
        dx: &mut [f32], dgamma: &mut [f32], dbeta: &mut [f32], x: &[f32], gamma: &[f32], beta: &[f32], dy: &[f32],
        mean: f32, rstd: f32, slope: f32,
    ) {
        let n = dx.len();
        let (dgamma, dbeta, x, gamma, beta, dy) = (&mut dgamma[..n], &mut dbeta[..n], &x[..n], &gamma[..n], &beta[..n], &dy[..n]);
        // dx holds the gradient of the normalised value until both its means are known.
        for i in 0..n {
            let hat = (x[i] - mean) * rstd;
            let pre = gamma[i] * hat + beta[i];
            let d = if pre > 0.0 { dy[i] } else { slope * dy[i] };
            dgamma[i] += d * hat;
            dbeta[i] += d;
            dx[i] = d * gamma[i];
        }
        let mean_d = sum_inline(dx) / n as f32;
        let mut parts = [0.0f32; 16];
        let whole = n / 16 * 16;
        for (d, v) in dx[..whole].chunks_exact(16).zip(x[..whole].chunks_exact(16)) {
            for i in 0..16 {
                parts[i] += d[i] * ((v[i] - mean) * rstd);
            }
        }
        let rest: f32 = dx[whole..].iter().zip(&x[whole..]).map(|(d, v)| d * ((v - mean) * rstd)).sum();
        let mean_d_hat = (parts.iter().sum::<f32>() + rest) / n as f32;
        for i in 0..n {
            let hat = (x[i] - mean) * rstd;
            dx[i] = rstd * (dx[i] - mean_d - hat * mean_d_hat);
        }
    }
}

/// Columns of a batch normalisation, by which [`norm_columns_sums`] and [`norm_columns_backward`] rebuild the forward pass of a row.
#[derive(Clone, Copy)]
pub(crate) struct NormColumns<'a> {
    pub mean: &'a [f32],
    /// 1 / sqrt(variance + eps)
    pub rstd: &'a [f32],
    pub gamma: &'a [f32],
    pub beta: &'a [f32],
    pub slope: f32,
}

per_isa! {
    /// `sum += (x - mean)^2`.
    pub(crate) fn add_squares(sum: &mut [f32], x: &[f32], mean: &[f32]) {
        for ((sum, x), mean) in sum.iter_mut().zip(x).zip(mean) {
            *sum += (x - mean) * (x - mean);
        }
    }
}

per_isa! {
    /// `out = leaky_relu(x * scale + shift)`, column by column.
    pub(crate) fn scale_activate(out: &mut [f32], x: &[f32], scale: &[f32], shift: &[f32], slope: f32) {
        let n = out.len();
        let (x, scale, shift) = (&x[..n], &scale[..n], &shift[..n]);
        for i in 0..n {
            let y = x[i] * scale[i] + shift[i];
            out[i] = if y < 0.0 { slope * y } else { y };
        }
    }
}

per_isa! {
    /// Adds a row to the gradients of gamma (`g x̂`) and beta (`g`), g being the output's gradient behind the activation.
    pub(crate) fn norm_columns_sums(dgamma: &mut [f32], dbeta: &mut [f32], x: &[f32], dy: &[f32], c: NormColumns<'_>) {
        let n = dgamma.len();
        let (dbeta, x, dy) = (&mut dbeta[..n], &x[..n], &dy[..n]);
        let (mean, rstd, gamma, beta) = (&c.mean[..n], &c.rstd[..n], &c.gamma[..n], &c.beta[..n]);
        for i in 0..n {
            let normed = (x[i] - mean[i]) * rstd[i];
            let g = if gamma[i] * normed + beta[i] < 0.0 { c.slope * dy[i] } else { dy[i] };
            dgamma[i] += g * normed;
            dbeta[i] += g;
        }
    }
}

per_isa! {
    /// `dx = scale (g - mean_g - x̂ mean_g_normed)` of a row, g as in [`norm_columns_sums`], the means over the cells, scale gamma rstd.
    pub(crate) fn norm_columns_backward(
        dx: &mut [f32], x: &[f32], dy: &[f32], c: NormColumns<'_>, scale: &[f32], mean_g: &[f32], mean_g_normed: &[f32],
    ) {
        let n = dx.len();
        let (x, dy, scale, mean_g, mean_g_normed) = (&x[..n], &dy[..n], &scale[..n], &mean_g[..n], &mean_g_normed[..n]);
        let (mean, rstd, gamma, beta) = (&c.mean[..n], &c.rstd[..n], &c.gamma[..n], &c.beta[..n]);
        for i in 0..n {
            let normed = (x[i] - mean[i]) * rstd[i];
            let g = if gamma[i] * normed + beta[i] < 0.0 { c.slope * dy[i] } else { dy[i] };
            dx[i] = scale[i] * (g - mean_g[i] - normed * mean_g_normed[i]);
        }
    }
}
