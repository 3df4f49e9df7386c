#!/usr/bin/env python3
"""A runner for ladarts measure --runner: times an ONNX model with ONNX Runtime on this machine's CPU.

    ladarts measure --genotype DARTS_V2 \\
        --runner "python3 scripts/runners/onnxruntime_runner.py {model} --batch {batch} --threads {threads}"

Needs the packages onnxruntime and numpy. The last line that it prints is the answer, as docs/other-hardware.md
describes it.
"""
import argparse
import json
import statistics
import sys
import time


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the ONNX file")
    parser.add_argument("--batch", type=int, default=1, help="images at once, where the model leaves that open [1]")
    parser.add_argument("--threads", type=int, default=1, help="threads of one operator [1]")
    parser.add_argument("--max-warmup", type=int, default=30, help="untimed runs at most [30]")
    parser.add_argument("--repeats", type=int, default=101, help="timed runs at most [101]")
    parser.add_argument("--seconds", type=float, default=2.0, help="time of all runs, after which it stops [2]")
    return parser.parse_args()


def cpu_name():
    try:
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                if line.startswith(("model name", "Model")):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return "CPU"


def open_session(path, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors alone
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def random_input(session, batch):
    import numpy

    (images,) = session.get_inputs()
    shape = [size if isinstance(size, int) else batch for size in images.shape]
    if shape[0] != batch:
        raise ValueError(f"the model takes {shape[0]} images at once, not {batch}")
    return {images.name: numpy.random.default_rng(0).standard_normal(shape, dtype=numpy.float32)}


def milliseconds(run):
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


def warm_up(run, most):
    """Runs until the median of three is no longer more than 2% below that of the three before."""
    times = []
    while len(times) < most:
        times.append(milliseconds(run))
        if len(times) >= 6 and statistics.median(times[-3:]) > 0.98 * statistics.median(times[-6:-3]):
            break
    return len(times)


def measure(options):
    import onnxruntime

    session = open_session(options.model, options.threads)
    values = random_input(session, options.batch)
    run = lambda: session.run(None, values)  # noqa: E731
    warmup_runs = warm_up(run, options.max_warmup)
    times = []
    end = time.perf_counter() + options.seconds
    while len(times) < options.repeats and (len(times) < 5 or time.perf_counter() < end):
        times.append(milliseconds(run))
    return {
        "times_ms": times,
        "warmup_runs": warmup_runs,
        "device": cpu_name(),
        "precision": "f32",
        "library": f"onnxruntime {onnxruntime.__version__}",
        "threads": options.threads,
    }


def main():
    try:
        print(json.dumps(measure(arguments())))
    except Exception as error:  # every reason goes into the row of this architecture
        print(json.dumps({"error": f"{type(error).__name__}: {error}"[:300]}))
        sys.exit(1)


if __name__ == "__main__":
    main()
