//! Fates of all cells, with a test on lineages that the decoder did not see.

use ndarray::{Array2, ArrayView2, Axis};
use serde::Serialize;

use super::{FateConfig, FateDecoder, FateTargets};
use crate::error::Result;
use crate::observe::{CancelToken, Observer, Progress, may_stop};
use crate::rng::Rng;
use crate::threads::Threads;

/// How well a decoder does on cells of lineages that it was not fitted to, beside the mean of those that it was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HeldOutFates {
    /// Cells that were held out.
    pub n_cells: usize,
    /// Mean Kullback-Leibler divergence of the predicted shares, nats.
    pub kl: f64,
    /// Share of the cells whose largest fate is right.
    pub right: f64,
    /// The divergence of the mean shares of the other lineages.
    pub kl_of_mean: f64,
    /// How often the largest of these is right.
    pub right_of_mean: f64,
}

/// What [`predict_fates`] gives.
#[derive(Debug)]
pub struct FatePrediction {
    /// Fitted to all early cells with known fates.
    pub decoder: FateDecoder,
    /// Shares of the fates, in the decoder's order, for every cell of the embedding, [n_cells, n_fates]; a row sums to 1.
    pub shares: Array2<f32>,
    /// The test, where there are two lineages at least.
    pub held_out: Option<HeldOutFates>,
    /// Early cells with known fates.
    pub n_early: usize,
    /// Lineages of these.
    pub n_lineages: usize,
}

/// Tests a decoder on the share `test_share` of the lineages, then fits one to all and tells the fates of all cells of `embedding`
/// [n_cells, d]. `n_threads`: 0 takes all processors.
///
/// Where the embedding was trained on lineages, the test is of the decoder alone: the network has seen the barcodes of the lineages held out
/// here, though no fates.
///
/// # Errors
/// As [`FateDecoder::fit`].
pub fn predict_fates(
    embedding: ArrayView2<'_, f32>,
    targets: &FateTargets,
    test_share: f64,
    config: &FateConfig,
    n_threads: usize,
) -> Result<FatePrediction> {
    let fit = |targets: &FateTargets| -> Result<FateDecoder> {
        let threads = Threads::new(n_threads)?;
        Ok(FateDecoder::fit(embedding, targets, config.clone(), threads, &mut Stopping, &CancelToken::default())?.0)
    };
    let (test, train) = targets.split_lineages(test_share, &Rng::new(config.seed));
    let mut held_out = None;
    if !train.is_empty() {
        let (test, train) = (targets.select(&test), targets.select(&train));
        let predicted = fit(&train)?.predict(embedding.select(Axis(0), &test.cells).view())?;
        let mean = train.mean();
        let guess = Array2::from_shape_fn(test.shares.dim(), |(_, f)| mean[f]);
        let ((kl, right), (kl_of_mean, right_of_mean)) = (test.score(predicted.view())?, test.score(guess.view())?);
        held_out = Some(HeldOutFates { n_cells: test.cells.len(), kl, right, kl_of_mean, right_of_mean });
    }
    let decoder = fit(targets)?;
    let shares = decoder.predict(embedding)?;
    let mut lineages = targets.lineage.clone();
    lineages.sort_unstable();
    lineages.dedup();
    Ok(FatePrediction { decoder, shares, held_out, n_early: targets.cells.len(), n_lineages: lineages.len() })
}

/// Ends a fit with the call that it is a part of: half a decoder is of no use.
struct Stopping;

impl Observer for Stopping {
    fn on_step(&mut self, _: &Progress) {
        may_stop();
    }
}

#[cfg(test)]
mod tests {
    use super::super::FateTimes;
    use super::*;
    use crate::data::{Categorical, Lineages};

    /// Lineages 0 to 9 of five early and five final cells; those with even numbers lie left and become A.
    fn planted() -> (Lineages, Categorical, Categorical, Array2<f32>) {
        let even = |i: usize| (i / 10).is_multiple_of(2);
        let column = |f: &dyn Fn(usize) -> String| Categorical::from_values((0..100).map(|i| Some(f(i))));
        let early = |i: usize| i % 10 < 5;
        let fate = |i: usize| {
            if early(i) {
                "stem"
            } else if even(i) {
                "A"
            } else {
                "B"
            }
            .to_owned()
        };
        let z = Array2::from_shape_fn((100, 2), |(i, d)| if d == 0 && even(i) { -1.0 } else { 1.0 });
        let time = column(&|i| if early(i) { "2".into() } else { "6".into() });
        (Lineages::from_column(&column(&|i| format!("l{}", i / 10))), time, column(&fate), z)
    }

    #[test]
    fn fates_of_lineages_held_out_are_told_and_those_of_all_cells() {
        let (lineages, time, fate, z) = planted();
        let times = FateTimes::of(&time, &[], None, 5).unwrap();
        assert_eq!((times.early.as_slice(), times.last.as_str()), (&["2".to_owned()][..], "6"));
        let targets = FateTargets::new(&lineages, &time, &fate, &times).unwrap();
        let found = predict_fates(z.view(), &targets, 0.3, &FateConfig::default(), 2).unwrap();
        assert_eq!((found.n_early, found.n_lineages, found.shares.dim()), (50, 10, (100, 2)));
        let held_out = found.held_out.unwrap();
        assert!(held_out.n_cells == 15 && held_out.right == 1.0 && held_out.kl < 0.3 * held_out.kl_of_mean, "{held_out:?}");
        assert!((0..100).all(|i| (found.shares[[i, 0]] > 0.5) == (i / 10).is_multiple_of(2)));
        assert_eq!(found.decoder.fates(), ["A", "B"]);
        let one = FateTargets::new(&lineages.only(&(0..10).collect::<Vec<_>>()), &time, &fate, &times).unwrap();
        assert_eq!(predict_fates(z.view(), &one, 0.3, &FateConfig::default(), 1).unwrap().held_out, None);
        let single = Categorical::from_values([Some("2"); 3]);
        assert!(FateTimes::of(&single, &[], None, 5).unwrap_err().to_string().contains("1 times"));
        let other = FateTimes::of(&time, &["6".into()], Some("2"), 3).unwrap();
        assert_eq!((other.early[0].as_str(), other.last.as_str(), other.min_final), ("6", "2", 3));
    }
}
