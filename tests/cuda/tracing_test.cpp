// Kernels as CUPTI sees them: by a library that stands in for it, and the real one as far as it goes without
// a GPU.
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "core/error.h"
#include "core/program.h"
#include "cuda/tracing/cupti.h"
#include "cuda/tracing/kernel_trace.h"
#include "ops/batch_norm.h"
#include "ops/pool2d.h"
#include "predictor/profile.h"
#include "tests/cuda/emulated_device.h"
#include "tests/cuda/fake_control.h"
#include "tests/cuda/fake_cupti.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::cuda;
using namespace ladarts::testing;

namespace {

// Named before the first use of CUPTI in this process.
const bool cupti_named = setenv("LADARTS_CUPTI", LADARTS_FAKE_CUPTI, 1) == 0;

template <class F>
F* fake(const char* name) {
  static void* const library = dlopen(LADARTS_FAKE_CUPTI, RTLD_NOW);
  REQUIRE(library != nullptr);
  auto* const found = reinterpret_cast<F*>(dlsym(library, name));
  REQUIRE(found != nullptr);
  return found;
}
#define FAKE(name) fake<decltype(name)>(#name)

// The kernels of the emulated device reach the stand-in while it lives.
class TracedDevice {
 public:
  TracedDevice() {
    static auto* const ran = FAKE(fake_cupti_kernel);
    emulated_kernel_ran = [](int64_t begin, int64_t end) {
      ran("_ZN7ladarts4cuda12_GLOBAL__N_17forwardILi3ELb1EEEvPKfPf", begin, end);
    };
  }
  ~TracedDevice() { emulated_kernel_ran = nullptr; }
};

// batch_norm has several kernels, a pool has one.
Program small_program() {
  Graph g(test_device());
  const Tensor x = g.leaf(test_storage({4, 2, 6, 6}));
  g.bind_output(global_avg_pool(max_pool2d(batch_norm(x, {}, {}, {}), {})));
  return compile(g);
}

}  // namespace

TEST_CASE("tracing: kernels come in order of time, whatever the order of CUPTI's buffers",
          "[cuda][tracing]") {
  REQUIRE(cupti_named);
  auto* const ran = FAKE(fake_cupti_kernel);
  ran("before", 1, 2);
  const std::vector<KernelRecord> kernels = trace_kernels([&] {
    for (int i = 0; i < 9; ++i) ran("_Z5firstPf", 100 + 10 * i, 105 + 10 * i);
  });
  ran("after", 300, 301);
  REQUIRE(kernels.size() == 9);
  for (int i = 0; i < 9; ++i) {
    CHECK(kernels[size_t(i)].begin_ns == 100 + 10 * i);
    CHECK(kernels[size_t(i)].end_ns == 105 + 10 * i);
  }
  CHECK(kernels[0].name == "first");
  CHECK(kernels[0].grid == std::array{7, 1, 1});
  CHECK(kernels[0].block == std::array{128, 1, 1});
  CHECK(kernels[0].registers == 40);
  CHECK(kernels[0].shared_bytes == 1536);
  CHECK(trace_kernels([] {}).empty());
}

TEST_CASE("tracing: what goes wrong is said, and the next trace works", "[cuda][tracing]") {
  auto* const ran = FAKE(fake_cupti_kernel);
  auto* const fail_next = FAKE(fake_fail);
  const auto one = [&] { ran("_Z1kv", 1, 2); };
  for (const char* call : {"cuptiActivityRegisterCallbacks", "cuptiActivityEnable"}) {
    fail_next(call, CUPTI_ERROR_UNKNOWN);
    CHECK_THROWS_WITH(trace_kernels(one),
                      ContainsSubstring("[cupti]") && ContainsSubstring("CUPTI_ERROR_UNKNOWN"));
  }
  fail_next("cuptiActivityEnable", CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED);
  CHECK_THROWS_WITH(trace_kernels(one), ContainsSubstring("another profiler"));
  fail_next("cuptiActivityGetNextRecord", CUPTI_ERROR_UNKNOWN);
  CHECK_THROWS_WITH(trace_kernels(one), ContainsSubstring("reading its records"));
  CHECK_THROWS_WITH(trace_kernels([&] {
                      one();
                      FAKE(fake_cupti_lose)(3);
                    }),
                    ContainsSubstring("3 records were lost"));
  CHECK_THROWS_WITH(trace_kernels([&] {
                      one();
                      fail("work failed");
                    }),
                    ContainsSubstring("work failed"));
  CHECK(trace_kernels(one).size() == 1);
  CHECK_THROWS_WITH(load_cupti("/nowhere/libcupti.so"),
                    ContainsSubstring("/nowhere/libcupti.so") && ContainsSubstring("LADARTS_CUPTI"));
  CHECK_THROWS_WITH(load_cupti(LADARTS_FAKE_CUBLAS), ContainsSubstring("has no cupti"));
}

TEST_CASE("tracing: NVIDIA's library has every function that is called", "[cuda][tracing]") {
  for (const char* file :
       {"libcupti.so.13", "/usr/local/cuda/extras/CUPTI/lib64/libcupti.so", "libcupti.so.12"}) {
    if (dlopen(file, RTLD_LAZY | RTLD_LOCAL)) {  // and stays: unloaded, it leaks
      const CuptiApi api = load_cupti(file);
      const char* text = nullptr;
      CHECK(api.cuptiGetResultString(CUPTI_ERROR_INVALID_PARAMETER, &text) == CUPTI_SUCCESS);
      REQUIRE(text != nullptr);
      CHECK(std::string(text) == "CUPTI_ERROR_INVALID_PARAMETER");
      return;
    }
  }
  WARN("CUPTI is not installed here");
}

TEST_CASE("tracing: names of kernels without result, namespaces and parameters", "[cuda][tracing]") {
  CHECK(kernel_name("_ZN7ladarts4cuda12_GLOBAL__N_17forwardILi3ELb1EEEvPKfPf") == "forward<3, true>");
  CHECK(kernel_name("_ZN7ladarts4cuda4axpyEPff") == "axpy");
  CHECK(kernel_name("volta_sgemm_128x64_nn") == "volta_sgemm_128x64_nn");
  CHECK(kernel_name(nullptr) == "unknown");
}

TEST_CASE("tracing: each kernel of a program belongs to the node that queued it", "[cuda][tracing]") {
  const TracedDevice traced_device;
  Program p = small_program();
  const Program::TracedRuns traced = p.run_traced(3);
  const auto& node_of = traced.node_of;
  REQUIRE(node_of.size() > p.nodes().size());
  CHECK(std::is_sorted(node_of.begin(), node_of.end()));
  for (size_t i = 0; i < p.nodes().size(); ++i) {
    INFO(p.nodes()[i].op);
    const auto kernels = std::count(node_of.begin(), node_of.end(), int(i));
    CHECK(kernels >= 1);
    if (p.nodes()[i].op == "max_pool2d") CHECK(kernels == 1);
  }
  REQUIRE(traced.runs.size() == 3);
  int64_t last = 0;
  for (const auto& run : traced.runs) {
    REQUIRE(run.size() == node_of.size());
    for (const KernelRecord& k : run) {
      CHECK(k.begin_ns >= last);
      CHECK(k.end_ns >= k.begin_ns);
      last = k.end_ns;
    }
  }
  CHECK_THROWS_WITH(
      [&] {
        emulated_kernel_ran = nullptr;
        p.run_traced(1);
      }(),
      ContainsSubstring("saw 0 kernels"));
}

TEST_CASE("tracing: a profile holds the kernels of its nodes, or says why not", "[cuda][tracing]") {
  Program p = small_program();
  {
    const TracedDevice traced_device;
    const ProgramProfile profile = profile_program(p, {.repeats = 3, .kernels = true});
    CHECK(profile.no_kernels.empty());
    REQUIRE(profile.kernels.size() > profile.nodes.size());
    double sum = 0, last = 0;
    for (const KernelTime& k : profile.kernels) {
      CHECK(k.us >= 0);
      CHECK(k.start_us >= last);
      CHECK(size_t(k.node) < profile.nodes.size());
      last = k.start_us;
      sum += k.us;
    }
    CHECK(profile.kernels[0].start_us == 0);
    CHECK(profile.kernels_us() == Approx(sum));
    CHECK(profile.kernel_span_us > 0);
    CHECK(profile.kernel_gap_us >= 0);
  }
  const ProgramProfile without = profile_program(p, {.repeats = 2, .kernels = true});
  CHECK(without.kernels.empty());
  CHECK_THAT(without.no_kernels, ContainsSubstring("saw 0 kernels"));
  CHECK(profile_program(p, {.repeats = 2}).no_kernels.empty());
}
