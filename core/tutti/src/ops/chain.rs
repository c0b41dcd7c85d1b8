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
    input: Tensor,
    y: Tensor,
    wanted: bool,
    steps: Vec<Backward>,
}

impl Chain {
    /// Begins with x.
    pub fn new(x: &Tensor) -> Self {
        Self { input: x.clone(), y: x.detach(), wanted: x.track_op(), steps: Vec::new() }
    }

    /// Begins with a layer whose input is no tensor; a gradient reaches `weight`, a parameter of it, through its slot.
    ///
    /// # Errors
    /// What the layer fails at.
    pub fn with_first(weight: &Tensor, layer: impl FnOnce() -> Result<Step>) -> Result<Self> {
        let Step { y, backward } = layer()?;
        Ok(Self { input: weight.clone(), y, wanted: weight.track_op(), steps: vec![backward] })
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
        let Self { input, y, wanted, steps } = self;
        if !wanted {
            return Ok(y);
        }
        Ok(input.apply_op1(Joined { y, steps })?)
    }
}

struct Joined {
    y: Tensor,
    steps: Vec<Backward>,
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
        Ok(Some(gradient))
    }
}
