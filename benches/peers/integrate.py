"""Embeds the cells of an h5ad file by another tool, for `examples/paper.rs`.

    python integrate.py METHOD IN.h5ad BATCH SEED OUT.csv

METHOD: concord-sc, harmony, scanorama or scvi, each with its defaults (harmony and scanorama: on 30 principal components, scvi on counts
only). Prints the package's version.
"""

import importlib.metadata
import os
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
method, source, batch, seed, target = sys.argv[1:]
source, target = Path(source).resolve(), Path(target).resolve()
# Some tools leave files where they run.
os.chdir(target.parent)

import anndata
import numpy as np
import pandas as pd

adata = anndata.read_h5ad(source)
seed = int(seed)
adata.obs[batch] = adata.obs[batch].astype("category")
np.random.seed(seed)
if method == "concord-sc":
    import concord

    adata.X = adata.X.tocsr().astype(np.float32)
    model = concord.Concord(adata=adata, domain_key=batch, seed=seed, device="cpu", verbose=False)
    model.fit_transform(output_key="embedding")
    z = adata.obsm["embedding"] if "embedding" in adata.obsm else model.adata.obsm["embedding"]
elif method == "harmony":
    import harmonypy
    import scanpy as sc

    pca = sc.pp.pca(adata.X.toarray(), n_comps=30, random_state=seed)
    z = np.asarray(harmonypy.run_harmony(pca, adata.obs, batch, random_state=seed).Z_corr)
    z = z if z.shape[0] == adata.n_obs else z.T
elif method == "scanorama":
    import scanorama

    order = [np.flatnonzero(adata.obs[batch] == level) for level in adata.obs[batch].cat.categories]
    parts, _ = scanorama.integrate([adata.X[rows] for rows in order], [list(adata.var_names)] * len(order), dimred=30, seed=seed, verbose=0)
    z = np.empty((adata.n_obs, parts[0].shape[1]), dtype=np.float32)
    for rows, part in zip(order, parts):
        z[rows] = part
elif method == "scvi":
    import scvi

    scvi.settings.seed = seed
    scvi.model.SCVI.setup_anndata(adata, batch_key=batch)
    model = scvi.model.SCVI(adata, n_latent=30, gene_likelihood="normal")
    model.train(accelerator="cpu", enable_progress_bar=False, logger=False)
    z = model.get_latent_representation()
else:
    sys.exit(f"{method} is not known: give concord-sc, harmony, scanorama or scvi")
columns = [f"d{i + 1}" for i in range(z.shape[1])]
pd.DataFrame(np.asarray(z, dtype=np.float32), index=adata.obs_names, columns=columns).to_csv(target, index_label="cell")
print({"concord-sc": "concord-sc", "harmony": "harmonypy", "scvi": "scvi-tools"}.get(method, method),
      importlib.metadata.version({"harmony": "harmonypy", "scvi": "scvi-tools"}.get(method, method)))
