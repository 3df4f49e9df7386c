"""ONNX Runtime against ladarts on exported networks: see check_onnx.sh, which runs this.

The largest difference of the logits may be 1e-5 of the largest logit: both sum the same products in f32, in orders of
their own, over up to 20 cells.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime

TOLERANCE = 1e-5
LADARTS = sys.argv[1]
HERE = pathlib.Path(__file__).parent

DARTS = ["none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3",
         "dil_conv_5x5"]
NAS201 = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
OWN_SPACE = {"name": "own", "cell_types": ["block"], "inputs": 2, "nodes": 3, "edges": "all",
             "primitives": ["skip_connect", "sep_conv_7x7", "nor_conv_5x5"],
             "skeleton": {"kind": "darts", "reduce_at": [[1, 2]], "layers": 2, "channels": 4}}


def cell(primitives):
    edges = zip(primitives, [0, 1, 0, 1, 0, 2, 1, 3])
    return "[" + ", ".join(f"('{p}', {source})" for p, source in edges) + "]"


def darts_cell(primitives):
    one = cell(primitives)
    return f"Genotype(normal={one}, normal_concat=range(2, 6), reduce={one}, reduce_concat=range(2, 6))"


def nas201_cell(p):
    return f"|{p}~0|+|{p}~0|{p}~1|+|{p}~0|{p}~1|{p}~2|"


def ladarts(*arguments):
    done = subprocess.run([LADARTS, *map(str, arguments), "--json"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"check_onnx: {LADARTS} {' '.join(map(str, arguments))} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def tensors(path):
    """A .safetensors file: the length of a JSON header, that header, the values."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    return {name: numpy.frombuffer(data[start + t["data_offsets"][0]:start + t["data_offsets"][1]], "<f4")
            .reshape(t["shape"]) for name, t in header.items()}


def session_of(path):
    onnx.checker.check_model(str(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Check:
    def __init__(self, folder):
        self.folder = folder
        self.networks = self.worst = self.failures = 0

    def compare(self, what, computed, expected):
        error = float(numpy.abs(computed - expected).max() / numpy.abs(expected).max())
        self.worst = max(self.worst, error)
        if not error <= TOLERANCE or computed.shape != expected.shape:  # also where it is no number
            self.failures += 1
            print(f"check_onnx: FAILED: {what}: off by {error:.2g} of the largest logit")

    def export(self, source, *options, batch=1):
        """Exports, runs the example's images, returns the session."""
        model, example = self.folder / "model.onnx", self.folder / "example.safetensors"
        facts = ladarts("export", source, "--out", model, "--example", example, "--batch", batch, *options)
        assert facts["bytes"] == model.stat().st_size and facts["opset"] == onnx.load(model).opset_import[0].version
        session, ours = session_of(model), tensors(example)
        what = f"{source} {' '.join(map(str, options))} batch {batch}"
        images, logits = ours["images"], ours["logits"]
        self.compare(what, session.run(["logits"], {"images": images})[0], logits)
        if batch == 0:  # any number: one, and five in which those of the example come first
            self.compare(what + ": 1 image", session.run(["logits"], {"images": images[:1]})[0], logits[:1])
            five = numpy.concatenate([images, images, images[:1]])
            self.compare(what + ": 5 images", session.run(["logits"], {"images": five})[0][:2], logits)
        self.networks += 1
        return session

    def spaces(self):
        small = ["--channels", 8, "--layers", 4, "--classes", 7]
        cells = [darts_cell([p] * 8) for p in DARTS] + [darts_cell(DARTS)]
        for genotype in cells:
            for image, batch in [(16, 1), (17, 3), (19, 0)]:
                self.export(genotype, *small, "--image", image, batch=batch)
        for p in NAS201:
            for image, batch in [(16, 1), (20, 3), (12, 0)]:
                self.export(nas201_cell(p), "--space", "nasbench201", "--layers", 2, "--image", image, batch=batch)
        for name, image, batch in [("PC_DARTS_image", 64, 1), ("DARTS_V2", 75, 3)]:
            self.export(name, "--stem", "imagenet", "--channels", 12, "--layers", 6, "--image", image, batch=batch)
        own = self.folder / "own.json"
        own.write_text(json.dumps(OWN_SPACE))
        edges = zip(["sep_conv_7x7", "skip_connect", "nor_conv_5x5"] * 3, [0, 1, 0, 1, 2, 0, 1, 2, 3])
        block = ", ".join(f"('{p}', {source})" for p, source in edges)
        genotype = f"Genotype(block=[{block}], block_concat=range(2, 5))"
        self.export(genotype, "--space", own, "--image", 9, batch=3)
        self.export("DARTS_V2")  # full size

    def trained(self):
        """Trained weights, and the images' normalisation: ONNX Runtime classifies as ladarts does."""
        images, out = self.folder / "images", self.folder / "train"
        ladarts("data", "generate", images, "--train", 1500, "--test", 100, "--image", 16)
        ladarts("train", "--genotype", darts_cell(DARTS), "--data", images, "--out", out, "--channels", 8, "--layers",
                3, "--batch", 32, "--epochs", 6, "--set", "auxiliary=false", "cutout=0", "drop_path=0", "lr=0.05")
        session = self.export(out, batch=0)
        self.export(out, batch=3)
        metadata = session.get_modelmeta().custom_metadata_map
        normalisation = {k: numpy.array(v, "f4").reshape(3, 1, 1)
                         for k, v in json.loads(metadata["image.normalisation"]).items()}
        records = numpy.frombuffer((images / "test_batch.bin").read_bytes(), "u1").reshape(100, -1)
        pixels = records[:, 1:].reshape(100, 3, 16, 16).astype("f4")
        given = (pixels / 255 - normalisation["mean"]) / normalisation["deviation"]
        right = int((session.run(["logits"], {"images": given})[0].argmax(1) == records[:, 0]).sum())
        ours = round(100 * ladarts("eval", out, "--data", images)["accuracy"])
        if abs(right - ours) > 1 or ours < 20:  # one may lie on the border; one in ten would be chance
            self.failures += 1
            print(f"check_onnx: FAILED: ONNX Runtime classifies {right} of 100 test images rightly, ladarts {ours}")
        return right

    def runner(self):
        command = f"'{sys.executable}' '{HERE}/runners/onnxruntime_runner.py'"
        found = ladarts("measure", "--genotype", "DARTS_V2", "--channels", 8, "--layers", 3, "--batch", 2, "--threads",
                        1, "--runner", command + " {model} --batch {batch} --threads {threads} --seconds 0.2")
        network = found["networks"][0]
        if network["status"] != "ok" or not network["latency_ms"] > 0 or "onnxruntime" not in found["what"]:
            self.failures += 1
            print(f"check_onnx: FAILED: the shipped runner: {found}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        check = Check(pathlib.Path(folder))
        check.spaces()
        right = check.trained()
        check.runner()
    if check.failures:
        sys.exit(f"check_onnx: {check.failures} failed")
    print(f"check_onnx: ONNX Runtime {onnxruntime.__version__} equals ladarts on {check.networks} exported networks "
          f"within {check.worst:.1g} of the largest logit ({TOLERANCE:g} allowed); {right} of 100 test images right "
          "by both; the runner measures")


main()
