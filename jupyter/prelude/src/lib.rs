//! Short functions and rich displays over tutti, for Rust notebooks.
//!
//! A notebook of the kernel `tutti-jupyter` begins with `use tutti_notebook::*;`. The same lines run in a program:
//!
//! ```
//! use tutti_notebook::*;
//!
//! # fn main() -> Result<()> {
//! let cells = simulate_with("five_clusters_two_batches").n_cells(300).n_genes(80).run()?;
//! let model = concord(&cells).batch("batch").n_epochs(2).set("latent_dim", 10).set("encoder_dims", 32).train()?;
//! let z = model.embed(&cells)?;
//! let clusters = leiden(&z)?;
//! let layout = umap_with(&z).n_epochs(20).run()?;
//! layout.plot().color_by("batch").color_by(&clusters).title("simulated").run()?.svg()?;
//!
//! let before = pca(&cells)?;
//! let scores = score(&cells).label("cell_type").batch("batch").embedding(&z).embedding(&before).run()?;
//! assert_eq!(scores.embeddings().len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # How values behave
//!
//! **Pass a reference, `&cells`; nothing is ever used up.** Each value holds its data behind a counter: `clone()` copies no matrix, no value borrows
//! from another, and all of them can be kept from cell to cell of a notebook. Nothing is changed in place: a method such as
//! [`Cells::with_obs`] returns new cells over the same data, to be kept under the old name or a new one,
//! `let cells = cells.with_obs("leiden", &clusters)?;`.
//!
//! **A function with options has a twin**: [`umap()`] takes what there must be, [`umap_with()`] takes options and ends in `.run()?`. [`concord()`],
//! [`lcl()`], [`predict_fate()`], [`score()`] and [`pseudotime()`] have options only.
//!
//! **The last expression of a cell is shown**, by the method `evcxr_display`; [`show`] shows a value earlier. Names and texts are always taken as text.
//!
//! **Stop** (Ctrl-C) ends every long call at its next step. A training returns the model as it is ([`ConcordRun::train`], [`LclRun::train`],
//! [`Annotate::run`]); what has nothing to keep, such as [`umap()`] or [`score()`], ends in an error.
//!
//! **The numbers are those of the command line**: the same seed and settings give the same bits.
//!
//! What is wrapped is at hand by `inner()` and `array()`, and the crates are re-exported: [`tutti`], [`tutti_io`], [`tutti_figures`], [`ndarray`],
//! [`polars`] and [`candle_core`].

mod annotate;
mod annotated;
mod attribution;
mod builder;
mod cells;
mod clusters;
mod column;
mod concord;
mod confusion;
mod display;
mod embedding;
mod error;
mod fate;
mod figure;
mod groups;
mod history;
mod html;
mod input;
mod kernel;
mod layout;
mod lcl;
mod lineage;
mod markers;
mod model;
mod pca;
mod peaks;
mod plot;
mod plot_3d;
mod progress;
mod pseudotime;
mod read;
mod score;
mod shown;
mod simulate;
mod summary;
mod table;
mod topology;
mod transfer;

pub use annotate::{Annotate, annotate};
pub use annotated::AnnotatedCells;
pub use attribution::Attribution;
pub use cells::Cells;
pub use clusters::{Leiden, k_means, leiden, leiden_with};
pub use column::{Column, ColumnRef};
pub use concord::{ConcordRun, concord};
pub use confusion::{Confusion, confusion};
pub use display::{Content, Rich, show, warn};
pub use embedding::Embedding;
pub use error::{Error, Result};
pub use fate::{FateRun, Fates, predict_fate};
pub use figure::Figure;
pub use groups::{composition, dot_plot, heatmap, river};
pub use history::History;
pub use input::input;
pub use kernel::{interrupted, tutti_notebook_cell, tutti_notebook_init};
pub use layout::{Layout, Umap, umap, umap_with};
pub use lcl::{LclModel, LclRun, lcl, load_lcl};
pub use lineage::{LineageGenes, lineage_error, lineage_pairs};
pub use markers::markers;
pub use model::{Model, load_model};
pub use pca::{PcaRun, pca, pca_with};
pub use peaks::{GeneActivityRun, LsiRun, gene_activity, gene_activity_with, lsi, lsi_with};
pub use plot::Plot;
pub use plot_3d::Plot3d;
pub use pseudotime::{Pseudotime, pseudotime};
pub use read::{Reading, read, read_with};
pub use score::{Scores, Scoring, score};
#[doc(hidden)]
pub use shown::Shown;
pub use simulate::{SimulateRun, presets, simulate, simulate_with};
pub use table::{Columns, Table};
pub use topology::{Topology, TopologyRun, plot_betti, topology, topology_with};
pub use transfer::{Transfer, Transferred, project, transfer, transfer_with};

pub use {candle_core, ndarray, polars, serde_json, serde_json::json, tutti, tutti_figures, tutti_io};
