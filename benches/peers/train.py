"""Training throughput, peak memory and time to the first step: Tutti and concord-sc on one generated file, in alternation."""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

import measure

KEYS = ["cells_per_second", "train_seconds", "seconds_to_first_step", "wall_seconds", "peak_mib"]


def run(options):
    binary = measure.tutti(options)
    settings = {"both": [False, True], "false": [False], "true": [True]}[options.preload_dense]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "cells.h5ad"
        density = generate(options, path)
        pairs = []
        for preload_dense in settings:
            for number in range(options.pairs):
                print(f"pair {number + 1} of {options.pairs}, preload_dense={preload_dense}", file=sys.stderr)
                theirs = peer(path, options, preload_dense)
                mine = ours(binary, path, options)
                pairs.append({"preload_dense": preload_dense, "concord-sc": theirs, "tutti": mine})
    report(pairs, settings, density, options)


def generate(options, path):
    """Log-normalised counts of clusters in batches, at the density asked for. Returns the density reached."""
    rng = np.random.default_rng(0)
    n_types = 8
    level = rng.lognormal(0, 1.5, options.genes)
    fold = lambda n, sd: np.exp(rng.normal(0, sd, (n, options.genes)))  # noqa: E731
    rates = level * fold(n_types, 0.6)[:, None] * fold(options.batches, 0.3)[None]
    rates = (rates / rates.sum(axis=2, keepdims=True)).reshape(-1, options.genes)
    # The share of genes seen rises with the depth: halve the interval until it is the one asked for.
    low, high = 1.0, 1e9
    for _ in range(60):
        depth = np.sqrt(low * high)
        low, high = (depth, high) if np.mean(1 - np.exp(-depth * rates)) < options.density else (low, depth)
    kind, batch = rng.integers(n_types, size=options.cells), rng.integers(options.batches, size=options.cells)
    blocks = []
    for start in range(0, options.cells, 1000):
        rows = slice(start, start + 1000)
        counts = rng.poisson(depth * rates[kind[rows] * options.batches + batch[rows]])
        blocks.append(sp.csr_matrix(np.log1p(counts * (1e4 / np.maximum(counts.sum(axis=1, keepdims=True), 1))), dtype=np.float32))
    x = sp.vstack(blocks, format="csr")
    obs = pd.DataFrame({"batch": pd.Categorical([f"b{b}" for b in batch])}, index=[f"c{i}" for i in range(options.cells)])
    anndata.AnnData(x, obs=obs, var=pd.DataFrame(index=[f"g{j}" for j in range(options.genes)])).write_h5ad(path)
    return x.nnz / (x.shape[0] * x.shape[1])


def peer(path, options, preload_dense):
    fit = Path(__file__).with_name("concord_fit.py")
    arguments = [sys.executable, fit, path, "--batch", "batch", "--epochs", options.epochs, "--threads", options.threads]
    arguments += ["--launched", repr(time.time())] + (["--preload-dense"] if preload_dense else [])
    return chosen(measure.command(arguments, options.threads))


def ours(binary, path, options):
    # `--hvg 0`: all genes, as the peer. Hidden 1000, latent 100 and mini-batches of 256 are the defaults of both. The peer leaves the
    # cells out that fill no whole mini-batch; so do we here, for equal work per epoch.
    arguments = [binary, "concord", path, "--batch", "batch", "--hvg", 0, "--n-epochs", options.epochs, "--seed", 0, "--set", "drop_last=true"]
    arguments += ["--threads", options.threads, "--quiet", "--json", "-o", path.with_name("out.h5ad")]
    result = measure.command(arguments, options.threads)
    if missing := [key for key in KEYS if key not in result]:
        sys.exit(f"the summary of {binary} has no {', '.join(missing)}")
    if result["epochs"] != options.epochs:
        sys.exit(f"{binary} trained {result['epochs']} epochs instead of {options.epochs}")
    # Both count every cell once per epoch, whatever the sampler left out.
    result["cells_per_second"] = options.cells * options.epochs / result["train_seconds"]
    return chosen(result)


def chosen(result):
    return {key: result[key] for key in KEYS}


def report(pairs, settings, density, options):
    lines, ratios = [], []
    for preload_dense in settings:
        mine = [p for p in pairs if p["preload_dense"] == preload_dense]
        middle = lambda side, key: median(p[side][key] for p in mine)  # noqa: B023, E731
        ratio = lambda a, b, key: median(p[a][key] / p[b][key] for p in mine)  # noqa: B023, E731
        entry = {
            "preload_dense": preload_dense,
            "throughput": ratio("tutti", "concord-sc", "cells_per_second"),
            "peak_memory": ratio("tutti", "concord-sc", "peak_mib"),
            "wall": ratio("concord-sc", "tutti", "wall_seconds"),
        }
        ratios.append(entry)
        cells = lambda key, form: [form.format(middle(side, key)) for side in ["tutti", "concord-sc"]]  # noqa: B023, E731
        rows = [
            ["training, cells/s", *cells("cells_per_second", "{:,.0f}"), f"{entry['throughput']:.1f} x"],
            ["peak memory, MiB", *cells("peak_mib", "{:,.0f}"), f"1 / {1 / entry['peak_memory']:.1f}"],
            ["whole command, s", *cells("wall_seconds", "{:.1f}"), f"{entry['wall']:.1f} x faster"],
            ["until the first step, s", *cells("seconds_to_first_step", "{:.2f}"), ""],
        ]
        lines += [[f"preload_dense={preload_dense}", *row] for row in rows]
    shape = f"{options.cells} x {options.genes}"
    text = (
        f"# Training beside concord-sc\n\n{shape}, density {density:.3f}, {options.batches} batches, {options.epochs} epochs, hidden 1000, "
        f"latent 100, mini-batches of 256. Medians of {options.pairs} pairs; a ratio is the median of the ratios of the pairs.\n\n"
        f"Command: `python3 benches/peers/run.py train --cells {options.cells} --genes {options.genes} --density {options.density} "
        f"--epochs {options.epochs} --pairs {options.pairs} --threads {options.threads}`\n\n"
        + measure.table(["concord-sc with", "measured", "tutti", "concord-sc", "ratio"], lines)
    )
    result = {"machine": measure.machine(options.threads), "density": density, "epochs": options.epochs, "ratios": ratios, "pairs": pairs}
    measure.write(f"train_{options.cells}x{options.genes}", result, text)
