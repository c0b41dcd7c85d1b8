"""Persistent homology up to H2 beside ripser: seconds and intervals of the same points, in turn.

    pip install ripser anndata scanpy
    cargo build --example topology
    python benches/peers/topology.py [--points N] [--pairs N]

Points on a sphere, on a circle with noise, on a flat torus and a cloud without shape in 10 dimensions, all without a threshold. ripser runs on one
thread. The same numbers of intervals and the same total length say that both found the same. Prints a line of Markdown per shape.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time

import numpy as np
from ripser import ripser

from components import write

parser = argparse.ArgumentParser()
parser.add_argument("--points", type=int, default=500)
parser.add_argument("--pairs", type=int, default=3)
parser.add_argument("--threads", default="2")
parser.add_argument("--example", default="target/debug/examples/topology")
arguments = parser.parse_args()
n = arguments.points
rng = np.random.default_rng(0)
sphere = rng.normal(size=(n, 3))
sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
turn, a, b = 2 * np.pi * rng.random((3, n))
shapes = {
    "cloud, 10 dimensions": rng.normal(size=(n, 10)),
    "circle": np.stack([np.cos(turn), np.sin(turn)], axis=1) + 0.1 * rng.normal(size=(n, 2)),
    "torus": np.stack([np.cos(a), np.sin(a), np.cos(b), np.sin(b)], axis=1),
    "sphere": sphere,
}


def theirs(x):
    started = time.perf_counter()
    diagrams = ripser(x, maxdim=2)["dgms"]
    return diagrams, time.perf_counter() - started


print("| points | shape | tutti, s | ripser, s | ratio | intervals tutti | ripser | total length tutti | ripser |")
print("|---|---|---|---|---|---|---|---|---|")
with tempfile.TemporaryDirectory() as folder:
    for name, x in shapes.items():
        x = x.astype(np.float32)
        file = write(x, folder)
        mine, seconds = [], []
        for _ in range(arguments.pairs):
            said = subprocess.run([arguments.example, file, "X_pca", arguments.threads], capture_output=True, text=True, check=True).stdout
            mine.append(json.loads(said))
            diagrams, took = theirs(x)
            seconds.append(took)
        lives = [d[np.isfinite(d[:, 1])] for d in diagrams]
        ours = statistics.median(m["seconds"] for m in mine)
        ratio = statistics.median(s / m["seconds"] for s, m in zip(seconds, mine))
        print(f"| {n} | {name} | {ours:.2f} | {statistics.median(seconds):.1f} | {ratio:.1f} | {mine[0]['intervals']} | {[len(d) for d in lives]} | "
              f"{[round(t, 4) for t in mine[0]['total']]} | {[round(float((d[:, 1] - d[:, 0]).sum()), 4) for d in lives]} |", flush=True)
