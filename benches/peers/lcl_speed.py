"""An epoch of LCL beside the same model in PyTorch, on the CPU, and the memory of `tutti lcl` by the number of pairs.

    pip install torch lightning anndata
    cargo build --bin tutti
    python benches/peers/lcl_speed.py --tutti target/debug/tutti [--cells 6000] [--genes 2000] [--pairs 5] [--epochs 3]

Both sides train the published network (1024-256-64, projection 64-32, batch norm) on the same file with the settings of the CellTag run: 50 pairs
and 5 cells without a barcode per mini-batch, gradients of 5 mini-batches together, AdamW. They run in turn (A B A B), each in a process of
its own with as many threads. PyTorch trains in two ways: by a bare loop that holds the matrix dense in memory and takes the rows of a mini-batch at
once, the fastest way where it fits; and as the published program does, by Lightning's trainer and a loader that puts the cells of a mini-batch
together one by one. Mini-batches of both are drawn before the clock starts. Seconds are those within the epochs, each side by its own clock.
"""

import argparse
import json
import math
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np

import measure

ALPHA, N_PAIRS, N_UNLABELLED, WEIGHT, TAU, ACCUMULATE = 0.04, 50, 5, 0.05, 0.5, 5


def generate(path, n_cells, n_genes, density, sizes=None):
    """Log-normalised sparse cells; lineages of log-normal size (or of `sizes`), a tenth of the cells without."""
    import anndata
    import pandas as pd
    import scipy.sparse as sp

    rng = np.random.default_rng(0)
    level = rng.lognormal(0, 1.2, n_genes)
    frequency = np.minimum(level * density * n_genes / level.sum(), 0.95)
    blocks = []
    for start in range(0, n_cells, 1000):
        n = min(1000, n_cells - start)
        seen = rng.random((n, n_genes)) < frequency
        blocks.append(sp.csr_matrix(seen * (0.2 + 2 * rng.random((n, n_genes))), dtype=np.float32))
    n_lineages = 169
    weight = np.ones(sizes) if sizes else rng.lognormal(0, 0.8, n_lineages)
    lineage = rng.choice(len(weight), n_cells, p=weight / weight.sum())
    names = np.where(rng.random(n_cells) < 0.1, "", np.char.add("l", lineage.astype(str)))
    obs = pd.DataFrame({"lineage": names}, index=[f"c{i}" for i in range(n_cells)])
    anndata.AnnData(sp.vstack(blocks, format="csr"), obs=obs, var=pd.DataFrame(index=[f"g{j}" for j in range(n_genes)])).write_h5ad(path)


def mini_batches(lineage, rng):
    """One pair each of 50 distinct lineages until all pairs are drawn, filled by others at the end."""
    members = [np.flatnonzero(lineage == name) for name in np.unique(lineage) if name]
    members = [m for m in members if len(m) > 1]
    left = np.array([max(math.ceil(ALPHA * len(m) * (len(m) - 1) / 2), math.ceil(len(m) / 2)) for m in members])
    without, n = np.flatnonzero(lineage == ""), min(N_PAIRS, len(members))
    out = []
    while left.any():
        own = rng.permutation(np.flatnonzero(left))[:n]
        left[own] -= 1
        others = rng.permutation(np.setdiff1d(np.arange(len(members)), own))[: n - len(own)]
        pairs = np.array([rng.choice(members[k], 2, replace=False) for k in np.concatenate([own, others])])
        out.append(np.concatenate([pairs[:, 0], pairs[:, 1], rng.choice(without, N_UNLABELLED, replace=False)]))
    return out


def network(n_genes):
    """The published network, and AdamW's groups: biases and the scales of batch norm do not decay."""
    import torch

    dims = [n_genes, 1024, 256, 64]
    layers = [m for a, b in zip(dims, dims[1:]) for m in (torch.nn.Linear(a, b), torch.nn.BatchNorm1d(b), torch.nn.ReLU())]
    head = [torch.nn.Linear(64, 64), torch.nn.BatchNorm1d(64), torch.nn.ReLU(), torch.nn.Linear(64, 32), torch.nn.BatchNorm1d(32)]
    model = torch.nn.Sequential(*layers, *head)
    decayed = [p for p in model.parameters() if p.dim() > 1]
    return model, [{"params": decayed, "weight_decay": 1e-6}, {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0}]


def loss_of(z):
    """NT-Xent of the pairs and the entropy penalty of the cells behind them."""
    import torch
    from torch.nn import functional as F

    z = F.normalize(z, dim=1)
    n = (len(z) - N_UNLABELLED) // 2
    labelled = z[: 2 * n]
    similarity = labelled @ labelled.T / TAU
    similarity.fill_diagonal_(float("-inf"))
    p = F.softmax(z[2 * n :] @ labelled.T / TAU, dim=1)
    entropy = -(p * torch.log(p + 1e-8)).sum(dim=1).mean()
    return F.cross_entropy(similarity, torch.arange(2 * n).roll(n)) + WEIGHT * entropy


def bare_loop(x, drawn):
    """Mean loss of each epoch."""
    import torch

    model, groups = network(x.shape[1])
    optimizer, losses = torch.optim.AdamW(groups, lr=3e-4, fused=True), []
    for batches in drawn:
        total = 0.0
        for i, rows in enumerate(batches):
            loss = loss_of(model(x[torch.from_numpy(rows)]))
            (loss / ACCUMULATE).backward()
            total += loss.item()
            if (i + 1) % ACCUMULATE == 0 or i + 1 == len(batches):
                optimizer.step()
                optimizer.zero_grad()
        losses.append(total / len(batches))
    return losses


def lightning_loop(x, drawn):
    """The same by Lightning and a loader, with their defaults; nothing is logged or written."""
    import lightning
    import torch

    class Lcl(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model, self.groups = network(x.shape[1])
            self.losses = []

        def training_step(self, batch, _):
            loss = loss_of(self.model(batch))
            self.losses.append(loss.detach())
            return loss

        def configure_optimizers(self):
            return torch.optim.AdamW(self.groups, lr=3e-4)

    model = Lcl()
    loader = torch.utils.data.DataLoader(x, batch_sampler=[rows.tolist() for batches in drawn for rows in batches])
    quiet = {name: False for name in ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")}
    lightning.Trainer(max_epochs=1, accelerator="cpu", accumulate_grad_batches=ACCUMULATE, **quiet).fit(model, loader)
    ends = np.cumsum([0] + [len(batches) for batches in drawn])
    return [float(torch.stack(model.losses[a:b]).mean()) for a, b in zip(ends, ends[1:])]


def train_torch(path, epochs, threads, loop):
    import anndata
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    data = anndata.read_h5ad(path)
    x = torch.from_numpy(data.X.toarray())
    lineage, rng = data.obs["lineage"].astype(str).to_numpy(), np.random.default_rng(0)
    drawn = [mini_batches(lineage, rng) for _ in range(epochs)]
    started, cpu = time.perf_counter(), time.process_time()
    losses = loop(x, drawn)
    print(json.dumps({"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu,
                      "mini_batches": sum(map(len, drawn)) / epochs, "losses": losses}))


def ours(binary, path, options, *more):
    arguments = [binary, "lcl", path, "--lineage", "lineage", "--preset", "cell-tag", "--set", "train_frac=1", "--hvg", 0, "--n-epochs", options.epochs]
    arguments += ["--threads", options.threads, "--quiet", "--json", "-o", path.with_name("out.csv"), *more]
    said = measure.command(arguments, options.threads)
    rows = said["cells_per_second"] * said["train_seconds"]
    return {"seconds": said["train_seconds"], "mini_batches": rows / (2 * N_PAIRS + N_UNLABELLED) / options.epochs, "peak_mib": said["peak_mib"],
            "losses": [e["loss"] for e in said["history"]["epochs"]]}


def speed(options, folder):
    path, shape = folder / "cells.h5ad", f"{options.cells:,} cells x {options.genes:,} genes"
    generate(path, options.cells, options.genes, options.density)
    sides, runs = ["tutti", "PyTorch, bare loop", "PyTorch, Lightning"], []
    for _ in range(options.pairs):
        words = [sys.executable, __file__, "--epochs", options.epochs, "--threads", options.threads]
        peers = [measure.command([*words, way, path], options.threads) for way in ("--torch", "--lightning")]
        runs.append([ours(options.tutti, path, options), *peers])
        print(runs[-1], file=sys.stderr, flush=True)
    per_batch = [[1e3 * r[s]["seconds"] / r[s]["mini_batches"] / options.epochs for r in runs] for s in range(3)]
    lines = []
    for s, name in enumerate(sides):
        middle = lambda key: median(r[s][key] for r in runs)  # noqa: B023, E731
        ratios = sorted(b / a for a, b in zip(per_batch[0], per_batch[s]))
        lines.append([name, f"{middle('mini_batches'):.0f}", f"{median(per_batch[s]):.2f}", f"{median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})",
                      f"{middle('peak_mib'):,.0f}", " ".join(f"{loss:.3f}" for loss in runs[-1][s]["losses"])])
    head = ["", "mini-batches per epoch", "ms per mini-batch", "times tutti's", "peak memory, MiB", "loss by epoch"]
    return f"{shape}, density {options.density}, {options.threads} threads, medians of {options.pairs} runs of {options.epochs} epochs in turn:\n\n" + measure.table(head, lines)


def memory(options, folder):
    """Peak memory of an epoch by the share of pairs, in 4,000 cells of 4 lineages."""
    path = folder / "few.h5ad"
    generate(path, 4000, 500, 0.1, sizes=4)
    once, lines = argparse.Namespace(**{**vars(options), "epochs": 1}), []
    for share in (0.001, 0.01, 0.1):
        found = ours(options.tutti, path, once, "--size-factor", share, "--set", "encoder_dims=[64]")
        pairs = 4 * share * 900 * 899 / 2
        lines.append([share, f"{pairs:,.0f}", f"{found['peak_mib']:,.0f}", f"{pairs * 2 * 500 * 4 / 2**20:,.0f}"])
    return measure.table(["share of the pairs", "pairs, about", "peak memory, MiB", "expression of all pairs would take, MiB"], lines)


parser = argparse.ArgumentParser()
parser.add_argument("--tutti", type=Path)
for way in ("--torch", "--lightning"):
    parser.add_argument(way, type=Path, help=argparse.SUPPRESS)
parser.add_argument("--memory", action="store_true", help="the table of memory too")
for name, default in {"cells": 6000, "genes": 2000, "pairs": 5, "epochs": 3, "threads": 2}.items():
    parser.add_argument(f"--{name}", type=int, default=default)
parser.add_argument("--density", type=float, default=0.1)
given = parser.parse_args()
if given.torch or given.lightning:
    train_torch(given.torch or given.lightning, given.epochs, given.threads, bare_loop if given.torch else lightning_loop)
else:
    import tempfile

    given.tutti = measure.tutti(given)
    with tempfile.TemporaryDirectory() as folder:
        print(speed(given, Path(folder)), end="\n\n")
        if given.memory:
            print(memory(given, Path(folder)), end="\n\n")
    print(f"torch {version('torch')}, numpy {version('numpy')}.")
