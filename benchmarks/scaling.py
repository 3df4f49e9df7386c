#!/usr/bin/env python3
"""How the time of this program's steps grows with batch, channels, cells and threads: see scripts/bench_scaling.sh."""
import argparse
import datetime
import json
import os
import subprocess

LADARTS = os.path.join(os.environ["BUILD"], "ladarts")
BASE = {"batch": 64, "channels": 16, "layers": 8, "threads": 2}
VALUES = {"batch": (8, 16, 32, 64, 128), "channels": (8, 16, 32, 64), "layers": (4, 8, 16), "threads": (1, 2)}


def step(setting, rounds):
    """Least milliseconds of each program over `rounds` runs, and gigaflops by definition."""
    best = {}
    for _ in range(rounds):
        arguments = [a for key, value in setting.items() for a in (f"--{key}", str(value))]
        done = subprocess.run([LADARTS, "bench", "step", "--partial-k", "4", "--repeats", "3", "--json", "--quiet", *arguments],
                              capture_output=True, text=True, check=True)
        for name, p in json.loads(done.stdout)["programs"].items():
            if name not in best or p["min_ms"] < best[name]["ms"]:
                best[name] = {"ms": p["min_ms"], "gflop": p["gflop"]}
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", required=True)
    o = parser.parse_args()
    rows = []
    line = "{:<10}{:>6}{:>22}{:>10}{:>24}{:>10}".format
    print(line("", "", "weight step [ms/image]", "GFLOP/s", "architecture [ms/image]", "GFLOP/s"))
    for key, values in VALUES.items():
        for value in values:
            setting = {**BASE, key: value}
            best = step(setting, o.rounds)
            rows.append({"varies": key, **setting, "programs": best})
            cells = []
            for name in ("weight_step", "architecture_step"):
                cells += [f"{best[name]['ms'] / setting['batch']:.2f}", f"{best[name]['gflop'] / best[name]['ms'] * 1e3:.0f}"]
            print(line(key, value, *cells), flush=True)
    info = json.loads(subprocess.run([LADARTS, "info", "--json"], capture_output=True, text=True, check=True).stdout)
    with open(o.out, "w") as file:
        json.dump({"date": datetime.datetime.now().isoformat(timespec="seconds"), "commit": info["commit"],
                   "cpu": info["cpu"], "isa": info["isa"]["used"], "rounds": o.rounds, "rows": rows}, file, indent=1)
        file.write("\n")
    print(f"written: {o.out}")


if __name__ == "__main__":
    main()
