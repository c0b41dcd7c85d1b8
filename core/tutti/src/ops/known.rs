//! Scalars whose gradients are found along with their value.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Shape, Tensor};

use crate::error::Result;

/// `value` as a function of `x`, with its gradient in the shape of `x`.
///
/// # Errors
/// Where the tensor is not in CPU memory.
pub(super) fn scalar(name: &'static str, x: &Tensor, value: f32, gradient: Vec<f32>) -> Result<Tensor> {
    Ok(x.apply_op1(Known { name, value, gradients: Mutex::new([gradient]) })?)
}

/// `value` as a function of `a` and `b`, with the gradients in their shapes.
///
/// # Errors
/// Where the tensors are not in CPU memory.
pub(super) fn scalar_of_two(name: &'static str, a: &Tensor, b: &Tensor, value: f32, gradients: [Vec<f32>; 2]) -> Result<Tensor> {
    Ok(a.apply_op2(b, Known { name, value, gradients: Mutex::new(gradients) })?)
}

struct Known<const N: usize> {
    name: &'static str,
    value: f32,
    /// For an upstream gradient of 1; taken by the backward pass.
    gradients: Mutex<[Vec<f32>; N]>,
}

impl<const N: usize> Known<N> {
    fn value(&self) -> (CpuStorage, Shape) {
        (CpuStorage::F32(vec![self.value]), Shape::from(()))
    }

    fn take(&self, like: [&Tensor; N], grad: &Tensor) -> candle_core::Result<[Option<Tensor>; N]> {
        let scale = grad.to_scalar::<f32>()?;
        let mut gradients = self.gradients.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut out = [const { None }; N];
        for ((out, gradient), like) in out.iter_mut().zip(gradients.iter_mut()).zip(like).filter(|(_, like)| like.track_op()) {
            let mut gradient = std::mem::take(gradient);
            gradient.iter_mut().for_each(|g| *g *= scale);
            *out = Some(Tensor::from_vec(gradient, like.shape(), like.device())?);
        }
        Ok(out)
    }
}

impl CustomOp1 for Known<1> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _x: &CpuStorage, _layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok(self.value())
    }

    fn bwd(&self, x: &Tensor, _res: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let [of_x] = self.take([x], grad)?;
        Ok(of_x)
    }
}

impl CustomOp2 for Known<2> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        _a: &CpuStorage,
        _a_layout: &Layout,
        _b: &CpuStorage,
        _b_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok(self.value())
    }

    fn bwd(&self, a: &Tensor, b: &Tensor, _res: &Tensor, grad: &Tensor) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let [of_a, of_b] = self.take([a, b], grad)?;
        Ok((of_a, of_b))
    }
}
