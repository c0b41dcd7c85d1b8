"""Decoded expression by Tutti and concord-sc on real data: `decoder.py TUTTI FILE.h5ad [TARGET_BATCH]`.

Needs a Python with concord-sc, scanpy and anndata. FILE holds counts and the obs columns `batch` and `cell_type`.
"""

import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import anndata
import numpy as np
import scanpy as sc
import torch
from concord import Concord

program, path, *target = sys.argv[1:]
target = target[0] if target else "3pv2"
logging.disable(logging.WARNING)
torch.set_num_threads(2)
with tempfile.TemporaryDirectory() as folder:
    model, decoded, out = (str(Path(folder) / name) for name in ["m.safetensors", "decoded.h5ad", "out.h5ad"])
    run = lambda *words: subprocess.run([program, *words], check=True, capture_output=True)  # noqa: E731
    run("concord", path, "--batch", "batch", "--hvg", "0", "--set", "use_decoder=true", "--save-model", model, "-o", out, "--quiet")
    run("predict", model, path, "--decode", target, "--decoded", decoded, "-o", out)
    ours = anndata.read_h5ad(decoded).X
ours = ours.toarray() if hasattr(ours, "toarray") else np.asarray(ours)

adata = anndata.read_h5ad(path)
adata.uns.clear()
sc.pp.normalize_total(adata, target_sum=1e4)
sc.pp.log1p(adata)
peer = Concord(adata, save_dir=None, domain_key="batch", seed=0, use_decoder=True, device=torch.device("cpu"))
peer.fit_transform(output_key="C", return_decoded=True)
theirs = np.asarray(adata.layers[next(k for k in adata.layers if "decoded" in k)])

x, kind = adata.X.toarray(), adata.obs["cell_type"].astype(str).to_numpy()
own = (adata.obs["batch"] == target).to_numpy()
everywhere = np.ones(len(x), dtype=bool)


def error(y, cells):
    return float(((y - x)[cells] ** 2).mean())


gene_mean = lambda cells: np.broadcast_to(x[cells].mean(0), x.shape)  # noqa: E731
type_mean = np.zeros_like(x)
for name in set(kind[own]):
    type_mean[own & (kind == name)] = x[own & (kind == name)].mean(0)
for name, y, cells in [("concord-sc", theirs, everywhere), ("tutti", ours, own)]:
    dead = int((y == 0).all(0).sum())
    print(f"{name}: {dead} of {x.shape[1]} genes decoded as 0, mean {y.mean():.3f} (measured {x.mean():.3f}), ", end="")
    print(f"error {error(y, cells):.3f}, of the gene's mean {error(gene_mean(cells), cells):.3f}")
print(f"error of the mean of each cell type within {target}: {error(type_mean, own):.3f}")
