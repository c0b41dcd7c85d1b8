//! Figures of single-cell embeddings, scores and training, as papers print them.
//!
//! Each function returns a [`Figure`], which writes itself as SVG or PNG. The font is part of the crate: a figure looks the same on every
//! machine, also where no fonts are installed.
//!
//! ```
//! use ndarray::array;
//! use tutti::data::Categorical;
//! use tutti_figures::{Color, EmbeddingOptions, embedding};
//!
//! let points = array![[0.0f32, 0.0], [0.1, 0.2], [3.0, 3.1], [3.2, 2.9]];
//! let cell_type = Categorical::from_values([Some("B"), Some("B"), Some("T"), None]);
//! let figure = embedding(points.view(), Color::Category(&cell_type), "cell type", &EmbeddingOptions::default())?;
//! assert!(figure.svg()?.starts_with("<svg"));
//! # Ok::<(), tutti_figures::Error>(())
//! ```

mod axes;
mod benchmark_table;
mod canvas;
mod composition;
mod confusion;
mod embedding;
mod error;
mod figure;
mod heatmap;
mod legend;
mod lines;
mod outlines;
mod palette;
mod points;
mod river;
mod scale;
mod scatter3d;
mod theme;
mod topology;

pub use benchmark_table::benchmark_table;
pub use composition::{batch_composition, dot_plot};
pub use confusion::confusion_matrix;
pub use embedding::{Color, EmbeddingOptions, Panel, embedding, embedding_by_level, embedding_grid};
pub use error::{Error, Result};
pub use figure::Figure;
pub use heatmap::{Heatmap, heatmap};
pub use lines::{LinePanel, Series, lines, training_history, trustworthiness_curve};
pub use palette::{ColorMap, MISSING, Rgb, categorical};
pub use river::river;
pub use scatter3d::{Page, scatter_3d};
pub use topology::{betti_curves_figure, persistence_diagram};
