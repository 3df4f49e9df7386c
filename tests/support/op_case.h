// One OpCase describes an op on given shapes and drives every check of it: the double-precision oracle,
// gradients against finite differences of that oracle, accumulation, subsets of gradients, guard words and
// NaN-filled memory, independence of thread counts or orders, repeatability.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/graph.h"

namespace ladarts::testing {

// A tensor in double precision; integer tensors hold whole numbers.
struct Array {
  Shape shape;
  std::vector<double> v;

  Array() = default;
  explicit Array(Shape s) : shape(s), v(size_t(s.elements()), 0.0) {}
  double& at(int64_t n, int64_t c, int64_t h, int64_t w) { return v[index(n, c, h, w)]; }
  double at(int64_t n, int64_t c, int64_t h, int64_t w) const { return v[index(n, c, h, w)]; }
  double& at(int64_t i, int64_t j) { return v[size_t(i * shape[1] + j)]; }
  double at(int64_t i, int64_t j) const { return v[size_t(i * shape[1] + j)]; }
  // Zero outside of the image.
  double padded(int64_t n, int64_t c, int64_t h, int64_t w) const {
    return h < 0 || w < 0 || h >= shape[2] || w >= shape[3] ? 0.0 : at(n, c, h, w);
  }

 private:
  size_t index(int64_t n, int64_t c, int64_t h, int64_t w) const {
    return size_t(((n * shape[1] + c) * shape[2] + h) * shape[3] + w);
  }
};

struct OpInput {
  Shape shape;
  float low = -1, high = 1;  // uniform in [low, high)
  bool differentiable = true;
  int labels = 0;  // > 0: int32 values in [lowest, lowest + labels)
  int lowest = 0;
  bool bytes = false;  // uint8 values
  int every = 1;       // all but every such entry are zero
};

struct OpCase {
  std::string name;
  std::vector<OpInput> inputs;
  std::function<std::vector<Tensor>(Graph&, const std::vector<Tensor>&)> record;
  std::function<std::vector<Array>(const std::vector<Array>&)> oracle;
  double rtol = 1e-4;
  double atol = 1e-5;
  bool gradients = true;  // false for ops without one
  int probes = 24;        // coordinates per input whose finite difference is taken
};

// Runs all checks with Catch2 assertions, on test_device(); messages name the case.
void check(const OpCase& c);

// Images (N, C_k, H, W) joined along dimension 1.
Array join_channels(const std::vector<Array>& parts);

// The emulated CUDA device in a test program that links tests/cuda/emulated_device.cpp, where thread orders
// take the place of thread counts. Elsewhere what LADARTS_TEST_DEVICE names: cuda for a real GPU, the CPU
// where it is not set. LADARTS_TEST_KERNELS names whose kernels: "cudnn,cublas".
Device test_device();
extern std::optional<Device> emulated_device;
inline Storage test_storage(Shape shape, DType dtype = DType::f32) {
  return Storage::create(shape, dtype, test_device());
}

// Called with 0 (usual), 1 and 2 around runs whose bits must be equal; null where only thread counts vary.
extern void (*set_run_variant)(int);

}  // namespace ladarts::testing
