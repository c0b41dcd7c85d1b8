//! A trained model: what it embeds, names, corrects and tells.

use std::path::Path;
use std::sync::Arc;

use tutti::data::Csr;
use tutti::neighbors::Metric;
use tutti::preprocess::{Origin, Prepared, Preprocessing, prepare_query};
use tutti::sampler::Composition;
use tutti::systems::concord::Concord;
use tutti::threads::Threads;
use tutti_io::{AnnData, ObsColumn};

use crate::attribution::Attribution;
use crate::cells::Cells;
use crate::column::{Column, Values};
use crate::concord::device;
use crate::display::{Content, Rich, show, warn};
use crate::embedding::{Embedding, short};
use crate::error::{Error, Result};
use crate::history::History;
use crate::html::{block, counted, cut, escape, muted};
use crate::kernel::stoppable;
use crate::pca::CHOOSE;
use crate::shown;
use crate::table::Table;

/// Smallest share of the model's genes that cells to embed must have.
const MIN_OVERLAP: f64 = 0.5;

/// A trained model with the names that it was trained on. Cheap to clone.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Inner>,
}

struct Inner {
    system: Concord,
    preprocessing: Preprocessing,
    history: History,
    run: Run,
    threads: usize,
}

/// What is known of the training.
pub(crate) struct Run {
    pub prepared: Option<Prepared>,
    pub composition: Option<Composition>,
    pub line: String,
    /// Cells that it was trained on; 0 where that is not known.
    pub n_cells: usize,
}

/// Reads a model that [`Model::save`] or the command line wrote.
///
/// # Errors
/// A file that is cut off, foreign or newer.
pub fn load_model(path: impl AsRef<Path>) -> Result<Model> {
    let path = path.as_ref();
    let (system, preprocessing, history) = Concord::load(path, &device("cpu")?)?;
    let run = Run { prepared: None, composition: None, line: format!("read from {}", path.display()), n_cells: 0 };
    Ok(Model::new(system, preprocessing, history, run, 0))
}

impl Model {
    pub(crate) fn new(
        system: Concord,
        preprocessing: Preprocessing,
        history: tutti::train::History,
        run: Run,
        threads: usize,
    ) -> Self {
        Self { inner: Arc::new(Inner { system, preprocessing, history: History::new(history), run, threads }) }
    }

    /// Embeds cells: those of training, or new ones, whose genes are matched by name and which are treated as those of training were.
    ///
    /// # Errors
    /// Cells that lack more than half of the model's genes; values that cannot be used.
    pub fn embed(&self, cells: &Cells) -> Result<Embedding> {
        self.embed_with(cells, MIN_OVERLAP)
    }

    /// As [`Model::embed`], with another smallest share of the model's genes that the cells must have, 0 to 1.
    ///
    /// # Errors
    /// As [`Model::embed`].
    pub fn embed_with(&self, cells: &Cells, min_overlap: f64) -> Result<Embedding> {
        let inner = &self.inner;
        let core = cells.core(&[])?;
        let file = cells.inner().path().display().to_string();
        let embedded = || -> tutti::Result<_> {
            let origin = Origin { name: &file, choose: CHOOSE };
            let query = prepare_query(&core, inner.system.genes(), inner.preprocessing, min_overlap, origin)?;
            query.notes.iter().for_each(|note| warn(note));
            inner.system.embed(&query.source)
        };
        let array = stoppable(|| Ok(Threads::new(inner.threads)?.run(embedded)?))?;
        let note = format!("embedded by {}", self.name());
        Ok(Embedding::new("X_concord", array, Metric::Cosine, Some(cells.clone())).noted(note))
    }

    /// The likeliest class of each embedded cell.
    ///
    /// # Errors
    /// For a model without a classifier.
    pub fn classify(&self, embedding: impl Into<Embedding>) -> Result<Column> {
        let found = self.classes_of(&embedding.into())?;
        let sure = found.probability.iter().filter(|p| **p > 0.9).count();
        let note = format!("classifier, {} above a probability of 0.9", counted(sure, "cell"));
        Ok(Column::new("concord_class", Values::Category(found.label), Some(note)))
    }

    /// Probability of each class for each embedded cell.
    ///
    /// # Errors
    /// For a model without a classifier.
    pub fn class_probabilities(&self, embedding: impl Into<Embedding>) -> Result<Table> {
        let embedding = embedding.into();
        let found = self.classes_of(&embedding)?;
        let columns = found.label.levels().iter().zip(found.probabilities.columns());
        let table = Table::build().text("cell", embedding.cell_names());
        columns.fold(table, |t, (name, p)| t.numbers(name, p.iter().map(|v| f64::from(*v)).collect::<Vec<_>>())).run()
    }

    fn classes_of(&self, embedding: &Embedding) -> Result<tutti::systems::concord::PredictedClasses> {
        let found = self.inner.system.predict(embedding.array().view())?;
        found.ok_or_else(|| {
            Error::usage("the model has no classifier; train with `.label(\"COLUMN\").set(\"use_classifier\", true)`")
        })
    }

    /// Expression decoded as if all cells came from `batch`: smooth, for figures and for comparing groups, not for tests of differential
    /// expression. The result has the genes of the model, and obs and obsm of the cells.
    ///
    /// # Errors
    /// For a model without a decoder, or a batch that it was not trained on, naming those it was.
    pub fn corrected(&self, cells: &Cells, batch: &str) -> Result<Cells> {
        let system = &self.inner.system;
        if !system.config().use_decoder {
            return Err(Error::usage("the model has no decoder; train with `.set(\"use_decoder\", true)`"));
        }
        let embedding = self.embed(cells)?;
        let z = embedding.array().view();
        let decoded = stoppable(|| Ok(Threads::new(self.inner.threads)?.run(|| system.decode(z, batch))?))?;
        let x = Csr::from_dense(decoded.view())?;
        let name = format!("{}, corrected to {batch}", cells.inner().path().display());
        let data = AnnData::from_memory(Path::new(&name), x, cells.cell_names(), system.genes().to_vec())?;
        let obs = cells.obs_names().iter().map(|n| Ok((n.clone(), cells.obs(n)?.obs_column()))).collect::<Result<_>>()?;
        let data: AnnData = data.with_obs(obs)?;
        let corrected = Cells::in_memory(data, Default::default());
        cells.obsm_names().iter().try_fold(corrected, |out, name| out.with_obsm(name, cells.obsm(name)?))
    }

    /// What drives each dimension: the gradient of the dimension with respect to each gene, the mean over cells.
    ///
    /// # Errors
    /// As [`Model::embed`].
    pub fn attribution(&self, cells: &Cells) -> Result<Attribution> {
        self.attribution_of_layer(cells, self.inner.system.config().encoder_dims.len())
    }

    /// As [`Model::attribution`], of the neurons of a layer of the encoder, from 0; the last one is the embedding.
    ///
    /// # Errors
    /// For a layer that there is not.
    pub fn attribution_of_layer(&self, cells: &Cells, layer: usize) -> Result<Attribution> {
        let inner = &self.inner;
        let core = cells.core(&[])?;
        let file = cells.inner().path().display().to_string();
        let attributed = || -> tutti::Result<_> {
            let origin = Origin { name: &file, choose: CHOOSE };
            let query = prepare_query(&core, inner.system.genes(), inner.preprocessing, MIN_OVERLAP, origin)?;
            inner.system.gene_attribution(&query.source, layer)
        };
        let values = stoppable(|| Ok(Threads::new(inner.threads)?.run(attributed)?))?;
        let what = if layer == inner.system.config().encoder_dims.len() { "concord" } else { "neuron" };
        Ok(Attribution::new(values, inner.system.genes().to_vec(), what))
    }

    /// Losses by epoch.
    pub fn history(&self) -> History {
        self.inner.history.clone()
    }

    /// Name of the system: `concord`.
    pub fn name(&self) -> String {
        "concord".into()
    }

    /// Genes that the model reads, in order.
    pub fn genes(&self) -> Vec<String> {
        self.inner.system.genes().to_vec()
    }

    /// Names of the batches that it was trained on.
    pub fn batches(&self) -> Vec<String> {
        self.inner.system.batches().to_vec()
    }

    /// Names of the classes that it knows; none without a classifier.
    pub fn classes(&self) -> Vec<String> {
        self.inner.system.classes().to_vec()
    }

    /// Width of the embedding.
    pub fn latent_dim(&self) -> usize {
        self.inner.system.config().latent_dim
    }

    /// All settings with their values.
    ///
    /// # Errors
    /// None for what this crate made.
    pub fn settings(&self) -> Result<Table> {
        let settings = serde_json::to_value(self.inner.system.config()).map_err(|e| Error::usage(e.to_string()))?;
        let (names, values): (Vec<String>, Vec<String>) = settings
            .as_object()
            .into_iter()
            .flatten()
            .map(|(n, v)| (n.clone(), v.to_string().trim_matches('"').to_owned()))
            .unzip();
        Table::build().text("setting", names).text("value", values).run()
    }

    /// What the mini-batches of the first epoch were made of, a row per batch.
    ///
    /// # Errors
    /// For a model that was read from a file.
    pub fn composition(&self) -> Result<Table> {
        let composition = self.inner.run.composition.as_ref();
        let domains = &composition.ok_or_else(|| Error::usage("a loaded model does not know its mini-batches"))?.domains;
        Table::build()
            .text("batch", domains.iter().map(|d| d.domain.clone()).collect::<Vec<_>>())
            .integers("cells", domains.iter().map(|d| d.n_cells as i64).collect::<Vec<_>>())
            .integers("mini-batches", domains.iter().map(|d| d.n_batches as i64).collect::<Vec<_>>())
            .numbers("cells per mini-batch", domains.iter().map(|d| d.mean_size).collect::<Vec<_>>())
            .numbers("share of own batch", domains.iter().map(|d| d.intra_domain).collect::<Vec<_>>())
            .integers("cells used", domains.iter().map(|d| d.n_used as i64).collect::<Vec<_>>())
            .run()
    }

    /// Writes the model: settings, weights, names, how values are treated, history. The command line and R read it too.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(self.inner.system.save(path.as_ref(), self.inner.preprocessing, self.inner.history.inner())?)
    }

    /// The network as the core has it.
    pub fn inner(&self) -> &tutti::systems::concord::Concord {
        &self.inner.system
    }

    /// Shows the model in brief; notebooks call this for the last expression of a cell.
    pub fn evcxr_display(&self) {
        show(self);
    }

    /// Lines of the summary: a name and what is said.
    fn lines(&self) -> Vec<(&'static str, String)> {
        let Inner { system, preprocessing, run, .. } = &*self.inner;
        let c = system.config();
        let treated = match preprocessing.target_sum {
            Some(target) => format!("counts scaled to {target} per cell, log(1 + x)"),
            None => "used as they are".to_owned(),
        };
        let mut lines = vec![("training", run.line.trim_start_matches("concord: ").to_owned())];
        if run.n_cells > 0 {
            lines.push(("cells", counted(run.n_cells, "cell")));
        }
        if let Some(prepared) = &run.prepared {
            lines.push(("values", format!("{} ({}); {treated}", prepared.value_kind, prepared.reason)));
            lines.push(("genes", prepared.gene_selection.clone()));
        } else {
            lines.push(("values", treated));
            lines.push(("genes", counted(system.genes().len(), "gene")));
        }
        lines.push(("batches", cut(&system.batches().join(", "), 120)));
        if !system.classes().is_empty() {
            lines.push(("classes", cut(&system.classes().join(", "), 120)));
        }
        let parts = [(c.use_decoder, ", decoder"), (c.use_classifier, ", classifier"), (c.use_importance_mask, ", gene weights")];
        let parts: String = parts.iter().filter(|p| p.0).map(|p| p.1).collect();
        lines.push((
            "network",
            format!(
                "encoder {:?} → {}{parts}, {} parameters",
                c.encoder_dims,
                c.latent_dim,
                crate::html::thousands(n_parameters(system))
            ),
        ));
        lines.push((
            "settings",
            format!(
                "temperature {}, hard_negative_beta {}, p_intra_domain {}, p_intra_knn {}, batch_size {}, n_epochs {}, lr {}, seed {}",
                c.temperature, c.hard_negative_beta, c.p_intra_domain, c.p_intra_knn, c.batch_size, c.n_epochs, c.lr, c.seed
            ),
        ));
        lines
    }
}

fn n_parameters(system: &Concord) -> usize {
    use tutti::model::System as _;
    system.parameters().snapshot().map_or(0, |tensors| tensors.iter().map(|(_, t)| t.elem_count()).sum())
}

impl Rich for Model {
    fn content(&self) -> Content {
        let head = format!("concord model, {} genes → {} dimensions", self.inner.system.genes().len(), self.latent_dim());
        let lines = self.lines();
        let text: String = lines.iter().map(|(name, what)| format!("\n{name:<9} {what}")).collect();
        let row = |(name, what): &(&str, String)| {
            format!(
                "<tr style=\"background:none\"><td style=\"text-align:left;padding:0 14px 0 0;vertical-align:top\">{}</td>\
                 <td style=\"text-align:left;padding:0;white-space:normal\">{}</td></tr>",
                muted(name),
                escape(what)
            )
        };
        let rows: String = lines.iter().map(row).collect();
        let html = format!("<b>{}</b><table style=\"border:none;margin:2px 0\">{rows}</table>", escape(&head));
        Content::text(head + &text).with_html(block(&html))
    }
}

/// What a console shows.
impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        shown::debug(self, &self.content().text, f)
    }
}

/// Embedding, and class columns of a model with a classifier, added under the names that the command line gives them.
impl Cells {
    /// The cells with their embedding by this model and, where it has a classifier, the predicted class and its probability.
    ///
    /// # Errors
    /// As [`Model::embed`].
    pub fn with_model(&self, model: &Model) -> Result<Cells> {
        let z = model.embed(self)?;
        let cells = self.with_embedding(&z)?;
        let Some(found) = model.inner.system.predict(z.array().view())? else { return Ok(cells) };
        let prefix = short(&z.name());
        let label = Column::new("", Values::Category(found.label), None);
        let cells = cells.with_obs(&format!("{prefix}_class"), label)?;
        cells.with_obs(&format!("{prefix}_class_probability"), found.probability)
    }
}

impl From<ObsColumn> for Column {
    fn from(column: ObsColumn) -> Column {
        match column {
            ObsColumn::Float(values) => Column::new("", Values::Number(values), None),
            ObsColumn::Levels(column) => Column::new("", Values::Category(column), None),
            ObsColumn::Category(values) | ObsColumn::Text(values) => {
                Column::new("", Values::Category(tutti::data::Categorical::from_values(values)), None)
            }
            ObsColumn::Bool(values) => values.into(),
        }
    }
}
