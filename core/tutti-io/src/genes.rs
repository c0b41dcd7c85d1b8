//! Places of genes: GTF, GFF3 and BED, plain or gzipped.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::Path;

use tutti::preprocess::{Gene, Interval, Strand};

use crate::error::{Error, InFile, Result};
use crate::mtx::open_text;

/// Genes of an annotation, in the order of the file.
///
/// GTF and GFF3 (`.gtf`, `.gff`, `.gff3`): lines of the feature `gene`; where there are none, as in files of UCSC, the span of all lines of a gene on a
/// chromosome. The name is `gene_name` or `Name`, the identifier `gene_id` or `ID`, the biotype `gene_type`, `gene_biotype` or `biotype`. BED (`.bed`): the
/// fourth column is the name, the sixth the strand.
///
/// # Errors
/// [`Error::Format`] for a line that cannot be read, which names it, for a file without genes and for an ending that is not known.
pub fn read_genes(path: &Path) -> Result<Vec<Gene>> {
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    let genes = match plain.rsplit('.').next().unwrap_or_default() {
        "gtf" | "gff" | "gff3" => read_gtf(path)?,
        "bed" => read_bed(path)?,
        _ => return Err(Error::format(path, "unknown format", "give .gtf, .gff3 or .bed, also gzipped")),
    };
    if genes.is_empty() {
        return Err(Error::format(path, "there are no genes", "give an annotation with genes"));
    }
    Ok(genes)
}

/// Calls `f` with the number and the fields of each line that is no comment.
fn each_line(path: &Path, mut f: impl FnMut(usize, &[&str]) -> std::result::Result<(), String>) -> Result<()> {
    for (i, line) in open_text(path)?.lines().enumerate() {
        let line = line.in_file(path, "")?;
        // The sequence of a genome may follow the annotation in GFF3.
        if line.starts_with("##FASTA") {
            break;
        }
        let none = line.trim().is_empty() || ["#", "track ", "browser "].iter().any(|start| line.starts_with(start));
        if none {
            continue;
        }
        let fields: Vec<&str> = line.trim_end_matches(['\r', '\n']).split('\t').collect();
        let fix = "give a file of lines with fields between tabs";
        f(i, &fields).map_err(|problem| Error::format(path, format!("line {}: {problem}", i + 1), fix))?;
    }
    Ok(())
}

fn read_gtf(path: &Path) -> Result<Vec<Gene>> {
    let (mut genes, mut spans) = (Vec::new(), Vec::<Gene>::new());
    let mut place: HashMap<(String, String), usize> = HashMap::new();
    each_line(path, |_, fields| {
        let [chromosome, _, feature, start, end, _, strand, _, attributes] = fields[..] else {
            return Err(format!("{} fields, a GTF line has 9", fields.len()));
        };
        if feature != "gene" && !genes.is_empty() {
            return Ok(());
        }
        let attributes = Attributes(attributes);
        let Some(id) = attributes.first(&["gene_id", "ID", "Name"]) else {
            // Lines that are of no gene, such as whole chromosomes in GFF3.
            return if feature == "gene" { Err("no gene_id".to_owned()) } else { Ok(()) };
        };
        let gene = Gene {
            name: attributes.first(&["gene_name", "Name"]).unwrap_or(id).to_owned(),
            id: id.strip_prefix("gene:").unwrap_or(id).to_owned(),
            biotype: attributes.first(&["gene_type", "gene_biotype", "biotype"]).map(str::to_owned),
            // The first base of GTF is 1, and the last one belongs to the gene.
            body: interval(chromosome, start, end, 1)?,
            strand: strand_of(strand),
        };
        if feature == "gene" {
            genes.push(gene);
        } else if attributes.first(&["gene_id"]).is_some() {
            match place.get(&(gene.id.clone(), chromosome.to_owned())) {
                Some(at) => {
                    let body = &mut spans[*at].body;
                    (body.start, body.end) = (body.start.min(gene.body.start), body.end.max(gene.body.end));
                }
                None => {
                    place.insert((gene.id.clone(), chromosome.to_owned()), spans.len());
                    spans.push(gene);
                }
            }
        }
        Ok(())
    })?;
    Ok(if genes.is_empty() { spans } else { genes })
}

fn read_bed(path: &Path) -> Result<Vec<Gene>> {
    let mut genes = Vec::new();
    each_line(path, |_, fields| {
        let [chromosome, start, end, name, ..] = fields[..] else {
            return Err(format!("{} fields, 4 at least are needed: chromosome, start, end, name", fields.len()));
        };
        genes.push(Gene {
            name: name.to_owned(),
            id: name.to_owned(),
            biotype: None,
            body: interval(chromosome, start, end, 0)?,
            strand: strand_of(fields.get(5).copied().unwrap_or(".")),
        });
        Ok(())
    })?;
    Ok(genes)
}

fn strand_of(sign: &str) -> Strand {
    match sign {
        "+" => Strand::Forward,
        "-" => Strand::Reverse,
        _ => Strand::Unknown,
    }
}

/// `first`: the number of the first base of a chromosome.
fn interval(chromosome: &str, start: &str, end: &str, first: u64) -> std::result::Result<Interval, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is no place on a chromosome"));
    let (start, end) = (number(start)?, number(end)?);
    if start < first || start - first >= end {
        return Err(format!("a gene from {start} to {end}"));
    }
    Ok(Interval { chromosome: chromosome.to_owned(), start: start - first, end })
}

/// The last field of a GTF (`key "value"; `) or GFF3 (`key=value;`) line.
struct Attributes<'a>(&'a str);

impl<'a> Attributes<'a> {
    /// The value of the first of these keys that is there and not empty.
    fn first(&self, keys: &[&str]) -> Option<&'a str> {
        keys.iter().find_map(|key| self.get(key).filter(|value| !value.is_empty()))
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.split(';').find_map(|part| {
            let part = part.trim();
            let value = part.strip_prefix(key)?;
            let value = value.strip_prefix('=').or_else(|| value.strip_prefix(' '))?;
            Some(value.trim().trim_matches('"'))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gene(name: &str, id: &str, biotype: Option<&str>, chromosome: &str, place: (u64, u64), strand: Strand) -> Gene {
        let body = Interval { chromosome: chromosome.into(), start: place.0, end: place.1 };
        Gene { name: name.into(), id: id.into(), biotype: biotype.map(str::to_owned), body, strand }
    }

    const GTF: &str = "#!genome-build GRCh38\n\
        chr1\tHAVANA\tgene\t11\t20\t.\t+\t.\tgene_id \"ENSG1.5\"; gene_type \"protein_coding\"; gene_name \"A\"; level 2;\n\
        chr1\tHAVANA\texon\t11\t15\t.\t+\t.\tgene_id \"ENSG1.5\"; gene_name \"A\";\n\
        2\tensembl\tgene\t1\t1\t.\t-\t.\tgene_id \"ENSG2\"; gene_biotype \"lncRNA\";\n";

    #[test]
    fn genes_of_gtf_gff_and_bed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let expected = [
            gene("A", "ENSG1.5", Some("protein_coding"), "chr1", (10, 20), Strand::Forward),
            gene("ENSG2", "ENSG2", Some("lncRNA"), "2", (0, 1), Strand::Reverse),
        ];
        std::fs::write(at("g.gtf"), GTF).unwrap();
        assert_eq!(read_genes(&at("g.gtf")).unwrap(), expected);
        let mut packed = flate2::write::GzEncoder::new(std::fs::File::create(at("g.gtf.gz")).unwrap(), Default::default());
        packed.write_all(GTF.as_bytes()).unwrap();
        packed.finish().unwrap();
        assert_eq!(read_genes(&at("g.gtf.gz")).unwrap(), expected);

        let gff = "##gff-version 3\n1\t.\tchromosome\t1\t99\t.\t.\t.\tID=chromosome:1\n\
            1\thavana\tgene\t11\t20\t.\t-\t.\tID=gene:ENSG1;Name=A;biotype=protein_coding\n##FASTA\n>1\nACGT\n";
        std::fs::write(at("g.gff3"), gff).unwrap();
        let found = read_genes(&at("g.gff3")).unwrap();
        assert_eq!(found, [gene("A", "ENSG1", Some("protein_coding"), "1", (10, 20), Strand::Reverse)]);

        std::fs::write(at("g.bed"), "track name=x\nchr1\t10\t20\tA\t0\t-\nchr1\t30\t40\tB\n").unwrap();
        let expected =
            [gene("A", "A", None, "chr1", (10, 20), Strand::Reverse), gene("B", "B", None, "chr1", (30, 40), Strand::Unknown)];
        assert_eq!(read_genes(&at("g.bed")).unwrap(), expected);
    }

    #[test]
    fn without_lines_of_genes_their_span_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("refGene.gtf");
        let line = |feature: &str, from: u64, to: u64, chromosome: &str| {
            format!(
                "{chromosome}\trefGene\t{feature}\t{from}\t{to}\t.\t+\t.\tgene_id \"A\"; transcript_id \"NM_1\"; gene_name \"A\";\n"
            )
        };
        let text = [line("exon", 31, 40, "chr1"), line("transcript", 11, 35, "chr1"), line("exon", 5, 6, "chrY")].concat();
        std::fs::write(&path, text).unwrap();
        let expected =
            [gene("A", "A", None, "chr1", (10, 40), Strand::Forward), gene("A", "A", None, "chrY", (4, 6), Strand::Forward)];
        assert_eq!(read_genes(&path).unwrap(), expected);
    }

    #[test]
    fn defects_name_their_line() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            read_genes(&path).unwrap_err().to_string()
        };
        assert!(refused("x.gtf", "chr1 gene 1 2\n").contains("line 1: 1 fields, a GTF line has 9"));
        assert!(refused("x.gtf", &GTF.replace("\t11\t20", "\tx\t20")).contains("line 2: `x` is no place"));
        assert!(refused("x.gtf", &GTF.replace("\t11\t20", "\t0\t20")).contains("a gene from 0 to 20"));
        assert!(refused("x.bed", "chr1\t5\t5\tA\n").contains("line 1: a gene from 5 to 5"));
        assert!(refused("x.bed", "chr1\t5\t6\n").contains("4 at least are needed"));
        assert!(refused("x.gtf", "# nothing\n").contains("there are no genes"));
        assert!(refused("x.txt", "").contains("unknown format"));
    }
}
