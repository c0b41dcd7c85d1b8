//! Writes one figure of each kind, on simulated cells, into a folder.
//!
//! `cargo run --example gallery -- FOLDER`

use ndarray::Array2;
use tutti::benchmark::{BenchmarkConfig, BenchmarkInput, benchmark};
use tutti::data::Categorical;
use tutti::downstream::{CommunityConfig, Linkage, RowDistance, UmapConfig, hierarchical, leiden, umap};
use tutti::metrics::{TopologyConfig, betti_curves, persistence, trustworthiness};
use tutti::neighbors::{Graph, Metric, NeighborConfig, nearest_self};
use tutti::preprocess::{PcaConfig, pca};
use tutti::simulate::{SimulateConfig, simulate};
use tutti::train::{EpochRecord, History};
use tutti_figures::{
    Color, ColorMap, EmbeddingOptions, Heatmap, Panel, batch_composition, benchmark_table, betti_curves_figure, confusion_matrix,
    dot_plot, embedding, embedding_by_level, embedding_grid, heatmap, persistence_diagram, river, scatter_3d, training_history,
    trustworthiness_curve,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::path::PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "target/gallery".into()));
    std::fs::create_dir_all(&folder)?;
    let cells = simulate(&SimulateConfig { n_cells: 2000, n_genes: 500, ..Default::default() })?;
    let layout =
        umap(pca(&cells.counts, &PcaConfig { n_components: 20, ..Default::default() })?.scores.view(), &UmapConfig::default())?;
    let first: Vec<f32> = layout.column(0).to_vec();
    let options = EmbeddingOptions::default();

    let panel = |title, color| Panel { title, points: layout.view(), color };
    let panels = [
        panel("cell type", Color::Category(&cells.cell_type)),
        panel("batch", Color::Category(&cells.batch)),
        panel("a number", Color::Values(&first, ColorMap::Viridis)),
        panel("density", Color::Density),
    ];
    embedding_grid(&panels, &options)?.save(folder.join("embedding_grid.png"))?;
    embedding_by_level(layout.view(), &cells.batch, &EmbeddingOptions { n_columns: 3, panel_size: 180.0, ..options.clone() })?
        .save(folder.join("embedding_by_level.png"))?;

    // Many levels with long names.
    let names: Vec<String> = (0..40).map(|i| format!("{i} a rather long name of a cell type {}", "x".repeat(i % 9))).collect();
    let many = Categorical::from_values((0..2000).map(|i| Some(&names[i % 40])));
    embedding(layout.view(), Color::Category(&many), "forty levels", &options)?.save(folder.join("forty.png"))?;
    let labelled = EmbeddingOptions { label_clusters: true, panel_size: 320.0, ..options.clone() };
    embedding(layout.view(), Color::Category(&cells.cell_type), "labels", &labelled)?.save(folder.join("labels.svg"))?;
    embedding(layout.view(), Color::Category(&cells.cell_type), "labels", &labelled)?.save(folder.join("labels.png"))?;

    // Matrices, tables and curves.
    let types = cells.cell_type.levels().to_vec();
    let called = Array2::from_shape_fn((6, 6), |(i, j)| if i == j { 400 - 50 * i } else { (i * 5 + j * 3) % 17 });
    confusion_matrix(called.view(), &types, &types)?.save(folder.join("confusion.png"))?;
    batch_composition(&cells.cell_type, &cells.batch)?.save(folder.join("composition.png"))?;
    let genes: Vec<String> = ["CD3D", "CD8A", "MS4A1", "NKG7", "LYZ", "FCGR3A", "PPBP", "HLA-DRA"].map(String::from).to_vec();
    let shares = Array2::from_shape_fn((6, 8), |(i, j)| if i == j { 0.95 } else { ((i * 3 + j * 5) % 7) as f64 / 14.0 });
    dot_plot(shares.view(), shares.mapv(|s| 3.0 * s).view(), &types, &genes)?.save(folder.join("dots.png"))?;
    let input = BenchmarkInput { label: &cells.cell_type, batch: &cells.batch, before: None, truth: None, betti: None };
    let components = pca(&cells.counts, &PcaConfig { n_components: 10, ..Default::default() })?.scores;
    let scores = |x| benchmark(x, &input, &BenchmarkConfig::default()).map(|s| s.scores());
    let table = [("UMAP".to_owned(), scores(layout.view())?), ("PCA".to_owned(), scores(components.view())?)];
    benchmark_table(&table)?.save(folder.join("table.png"))?;
    let k: Vec<usize> = (1..=10).map(|k| 10 * k).collect();
    let curve = trustworthiness(components.view(), layout.view(), &k, Metric::Euclidean)?;
    trustworthiness_curve(&k, &[("UMAP".into(), curve.clone()), ("worse".into(), curve.iter().map(|c| c - 0.05).collect())])?
        .save(folder.join("trustworthiness.png"))?;

    let epoch = |e: usize| {
        let falling = |rate: f64| (-rate * e as f64).exp();
        let (mse, nt_xent) = (0.02 + 0.05 * falling(0.2), 1.5 + 2.0 * falling(0.5));
        EpochRecord {
            epoch: e,
            learning_rate: 0.01 * 0.97f64.powi(e as i32),
            loss: mse + nt_xent,
            terms: [("mse".into(), mse), ("nt_xent".into(), nt_xent)].into(),
            validation_loss: Some(mse + nt_xent + 0.2 - 0.1 * falling(0.1)),
            ..Default::default()
        }
    };
    training_history(&History { epochs: (1..=15).map(epoch).collect(), best_epoch: None })?.save(folder.join("history.png"))?;

    let means = Array2::from_shape_fn((24, 10), |(i, j)| {
        ((i % 4) as f64 - (j % 4) as f64).powi(2) * -0.4 + 2.0 * first[i * 10 + j] as f64 * 0.1
    });
    let tree = hierarchical(means.mapv(|v| v as f32).view(), Linkage::Average, RowDistance::Euclidean)?;
    let group = Categorical::from_values((0..24).map(|i| Some(format!("group {}", i % 4))));
    let side = Categorical::from_values((0..24).map(|i| (i != 5).then_some(if i < 12 { "left" } else { "right" })));
    heatmap(&Heatmap {
        values: means.view(),
        rows: &(1..=24).map(|i| format!("cluster {i}")).collect::<Vec<_>>(),
        columns: &(1..=10).map(|i| format!("GENE{i}")).collect::<Vec<_>>(),
        tree: Some(&tree),
        annotations: &[("group", &group), ("side", &side)],
        map: ColorMap::Diverging,
        value_name: "z-score",
    })?
    .save(folder.join("heatmap.png"))?;

    let components = pca(&cells.counts, &PcaConfig { n_components: 20, ..Default::default() })?.scores;
    let three = umap(components.view(), &UmapConfig { n_components: 3, ..Default::default() })?;
    let columns = [
        ("cell type", Color::Category(&cells.cell_type)),
        ("batch", Color::Category(&cells.batch)),
        ("UMAP 1", Color::Values(&first, ColorMap::Viridis)),
    ];
    scatter_3d(three.view(), &columns, "simulated cells")?.save(folder.join("umap_3d.html"))?;

    let clusters =
        leiden(&Graph::fuzzy(&nearest_self(components.view(), &NeighborConfig::default())?), &CommunityConfig::default())?;
    let clusters = Categorical::from_values(clusters.labels.iter().map(|c| Some(format!("cluster {c}"))));
    river(&[("cell type", &cells.cell_type), ("Leiden", &clusters), ("batch", &cells.batch)])?.save(folder.join("river.png"))?;

    // A circle has one loop.
    let angle = |i: usize| std::f64::consts::TAU * i as f64 / 120.0;
    let circle =
        Array2::from_shape_fn((120, 2), |(i, d)| (if d == 0 { angle(i).cos() } else { angle(i).sin() }) as f32 + first[i] * 0.02);
    let diagrams = persistence(circle.view(), &TopologyConfig::default())?;
    persistence_diagram(&diagrams, "circle")?.save(folder.join("persistence.png"))?;
    betti_curves_figure(&[("circle".into(), betti_curves(&diagrams, 100)?)])?.save(folder.join("betti.png"))?;

    // A million points.
    let million =
        Array2::from_shape_fn((1_000_000, 2), |(i, d)| layout[[i % 2000, d]] + 0.3 * ((i * (7 + d) % 1013) as f32 / 1013.0));
    let batch = Categorical::from_values((0..1_000_000).map(|i| cells.cell_type.value(i % 2000)));
    let started = std::time::Instant::now();
    embedding(million.view(), Color::Category(&batch), "a million cells", &options)?.save(folder.join("million.png"))?;
    println!("a million points: {:.2} s", started.elapsed().as_secs_f64());
    Ok(())
}
