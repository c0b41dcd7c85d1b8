//! Adam in place, with the first layer's gradient formed row by row as it is applied.

use std::collections::BTreeMap;

use candle_core::{CpuStorage, InplaceOp1, InplaceOp2, Layout, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Decay, Gradients};
use crate::error::{Error, Result};
use crate::nn::{Parameter, Parameters};
use crate::ops::factored::{FactoredGradient, with_rows};
use crate::ops::values::cpu_f32;
use crate::ops::{AdamStep, adam_update};

/// Settings of Adam (Kingma and Ba 2015) and, with a weight decay, AdamW (Loshchilov and Hutter 2019).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AdamConfig {
    /// Decay of the first moment, default 0.9.
    pub beta1: f64,
    /// Decay of the second moment, default 0.999.
    pub beta2: f64,
    /// Added to the root of the second moment, default 1e-8.
    pub eps: f64,
    /// Decoupled weight decay, default 0.
    pub weight_decay: f64,
    /// What decays.
    pub decay: Decay,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, decay: Decay::default() }
    }
}

/// Adam with its moments, in the order of the parameters.
#[derive(Debug)]
pub struct Adam {
    config: AdamConfig,
    /// Updates made so far, per parameter group.
    steps: BTreeMap<usize, u64>,
    moments: Vec<Moments>,
}

#[derive(Debug)]
enum Moments {
    Cpu { first: Vec<f32>, second: Vec<f32> },
    Device { first: Tensor, second: Tensor },
}

impl Adam {
    /// All moments zero.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new(parameters: &Parameters, config: AdamConfig) -> Result<Self> {
        let moments = parameters.iter().map(|p| {
            Ok(if p.var.device().is_cpu() {
                let n = p.var.elem_count();
                Moments::Cpu { first: vec![0.0; n], second: vec![0.0; n] }
            } else {
                Moments::Device { first: p.var.zeros_like()?, second: p.var.zeros_like()? }
            })
        });
        Ok(Self { config, steps: BTreeMap::new(), moments: moments.collect::<Result<_>>()? })
    }

    /// One update of the parameters of `group`; `gradient_scale` multiplies all gradients (1 unless clipped).
    ///
    /// A parameter without gradient is left as it is, moments included.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn step(
        &mut self,
        parameters: &Parameters,
        group: usize,
        gradients: &Gradients,
        learning_rate: f64,
        gradient_scale: f64,
    ) -> Result<()> {
        let t = self.steps.entry(group).or_insert(0);
        *t += 1;
        let c = &self.config;
        let step = AdamStep {
            step_size: (learning_rate / (1.0 - c.beta1.powf(*t as f64))) as f32,
            beta1: c.beta1 as f32,
            beta2: c.beta2 as f32,
            inv_sqrt_correction2: (1.0 / (1.0 - c.beta2.powf(*t as f64)).sqrt()) as f32,
            eps: c.eps as f32,
            keep: (1.0 - learning_rate * c.weight_decay) as f32,
            gradient_scale: gradient_scale as f32,
        };
        for (i, (p, moments)) in parameters.iter().zip(&mut self.moments).enumerate().filter(|(_, (p, _))| p.group == group) {
            let keep = if c.decay.applies_to(&p.name) { step.keep } else { 1.0 };
            update(p, moments, gradients, i, AdamStep { keep, ..step })?;
        }
        Ok(())
    }

    /// Moments and counters as named tensors, for a checkpoint.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn state(&self, parameters: &Parameters) -> Result<Vec<(String, Tensor)>> {
        let mut out = Vec::new();
        for (p, moments) in parameters.iter().zip(&self.moments) {
            let (first, second) = match moments {
                Moments::Cpu { first, second } => (
                    Tensor::from_slice(first, p.var.shape(), &candle_core::Device::Cpu)?,
                    Tensor::from_slice(second, p.var.shape(), &candle_core::Device::Cpu)?,
                ),
                Moments::Device { first, second } => {
                    (first.to_device(&candle_core::Device::Cpu)?, second.to_device(&candle_core::Device::Cpu)?)
                }
            };
            out.push((format!("adam.first.{}", p.name), first));
            out.push((format!("adam.second.{}", p.name), second));
        }
        Ok(out)
    }

    /// Updates made so far, per parameter group.
    pub fn steps(&self) -> &BTreeMap<usize, u64> {
        &self.steps
    }

    /// Sets what [`Adam::state`] and [`Adam::steps`] gave.
    ///
    /// # Errors
    /// [`Error::Data`] for a tensor that is missing or does not fit.
    pub fn restore(&mut self, parameters: &Parameters, tensors: &[(String, Tensor)], steps: BTreeMap<usize, u64>) -> Result<()> {
        let find = |name: String, p: &Parameter| {
            let found = tensors.iter().find(|(n, t)| *n == name && t.shape() == p.var.shape());
            found
                .map(|(_, t)| t)
                .ok_or_else(|| Error::data(format!("tensor `{name}` is missing or of another shape"), "start again"))
        };
        for (p, moments) in parameters.iter().zip(&mut self.moments) {
            let first = find(format!("adam.first.{}", p.name), p)?;
            let second = find(format!("adam.second.{}", p.name), p)?;
            *moments = match moments {
                Moments::Cpu { .. } => {
                    Moments::Cpu { first: first.flatten_all()?.to_vec1()?, second: second.flatten_all()?.to_vec1()? }
                }
                Moments::Device { .. } => {
                    Moments::Device { first: first.to_device(p.var.device())?, second: second.to_device(p.var.device())? }
                }
            };
        }
        self.steps = steps;
        Ok(())
    }
}

/// `i`: place of the parameter among all.
fn update(p: &Parameter, moments: &mut Moments, gradients: &Gradients, i: usize, step: AdamStep) -> Result<()> {
    match (moments, gradients.factors(i)) {
        (Moments::Cpu { first, second }, Some(factors)) => {
            let state = std::sync::Mutex::new((first, second));
            p.var.inplace_op1(&FactoredAdam { state, factors, step })?;
        }
        (Moments::Cpu { first, second }, None) => {
            if let Some(gradient) = gradients.total(i, p.var.shape())? {
                let state = std::sync::Mutex::new((first, second));
                p.var.inplace_op2(&gradient.contiguous()?, &DenseAdam { state, step })?;
            }
        }
        (Moments::Device { first, second }, _) => {
            if let Some(gradient) = gradients.total(i, p.var.shape())? {
                plain_update(p, first, second, &gradient, step)?;
            }
        }
    }
    Ok(())
}

/// The plain twin of the in-place update, for other devices.
fn plain_update(p: &Parameter, first: &mut Tensor, second: &mut Tensor, gradient: &Tensor, s: AdamStep) -> Result<()> {
    let g = (gradient * f64::from(s.gradient_scale))?;
    *first = ((&*first * f64::from(s.beta1))? + (&g * f64::from(1.0 - s.beta1))?)?.detach();
    *second = ((&*second * f64::from(s.beta2))? + (g.sqr()? * f64::from(1.0 - s.beta2))?)?.detach();
    let length = ((second.sqrt()? * f64::from(s.inv_sqrt_correction2))? + f64::from(s.eps))?;
    let change = (first.div(&length)? * f64::from(s.step_size))?;
    p.var.set(&((p.var.as_tensor().detach() * f64::from(s.keep))? - change)?)?;
    Ok(())
}

type State<'a> = std::sync::Mutex<(&'a mut Vec<f32>, &'a mut Vec<f32>)>;

/// Numbers that one task updates at a time.
pub(super) const CHUNK: usize = 1 << 15;

struct DenseAdam<'a> {
    state: State<'a>,
    step: AdamStep,
}

impl InplaceOp2 for DenseAdam<'_> {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(&self, p: &mut CpuStorage, layout: &Layout, g: &CpuStorage, g_layout: &Layout) -> candle_core::Result<()> {
        let g = cpu_f32(g, g_layout)?;
        let p = cpu_f32_mut(p, layout)?;
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (m, v) = &mut *state;
        let moments = m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK));
        p.par_chunks_mut(CHUNK)
            .zip(g.par_chunks(CHUNK))
            .zip(moments)
            .for_each(|((p, g), (m, v))| adam_update(p, m, v, g, self.step));
        Ok(())
    }
}

struct FactoredAdam<'a> {
    state: State<'a>,
    factors: &'a [FactoredGradient],
    step: AdamStep,
}

impl InplaceOp1 for FactoredAdam<'_> {
    fn name(&self) -> &'static str {
        "factored_adam"
    }

    fn cpu_fwd(&self, p: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (_, hidden) = layout.shape().dims2()?;
        let p = cpu_f32_mut(p, layout)?;
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (m, v) = &mut *state;
        if hidden == 0 {
            return Ok(());
        }
        // Every number is updated on its own, so that the size of a task changes no bit.
        let genes = (p.len() / hidden).div_ceil(4 * rayon::current_num_threads()).clamp(16, 512);
        with_rows(self.factors, hidden, |gradients| {
            let n_together = gradients.n_together(hidden);
            let together = n_together * hidden;
            let moments = m.par_chunks_mut(genes * hidden).zip(v.par_chunks_mut(genes * hidden));
            p.par_chunks_mut(genes * hidden).zip(moments).enumerate().for_each(|(c, (p, (m, v)))| {
                let mut gradient = vec![0f32; together.min(p.len())];
                let moments = m.chunks_mut(together).zip(v.chunks_mut(together));
                for (i, (p, (m, v))) in p.chunks_mut(together).zip(moments).enumerate() {
                    let (gradient, first) = (&mut gradient[..p.len()], c * genes + i * n_together);
                    gradients.sum(gradient, hidden, first..first + p.len() / hidden, false);
                    adam_update(p, m, v, gradient, self.step);
                }
            });
        })
    }
}

pub(super) fn cpu_f32_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> candle_core::Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&mut values[start..end]),
        _ => candle_core::bail!("a parameter must be contiguous f32"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::Device;

    use super::*;
    use crate::data::Csr;
    use crate::ops::chain::Trained;
    use crate::ops::sparse_batch::SparseBatch;
    use crate::ops::sparse_linear::{sparse_linear, sparse_linear_plain};
    use crate::rng::Rng;

    #[test]
    fn gradients_of_several_mini_batches_add_up_whether_dense_or_factored() {
        let x = ndarray::Array2::from_shape_fn((6, 40), |(i, j)| if (i * 7 + j) % 5 == 0 { 1.0 + i as f32 } else { 0.0 });
        let part = |rows: std::ops::Range<usize>| {
            let rows = Csr::from_dense(x.slice(ndarray::s![rows, ..])).unwrap();
            Arc::new(SparseBatch::with_gradient(rows))
        };
        let whole = part(0..6);
        let train_of = |hidden: usize, parts: &[Arc<SparseBatch>], config: AdamConfig| {
            let mut parameters = Parameters::new(&Device::Cpu, Rng::new(2));
            let Trained { tensor: w, slot } = parameters.weight("w", (40, hidden), 40).unwrap();
            let b = parameters.constant("bias", hidden, 0.1).unwrap();
            let mut adam = Adam::new(&parameters, config).unwrap();
            for _ in 0..3 {
                let of = |x: &Arc<SparseBatch>| {
                    let loss = sparse_linear(x, &w, &b, Some(&slot)).unwrap().sqr().unwrap().sum_all().unwrap();
                    Gradients::of(&loss, &parameters).unwrap()
                };
                let mut sum = of(&parts[0]);
                parts[1..].iter().for_each(|x| sum.add(of(x)).unwrap());
                adam.step(&parameters, 0, &sum, 0.01, 1.0 / 6.0).unwrap();
            }
            [&w, b.as_tensor()].map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap())
        };
        let train = |parts: &[_], config| train_of(33, parts, config);
        let config = AdamConfig { weight_decay: 0.3, ..Default::default() };
        // The second is large enough for panels of columns.
        for hidden in [33, 50_000] {
            let one = train_of(hidden, std::slice::from_ref(&whole), config);
            let three = train_of(hidden, &[part(0..1), part(1..4), part(4..6)], config);
            assert!(one.concat().iter().zip(three.concat()).all(|(a, b)| (a - b).abs() < 1e-5));
        }
        let one = train(std::slice::from_ref(&whole), config);
        // Only the weights decay, unless asked otherwise.
        let without = train(std::slice::from_ref(&whole), AdamConfig { weight_decay: 0.0, ..config });
        assert!(one[0] != without[0] && train(&[whole], AdamConfig { decay: Decay::All, ..config })[1] != one[1]);
    }

    #[test]
    fn three_steps_equal_the_formula() {
        let mut parameters = Parameters::new(&Device::Cpu, Rng::new(1));
        let w = parameters.constant("w", 2, 0.5).unwrap();
        let config = AdamConfig { weight_decay: 0.1, ..Default::default() };
        let mut adam = Adam::new(&parameters, config).unwrap();
        let (mut p, mut m, mut v) = ([0.5f64; 2], [0f64; 2], [0f64; 2]);
        for t in 1..=3 {
            // loss = sum w^3, gradient 3 w^2
            let loss = w.as_tensor().powf(3.0).unwrap().sum_all().unwrap();
            let mut gradients = Gradients::of(&loss, &parameters).unwrap();
            let norm = gradients.norm(&parameters, 0).unwrap();
            adam.step(&parameters, 0, &gradients, 0.01, 1.0).unwrap();
            assert!((norm - p.iter().map(|p| (3.0 * p * p).powi(2)).sum::<f64>().sqrt()).abs() < 1e-5);
            for i in 0..2 {
                let g = 3.0 * p[i] * p[i];
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let m_hat = m[i] / (1.0 - 0.9f64.powi(t));
                let v_hat = v[i] / (1.0 - 0.999f64.powi(t));
                p[i] = p[i] * (1.0 - 0.01 * 0.1) - 0.01 * m_hat / (v_hat.sqrt() + 1e-8);
            }
            let ours: Vec<f32> = w.as_tensor().to_vec1().unwrap();
            assert!(ours.iter().zip(p).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6), "{ours:?} {p:?}");
        }
    }

    #[test]
    fn factored_and_dense_gradients_give_the_same_weights() {
        let x = ndarray::Array2::from_shape_fn((6, 40), |(i, j)| if (i * 7 + j) % 5 == 0 { 1.0 + i as f32 } else { 0.0 });
        let batch = Arc::new(SparseBatch::with_gradient(Csr::from_dense(x.view()).unwrap()));
        let norms = std::cell::RefCell::new(Vec::new());
        let train = |factored: bool, clipped: bool, views: usize| {
            let mut parameters = Parameters::new(&Device::Cpu, Rng::new(2));
            let Trained { tensor: w, slot } = parameters.weight("w", (40, 33), 40).unwrap();
            let b = parameters.constant("b", 33, 0.1).unwrap();
            let mut adam = Adam::new(&parameters, AdamConfig::default()).unwrap();
            for _ in 0..4 {
                let mut loss = Tensor::zeros((), candle_core::DType::F32, &Device::Cpu).unwrap();
                for _ in 0..views {
                    let y = if factored {
                        sparse_linear(&batch, &w, &b, Some(&slot)).unwrap()
                    } else {
                        sparse_linear_plain(&batch, &w, &b).unwrap()
                    };
                    loss = (loss + y.sqr().unwrap().mean_all().unwrap()).unwrap();
                }
                let mut gradients = Gradients::of(&loss, &parameters).unwrap();
                assert_eq!(gradients.factors(0).is_some(), factored);
                if clipped {
                    let store = loss.backward().unwrap();
                    let of = |v: &Tensor| {
                        store.get(v).map_or(0.0, |g| g.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap())
                    };
                    let norm = gradients.norm(&parameters, 0).unwrap();
                    // Of a weight whose gradient waits as factors, the store has none.
                    assert!(factored || (norm - f64::from(of(&w) + of(&b)).sqrt()).abs() < 1e-5 * norm, "{norm}");
                    // Multiplied out once: nothing is counted twice from here on.
                    assert_eq!(gradients.norm(&parameters, 0).unwrap(), norm);
                    norms.borrow_mut().push(norm);
                }
                adam.step(&parameters, 0, &gradients, 0.01, 0.5).unwrap();
            }
            w.to_vec2::<f32>().unwrap().concat()
        };
        for views in [1, 2] {
            let dense = train(false, false, views);
            for other in [train(true, false, views), train(true, true, views), train(false, true, views)] {
                assert!(dense.iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-4));
            }
            let norms = norms.take();
            assert!(norms.len() == 8 && norms[..4].iter().zip(&norms[4..]).all(|(a, b)| (a - b).abs() < 1e-5 * b), "{norms:?}");
        }
    }

    #[test]
    fn the_plain_update_equals_the_one_in_place() {
        let run = |plain: bool| {
            let mut parameters = Parameters::new(&Device::Cpu, Rng::new(3));
            let w = parameters.normal("w", 50, 1.0).unwrap();
            let mut adam = Adam::new(&parameters, AdamConfig::default()).unwrap();
            if plain {
                adam.moments = vec![Moments::Device { first: w.zeros_like().unwrap(), second: w.zeros_like().unwrap() }];
            }
            for _ in 0..3 {
                let loss = w.as_tensor().sqr().unwrap().sum_all().unwrap();
                let gradients = Gradients::of(&loss, &parameters).unwrap();
                adam.step(&parameters, 0, &gradients, 0.05, 1.0).unwrap();
            }
            w.as_tensor().to_vec1::<f32>().unwrap()
        };
        for (a, b) in run(false).iter().zip(run(true)) {
            assert!((a - b).abs() < 1e-6, "{a} and {b}");
        }
    }
}
