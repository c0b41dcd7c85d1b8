//! Layers one after the other as a single node of candle's graph.
//!
//! candle adds every gradient to zeros of its own before it passes it on, on one thread: three more passes over the activations of each layer,
//! during which the other threads wait. Inside of a chain the gradient of a layer's output goes to the layer before as it is.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::factored::{FactoredGradient, GradientSlot};
use super::values::with_cpu_f32;
use crate::error::Result;

/// A trainable tensor and where its gradient is left.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The values.
    pub tensor: Tensor,
    /// Where the backward pass leaves the gradient.
    pub slot: GradientSlot,
}

impl Trained {
    /// The same values without gradient.
    pub fn detached(&self) -> Self {
        Self { tensor: self.tensor.detach(), slot: self.slot.clone() }
    }

    /// Whether a gradient is wanted.
    pub(super) fn is_tracked(&self) -> bool {
        self.tensor.track_op()
    }

    /// Leaves a gradient in the shape of the tensor, where one is wanted.
    pub(super) fn leave(&self, gradient: Option<Tensor>) {
        if let Some(gradient) = gradient.filter(|_| self.is_tracked()) {
            self.slot.push(FactoredGradient::whole(gradient));
        }
    }
}

/// From the gradient of a layer's output to that of its input, where one is wanted; the gradients of the layer's parameters are left in their
/// slots.
type Backward = Box<dyn Fn(&Tensor) -> candle_core::Result<Option<Tensor>> + Send + Sync>;

/// A layer's output and the way back.
pub struct Step {
    pub(super) y: Tensor,
    pub(super) backward: Backward,
}

impl Step {
    pub(super) fn new(
        y: Tensor,
        backward: impl Fn(&Tensor) -> candle_core::Result<Option<Tensor>> + Send + Sync + 'static,
    ) -> Self {
        Self { y, backward: Box::new(backward) }
    }
}

/// x times `factor`, of the same shape.
///
/// # Errors
/// Shapes that do not fit.
pub fn scale_step(x: &Tensor, factor: Tensor) -> Result<Step> {
    Ok(Step::new((x * &factor)?, move |grad| Ok(Some((grad * &factor)?))))
}

/// x, values below zero times `slope`.
///
/// # Errors
/// Where the device has no memory left.
pub fn activate_step(x: &Tensor, slope: f32) -> Result<Step> {
    if slope == 1.0 {
        return Ok(Step::new(x.clone(), |grad| Ok(Some(grad.clone()))));
    }
    let values: Vec<f32> = with_cpu_f32(x, |x| x.iter().map(|v| if *v > 0.0 { 1.0 } else { slope }).collect())?;
    scale_step(x, Tensor::from_vec(values, x.shape(), x.device())?)
}

/// Layers that have been passed. All must be on the CPU.
pub struct Chain {
    /// What ties the chain to candle's graph: x, or a parameter where x has no gradient.
    input: Tensor,
    /// Whether that is x, to which a gradient is returned.
    to_input: bool,
    y: Tensor,
    wanted: bool,
    steps: Vec<Backward>,
}

impl Chain {
    /// Begins with x.
    pub fn new(x: &Tensor) -> Self {
        Self { input: x.clone(), to_input: x.track_op(), y: x.detach(), wanted: x.track_op(), steps: Vec::new() }
    }

    /// Begins with a layer whose input is no tensor; a gradient reaches `weight`, a parameter of it, through its slot.
    ///
    /// # Errors
    /// What the layer fails at.
    pub fn with_first(weight: &Tensor, layer: impl FnOnce() -> Result<Step>) -> Result<Self> {
        let Step { y, backward } = layer()?;
        Ok(Self { input: weight.clone(), to_input: false, y, wanted: weight.track_op(), steps: vec![backward] })
    }

    /// Passes a layer, which is given its input and whether the gradient of that is wanted. `parameter`: any of its parameters.
    ///
    /// # Errors
    /// What the layer fails at.
    pub fn then(&mut self, parameter: Option<&Tensor>, layer: impl FnOnce(&Tensor, bool) -> Result<Step>) -> Result<()> {
        let Step { y, backward } = layer(&self.y, self.wanted)?;
        self.y = y;
        self.steps.push(backward);
        if let Some(parameter) = parameter.filter(|p| !self.wanted && p.track_op()) {
            (self.wanted, self.input) = (true, parameter.clone());
        }
        Ok(())
    }

    /// The last output, in candle's graph.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn end(self) -> Result<Tensor> {
        let Self { input, to_input, y, wanted, steps } = self;
        if !wanted {
            return Ok(y);
        }
        Ok(input.apply_op1(Joined { y, steps, to_input })?)
    }
}

struct Joined {
    y: Tensor,
    steps: Vec<Backward>,
    to_input: bool,
}

impl CustomOp1 for Joined {
    fn name(&self) -> &'static str {
        "chain"
    }

    fn cpu_fwd(&self, _input: &CpuStorage, _layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(with_cpu_f32(&self.y, <[f32]>::to_vec)?), self.y.shape().clone()))
    }

    fn bwd(&self, _input: &Tensor, _res: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let mut gradient = grad.contiguous()?;
        for backward in self.steps.iter().rev() {
            match backward(&gradient)? {
                Some(before) => gradient = before,
                None => return Ok(None),
            }
        }
        Ok(self.to_input.then_some(gradient))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::ops::factored::total;
    use crate::ops::layer_norm::{layer_norm_leaky_relu_plain, layer_norm_step};

    #[test]
    fn a_normalised_input_gets_a_gradient_where_it_has_one_and_the_parameters_in_any_case() {
        let trained = |values: &[f32]| {
            let var = Var::from_slice(values, values.len(), &Device::Cpu).unwrap();
            Trained { tensor: var.as_tensor().clone(), slot: GradientSlot::default() }
        };
        let (gamma, beta) = (trained(&[1.0, 2.0, 0.5]), trained(&[0.1, 0.2, -0.3]));
        let x = Var::from_slice(&[1.0f32, -2.0, 0.5, 3.0, 1.0, -1.0], (2, 3), &Device::Cpu).unwrap();
        let probe = Tensor::new(&[[1.0f32, -0.5, 2.0], [0.3, 1.0, -1.0]], &Device::Cpu).unwrap();
        let backward = |y: Tensor| (y * &probe).unwrap().sum_all().unwrap().backward().unwrap();
        let stock = backward(layer_norm_leaky_relu_plain(&x, &gamma.tensor, &beta.tensor, 0.1).unwrap());
        let apart = |a: &Tensor, b: &Tensor| (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        for input in [x.as_tensor().clone(), x.as_tensor().detach()] {
            let mut chain = Chain::new(&input);
            chain.then(Some(&gamma.tensor), |x, _| layer_norm_step(x, &gamma, &beta, 0.1)).unwrap();
            let store = backward(chain.end().unwrap());
            assert_eq!(store.get(&x).is_some(), input.track_op());
            let d = store.get(&x).map_or(0.0, |ours| apart(ours, stock.get(&x).unwrap()));
            assert!(d < 2e-4, "{d}");
            for p in [&gamma, &beta] {
                // Nothing of x's shape goes to the parameter that ties the chain to the graph.
                let ours = total(&p.slot.take(), store.get(&p.tensor), p.tensor.shape()).unwrap();
                let d = apart(&ours, stock.get(&p.tensor).unwrap());
                assert!(d < 2e-4, "{d}");
            }
        }
    }
}
