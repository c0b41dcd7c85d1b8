#!/usr/bin/env python3
"""Runs Tutti beside other tools on the same data, in pairs. `run.py train --help`, `run.py quality --help`.

Only the standard library is needed to start: the peers are installed into benches/peers/.venv at the first call. An
environment that already has them is taken from TUTTI_PEER_VENV.
"""

import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"


def environment() -> Path:
    """The Python of the peers' environment, made and filled where it is missing."""
    own = HERE / ".venv"
    root = Path(os.environ.get("TUTTI_PEER_VENV", own))
    python = root / "bin" / "python"
    if "TUTTI_PEER_VENV" in os.environ:
        if not python.exists():
            sys.exit(f"TUTTI_PEER_VENV={root} has no bin/python; unset it to let this program make its own environment")
        return python
    stamp = root / "installed.txt"
    if stamp.exists() and stamp.read_text() == REQUIREMENTS.read_text():
        return python
    print(f"installing the peers into {root} (about 6 GB with torch, once):\n{REQUIREMENTS.read_text()}", file=sys.stderr)
    try:
        venv.create(root, with_pip=True)
    except subprocess.CalledProcessError:
        sys.exit("could not make a Python environment; on Debian and Ubuntu: apt install python3-venv")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS], check=True)
    stamp.write_text(REQUIREMENTS.read_text())
    return python


def tutti_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tutti", type=Path, help="the binary to measure; without it one is built with cargo build --release")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="for both sides (all processors)")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="training throughput, peak memory and time to the first step")
    tutti_options(train)
    train.add_argument("--cells", type=int, default=6000)
    train.add_argument("--genes", type=int, default=2000)
    train.add_argument("--density", type=float, default=0.08, help="share of values that are not zero")
    train.add_argument("--batches", type=int, default=3)
    train.add_argument("--epochs", type=int, default=6)
    train.add_argument("--pairs", type=int, default=3, help="times A and B are run in alternation")
    train.add_argument("--preload-dense", choices=["both", "false", "true"], default="both", help="setting of concord-sc")

    quality = commands.add_parser("quality", help="integration scores on real data, mean over seeds")
    tutti_options(quality)
    quality.add_argument("--data-dir", type=Path, default=HERE.parent.parent.parent / "shared" / "data", help="folder of the two h5ad files")
    quality.add_argument("--seeds", type=int, default=5)
    quality.add_argument("--peers-only", action="store_true", help="leave Tutti out")
    quality.add_argument("--method", choices=["hard-negative", "knn"], default="hard-negative", help="preset of both sides")
    return parser


def main() -> None:
    arguments().parse_args()  # --help and mistakes are answered before anything is installed
    python = environment()
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); import run; run.inside()"
    sys.exit(subprocess.run([python, "-c", code, HERE, *sys.argv[1:]]).returncode)


def inside() -> None:
    """The second half, run by the peers' Python."""
    options = arguments().parse_args()
    if options.command == "train":
        import train

        train.run(options)
    else:
        import quality

        quality.run(options)


if __name__ == "__main__":
    main()
