"""Writes expected_scib.json: what scib-metrics gives for two embeddings of pbmc_10x_three_chemistries.h5ad.

    pip install scib-metrics==0.5.* scanpy
    python tests/data/expected_scib.py ../shared/data

The embeddings are ten principal components and the first five of them, rounded and stored beside the scores; the clusters are the labels
with some of them exchanged. kBET is asked for one label at a time: for several, scib-metrics 0.5.10 lowers the number of diffusion components
with every small label and keeps it low for those that follow by name ("kbet_together" is what that gives). A third embedding, for kBET
only, has the mean of each batch taken away.
"""

import json
import sys
from pathlib import Path

import anndata
import numpy as np
import scanpy as sc
import scib_metrics
from scib_metrics.nearest_neighbors import NeighborsResults
from sklearn.neighbors import NearestNeighbors

adata = anndata.read_h5ad(Path(sys.argv[1]) / "pbmc_10x_three_chemistries.h5ad")
adata.uns.clear()
sc.pp.normalize_total(adata, target_sum=1e4)
sc.pp.log1p(adata)
label, batch = adata.obs["cell_type"].astype(str).to_numpy(), adata.obs["batch"].astype(str).to_numpy()
pca = np.round(sc.pp.pca(adata.X.toarray(), n_comps=10, random_state=0, return_info=False), 3).astype(np.float32)


def neighbors(z, k):
    distances, indices = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(z).kneighbors(z)
    return NeighborsResults(indices=indices, distances=distances.astype(np.float32))


def kbet(near):
    """Score of each label, given alone: every other cell is a label of its own, too small to be tested."""
    others = np.array([f"other {i}" for i in range(len(label))])
    alone = {name: scib_metrics.kbet_per_label(near, batch, np.where(label == name, name, others)) for name in np.unique(label)}
    return {name: None if np.isnan(score) else float(score) for name, score in alone.items()}


rng = np.random.default_rng(0)
clusters = np.where(rng.uniform(size=len(label)) < 0.7, label, rng.permutation(label))
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score  # noqa: E402

out = {"scib_metrics": scib_metrics.__version__, "pca": pca.round(3).tolist(), "cases": []}
out["clusters"] = [str(c) for c in clusters]
for name, columns in [("all", slice(0, 10)), ("first five", slice(0, 5))]:
    z = pca[:, columns]
    wide, narrow = neighbors(z, 90), neighbors(z, 15)
    per_label = kbet(neighbors(z, 50))
    scores = {
        "isolated_labels": scib_metrics.isolated_labels(z, label, batch),
        "nmi": normalized_mutual_info_score(label, clusters),
        "ari": adjusted_rand_score(label, clusters),
        "label_silhouette": scib_metrics.silhouette_label(z, label),
        "clisi": scib_metrics.clisi_knn(wide, label),
        "batch_silhouette": scib_metrics.silhouette_batch(z, label, batch),
        "bras": scib_metrics.metrics.bras(z, label, batch),
        "ilisi": scib_metrics.ilisi_knn(wide, batch),
        "kbet": np.mean([score for score in per_label.values() if score is not None]),
        "graph_connectivity": scib_metrics.graph_connectivity(narrow, label),
        "pcr_comparison": scib_metrics.pcr_comparison(pca, z, batch, categorical=True),
    }
    scores = {k: float(v) for k, v in scores.items()}
    together = float(scib_metrics.kbet_per_label(neighbors(z, 50), batch, label))
    out["cases"].append({"name": name, "n_components": columns.stop, "scores": scores, "kbet": per_label, "kbet_together": together})
means = {name: pca[batch == name].mean(axis=0).round(3).astype(np.float32) for name in np.unique(batch)}
out["batch_means"] = {name: mean.tolist() for name, mean in means.items()}
out["kbet_centred"] = kbet(neighbors(pca - np.stack([means[name] for name in batch]), 50))
Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n")
print(json.dumps([out["cases"], out["kbet_centred"]], indent=1))
