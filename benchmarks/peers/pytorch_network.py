#!/usr/bin/env python3
"""The published cells (20 cells, C=36, CIFAR shapes) in PyTorch: the peer of `ladarts bench infer` and `bench train`.

Inference: eager mode, the frozen TorchScript form (which folds the normalisations) and, where it is installed, ONNX
Runtime are timed after a warm-up. Training: one step (forward, gradients, clipping, SGD with momentum). The minimum
and the median of single runs are printed as one JSON object. Peak memory is the process's maximum resident set. With
--device cuda: eager mode and a CUDA graph of it; a run ends when the GPU has done it.
"""
import argparse
import json
import os
import resource
import statistics
import tempfile
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

# (operation, input state) of each node's two edges; reduction cells behind the bar.
CELLS = {
    "DARTS_V2": ("s3:0 s3:1 s3:0 s3:1 s3:1 sk:0 sk:0 d3:2", "mp:0 mp:1 sk:2 mp:1 mp:0 sk:2 sk:2 mp:1"),
    "PC_DARTS_cifar": ("s3:1 sk:0 s3:0 d3:1 s5:0 s3:1 ap:0 d3:1", "s5:1 mp:0 s5:1 s5:2 s3:0 s3:3 s3:1 s3:2"),
}
PARAMETERS = {"DARTS_V2": 3349342, "PC_DARTS_cifar": 3634678}


def depthwise_pointwise(c, kernel, stride, dilation):
    padding = dilation * (kernel - 1) // 2
    return [nn.ReLU(), nn.Conv2d(c, c, kernel, stride, padding, dilation, groups=c, bias=False),
            nn.Conv2d(c, c, 1, bias=False), nn.BatchNorm2d(c)]


class FactorizedReduce(nn.Module):
    def __init__(self, c_in, c_out):
        super().__init__()
        self.even = nn.Conv2d(c_in, c_out // 2, 1, 2, bias=False)
        self.odd = nn.Conv2d(c_in, c_out // 2, 1, 2, bias=False)
        self.norm = nn.BatchNorm2d(c_out)

    def forward(self, x):
        x = F.relu(x)
        return self.norm(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], 1))


def operation(name, c, stride):
    if name == "sk":
        return nn.Identity() if stride == 1 else FactorizedReduce(c, c)
    if name == "mp":
        return nn.MaxPool2d(3, stride, 1)
    if name == "ap":
        return nn.AvgPool2d(3, stride, 1, count_include_pad=False)
    kernel = int(name[1])
    if name[0] == "d":
        return nn.Sequential(*depthwise_pointwise(c, kernel, stride, 2))
    return nn.Sequential(*depthwise_pointwise(c, kernel, stride, 1), *depthwise_pointwise(c, kernel, 1, 1))


def relu_conv_norm(c_in, c_out):
    return nn.Sequential(nn.ReLU(), nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out))


class Cell(nn.Module):
    def __init__(self, text, c_before, c_previous, c, reduction, after_reduction):
        super().__init__()
        reduce_first = FactorizedReduce if after_reduction else relu_conv_norm
        self.preprocess0 = reduce_first(c_before, c)
        self.preprocess1 = relu_conv_norm(c_previous, c)
        edges = [e.split(":") for e in text.split()]
        self.sources = [int(source) for _, source in edges]
        self.operations = nn.ModuleList(
            operation(name, c, 2 if reduction and int(source) < 2 else 1) for name, source in edges)

    def forward(self, before, previous):
        states = [self.preprocess0(before), self.preprocess1(previous)]
        for node in range(len(self.sources) // 2):
            a, b = 2 * node, 2 * node + 1
            states.append(self.operations[a](states[self.sources[a]]) + self.operations[b](states[self.sources[b]]))
        return torch.cat(states[2:], 1)


class Network(nn.Module):
    def __init__(self, name, c=36, layers=20, classes=10):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 3 * c, 3, padding=1, bias=False), nn.BatchNorm2d(3 * c))
        before = previous = 3 * c
        cells, after_reduction = [], False
        for i in range(layers):
            reduction = i in (layers // 3, 2 * layers // 3)
            c = 2 * c if reduction else c
            cells.append(Cell(CELLS[name][reduction], before, previous, c, reduction, after_reduction))
            before, previous, after_reduction = previous, 4 * c, reduction
        self.cells = nn.ModuleList(cells)
        self.head = nn.Linear(previous, classes)

    def forward(self, x):
        before = previous = self.stem(x)
        for cell in self.cells:
            before, previous = previous, cell(before, previous)
        return self.head(previous.mean((2, 3)))


def timed(run, seconds, least=5):
    for _ in range(min(5, least)):
        run()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < least:
        begin = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - begin))
    return {"min_ms": min(times), "median_ms": statistics.median(times), "repeats": len(times)}


def peak_rss_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def onnx_runtime(network, x, options):
    """Times ONNX Runtime, or says why not."""
    try:
        import onnx  # noqa: F401  (the exporter needs it)
        import onnxruntime
    except ImportError as error:
        return {"missing": str(error)}
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "network.onnx")
        torch.onnx.export(network, (x,), path, dynamo=False, opset_version=17)
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x.numpy()}
    return {"version": onnxruntime.__version__, **timed(lambda: session.run(None, feed), options.seconds)}


def finished(run):
    """`run`, and the wait for the GPU where there is one."""
    def both():
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    return both


def cuda_graph(network, x):
    """One replay of the network on x, captured after a warm-up on a stream of its own."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            network(x)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        network(x)
    return graph.replay


def inference(network, x, options):
    network.eval()
    with torch.inference_mode():
        eager = timed(finished(lambda: network(x)), options.seconds)
    if options.eager:
        return {"eager": eager}
    if x.is_cuda:
        with torch.no_grad():
            return {"eager": eager, "cuda_graph": timed(finished(cuda_graph(network, x)), options.seconds)}
    with torch.no_grad():
        frozen = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(network, x)))
        fast = timed(lambda: frozen(x), options.seconds)
    return {"eager": eager, "frozen": fast, "onnxruntime": onnx_runtime(network, x, options)}


def training(network, x, options):
    network.train()
    if options.compile:
        torch._dynamo.config.recompile_limit = 64
        for cell in network.cells:  # one by one: alike cells share what is compiled
            cell.compile()
    labels = torch.randint(0, 10, (options.batch,), device=x.device)
    optimiser = torch.optim.SGD(network.parameters(), 0.025, momentum=0.9, weight_decay=3e-4, foreach=True)

    def step():
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(network(x), labels).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0, foreach=True)
        optimiser.step()

    return {"step": timed(finished(step), 0, least=3)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--train", action="store_true", help="a training step in place of inference")
    parser.add_argument("--eager", action="store_true", help="inference in eager mode alone, for its memory")
    parser.add_argument("--network", choices=sorted(CELLS), action="append", help="one of them; default: all")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    parser.add_argument("--channels-last", action="store_true", help="values and weights with channels last in memory")
    parser.add_argument("--compile", action="store_true", help="training with torch.compile: minutes before the first step")
    options = parser.parse_args()
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    torch.backends.cudnn.benchmark = True  # the peer at its best: its library's fastest algorithms
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)  # as ladarts does
    imported = peak_rss_mib()
    networks = {}
    for name in options.network or CELLS:
        torch.manual_seed(0)
        network = Network(name).to(options.device, memory_format=layout)
        count = sum(p.numel() for p in network.parameters())
        assert count == PARAMETERS[name], f"{name}: {count} parameters, expected {PARAMETERS[name]}"
        x = torch.randn(options.batch, 3, 32, 32, device=options.device).contiguous(memory_format=layout)
        networks[name] = (training if options.train else inference)(network, x, options)
    print(json.dumps({"version": torch.__version__, "batch": options.batch, "threads": options.threads,
                      "networks": networks, "peak_rss_mib": peak_rss_mib(), "imported_rss_mib": imported}))


if __name__ == "__main__":
    main()
