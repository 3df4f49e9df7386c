#!/usr/bin/env python3
"""One epoch of fitting the paper's regressor in PyTorch: the peer of benchmarks/predictor/mlp_fit_bench.cpp."""
import argparse
import json
import resource
import time

import torch
import torch.nn as nn


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=80000)
    parser.add_argument("--features", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="with torch.compile")
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    torch.set_flush_denormal(True)  # as ladarts does
    torch.manual_seed(0)
    x = (torch.rand(o.rows, o.features) < 1 / 14).float()
    y = 1 + x @ torch.rand(o.features, 1)
    y = y / y.std()
    net = nn.Sequential(nn.Linear(o.features, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 1))
    if o.compile:
        net.compile()
    optimiser = torch.optim.Adam(net.parameters(), 1e-3, weight_decay=1e-4, foreach=True)
    best = float("inf")
    for _ in range(o.epochs):
        begin = time.perf_counter()
        order = torch.randperm(o.rows)
        for i in range(0, o.rows - o.batch + 1, o.batch):
            rows = order[i:i + o.batch]
            wanted = y[rows]
            loss = ((net(x[rows]) - wanted).abs() / wanted).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        best = min(best, time.perf_counter() - begin)
    print(json.dumps({"version": torch.__version__, **vars(o), "epoch_seconds": best,
                      "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
