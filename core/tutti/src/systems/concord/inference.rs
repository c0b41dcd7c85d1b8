//! What a trained model gives: embedding, classes, corrected expression, attribution.

use std::sync::Arc;

use candle_core::{Tensor, Var};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};

use super::Concord;
use crate::data::{CellSource, row_blocks};
use crate::error::{Error, Result};
use crate::model::{BLOCK, Network, PredictedClasses, each_block, to_array};
use crate::nn::Pass;
use crate::observe::may_stop;
use crate::ops::sparse_batch::SparseBatch;

impl Concord {
    /// Latent coordinates, [n_cells, latent_dim], not normalised; compare cells by their cosine. `source` has the model's genes in
    /// the model's order, preprocessed as in training.
    ///
    /// # Errors
    /// Another number of genes; what the source fails at.
    pub fn embed(&self, source: &dyn CellSource) -> Result<Array2<f32>> {
        let mut out = Array2::zeros((source.n_cells(), self.config.latent_dim));
        each_block(source, self.names.genes.len(), |rows, first| {
            let z = to_array(&self.encode(first)?)?;
            out.slice_mut(s![rows, ..]).assign(&z);
            Ok(())
        })?;
        Ok(out)
    }

    /// Probability of each class, [n_cells, n_classes], in the order of [`Concord::classes`]; z from [`Concord::embed`].
    ///
    /// # Errors
    /// [`Error::Argument`] for a model without a classifier.
    pub fn classify(&self, z: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        let Some(classifier) = &self.classifier else {
            return Err(Error::argument("classify", "needs a model with a classifier", "train with `use_classifier`"));
        };
        let mut out = Array2::zeros((z.nrows(), self.names.classes.len()));
        for rows in row_blocks(z.nrows(), BLOCK) {
            let logits = classifier.forward(&self.tensor(z.slice(s![rows.clone(), ..]))?, Pass::EVAL)?;
            let probabilities = candle_nn::ops::softmax(&logits, 1)?;
            out.slice_mut(s![rows, ..]).assign(&to_array(&probabilities)?);
        }
        Ok(out)
    }

    /// The likeliest class of each cell; `None` for a model without a classifier; z from [`Concord::embed`].
    ///
    /// # Errors
    /// Where the device fails.
    pub fn predict(&self, z: ArrayView2<'_, f32>) -> Result<Option<PredictedClasses>> {
        if self.classifier.is_none() {
            return Ok(None);
        }
        Ok(Some(PredictedClasses::from_probabilities(self.classify(z)?, &self.names.classes)?))
    }

    /// Expression decoded as if all cells came from `batch` and had the first level of each covariate, [n_cells, n_genes]; dense, so
    /// decode blocks of cells where memory is short.
    ///
    /// # Errors
    /// [`Error::Argument`] for a model without a decoder or a batch that it was not trained on.
    pub fn decode(&self, z: ArrayView2<'_, f32>, batch: &str) -> Result<Array2<f32>> {
        let Some(decoder) = &self.decoder else {
            return Err(Error::argument("decode", "needs a model with a decoder", "train with `use_decoder`"));
        };
        let code = self.names.batches.iter().position(|b| b == batch).ok_or_else(|| {
            let fix = format!("its batches are: {}", self.names.batches.join(", "));
            Error::argument("batch", format!("`{batch}` is none that the model was trained on"), fix)
        })?;
        let mut out = Array2::zeros((z.nrows(), self.names.genes.len()));
        for rows in row_blocks(z.nrows(), BLOCK) {
            let n = rows.len();
            let mut codes = vec![Tensor::from_vec(vec![code as u32; n], n, self.parameters.device())?];
            for _ in &self.names.covariates {
                codes.push(Tensor::zeros(n, candle_core::DType::U32, self.parameters.device())?);
            }
            let decoded = decoder.forward(&self.tensor(z.slice(s![rows.clone(), ..]))?, &codes, Pass::EVAL)?;
            out.slice_mut(s![rows, ..]).assign(&to_array(&decoded)?);
        }
        Ok(out)
    }

    /// How each neuron of an encoder layer responds to each gene, [n_genes, n_neurons]: the gradient of its activation by the input,
    /// the mean over cells. `layer` counts from 0; the last one is the latent space.
    ///
    /// The first layer is linear, so that the mean over cells is taken before its weight is applied: the cost does not grow with the
    /// number of genes times cells.
    ///
    /// # Errors
    /// [`Error::Argument`] for a layer that does not exist.
    pub fn gene_attribution(&self, source: &dyn CellSource, layer: usize) -> Result<Array2<f32>> {
        let dims = self.config.encoder().dims;
        let Some(n_neurons) = dims.get(layer).copied() else {
            let problem = format!("{layer} does not exist");
            return Err(Error::argument("layer", problem, format!("the encoder has layers 0 to {}", dims.len() - 1)));
        };
        let encoder = self.encoder.detached();
        let mut mean = Array2::<f64>::zeros((n_neurons, dims[0]));
        each_block(source, self.names.genes.len(), |_, batch| {
            let weights = self.sigmoid_importance()?;
            let first = Var::from_tensor(&encoder.first_layer(&batch, weights.as_ref())?)?;
            let layers = encoder.activations(&first)?;
            for j in 0..n_neurons {
                may_stop();
                let store = layers[layer].narrow(1, j, 1)?.sum_all()?.backward()?;
                let Some(gradient) = store.get(&first) else { continue };
                let sum: Array1<f64> = to_array(gradient)?.mapv(f64::from).sum_axis(Axis(0));
                mean.row_mut(j).scaled_add(1.0 / source.n_cells() as f64, &sum);
            }
            Ok(())
        })?;
        let weight = to_array(self.encoder.first_weight())?;
        let mut attribution = weight.dot(&mean.mapv(|v| v as f32).t());
        if let Some(gene_weights) = self.gene_weights()? {
            attribution.rows_mut().into_iter().zip(gene_weights).for_each(|(mut row, w)| row.mapv_inplace(|v| v * w));
        }
        Ok(attribution)
    }

    fn encode(&self, batch: Arc<SparseBatch>) -> Result<Tensor> {
        let weights = self.sigmoid_importance()?;
        self.encoder.detached().forward(&batch, weights.as_ref(), Pass::EVAL)
    }

    fn tensor(&self, x: ArrayView2<'_, f32>) -> Result<Tensor> {
        Ok(Tensor::from_vec(x.iter().copied().collect::<Vec<f32>>(), x.dim(), self.parameters.device())?)
    }
}

impl Network for Concord {
    fn genes(&self) -> &[String] {
        &self.names.genes
    }

    fn first_layer(&self, x: &Arc<SparseBatch>) -> Result<Tensor> {
        self.encoder.detached().first_layer(x, self.sigmoid_importance()?.map(|w| w.detach()).as_ref())
    }

    fn first_weight(&self) -> Result<Option<Array2<f32>>> {
        let mut weight = to_array(self.encoder.first_weight())?;
        if let Some(gene_weights) = self.gene_weights()? {
            weight.rows_mut().into_iter().zip(gene_weights).for_each(|(mut row, w)| row.mapv_inplace(|v| v * w));
        }
        Ok(Some(weight))
    }

    fn latent(&self, first: &Tensor) -> Result<Tensor> {
        let layers = self.encoder.detached().activations(first)?;
        layers.into_iter().next_back().ok_or_else(|| Error::data("the encoder has no layers", "report this"))
    }

    fn logits(&self, latent: &Tensor) -> Result<Tensor> {
        match &self.classifier {
            Some(classifier) => classifier.detached().forward(latent, Pass::EVAL),
            None => Err(Error::argument("class", "needs a model with a classifier", "train with `use_classifier`")),
        }
    }
}
