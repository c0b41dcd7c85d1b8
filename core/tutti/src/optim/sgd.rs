//! Stochastic gradient descent with momentum, in place.

use candle_core::{CpuStorage, InplaceOp2, Layout, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::adam::{CHUNK, cpu_f32_mut};
use super::{Decay, Gradients};
use crate::error::{Error, Result};
use crate::nn::{Parameter, Parameters};
use crate::ops::values::cpu_f32;

/// Settings of stochastic gradient descent (Sutskever et al. 2013, as PyTorch writes it).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SgdConfig {
    /// Share of the last step that is made again, 0 to below 1. Default 0.9.
    pub momentum: f64,
    /// Looks ahead along the momentum (Nesterov 1983). Default false.
    pub nesterov: bool,
    /// Weight decay, added to the gradient, default 0.
    pub weight_decay: f64,
    /// What decays.
    pub decay: Decay,
}

impl Default for SgdConfig {
    fn default() -> Self {
        Self { momentum: 0.9, nesterov: false, weight_decay: 0.0, decay: Decay::default() }
    }
}

/// Gradient descent with its velocities, in the order of the parameters.
#[derive(Debug)]
pub struct Sgd {
    config: SgdConfig,
    velocity: Vec<Tensor>,
}

impl Sgd {
    /// All velocities zero.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new(parameters: &Parameters, config: SgdConfig) -> Result<Self> {
        Ok(Self { config, velocity: parameters.iter().map(|p| Ok(p.var.zeros_like()?)).collect::<Result<_>>()? })
    }

    /// One update of the parameters of `group`: v becomes momentum v + g, the parameter loses `learning_rate` v. `gradient_scale` multiplies
    /// all gradients. A parameter without gradient is left as it is.
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
        let c = &self.config;
        for (i, (p, velocity)) in parameters.iter().zip(&mut self.velocity).enumerate().filter(|(_, (p, _))| p.group == group) {
            let Some(gradient) = gradients.total(i, p.var.shape())? else { continue };
            let step = Step {
                momentum: c.momentum as f32,
                nesterov: c.nesterov,
                decay: if c.decay.applies_to(&p.name) { c.weight_decay as f32 } else { 0.0 },
                learning_rate: learning_rate as f32,
                gradient_scale: gradient_scale as f32,
            };
            update(p, velocity, &gradient.contiguous()?, step)?;
        }
        Ok(())
    }

    /// Velocities as named tensors, for a checkpoint.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn state(&self, parameters: &Parameters) -> Result<Vec<(String, Tensor)>> {
        let named = parameters.iter().zip(&self.velocity);
        named.map(|(p, v)| Ok((name(p), v.to_device(&candle_core::Device::Cpu)?.copy()?))).collect()
    }

    /// Sets what [`Sgd::state`] gave.
    ///
    /// # Errors
    /// [`Error::Data`] for a tensor that is missing or does not fit.
    pub fn restore(&mut self, parameters: &Parameters, tensors: &[(String, Tensor)]) -> Result<()> {
        for (p, velocity) in parameters.iter().zip(&mut self.velocity) {
            let name = name(p);
            let Some((_, stored)) = tensors.iter().find(|(n, t)| *n == name && t.shape() == p.var.shape()) else {
                return Err(Error::data(format!("tensor `{name}` is missing or of another shape"), "start again"));
            };
            *velocity = stored.to_device(p.var.device())?.copy()?;
        }
        Ok(())
    }
}

fn name(p: &Parameter) -> String {
    format!("sgd.velocity.{}", p.name)
}

#[derive(Debug, Clone, Copy)]
struct Step {
    momentum: f32,
    nesterov: bool,
    decay: f32,
    learning_rate: f32,
    gradient_scale: f32,
}

fn update(p: &Parameter, velocity: &mut Tensor, gradient: &Tensor, s: Step) -> Result<()> {
    if !p.var.device().is_cpu() {
        return plain_update(p, velocity, gradient, s);
    }
    let gradient = if s.decay == 0.0 && s.gradient_scale == 1.0 { gradient.clone() } else { whole_gradient(p, gradient, s)? };
    velocity.inplace_op2(&gradient, &Velocity(s.momentum))?;
    match s.nesterov {
        true => {
            p.var.inplace_op2(velocity, &Descent(s.learning_rate * s.momentum))?;
            p.var.inplace_op2(&gradient, &Descent(s.learning_rate))?;
        }
        false => p.var.inplace_op2(velocity, &Descent(s.learning_rate))?,
    }
    Ok(())
}

fn whole_gradient(p: &Parameter, gradient: &Tensor, s: Step) -> Result<Tensor> {
    Ok(((gradient * f64::from(s.gradient_scale))? + (p.var.as_tensor().detach() * f64::from(s.decay))?)?)
}

/// The plain twin of the update in place, for other devices.
fn plain_update(p: &Parameter, velocity: &mut Tensor, gradient: &Tensor, s: Step) -> Result<()> {
    let gradient = whole_gradient(p, gradient, s)?;
    *velocity = ((&*velocity * f64::from(s.momentum))? + &gradient)?.detach();
    let change = if s.nesterov { ((&*velocity * f64::from(s.momentum))? + &gradient)? } else { velocity.clone() };
    p.var.set(&(p.var.as_tensor().detach() - (change * f64::from(s.learning_rate))?)?)?;
    Ok(())
}

/// `v = momentum v + g`.
struct Velocity(f32);

/// `p -= rate v`.
struct Descent(f32);

fn each(
    x: &mut CpuStorage,
    layout: &Layout,
    y: &CpuStorage,
    y_layout: &Layout,
    f: impl Fn(&mut f32, f32) + Sync,
) -> candle_core::Result<()> {
    let y = cpu_f32(y, y_layout)?;
    let x = cpu_f32_mut(x, layout)?;
    x.par_chunks_mut(CHUNK).zip(y.par_chunks(CHUNK)).for_each(|(x, y)| x.iter_mut().zip(y).for_each(|(x, y)| f(x, *y)));
    Ok(())
}

impl InplaceOp2 for Velocity {
    fn name(&self) -> &'static str {
        "sgd_velocity"
    }

    fn cpu_fwd(&self, v: &mut CpuStorage, layout: &Layout, g: &CpuStorage, g_layout: &Layout) -> candle_core::Result<()> {
        each(v, layout, g, g_layout, |v, g| *v = self.0 * *v + g)
    }
}

impl InplaceOp2 for Descent {
    fn name(&self) -> &'static str {
        "sgd_descent"
    }

    fn cpu_fwd(&self, p: &mut CpuStorage, layout: &Layout, v: &CpuStorage, v_layout: &Layout) -> candle_core::Result<()> {
        each(p, layout, v, v_layout, |p, v| *p -= self.0 * v)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn steps_equal_the_formula_with_and_without_looking_ahead() {
        for nesterov in [false, true] {
            let mut parameters = Parameters::new(&Device::Cpu, Rng::new(1));
            let w = parameters.constant("w.weight", 2, 0.5).unwrap();
            let bias = parameters.constant("w.bias", 2, 0.5).unwrap();
            let config = SgdConfig { momentum: 0.8, nesterov, weight_decay: 0.1, ..Default::default() };
            let mut sgd = Sgd::new(&parameters, config).unwrap();
            // In double precision, for the weight that decays and the bias that does not.
            let (mut expected, mut v) = ([0.5f64; 2], [0f64; 2]);
            for step in 0..4 {
                let loss = (w.as_tensor().powf(3.0).unwrap() + bias.as_tensor().powf(3.0).unwrap()).unwrap().sum_all().unwrap();
                let gradients = Gradients::of(&loss, &parameters).unwrap();
                sgd.step(&parameters, 0, &gradients, 0.1, 0.5).unwrap();
                for (i, decay) in [0.1, 0.0].into_iter().enumerate() {
                    let g = 0.5 * 3.0 * expected[i] * expected[i] + decay * expected[i];
                    v[i] = 0.8 * v[i] + g;
                    expected[i] -= 0.1 * if nesterov { g + 0.8 * v[i] } else { v[i] };
                }
                let ours = [&w, &bias].map(|var| f64::from(var.to_vec1::<f32>().unwrap()[1]));
                assert!(ours.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{step}: {ours:?} {expected:?}");
            }
        }
    }

    #[test]
    fn the_plain_update_equals_the_one_in_place_and_state_comes_back() {
        let run = |plain: bool, reload: bool| {
            let mut parameters = Parameters::new(&Device::Cpu, Rng::new(3));
            let w = parameters.normal("w", 50, 1.0).unwrap();
            let config = SgdConfig { nesterov: true, weight_decay: 0.01, ..Default::default() };
            let mut sgd = Sgd::new(&parameters, config).unwrap();
            for _ in 0..3 {
                let gradients = Gradients::of(&w.as_tensor().sqr().unwrap().sum_all().unwrap(), &parameters).unwrap();
                if plain {
                    let s = Step { momentum: 0.9, nesterov: true, decay: 0.01, learning_rate: 0.05, gradient_scale: 1.0 };
                    let p = parameters.iter().next().unwrap();
                    plain_update(p, &mut sgd.velocity[0], &gradients.total(0, p.var.shape()).unwrap().unwrap(), s).unwrap();
                } else {
                    sgd.step(&parameters, 0, &gradients, 0.05, 1.0).unwrap();
                }
                if reload {
                    let state = sgd.state(&parameters).unwrap();
                    sgd = Sgd::new(&parameters, config).unwrap();
                    sgd.restore(&parameters, &state).unwrap();
                }
            }
            w.as_tensor().to_vec1::<f32>().unwrap()
        };
        assert_eq!(run(false, false), run(false, true));
        for (a, b) in run(false, false).iter().zip(run(true, false)) {
            assert!((a - b).abs() < 1e-6, "{a} and {b}");
        }
    }
}
