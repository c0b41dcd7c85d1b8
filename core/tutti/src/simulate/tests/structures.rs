//! Clusters, paths, trees, groups and lineages are what they say.

use super::*;

#[test]
fn clusters_share_the_genes_they_are_told_to() {
    let shared = vec![SharedGenes { of: 1, also_in: 3, fraction: 0.5 }];
    let clusters = Clusters { n: 3, gene_sizes: Sizes::Given(vec![2.0, 1.0, 1.0]), shared, ..Default::default() };
    let spec = Spec {
        n_cells: 30,
        n_genes: 100,
        non_specific_gene_fraction: 0.2,
        structure: Structure::Clusters(clusters),
        ..Default::default()
    };
    let x = dense(&spec, Layer::NoNoise);
    let on = |cell: usize| (0..100).filter(|g| x[[cell, *g]] == 1.0).collect::<Vec<_>>();
    assert_eq!(on(0), (0..60).collect::<Vec<_>>());
    assert_eq!(on(15), (0..20).chain(60..80).collect::<Vec<_>>());
    assert_eq!(on(29), (0..40).chain(80..100).collect::<Vec<_>>());
}

fn noise_free(structure: Structure) -> Spec {
    Spec { n_cells: 1200, n_genes: 120, structure, ..Default::default() }
}

fn distance(x: &ndarray::Array2<f32>, a: usize, b: usize) -> f64 {
    x.row(a).iter().zip(x.row(b)).map(|(p, q)| f64::from(p - q).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn loops_close_and_open_paths_do_not() {
    let ends = |loop_to: Vec<usize>, shape: Shape| {
        let trajectory = Trajectory { n_programmes: 4, loop_to, shape, ..Default::default() };
        let x = dense(&noise_free(Structure::Trajectory(trajectory)), Layer::NoNoise);
        // Neighbours differ little all along a path of ramps.
        if shape == Shape::Linear {
            assert!((1..1200).all(|i| distance(&x, i - 1, i) < 0.1));
        }
        distance(&x, 0, 1199)
    };
    for shape in [Shape::Linear, Shape::DimensionIncrease, Shape::Uniform] {
        assert_eq!(ends(vec![1], shape), 0.0);
        // Programme 1 with 30 genes on against programme 4 with 30 genes on.
        assert_near(ends(Vec::new(), shape), 60f64.sqrt(), 1e-6);
    }
}

#[test]
fn several_loops_pass_the_same_states_again() {
    let trajectory = Trajectory { n_programmes: 9, loop_to: vec![1, 4, 7], ..Default::default() };
    let simulation = Simulation::new(&noise_free(Structure::Trajectory(trajectory))).unwrap();
    let (x, time) = (simulation.matrix(Layer::NoNoise).unwrap().to_dense(), numbers(&simulation, "time"));
    let at = |t: f32| (0..1200).min_by(|a, b| (time[*a] - t).abs().total_cmp(&(time[*b] - t).abs())).unwrap();
    for (again, first) in [(9.0, 0.0), (10.0, 3.0), (11.0, 6.0)] {
        assert_eq!(distance(&x, at(again), at(first)), 0.0);
    }
}

#[test]
fn crossing_paths_meet_in_their_programme_only() {
    let simulation = Simulation::new(&noise_free(Structure::Paths(Paths::default()))).unwrap();
    let (x, time) = (simulation.matrix(Layer::NoNoise).unwrap().to_dense(), numbers(&simulation, "time"));
    let path = categories(&simulation, "path");
    let at = |name: &str, t: f32| {
        let of = (0..1200).filter(|i| path[*i].as_deref() == Some(name));
        of.min_by(|a, b| (time[*a] - t).abs().total_cmp(&(time[*b] - t).abs())).unwrap()
    };
    assert_eq!(distance(&x, at("path_1", 1.0), at("path_2", 1.0)), 0.0);
    assert!(distance(&x, at("path_1", 0.0), at("path_2", 0.0)) > 5.0);
}

#[test]
fn lasting_programmes_add_up_or_run_out() {
    let on = |shape: Shape| {
        let trajectory = Trajectory { n_programmes: 4, shape, plateau: 0.1, ..Default::default() };
        let x = dense(&noise_free(Structure::Trajectory(trajectory)), Layer::NoNoise);
        [0, 600, 1199].map(|i| x.row(i).iter().map(|v| f64::from(*v)).sum::<f64>())
    };
    let [start, middle, end] = on(Shape::LinearIncreasing);
    assert_eq!((start, end), (30.0, 120.0));
    assert_near(middle, 75.0, 1.0);
    let [start, middle, end] = on(Shape::LinearDecreasing);
    assert_eq!((start, end), (120.0, 30.0));
    assert_near(middle, 75.0, 1.0);
    assert!(on(Shape::LinearBidirectional).iter().all(|sum| (sum - 75.0).abs() < 1.0));
}

#[test]
fn children_inherit_the_programmes_of_their_ancestors() {
    let tree = Tree { branching: vec![2, 3], depth: 2, programme_decay: 0.5, cell_decay: 0.5, ..Default::default() };
    let spec = Spec { n_genes: 700, ..noise_free(Structure::Tree(tree)) };
    let simulation = Simulation::new(&spec).unwrap();
    let x = simulation.matrix(Layer::NoNoise).unwrap().to_dense();
    let (branch, depth) = (categories(&simulation, "branch"), numbers(&simulation, "depth"));
    let of = |name: &str| (0..1200).filter(|i| branch[*i].as_deref() == Some(name)).collect::<Vec<_>>();
    // Weights of cells 1, 2 x 1/2, 6 x 1/4 and as many for genes: 3.5 in all.
    for (name, n) in [("branch", 342.9), ("branch_1", 171.4), ("branch_2_3", 85.7)] {
        assert_near(of(name).len() as f64, n, 1.0);
    }
    assert_eq!(depth.iter().filter(|d| **d == 2.0).count(), branch.iter().flatten().filter(|b| b.len() == 10).count());
    let last = |name: &str| *of(name).last().unwrap();
    let (root, parent, child, other) = (last("branch"), last("branch_1"), of("branch_1_2"), last("branch_2"));
    // A child starts where its parent ends, and keeps all that it had.
    assert!(distance(&x, parent, child[0]) < 0.1);
    for end in [child[0], child[child.len() - 1]] {
        assert!(x.row(end).iter().zip(x.row(parent)).all(|(c, p)| *c >= p - 0.02));
    }
    assert!(x.row(child[0]).iter().zip(x.row(root)).filter(|(_, r)| **r > 0.9).all(|(c, _)| *c == 1.0));
    // Siblings share the root's 200 genes and differ in 100 each.
    assert_near(distance(&x, parent, other), 200f64.sqrt(), 0.2);
}

#[test]
fn clusters_vary_within_by_their_shape() {
    let sums = |shape: Shape| {
        let clusters = Clusters { n: 1, shape, plateau: 0.0, ..Default::default() };
        let x = dense(&noise_free(Structure::Clusters(clusters)), Layer::NoNoise);
        [0, 600, 1199].map(|i| x.row(i).sum().round())
    };
    assert_eq!(sums(Shape::Uniform), [120.0; 3]);
    assert_eq!(sums(Shape::Linear), [0.0, 120.0, 0.0]);
    assert_eq!(sums(Shape::LinearIncreasing), [0.0, 60.0, 120.0]);
    assert_eq!(sums(Shape::LinearDecreasing), [120.0, 60.0, 0.0]);
    assert_eq!(sums(Shape::LinearBidirectional), [60.0; 3]);
    assert_eq!(sums(Shape::DimensionIncrease), [0.0, 60.0, 120.0]);
}

#[test]
fn groups_differ_more_for_stronger_factors_and_lose_more_by_the_curve() {
    let spec = |de_scale: f64, mid: f64| {
        let groups = Groups { n: 2, de_scale, library_loc: 9.0, outlier_prob: 0.0, ..Default::default() };
        let dropout_curve = Some(DropoutCurve { mid, shape: -1.0 });
        Spec { n_cells: 400, n_genes: 500, structure: Structure::Groups(groups), dropout_curve, ..Default::default() }
    };
    let between = |de_scale: f64| {
        let x = dense(&spec(de_scale, 0.0), Layer::NoNoise);
        let share = |cell: usize| x.row(cell).to_owned() / x.row(cell).sum();
        (share(0) - share(399)).iter().map(|d| f64::from(d.abs())).sum::<f64>()
    };
    assert!(between(1.0) > 1.5 * between(0.3) && between(0.3) > 0.0);
    let zeros = |mid: f64| dense(&spec(0.3, mid), Layer::Measured).iter().filter(|v| **v == 0.0).count();
    assert!(zeros(2.0) > zeros(0.0) && zeros(0.0) > zeros(-2.0));
    let libraries: Vec<f64> =
        dense(&spec(0.3, 0.0), Layer::NoNoise).rows().into_iter().map(|r| f64::from(r.sum()).ln()).collect();
    let (mean, variance) = moments(libraries.iter().copied());
    assert_near(mean, 9.0, 0.05);
    assert_near(variance.sqrt(), 0.2, 0.03);
}

#[test]
fn counts_of_groups_are_as_overdispersed_as_their_mean_says() {
    // Without factors, spread of libraries or of genes, all cells draw from one mean per gene.
    let groups =
        Groups { n: 1, de_prob: 0.0, outlier_prob: 0.0, library_loc: 7.0, library_scale: 0.0, bcv_df: 1e9, ..Default::default() };
    let spec = Spec { n_cells: 4000, n_genes: 200, structure: Structure::Groups(groups), ..Default::default() };
    let (truth, counts) = (dense(&spec, Layer::NoNoise), dense(&spec, Layer::Measured));
    let (mut seen, mut expected) = (0.0, 0.0);
    for gene in 0..200 {
        let m = f64::from(truth[[0, gene]]);
        let (mean, variance) = moments(counts.column(gene).iter().map(|v| f64::from(*v)));
        let wanted = m + ((0.1 + 1.0 / m.sqrt()) * m).powi(2);
        assert_near(mean, m, 6.0 * (wanted / 4000.0).sqrt() + 1e-9);
        if m > 1.0 {
            (seen, expected) = (seen + variance / wanted, expected + 1.0);
        }
    }
    assert!(expected > 50.0);
    assert_near(seen / expected, 1.0, 0.03);
}

#[test]
fn batches_have_the_states_listed_for_them() {
    // One type in the first batch only, as where types are taken out of some batches to make an overlap partial.
    let simulation = Simulation::new(&Spec::preset("splatter_rare").unwrap()).unwrap();
    let (batch, group) = (categories(&simulation, "batch"), categories(&simulation, "cell_type"));
    let count =
        |b: &str, g: &str| batch.iter().zip(&group).filter(|(x, y)| x.as_deref() == Some(b) && y.as_deref() == Some(g)).count();
    // 1000 cells per batch; weights 0.1 and six of 1, or five of 1.
    assert_near(count("batch_1", "group_1") as f64, 1000.0 * 0.1 / 6.1, 1.0);
    assert_near(count("batch_1", "group_2") as f64, 1000.0 / 6.1, 1.0);
    assert_near(count("batch_4", "group_1") as f64, 1000.0 * 0.1 / 5.1, 1.0);
    assert_eq!(count("batch_4", "group_2"), 0);
}

#[test]
fn clones_have_their_fates_days_and_inherited_genes() {
    let lineage = Lineage { n_clones: 40, unread: 0.25, fate_concentration: 0.05, ..Default::default() };
    let spec = Spec { n_cells: 3000, structure: Structure::Lineage(lineage), ..Spec::preset("lineage").unwrap() };
    let simulation = Simulation::new(&spec).unwrap();
    let (clone, barcode) = (categories(&simulation, "clone"), categories(&simulation, "barcode"));
    let (fate, day, time) = (categories(&simulation, "fate"), numbers(&simulation, "day"), numbers(&simulation, "time"));
    let read = barcode.iter().flatten().count() as f64 / 3000.0;
    assert_near(read, 0.75, 0.03);
    assert!(barcode.iter().zip(&clone).all(|(b, c)| b.is_none() || b == c));
    for (d, progress) in [(2.0, 1.0 / 3.0), (4.0, 2.0 / 3.0)] {
        let (mean, _) = moments(time.iter().zip(&day).filter(|(_, x)| **x == d).map(|(t, _)| f64::from(*t)));
        assert_near(mean, progress, 0.02);
    }
    // With so low a concentration, most cells of a clone have its main fate.
    let main: usize = (1..=40)
        .map(|c| {
            let name = format!("clone_{c}");
            let of =
                |f: &str| clone.iter().zip(&fate).filter(|(x, y)| x.as_deref() == Some(&name) && y.as_deref() == Some(f)).count();
            (1..=3).map(|f| of(&format!("fate_{f}"))).max().unwrap()
        })
        .sum();
    assert!(main as f64 > 0.85 * 3000.0, "{main}");
    // Cells of one clone and fate are nearer than cells of another clone with the same fate at about the same time.
    let x = simulation.matrix(Layer::NoNoise).unwrap().to_dense();
    let (mut same, mut other) = (Vec::new(), Vec::new());
    for (a, b) in (0..300).flat_map(|a| (0..a).map(move |b| (a, b))) {
        if fate[a] == fate[b] && (time[a] - time[b]).abs() < 0.02 {
            let list = if clone[a] == clone[b] { &mut same } else { &mut other };
            list.push(distance(&x, a, b));
        }
    }
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    assert!(mean(&other) > 2.0 * mean(&same), "{} against {}", mean(&other), mean(&same));
}
