//! Labels of several levels, each looked for inside of the one before.

use ndarray::{ArrayView2, Axis};

use super::label_transfer::{TransferConfig, transfer_labels};
use crate::data::Categorical;
use crate::error::{Error, Result};

/// One level of [`transfer_hierarchy`].
#[derive(Debug, Clone, PartialEq)]
pub struct LevelTransfer {
    /// The label of every query cell; levels are those of the reference.
    pub label: Categorical,
    /// Share of the votes for it among the reference cells that have the query cell's label of the level before, 0 to 1.
    pub confidence: Vec<f32>,
    /// Product of the confidences down to this level.
    pub path_confidence: Vec<f32>,
    /// As [`super::LabelTransfer::novelty`], among the reference cells that vote. On the first level: is it like anything there is; below: is it
    /// like the cells of its class. 0 where a single cell votes.
    pub novelty: Vec<f32>,
}

/// Labels from coarse to fine (Concerto: types, then subtypes of each type): the first level by vote of the nearest of all reference cells, each
/// further one by vote of the nearest among those that share the label just found. A subtype is then compared with its sisters only, and never
/// contradicts its type.
///
/// `reference` [n_reference, d], `query` [n_query, d]; `levels`: a label per reference cell, coarse first. Reference cells without a label on a
/// level do not vote there. Where fewer cells can vote than `n_neighbors`, all but one do. A class whose cells have no finer label gives none.
///
/// # Errors
/// As [`transfer_labels`]; [`Error::Data`] for no level.
pub fn transfer_hierarchy(
    reference: ArrayView2<'_, f32>,
    levels: &[Categorical],
    query: ArrayView2<'_, f32>,
    config: &TransferConfig,
) -> Result<Vec<LevelTransfer>> {
    let Some((first, finer)) = levels.split_first() else {
        return Err(Error::data("there is no level of labels", "give one column at least, coarse first"));
    };
    let found = transfer_labels(reference, first, query, config)?;
    let mut out = vec![LevelTransfer {
        label: found.label,
        path_confidence: found.confidence.clone(),
        confidence: found.confidence,
        novelty: found.novelty,
    }];
    for (depth, level) in finer.iter().enumerate() {
        let known: Vec<&Categorical> = levels[..=depth].iter().collect();
        let called: Vec<&Categorical> = out.iter().map(|found| &found.label).collect();
        let mut next = within(reference, &known, level, query, &called, config)?;
        let coarser = &out[depth].path_confidence;
        next.path_confidence = next.confidence.iter().zip(coarser).map(|(c, above)| c * above).collect();
        out.push(next);
    }
    Ok(out)
}

/// The next finer label of cells whose coarser one is known from elsewhere, e.g. from a classifier: by vote of the nearest among the reference cells of
/// the same coarser label. `known` and `finer`: of the reference; `called`: of the query. Coarser labels are joined by name; one that is missing, or
/// that no reference cell has, gives no finer one. The path is the finer label alone.
///
/// # Errors
/// As [`transfer_hierarchy`].
pub fn transfer_within(
    reference: ArrayView2<'_, f32>,
    known: &Categorical,
    finer: &Categorical,
    query: ArrayView2<'_, f32>,
    called: &Categorical,
    config: &TransferConfig,
) -> Result<LevelTransfer> {
    for (name, n, labels) in [("reference", reference.nrows(), known), ("query", query.nrows(), called)] {
        if labels.len() != n {
            let problem = format!("{n} cells of the {name} and coarser labels of {}", labels.len());
            return Err(Error::data(problem, "give a label per cell"));
        }
    }
    within(reference, &[known], finer, query, &[called], config)
}

/// `known` are the reference's labels above `level`, and `called` the query's.
fn within(
    reference: ArrayView2<'_, f32>,
    known: &[&Categorical],
    level: &Categorical,
    query: ArrayView2<'_, f32>,
    called: &[&Categorical],
    config: &TransferConfig,
) -> Result<LevelTransfer> {
    if level.len() != reference.nrows() {
        let problem = format!("{} reference cells and finer labels of {}", reference.nrows(), level.len());
        return Err(Error::data(problem, "give a label per reference cell on every level"));
    }
    let n_query = query.nrows();
    let mut codes: Vec<Option<u32>> = vec![None; n_query];
    let (mut confidence, mut novelty) = (vec![0f32; n_query], vec![0f32; n_query]);
    let (paths, of_reference) = (paths(called), paths(known));
    let mut distinct: Vec<&Vec<Option<&str>>> = paths.iter().filter(|path| path.iter().all(Option::is_some)).collect();
    distinct.sort_unstable();
    distinct.dedup();
    for path in distinct {
        let voters: Vec<usize> = (0..level.len()).filter(|i| level.codes()[*i].is_some() && of_reference[*i] == *path).collect();
        let cells: Vec<usize> = (0..n_query).filter(|i| paths[*i] == *path).collect();
        if let [only] = voters[..] {
            cells.iter().for_each(|i| (codes[*i], confidence[*i]) = (level.codes()[only], 1.0));
        }
        if voters.len() < 2 {
            continue;
        }
        let config = TransferConfig { n_neighbors: config.n_neighbors.min(voters.len() - 1), ..*config };
        let (x, of_cells) = (reference.select(Axis(0), &voters), query.select(Axis(0), &cells));
        let found = transfer_labels(x.view(), &level.select(&voters), of_cells.view(), &config)?;
        for (k, i) in cells.into_iter().enumerate() {
            (codes[i], confidence[i], novelty[i]) = (found.label.codes()[k], found.confidence[k], found.novelty[k]);
        }
    }
    let label = Categorical::new(codes, level.levels().to_vec())?;
    Ok(LevelTransfer { label, path_confidence: confidence.clone(), confidence, novelty })
}

/// Labels of each cell, one per level.
fn paths<'a>(levels: &[&'a Categorical]) -> Vec<Vec<Option<&'a str>>> {
    let n_cells = levels.first().map_or(0, |level| level.len());
    (0..n_cells).map(|i| levels.iter().map(|level| level.value(i)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::neighbors::Metric;
    use crate::rng::Rng;

    /// Two types far apart; subtypes inside of each, near each other; cells of the second type's subtypes are few.
    fn cells(n: usize, seed: u64) -> (Array2<f32>, Categorical, Categorical) {
        let mut stream = Rng::new(seed).stream("cells", 0, 0);
        let x = Array2::from_shape_fn((n, 4), |(i, j)| {
            let place = if i % 2 == j { 10.0 } else { 0.0 } + if 2 + i / 2 % 2 == j { 2.0 } else { 0.0 };
            place + 0.4 * stream.normal() as f32
        });
        let coarse = Categorical::from_values((0..n).map(|i| Some(["T", "B"][i % 2])));
        let fine = Categorical::from_values((0..n).map(|i| Some(format!("{}{}", ["T", "B"][i % 2], i / 2 % 2))));
        (x, coarse, fine)
    }

    #[test]
    fn subtypes_are_found_inside_of_their_type() {
        let ((x, coarse, fine), (query, types, subtypes)) = (cells(200, 1), cells(80, 2));
        let config = TransferConfig { metric: Metric::Euclidean, ..Default::default() };
        let found = transfer_hierarchy(x.view(), &[coarse.clone(), fine.clone()], query.view(), &config).unwrap();
        for i in 0..80 {
            assert_eq!(found[0].label.value(i), types.value(i));
            assert_eq!(found[1].label.value(i), subtypes.value(i));
            assert_eq!(found[1].path_confidence[i], found[0].confidence[i] * found[1].confidence[i]);
        }
        // The first level is the plain transfer; the second that among the cells of the type.
        let plain = transfer_labels(x.view(), &coarse, query.view(), &config).unwrap();
        assert_eq!((&plain.label, &plain.novelty), (&found[0].label, &found[0].novelty));
        let of_t: Vec<usize> = (0..200).filter(|i| i % 2 == 0).collect();
        let inside = transfer_labels(x.select(Axis(0), &of_t).view(), &fine.select(&of_t), query.view(), &config).unwrap();
        for i in (0..80).step_by(2) {
            assert_eq!((inside.confidence[i], inside.novelty[i]), (found[1].confidence[i], found[1].novelty[i]));
        }
    }

    #[test]
    fn a_finer_label_never_contradicts_the_coarser_and_small_classes_vote_with_what_they_have() {
        // The nearest cells of the query are of `a`, and most of the others have the subtype that `b` has.
        let x = array![[1.0f32, 0.0], [1.0, 0.1], [1.0, 0.2], [0.0, 1.0], [0.1, 1.0]];
        let coarse = Categorical::from_values(["a", "a", "a", "b", "b"].map(Some));
        let fine = Categorical::from_values([Some("a1"), Some("a2"), None, Some("b1"), None]);
        let query = array![[1.0f32, 0.01], [0.0, 1.0]];
        let config = TransferConfig { n_neighbors: 3, ..Default::default() };
        let found = transfer_hierarchy(x.view(), &[coarse.clone(), fine], query.view(), &config).unwrap();
        assert_eq!((found[1].label.value(0), found[1].label.value(1)), (Some("a1"), Some("b1")));
        assert_eq!((found[1].confidence[1], found[1].novelty[1]), (1.0, 0.0));
        let nothing = Categorical::from_values([Some("a1"), Some("a1"), None, None, None]);
        let found = transfer_hierarchy(x.view(), &[coarse, nothing], query.view(), &config).unwrap();
        assert_eq!((found[1].label.value(0), found[1].label.value(1), found[1].confidence[1]), (Some("a1"), None, 0.0));
        let (known, called) =
            (Categorical::from_values(["T", "B", "B"].map(Some)), Categorical::from_values(["B", "X"].map(Some)));
        let finer = Categorical::from_values([Some("T1"), Some("B1"), Some("B1")]);
        let of_three = x.slice(ndarray::s![..3, ..]);
        let found = transfer_within(of_three, &known, &finer, query.view(), &called, &config).unwrap();
        assert_eq!((found.label.value(0), found.label.value(1), found.confidence[0]), (Some("B1"), None, 1.0));
        assert!(transfer_within(x.view(), &known, &finer, query.view(), &called, &config).is_err());
        assert!(transfer_hierarchy(x.view(), &[], query.view(), &config).unwrap_err().to_string().contains("no level"));
    }
}
