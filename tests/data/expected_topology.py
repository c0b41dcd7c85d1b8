"""Writes expected_topology.json: points and their persistence diagrams by ripser (the component that never dies left out).

    python tests/data/expected_topology.py     # needs numpy and ripser
"""

import json
from pathlib import Path

import numpy as np
from ripser import ripser

rng = np.random.default_rng(0)
turn = 2 * np.pi * rng.random(60)
circle = np.stack([np.cos(turn), np.sin(turn)], axis=1) + 0.1 * rng.normal(size=(60, 2))
sphere = rng.normal(size=(80, 3))
sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
a, b = 2 * np.pi * rng.random((2, 90))
torus = np.stack([np.cos(a), np.sin(a), np.cos(b), np.sin(b)], axis=1)
cloud = rng.normal(size=(60, 5))
out = []
for name, x, metric in [
    ("circle", circle, "euclidean"),
    ("sphere", sphere, "euclidean"),
    ("torus", torus, "euclidean"),
    ("cloud", cloud, "euclidean"),
    ("cloud", cloud, "cosine"),
]:
    x = np.round(x, 4).astype(np.float32)
    diagrams = ripser(x.astype(float), maxdim=2, metric=metric)["dgms"]
    diagrams[0] = diagrams[0][np.isfinite(diagrams[0][:, 1])]
    rounded = [[[round(float(v), 7) for v in interval] for interval in d] for d in diagrams]
    out.append({"name": name, "metric": metric, "points": [[round(float(v), 4) for v in p] for p in x], "diagrams": rounded})
(Path(__file__).resolve().parent / "expected_topology.json").write_text(json.dumps(out) + "\n")
print([(o["name"], o["metric"], [len(d) for d in o["diagrams"]]) for o in out])
