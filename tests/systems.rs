//! Systems on real data, against principal components as the baseline.

use ndarray::Array2;
use tutti::data::{Categorical, Cells};
use tutti::metrics::{ScoreConfig, Scores, score};
use tutti::neighbors::Metric;
use tutti::observe::{CancelToken, Silent};
use tutti::preprocess::{Normalized, PcaConfig, TargetSum, pca, to_memory};
use tutti::systems::concord::{Concord, ConcordColumns, ConcordConfig};
use tutti::threads::Threads;
use tutti_io::{ReadOptions, read};

fn cells(file: &str) -> Option<(Cells<'static>, Categorical, Categorical)> {
    let data = read(&crate::shared_data()?.join(file), &ReadOptions::default()).unwrap();
    let cells = data.cells(&["batch", "cell_type"]).unwrap();
    let logged = to_memory(&Normalized::new(cells.shared_source(), Some(TargetSum::Fixed(1e4)), true).unwrap()).unwrap();
    let cells = cells.with_source(logged, data.gene_names().to_vec()).unwrap();
    Some((cells, data.categorical("batch").unwrap(), data.categorical("cell_type").unwrap()))
}

fn scored(x: &Array2<f32>, label: &Categorical, batch: &Categorical, metric: Metric) -> Scores {
    score(x.view(), Some(label), batch, &ScoreConfig { metric, ..Default::default() }).unwrap()
}

#[test]
fn concord_mixes_batches_and_keeps_types_better_than_principal_components() {
    for file in ["pbmc_10x_three_chemistries.h5ad", "pancreas_three_technologies.h5ad"] {
        let Some((cells, batch, label)) = cells(file) else { return };
        let columns = ConcordColumns { batch: Some("batch".into()), label: None };
        let threads = Threads::new(2).unwrap();
        let mut trainer =
            Concord::trainer(&cells, &columns, ConcordConfig::default(), &candle_core::Device::Cpu, threads).unwrap();
        trainer.train(&mut Silent, &CancelToken::default()).unwrap();
        let z = trainer.finish().unwrap().0.embed(cells.source()).unwrap();
        let concord = scored(&z, &label, &batch, Metric::Cosine);
        let components = pca(cells.source(), &PcaConfig::default()).unwrap().scores;
        let components = scored(&components, &label, &batch, Metric::Euclidean);
        assert!(concord.same_batch_ratio < 0.75 * components.same_batch_ratio, "{file}: {concord:?} {components:?}");
        assert!(concord.label_silhouette > components.label_silhouette, "{file}: {concord:?} {components:?}");
        assert!(concord.knn_purity.unwrap() > components.knn_purity.unwrap() - 0.06, "{file}: {concord:?} {components:?}");
    }
}
