"""Writes expected_pseudotime.json: scanpy's diffusion pseudotime of the embedding stored in expected_scib.json.

    pip install scanpy
    python tests/data/expected_pseudotime.py
"""

import json
from pathlib import Path

import anndata
import numpy as np
import scanpy as sc

here = Path(__file__)
pca = np.array(json.loads(here.with_name("expected_scib.json").read_text())["pca"], dtype=np.float32)
root = 0
adata = anndata.AnnData(pca)
sc.pp.neighbors(adata, n_neighbors=15, use_rep="X")
sc.tl.diffmap(adata, n_comps=15)
adata.uns["iroot"] = root
sc.tl.dpt(adata, n_dcs=10)
pseudotime = adata.obs["dpt_pseudotime"].to_numpy()
out = {"scanpy": sc.__version__, "root": root, "eigenvalues": [round(float(v), 6) for v in adata.uns["diffmap_evals"]]}
out["pseudotime"] = [round(float(v), 5) if np.isfinite(v) else None for v in pseudotime]
here.with_suffix(".json").write_text(json.dumps(out) + "\n")
print(out["eigenvalues"], np.isinf(pseudotime).sum(), "cells not reached")
