//! Each figure against a drawing that was looked at, and what holds for all of them.
//!
//! After a wanted change, `TUTTI_SNAPSHOTS=write cargo test --test figures` writes the drawings anew: look at them before they are committed.

use std::path::Path;

use ndarray::{Array2, array};
use tutti::benchmark::{Family, Score};
use tutti::data::Categorical;
use tutti::downstream::{Linkage, RowDistance, hierarchical};
use tutti::metrics::{Interval, betti_curves};
use tutti::train::{EpochRecord, History};
use tutti_figures::{
    Color, ColorMap, EmbeddingOptions, Figure, Heatmap, Panel, batch_composition, benchmark_table, betti_curves_figure,
    confusion_matrix, dot_plot, embedding, embedding_by_level, embedding_grid, heatmap, persistence_diagram, river,
    training_history, trustworthiness_curve,
};

fn assert_snapshot(name: &str, figure: &Figure) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(format!("{name}.svg"));
    let drawn = figure.editable_svg().unwrap();
    if std::env::var_os("TUTTI_SNAPSHOTS").is_some_and(|v| v == "write") {
        std::fs::write(&path, &drawn).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    let line = drawn.lines().zip(expected.lines()).position(|(a, b)| a != b);
    assert!(drawn == expected, "{name} differs from its snapshot, first at line {:?}", line.map(|l| l + 1));
}

fn points(n: usize) -> Array2<f32> {
    Array2::from_shape_fn((n, 2), |(i, d)| ((i * (3 + 2 * d)) % 11) as f32 - 4.0)
}

fn column(n: usize, levels: usize) -> Categorical {
    Categorical::from_values((0..n).map(|i| (i % 7 != 6).then(|| format!("type {}", i % levels))))
}

fn names(prefix: &str, n: usize) -> Vec<String> {
    (1..=n).map(|i| format!("{prefix} {i}")).collect()
}

#[test]
fn drawings_equal_those_looked_at() {
    let (points, types) = (points(12), column(12, 3));
    let values: Vec<f32> = (0..12).map(|i| if i == 3 { f32::NAN } else { i as f32 - 4.0 }).collect();
    let panel = |title, color| Panel { title, points: points.view(), color };
    let panels = [
        panel("category", Color::Category(&types)),
        panel("values", Color::Values(&values, ColorMap::Diverging)),
        panel("density", Color::Density),
    ];
    let options = EmbeddingOptions { panel_size: 120.0, label_clusters: true, ..Default::default() };
    assert_snapshot("embedding_grid", &embedding_grid(&panels, &options).unwrap());
    assert_snapshot("embedding_by_level", &embedding_by_level(points.view(), &types, &options).unwrap());
    let classes = names("class", 3);
    let counts = array![[9usize, 1, 0], [2, 5, 1], [0, 0, 0]];
    assert_snapshot("confusion_matrix", &confusion_matrix(counts.view(), &classes, &classes).unwrap());
    assert_snapshot("batch_composition", &batch_composition(&column(40, 4), &column(40, 3)).unwrap());
    let shares = array![[0.0, 0.5], [1.0, 0.2]];
    assert_snapshot("dot_plot", &dot_plot(shares.view(), shares.view(), &names("group", 2), &names("gene", 2)).unwrap());
    assert_snapshot("benchmark_table", &benchmark_table(&[scored("worse", 0.4), scored("better", 0.9)]).unwrap());
    let curves = [("a".to_owned(), vec![0.99, 0.97]), ("b".to_owned(), vec![0.9, 0.8])];
    assert_snapshot("trustworthiness_curve", &trustworthiness_curve(&[10, 20], &curves).unwrap());
    let epoch = |e: usize| EpochRecord {
        epoch: e,
        loss: 3.0 / e as f64,
        learning_rate: 0.01,
        terms: [("mse".into(), 1.0), ("nt_xent".into(), 2.0 / e as f64)].into(),
        validation_loss: Some(4.0 / e as f64),
        ..Default::default()
    };
    assert_snapshot(
        "training_history",
        &training_history(&History { epochs: (1..5).map(epoch).collect(), best_epoch: None }).unwrap(),
    );
}

#[test]
fn a_diagram_shows_each_class_once_and_curves_each_embedding() {
    let class = |birth, death| Interval { birth, death };
    let diagrams = [vec![class(0.0, 0.3), class(0.0, f64::INFINITY)], vec![class(0.4, 1.5)]];
    let figure = persistence_diagram(&diagrams, "loop").unwrap();
    assert_snapshot("persistence_diagram", &figure);
    // Two entries stand in the legend.
    assert_eq!(figure.editable_svg().unwrap().matches("<circle").count(), 3 + 2);
    assert!(persistence_diagram(&[vec![], vec![]], "none").is_err());
    let curves = betti_curves(&diagrams, 10).unwrap();
    assert_snapshot("betti_curves", &betti_curves_figure(&[("a".into(), curves.clone())]).unwrap());
    assert!(betti_curves_figure(&[("a".into(), curves.clone()), ("b".into(), curves[..1].to_vec())]).is_err());
}

#[test]
fn a_heatmap_has_a_rectangle_per_value_in_the_order_of_its_tree() {
    let values = array![[0.0, 1.0], [5.0, f64::NAN], [0.1, 1.1]];
    let tree =
        hierarchical(array![[0.0f32, 1.0], [5.0, 6.0], [0.1, 1.1]].view(), Linkage::Average, RowDistance::Euclidean).unwrap();
    let side = Categorical::from_values([Some("a"), None, Some("b")]);
    let rows = names("row", 3);
    let what = Heatmap {
        values: values.view(),
        rows: &rows,
        columns: &names("column", 2),
        tree: Some(&tree),
        annotations: &[("side", &side)],
        map: ColorMap::Diverging,
        value_name: "z-score",
    };
    let figure = heatmap(&what).unwrap();
    assert_snapshot("heatmap", &figure);
    let svg = figure.editable_svg().unwrap();
    let place = |name: &str| svg.find(name).unwrap();
    let written: Vec<usize> = tree.order.iter().map(|i| place(&rows[*i])).collect();
    assert!(written.windows(2).all(|w| w[0] < w[1]));
    // The second bar does not begin with the colours of the first.
    let (first, second) = (&side, Categorical::from_values([Some("x"), Some("y"), Some("x")]));
    let two =
        heatmap(&Heatmap { annotations: &[("first", first), ("second", &second)], ..what }).unwrap().editable_svg().unwrap();
    let dots: std::collections::HashSet<&str> =
        two.split("<circle").skip(1).filter_map(|c| c.split("fill=\"").nth(1)?.get(..7)).collect();
    assert_eq!(dots.len(), 2 + 1 + 2, "two levels, what is missing, two levels");
    assert!(heatmap(&Heatmap { rows: &rows[..2], ..what }).unwrap_err().to_string().contains("2 names of rows for 3"));
}

#[test]
fn a_river_has_a_flow_per_pair_of_levels_that_share_cells() {
    let from = Categorical::from_values([Some("a"), Some("a"), Some("b"), Some("b"), None]);
    let to = Categorical::from_values([Some("x"), Some("y"), Some("y"), Some("y"), Some("x")]);
    let figure = river(&[("before", &from), ("after", &to)]).unwrap();
    assert_snapshot("river", &figure);
    assert_eq!(figure.editable_svg().unwrap().matches("<polygon").count(), 3);
    assert!(river(&[("before", &from)]).is_err());
    assert!(river(&[("before", &from), ("after", &column(4, 2))]).unwrap_err().to_string().contains("4 cells"));
}

fn scored(name: &str, value: f64) -> (String, Vec<Score>) {
    let score = |family, key, title, is_aggregate, value| Score { family, key, title, is_aggregate, value };
    let scores = vec![
        score(Family::Biology, "clisi", "cLISI", false, Some(value)),
        score(Family::Biology, "nmi", "NMI", false, None),
        score(Family::Batch, "ilisi", "iLISI", false, (value > 0.5).then_some(value)),
        score(Family::Total, "total", "total", true, Some(value)),
    ];
    (name.into(), scores)
}

#[test]
fn families_of_few_scores_are_as_wide_as_their_names_and_equal_scores_have_one_colour() {
    let table =
        |worse, better| benchmark_table(&[scored("worse", worse), scored("better", better)]).unwrap().editable_svg().unwrap();
    let svg = table(0.600, 0.604);
    let left = |name: &str| {
        let before = &svg[..svg.find(name).unwrap()];
        let x = before.rsplit_once("<text x=\"").unwrap().1.split_once('"').unwrap().0;
        x.parse::<f64>().unwrap() / 10.0
    };
    // In the font of the figures, `Biology kept` is 70 pixels wide; its only column has 34.
    assert!(left("Batches gone") - left("Biology kept") > 75.0);
    let colors =
        |svg: &str| svg.split("<circle").skip(1).map(|c| c.split("fill=\"").nth(1).unwrap()[..7].to_owned()).collect::<Vec<_>>();
    let distance = |colors: Vec<String>| {
        let part = |c: &str, i: usize| i64::from_str_radix(&c[1 + 2 * i..3 + 2 * i], 16).unwrap();
        (0..3).map(|i| (part(&colors[0], i) - part(&colors[colors.len() / 2], i)).abs()).sum::<i64>()
    };
    assert!(distance(colors(&svg)) < 20 && distance(colors(&table(0.6, 0.8))) > 100);
}

#[test]
fn every_cell_is_one_circle_and_every_level_one_entry() {
    let (points, types) = (points(30), column(30, 4));
    let svg =
        embedding(points.view(), Color::Category(&types), "", &EmbeddingOptions::default()).unwrap().editable_svg().unwrap();
    // Four levels and what is missing stand in the legend.
    assert_eq!(svg.matches("<circle").count(), 30 + 5);
    assert_eq!(svg.matches("type ").count(), 4);
    assert!(!svg.contains("<image"));
}

#[test]
fn many_points_become_an_image_and_png_and_svg_have_their_size() {
    let points = points(10_500);
    let figure = embedding(points.view(), Color::Plain, "many", &EmbeddingOptions::default()).unwrap();
    assert!(figure.svg().unwrap().contains("<image") && !figure.svg().unwrap().contains("<circle"));
    let png = figure.png(150.0).unwrap();
    let (width, height) = figure.size();
    let stored = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    assert_eq!((stored(16), stored(20)), ((width * 150.0).round() as u32, (height * 150.0).round() as u32));
    assert!(figure.png(1.0).is_err() && figure.save("figure.pdf").is_err());
    let wide = EmbeddingOptions { panel_size: 4000.0, ..Default::default() };
    let wide = embedding(points.view(), Color::Plain, "wide", &wide).unwrap();
    let (too_large, (width, height)) = (wide.png(300.0).unwrap_err().to_string(), wide.size());
    assert!(too_large.contains(&format!("{} x {} pixels", (width * 300.0).round(), (height * 300.0).round())), "{too_large}");
    assert!(too_large.contains("100 million"), "{too_large}");
    assert!(figure.save("no/such/folder/figure.png").unwrap_err().to_string().contains("no/such/folder/figure.png"));
}

#[test]
fn outlined_text_needs_no_font_and_the_same_seed_gives_the_same_bytes() {
    let types = column(50, 3);
    let draw = |seed| {
        let points = points(50);
        embedding(points.view(), Color::Category(&types), "a title", &EmbeddingOptions { seed, ..Default::default() }).unwrap()
    };
    let svg = draw(0).svg().unwrap();
    assert!(!svg.contains("<text") && svg.contains("<path"));
    assert_eq!(svg, draw(0).svg().unwrap());
    assert_ne!(svg, draw(1).svg().unwrap());
}

#[test]
fn a_name_that_is_cut_has_the_whole_of_it_as_a_tooltip_and_others_have_none() {
    let long = format!("T & <B> {}", "cell ".repeat(60));
    let types = Categorical::from_values([Some("short"), Some(&long)]);
    let figure = batch_composition(&types, &types).unwrap();
    let title = format!("<title>{}</title>", long.replace('&', "&amp;").replace('<', "&lt;"));
    for svg in [figure.svg().unwrap(), figure.editable_svg().unwrap()] {
        // At its bar and in the legend.
        assert_eq!((svg.matches(&title).count(), svg.matches("<title>").count()), (2, 2));
    }
}

#[test]
fn odd_input_is_drawn_or_refused_with_its_place() {
    let options = EmbeddingOptions { label_clusters: true, ..Default::default() };
    let one = array![[5.0f32, -3.0]];
    embedding(one.view(), Color::Density, "one", &options).unwrap().png(50.0).unwrap();
    let same = Array2::<f32>::ones((5, 2));
    embedding(same.view(), Color::Values(&[2.0; 5], ColorMap::Viridis), "same", &options).unwrap().svg().unwrap();
    let long = Categorical::from_values((0..60).map(|i| Some(format!("<level> & \"{i}\" {}", "long ".repeat(30)))));
    embedding(points(60).view(), Color::Category(&long), &"title ".repeat(40), &options).unwrap().svg().unwrap();

    fn refused(points: &Array2<f32>, color: Color<'_>) -> String {
        embedding(points.view(), color, "x", &EmbeddingOptions::default()).unwrap_err().to_string()
    }
    assert!(refused(&array![[1.0, 2.0], [f32::NAN, 0.0]], Color::Plain).contains("cell number 2"));
    assert!(refused(&Array2::zeros((0, 2)), Color::Plain).contains("0 cells"));
    assert!(refused(&points(5), Color::Category(&column(4, 2))).contains("5 cells and colours for 4"));
    assert!(refused(&points(4), Color::Highlight(&column(4, 2), "type 9")).contains("type 0, type 1"));
    let with = |options: EmbeddingOptions| embedding(one.view(), Color::Plain, "x", &options).unwrap_err().to_string();
    assert!(with(EmbeddingOptions { point_radius: Some(f64::NAN), ..Default::default() }).contains("point_radius is NaN"));
    assert!(with(EmbeddingOptions { n_columns: 0, ..Default::default() }).contains("n_columns"));
    assert!(embedding_grid(&[], &options).is_err());
    assert!(confusion_matrix(Array2::zeros((2, 2)).view(), &names("a", 1), &names("a", 2)).is_err());
    assert!(batch_composition(&column(4, 2), &column(5, 2)).is_err());
    assert!(training_history(&History::default()).is_err());
    assert!(trustworthiness_curve(&[10], &[("a".into(), vec![0.5, 0.4])]).unwrap_err().to_string().contains("2 scores"));
}
