//! Activity of genes from open chromatin: counts of the peaks that lie over a gene or shortly before it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::data::{CellSource, Csr};
use crate::error::{Error, Result};

/// A stretch of a chromosome: bases `start` to `end` - 1, counted from 0, as in BED.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Interval {
    /// Name of the chromosome, with or without `chr`.
    pub chromosome: String,
    /// First base, from 0.
    pub start: u64,
    /// The base behind the last.
    pub end: u64,
}

impl Interval {
    /// From the name of a peak: `chr1-100-200`, `chr1:100-200` or `chr1_100_200`; the numbers are the last two, so that names of contigs may have
    /// such signs too. `None` for another text or an end that is not behind the start.
    pub fn parse(name: &str) -> Option<Self> {
        let sign = |c: char| matches!(c, '-' | ':' | '_');
        let (rest, end) = name.rsplit_once(sign)?;
        let (chromosome, start) = rest.rsplit_once(sign)?;
        let number = |text: &str| text.replace(',', "").parse::<u64>().ok();
        let interval = Self { chromosome: chromosome.to_owned(), start: number(start)?, end: number(end)? };
        (!chromosome.is_empty() && interval.start < interval.end).then_some(interval)
    }
}

/// Direction in which a gene is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strand {
    /// Upstream are smaller numbers.
    #[serde(rename = "+")]
    Forward,
    /// Upstream are larger numbers.
    #[serde(rename = "-")]
    Reverse,
    /// Not known; taken as forward.
    #[serde(rename = ".")]
    Unknown,
}

/// A gene of an annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gene {
    /// Symbol, or the identifier where there is none.
    pub name: String,
    /// Identifier.
    pub id: String,
    /// Such as `protein_coding`, where it is known.
    pub biotype: Option<String>,
    /// From its first to its last base.
    pub body: Interval,
    /// Direction.
    pub strand: Strand,
}

/// Settings of [`GeneActivity`]. The defaults are those of Signac's `GeneActivity` (Stuart et al. 2021).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GeneActivityConfig {
    /// Bases before the gene that count as well, in the direction of reading. Default 2000.
    pub upstream: u64,
    /// Bases behind the gene. Default 0.
    pub downstream: u64,
    /// Genes of these biotypes only; none takes all. Genes without a biotype are taken always. Default `protein_coding`.
    pub biotypes: Vec<String>,
    /// Longest gene body in bases; longer ones gather peaks of everything inside of them. Default 500,000; `None` has no limit.
    pub max_width: Option<u64>,
}

impl Default for GeneActivityConfig {
    fn default() -> Self {
        Self { upstream: 2000, downstream: 0, biotypes: vec!["protein_coding".to_owned()], max_width: Some(500_000) }
    }
}

/// What was joined, and what was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GeneActivitySummary {
    /// Peaks of the matrix.
    pub n_peaks: usize,
    /// Of these, peaks over one gene at least.
    pub n_peaks_used: usize,
    /// Genes with a peak.
    pub n_genes: usize,
    /// Names left out: no peak lies over the gene.
    pub n_without_peak: usize,
    /// Genes of the annotation left out by their biotype.
    pub n_other_biotype: usize,
    /// Genes of the annotation left out as too long.
    pub n_too_wide: usize,
    /// Chromosomes of peaks on which no gene lies, as the peaks name them.
    pub chromosomes_without_gene: Vec<String>,
}

/// Cells x genes from cells x peaks, computed as rows are read: the sum of the counts of all peaks that share a base with the gene's body or the
/// stretch upstream of it. A peak over several genes counts for each.
#[derive(Debug, Clone)]
pub struct GeneActivity<S> {
    peaks: S,
    genes: Vec<String>,
    /// Genes of each peak: those of peak p are `of_peak[starts[p]..starts[p + 1]]`.
    starts: Arc<Vec<usize>>,
    of_peak: Arc<Vec<u32>>,
    summary: GeneActivitySummary,
}

impl<S: CellSource> GeneActivity<S> {
    /// Joins the peaks, named by their places, with the genes of an annotation. Chromosomes are the same with and without `chr`, and `M` is `MT`.
    /// Genes of one name are one, over all of their places, with each peak counted once. Genes come in the order of the annotation, without those
    /// that have no peak.
    ///
    /// # Errors
    /// [`Error::Data`] for a peak whose name is no place, or no peak over any gene.
    pub fn new(peaks: S, peak_names: &[String], annotation: &[Gene], config: &GeneActivityConfig) -> Result<Self> {
        if peak_names.len() != peaks.n_genes() {
            let problem = format!("{} names for {} peaks", peak_names.len(), peaks.n_genes());
            return Err(Error::data(problem, "give a name per peak"));
        }
        let places = Places::new(peak_names)?;
        let mut summary = GeneActivitySummary {
            n_peaks: peak_names.len(),
            n_peaks_used: 0,
            n_genes: 0,
            n_without_peak: 0,
            n_other_biotype: 0,
            n_too_wide: 0,
            chromosomes_without_gene: places.without(annotation),
        };
        let mut names: Vec<&str> = Vec::new();
        let mut number: HashMap<&str, usize> = HashMap::new();
        let mut of_gene: Vec<Vec<u32>> = Vec::new();
        for gene in annotation {
            if gene.biotype.as_ref().is_some_and(|b| !config.biotypes.is_empty() && !config.biotypes.contains(b)) {
                summary.n_other_biotype += 1;
                continue;
            }
            if config.max_width.is_some_and(|most| gene.body.end - gene.body.start > most) {
                summary.n_too_wide += 1;
                continue;
            }
            let at = *number.entry(&gene.name).or_insert_with(|| {
                names.push(&gene.name);
                of_gene.push(Vec::new());
                names.len() - 1
            });
            of_gene[at].extend(places.over(&extended(gene, config)));
        }
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        let mut genes = Vec::new();
        for (name, mut peaks) in names.into_iter().zip(of_gene) {
            peaks.sort_unstable();
            peaks.dedup();
            if peaks.is_empty() {
                summary.n_without_peak += 1;
                continue;
            }
            pairs.extend(peaks.into_iter().map(|peak| (peak, genes.len() as u32)));
            genes.push(name.to_owned());
        }
        if genes.is_empty() {
            left_out(annotation, &summary, config)?;
            let (peak, gene) = (&peak_names[0], annotation.first().map_or("none", |g| &g.body.chromosome));
            let problem = format!("no peak lies over a gene (the first peak is {peak}, the first gene on chromosome {gene})");
            return Err(Error::data(problem, "check that peaks and annotation are of one genome"));
        }
        pairs.sort_unstable();
        let mut starts = vec![0usize; peak_names.len() + 1];
        pairs.iter().for_each(|(peak, _)| starts[*peak as usize + 1] += 1);
        summary.n_peaks_used = starts.iter().filter(|n| **n > 0).count();
        summary.n_genes = genes.len();
        (0..peak_names.len()).for_each(|p| starts[p + 1] += starts[p]);
        let of_peak = pairs.into_iter().map(|(_, gene)| gene).collect();
        Ok(Self { peaks, genes, starts: starts.into(), of_peak: Arc::new(of_peak), summary })
    }

    /// Names of the genes, unique.
    pub fn gene_names(&self) -> &[String] {
        &self.genes
    }

    /// What was joined.
    pub fn summary(&self) -> &GeneActivitySummary {
        &self.summary
    }

    fn sum(&self, peaks: &Csr, out: &mut Csr) {
        out.clear(self.genes.len());
        let mut totals = vec![0f32; self.genes.len()];
        let mut met: Vec<u32> = Vec::new();
        for i in 0..peaks.n_rows() {
            let (columns, values) = peaks.row(i);
            for (peak, value) in columns.iter().zip(values).filter(|(_, v)| **v != 0.0) {
                let peak = *peak as usize;
                for gene in &self.of_peak[self.starts[peak]..self.starts[peak + 1]] {
                    if totals[*gene as usize] == 0.0 {
                        met.push(*gene);
                    }
                    totals[*gene as usize] += value;
                }
            }
            // Sums that came back to 0 on the way are met twice.
            met.sort_unstable();
            met.dedup();
            out.push_row(met.iter().map(|gene| (*gene, totals[*gene as usize])).filter(|(_, v)| *v != 0.0));
            met.drain(..).for_each(|gene| totals[gene as usize] = 0.0);
        }
    }
}

/// Refuses an annotation of which the settings leave no gene.
fn left_out(annotation: &[Gene], summary: &GeneActivitySummary, config: &GeneActivityConfig) -> Result<()> {
    let (other, wide) = (summary.n_other_biotype, summary.n_too_wide);
    if other + wide < annotation.len() {
        return Ok(());
    }
    let mut there: Vec<&str> = annotation.iter().filter_map(|gene| gene.biotype.as_deref()).collect();
    there.sort_unstable();
    there.dedup();
    let n = annotation.len();
    let problem = format!(
        "all {n} genes of the annotation are left out: {other} are not {}, {wide} too long",
        config.biotypes.join(" or ")
    );
    let fix = match other {
        0 => "allow longer genes".to_owned(),
        _ => format!("its biotypes are {}: choose among them, or take all", there.join(", ")),
    };
    Err(Error::data(problem, fix))
}

impl<S: CellSource> CellSource for GeneActivity<S> {
    fn n_cells(&self) -> usize {
        self.peaks.n_cells()
    }

    fn n_genes(&self) -> usize {
        self.genes.len()
    }

    fn read_rows(&self, rows: &[usize], out: &mut Csr) -> Result<()> {
        let mut peaks = Csr::empty(self.peaks.n_genes());
        self.peaks.read_rows(rows, &mut peaks)?;
        self.sum(&peaks, out);
        Ok(())
    }

    fn read_range(&self, rows: Range<usize>, out: &mut Csr) -> Result<()> {
        let mut peaks = Csr::empty(self.peaks.n_genes());
        self.peaks.read_range(rows, &mut peaks)?;
        self.sum(&peaks, out);
        Ok(())
    }
}

/// The body and what lies before and behind it in the direction of reading.
fn extended(gene: &Gene, config: &GeneActivityConfig) -> Interval {
    let (left, right) = match gene.strand {
        Strand::Reverse => (config.downstream, config.upstream),
        Strand::Forward | Strand::Unknown => (config.upstream, config.downstream),
    };
    let Interval { chromosome, start, end } = &gene.body;
    Interval { chromosome: chromosome.clone(), start: start.saturating_sub(left), end: end.saturating_add(right) }
}

/// A chromosome's name without `chr`; the mitochondrion is `MT`.
fn plain(chromosome: &str) -> &str {
    match chromosome.strip_prefix("chr").unwrap_or(chromosome) {
        "M" => "MT",
        name => name,
    }
}

/// Peaks by chromosome, to be asked which lie over a stretch.
struct Places(BTreeMap<String, Chromosome>);

/// Peaks of one chromosome.
struct Chromosome {
    /// As the peaks name it.
    name: String,
    /// Start, end and number of each peak, ascending.
    peaks: Vec<(u64, u64, u32)>,
    /// Bases of the longest.
    longest: u64,
}

impl Places {
    fn new(peak_names: &[String]) -> Result<Self> {
        let mut places: BTreeMap<String, Chromosome> = BTreeMap::new();
        for (peak, name) in peak_names.iter().enumerate() {
            let Some(Interval { chromosome: name, start, end }) = Interval::parse(name) else {
                let fix = "name peaks as chr1-100-200, chr1:100-200 or chr1_100_200";
                return Err(Error::data(format!("peak number {} is called `{name}`, which is no place", peak + 1), fix));
            };
            let new = || Chromosome { name: name.clone(), peaks: Vec::new(), longest: 0 };
            let chromosome = places.entry(plain(&name).to_owned()).or_insert_with(new);
            chromosome.peaks.push((start, end, peak as u32));
            chromosome.longest = chromosome.longest.max(end - start);
        }
        places.values_mut().for_each(|chromosome| chromosome.peaks.sort_unstable());
        Ok(Self(places))
    }

    /// Peaks that share a base with a stretch.
    fn over(&self, stretch: &Interval) -> impl Iterator<Item = u32> + '_ {
        let chromosome = self.0.get(plain(&stretch.chromosome));
        let (peaks, longest) = chromosome.map_or((&[][..], 0), |c| (&c.peaks[..], c.longest));
        // No peak that begins earlier is long enough.
        let first = peaks.partition_point(|(start, _, _)| start.saturating_add(longest) <= stretch.start);
        let (from, to) = (stretch.start, stretch.end);
        peaks[first..].iter().take_while(move |(start, _, _)| *start < to).filter(move |(_, end, _)| *end > from).map(|p| p.2)
    }

    fn without(&self, annotation: &[Gene]) -> Vec<String> {
        let known: HashSet<&str> = annotation.iter().map(|gene| plain(&gene.body.chromosome)).collect();
        self.0.iter().filter(|(key, _)| !known.contains(key.as_str())).map(|(_, chromosome)| chromosome.name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::to_memory;
    use crate::rng::Rng;

    fn gene(name: &str, chromosome: &str, start: u64, end: u64, strand: Strand) -> Gene {
        let body = Interval { chromosome: chromosome.into(), start, end };
        Gene { name: name.into(), id: name.into(), biotype: Some("protein_coding".into()), body, strand }
    }

    #[test]
    fn names_of_peaks_are_read_from_their_end() {
        let place = |chromosome: &str, start, end| Some(Interval { chromosome: chromosome.into(), start, end });
        for name in ["chr1-100-200", "chr1:100-200", "chr1_100_200", "chr1:100_200"] {
            assert_eq!(Interval::parse(name), place("chr1", 100, 200));
        }
        assert_eq!(Interval::parse("chrUn_KI270742v1-1-9"), place("chrUn_KI270742v1", 1, 9));
        assert_eq!(Interval::parse("HLA-A_1_2"), place("HLA-A", 1, 2));
        assert_eq!(Interval::parse("1:1,000-2,000"), place("1", 1000, 2000));
        for name in ["chr1", "chr1-100", "chr1-200-100", "chr1-5-5", "-1-2", "GAPDH-1-x", ""] {
            assert_eq!(Interval::parse(name), None, "{name}");
        }
    }

    #[test]
    fn edges_strands_and_chromosomes_by_hand() {
        // Behind each peak, what it is meant for.
        let peaks = [
            "chr1-0-100",   // touches the stretch before `a` without sharing a base
            "chr1-90-101",  // its last base is the first of it
            "chr1-299-310", // the last base of `a`
            "chr1-300-310", // behind `a`
            "chrM-10-20",   // over `m`
            "chr2-500-600", // the stretch before `r`, which is read backwards
            "chr2-605-700", // behind that
            "chr9-1-2",     // no gene
        ]
        .map(String::from);
        let annotation = [
            gene("a", "1", 200, 300, Strand::Forward),
            gene("m", "MT", 0, 100, Strand::Unknown),
            gene("r", "chr2", 400, 500, Strand::Reverse),
            gene("none", "1", 5000, 5100, Strand::Forward),
            gene("wide", "1", 0, 600_001, Strand::Forward),
            Gene { biotype: Some("lncRNA".into()), ..gene("other", "1", 200, 300, Strand::Forward) },
        ];
        let x = Csr::from_dense(ndarray::arr2(&[[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0], [0.0; 8]]).view()).unwrap();
        let config = GeneActivityConfig { upstream: 100, ..Default::default() };
        let activity = GeneActivity::new(&x, &peaks, &annotation, &config).unwrap();
        assert_eq!(activity.gene_names(), ["a", "m", "r"]);
        assert_eq!(to_memory(&activity).unwrap().to_dense(), ndarray::arr2(&[[6.0, 16.0, 32.0], [0.0; 3]]));
        let expected = GeneActivitySummary {
            n_peaks: 8,
            n_peaks_used: 4,
            n_genes: 3,
            n_without_peak: 1,
            n_other_biotype: 1,
            n_too_wide: 1,
            chromosomes_without_gene: vec!["chr9".into()],
        };
        assert_eq!(activity.summary(), &expected);
        let all = GeneActivityConfig { biotypes: Vec::new(), max_width: None, downstream: 1, ..config };
        let activity = GeneActivity::new(&x, &peaks, &annotation, &all).unwrap();
        assert_eq!(activity.gene_names(), ["a", "m", "r", "wide", "other"]);
        assert_eq!(to_memory(&activity).unwrap().to_dense().row(0).to_vec(), [14.0, 16.0, 32.0, 15.0, 14.0]);
    }

    #[test]
    fn sums_equal_loops_over_all_pairs_and_a_peak_counts_once_per_name() {
        let mut stream = Rng::new(3).stream("genome", 0, 0);
        let mut place = |long: usize| {
            let start = stream.below(20_000) as u64;
            Interval { chromosome: format!("chr{}", 1 + stream.below(3)), start, end: start + 1 + stream.below(long) as u64 }
        };
        let peaks: Vec<Interval> = (0..400).map(|i| place(if i % 50 == 0 { 9000 } else { 600 })).collect();
        let annotation: Vec<Gene> = (0..90)
            .map(|i| Gene {
                // Some names have several places.
                name: format!("g{}", i % 80),
                id: format!("id{i}"),
                biotype: None,
                body: place(4000),
                strand: [Strand::Forward, Strand::Reverse, Strand::Unknown][i % 3],
            })
            .collect();
        let names: Vec<String> = peaks.iter().map(|p| format!("{}-{}-{}", p.chromosome, p.start, p.end)).collect();
        let mut stream = Rng::new(4).stream("counts", 0, 0);
        let x =
            ndarray::Array2::from_shape_fn((20, 400), |_| if stream.bernoulli(0.1) { 1.0 + stream.below(3) as f32 } else { 0.0 });
        let config = GeneActivityConfig { upstream: 700, downstream: 50, ..Default::default() };
        let sparse = Csr::from_dense(x.view()).unwrap();
        let activity = GeneActivity::new(&sparse, &names, &annotation, &config).unwrap();
        let found = to_memory(&activity).unwrap().to_dense();
        let over = |gene: &Gene, peak: &Interval| {
            let (left, right) = if gene.strand == Strand::Reverse { (50, 700) } else { (700, 50) };
            let from = (gene.body.start as i64 - left).max(0);
            let to = gene.body.end as i64 + right;
            gene.body.chromosome == peak.chromosome && (peak.start as i64) < to && peak.end as i64 > from
        };
        for (j, name) in activity.gene_names().iter().enumerate() {
            let places: Vec<&Gene> = annotation.iter().filter(|g| g.name == *name).collect();
            for i in 0..20 {
                let peaks = peaks.iter().enumerate().filter(|(_, peak)| places.iter().any(|gene| over(gene, peak)));
                assert_eq!(found[[i, j]], peaks.map(|(p, _)| x[[i, p]]).sum::<f32>(), "{name}");
            }
        }
        let missing = (0..80).filter(|g| !activity.gene_names().contains(&format!("g{g}"))).count();
        assert_eq!(missing, activity.summary().n_without_peak);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let x = Csr::from_dense(ndarray::arr2(&[[1.0]]).view()).unwrap();
        let error = |name: &str, genes: &[Gene]| {
            GeneActivity::new(&x, &[name.to_owned()], genes, &GeneActivityConfig::default()).err().unwrap().to_string()
        };
        assert!(error("GAPDH", &[]).contains("peak number 1 is called `GAPDH`") && error("GAPDH", &[]).contains("chr1:100-200"));
        let far = [gene("a", "7", 1, 2, Strand::Forward)];
        assert!(error("chr1-1-9", &far).contains("no peak lies over a gene") && error("chr1-1-9", &far).contains("chromosome 7"));
        assert!(GeneActivity::new(&x, &[], &far, &GeneActivityConfig::default()).is_err());
    }
}
