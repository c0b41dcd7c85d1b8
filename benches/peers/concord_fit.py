"""Fits concord-sc on one h5ad file in a process of its own and prints what it took as one JSON object.

Called by train.py and quality.py, so that peak memory and start-up belong to this run alone.
"""

import argparse
import json
import logging
import time

started = time.time()

import anndata  # noqa: E402  (imports are part of what a user waits for)
import numpy as np  # noqa: E402
import torch  # noqa: E402
from concord import Concord  # noqa: E402
from concord.model.trainer import Trainer  # noqa: E402

# The authors' presets: the published default, and neighbourhood sampling without hard negatives.
PRESETS = {
    "hard-negative": {},
    "knn": {"p_intra_knn": 0.3, "clr_beta": 0.0, "p_intra_domain": 0.95, "clr_temperature": 0.5},
}


def timed(name, record):
    """Replaces a method of the peer's Trainer by one that adds its time to `record`."""
    method = getattr(Trainer, name)

    def wrapper(*args, **kwargs):
        record.setdefault("first", time.time())
        begin = time.perf_counter()
        try:
            return method(*args, **kwargs)
        finally:
            record["seconds"] = record.get("seconds", 0.0) + time.perf_counter() - begin

    setattr(Trainer, name, wrapper)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("--batch", required=True)
    parser.add_argument("--preset", choices=PRESETS, default="hard-negative")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--preload-dense", action="store_true")
    parser.add_argument("--launched", type=float, default=started, help="when the caller started this process")
    parser.add_argument("--output", help="npy file for the embedding")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(options.threads)

    epoch, step = {}, {}
    timed("train_epoch", epoch)
    timed("forward_pass", step)
    adata = anndata.read_h5ad(options.input)
    model = Concord(
        adata,
        save_dir=None,
        domain_key=options.batch,
        n_epochs=options.epochs,
        seed=options.seed,
        preload_dense=options.preload_dense,
        device=torch.device("cpu"),
        **PRESETS[options.preset],
    )
    model.fit_transform(output_key="Concord")
    if options.output:
        np.save(options.output, np.asarray(adata.obsm["Concord"], dtype=np.float32))
    print(
        json.dumps(
            {
                "train_seconds": epoch["seconds"],
                "cells_per_second": adata.n_obs * options.epochs / epoch["seconds"],
                "seconds_to_first_step": step["first"] - options.launched,
                "epochs": options.epochs,
            }
        )
    )


if __name__ == "__main__":
    main()
