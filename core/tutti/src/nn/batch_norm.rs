//! Normalisation over the cells of a mini-batch.

use candle_core::{Tensor, Var};

use super::{Activation, Kernels, Parameters, Pass};
use crate::error::Result;
use crate::ops::batch_norm::{EPS, batch_norm_activate, batch_norm_activate_plain, batch_norm_step};
use crate::ops::chain::{Step, Trained};
use crate::ops::values::with_cpu_f32;

/// Share of a mini-batch's statistics in the running ones.
const MOMENTUM: f64 = 0.1;

/// Mean and variance of each feature over the mini-batches of training, by which cells are normalised outside of it.
///
/// They stand apart from scale and shift: cells of several sources can each have their own and share these.
#[derive(Debug, Clone)]
pub struct RunningStatistics {
    mean: Var,
    variance: Var,
}

impl RunningStatistics {
    /// Of `d` features; mean 0, variance 1. Saved with the model and not trained.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new(parameters: &mut Parameters, name: &str, d: usize) -> Result<Self> {
        let mean = parameters.buffer(&format!("{name}.running_mean"), d, 0.0)?;
        Ok(Self { mean, variance: parameters.buffer(&format!("{name}.running_variance"), d, 1.0)? })
    }

    /// As they are.
    pub(super) fn tensors(&self) -> [Tensor; 2] {
        [self.mean.as_tensor().detach(), self.variance.as_tensor().detach()]
    }

    /// Mean and variance of each feature.
    pub(super) fn get(&self) -> Result<[Vec<f32>; 2]> {
        let [mean, variance] = self.tensors();
        Ok([mean.to_vec1()?, variance.to_vec1()?])
    }

    /// Follows the mean and the biased variance of each feature in a mini-batch of `n` values.
    pub(super) fn follow_values(&self, mean: &[f32], variance: &[f32], n: usize) -> Result<()> {
        let tensor = |values: &[f32]| Tensor::from_slice(values, (1, values.len()), self.mean.device());
        self.follow_all(&tensor(mean)?, &tensor(variance)?, n)
    }

    /// Moves them, for each of the stacked mini-batches, [n_stacked, d], of `n` cells together, a tenth of the way to its own; the variance becomes
    /// unbiased, as in PyTorch.
    fn follow_all(&self, mean: &Tensor, variance: &Tensor, n: usize) -> Result<()> {
        let each = n / mean.dim(0)?;
        let unbiased = each as f64 / (each.max(2) - 1) as f64;
        let follow = if mean.device().is_cpu() { follow } else { follow_plain };
        follow(&self.mean, mean, MOMENTUM)?;
        follow(&self.variance, variance, MOMENTUM * unbiased)
    }
}

/// `running` times 0.9 plus `factor` times each row of `now` in turn, on the CPU: the tensors are too small to be worth an operation each.
fn follow(running: &Var, now: &Tensor, factor: f64) -> Result<()> {
    let (keep, factor) = ((1.0 - MOMENTUM) as f32, factor as f32);
    let mut values = with_cpu_f32(running, <[f32]>::to_vec)?;
    with_cpu_f32(&now.contiguous()?, |now| {
        for row in now.chunks_exact(values.len().max(1)) {
            values.iter_mut().zip(row).for_each(|(running, now)| *running = *running * keep + now * factor);
        }
    })?;
    Ok(running.set(&Tensor::from_vec(values, running.shape(), running.device())?)?)
}

/// The plain twin of [`follow`], for any device.
fn follow_plain(running: &Var, now: &Tensor, factor: f64) -> Result<()> {
    (0..now.dim(0)?)
        .try_for_each(|i| Ok(running.set(&((running.as_tensor().detach() * (1.0 - MOMENTUM))? + (now.get(i)? * factor)?)?)?))
}

/// Batch normalisation (Ioffe and Szegedy 2015) with scale and shift per feature.
#[derive(Debug, Clone)]
pub struct BatchNorm {
    gamma: Trained,
    beta: Trained,
    running: RunningStatistics,
    kernels: Kernels,
}

impl BatchNorm {
    /// For `d` features; gamma 1, beta 0.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new(parameters: &mut Parameters, name: &str, d: usize) -> Result<Self> {
        let gamma = parameters.filled(&format!("{name}.gamma"), d, 1.0)?;
        let beta = parameters.filled(&format!("{name}.beta"), d, 0.0)?;
        Ok(Self { gamma, beta, running: RunningStatistics::new(parameters, name, d)?, kernels: parameters.kernels() })
    }

    /// x: [n, d], normalised and activated: by the mini-batch's own statistics in training (each by its own where several are stacked), which the
    /// running ones then follow, and by the running ones outside of it.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Tensor, activation: Activation, pass: Pass<'_>) -> Result<Tensor> {
        self.forward_with(x, activation, pass, &self.running)
    }

    /// As [`BatchNorm::forward`], by the running statistics of another source.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward_with(
        &self,
        x: &Tensor,
        activation: Activation,
        pass: Pass<'_>,
        running: &RunningStatistics,
    ) -> Result<Tensor> {
        if pass.draws.is_none() {
            let scale = (&self.gamma.tensor / (running.variance.as_tensor().detach() + EPS)?.sqrt()?)?;
            let shift = (&self.beta.tensor - (running.mean.as_tensor().detach() * &scale)?)?;
            return activation.apply(&x.broadcast_mul(&scale)?.broadcast_add(&shift)?);
        }
        let normalise = match self.kernels {
            Kernels::Fused => batch_norm_activate,
            Kernels::Plain => batch_norm_activate_plain,
        };
        let (gamma, beta) = (&self.gamma.tensor, &self.beta.tensor);
        let (y, mean, variance) = normalise(x, gamma, beta, activation.slope(), pass.n_stacked)?;
        running.follow_all(&mean, &variance, x.dim(0)?)?;
        Ok(y)
    }

    pub(super) fn gamma(&self) -> &Tensor {
        &self.gamma.tensor
    }

    /// As [`BatchNorm::forward`] in a chain, in training.
    pub(super) fn step(&self, x: &Tensor, activation: Activation, n_stacked: usize) -> Result<Step> {
        let (step, mean, variance) = batch_norm_step(x, &self.gamma, &self.beta, activation.slope(), n_stacked)?;
        self.running.follow_all(&mean, &variance, x.dim(0)?)?;
        Ok(step)
    }

    /// The same layer, through which no gradient passes to the parameters.
    pub fn detached(&self) -> Self {
        Self { gamma: self.gamma.detached(), beta: self.beta.detached(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::{Draws, Norm, ProjectionHead};
    use crate::rng::Rng;

    #[test]
    fn sources_have_statistics_of_their_own_and_share_scale_and_shift() {
        let mut parameters = Parameters::new(&Device::Cpu, Rng::new(1));
        let norm = BatchNorm::new(&mut parameters, "n", 1).unwrap();
        let other = RunningStatistics::new(&mut parameters, "n.other", 1).unwrap();
        let draws = Draws::new(Rng::new(1), 0, 0);
        let training = Pass::train(&draws, 0);
        let column = |values: &[f32]| Tensor::from_slice(values, (values.len(), 1), &Device::Cpu).unwrap();
        for _ in 0..200 {
            norm.forward(&column(&[1.0, 3.0]), Activation::None, training).unwrap();
            norm.forward_with(&column(&[100.0, 104.0]), Activation::None, training, &other).unwrap();
        }
        let at = |y: Tensor| y.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0];
        // Unbiased variances 2 and 8.
        let (own, others) = (norm.forward(&column(&[4.0]), Activation::None, Pass::EVAL).unwrap(), column(&[106.0]));
        assert!((at(own) - 2f32.sqrt()).abs() < 1e-3);
        let others = at(norm.forward_with(&others, Activation::None, Pass::EVAL, &other).unwrap());
        assert!((others - 2f32.sqrt()).abs() < 1e-3);
        assert!(parameters.iter().count() == 2 && parameters.snapshot().unwrap().len() == 6);
    }

    #[test]
    fn running_statistics_follow_the_mini_batches_in_turn() {
        let mut parameters = Parameters::new(&Device::Cpu, Rng::new(1));
        let (ours, plain) = ["a", "b"].map(|name| parameters.buffer(name, 2, 3.0).unwrap()).into();
        let now = Tensor::new(&[[1.0f32, -2.0], [0.5, 4.0], [7.0, 0.0]], &Device::Cpu).unwrap();
        follow(&ours, &now, 0.2).unwrap();
        follow_plain(&plain, &now, 0.2).unwrap();
        let ours = ours.to_vec1::<f32>().unwrap();
        assert_eq!(ours, plain.to_vec1::<f32>().unwrap());
        let expected = |a: f64, b: f64, c: f64| ((3.0 * 0.9 + 0.2 * a) * 0.9 + 0.2 * b) * 0.9 + 0.2 * c;
        for (ours, expected) in ours.iter().zip([expected(1.0, 0.5, 7.0), expected(-2.0, 4.0, 0.0)]) {
            assert!((f64::from(*ours) - expected).abs() < 1e-6, "{ours} {expected}");
        }
    }

    #[test]
    fn the_gradient_of_a_head_equals_finite_differences_in_training_and_outside() {
        let mut parameters = Parameters::new(&Device::Cpu, Rng::new(7));
        let head = ProjectionHead::new(&mut parameters, 3, &[4], 2, Norm::BatchNorm).unwrap();
        let mut stream = Rng::new(2).stream("h", 0, 0);
        let values: Vec<f32> = (0..15).map(|_| stream.normal() as f32).collect();
        let probe: Vec<f32> = (0..10).map(|_| stream.normal() as f32).collect();
        let probe = Tensor::from_vec(probe, (5, 2), &Device::Cpu).unwrap();
        let draws = Draws::new(Rng::new(1), 0, 0);
        for pass in [Pass::train(&draws, 0), Pass::EVAL] {
            let loss = |h: &Tensor| (head.forward(h, pass).unwrap() * &probe).unwrap().sum_all().unwrap();
            let h = Var::from_vec(values.clone(), (5, 3), &Device::Cpu).unwrap();
            let gradient: Vec<f32> = loss(&h).backward().unwrap().get(&h).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            for (i, ours) in gradient.iter().enumerate() {
                let at = |step: f32| {
                    let mut moved = values.clone();
                    moved[i] += step;
                    f64::from(loss(&Tensor::from_vec(moved, (5, 3), &Device::Cpu).unwrap()).to_scalar::<f32>().unwrap())
                };
                let numeric = (at(2e-3) - at(-2e-3)) / 4e-3;
                assert!((numeric - f64::from(*ours)).abs() < 2e-2 * (1.0 + numeric.abs()), "{i}: {numeric} {ours}");
            }
        }
    }
}
