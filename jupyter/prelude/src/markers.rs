//! Genes that tell groups of cells apart.

use tutti::downstream::{GeneTest, wilcoxon};
use tutti::preprocess::PrepareConfig;
use tutti::threads::Threads;

use crate::cells::Cells;
use crate::column::ColumnRef;
use crate::error::{Error, Result};
use crate::kernel::stoppable;
use crate::pca::CHOOSE;
use crate::table::Table;

/// The `n` genes of each group that are the highest against all other cells, by Wilcoxon's rank-sum test: `markers(&cells, "cell_type", 10)?`, or of
/// clusters, `markers(&cells, &leiden(&z)?, 10)?`. Counts are scaled to 10,000 per cell and log-transformed.
///
/// A row: group, gene, z (how much higher its ranks are, in standard deviations), p (adjusted for all genes), AUC (the chance that a cell of the group
/// expresses more than another), the logarithm to base 2 of the ratio of means, and the shares of cells that express it, in the group and beside it.
///
/// # Errors
/// A column that there is not, or with fewer than two groups.
pub fn markers(cells: &Cells, groups: impl Into<ColumnRef>, n: usize) -> Result<Table> {
    let groups = cells.category(&groups.into())?.drop_unused();
    let how = PrepareConfig { n_top_genes: Some(0), ..Default::default() };
    let core = cells.core(&[])?;
    let (tests, genes) = stoppable(|| {
        let tested = || -> Result<_> {
            let (ready, _) = cells.inner().prepare(&core, &how, CHOOSE)?;
            Ok((wilcoxon(ready.source(), &groups).map_err(Error::from)?, ready.gene_names().to_vec()))
        };
        Threads::new(0)?.run(tested)
    })?;
    let rows: Vec<(&str, &GeneTest)> = groups
        .levels()
        .iter()
        .zip(&tests)
        .flat_map(|(group, tests)| tests.iter().take(n).map(move |t| (group.as_str(), t)))
        .collect();
    let numbers = |of: &dyn Fn(&GeneTest) -> f64| rows.iter().map(|(_, t)| of(t)).collect::<Vec<_>>();
    Table::build()
        .text("group", rows.iter().map(|(group, _)| (*group).to_owned()).collect::<Vec<_>>())
        .text("gene", rows.iter().map(|(_, t)| genes[t.gene].clone()).collect::<Vec<_>>())
        .numbers("z", numbers(&|t| t.z))
        .numbers("p", numbers(&|t| t.p_adjusted))
        .numbers("AUC", numbers(&|t| t.auc))
        .numbers("log2 ratio", numbers(&|t| t.log2_fold_change))
        .numbers("in group", numbers(&|t| t.share_in))
        .numbers("beside", numbers(&|t| t.share_out))
        .run()
}
