#include "nas/network.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/gradients.h"
#include "core/program.h"
#include "nas/sampler.h"
#include "ops/losses.h"
#include "ops/optimizer.h"
#include "tests/nas/network_support.h"
#include "tests/support/allocations.h"
#include "tests/support/catch.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

constexpr const char* kMixedCell =
    "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|avg_pool_3x3~0|skip_connect~1|nor_conv_3x3~2|";

// One recorded network and its outputs.
struct Runner {
  Runner(const NetworkConfig& config, NetworkMode mode, ParameterSet& params, ParameterSet& buffers,
         Storage images, const std::optional<RandomState>& random = {}, float rate = 0) {
    Storage rate_storage = Storage::create({1});
    rate_storage.set(rate);
    std::optional<DropPathInput> drop_path;
    if (random) drop_path = DropPathInput{graph.leaf(rate_storage), *random};
    network = record_network(graph, config, mode, params, buffers, graph.leaf(images), drop_path);
    logits = graph.bind_output(network.logits);
  }
  std::vector<float> run() {
    Program program = compile(graph);
    program.run();
    return logits.to_vector();
  }
  Graph graph;
  Network network;
  Storage logits;
};

void train_statistics(const NetworkConfig& config, ParameterSet& params, ParameterSet& buffers,
                      Storage images) {
  Runner training(config, NetworkMode::training, params, buffers, images);
  disturb(params, ".gamma", 0.5f, 1.5f);
  disturb(params, ".beta", -0.5f, 0.5f);
  buffers.values();
  Program program = compile(training.graph);
  for (int i = 0; i < 5; ++i) program.run();
}

void check_folding(const NetworkConfig& config, int batch) {
  INFO(to_text(config.genotype, config.space));
  ParameterSet params(1), buffers, folded;
  Storage images = random_images({batch, 3, config.shape.image, config.shape.image});
  train_statistics(config, params, buffers, images);
  Runner evaluation(config, NetworkMode::evaluation, params, buffers, images);
  ParameterSet unused;
  Runner inference(config, NetworkMode::inference, folded, unused, images);
  fold_normalisation(inference.network, params, buffers, folded);
  const std::vector<float> expected = evaluation.run(), result = inference.run();
  const double scale = largest_magnitude(expected);
  REQUIRE(std::isfinite(scale));
  CHECK(scale > 0.01);
  CHECK(largest_difference(expected, result) < 2e-4 * scale);
  for (const Node& node : inference.graph.nodes()) {
    const bool lone = config.space.name == "nasbench201" && node.scope == "head";
    CHECK((node.op->name() != "batch_norm" || lone));
  }
}

}  // namespace

TEST_CASE("network: inference with folded normalisation gives what evaluation gives", "[nas][network]") {
  const NetworkShape cifar{.channels = 8, .layers = 4, .classes = 7, .image = 16};
  check_folding(config_of(kEveryPrimitive, cifar), 4);
  check_folding(config_of("PC_DARTS_cifar", {.channels = 6, .layers = 3, .classes = 3, .image = 11}), 3);
  check_folding(
      config_of("DARTS_V2", {.channels = 4, .layers = 3, .classes = 5, .image = 64, .stem = Stem::imagenet}),
      4);
  check_folding(config_of(kMixedCell, {.channels = 4, .layers = 2, .classes = 5, .image = 12}), 4);
}

TEST_CASE("network: after the first run inference allocates nothing", "[nas][network]") {
  for (int64_t batch : {1, 5}) {
    const NetworkConfig config = config_of(kEveryPrimitive, {.channels = 8, .layers = 4, .image = 16});
    ParameterSet folded(1), buffers;
    Graph graph;
    const Tensor images = graph.leaf(random_images({batch, 3, 16, 16}));
    const Storage logits = graph.bind_output(
        record_network(graph, config, NetworkMode::inference, folded, buffers, images).logits);
    folded.values();
    Program program = compile(graph);
    program.run();
    const int64_t before = testing::allocations();
    for (int i = 0; i < 3; ++i) program.run();
    const int64_t after = testing::allocations();
    CHECK(after == before);
  }
}

TEST_CASE("network: training statistics move towards those of the batch", "[nas][network]") {
  const NetworkConfig config = config_of("DARTS_V1", {.channels = 4, .layers = 3, .classes = 3, .image = 8});
  ParameterSet params(1), buffers;
  train_statistics(config, params, buffers, random_images({4, 3, 8, 8}));
  int moved = 0, all = 0;
  for (const ParameterSet::Entry& e : buffers.entries()) {
    const bool variance = e.name.ends_with(".running_var");
    CHECK((variance || e.name.ends_with(".running_mean")));
    moved += e.value.to_vector()[0] != (variance ? 1.f : 0.f);
    ++all;
  }
  CHECK(moved == all);
}

TEST_CASE("network: an untrained inference network keeps its activations in range", "[nas][network]") {
  // 20 layers of plain 1/sqrt(fan_in) weights without normalisation would end in denormal numbers.
  const SearchSpace space = SearchSpace::load("darts");
  const ArchitectureSampler sampler(space, 9);
  for (uint64_t i = 0; i < 3; ++i) {
    const NetworkConfig config{
        .space = space, .genotype = sampler.at(i), .shape = {.channels = 8, .layers = 20}};
    ParameterSet folded(i), unused;
    Runner inference(config, NetworkMode::inference, folded, unused, random_images({1, 3, 32, 32}));
    folded.values();
    const double magnitude = largest_magnitude(inference.run());
    CHECK(magnitude > 1e-3);
    CHECK(magnitude < 1e20);
  }
}

TEST_CASE("network: drop-path of rate 0 changes nothing, of rate 1 leaves the identities", "[nas][network]") {
  const NetworkConfig config =
      config_of(kEveryPrimitive, {.channels = 4, .layers = 3, .classes = 3, .image = 8});
  ParameterSet params(1), buffers;
  Storage images = random_images({4, 3, 8, 8});
  const RandomState random(5);
  Runner plain(config, NetworkMode::training, params, buffers, images);
  Runner none_dropped(config, NetworkMode::training, params, buffers, images, random, 0.f);
  Runner some_dropped(config, NetworkMode::training, params, buffers, images, random, 0.5f);
  Runner evaluation(config, NetworkMode::evaluation, params, buffers, images, random, 0.5f);
  params.values();
  buffers.values();
  const std::vector<float> expected = plain.run();
  CHECK(largest_difference(none_dropped.run(), expected) < 1e-4 * largest_magnitude(expected));
  CHECK(some_dropped.run() != expected);
  const auto drops = [](const Graph& g) {
    return std::count_if(g.nodes().begin(), g.nodes().end(),
                         [](const Node& n) { return n.op->name() == "drop_path"; });
  };
  // Two reduction cells of 8 operations, none of them an identity at stride 2 but for the skip from node 3;
  // one normal cell, whose skip_connect and none stay.
  CHECK(drops(some_dropped.graph) == 2 * 7 + 6);
  CHECK(drops(evaluation.graph) == 0);
}

TEST_CASE("network: a cell of none alone is zero, and its network still runs", "[nas][network]") {
  const NetworkConfig config = config_of("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
                                         {.channels = 4, .layers = 1, .classes = 3, .image = 8});
  ParameterSet params(1), buffers;
  Storage images = random_images({2, 3, 8, 8});
  Runner evaluation(config, NetworkMode::evaluation, params, buffers, images);
  params.values();
  buffers.values();
  const std::vector<float> logits = evaluation.run(), bias = params.find("head.bias")->value.to_vector();
  CHECK(std::vector<float>(logits.begin(), logits.begin() + 3) == bias);
  CHECK(std::vector<float>(logits.begin() + 3, logits.end()) == bias);
}

TEST_CASE("network: gradient descent fits a few images, with auxiliary head and drop-path",
          "[nas][network]") {
  NetworkConfig config = config_of(kEveryPrimitive, {.channels = 4, .layers = 3, .classes = 3, .image = 32});
  config.auxiliary = true;
  ParameterSet params(1), buffers;
  Graph graph;
  Storage labels = Storage::create({6}, DType::i32), rate = Storage::create({1}), lr = Storage::create({1});
  RandomState random(3);
  const Network network =
      record_network(graph, config, NetworkMode::training, params, buffers,
                     graph.leaf(random_images({6, 3, 32, 32})), DropPathInput{graph.leaf(rate), random});
  const Tensor y = graph.leaf(labels);
  const Tensor loss = cross_entropy(network.logits, y),
               auxiliary = cross_entropy(network.auxiliary_logits, y);
  const std::vector<Storage> values{graph.bind_output(loss), graph.bind_output(auxiliary)};
  gradients(std::vector{loss, auxiliary}, params.leaves(graph), {.into = params.gradient_storages()});
  Storage momentum = Storage::create(params.values().shape());
  sgd_update(graph.leaf(params.values()), graph.leaf(params.gradients()), graph.leaf(momentum),
             graph.leaf(lr), {.momentum = 0.9f, .weight_decay = 0.f});
  buffers.values();
  labels.upload(std::vector<int32_t>{0, 1, 2, 1, 0, 2});
  rate.set(0.1f);
  lr.set(0.02f);  // at 0.05 the loss jumps, from where rounding takes it
  Program program = compile(graph);
  program.run();
  const float first[] = {values[0].item(), values[1].item()};
  const int64_t before = testing::allocations();
  for (int step = 0; step < 60; ++step) {
    random.advance();
    program.run();
  }
  const int64_t allocated = testing::allocations() - before;
  CHECK(allocated == 0);
  rate.set(0.f);
  lr.set(0.f);
  program.run();
  CHECK(values[0].item() < 0.2f * first[0]);
  CHECK(values[1].item() < 0.2f * first[1]);
}

TEST_CASE("network: training that computes values again takes less memory and gives the same bits",
          "[nas][network]") {
  NetworkConfig config = config_of(kEveryPrimitive, {.channels = 4, .layers = 6, .classes = 3, .image = 32});
  config.auxiliary = true;
  std::vector<std::vector<float>> found;
  std::vector<size_t> arenas;
  for (const bool recompute : {false, true}) {
    ParameterSet params(1), buffers;
    Graph graph;
    const Storage labels = Storage::create({6}, DType::i32), rate = Storage::create({1});
    const RandomState random(3);
    rate.set(0.2f);
    const Network network =
        record_network(graph, config, NetworkMode::training, params, buffers,
                       graph.leaf(random_images({6, 3, 32, 32})), DropPathInput{graph.leaf(rate), random});
    const Tensor y = graph.leaf(labels);
    gradients(std::vector{cross_entropy(network.logits, y), cross_entropy(network.auxiliary_logits, y)},
              params.leaves(graph), {.into = params.gradient_storages(), .recompute = recompute});
    params.values();
    buffers.values();
    Program program = compile(graph);
    program.run();
    found.push_back(params.gradients().to_vector());
    arenas.push_back(program.stats().arena_bytes);
  }
  CHECK(found[0] == found[1]);
  CHECK(double(arenas[1]) < 0.85 * double(arenas[0]));
}

TEST_CASE("network: the auxiliary head of ImageNet shapes has its published layers", "[nas][network]") {
  // ReLU, average pool 5 stride 2, 1x1 to 128, norm, ReLU, 2x2 to 768, ReLU, linear.
  const NetworkConfig config{
      .space = SearchSpace::load("darts"),
      .genotype = parse_genotype("DARTS_V2"),
      .shape = {.channels = 48, .layers = 14, .classes = 1000, .image = 224, .stem = Stem::imagenet},
      .auxiliary = true};
  Graph graph;
  ParameterSet params, buffers;
  const Network network = record_network(graph, config, NetworkMode::training, params, buffers,
                                         graph.leaf(Storage::create({2, 3, 224, 224})));
  CHECK(network.auxiliary_logits.shape() == Shape{2, 1000});
  const int64_t inputs = 4 * 4 * 48;  // channels of the cells in the last third
  CHECK(params.count() == 4718752 + inputs * 128 + 2 * 128 + 128 * 768 * 4 + 768 * 1000 + 1000);
}

TEST_CASE("network: a user's own space makes a network", "[nas][network]") {
  const SearchSpace space = SearchSpace::from_json(R"({
    "name": "mine", "cell_types": ["block"], "inputs": 2, "nodes": 3, "edges": "all",
    "primitives": ["skip_connect", "sep_conv_7x7", "nor_conv_5x5"],
    "skeleton": {"kind": "darts", "reduce_at": [[1, 2]], "layers": 2, "channels": 4}})",
                                                   "mine");
  const ArchitectureSampler sampler(space, 1);
  const NetworkConfig config{.space = space, .genotype = sampler.at(3), .shape = {.classes = 5, .image = 9}};
  check_folding(config, 3);
}
