"""Writes expected_hvg.json: genes and scores that scanpy gives for pbmc_10x_three_chemistries.h5ad.

    python tests/data/expected_hvg.py ../shared/data
"""

import json
import sys
import warnings
from pathlib import Path

import anndata
import numpy as np
import scanpy as sc

warnings.filterwarnings("ignore")
raw = anndata.read_h5ad(Path(sys.argv[1]) / "pbmc_10x_three_chemistries.h5ad")
logged = raw.copy()
sc.pp.normalize_total(logged, target_sum=1e4)
sc.pp.log1p(logged)
out = {"log_sum": float(logged.X.sum(dtype=np.float64)), "scanpy": sc.__version__, "cases": []}
for flavor, batch in [("seurat_v3", None), ("seurat_v3", "batch"), ("seurat", None), ("seurat", "batch"), ("cell_ranger", None)]:
    a = raw if flavor == "seurat_v3" else logged
    try:
        table = sc.pp.highly_variable_genes(a, flavor=flavor, n_top_genes=500, batch_key=batch, inplace=False)
    except ValueError as error:
        # The local regression behind seurat_v3 fails on small batches; there is nothing to compare with then.
        print("left out:", flavor, batch, error)
        continue
    table = table.loc[a.var_names] if "gene_name" not in table else table.set_index("gene_name").loc[a.var_names]
    score = table["variances_norm" if flavor == "seurat_v3" else "dispersions_norm"].to_numpy(dtype=float)
    out["cases"].append(
        {
            "flavor": flavor,
            "batch": batch,
            "selected": np.flatnonzero(table["highly_variable"].to_numpy()).tolist(),
            "score": [None if not np.isfinite(s) else round(float(s), 5) for s in score],
        }
    )
Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n")
print({(c["flavor"], c["batch"]): len(c["selected"]) for c in out["cases"]})
