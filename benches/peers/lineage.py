"""LCL beside principal components, an autoencoder and logistic regression: lineages of held-out cells, lineages never seen, fates.

    pip install torch scikit-learn anndata
    cargo build --bin tutti
    python benches/peers/lineage.py --tutti target/debug/tutti --data-dir shared/data [--seeds 5] [--only NAME,...]

Simulated cells are drawn anew for every seed; of real ones, the split and all draws. Every method sees the same cells, genes (log-normalised) and
splits. Writes benches/results/lcl.json and lcl.md: means with 95 % intervals over seeds (Student's t), and of the differences to
principal components, seed by seed.
"""

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")

import anndata
import numpy as np
import scipy.sparse as sp
from scipy.stats import t as student

import lineage_baselines as baselines

RESULTS = Path(__file__).resolve().parents[1] / "results"
WEAK = {"n_cells": 1500, "n_genes": 300, "n_clones": 20, "clone_spread": 0.3, "memory": 0.7, "n_fates": 12, "fate_concentration": 5.0}
FATES = {"n_cells": 2000, "n_genes": 300, "n_clones": 50, "clone_spread": 0.3, "memory": 0.5, "n_fates": 3, "fate_concentration": 0.3}


def small(n_epochs, size_factor):
    """Settings for some hundred or thousand cells."""
    flags = ["--n-epochs", n_epochs, "--size-factor", size_factor, "--lr", "0.001", "--entropy-weight", "0.05"]
    return [*flags, *(part for s in ("encoder_dims=[64, 32]", "accumulate=1", "weight_decay=0.3") for part in ("--set", s))]


SETTINGS = {
    "LCL, shallow": ["--preset", "shallow", "--n-epochs", 10, "--size-factor", 0.15],
    "LCL, small": small(20, 0.15),
    "LCL, small, transductive": [*small(20, 0.15), "--mode", "transductive"],
}
# Real lineages are small and give few pairs: more epochs. `published` are the defaults; on simulated cells they take minutes per run.
FEW = {
    "LCL, shallow": ["--preset", "shallow", "--size-factor", 1],
    "LCL, small": small(100, 1),
    "LCL, small, transductive": [*small(100, 1), "--mode", "transductive"],
    "LCL, published": [],
}

# What `shallow` changes of the published network, put back one by one.
BACK = {
    "shallow": [],
    "with a normalised head": ["projection_norm=batch_norm"],
    "with a hidden layer in the head": ["projection_dims=[64]"],
    "with three layers in the encoder": ["encoder_dims=[1024, 256, 64]"],
    "with all three": ["projection_norm=batch_norm", "projection_dims=[64]", "encoder_dims=[1024, 256, 64]"],
}
BACK = {name: [*FEW["LCL, shallow"], *(part for s in back for part in ("--set", s))] for name, back in BACK.items()}

parser = argparse.ArgumentParser()
parser.add_argument("--tutti", default="target/debug/tutti")
parser.add_argument("--data-dir", type=Path)
parser.add_argument("--seeds", type=int, default=5)
parser.add_argument("--only", default="")
options = parser.parse_args()


def tutti(*arguments):
    return subprocess.run([options.tutti, *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def simulated(folder, seed, spec, **changes):
    """Log-normalised barcoded cells; `lineage` is the barcode where it was read, `clone` always."""
    spec = {**spec, **changes}
    own = {key: spec.pop(key) for key in ("n_cells", "n_genes")}
    lines = [f"{key} = {value}" for key, value in {**own, "seed": seed}.items()]
    lines += ["[structure]", 'kind = "lineage"', *(f"{key} = {value}" for key, value in spec.items())]
    lines += ["[noise]", 'distribution = "negative_binomial"', "dispersion = 0.5"]
    (folder / "spec.toml").write_text("\n".join(lines))
    tutti("simulate", folder / "spec.toml", "-o", folder / "raw.h5ad", "--layers", "none", "--quiet")
    data = anndata.read_h5ad(folder / "raw.h5ad")
    data.obs["lineage"] = data.obs["barcode"].astype(object)
    return prepared(data, folder)


def real(folder, name, n_genes=2000):
    data = anndata.read_h5ad(options.data_dir / name)
    clone = data.obs["clone"].astype(object).to_numpy()
    data.obs["lineage"] = np.where(np.isin(clone.astype(str), ["", "nan"]), None, clone)
    data.obs["clone"] = data.obs["lineage"]
    return prepared(data, folder, n_genes)


def prepared(data, folder, n_genes=None):
    """Scaled to 10,000 per cell and log-transformed, the most variable genes, written for the program."""
    x = sp.csr_matrix(data.X, dtype=np.float64)
    x = sp.diags_array(1e4 / np.maximum(np.asarray(x.sum(axis=1)).ravel(), 1)) @ x
    x.data = np.log1p(x.data)
    dense = x.toarray().astype(np.float32)
    if n_genes and n_genes < dense.shape[1]:
        keep = np.sort(np.argsort(-dense.var(axis=0), kind="stable")[:n_genes])
        data, dense = data[:, keep].copy(), dense[:, keep]
    obs = data.obs[[c for c in ("lineage", "clone", "day", "time", "cell_type") if c in data.obs]].copy()
    for column in obs:
        if obs[column].dtype == object:
            obs[column] = obs[column].where(obs[column].notna(), "").astype(str)
    anndata.AnnData(sp.csr_matrix(dense), obs=obs, var=data.var[[]]).write_h5ad(folder / "cells.h5ad")
    return dense, obs


def lcl(folder, seed, split, settings):
    """Embedding, which cells are test cells, seconds and epochs of training."""
    out = folder / "out.h5ad"
    said = tutti("lcl", folder / "cells.h5ad", "--lineage", "lineage", "--hvg", 0, "--seed", seed, "--quiet", "--json", "-o", out, *split, *settings)
    said = json.loads(said)
    data = anndata.read_h5ad(out)
    return data.obsm["X_lcl"], (data.obs["lcl_split"] == "test").to_numpy(), said["train_seconds"], said["epochs"]


def within(load, seed, folder, split, settings):
    """Lineages of held-out cells: errors by method."""
    x, obs = load(folder, seed)
    lineage = obs["lineage"].astype(str).to_numpy()
    out, times = {}, {}
    for name, flags in settings.items():
        z, test, times[name], _ = lcl(folder, seed, split, flags)
        known = np.flatnonzero(~test & (lineage != ""))
        asked = np.flatnonzero(test & np.isin(lineage, lineage[known]))
        out[name + ", 5 neighbours"] = baselines.neighbours(z, lineage, known, asked)
    train = np.flatnonzero(~test)
    pcs = baselines.components(x, train, seed)
    out["principal components, 5 neighbours"] = baselines.neighbours(pcs, lineage, known, asked)
    out["autoencoder, 5 neighbours"] = baselines.neighbours(baselines.autoencoder(x, train, seed), lineage, known, asked)
    out["logistic regression on components"] = baselines.regression(pcs, lineage, known, asked)
    out["logistic regression on genes"] = baselines.regression(x, lineage, known, asked)
    largest = Counter(lineage[known]).most_common(1)[0][0]
    out["largest lineage"] = float(np.mean(lineage[asked] != largest))
    return out, {"test cells": len(asked), "lineages": len(set(lineage[asked])), "seconds": times}


def whole(load, seed, folder, split, settings):
    """Lineages that were never seen: AUROC of pairs of their cells, and how often every second cell is taken for another lineage by the others."""
    x, obs = load(folder, seed)
    lineage = obs["lineage"].astype(str).to_numpy()
    auroc, error = {}, {}

    def add(name, z, cells):
        auroc[name] = baselines.pair_auroc(z, lineage, cells)
        asked = cells[1::2][np.isin(lineage[cells[1::2]], lineage[cells[::2]])]
        error[name] = baselines.neighbours(z, lineage, cells[::2], asked)

    for name, flags in settings.items():
        z, test, _, _ = lcl(folder, seed, split, flags)
        cells, train = np.flatnonzero(test), np.flatnonzero(~test)
        add(name, z, cells)
    add("principal components", baselines.components(x, train, seed), cells)
    add("autoencoder", baselines.autoencoder(x, train, seed), cells)
    add("all genes", x - x[train].mean(axis=0), cells)
    return {"AUROC": auroc, "error": error}, {"test cells": len(cells), "lineages": len(set(lineage[cells]))}


def targets(obs, early, last, min_final):
    """Early cells of lineages with enough final cells, and the shares of their lineages' final types, smoothed by 0.001."""
    time = obs["day" if "day" in obs else "time"].astype(str).to_numpy()
    lineage, kind = obs["lineage"].astype(str).to_numpy(), obs["cell_type"].astype(str).to_numpy()
    final = np.flatnonzero((time == last) & (lineage != ""))
    names = np.unique(kind[final])
    shares = np.zeros((len(obs), len(names)))
    fit = np.zeros(len(obs), bool)
    for name in np.unique(lineage[final]):
        of = final[lineage[final] == name]
        if len(of) >= min_final:
            here = np.flatnonzero((lineage == name) & np.isin(time, early))
            share = np.array([np.mean(kind[of] == k) for k in names]) + 1e-3
            shares[here], fit[here] = share / share.sum(), True
    return shares, fit


def fate(load, seed, folder, split, settings, times):
    """Fates of early cells that were held out: divergence and share of right largest fates by method."""
    x, obs = load(folder, seed)
    shares, fit = targets(obs, *times)
    kl, right = {}, {}
    for name, flags in settings.items():
        z, test, _, _ = lcl(folder, seed, split, flags)
        known, asked = np.flatnonzero(fit & ~test), np.flatnonzero(fit & test)
        kl[name], right[name] = baselines.fates(z, shares, known, asked)
    train = np.flatnonzero(~test)
    pcs = baselines.components(x, train, seed)
    kl["principal components"], right["principal components"] = baselines.fates(pcs, shares, known, asked)
    kl["autoencoder"], right["autoencoder"] = baselines.fates(baselines.autoencoder(x, train, seed), shares, known, asked)
    kl["all genes"], right["all genes"] = baselines.fates(x, shares, known, asked)
    mean = np.tile(shares[known].mean(axis=0), (len(asked), 1))
    kl["mean of the known"], right["mean of the known"] = baselines.divergence(shares[asked], mean)
    return {"KL": kl, "right": right}, {"test cells": len(asked), "early cells": int(fit.sum())}


def decoder(load, seed, folder, settings, times):
    """Fates by the program's own decoder, tested on a fifth of the lineages; LCL has seen the barcodes of these, though no fates."""
    x, obs = load(folder, seed)
    early, last, min_final = times
    flags = ["--time", "day" if "day" in obs else "time", "--fate", "cell_type", "--min-final", min_final]
    # Days as numbers: the first and the last are the defaults.
    flags += [] if "day" in obs else ["--final", last, *(f for t in early for f in ("--early", t))]
    kl, right = {}, {}

    def add(name, found):
        kl[name], right[name] = found["kl"], found["right"]

    cells, out = folder / "cells.h5ad", folder / "z.csv"
    for name, chosen in settings.items():
        words = ["lcl", cells, "--lineage", "lineage", "--hvg", 0, "--seed", seed, "--quiet", "--json", "-o", out, *chosen, *flags]
        found = json.loads(tutti(*words))["fate"]
        add(name, found["held_out"])
    everyone = np.arange(len(x))
    others = {"principal components": baselines.components(x, everyone, seed), "autoencoder": baselines.autoencoder(x, everyone, seed), "all genes": x}
    for name, z in others.items():
        rows = (",".join([cell, *(f"{v:.6g}" for v in row)]) for cell, row in zip(obs.index, z))
        out.write_text("\n".join([",".join(["cell", *(f"d{j}" for j in range(z.shape[1]))]), *rows]))
        words = ["fate", cells, "--lineage", "lineage", "--embedding", out, "-o", folder / "f.csv", "--json", *flags]
        add(name, json.loads(tutti(*words))["held_out"])
    mean = found["held_out"]
    add("mean of the known", {"kl": mean["kl_of_mean"], "right": mean["right_of_mean"]})
    return {"KL": kl, "right": right}, {"test cells": mean["n_cells"], "early cells": found["n_early"]}


inductive, few_inductive = ({name: s for name, s in of.items() if "transductive" not in name} for of in (SETTINGS, FEW))
cells, lineages = ["--split", "within"], ["--split", "whole", "--test-share", "0.25"]
sim = lambda spec, **changes: lambda folder, seed: simulated(folder, seed, spec, **changes)  # noqa: E731
larry = lambda folder, seed: real(folder, "larry_hematopoiesis_subset.h5ad")  # noqa: E731
mesc = lambda folder, seed: real(folder, "mesc_lineage_barcoded.h5ad")  # noqa: E731
some = lambda n, share: [*cells, "--test-min-cells", n, "--test-share", share]  # noqa: E731
DAYS, LARRY_DAYS = (["2.0"], "6.0", 5), (["day2", "day4"], "day6", 2)
# Name: what is asked, what a number is, whether more is better, and how it is measured.
EXPERIMENTS = {
    "within_5": ("Held-out cells, simulated, 5 % of the genes inherited", "error", lambda *a: within(sim(WEAK, memory_gene_fraction=0.05), *a, cells, SETTINGS)),
    "within_2": ("Held-out cells, simulated, 2 % of the genes inherited", "error", lambda *a: within(sim(WEAK, memory_gene_fraction=0.02), *a, cells, inductive)),
    "within_20": ("Held-out cells, simulated, 20 % of the genes inherited", "error", lambda *a: within(sim(WEAK, memory_gene_fraction=0.2), *a, cells, inductive)),
    "unseen_5": ("Lineages never seen, simulated, 5 % of the genes inherited", "unseen", lambda *a: whole(sim(WEAK, memory_gene_fraction=0.05), *a, lineages, inductive)),
    "unseen_20": ("Lineages never seen, simulated, 20 % of the genes inherited", "unseen", lambda *a: whole(sim(WEAK, memory_gene_fraction=0.2), *a, lineages, inductive)),
    "fate_cells": ("Fates, simulated, day 2 to 6, held-out cells of known lineages", "fates", lambda *a: fate(sim(FATES), *a, [*cells, "--test-share", "0.2"], inductive, DAYS)),
    "fate_lineages": ("Fates, simulated, day 2 to 6, lineages never seen", "fates", lambda *a: fate(sim(FATES), *a, lineages, inductive, DAYS)),
    "fate_decoder": ("Fates, simulated, day 2 to 6, lineages of which barcodes were seen but no fates, by `tutti fate`", "fates", lambda *a: decoder(sim(FATES), *a, inductive, DAYS)),
    "larry_fate_decoder": ("LARRY subset, fates at day 6, clones of which barcodes were seen but no fates, by `tutti fate`", "fates", lambda *a: decoder(larry, *a, few_inductive, LARRY_DAYS)),
    "larry_within": ("LARRY subset, held-out cells (a fifth of each clone of 4 or more)", "error", lambda *a: within(larry, *a, some(4, 0.2), FEW)),
    "larry_unseen": ("LARRY subset, clones never seen", "unseen", lambda *a: whole(larry, *a, lineages, few_inductive)),
    "larry_parts": ("LARRY subset, clones never seen, parts of the published network put back", "unseen", lambda *a: whole(larry, *a, lineages, BACK)),
    "larry_fate_cells": ("LARRY subset, fates of cells of days 2 and 4 at day 6, held-out cells", "fates", lambda *a: fate(larry, *a, some(3, 0.25), few_inductive, LARRY_DAYS)),
    "larry_fate_lineages": ("LARRY subset, fates of cells of days 2 and 4 at day 6, clones never seen", "fates", lambda *a: fate(larry, *a, lineages, few_inductive, LARRY_DAYS)),
    "mesc_within": ("mESC, held-out cells (one of each lineage of 3 to 5)", "error", lambda *a: within(mesc, *a, some(3, 0.2), FEW)),
    "mesc_unseen": ("mESC, lineages never seen", "unseen", lambda *a: whole(mesc, *a, lineages, few_inductive)),
    "mesc_parts": ("mESC, lineages never seen, parts of the published network put back", "unseen", lambda *a: whole(mesc, *a, lineages, BACK)),
}


def interval(values):
    values = np.asarray(values, float)
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{values.mean():.3f} ± {half:.3f}"


def rows(by_method, reference):
    return [(name, interval(values), "" if name == reference else interval(np.subtract(values, by_method[reference])))
            for name, values in by_method.items()]


# What a kind measures: the numbers, and how to read them.
PARTS = {
    "error": ((), "Less is better."),
    "unseen": (("AUROC", "error"), "More is better for the AUROC of pairs, less for the error of five neighbours of every second cell among the others."),
    "fates": (("KL", "right"), "Less is better for the divergence (KL, nats), more for the share of right largest fates."),
}


def table(title, kind, runs):
    facts = {key: sorted({r[1][key] for r in runs}) for key in runs[0][1] if key != "seconds"}
    said = ", ".join(f"{v[0]} {k}" if len(v) == 1 else f"{v[0]} to {v[-1]} {k}" for k, v in facts.items())
    parts, reading = PARTS[kind]
    lines = [f"### {title}", "", f"{said}, {len(runs)} seeds. {reading}", ""]
    found = [{kind: r[0]} if not parts else r[0] for r in runs]
    columns = []
    for part in parts or (kind,):
        reference = next(n for n in found[0][part] if n.startswith("principal"))
        columns.append(rows({name: [f[part][name] for f in found] for name in found[0][part]}, reference))
    lines += ["| method |" + "".join(f" {part} | less principal components |" for part in parts or (kind,)), "|---|" + "---|---|" * len(columns)]
    lines += [f"| {of[0][0]} |" + "".join(f" {mean} | {less} |" for _, mean, less in of) for of in zip(*columns)]
    return "\n".join(lines) + "\n"


store = RESULTS / "lcl.json"
results = json.loads(store.read_text()) if store.exists() else {}
wanted = options.only.split(",") if options.only else list(EXPERIMENTS)
for name in wanted:
    title, kind, measure = EXPERIMENTS[name]
    runs = []
    for seed in range(options.seeds):
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            runs.append(measure(seed, Path(folder)))
        print(f"{name}, seed {seed}: {time.perf_counter() - started:.0f} s {runs[-1]}", flush=True)
    results[name] = {"title": title, "kind": kind, "runs": runs}
    store.write_text(json.dumps(results, indent=1) + "\n")
made = [name for name in EXPERIMENTS if name in results]
text = "\n".join(table(results[n]["title"], results[n]["kind"], results[n]["runs"]) for n in made)
versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "scikit-learn", "numpy"))
about = f"\nMachine: {platform.machine()}, {os.cpu_count()} processors. {versions}.\n"
page = RESULTS / "lcl.md"
head = page.read_text().split("<!-- tables -->")[0] if page.exists() else "# LCL beside other methods\n\n"
page.write_text(head + "<!-- tables -->\n\n" + text + about)
