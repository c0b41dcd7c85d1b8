"""Writes expected_communities.json: the fuzzy graph of umap-learn for 150 points, and the best division of it that leidenalg finds.

    pip install umap-learn leidenalg
    python tests/data/expected_communities.py

Points lie in six groups that overlap, so that the best division changes with the resolution; two of them are the same, which gives a distance
of 0 between neighbours. Modularities are those of igraph. leidenalg runs until stable with 20 seeds; the best of
them and the mean are kept.
"""

import json
from pathlib import Path

import igraph
import leidenalg
import numpy as np
import umap
from scipy.spatial.distance import cdist

N_POINTS, N_NEIGHBORS = 150, 10
rng = np.random.default_rng(0)
centers = rng.normal(0, 1.5, (6, 4))
points = (centers[np.arange(N_POINTS) % 6] + rng.normal(size=(N_POINTS, 4))).round(3)
points[7] = points[1]
points = points.astype(np.float32)
# Not by scikit-learn's expanded squares, which put equal points a little apart.
apart = cdist(points, points)
indices = np.argsort(apart, axis=1, kind="stable")[:, :N_NEIGHBORS]
distances = np.take_along_axis(apart, indices, axis=1).astype(np.float32)
fuzzy, _, _ = umap.umap_.fuzzy_simplicial_set(
    points, N_NEIGHBORS, np.random.RandomState(0), "euclidean", knn_indices=indices, knn_dists=distances)
upper = np.nonzero(np.triu(fuzzy.toarray(), 1))
edges = [(int(i), int(j), round(float(fuzzy[i, j]), 7)) for i, j in zip(*upper)]
graph = igraph.Graph(N_POINTS, [edge[:2] for edge in edges], edge_attrs={"weight": [edge[2] for edge in edges]})


def best_division(resolution):
    def modularity(membership):
        return graph.modularity(membership, weights="weight", resolution=resolution)

    found = [
        leidenalg.find_partition(graph, leidenalg.RBConfigurationVertexPartition, weights="weight", resolution_parameter=resolution,
                                 n_iterations=-1, seed=seed).membership
        for seed in range(20)
    ]
    membership = max(found, key=modularity)
    mean = float(np.mean([modularity(membership) for membership in found]))
    return {"resolution": resolution, "modularity": modularity(membership), "mean_modularity": mean, "membership": membership}


out = {
    "umap_learn": umap.__version__,
    "leidenalg": leidenalg.__version__,
    "igraph": igraph.__version__,
    "n_neighbors": N_NEIGHBORS,
    "points": [[round(float(v), 3) for v in row] for row in points],
    "edges": edges,
    "divisions": [best_division(resolution) for resolution in [0.3, 1.0, 2.0]],
}
Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n")
print([(d["resolution"], max(d["membership"]) + 1, d["modularity"], d["mean_modularity"]) for d in out["divisions"]], len(edges))
