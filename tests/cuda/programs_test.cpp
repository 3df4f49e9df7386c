// Whole programs on host-run CUDA kernels against the same programs on the CPU.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/gradients.h"
#include "core/philox.h"
#include "nas/data/loader.h"
#include "nas/encoding.h"
#include "nas/latency_meter.h"
#include "nas/search_steps.h"
#include "ops/batch_norm.h"
#include "ops/conv2d.h"
#include "ops/linear.h"
#include "ops/losses.h"
#include "ops/pool2d.h"
#include "predictor/additive.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

constexpr int kImage = 8, kBatch = 2;

SearchStepConfig config_of(Device device, bool fused) {
  SearchStepConfig c;
  c.supernet.space = SearchSpace::load("darts");
  c.supernet.shape = {.channels = 4, .layers = 3, .classes = 4, .image = kImage};
  c.supernet.partial_k = 2;
  c.supernet.edge_normalisation = true;
  c.supernet.fused = fused;
  c.lambda = 0.5f;
  c.batch = kBatch;
  c.seed = 11;
  c.device = device;
  return c;
}

// A predictor with a different cost for every feature.
std::unique_ptr<Regressor> some_predictor(const SearchSpace& space, Device device) {
  std::vector<double> costs(size_t(encoding_size(space)));
  for (size_t k = 0; k < costs.size(); ++k) costs[k] = 0.2 + 0.01 * double(k % 37);
  return std::make_unique<AdditiveRegressor>(costs, 1.0, device);
}

// What one step of each kind leaves behind.
struct Outcome {
  std::vector<float> losses, weights, alphas;

  explicit Outcome(const SearchStepConfig& config) {
    const auto predictor = some_predictor(config.supernet.space, config.device);
    SearchSteps steps(config, predictor.get(), {.mean = {.5f, .5f, .5f}, .deviation = {.29f, .29f, .29f}});
    Random random(21);
    std::vector<float> start = steps.architecture().set().values().to_vector();
    for (float& v : start) v = random.normal();
    steps.architecture().set().values().upload(std::span<const float>(start));
    for (const StepBatch& b : {steps.training_batch(), steps.validation_batch()}) {
      std::vector<uint8_t> images(size_t(b.images().shape().elements()));
      for (uint8_t& v : images) v = uint8_t(random.bits());
      std::vector<int32_t> labels(size_t(b.labels().shape().elements()));
      for (int32_t& v : labels) v = int32_t(random.below(4));
      b.images().upload(std::span<const uint8_t>(images));
      b.labels().upload(std::span<const int32_t>(labels));
    }
    losses.push_back(steps.architecture_step(0.05f).loss);
    losses.push_back(steps.weight_step(0.05f).loss);
    losses.push_back(float(steps.relaxed_cost()));
    weights = steps.weights().values().to_vector();
    alphas = steps.architecture().set().values().to_vector();
  }
};

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::fabs(double(a[i]) - double(b[i])));
  return largest;
}

}  // namespace

TEST_CASE("cuda programs: search steps give what they give on the CPU, and the same bits again",
          "[cuda][programs]") {
  for (bool fused : {true, false}) {
    const Outcome cpu(config_of({}, fused)), cuda(config_of(test_device(), fused));
    INFO("fused " << fused);
    CHECK(largest_difference(cpu.losses, cuda.losses) < 1e-4);
    CHECK(largest_difference(cpu.weights, cuda.weights) < 1e-4);
    // Adam's first steps have the size of the learning rate, whatever the gradient's: noise about zero shows
    // in full.
    CHECK(largest_difference(cpu.alphas, cuda.alphas) < 1e-3);
    if (!fused) continue;
    const Outcome again(config_of(test_device(), fused));
    CHECK(again.losses == cuda.losses);
    CHECK(again.weights == cuda.weights);
    CHECK(again.alphas == cuda.alphas);
  }
}

TEST_CASE("cuda programs: a latency term of drawn architectures is the CPU's", "[cuda][programs]") {
  for (const RelaxationKind kind : {RelaxationKind::drawn, RelaxationKind::gumbel, RelaxationKind::derived}) {
    SearchStepConfig config = config_of({}, true);
    config.term.relaxation = {kind, 3};
    const Outcome cpu(config);
    config.device = test_device();
    const Outcome cuda(config);
    INFO(to_string(kind));
    CHECK(largest_difference(cpu.losses, cuda.losses) < 1e-4);
    CHECK(largest_difference(cpu.alphas, cuda.alphas) < 1e-3);
  }
}

TEST_CASE("cuda programs: steps queued ahead give what they give one by one", "[cuda][programs]") {
  SearchStepConfig config = config_of(test_device(), false);
  config.supernet.space = SearchSpace::load("nasbench201");
  config.supernet.shape.layers = 1;
  config.second_order = true;
  config.term.relaxation = {RelaxationKind::drawn, 2};
  const auto predictor = some_predictor(config.supernet.space, config.device);
  std::vector<float> results[2];
  for (const bool ahead : {false, true}) {
    SearchSteps steps(config, predictor.get());
    std::vector<uint8_t> images(size_t(steps.training_batch().images().shape().elements()));
    std::vector<float>& found = results[ahead];
    const auto take = [&] {
      found.push_back(steps.take_architecture_result().loss);
      found.push_back(steps.take_weight_result().loss);
    };
    for (int i = 0; i < 3; ++i) {
      for (size_t k = 0; k < images.size(); ++k) images[k] = uint8_t(k * size_t(7 + i) % 251);
      steps.training_batch().images().upload(std::span<const uint8_t>(images));
      steps.queue_architecture_step(0.05f);
      steps.queue_weight_step(0.05f / float(i + 1));
      if (!ahead || i >= 1) take();
    }
    if (ahead) take();
    for (const float v : steps.weights().values().to_vector()) found.push_back(v);
  }
  CHECK(results[0] == results[1]);
}

TEST_CASE("cuda programs: a batch stays as it is until the device has copied it", "[cuda][programs]") {
  auto set = std::make_shared<ImageSet>();
  set->size = 4;
  set->classes.assign(10, "class");
  for (int i = 0; i < 40; ++i) {
    set->labels.push_back(uint8_t(i % 10));
    set->images.insert(set->images.end(), set->image_bytes(), uint8_t(i));
  }
  const LoaderOptions options{.batch_size = 5, .augmentation = {1, true, 2}, .seed = 3};
  LoaderOptions there = options;
  there.device = test_device();
  BatchLoader here(set, first_images(40), options), loader(set, first_images(40), there);
  std::vector<StepBatch> batches;  // more than the loader has memory for
  for (int i = 0; i < 12; ++i) {
    batches.emplace_back(5, 4, test_device());
    batches.back().images().zero();
  }
  for (const StepBatch& b : batches) loader.next_into(b);
  for (const StepBatch& b : batches) {
    const Batch expected = here.next();
    std::vector<int32_t> labels(5), choices(size_t(5 * kAugmentChoiceWords));
    b.labels().download(std::span<int32_t>(labels));
    b.choices().download(std::span<int32_t>(choices));
    CHECK(std::equal(labels.begin(), labels.end(), expected.labels.begin()));
    CHECK(std::memcmp(choices.data(), expected.choices.data(), expected.choices.size_bytes()) == 0);
    Graph g(test_device());
    const Storage images = g.bind_output(b.record_images(g, {}));
    compile(g).run();
    Graph on_cpu;
    StepBatch same(5, 4, {});
    same.images().upload(expected.images);
    same.choices().upload(choices);
    const Storage wanted = on_cpu.bind_output(same.record_images(on_cpu, {}));
    compile(on_cpu).run();
    CHECK(largest_difference(images.to_vector(), wanted.to_vector()) < 1e-6);
  }
}

TEST_CASE("cuda programs: a replay equals the kernels one by one, bit for bit", "[cuda][programs]") {
  Graph g(test_device());
  ParameterSet params(3, test_device());
  Storage x = test_storage({4, 3, 9, 7}), labels = test_storage({4}, DType::i32);
  std::vector<float> values(size_t(x.shape().elements()));
  Random random(5);
  for (float& v : values) v = random.normal();
  x.upload(std::span<const float>(values));
  labels.upload(std::vector<int32_t>{0, 2, 1, 1});
  const Tensor w = params.get(g, "w", {6, 3, 3, 3}, Init::normal(0.3f));
  const Tensor head = params.get(g, "head", {3, 6}, Init::normal(0.3f));
  const Tensor features = global_avg_pool(batch_norm(conv2d(g.leaf(x), w, {.padding = 1}), {}, {}, {}));
  const Tensor loss = cross_entropy(linear(features, head), g.leaf(labels));
  const Storage out = g.bind_output(loss);
  gradients(loss, params.leaves(g), {.into = params.gradient_storages()});
  params.values();
  Program p = compile(g);
  std::vector<std::vector<float>> gradients_of, losses;
  std::vector<int64_t> marks;
  for (int way = 0; way < 4; ++way) {
    params.gradients().zero();
    if (way == 0)
      p.run_node_by_node();
    else if (way == 3)
      p.run_timed(marks);
    else
      p.run();
    p.wait();
    gradients_of.push_back(params.gradients().to_vector());
    losses.push_back(out.to_vector());
  }
  CHECK(losses[0][0] > 0.1f);
  for (int way : {1, 2, 3}) {
    CHECK(losses[size_t(way)] == losses[0]);
    CHECK(std::memcmp(gradients_of[size_t(way)].data(), gradients_of[0].data(),
                      gradients_of[0].size() * sizeof(float)) == 0);
  }
  REQUIRE(marks.size() == p.nodes().size() + 1);
  CHECK(marks.front() == 0);
  CHECK(std::is_sorted(marks.begin(), marks.end()));
  const std::vector<int64_t> before = marks;
  p.run_timed(marks);  // the same recording again, with times of its own
  CHECK(marks.size() == before.size());
  CHECK(marks.back() > 0);
}

TEST_CASE("cuda programs: the device's own time of a network is measured beside the time on the wall",
          "[cuda][programs]") {
  const LatencySetup setup{.space = SearchSpace::load("darts"),
                           .shape = {.channels = 4, .layers = 2, .image = 16},
                           .device = test_device(),
                           .measure = {.max_warmup_runs = 6, .min_repeats = 3, .max_repeats = 3}};
  InferenceNetwork network(setup, parse_genotype("DARTS_V2", setup.space));
  LatencyTimer timer(setup);
  const Timing t = timer.time(network);
  CHECK(t.device_ms > 0);
  CHECK(t.device_ms <= t.median_ms * 1.01);
  CHECK(timer.conditions().device_ms == t.device_ms);
}

TEST_CASE("cuda programs: a storage of another device is refused", "[cuda][programs]") {
  Graph g(test_device());
  CHECK_THROWS_WITH(g.leaf(Storage::create({3})),
                    ContainsSubstring("is kept on cpu, the graph is of cuda:0"));
}
