#!/usr/bin/env python3
"""How long a notebook lets its reader wait: notebook.py [ROUNDS] [KERNEL...], with a Python that has jupyter_client, and the kernels installed
for it. Prints a table: from the start of the kernel to the answer of the first cell, and a cell that calls the prelude, sent at once and, by
a second kernel, after as long as it takes to type it. Load before and after stands below."""

import os
import statistics
import sys
import time

from jupyter_client.manager import KernelManager

FIRST = "1 + 1"
CALL = 'let cells = simulate("three_clusters")?;\ncells'
LATER = "cells.n_cells()"
# Seconds in which a short cell is typed.
TYPING = 4
TRAINING = "let model = concord(&cells).no_batch().n_epochs(100000).train()?;"


def answer(client, code, stop=None):
    """Seconds until idle; with `stop`, those after an interrupt that is sent once something is shown."""
    started = time.time()
    request = client.execute(code)
    while True:
        message = client.get_iopub_msg(timeout=600)
        if message["parent_header"].get("msg_id") != request:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "update_display_data" and stop:
            stop()
            stop, started = None, time.time()
        if kind == "error" and "interrupted" not in content["ename"]:
            sys.exit(f"{code}: {content['evalue']}")
        if kind == "status" and content["execution_state"] == "idle":
            client.get_shell_msg(timeout=60)
            return time.time() - started


def start(kernel):
    manager = KernelManager(kernel_name=kernel)
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=300)
    answer(client, FIRST)
    return manager, client


def one_round(kernel):
    started = time.time()
    manager, client = start(kernel)
    times = {"kernel start and first cell": time.time() - started}
    if kernel == "tutti":
        times["first cell that calls the prelude"] = answer(client, CALL)
        times["a later one"] = statistics.median(answer(client, LATER) for _ in range(5))
        times["interrupt of a training"] = answer(client, TRAINING, manager.interrupt_kernel)
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    if kernel == "tutti":
        manager, client = start(kernel)
        time.sleep(TYPING)
        times["first cell that calls the prelude, typed"] = answer(client, CALL)
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return times


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    kernels = sys.argv[2:] or ["tutti"]
    seen = {kernel: [] for kernel in kernels}
    load = os.getloadavg()[0]
    # In turn, so that other work on the machine slows all alike.
    for _ in range(rounds):
        for kernel in kernels:
            seen[kernel].append(one_round(kernel))
    print(f"| kernel | measured | median, s | least | most |\n|---|---|---|---|---|")
    for kernel in kernels:
        for name in seen[kernel][0]:
            values = [times[name] for times in seen[kernel]]
            print(f"| {kernel} | {name} | {statistics.median(values):.2f} | {min(values):.2f} | {max(values):.2f} |")
    print(f"\nload {load:.1f} before, {os.getloadavg()[0]:.1f} after, on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
