//! Groups of cells: what they are made of, where their cells go, and what genes they have.

use ndarray::Array2;
use tutti::data::Categorical;
use tutti::downstream::{Linkage, RowDistance, hierarchical};
use tutti_figures::{ColorMap, Heatmap};

use crate::cells::Cells;
use crate::column::{Column, ColumnRef};
use crate::error::{Error, Result};
use crate::figure::Figure;

/// Shares of the levels of `part` (batches, say) in each level of `whole` (clusters, say), as bars.
///
/// # Errors
/// Columns of numbers, or of different cells.
pub fn composition(whole: &Column, part: &Column) -> Result<Figure> {
    let figure = tutti_figures::batch_composition(&whole.categorical()?, &part.categorical()?)?;
    Ok(Figure::new(&format!("{} in each {}", part.name(), whole.name()), figure))
}

/// Where the cells of each level go, from column to column: `river(&[&truth, &predicted, &clusters])?`.
///
/// # Errors
/// Fewer than two columns; columns of numbers, or of different cells.
pub fn river(columns: &[&Column]) -> Result<Figure> {
    let named = columns.iter().map(|c| Ok((c.name(), c.categorical()?))).collect::<Result<Vec<(String, Categorical)>>>()?;
    let borrowed: Vec<(&str, &Categorical)> = named.iter().map(|(name, c)| (name.as_str(), c)).collect();
    let names: Vec<String> = columns.iter().map(|c| c.name()).collect();
    Ok(Figure::new(&format!("river of {}", names.join(", ")), tutti_figures::river(&borrowed)?))
}

/// Genes by groups of cells: the size of a dot is the share of cells that have the gene, its colour the mean.
///
/// # Errors
/// A gene that there is not, naming some like it; a column that there is not or of numbers.
pub fn dot_plot(cells: &Cells, genes: &[&str], groups: impl Into<ColumnRef>) -> Result<Figure> {
    let grouped = Grouped::new(cells, genes, &groups.into())?;
    let figure = tutti_figures::dot_plot(grouped.shares.view(), grouped.means.view(), &grouped.groups, &grouped.genes)?;
    Ok(Figure::new("dot plot", figure))
}

/// Mean expression of genes by groups of cells as z-scores over the groups, the groups ordered by a tree.
///
/// # Errors
/// As [`dot_plot`].
pub fn heatmap(cells: &Cells, genes: &[&str], groups: impl Into<ColumnRef>) -> Result<Figure> {
    let mut grouped = Grouped::new(cells, genes, &groups.into())?;
    for mut gene in grouped.means.columns_mut() {
        let mean = gene.mean().unwrap_or(0.0);
        let sd = gene.std(0.0);
        gene.mapv_inplace(|v| if sd > 0.0 { (v - mean) / sd } else { 0.0 });
    }
    let rows = grouped.means.mapv(|v| v as f32);
    let tree = match rows.nrows() {
        0..=2 => None,
        _ => Some(hierarchical(rows.view(), Linkage::Average, RowDistance::Euclidean)?),
    };
    let what = Heatmap {
        values: grouped.means.view(),
        rows: &grouped.groups,
        columns: &grouped.genes,
        tree: tree.as_ref(),
        annotations: &[],
        map: ColorMap::Diverging,
        value_name: "z-score",
    };
    Ok(Figure::new("heatmap", tutti_figures::heatmap(&what)?))
}

/// Genes of groups, both [n_groups, n_genes].
struct Grouped {
    means: Array2<f64>,
    shares: Array2<f64>,
    groups: Vec<String>,
    genes: Vec<String>,
}

impl Grouped {
    fn new(cells: &Cells, genes: &[&str], groups: &ColumnRef) -> Result<Self> {
        if genes.is_empty() {
            return Err(Error::usage("there is no gene to draw; give names of genes"));
        }
        let genes: Vec<String> = genes.iter().map(|g| (*g).to_owned()).collect();
        let groups = cells.category(groups)?.drop_unused();
        let expression = cells.genes(&genes)?;
        let shape = (groups.n_levels(), genes.len());
        let (mut means, mut shares) = (Array2::<f64>::zeros(shape), Array2::<f64>::zeros(shape));
        for (row, code) in expression.rows().into_iter().zip(groups.codes()) {
            let Some(code) = code else { continue };
            for (j, value) in row.iter().enumerate() {
                means[[*code as usize, j]] += f64::from(*value);
                shares[[*code as usize, j]] += f64::from(u8::from(*value > 0.0));
            }
        }
        for (i, n) in groups.counts().into_iter().enumerate() {
            let divide = |v: f64| v / n.max(1) as f64;
            means.row_mut(i).mapv_inplace(divide);
            shares.row_mut(i).mapv_inplace(divide);
        }
        Ok(Self { means, shares, groups: groups.levels().to_vec(), genes })
    }
}
