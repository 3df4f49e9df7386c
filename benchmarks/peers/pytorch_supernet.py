#!/usr/bin/env python3
"""The search step of DARTS and PC-DARTS in PyTorch, eager or compiled: the peer of `ladarts bench step`.

Times one weight step (forward, gradients of the weights, clipping, SGD with momentum) and one architecture step
(forward, gradients of alpha and beta alone, Adam), after a warm-up, and prints one JSON object. Peak memory is the
process's maximum resident set; the share that importing PyTorch costs is given beside it. With --device cuda a step
ends when the GPU has done it, and the largest memory that its tensors took is given, too.

PyTorch is given what helps it: only the gradients that a step needs are computed, the `none` operation costs nothing,
optimisers use their multi-tensor form.
"""
import argparse
import json
import resource
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

NODES = 4
PRIMITIVES = 8  # none, max pool, avg pool, skip, sep 3, sep 5, dil 3, dil 5


def peak_rss_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def norm(channels):
    return nn.BatchNorm2d(channels, affine=False)


def half_separable(channels, kernel, stride, dilation):
    padding = dilation * (kernel - 1) // 2
    return [nn.ReLU(),
            nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False),
            norm(channels)]


class FactorizedReduce(nn.Module):
    def __init__(self, channels_in, channels_out):
        super().__init__()
        self.even = nn.Conv2d(channels_in, channels_out // 2, 1, 2, bias=False)
        self.odd = nn.Conv2d(channels_in, channels_out // 2, 1, 2, bias=False)
        self.norm = norm(channels_out)

    def forward(self, x):
        x = F.relu(x)
        return self.norm(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], 1))


def relu_conv_norm(channels_in, channels_out):
    return nn.Sequential(nn.ReLU(), nn.Conv2d(channels_in, channels_out, 1, bias=False), norm(channels_out))


class Edge(nn.Module):
    """All candidate operations between two states, mixed; with partial_k > 1 on the first channels only."""

    def __init__(self, channels, stride, partial_k):
        super().__init__()
        self.partial_k, self.stride, self.part = partial_k, stride, channels // partial_k
        c = self.part
        self.operations = nn.ModuleList([
            nn.Sequential(nn.MaxPool2d(3, stride, 1), norm(c)),
            nn.Sequential(nn.AvgPool2d(3, stride, 1, count_include_pad=False), norm(c)),
            nn.Identity() if stride == 1 else FactorizedReduce(c, c),
            nn.Sequential(*half_separable(c, 3, stride, 1), *half_separable(c, 3, 1, 1)),
            nn.Sequential(*half_separable(c, 5, stride, 1), *half_separable(c, 5, 1, 1)),
            nn.Sequential(*half_separable(c, 3, stride, 2)),
            nn.Sequential(*half_separable(c, 5, stride, 2)),
        ])

    def forward(self, x, weights):
        head = x if self.partial_k == 1 else x[:, :self.part]
        mixed = sum(w * operation(head) for w, operation in zip(weights[1:], self.operations))
        if self.partial_k == 1:
            return mixed
        rest = x[:, self.part:]
        if self.stride == 2:
            rest = F.max_pool2d(rest, 2, 2)
        y = torch.cat([mixed, rest], 1)
        n, channels, h, w = y.shape
        return y.view(n, self.partial_k, channels // self.partial_k, h, w).transpose(1, 2).reshape(n, channels, h, w)


class Cell(nn.Module):
    def __init__(self, before, previous, channels, reduction, after_reduction, partial_k):
        super().__init__()
        self.pre0 = FactorizedReduce(before, channels) if after_reduction else relu_conv_norm(before, channels)
        self.pre1 = relu_conv_norm(previous, channels)
        self.edges = nn.ModuleList(
            Edge(channels, 2 if reduction and source < 2 else 1, partial_k)
            for node in range(NODES) for source in range(2 + node))

    def forward(self, s0, s1, alpha, beta):
        states = [self.pre0(s0), self.pre1(s1)]
        e = 0
        for node in range(NODES):
            total = 0
            for source in range(2 + node):
                y = self.edges[e](states[source], alpha[e])
                total = total + (y if beta is None else beta[e] * y)
                e += 1
            states.append(total)
        return torch.cat(states[2:], 1)


class Supernet(nn.Module):
    def __init__(self, channels, layers, partial_k, device, classes=10):
        super().__init__()
        width = 3 * channels
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        before = previous = width
        after_reduction, cells, self.reduction = False, [], []
        for i in range(layers):
            reduction = i in (layers // 3, 2 * layers // 3)
            if reduction:
                channels *= 2
            cells.append(Cell(before, previous, channels, reduction, after_reduction, partial_k))
            self.reduction.append(reduction)
            before, previous, after_reduction = previous, NODES * channels, reduction
        self.cells = nn.ModuleList(cells)
        self.head = nn.Linear(previous, classes)
        self.partial_k = partial_k
        edges = sum(2 + n for n in range(NODES))
        self.alpha = [(1e-3 * torch.randn(edges, PRIMITIVES, device=device)).requires_grad_() for _ in range(2)]
        self.beta = ([(1e-3 * torch.randn(edges, device=device)).requires_grad_() for _ in range(2)]
                     if partial_k > 1 else [])

    def architecture(self):
        return self.alpha + self.beta

    def forward(self, x):
        alpha = [F.softmax(a, -1) for a in self.alpha]
        beta = [torch.cat([F.softmax(b[n * (n + 3) // 2:(n + 1) * (n + 4) // 2], 0) for n in range(NODES)])
                for b in self.beta] or [None, None]
        s0 = s1 = self.stem(x)
        for cell, reduction in zip(self.cells, self.reduction):
            s0, s1 = s1, cell(s0, s1, alpha[reduction], beta[reduction])
        return self.head(s1.mean((2, 3)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--partial-k", type=int, default=4, help="1: DARTS; 4: PC-DARTS on CIFAR")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    parser.add_argument("--channels-last", action="store_true", help="values and weights with channels last in memory")
    parser.add_argument("--compile", action="store_true", help="edges with torch.compile: minutes before the first step")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)  # as ladarts does
    torch.manual_seed(0)
    imported = peak_rss_mib()

    device = torch.device(options.device)
    torch.backends.cudnn.benchmark = True  # the peer at its best: its library's fastest algorithms
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    net = Supernet(options.channels, options.layers, options.partial_k, device).to(device, memory_format=layout)
    if options.compile:
        torch._dynamo.config.recompile_limit = 64  # edges alike share what is compiled, of which there are some 20
        for cell in net.cells:
            for edge in cell.edges:
                edge.compile()
    weights = list(net.parameters())
    architecture = net.architecture()
    sgd = torch.optim.SGD(weights, 0.1, momentum=0.9, weight_decay=3e-4, foreach=True)
    adam = torch.optim.Adam(architecture, 6e-4, betas=(0.5, 0.999), weight_decay=1e-3, foreach=True)
    images = torch.randn(options.batch, 3, 32, 32, device=device).contiguous(memory_format=layout)
    labels = torch.randint(0, 10, (options.batch,), device=device)

    def step(wanted, other, optimiser, clip):
        for t in wanted:
            t.requires_grad_(True)
        for t in other:
            t.requires_grad_(False)
        optimiser.zero_grad(set_to_none=True)
        loss = F.cross_entropy(net(images), labels)
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(weights, 5.0, foreach=True)
        optimiser.step()
        return loss.item()

    def measure(*arguments):
        for _ in range(3 if device.type == "cuda" else 1):
            step(*arguments)
        times = []
        for _ in range(options.repeats):
            start = time.perf_counter()
            step(*arguments)
            times.append(time.perf_counter() - start)
        return {"min_ms": 1e3 * min(times), "median_ms": 1e3 * statistics.median(times)}

    report = {
        "program": "pytorch",
        "version": torch.__version__,
        **vars(options),
        "parameters": sum(w.numel() for w in weights),
        "weight_step": measure(weights, architecture, sgd, True),
        "architecture_step": measure(architecture, weights, adam, False),
        "peak_rss_mib": peak_rss_mib(),
        "imported_rss_mib": imported,
    }
    if device.type == "cuda":
        report["gpu"] = torch.cuda.get_device_name(device)
        report["gpu_peak_mib"] = torch.cuda.max_memory_allocated(device) / 2**20
    print(json.dumps(report))


if __name__ == "__main__":
    main()
