//! 10x Genomics: folders of version 2 and 3, and h5 files of both.

use std::path::{Path, PathBuf};

use hdf5::Group;
use tutti::data::{CellSource, Csr, GeneSubset};

use crate::anndata::{AnnData, Matrix};
use crate::column::Column;
use crate::error::{Error, InFile, Result};
use crate::h5ad::{SparseGroup, numbers, open, read_row_offsets, texts};
use crate::mtx::{open_text, read_coordinates};
use crate::table::read_names;

/// Feature type of genes.
const EXPRESSION: &str = "Gene Expression";

/// A folder with `matrix.mtx`, `barcodes.tsv` and `features.tsv` or `genes.tsv`, each plain or gzipped.
pub(crate) fn read_folder(folder: &Path) -> Result<AnnData> {
    let matrix = find(folder, &["matrix.mtx"])?;
    let cells = read_names(&find(folder, &["barcodes.tsv"])?)?;
    let features = read_features(&find(folder, &["features.tsv", "genes.tsv"])?)?;
    let x = read_coordinates(&matrix)?;
    if (x.n_rows, x.n_columns) != (features.names.len(), cells.len()) {
        let problem =
            format!("{} x {} entries for {} features and {} barcodes", x.n_rows, x.n_columns, features.names.len(), cells.len());
        return Err(Error::format(&matrix, problem, "give the three files of one run"));
    }
    build(folder, x.to_csr(true, &matrix)?, cells, features)
}

fn find(folder: &Path, names: &[&str]) -> Result<PathBuf> {
    let candidates = names.iter().flat_map(|n| [folder.join(n), folder.join(format!("{n}.gz"))]);
    candidates.into_iter().find(|p| p.is_file()).ok_or_else(|| {
        Error::format(
            folder,
            format!("there is no {} (or .gz) in this folder", names.join(" or ")),
            "give the folder of a 10x run",
        )
    })
}

struct Features {
    ids: Vec<String>,
    names: Vec<String>,
    kinds: Vec<String>,
}

fn read_features(path: &Path) -> Result<Features> {
    let mut out = Features { ids: Vec::new(), names: Vec::new(), kinds: Vec::new() };
    for line in std::io::BufRead::lines(open_text(path)?) {
        let line = line.in_file(path, "")?;
        if line.is_empty() {
            continue;
        }
        let fields: Vec<&str> = line.split('\t').collect();
        out.ids.push(fields[0].to_owned());
        out.names.push(fields.get(1).unwrap_or(&fields[0]).to_string());
        out.kinds.push(fields.get(2).unwrap_or(&EXPRESSION).to_string());
    }
    Ok(out)
}

/// Keeps the genes where there are other features too, and makes symbols unique.
fn build(path: &Path, x: Csr, cells: Vec<String>, features: Features) -> Result<AnnData> {
    let Features { mut ids, mut names, kinds } = features;
    let genes: Vec<usize> = (0..kinds.len()).filter(|i| kinds[*i] == EXPRESSION).collect();
    let mut matrix = x;
    let mut left_out = None;
    if genes.len() < kinds.len() && !genes.is_empty() {
        left_out = Some(format!("{} features that are no gene expression are not read", kinds.len() - genes.len()));
        let subset: Vec<Option<usize>> = genes.iter().map(|g| Some(*g)).collect();
        let mut taken = Csr::empty(genes.len());
        let n_cells = matrix.n_rows();
        GeneSubset::new(&matrix, &subset).read_range(0..n_cells, &mut taken).in_file(path, "")?;
        matrix = taken;
        ids = genes.iter().map(|g| ids[*g].clone()).collect();
        names = genes.iter().map(|g| names[*g].clone()).collect();
    }
    let mut data = AnnData::new(path, Matrix::Memory(matrix.into()), cells, names);
    data.set_var(&[("gene_ids".to_owned(), Column::Text(ids.into_iter().map(Some).collect()))])?;
    data.notes.extend(left_out);
    Ok(data)
}

/// An h5 file of version 3 (group `matrix`) or 2 (one group per genome).
pub(crate) fn read_h5(path: &Path, genome: Option<&str>) -> Result<AnnData> {
    let file = open(path)?;
    if let Ok(group) = file.group("matrix") {
        return read_version_3(&group, path, genome);
    }
    let genomes: Vec<String> =
        file.groups().in_file(path, "")?.iter().map(|g| g.name().trim_start_matches('/').to_owned()).collect();
    let name = choose_genome(&genomes, genome, path)?;
    let group = file.group(&name).in_file(path, &name)?;
    let features = Features {
        ids: texts(&part(&group, "genes", path)?, path)?,
        names: texts(&part(&group, "gene_names", path)?, path)?,
        kinds: Vec::new(),
    };
    read_group(&group, features, path)
}

fn choose_genome(genomes: &[String], asked: Option<&str>, path: &Path) -> Result<String> {
    let list = genomes.join(", ");
    match (asked, genomes) {
        (Some(asked), _) if genomes.iter().any(|g| g == asked) => Ok(asked.to_owned()),
        (Some(asked), _) => Err(Error::format(path, format!("there is no genome `{asked}`"), format!("the genomes are: {list}"))),
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err(Error::format(path, "this HDF5 file holds no 10x matrix", "give an h5ad file or a 10x h5 file")),
        (None, _) => Err(Error::format(path, format!("it holds several genomes: {list}"), "choose one with `--genome`")),
    }
}

fn read_version_3(group: &Group, path: &Path, genome: Option<&str>) -> Result<AnnData> {
    let features = group.group("features").in_file(path, "features")?;
    let text = |name: &str| texts(&part(&features, name, path)?, path);
    let mut read = Features { ids: text("id")?, names: text("name")?, kinds: text("feature_type")? };
    let genomes = text("genome").unwrap_or_default();
    let mut levels: Vec<String> = genomes.iter().filter(|g| !g.is_empty()).cloned().collect();
    levels.sort_unstable();
    levels.dedup();
    if levels.len() > 1 {
        // Features of the other genomes are left out as if they were no genes.
        let name = choose_genome(&levels, genome, path)?;
        read.kinds.iter_mut().zip(&genomes).filter(|(_, g)| **g != name).for_each(|(kind, _)| *kind = "other genome".to_owned());
    }
    read_group(group, read, path)
}

fn read_group(group: &Group, mut features: Features, path: &Path) -> Result<AnnData> {
    let cells = texts(&part(group, "barcodes", path)?, path)?;
    let shape: Vec<i64> = numbers(&part(group, "shape", path)?, path)?;
    if shape != [features.names.len() as i64, cells.len() as i64] {
        let problem = format!("a shape of {shape:?} for {} features and {} barcodes", features.names.len(), cells.len());
        return Err(Error::format(path, problem, "the file is damaged; copy it again"));
    }
    features.kinds.resize(features.names.len(), EXPRESSION.to_owned());
    let (data, indices) = (part(group, "data", path)?, part(group, "indices", path)?);
    let indptr = read_row_offsets(&part(group, "indptr", path)?, cells.len(), data.size().min(indices.size()), path)?;
    let mut x = Csr::empty(features.names.len());
    SparseGroup { data, indices, indptr }.read(0..cells.len(), features.names.len(), path, &mut x)?;
    build(path, x, cells, features)
}

fn part(group: &Group, name: &str, path: &Path) -> Result<hdf5::Dataset> {
    group.dataset(name).in_file(path, &format!("`{}/{name}`", group.name()))
}
