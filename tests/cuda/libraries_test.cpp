// The choice between the project's kernels and those of libraries, with libraries that stand in for cuDNN and
// cuBLAS. That these compute the ops is checked by the op cases: LADARTS_TEST_KERNELS=cudnn,cublas.
#include <dlfcn.h>

#include <cstdlib>

#include "core/atomic_file.h"
#include "core/gradients.h"
#include "core/json_file.h"
#include "core/program.h"
#include "core/progress.h"
#include "cuda/libraries/cublas.h"
#include "cuda/libraries/cudnn.h"
#include "nas/run_folder.h"
#include "nas/search.h"
#include "nas/train.h"
#include "ops/batch_norm.h"
#include "ops/conv2d.h"
#include "ops/linear.h"
#include "ops/pool2d.h"
#include "predictor/machine.h"
#include "tests/cuda/fake_control.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;
using namespace ladarts::cuda;
using namespace ladarts::testing;

namespace {

constexpr DeviceKind kCuda = DeviceKind::cuda;

const bool stand_ins_named = setenv("LADARTS_CUDNN", LADARTS_FAKE_CUDNN, 1) == 0 &&
                             setenv("LADARTS_CUBLAS", LADARTS_FAKE_CUBLAS, 1) == 0;

// A stand-in and its knobs.
class StandIn {
 public:
  explicit StandIn(const char* path) : file(path), library_(dlopen(path, RTLD_NOW)) {
    REQUIRE(stand_ins_named);
    REQUIRE(library_ != nullptr);
  }
  ~StandIn() {
    slow_down(0);
    set_version(0);
    dlclose(library_);
  }
  void fail(const char* function, int status) const { knob(&fake_fail, "fake_fail")(function, status); }
  int calls(const char* function) const { return knob(&fake_calls, "fake_calls")(function); }
  void slow_down(int us) const { knob(&fake_slow_down, "fake_slow_down")(us); }
  void set_version(int version) const { knob(&fake_set_version, "fake_set_version")(version); }

  const std::string file;

 private:
  template <class F>
  F knob(F, const char* name) const {
    return reinterpret_cast<F>(dlsym(library_, name));
  }
  void* library_;
};

// A network of every op that there are two kernels for, and gradients.
struct SmallNetwork {
  explicit SmallNetwork(const KernelPolicy& policy) : program(make(policy)) {}

  Program make(const KernelPolicy& policy) {
    Graph g(test_device());
    const Storage x = filled({2, 4, 7, 6});
    const Tensor w = g.leaf(filled({4, 2, 3, 3})), bias = g.leaf(filled({4}));
    const Tensor gamma = g.leaf(filled({4})), beta = g.leaf(filled({4})), head = g.leaf(filled({3, 4}));
    Tensor t = conv2d(g.leaf(x), w, {.padding = 1, .groups = 2, .relu_input = true}, bias);
    t = batch_norm(t, gamma, beta, {});
    t = max_pool2d(t, {});
    t = avg_pool2d(t, {.stride = 2});
    t = linear(global_avg_pool(t), head);
    out = g.bind_output(t);
    const Tensor seed = g.leaf(filled({2, 3}));
    for (const Tensor& d :
         vector_jacobian({&t, 1}, {&seed, 1}, std::vector<Tensor>{w, bias, gamma, beta, head}))
      gradients.push_back(g.bind_output(d));
    return compile(g, {.kernels = &policy});
  }
  static Storage filled(Shape shape) {
    const Storage s = test_storage(shape);
    std::vector<float> values(size_t(shape.elements()));
    for (size_t i = 0; i < values.size(); ++i) values[i] = float(int(i * 7919 % 23) - 9) / 16;
    s.upload(std::span<const float>(values));
    return s;
  }
  std::string kernel_of(const std::string& op) const {
    for (const NodeInfo& node : program.nodes())
      if (node.op == op) return node.kernel;
    return "no such node";
  }
  // All results, after one run.
  std::vector<float> results() {
    program.run();
    program.wait();
    std::vector<float> all = out.to_vector();
    for (const Storage& s : gradients) {
      const std::vector<float> some = s.to_vector();
      all.insert(all.end(), some.begin(), some.end());
    }
    return all;
  }

  Storage out;
  std::vector<Storage> gradients;
  Program program;
};

double farthest(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::fabs(double(a[i]) - double(b[i])));
  return most;
}

// One convolution, which takes the stand-in far less time than kernels on the emulated device.
Program one_convolution(const KernelPolicy& policy, int stride = 1) {
  Graph g(test_device());
  g.bind_output(conv2d(g.leaf(SmallNetwork::filled({1, 3, 8, 8})), g.leaf(SmallNetwork::filled({5, 3, 3, 3})),
                       {.stride = stride}));
  return compile(g, {.kernels = &policy});
}

KernelPolicy fastest_policy(const std::filesystem::path& file, const std::string& build = "1") {
  KernelPolicy policy = KernelPolicy::parse("fastest", kCuda);
  policy.choices = file;
  policy.build = build;
  return policy;
}

const KernelPolicy kOwn;

}  // namespace

TEST_CASE("kernels: each node has the library's where there is one, ours elsewhere, and says so",
          "[kernels]") {
  SmallNetwork own(kOwn), both(KernelPolicy::parse("cudnn,cublas", kCuda));
  for (const NodeInfo& node : own.program.nodes()) CHECK(node.kernel == "ladarts");
  CHECK(both.kernel_of("conv2d") == "cudnn implicit_precomp_gemm");
  CHECK(both.kernel_of("conv2d_grad_weight") == "cudnn 1");
  CHECK(both.kernel_of("batch_norm") == "cudnn batch_norm");
  CHECK(both.kernel_of("batch_norm_grad") == "cudnn batch_norm");
  CHECK(both.kernel_of("max_pool2d") == "cudnn pooling");
  CHECK(both.kernel_of("max_pool2d_grad") == "ladarts");
  CHECK(both.kernel_of("avg_pool2d_grad") == "cudnn pooling");
  CHECK(both.kernel_of("global_avg_pool_grad") == "cudnn pooling");
  CHECK(both.kernel_of("linear") == "cublas gemm");
  CHECK(both.kernel_of("linear_grad_weight") == "cublas gemm");
  CHECK(both.kernel_of("bias_grad") == "ladarts");
  SmallNetwork only(KernelPolicy::parse("cublas", kCuda));
  CHECK(only.kernel_of("conv2d") == "ladarts");
  CHECK(only.kernel_of("linear") == "cublas gemm");

  const StandIn cudnn_stand_in(LADARTS_FAKE_CUDNN);
  const int before = cudnn_stand_in.calls("cudnnConvolutionForward");
  const std::vector<float> first = both.results();  // node by node: libraries load kernels at their first run
  CHECK(farthest(own.results(), first) < 1e-5);
  CHECK(cudnn_stand_in.calls("cudnnConvolutionForward") == before + 1);
  const std::vector<float> recorded = both.results();
  CHECK(recorded == first);
  CHECK(cudnn_stand_in.calls("cudnnConvolutionForward") == before + 2);
  CHECK(both.results() == first);
  CHECK(cudnn_stand_in.calls("cudnnConvolutionForward") == before + 2);  // that was a replay
}

TEST_CASE("kernels: TF32 is for those who ask for it", "[kernels]") {
  KernelPolicy policy = KernelPolicy::parse("cudnn,cublas", kCuda);
  SmallNetwork exact(policy);
  policy.tf32 = true;
  SmallNetwork rounded(policy);
  CHECK(rounded.kernel_of("conv2d") == "cudnn implicit_precomp_gemm tf32");
  CHECK(rounded.kernel_of("linear") == "cublas gemm tf32");
  const double difference = farthest(exact.results(), rounded.results());
  CHECK(difference > 1e-6);
  CHECK(difference < 1e-1);
}

TEST_CASE(
    "kernels: a missing library, function or version is refused with what is missing and how to mend it",
    "[kernels]") {
  CHECK_THROWS_WITH(load_cudnn("/nowhere/libcudnn.so.9"),
                    ContainsSubstring("[cudnn] /nowhere/libcudnn.so.9 cannot be loaded") &&
                        ContainsSubstring("LADARTS_CUDNN"));
  CHECK_THROWS_WITH(load_cublas("/nowhere/libcublas.so"),
                    ContainsSubstring("[cublas] /nowhere/libcublas.so") && ContainsSubstring("CUDA toolkit"));
  const StandIn cudnn_stand_in(LADARTS_FAKE_CUDNN), cublas_stand_in(LADARTS_FAKE_CUBLAS);
  CHECK_THROWS_WITH(load_cudnn(cublas_stand_in.file), ContainsSubstring("has no cudnnGetVersion"));
  cudnn_stand_in.set_version(80900);
  cublas_stand_in.set_version(110500);
  CHECK_THROWS_WITH(load_cudnn(cudnn_stand_in.file),
                    ContainsSubstring("is version 8.9.0; this build needs NVIDIA cuDNN 9"));
  CHECK_THROWS_WITH(load_cublas(cublas_stand_in.file),
                    ContainsSubstring("is version 11.5.0; this build needs"));
}

TEST_CASE("kernels: an unknown name is refused with those that there are", "[kernels]") {
  CHECK_THROWS_WITH(
      KernelPolicy::parse("cudn", kCuda),
      ContainsSubstring("'cudn' is unknown") && ContainsSubstring("ladarts, cublas, cudnn or fastest"));
  CHECK_THROWS_WITH(KernelPolicy::parse("cudnn,", kCuda), ContainsSubstring("'' is unknown"));
  CHECK_THROWS_WITH(KernelPolicy::parse("cudnn", DeviceKind::cpu), ContainsSubstring("use ladarts"));
}

TEST_CASE("kernels: what a library reports is an error with its call and code", "[kernels]") {
  const KernelPolicy policy = KernelPolicy::parse("cudnn,cublas", kCuda);
  const StandIn cudnn_stand_in(LADARTS_FAKE_CUDNN), cublas_stand_in(LADARTS_FAKE_CUBLAS);
  cudnn_stand_in.fail("cudnnConvolutionForward", 5000);
  Program program = one_convolution(policy);
  CHECK_THROWS_WITH(program.run(),
                    ContainsSubstring("[cudnn] cudnnConvolutionForward:") && ContainsSubstring("(5000)"));
  CHECK_NOTHROW(program.run());
  cudnn_stand_in.fail("cudnnGetConvolutionForwardAlgorithm_v7", 4000);
  CHECK_THROWS_WITH(one_convolution(policy), ContainsSubstring("(4000)"));
  cublas_stand_in.fail("cublasSgemm_v2", 13);
  SmallNetwork network(policy);
  CHECK_THROWS_WITH(network.results(),
                    ContainsSubstring("[cublas] cublasSgemm_v2") && ContainsSubstring("(13)"));
}

TEST_CASE("kernels: what cuDNN does not support falls to ours", "[kernels]") {
  const StandIn cudnn_stand_in(LADARTS_FAKE_CUDNN);
  cudnn_stand_in.fail("cudnnGetConvolutionForwardAlgorithm_v7", 3002);
  CHECK(one_convolution(KernelPolicy::parse("cudnn", kCuda)).nodes()[0].kernel == "ladarts");
}

TEST_CASE("kernels: a linear layer that reads x through ReLU stays ours, gradients included", "[kernels]") {
  Graph g(test_device());
  const Tensor x = g.leaf(SmallNetwork::filled({2, 4})), w = g.leaf(SmallNetwork::filled({3, 4}));
  const Tensor y = linear(x, w, {}, {.relu_input = true}), seed = g.leaf(SmallNetwork::filled({2, 3}));
  for (const Tensor& d : vector_jacobian({&y, 1}, {&seed, 1}, std::vector{x, w})) g.bind_output(d);
  g.bind_output(y);
  const KernelPolicy policy = KernelPolicy::parse("cublas", kCuda);
  const Program program = compile(g, {.kernels = &policy});
  CHECK(program.nodes().size() == 3);
  for (const NodeInfo& node : program.nodes()) CHECK(node.kernel == "ladarts");
}

TEST_CASE("kernels: the fastest is measured once and remembered in a file", "[kernels]") {
  const TempFolder folder;
  const auto file = folder.path() / "kernels.json";
  const StandIn cudnn_stand_in(LADARTS_FAKE_CUDNN);
  const auto timed = [&] { return cudnn_stand_in.calls("cudnnConvolutionForward"); };
  int before = timed();
  const std::string fast = one_convolution(fastest_policy(file)).nodes()[0].kernel;
  CHECK_THAT(fast, ContainsSubstring("cudnn "));
  CHECK(timed() > before);
  const Json nodes = read_json_file(file)["machines"].begin().value();
  REQUIRE(nodes.size() == 1);
  CHECK_THAT(nodes.begin().key(), ContainsSubstring("conv2d stride=1 padding=0"));
  CHECK(nodes.begin().value()["us"].size() == 3);  // ours and two algorithms

  cudnn_stand_in.slow_down(30'000);
  before = timed();
  CHECK(one_convolution(fastest_policy(file)).nodes()[0].kernel == fast);  // known: nothing ran
  CHECK(timed() == before);
  CHECK(one_convolution(fastest_policy(file), 2).nodes()[0].kernel == "ladarts");  // another shape, now slow
  CHECK(one_convolution(fastest_policy(file, "2")).nodes()[0].kernel == "ladarts");  // another build
  CHECK(read_json_file(file)["machines"].size() == 2);

  // As another process would: from the file alone.
  Json changed = read_json_file(file);
  for (auto& machine : changed["machines"])
    for (auto& node : machine) node["kernel"] = "ladarts";
  const auto copy = folder.path() / "copy.json";
  write_json_file(copy, changed);
  before = timed();
  CHECK(one_convolution(fastest_policy(copy)).nodes()[0].kernel == "ladarts");
  CHECK(timed() == before);
  // A kernel that this machine's library no longer has is measured again.
  for (auto& machine : changed["machines"])
    for (auto& node : machine) node["kernel"] = "cudnn of the future";
  const auto stale = folder.path() / "stale.json";
  write_json_file(stale, changed);
  CHECK(one_convolution(fastest_policy(stale)).nodes()[0].kernel == "ladarts");
  CHECK(timed() > before);
}

TEST_CASE("kernels: costs say whose kernels they are of", "[kernels]") {
  CostContext own, theirs;
  describe_device(own, test_device(), 1);
  KernelPolicy policy = KernelPolicy::parse("cudnn,cublas", kCuda);
  policy.tf32 = true;
  const KernelPolicy before = kernel_policy(kCuda);
  set_kernel_policy(kCuda, policy);
  describe_device(theirs, test_device(), 1);
  set_kernel_policy(kCuda, before);
  CHECK(own.precision == "f32");
  CHECK(theirs.precision == "tf32");
  CHECK_THAT(theirs.isa, ContainsSubstring(fmt::format("cudnn {}", cudnn().version())) &&
                             ContainsSubstring(fmt::format("cublas {}", cublas().version())));
  CHECK_FALSE(own == theirs);
}

TEST_CASE("kernels: the folder of a search or a training says whose kernels it is of", "[kernels]") {
  SearchConfig search;
  TrainConfig train;
  search.step.supernet.space = train.network.space = SearchSpace::load("darts");
  search.step.device = train.device = test_device();
  train.network.genotype = parse_genotype("DARTS_V2", train.network.space);
  CHECK(to_json(search)["device"] == test_device().str());
  CHECK_FALSE(to_json(search).contains("kernels"));
  KernelPolicy policy = KernelPolicy::parse("cudnn,cublas", kCuda);
  policy.tf32 = true;
  const KernelPolicy before = kernel_policy(kCuda);
  set_kernel_policy(kCuda, policy);
  const Json theirs = to_json(search), trained = to_json(train);
  set_kernel_policy(kCuda, before);
  CHECK(theirs["kernels"] == fmt::format("cudnn {}, cublas {}, tf32", cudnn().version(), cublas().version()));
  CHECK(trained["kernels"] == theirs["kernels"]);
  CHECK_FALSE(first_difference(to_json(search), theirs).empty());
}

TEST_CASE("kernels: the real libraries have every function that is used", "[kernels][real]") {
  // They load without a driver. A machine without them is no error: builds and tests go on there.
  const std::string cudnn_file = fmt::format("libcudnn.so.{}", CUDNN_MAJOR),
                    cublas_file = fmt::format("libcublas.so.{}", CUBLAS_VER_MAJOR);
  int found = 0;
  const auto there = [&](const std::string& file) {
    void* const library = dlopen(file.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (!library) WARN("left out: " << file << " is not on this machine");
    return library != nullptr;
  };
  if (there(cudnn_file)) {
    const CudnnApi api = load_cudnn(cudnn_file);
    CHECK_THAT(api.version(), ContainsSubstring(fmt::format("{}.", CUDNN_MAJOR)));
    CHECK(std::string(api.cudnnGetErrorString(CUDNN_STATUS_BAD_PARAM)) == "CUDNN_STATUS_BAD_PARAM");
    ++found;
  }
  if (there(cublas_file)) {
    const CublasApi api = load_cublas(cublas_file);
    CHECK(api.major() == CUBLAS_VER_MAJOR);
    CHECK_FALSE(std::string(api.cublasGetStatusString(CUBLAS_STATUS_INVALID_VALUE)).empty());
    ++found;
  }
  CHECK(found <= 2);
}
