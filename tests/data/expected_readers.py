"""Writes expected_readers.json: what anndata and scanpy read from the files that the reader tests use.

    python tests/data/expected_readers.py ../shared/data

Values are those of the readers of each file's own ecosystem (anndata, scanpy), never of this project.
"""

import json
import sys
import warnings
from pathlib import Path

import anndata
import numpy as np
import scanpy as sc
import scipy.sparse as sp

warnings.filterwarnings("ignore")


def matrix(x):
    x = sp.csr_matrix(x).astype(np.float32)
    x.sum_duplicates()
    x.eliminate_zeros()
    coo = x.tocoo()
    picks = np.linspace(0, max(coo.nnz - 1, 0), 7).astype(int) if coo.nnz else []
    return {
        "shape": list(x.shape),
        "nnz": int(x.nnz),
        "sum": float(x.sum(dtype=np.float64)),
        # Position-weighted sums see a transposed or shuffled matrix that plain sums do not.
        "row_weighted": float(np.asarray(x.sum(1, dtype=np.float64)).ravel() @ (np.arange(x.shape[0]) + 1)),
        "column_weighted": float(np.asarray(x.sum(0, dtype=np.float64)).ravel() @ (np.arange(x.shape[1]) + 1)),
        "values": [[int(coo.row[i]), int(coo.col[i]), float(coo.data[i])] for i in picks],
    }


def describe(a, x):
    out = {
        "cells": [a.obs_names[0], a.obs_names[-1]],
        "genes": [a.var_names[0], a.var_names[-1]],
        "x": None if x is None else matrix(x),
        "categories": {},
        "obsm": {},
    }
    for name in a.obs.columns:
        if a.obs[name].dtype.name == "category":
            out["categories"][name] = {str(k): int(v) for k, v in a.obs[name].value_counts().items()}
    for name, value in a.obsm.items():
        if isinstance(value, np.ndarray) and value.ndim == 2:
            out["obsm"][name] = [list(value.shape), float(np.asarray(value, dtype=np.float64).sum())]
    return out


def unique(a):
    a.var_names_make_unique()
    a.obs_names_make_unique()
    return a


def main(root):
    out = {}
    for path in sorted(root.rglob("*.h5ad")):
        a = unique(anndata.read_h5ad(path))
        name = str(path.relative_to(root))
        out[name] = describe(a, a.X)
        for layer in a.layers:
            out[f"{name}#layer={layer}"] = describe(a, a.layers[layer])
        if a.raw is not None:
            raw = unique(a.raw.to_adata())
            out[f"{name}#raw"] = describe(raw, raw.X)
    tenx = root / "reader_cases" / "tenx"
    for folder in ["3.0.0/filtered_feature_bc_matrix", "1.2.0/filtered_gene_bc_matrices/hg19_chr21", "int-ids"]:
        x = sc.read(next((tenx / folder).glob("matrix.mtx*"))).X.T
        names = sc.read_10x_mtx(tenx / folder) if folder != "int-ids" else None
        entry = {"x": matrix(x), "categories": {}, "obsm": {}, "cells": None, "genes": None}
        if names is not None:
            entry["cells"] = [names.obs_names[0], names.obs_names[-1]]
            entry["genes"] = [names.var_names[0], names.var_names[-1]]
        out[f"reader_cases/tenx/{folder}"] = entry
    for file, genome in [
        ("3.0.0/filtered_feature_bc_matrix.h5", None),
        ("1.2.0/filtered_gene_bc_matrices_h5.h5", None),
        ("1.2.0/multiple_genomes.h5", "hg19_chr21"),
        ("1.2.0/multiple_genomes.h5", "another_genome"),
    ]:
        a = unique(sc.read_10x_h5(tenx / file, genome=genome))
        out[f"reader_cases/tenx/{file}" + (f"#genome={genome}" if genome else "")] = describe(a, a.X)
    target = Path(__file__).with_suffix(".json")
    target.write_text(json.dumps(out, indent=1) + "\n")
    print(target, len(out))


main(Path(sys.argv[1]))
