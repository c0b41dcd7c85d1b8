//! What a system says of the classes of cells, from its network or from the votes of neighbours.

use ndarray::{Array2, ArrayView2, Axis, concatenate};

use super::calibration::log_probabilities;
use super::hold_out::HoldOut;
use super::label_transfer::{TransferConfig, transfer_labels};
use crate::data::Categorical;
use crate::error::{Error, Result};

/// What a system says of cells.
#[derive(Debug, Clone, PartialEq)]
pub struct CellEvidence {
    /// Logits, [n_cells, n_classes]: of a network as they are; of probabilities and votes by [`super::log_probabilities`].
    pub logits: Array2<f32>,
    /// How unlike the reference each cell is, 0 to 1, larger is stranger, e.g. from [`super::novelty`].
    pub novelty: Option<Vec<f32>>,
}

impl CellEvidence {
    /// The first `n` cells, all where there are no more, and the others.
    pub fn split(self, n: usize) -> (Self, Self) {
        let n = n.min(self.logits.nrows());
        let (first, others) = self.logits.view().split_at(Axis(0), n);
        let (first, others) = (first.to_owned(), others.to_owned());
        let (of_first, of_others) = match self.novelty {
            Some(mut novelty) => {
                let of_others = novelty.split_off(n.min(novelty.len()));
                (Some(novelty), Some(of_others))
            }
            None => (None, None),
        };
        (Self { logits: first, novelty: of_first }, Self { logits: others, novelty: of_others })
    }
}

/// What a system says of reference cells that trained nothing, and of the query, by the same model.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassEvidence {
    /// Name of each column of the logits.
    pub classes: Vec<String>,
    /// Reference cells that are held out.
    pub held_out: CellEvidence,
    /// Their true classes, columns of the logits.
    pub truth: Vec<Option<u32>>,
    /// Cells to name.
    pub query: CellEvidence,
}

impl ClassEvidence {
    /// From the votes of the nearest reference cells in an embedding of both, [n_reference, d] and [n_query, d]: those of `split.train` vote on the held-out
    /// cells and on the query. The logits are logs of the shares with one vote more that all classes share.
    ///
    /// # Errors
    /// As [`transfer_labels`].
    pub fn of_neighbors(
        reference: ArrayView2<'_, f32>,
        labels: &Categorical,
        split: &HoldOut,
        query: ArrayView2<'_, f32>,
        config: &TransferConfig,
    ) -> Result<Self> {
        let voters = reference.select(Axis(0), &split.train);
        // One search for both: what distances are usual among the voters is found once.
        let cells = concatenate![Axis(0), reference.select(Axis(0), &split.held_out), query];
        let found = transfer_labels(voters.view(), &labels.select(&split.train), cells.view(), config)?;
        let logits = log_probabilities(found.scores.view(), 1.0 / (config.n_neighbors + 1) as f64)?;
        let (held_out, query) = CellEvidence { logits, novelty: Some(found.novelty) }.split(split.held_out.len());
        let truth = Self::truth_of(labels, &split.held_out, labels.levels());
        Ok(Self { classes: labels.levels().to_vec(), held_out, truth, query })
    }

    /// From what a network says of a reference and a query, in logits [n_reference + n_query, n_classes], the reference first, and from the embedding
    /// of the same cells, [n_reference + n_query, d]: novelty is that of the distances to the cells of `split.train`, beside those of the held-out
    /// cells to them ([`super::novelty_beside`]); without held-out cells, beside those of these cells to each other.
    ///
    /// # Errors
    /// [`Error::Data`] for logits and an embedding of other cells than these; as [`super::novelty()`].
    pub fn of_network(
        logits: ArrayView2<'_, f32>,
        classes: &[String],
        embedding: ArrayView2<'_, f32>,
        labels: &Categorical,
        split: &HoldOut,
        config: &TransferConfig,
    ) -> Result<Self> {
        if logits.nrows() != embedding.nrows() || embedding.nrows() < labels.len() {
            let (n, m) = (logits.nrows(), embedding.nrows());
            let problem = format!("logits of {n} cells, an embedding of {m} and labels of {} reference cells", labels.len());
            return Err(Error::data(problem, "give logits and embedding of all cells, the reference first"));
        }
        let (of_reference, of_query) = logits.split_at(Axis(0), labels.len());
        let (reference, query) = embedding.split_at(Axis(0), labels.len());
        let voters = reference.select(Axis(0), &split.train);
        // One search for both, as for votes.
        let cells = concatenate![Axis(0), reference.select(Axis(0), &split.held_out), query];
        let novelty = match split.held_out.len() {
            // Training has drawn the voters together: nothing is as near to them as they are to each other.
            n @ 2.. => super::novelty_beside(voters.view(), cells.view(), n, config)?,
            _ => super::novelty(voters.view(), cells.view(), config)?,
        };
        let novelty = Some(novelty);
        let logits = concatenate![Axis(0), of_reference.select(Axis(0), &split.held_out), of_query];
        let (held_out, query) = CellEvidence { logits, novelty }.split(split.held_out.len());
        let truth = Self::truth_of(labels, &split.held_out, classes);
        Ok(Self { classes: classes.to_vec(), held_out, truth, query })
    }

    /// Classes of held-out cells as columns of the logits, joined by name; a class that has no column gives none.
    pub fn truth_of(labels: &Categorical, held_out: &[usize], classes: &[String]) -> Vec<Option<u32>> {
        let place: Vec<Option<u32>> =
            labels.levels().iter().map(|level| classes.iter().position(|c| c == level).map(|c| c as u32)).collect();
        held_out.iter().map(|i| labels.codes()[*i].and_then(|code| place[code as usize])).collect()
    }
}
