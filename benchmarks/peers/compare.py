#!/usr/bin/env python3
"""Runs ladarts and its peers in turn and prints their times side by side: see scripts/bench_peers.sh."""
import argparse
import datetime
import json
import os
import subprocess
import sys

LADARTS = os.path.join(os.environ["BUILD"], "ladarts")
MLP_FIT = os.path.join(os.environ["BUILD"], "benchmarks", "mlp_fit_bench")
PYTHON = os.environ["PEER_PYTHON"]
NETWORKS = ("DARTS_V2", "PC_DARTS_cifar")
# The peer's memory stays with it between steps.
PEER_HEAP = {"MALLOC_MMAP_THRESHOLD_": str(8 << 30), "MALLOC_TRIM_THRESHOLD_": str(16 << 30)}


def run(command, extra=None):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(extra or {})})
    if done.returncode != 0:
        sys.exit(f"bench_peers: {' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def peer(script, *arguments):
    return run([PYTHON, f"benchmarks/peers/{script}", *arguments], PEER_HEAP)


def ladarts(*arguments):
    return run([LADARTS, "bench", *arguments, "--json", "--quiet"])


class Row:
    """One line: the least milliseconds of each peer and of ladarts over the rounds, and what ladarts says of itself."""

    def __init__(self, name, goal):
        self.name, self.goal = name, goal
        self.peers, self.ours, self.facts = {}, None, {}

    def peer_ms(self, name, ms):
        self.peers[name] = min(ms, self.peers.get(name, ms))

    def ours_ms(self, ms, facts=None):
        if self.ours is None or ms < self.ours:
            self.ours, self.facts = ms, facts or {}

    def json(self):
        best = min(self.peers, key=self.peers.get)
        return {"row": self.name, "peers": self.peers, "fastest_peer": best, "ladarts": self.ours,
                "ratio": self.peers[best] / self.ours, "goal": self.goal, **self.facts}


def memory_row(rows, work, theirs, ours):
    label = f"{work}: peak memory [MiB]"
    row = rows.setdefault(label, Row(label, 4))
    for form, report in theirs.items():
        row.peer_ms(form, report["peak_rss_mib"])
    row.ours_ms(ours["peak_rss_mib"])


def in_each_form(compiled, script, *arguments):
    """PyTorch at its best: its fastest layout depends on the network, so both are tried."""
    forms = {"PyTorch": [], "PyTorch, channels last": ["--channels-last"]}
    if compiled:
        forms["PyTorch, channels last, compiled"] = ["--channels-last", "--compile"]
    return {form: peer(script, *arguments, *more) for form, more in forms.items()}


FACTS = ("gflop", "gbytes_moved", "floor_ms", "share_of_floor", "ops", "arena_mib")


def search(rows, threads, compiled, k, batch, goal):
    name = f"{'PC-DARTS' if k > 1 else 'DARTS'}, batch {batch}"

    def row(label, wanted):
        return rows.setdefault(f"{name}: {label}", Row(f"{name}: {label}", wanted))

    steps = {s: row(f"{s.replace('_', ' ')} [ms]", goal) for s in ("weight_step", "architecture_step")}
    theirs = in_each_form(compiled, "pytorch_supernet.py", "--threads", threads, "--partial-k", str(k), "--batch",
                          str(batch))
    # 20 runs: PyTorch's 5 take some 20 seconds, and the least of a tenth of that may miss all fast ones of a machine.
    ours = ladarts("step", "--threads", threads, "--partial-k", str(k), "--batch", str(batch), "--repeats", "20")
    assert theirs["PyTorch"]["parameters"] == ours["network"]["parameters"], "the two networks differ"
    for s, step in steps.items():
        for form, report in theirs.items():
            step.peer_ms(form, report[s]["min_ms"])
        step.ours_ms(ours["programs"][s]["min_ms"], {f: ours["programs"][s][f] for f in FACTS})
    memory_row(rows, name, theirs, ours)


def infer(rows, threads, batch, goal):
    theirs = peer("pytorch_network.py", "--threads", threads, "--batch", str(batch), "--seconds", "3")
    for name in NETWORKS:
        label = f"{name}, inference, batch {batch} [ms]"
        row = rows.setdefault(label, Row(label, goal))
        for form, t in theirs["networks"][name].items():
            if "min_ms" in t:
                row.peer_ms({"eager": "PyTorch eager", "frozen": "PyTorch frozen"}.get(form, "ONNX Runtime"), t["min_ms"])
        report = ladarts("infer", "--threads", threads, "--batch", str(batch), "--genotype", name, "--repeats",
                         "200" if batch == 1 else "12")
        ours = report["programs"]["inference"]
        row.ours_ms(ours["min_ms"], {f: ours[f] for f in FACTS})
        eager = peer("pytorch_network.py", "--threads", threads, "--batch", str(batch), "--seconds", "1", "--eager",
                     "--network", name)
        memory_row(rows, f"{name}, inference, batch {batch}", {"PyTorch": eager}, report)


def train(rows, threads, compiled):
    name = "PC_DARTS_cifar"
    label = f"{name}, training step, batch 96 [ms]"
    row = rows.setdefault(label, Row(label, 3))
    theirs = in_each_form(compiled, "pytorch_network.py", "--threads", threads, "--batch", "96", "--train", "--network",
                          name)
    ours = ladarts("train", "--threads", threads, "--batch", "96", "--genotype", name, "--repeats", "3")
    for form, report in theirs.items():
        row.peer_ms(form, report["networks"][name]["step"]["min_ms"])
    row.ours_ms(ours["programs"]["training_step"]["min_ms"], {f: ours["programs"]["training_step"][f] for f in FACTS})
    memory_row(rows, f"{name}, training, batch 96", theirs, ours)


def predictor(rows, threads, compiled, batch, goal):
    name = f"predictor 224-512-512-1, 80,000 rows, batch {batch}"
    label = f"{name}: epoch [ms]"
    row = rows.setdefault(label, Row(label, goal))
    arguments = ["--threads", threads, "--batch", str(batch)]
    theirs = {"PyTorch": peer("pytorch_predictor.py", *arguments)}
    if compiled:
        theirs["PyTorch, compiled"] = peer("pytorch_predictor.py", *arguments, "--compile")
    ours = run([MLP_FIT, *arguments, "--json"])
    step = ladarts("fit", *arguments, "--repeats", "20")["programs"]["fit_step"]
    steps = ours["rows"] // batch
    facts = {f: steps * step[f] for f in ("gflop", "gbytes_moved", "floor_ms")}
    for form, report in theirs.items():
        row.peer_ms(form, 1e3 * report["epoch_seconds"])
    row.ours_ms(1e3 * ours["epoch_seconds"],
                {**facts, "share_of_floor": facts["floor_ms"] / (1e3 * ours["epoch_seconds"])})
    memory_row(rows, name, theirs, ours)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", default="2")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out")
    parser.add_argument("--compiled", action="store_true", help="search, training and predictor with torch.compile, too")
    parser.add_argument("rows", nargs="*", help="default: all")
    o = parser.parse_args()
    work = {
        "pc-darts": lambda rows: search(rows, o.threads, o.compiled, 4, 64, 10),
        "darts": lambda rows: search(rows, o.threads, o.compiled, 1, 16, 8),
        "infer-1": lambda rows: infer(rows, o.threads, 1, 1.5),
        "infer-32": lambda rows: infer(rows, o.threads, 32, 1),
        "train": lambda rows: train(rows, o.threads, o.compiled),
        "predictor-64": lambda rows: predictor(rows, o.threads, o.compiled, 64, 3),
        "predictor-1024": lambda rows: predictor(rows, o.threads, o.compiled, 1024, 3),
    }
    for name in o.rows:
        if name not in work:
            parser.error(f"no row '{name}'; there are {', '.join(work)}")
    versions = subprocess.run([PYTHON, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    info = run([LADARTS, "info", "--json"])
    out = o.out or f"benchmarks/results/cpu-{datetime.date.today()}.json"
    rows = {}
    line = "{:<62}{:>12}{:>12}{:>9}{:>7}{:>9}  {}".format
    for r in range(o.rounds):
        for name in o.rows or work:
            print(f"round {r + 1} of {o.rounds}: {name}", file=sys.stderr, flush=True)
            work[name](rows)
    results = [row.json() for row in rows.values()]
    print(line("", "peer", "ladarts", "ratio", "goal", "of roof", "fastest peer"))
    for x in results:
        roof = f"{100 * x['share_of_floor']:.0f}%" if "share_of_floor" in x else ""
        print(line(x["row"], f"{x['peers'][x['fastest_peer']]:.1f}", f"{x['ladarts']:.1f}", f"{x['ratio']:.2f}x",
                   f"{x['goal']:g}x", roof, x["fastest_peer"]))
    report = {"date": datetime.datetime.now().isoformat(timespec="seconds"), "commit": info["commit"],
              "cpu": info["cpu"], "isa": info["isa"]["used"], "threads": int(o.threads), "rounds": o.rounds,
              "pytorch": versions.stdout.strip(), "rows": results}
    os.makedirs(os.path.dirname(out) or ".", exist_ok=True)
    with open(out, "w") as file:
        json.dump(report, file, indent=1)
        file.write("\n")
    print(f"written: {out}")


if __name__ == "__main__":
    main()
