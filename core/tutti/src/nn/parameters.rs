//! Trainable tensors of a model, by name and in a fixed order.

use candle_core::{Device, Shape, Tensor, Var};

use crate::error::{Error, Result};
use crate::ops::chain::Trained;
use crate::ops::factored::GradientSlot;
use crate::rng::{Rng, Stream};

/// Which implementation of an operation is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernels {
    /// Our own, on the CPU.
    Fused,
    /// Stock candle operations: other devices, and the oracle in tests.
    Plain,
}

/// One trainable tensor.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Name in the model file, e.g. `encoder.0.weight`.
    pub name: String,
    /// The tensor.
    pub var: Var,
    /// Where layers leave its gradient, that of a weight as factors.
    pub slot: Option<GradientSlot>,
    /// Group of parameters updated together; 0 unless a system has an adversary.
    pub group: usize,
}

/// All tensors of a model: trained parameters, and buffers such as running means.
#[derive(Debug)]
pub struct Parameters {
    rng: Rng,
    device: Device,
    kernels: Kernels,
    group: usize,
    list: Vec<Parameter>,
    buffers: Vec<(String, Var)>,
}

impl Parameters {
    /// No tensors yet; initial values will be drawn from `rng`, one stream per name.
    pub fn new(device: &Device, rng: Rng) -> Self {
        let kernels = if device.is_cpu() { Kernels::Fused } else { Kernels::Plain };
        Self { rng, device: device.clone(), kernels, group: 0, list: Vec::new(), buffers: Vec::new() }
    }

    /// Chooses the implementation; [`Kernels::Fused`] needs the CPU.
    pub fn with_kernels(mut self, kernels: Kernels) -> Self {
        self.kernels = kernels;
        self
    }

    /// Parameters made from now on belong to this group.
    pub fn set_group(&mut self, group: usize) {
        self.group = group;
    }

    /// The implementation in use.
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// The device that holds the tensors.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Trainable tensors in the order in which they were made.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.list.iter()
    }

    /// Number of trainable numbers.
    pub fn n_parameters(&self) -> usize {
        self.list.iter().map(|p| p.var.elem_count()).sum()
    }

    /// A parameter with values from a normal distribution of mean 0.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn normal(&mut self, name: &str, shape: impl Into<Shape>, standard_deviation: f64) -> Result<Var> {
        let mut stream = self.stream(name);
        self.add(name, shape, None, || (standard_deviation * stream.normal()) as f32)
    }

    /// Weight of a layer, `shape` in any order, initialised as Kaiming normal for `fan_in` inputs and gain sqrt(2) (He et al. 2015, eq. 10), whose
    /// gradient is left as factors.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn weight(&mut self, name: &str, shape: impl Into<Shape>, fan_in: usize) -> Result<Trained> {
        let deviation = (2.0 / fan_in.max(1) as f64).sqrt();
        let mut stream = self.stream(name);
        self.add_trained(name, shape, || (deviation * stream.normal()) as f32)
    }

    /// A parameter of a layer with values drawn evenly from `-range` to `range`.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn uniform(&mut self, name: &str, shape: impl Into<Shape>, range: f64) -> Result<Trained> {
        let mut stream = self.stream(name);
        self.add_trained(name, shape, || (range * (2.0 * stream.uniform() - 1.0)) as f32)
    }

    /// A parameter of a layer, of one value, e.g. its bias.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn filled(&mut self, name: &str, shape: impl Into<Shape>, value: f32) -> Result<Trained> {
        self.add_trained(name, shape, || value)
    }

    /// A parameter of one value.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn constant(&mut self, name: &str, shape: impl Into<Shape>, value: f32) -> Result<Var> {
        self.add(name, shape, None, || value)
    }

    /// A tensor that is saved with the model and not trained.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn buffer(&mut self, name: &str, shape: impl Into<Shape>, value: f32) -> Result<Var> {
        let shape = shape.into();
        let var = Var::from_vec(vec![value; shape.elem_count()], shape, &self.device)?;
        self.buffers.push((name.to_owned(), var.clone()));
        Ok(var)
    }

    /// Sets the values of one tensor.
    ///
    /// # Errors
    /// [`Error::Data`] for a name that does not exist or another number of values.
    pub fn set(&self, name: &str, values: Vec<f32>) -> Result<()> {
        let Some((_, var)) = self.named().find(|(n, v)| *n == name && v.elem_count() == values.len()) else {
            let problem = format!("there is no tensor `{name}` of {} values", values.len());
            return Err(Error::data(problem, "give one value for each gene"));
        };
        Ok(var.set(&Tensor::from_vec(values, var.shape(), &self.device)?)?)
    }

    fn stream(&self, name: &str) -> Stream {
        self.rng.stream(&format!("init {name}"), 0, 0)
    }

    fn add_trained(&mut self, name: &str, shape: impl Into<Shape>, value: impl FnMut() -> f32) -> Result<Trained> {
        let slot = GradientSlot::default();
        let tensor = self.add(name, shape, Some(slot.clone()), value)?.as_tensor().clone();
        Ok(Trained { tensor, slot })
    }

    fn add(
        &mut self,
        name: &str,
        shape: impl Into<Shape>,
        slot: Option<GradientSlot>,
        mut value: impl FnMut() -> f32,
    ) -> Result<Var> {
        let shape = shape.into();
        let values: Vec<f32> = (0..shape.elem_count()).map(|_| value()).collect();
        let var = Var::from_vec(values, shape, &self.device)?;
        self.list.push(Parameter { name: name.to_owned(), var: var.clone(), slot, group: self.group });
        Ok(var)
    }

    /// Copies of all tensors by name, on the CPU.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn snapshot(&self) -> Result<Vec<(String, Tensor)>> {
        self.named().map(|(name, var)| Ok((name.to_owned(), var.as_tensor().to_device(&Device::Cpu)?.copy()?))).collect()
    }

    /// Brings a snapshot up to date, in the memory that it has; an empty one is made.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn refresh(&self, snapshot: &mut Vec<(String, Tensor)>) -> Result<()> {
        if snapshot.is_empty() {
            *snapshot = self.snapshot()?;
            return Ok(());
        }
        for ((_, copy), (_, var)) in snapshot.iter_mut().zip(self.named()) {
            match var.as_tensor().rank() {
                0 => *copy = var.as_tensor().to_device(&Device::Cpu)?.copy()?,
                _ => copy.slice_set(&var.as_tensor().to_device(&Device::Cpu)?.detach(), 0, 0)?,
            }
        }
        Ok(())
    }

    /// Sets all tensors from copies by name.
    ///
    /// # Errors
    /// [`Error::Data`] for a tensor that is missing or has another shape.
    pub fn restore(&self, tensors: &[(String, Tensor)]) -> Result<()> {
        for (name, var) in self.named() {
            let fix = "the file belongs to a model with other settings";
            let Some((_, tensor)) = tensors.iter().find(|(n, _)| n == name) else {
                return Err(Error::data(format!("tensor `{name}` is missing"), fix));
            };
            if tensor.shape() != var.shape() {
                let problem = format!("tensor `{name}` has shape {:?}, not {:?}", tensor.dims(), var.dims());
                return Err(Error::data(problem, fix));
            }
            var.set(&tensor.to_device(&self.device)?.to_dtype(candle_core::DType::F32)?.copy()?)?;
        }
        Ok(())
    }

    /// Whether every number of every tensor is finite.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn all_finite(&self) -> Result<bool> {
        for (_, var) in self.named() {
            let sum = var.as_tensor().abs()?.sum_all()?.to_scalar::<f32>()?;
            if !sum.is_finite() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn named(&self) -> impl Iterator<Item = (&str, &Var)> {
        let parameters = self.list.iter().map(|p| (p.name.as_str(), &p.var));
        parameters.chain(self.buffers.iter().map(|(name, var)| (name.as_str(), var)))
    }
}

/// What a forward pass must know: whether it trains, and where its random draws come from.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    /// The draws of this mini-batch when training; `None` when embedding.
    pub draws: Option<&'a Draws>,
    /// Names the pass where one mini-batch has several, e.g. the second view.
    pub index: u64,
    /// Mini-batches of the same size that the rows are, one after the other. Each is normalised by its own statistics in training.
    pub n_stacked: usize,
}

impl Pass<'_> {
    /// No randomness, no change of running statistics.
    pub const EVAL: Pass<'static> = Pass { draws: None, index: 0, n_stacked: 1 };
}

impl<'a> Pass<'a> {
    /// Pass number `index` of a mini-batch in training.
    pub fn train(draws: &'a Draws, index: u64) -> Self {
        Self { draws: Some(draws), index, n_stacked: 1 }
    }
}

/// Random draws of one mini-batch.
#[derive(Debug, Clone, Copy)]
pub struct Draws {
    rng: Rng,
    epoch: u64,
    step: u64,
}

impl Draws {
    /// Draws of step `step` of epoch `epoch`.
    pub fn new(rng: Rng, epoch: usize, step: usize) -> Self {
        Self { rng, epoch: epoch as u64, step: step as u64 }
    }

    /// Epoch, from 0.
    pub fn epoch(&self) -> usize {
        self.epoch as usize
    }

    /// Step within the epoch, from 0.
    pub fn step(&self) -> usize {
        self.step as usize
    }

    /// The stream of one purpose.
    pub fn stream(&self, purpose: &str) -> Stream {
        self.rng.stream(purpose, self.epoch, self.step)
    }
}
