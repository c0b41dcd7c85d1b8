"""Runs one command and tells how long it took and how much memory it held; writes tables."""

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benches" / "results"
CACHE = Path(__file__).resolve().parent / ".cache"


def command(arguments, threads):
    """The command's JSON summary, wall seconds, and the peak memory of its largest process in MiB."""
    limits = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS"]
    env = os.environ | {name: str(threads) for name in limits}
    wrapper = [sys.executable, "-I", "-S", Path(__file__).with_name("peak.py")]
    reader, writer = os.pipe()
    begin = time.perf_counter()
    words = [str(a) for a in [*wrapper, writer, *arguments]]
    done = subprocess.run(words, stdout=subprocess.PIPE, env=env, text=True, pass_fds=[writer])
    wall = time.perf_counter() - begin
    os.close(writer)
    with os.fdopen(reader) as pipe:
        peak = pipe.read()
    if done.returncode != 0:
        sys.exit(f"failed with status {done.returncode}: {' '.join(str(a) for a in arguments)}")
    summary = last_object(done.stdout)
    # Linux counts in KiB. Forked loader processes of the peer are not added to its peak, which is in the peer's favour.
    return summary | {"wall_seconds": wall, "peak_mib": int(peak) / 1024}


def last_object(output):
    """The JSON object at the end of a program's output, on one line or several; none is an empty one."""
    for at in [i for i, c in enumerate(output) if c == "{" and output[:i].rpartition("\n")[2] == ""]:
        try:
            return json.loads(output[at:])
        except json.JSONDecodeError:
            continue
    return {}


def tutti(options):
    """The binary to measure."""
    if options.tutti:
        return options.tutti.resolve()
    print("building tutti with cargo build --release", file=sys.stderr)
    subprocess.run(["cargo", "build", "--release", "--bin", "tutti"], cwd=ROOT, check=True)
    return ROOT / "target" / "release" / "tutti"


def machine(threads):
    """What the numbers depend on besides the code."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    packages = ["concord-sc", "torch", "scanpy", "anndata", "scikit-learn", "numpy"]
    versions = {"python": platform.python_version()} | {name: version(name) for name in packages}
    return {"processor": model, "processors": os.cpu_count(), "threads": threads, "versions": versions}


def table(header, rows):
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows])


def write(name, result, text):
    """Stores a result as JSON and Markdown and prints the latter."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    about = result["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items())
    text = f"{text}\n\nMachine: {about['processor']}, {about['processors']} processors, {about['threads']} threads. {versions}.\n"
    (RESULTS / f"{name}.md").write_text(text)
    print(text)
