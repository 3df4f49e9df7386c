#include "tests/support/op_case.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "core/gradients.h"
#include "core/philox.h"
#include "core/program.h"
#include "tests/support/catch.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace ladarts::testing {

namespace {

constexpr size_t kGuardWords = 16;
constexpr int32_t kGuard = 0x5afeb10c;

// Memory with guard words right behind it. On the emulated device the address sanitizer takes their place: it
// sees reads too.
struct GuardedStorage {
  Storage storage;
  Storage guard;  // none where poisoned

  explicit GuardedStorage(Shape shape, DType dtype = DType::f32) {
    auto buffer = std::make_shared<Buffer>(test_device());
    const size_t bytes = size_t(shape.elements()) * bytes_of(dtype);
    buffer->reserve(bytes + kGuardWords * sizeof(int32_t));
    storage = Storage(buffer, 0, shape, dtype);
#if defined(__SANITIZE_ADDRESS__)
    if (emulated_device) {
      __asan_poison_memory_region(storage.data() + bytes, buffer->bytes() - bytes);
      return;
    }
#endif
    guard = Storage(buffer, bytes, Shape{int64_t(kGuardWords)}, DType::i32);
    guard.upload(std::vector<int32_t>(kGuardWords, kGuard));
  }

  bool intact() const {
    if (!guard) return true;
    std::vector<int32_t> words(kGuardWords);
    guard.download(words);
    return std::all_of(words.begin(), words.end(), [](int32_t w) { return w == kGuard; });
  }
};

struct Run {
  std::vector<std::vector<float>> outputs;
  std::vector<std::vector<float>> gradients;  // of the inputs asked for
};

struct Setup {
  const OpCase& c;
  std::vector<Storage> inputs;
  std::vector<Array> arrays;

  explicit Setup(const OpCase& op_case) : c(op_case) {
    Random random(1234, c.inputs.size());
    for (const OpInput& in : c.inputs) {
      Array array(in.shape);
      const DType type = in.bytes ? DType::u8 : in.labels ? DType::i32 : DType::f32;
      Storage s = GuardedStorage(in.shape, type).storage;
      if (in.bytes) {
        std::vector<uint8_t> values(array.v.size());
        for (size_t i = 0; i < values.size(); ++i) array.v[i] = values[i] = uint8_t(random.below(256));
        s.upload(std::span<const uint8_t>(values));
      } else if (in.labels) {
        std::vector<int32_t> values(array.v.size());
        for (size_t i = 0; i < values.size(); ++i)
          array.v[i] = values[i] = in.lowest + int32_t(random.below(uint32_t(in.labels)));
        s.upload(std::span<const int32_t>(values));
      } else {
        std::vector<float> values(array.v.size());
        for (size_t i = 0; i < values.size(); ++i)
          array.v[i] = values[i] = i % size_t(in.every) == 0 ? random.uniform(in.low, in.high) : 0.f;
        s.upload(std::span<const float>(values));
      }
      inputs.push_back(s);
      arrays.push_back(std::move(array));
    }
  }

  bool differentiable(size_t i) const {
    return c.inputs[i].differentiable && !c.inputs[i].labels && !c.inputs[i].bytes;
  }
};

std::vector<float> seed_for(size_t output, int64_t n) {
  Random random(77, output);
  std::vector<float> seed(static_cast<size_t>(n));
  for (float& v : seed) v = random.uniform(-1, 1);
  return seed;
}

// Records the case `copies` times over the same inputs and runs forward and backward.
Run execute(const Setup& setup, const std::vector<size_t>& wanted, ThreadPool& pool, bool debug,
            int copies = 1, int runs = 1) {
  Graph graph(test_device());
  std::vector<Tensor> leaves;
  for (const Storage& s : setup.inputs) leaves.push_back(graph.leaf(s));
  std::vector<Tensor> outputs, seeds;
  std::vector<GuardedStorage> bound, grads;
  for (int k = 0; k < copies; ++k) {
    auto ys = setup.c.record(graph, leaves);
    for (size_t i = 0; i < ys.size(); ++i) {
      bound.emplace_back(ys[i].shape());
      graph.bind(ys[i], bound.back().storage);
      const Storage seed = GuardedStorage(ys[i].shape()).storage;
      seed.upload(std::span<const float>(seed_for(i, ys[i].shape().elements())));
      outputs.push_back(ys[i]);
      seeds.push_back(graph.leaf(seed));
    }
  }
  if (!wanted.empty()) {
    std::vector<Tensor> wrt;
    GradientOptions options;
    for (size_t i : wanted) {
      wrt.push_back(leaves[i]);
      grads.emplace_back(leaves[i].shape());
      options.into.push_back(grads.back().storage);
    }
    vector_jacobian(outputs, seeds, wrt, options);
  }
  // What nobody writes shows as NaN: bound memory is no part of the arena that debug mode fills.
  for (const auto* storages : {&bound, &grads})
    for (const GuardedStorage& s : *storages)
      s.storage.upload(
          std::vector<float>(size_t(s.storage.shape().elements()), std::numeric_limits<float>::quiet_NaN()));
  Program program = compile(graph, {.pool = &pool, .debug = debug});
  for (int r = 0; r < runs; ++r) program.run();
  Run result;
  for (const GuardedStorage& s : bound) {
    CHECK(s.intact());
    result.outputs.push_back(s.storage.to_vector());
  }
  for (const GuardedStorage& s : grads) {
    CHECK(s.intact());
    result.gradients.push_back(s.storage.to_vector());
  }
  return result;
}

bool same_bits(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i].size() != b[i].size() || std::memcmp(a[i].data(), b[i].data(), a[i].size() * 4) != 0)
      return false;
  return true;
}

void compare(const std::string& what, double got, double want, const OpCase& c, double scale = 1) {
  const double tolerance = scale * c.atol + c.rtol * std::fabs(want);
  if (std::fabs(got - want) <= tolerance) return;
  FAIL_CHECK(c.name << ": " << what << " is " << got << ", expected " << want << " (tolerance " << tolerance
                    << ")");
}

double weighted_output(const OpCase& c, const std::vector<Array>& inputs) {
  double sum = 0;
  const auto outputs = c.oracle(inputs);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto seed = seed_for(i, int64_t(outputs[i].v.size()));
    for (size_t k = 0; k < outputs[i].v.size(); ++k) sum += outputs[i].v[k] * seed[k];
  }
  return sum;
}

void check_forward(const Setup& setup, const Run& run) {
  const auto expected = setup.c.oracle(setup.arrays);
  REQUIRE(run.outputs.size() == expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    REQUIRE(run.outputs[i].size() == expected[i].v.size());
    for (size_t k = 0; k < expected[i].v.size(); ++k)
      compare(fmt::format("output {} at {}", i, k), run.outputs[i][k], expected[i].v[k], setup.c);
  }
}

// Along random directions of +-1, so that every element of the gradient counts: a single wrong one shows.
void check_directions(const Setup& setup, const std::vector<size_t>& wanted, const Run& run) {
  Random random(97);
  const double h = 1e-6;
  for (size_t w = 0; w < wanted.size(); ++w)
    for (int direction = 0; direction < 2; ++direction) {
      std::vector<Array> above = setup.arrays, below = setup.arrays;
      double got = 0, squares = 0;  // of the elements' tolerances, whose errors are independent
      for (size_t i = 0; i < above[wanted[w]].v.size(); ++i) {
        const double sign = random.below(2) ? 1 : -1, g = double(run.gradients[w][i]);
        above[wanted[w]].v[i] += sign * h;
        below[wanted[w]].v[i] -= sign * h;
        got += sign * g;
        squares += std::pow(2 * (setup.c.atol + setup.c.rtol * std::fabs(g)), 2);
      }
      const double want = (weighted_output(setup.c, above) - weighted_output(setup.c, below)) / (2 * h);
      if (!(std::fabs(got - want) <= 1e-6 + std::sqrt(squares)))
        FAIL_CHECK(setup.c.name << ": gradient of input " << wanted[w] << " along direction " << direction
                                << " is " << got << ", expected " << want << " (tolerance "
                                << 1e-6 + std::sqrt(squares) << ")");
    }
}

void check_finite_differences(Setup& setup, const std::vector<size_t>& wanted, const Run& run) {
  Random random(4321);
  const double h = 1e-6;
  for (size_t w = 0; w < wanted.size(); ++w) {
    auto& values = setup.arrays[wanted[w]].v;
    const size_t probes = std::min(values.size(), size_t(setup.c.probes));
    for (size_t p = 0; p < probes; ++p) {
      const size_t at = probes == values.size() ? p : random.below(uint32_t(values.size()));
      const double saved = values[at];
      values[at] = saved + h;
      const double above = weighted_output(setup.c, setup.arrays);
      values[at] = saved - h;
      const double below = weighted_output(setup.c, setup.arrays);
      values[at] = saved;
      compare(fmt::format("gradient of input {} at {}", wanted[w], at), run.gradients[w][at],
              (above - below) / (2 * h), setup.c, 2);
    }
  }
}

}  // namespace

void (*set_run_variant)(int) = nullptr;

std::optional<Device> emulated_device;

Device test_device() {
  const char* name = std::getenv("LADARTS_TEST_DEVICE");
  const Device device = emulated_device ? *emulated_device : name ? Device::parse(name) : Device{};
  static const bool kernels_chosen = [&] {
    const char* kernels = std::getenv("LADARTS_TEST_KERNELS");
    if (kernels) set_kernel_policy(device.kind, KernelPolicy::parse(kernels, device.kind));
    return kernels != nullptr;
  }();
  (void)kernels_chosen;
  return device;
}

void check(const OpCase& c) {
  INFO(c.name);
  Setup setup(c);
  std::vector<size_t> wanted;
  if (c.gradients)
    for (size_t i = 0; i < c.inputs.size(); ++i)
      if (setup.differentiable(i)) wanted.push_back(i);

  ThreadPool one(1), two(2), three(3);
  const Run reference = execute(setup, wanted, one, true);
  check_forward(setup, reference);
  check_finite_differences(setup, wanted, reference);
  check_directions(setup, wanted, reference);

  const Run again = execute(setup, wanted, one, false, 1, 2);
  CHECK(same_bits(again.outputs, reference.outputs));
  CHECK(same_bits(again.gradients, reference.gradients));
  for (int variant : {1, 2}) {
    if (set_run_variant) set_run_variant(variant);
    const Run varied = execute(setup, wanted, variant == 1 ? two : three, false);
    CHECK(same_bits(varied.outputs, reference.outputs));
    CHECK(same_bits(varied.gradients, reference.gradients));
  }
  if (set_run_variant) set_run_variant(0);

  // Used twice: every gradient is the sum of two equal contributions.
  const Run doubled = execute(setup, wanted, two, true, 2);
  for (size_t w = 0; w < wanted.size(); ++w)
    for (size_t k = 0; k < doubled.gradients[w].size(); ++k)
      compare(fmt::format("accumulated gradient of input {} at {}", wanted[w], k), doubled.gradients[w][k],
              2.0 * reference.gradients[w][k], c, 2);
  // Each gradient alone.
  if (wanted.size() > 1)
    for (size_t w = 0; w < wanted.size(); ++w) {
      const Run single = execute(setup, {wanted[w]}, two, true);
      for (size_t k = 0; k < single.gradients[0].size(); ++k)
        compare(fmt::format("gradient of input {} alone at {}", wanted[w], k), single.gradients[0][k],
                reference.gradients[w][k], c, 2);
    }
}

Array join_channels(const std::vector<Array>& parts) {
  const Shape& first = parts[0].shape;
  int64_t channels = 0;
  for (const Array& part : parts) channels += part.shape[1];
  Array joined(Shape{first[0], channels, first[2], first[3]});
  int64_t begin = 0;
  for (const Array& part : parts) {
    for (int64_t n = 0; n < first[0]; ++n)
      for (int64_t c = 0; c < part.shape[1]; ++c)
        for (int64_t h = 0; h < first[2]; ++h)
          for (int64_t w = 0; w < first[3]; ++w) joined.at(n, begin + c, h, w) = part.at(n, c, h, w);
    begin += part.shape[1];
  }
  return joined;
}

}  // namespace ladarts::testing
