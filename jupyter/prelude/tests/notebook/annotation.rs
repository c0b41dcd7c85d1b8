//! Cells named after a reference, with limits, finer labels and genes.

use ndarray::{Axis, concatenate};
use tutti::downstream::{TransferConfig, hold_out, novelty_beside};
use tutti::neighbors::Metric;
use tutti::rng::Rng;

use super::*;

/// Four clusters in the reference, five in the query, which is of another batch.
fn reference_and_query() -> (Cells, Cells, String) {
    let cells = clusters();
    let new = cells.obs("cell_type").unwrap().levels()[4].clone();
    let reference = cells.only("batch", &["batch_1"]).unwrap().without("cell_type", &[&new]).unwrap();
    (reference, cells.without("batch", &["batch_1"]).unwrap(), new)
}

fn short_annotate(reference: &Cells, query: &Cells) -> Annotate {
    annotate(reference, query, "cell_type").scenario("rna-to-rna").n_steps(100).quiet()
}

fn number(table: &Table, column: &str, row: usize) -> f32 {
    table.column(column).unwrap().to_numbers().unwrap()[row]
}

#[test]
fn limits_by_class_are_those_of_the_class_that_a_cell_is_called() {
    let (reference, query, new) = reference_and_query();
    // A rate of 0.2 for each of the two limits needs four cells of a class.
    let run = short_annotate(&reference, &query).held_out(0.5).false_rejection_rate(0.4);
    let (overall, found) = (run.run().unwrap(), run.limits_by_class().run().unwrap());
    assert_eq!((overall.limits().unwrap().n_rows(), found.limits().unwrap().n_rows()), (1, 4));
    assert_eq!(overall.probability().to_numbers().unwrap(), found.probability().to_numbers().unwrap());
    let (limits, labels) = (found.limits().unwrap(), found.labels().categorical().unwrap());
    let (p, novelty) = (found.probability().to_numbers().unwrap(), found.novelty().to_numbers().unwrap());
    let [second, of_second] = found.runner_up();
    let of_second = of_second.to_numbers().unwrap();
    assert!((0..p.len()).all(|i| second.values()[i].is_some() && of_second[i] <= p[i] && of_second[i] + p[i] < 1.0 + 1e-5));
    for (i, unknown) in found.unknown().into_iter().enumerate() {
        let class = labels.codes()[i].unwrap() as usize;
        let beyond = p[i] < number(&limits, "least probability", class) || novelty[i] > number(&limits, "largest novelty", class);
        assert_eq!(unknown, beyond, "cell {i}");
    }
    let truth = query.obs("cell_type").unwrap().values();
    let of_new: Vec<usize> = (0..query.n_cells()).filter(|i| truth[*i].as_deref() == Some(&new)).collect();
    assert!(of_new.iter().all(|i| found.unknown()[*i]));
    assert!(format!("{found:?}").contains("limits by class; of all together"), "{found:?}");
    let refused = run.limits_by_class().no_rejection().run().unwrap_err().to_string();
    assert!(refused.contains("`limits` is by class"), "{refused}");
}

#[test]
fn cells_are_compared_by_the_metric_of_the_start() {
    let (reference, query, _) = reference_and_query();
    let labels = reference.obs("cell_type").unwrap().categorical().unwrap().drop_unused();
    let split = hold_out(&labels, 0.2, &Rng::new(0)).unwrap();
    let run = short_annotate(&reference, &query);
    for (run, name) in [(run.clone(), "euclidean"), (run.preset("paper"), "cosine"), (run.preset("reference-code"), "cosine")] {
        let found = run.run().unwrap();
        let (known, asked) = (found.reference_embedding(), found.embedding());
        assert_eq!((known.metric(), asked.metric()), (name.into(), name.into()));
        let z = known.array();
        let beside = concatenate![Axis(0), z.select(Axis(0), &split.held_out), asked.array().view()];
        let novelty = |metric| {
            let config = TransferConfig { n_neighbors: 15, metric, ..Default::default() };
            let voters = z.select(Axis(0), &split.train);
            novelty_beside(voters.view(), beside.view(), split.held_out.len(), &config).unwrap().split_off(split.held_out.len())
        };
        let (euclidean, cosine) = (novelty(Metric::Euclidean), novelty(Metric::Cosine));
        assert_ne!(euclidean, cosine);
        assert_eq!(found.novelty().to_numbers().unwrap(), if name == "cosine" { cosine } else { euclidean });
    }
}

#[test]
fn finer_labels_keep_to_the_type_and_genes_are_those_of_a_list() {
    let (reference, query, _) = reference_and_query();
    let types = reference.obs("cell_type").unwrap().values();
    let finer: Vec<String> = types.iter().enumerate().map(|(i, t)| format!("{} {}", t.clone().unwrap(), i % 2)).collect();
    let reference = reference.with_obs("finer", Column::categories("finer", &finer)).unwrap();
    let found = short_annotate(&reference, &query).no_rejection().finer("finer").run().unwrap();
    let (finer, labels) = (found.finer_labels().unwrap(), found.labels().values());
    assert_eq!(finer.name(), "predicted_finer");
    assert!(finer.values().iter().zip(&labels).all(|(f, l)| f.as_ref().unwrap().starts_with(l.as_ref().unwrap())));
    let none = short_annotate(&reference, &query).run().unwrap().finer_labels().unwrap_err().to_string();
    assert!(none.contains("`.finer("), "{none}");

    let table = found.determinant_genes(20).unwrap();
    let (classes, genes) = (table.column("cell_type").unwrap().values(), table.column("gene").unwrap().values());
    let class = classes[0].clone().unwrap();
    // Three of its genes, and one that is not among them.
    let own: Vec<String> = (0..3).map(|i| genes[i].clone().unwrap()).collect();
    let other = (1..).map(|i| format!("gene_{i}")).find(|g| genes[..20].iter().all(|own| own.as_ref() != Some(g))).unwrap();
    let markers = own.iter().chain([&other]).map(|gene| (class.clone(), gene.clone()));
    let hits = found.marker_hits(20, markers.chain([("nothing".into(), "gene_1".into())])).unwrap();
    assert_eq!((hits.n_rows(), number(&hits, "markers", 0), number(&hits, "hits", 0)), (1, 4.0, 3.0));
    let chance = 20.0 / reference.gene_names().len() as f32;
    assert_eq!((number(&hits, "rate", 0), number(&hits, "chance", 0)), (0.75, chance));
    assert!(found.marker_hits(20, [("nothing", "gene_1")]).unwrap_err().to_string().contains(&class));
}

#[test]
fn genes_of_each_cell_are_its_own_and_the_mean_is_another_baseline() {
    let (reference, query, _) = reference_and_query();
    let found = short_annotate(&reference, &query).run().unwrap();
    let table = found.determinant_genes_by_cell(5).unwrap();
    let kept = found.unknown().iter().filter(|unknown| !**unknown).count();
    let of = |table: &Table, name: &str| table.column(name).unwrap().values();
    let (cells, classes) = (of(&table, "cell"), of(&table, "cell_type"));
    assert_eq!(table.n_rows(), 5 * kept);
    let labels = found.known_labels().values();
    let expected: Vec<_> = (0..query.n_cells()).filter(|i| labels[*i].is_some()).collect();
    for (k, i) in expected.iter().enumerate() {
        assert_eq!((&cells[5 * k].as_ref(), &classes[5 * k]), (&Some(&query.cell_names()[*i]), &labels[*i]));
        let sizes: Vec<f32> = (0..5).map(|g| number(&table, "attribution", 5 * k + g).abs()).collect();
        assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
    }
    let mean = found.gene_baseline("mean").unwrap();
    assert_ne!(of(&mean.determinant_genes(20).unwrap(), "gene"), of(&found.determinant_genes(20).unwrap(), "gene"));
    assert_ne!(of(&mean.determinant_genes_by_cell(5).unwrap(), "gene"), of(&table, "gene"));
    assert!(found.gene_baseline("median").err().unwrap().to_string().contains("give `zero` or `mean`"));
    assert!(found.determinant_genes_by_cell(0).unwrap_err().to_string().contains("n_top"));
}

#[test]
fn labels_are_smoothed_and_values_binarised_where_that_is_asked_for() {
    let (reference, query, _) = reference_and_query();
    let run = short_annotate(&reference, &query).no_rejection();
    let (plain, smooth) = (run.run().unwrap(), run.smooth(10).run().unwrap());
    let changed = plain.labels().values().iter().zip(smooth.labels().values()).filter(|(a, b)| **a != *b).count();
    assert_eq!(smooth.inner().smoothing.unwrap().n_changed, changed);
    assert!(plain.inner().smoothing.is_none() && format!("{smooth:?}").contains("of the 10 around have"), "{smooth:?}");
    assert!(run.smooth(1).run().unwrap_err().to_string().contains("`smooth` must be from 3 to"));

    let binary = run.normalize("binarize").run().unwrap();
    assert_ne!(binary.probability().to_numbers().unwrap(), plain.probability().to_numbers().unwrap());
    for message in [
        run.normalize("log").run().unwrap_err(),
        lcl(&reference).lineage("cell_type").normalize("log").train().unwrap_err(),
        concord(&reference).no_batch().normalize("log").train().err().unwrap(),
    ] {
        assert!(message.to_string().contains("`log-normalize` or `binarize`"), "{message}");
    }
}

#[test]
fn an_empty_text_names_no_class() {
    let (reference, query, _) = reference_and_query();
    let types = reference.obs("cell_type").unwrap().values();
    let gaps = |(i, label): (usize, &Option<String>)| if i.is_multiple_of(4) { String::new() } else { label.clone().unwrap() };
    let labels: Vec<String> = types.iter().enumerate().map(gaps).collect();
    let reference = reference.with_obs("cell_type", Column::categories("cell_type", &labels)).unwrap();
    let found = short_annotate(&reference, &query).run().unwrap();
    assert!(found.labels().levels().iter().all(|level| !level.is_empty()), "{:?}", found.labels().levels());
}

#[test]
fn genes_of_another_species_are_joined_by_a_table() {
    let (reference, query, _) = reference_and_query();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orthologues.csv");
    // The same names on both sides: with the table the result is that without it.
    let lines: String = reference.gene_names().iter().map(|gene| format!("{gene},{gene}\n")).collect();
    std::fs::write(&path, lines).unwrap();
    let plain = short_annotate(&reference, &query).run().unwrap();
    let through = short_annotate(&reference, &query).orthologues(&path).run().unwrap();
    assert_eq!(plain.embedding().array(), through.embedding().array());
    let half: String = reference.gene_names().iter().take(50).map(|gene| format!("{gene},{gene}\n")).collect();
    std::fs::write(&path, half).unwrap();
    let fewer = short_annotate(&reference, &query).orthologues(&path).run().unwrap();
    assert_ne!(plain.embedding().array(), fewer.embedding().array());
    assert!(short_annotate(&reference, &query).orthologues("none.csv").run().unwrap_err().to_string().contains("none.csv"));
}

#[test]
fn votes_are_calibrated_on_cells_that_do_not_vote() {
    let (reference, query, new) = reference_and_query();
    let model = short(&clusters()).n_epochs(8).train().unwrap();
    let (x, z) = (model.embed(&reference).unwrap(), model.embed(&query).unwrap());
    let run = transfer_with(&x, "cell_type", &z).n_neighbors(10).held_out(0.5).false_rejection_rate(0.4);
    let found = run.limits_by_class().finer("cell_type").run().unwrap();
    let annotated = found.annotated().unwrap();
    assert_eq!(annotated.by_class.len(), 4);
    let held_out: usize = annotated.by_class.iter().map(|c| c.n_held_out).sum();
    assert_eq!(held_out, annotated.held_out.n_cells());
    let (labels, p) = (found.labels().values(), found.probability().unwrap().to_numbers().unwrap());
    let novelty = found.novelty().to_numbers().unwrap();
    for (i, unknown) in found.unknown().into_iter().enumerate() {
        let class = annotated.by_class.iter().find(|c| Some(&c.class) == labels[i].as_ref()).unwrap();
        let beyond = p[i] < class.limits.min_confidence.unwrap() || novelty[i] > class.limits.max_novelty.unwrap();
        assert_eq!(unknown, beyond, "cell {i}");
        assert_eq!(unknown, found.reason().unwrap().values()[i].is_some());
    }
    // The finer labels are the coarse ones again.
    assert_eq!(found.finer_labels().unwrap().values(), labels);
    let truth = query.obs("cell_type").unwrap().values();
    let right = (0..query.n_cells()).filter(|i| truth[*i] == labels[*i]).count();
    let known = truth.iter().filter(|t| t.as_deref() != Some(&new)).count();
    assert!(right as f64 > 0.9 * known as f64);

    let plain = transfer(&x, "cell_type", &z).unwrap();
    for message in [plain.probability().unwrap_err(), plain.reason().unwrap_err(), plain.annotated().unwrap_err()] {
        assert!(message.to_string().contains("`.held_out(0.2)`"), "{message}");
    }
    let refused = transfer_with(&x, "cell_type", &z).limits_by_class().run().unwrap_err().to_string();
    assert!(refused.contains("`limits_by_class` has no effect without"), "{refused}");
}

#[test]
fn peaks_become_genes_or_an_embedding() {
    let folder = tempfile::tempdir().unwrap();
    let (table, genes) = (folder.path().join("peaks.csv"), folder.path().join("genes.bed"));
    // Gene A reads from 5,000 to 6,000 on the plus strand, B from 20,000 to 21,000 on the minus strand.
    std::fs::write(&genes, "chr1\t5000\t6000\tA\t0\t+\nchr1\t20000\t21000\tB\t0\t-\n").unwrap();
    std::fs::write(
        &table,
        "cell,chr1-3500-3600,chr1-5500-5600,chr1-6500-6600,chr1-22500-22600,chr2-1-100\nx,1,2,4,8,16\ny,0,1,0,3,0\nz,2,0,1,0,1\n",
    )
    .unwrap();
    let peaks = read(&table).unwrap().with_obs("kind", vec!["a", "b", "a"]).unwrap();
    let values = |cells: &Cells, gene: &str| {
        let at = cells.gene_names().iter().position(|g| g == gene).unwrap();
        let mut rows = tutti::data::Csr::empty(0);
        cells.core(&[]).unwrap().source().read_rows(&[0, 1, 2], &mut rows).unwrap();
        rows.to_dense().column(at).to_vec()
    };
    // 2,000 bases before the gene in its direction, and its body.
    let found = gene_activity_with(&peaks, &genes).biotypes(&[]).run().unwrap();
    assert_eq!((values(&found, "A"), values(&found, "B")), (vec![3.0, 1.0, 2.0], vec![8.0, 3.0, 0.0]));
    assert_eq!(
        (found.cell_names(), found.obs("kind").unwrap().values()),
        (peaks.cell_names(), peaks.obs("kind").unwrap().values())
    );
    let behind = gene_activity_with(&peaks, &genes).biotypes(&[]).upstream(0).downstream(1000).run().unwrap();
    assert_eq!(values(&behind, "A"), [6.0, 1.0, 1.0]);
    assert!(gene_activity(&peaks, folder.path().join("none.gtf")).unwrap_err().to_string().contains("none.gtf"));

    let z = lsi_with(&peaks).n_components(2).keep_first().run().unwrap();
    assert_eq!(z.array().dim(), (3, 2));
    let error = lsi_with(&peaks).n_components(9).run().unwrap_err().to_string();
    assert!(error.contains("n_components"), "{error}");
}

#[test]
fn the_second_assay_is_of_the_same_cells() {
    let run = simulate_with("rna_atac").n_cells(60).n_genes(40);
    let (rna, atac) = (run.run().unwrap(), run.second_assay().unwrap());
    assert_eq!((rna.cell_names(), rna.gene_names()), (atac.cell_names(), atac.gene_names()));
    assert_eq!(rna.obs("cell_type").unwrap().values(), atac.obs("cell_type").unwrap().values());
    let error = simulate_with("five_clusters_two_batches").second_assay().unwrap_err().to_string();
    assert!(error.contains("second assay") && error.contains("rna_atac"), "{error}");
}
