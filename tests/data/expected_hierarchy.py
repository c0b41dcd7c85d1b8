"""Writes expected_hierarchy.json: heights, and the cost of the leaf order that scipy finds, for rows that the test makes anew.

    pip install scipy
    python tests/data/expected_hierarchy.py
"""

import json
from pathlib import Path

import numpy as np
import scipy
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import pdist, squareform

# Row i, column j; the same formula stands in the test.
x = np.array([[((i * 37 + j * 11 + i * j * 5) % 29) / 4 + 0.013 * i * i + 0.1 * j for j in range(5)] for i in range(25)], dtype=np.float32).astype(float)
out = {"scipy": scipy.__version__, "cases": []}
for distance in ["euclidean", "cosine", "correlation"]:
    d = pdist(x, distance)
    for method in ["average", "complete", "single"] + (["ward"] if distance == "euclidean" else []):
        z = linkage(d, method)
        order = leaves_list(optimal_leaf_ordering(z, d))
        cost = float(sum(squareform(d)[a, b] for a, b in zip(order, order[1:])))
        out["cases"].append({"distance": distance, "linkage": method, "heights": z[:, 2].tolist(), "cost": cost})
Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n")
