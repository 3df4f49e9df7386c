#include "nas/supernet.h"

#include <cmath>

#include "core/error.h"
#include "core/gradients.h"
#include "core/program.h"
#include "nas/derive.h"
#include "nas/network.h"
#include "nas/supernet_cell.h"
#include "ops/losses.h"
#include "tests/nas/network_support.h"
#include "tests/support/catch.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

// alpha that all but removes every operation besides the genotype's; edges not kept are given to none.
void choose(ArchitectureParameters& architecture, const Genotype& genotype) {
  const SearchSpace& space = architecture.space();
  const size_t primitives = space.primitives.size();
  for (size_t t = 0; t < genotype.cells.size(); ++t) {
    std::vector<float> alpha(size_t(space.edges()) * primitives, 0.f);
    std::vector<size_t> chosen(size_t(space.edges()), size_t(space.primitive_index("none")));
    for (int node = 0; node < space.nodes; ++node)
      for (const GenotypeEdge& e : genotype.cells[t].nodes[size_t(node)])
        chosen[size_t(space.edge_index(node, e.source))] = size_t(space.primitive_index(e.primitive));
    for (size_t e = 0; e < chosen.size(); ++e) alpha[e * primitives + chosen[e]] = 200.f;
    architecture.set_alpha(int(t), alpha);
  }
}

struct SupernetRunner {
  explicit SupernetRunner(const SupernetConfig& config, Storage images, uint64_t seed = 1)
      : architecture(config.space, config.edge_normalisation, seed), params(seed) {
    weights = record_architecture_weights(graph, architecture);
    output = record_supernet(graph, config, params, weights, graph.leaf(images));
  }
  std::vector<float> run() {
    Storage logits = graph.bind_output(output);
    params.values();
    Program program = compile(graph);
    program.run();
    return logits.to_vector();
  }
  Graph graph;
  ArchitectureParameters architecture;
  ParameterSet params;
  ArchitectureWeights weights;
  Tensor output;
};

// A supernet whose alpha chooses one genotype is that genotype's network with statistics of the batch.
void check_one_hot(const std::string& text, const NetworkShape& shape) {
  INFO(text);
  const Genotype genotype = parse_genotype(text);
  const SearchSpace space = SearchSpace::load(genotype.space);
  Storage images = random_images({4, 3, shape.image, shape.image});
  SupernetRunner supernet({.space = space, .shape = shape}, images);
  choose(supernet.architecture, genotype);
  const std::vector<float> logits = supernet.run();

  Graph graph;
  ParameterSet params(99), buffers;
  const Network network = record_network(graph, {.space = space, .genotype = genotype, .shape = shape},
                                         NetworkMode::training, params, buffers, graph.leaf(images));
  Storage expected = graph.bind_output(network.logits);
  int weights = 0;
  for (const ParameterSet::Entry& e : params.entries()) weights += e.name.ends_with(".weight");
  CHECK(copy_shared(supernet.params, params) >= weights);
  buffers.values();
  Program program = compile(graph);
  program.run();
  const double scale = largest_magnitude(expected.to_vector());
  CHECK(scale > 0.05);
  CHECK(largest_difference(logits, expected.to_vector()) < 1e-4 * scale);
}

}  // namespace

TEST_CASE("supernet: with one operation chosen for each edge it is the derived network", "[nas][supernet]") {
  // No pools here: the supernet normalises them, the derived network does not.
  check_one_hot(
      "Genotype(normal=[('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_5x5', 0), ('dil_conv_3x3', 2), "
      "('skip_connect', 3), ('dil_conv_5x5', 0), ('dil_conv_5x5', 4), ('sep_conv_3x3', 1)], reduce=["
      "('skip_connect', 0), ('sep_conv_5x5', 1), ('dil_conv_3x3', 0), ('skip_connect', 2), ('sep_conv_3x3', "
      "1), "
      "('dil_conv_5x5', 0), ('skip_connect', 1), ('sep_conv_3x3', 4)])",
      {.channels = 4, .layers = 4, .classes = 5, .image = 10});
  check_one_hot("|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|",
                {.channels = 4, .layers = 2, .classes = 5, .image = 8});
}

TEST_CASE("supernet: partial channels pass by and are shuffled, beta weighs the edges", "[nas][supernet]") {
  // One node, two edges, skip_connect chosen: the node is beta_0 shuffle(x0) + beta_1 shuffle(x1).
  SearchSpace space = SearchSpace::load("darts");
  space.nodes = 1;
  space.primitives = {"none", "skip_connect"};
  const SupernetConfig config{.space = space, .shape = {}, .partial_k = 2, .edge_normalisation = true};
  Graph graph;
  ParameterSet params;
  ArchitectureParameters architecture(space, true, 1);
  architecture.set_alpha(0, {0, 200, 0, 200});
  architecture.set_beta(0, {0.f, std::log(3.f)});
  const ArchitectureWeights weights = record_architecture_weights(graph, architecture);
  std::vector<Storage> inputs{random_images({2, 4, 2, 2}, 1), random_images({2, 4, 2, 2}, 2)};
  Tensor y = record_cell(graph,
                         {config,
                          "cell0",
                          false,
                          4,
                          {graph.leaf(inputs[0]), graph.leaf(inputs[1])},
                          weights.operations[0],
                          weights.edges[0]},
                         params)[0];
  Storage output = graph.bind_output(y);
  CHECK(params.count() == 0);
  compile(graph).run();
  const std::vector<float> x0 = inputs[0].to_vector(), x1 = inputs[1].to_vector(),
                           result = output.to_vector();
  const int source_channel[] = {0, 2, 1, 3};  // out[j * 2 + g] = in[g * 2 + j]
  for (int n = 0; n < 2; ++n)
    for (int c = 0; c < 4; ++c)
      for (int i = 0; i < 4; ++i) {
        const size_t from = size_t((n * 4 + source_channel[c]) * 4 + i);
        CHECK(result[size_t((n * 4 + c) * 4 + i)] == Approx(0.25 * x0[from] + 0.75 * x1[from]).margin(1e-6));
      }
}

TEST_CASE("supernet: bypassed channels of a reduction cell are max-pooled", "[nas][supernet]") {
  SearchSpace space = SearchSpace::load("darts");
  space.nodes = 1;
  space.primitives = {"none", "skip_connect"};
  const SupernetConfig config{.space = space, .shape = {}, .partial_k = 2};
  Graph graph;
  ParameterSet params;
  ArchitectureParameters architecture(space, false, 1);
  architecture.set_alpha(1, {200, 0, 200, 0});  // nothing but the bypass
  const ArchitectureWeights weights = record_architecture_weights(graph, architecture);
  Storage x = random_images({1, 4, 4, 4});
  Tensor leaf = graph.leaf(x);
  Tensor y =
      record_cell(graph, {config, "cell0", true, 4, {leaf, leaf}, weights.operations[1], {}}, params)[0];
  Storage output = graph.bind_output(y);
  params.values();
  compile(graph).run();
  const std::vector<float> in = x.to_vector(), out = output.to_vector();
  REQUIRE(out.size() == 16);
  for (int c = 0; c < 4; ++c)
    for (int h = 0; h < 2; ++h)
      for (int w = 0; w < 2; ++w) {
        float largest = 0;  // channels 1 and 3 hold the bypassed 2 and 3
        if (c % 2 == 1) {
          largest = -1e9f;
          for (int i = 0; i < 4; ++i)
            largest = std::max(largest, in[size_t((2 + c / 2) * 16 + (2 * h + i / 2) * 4 + 2 * w + i % 2)]);
        }
        CHECK(out[size_t((c * 2 + h) * 2 + w)] == Approx(2 * largest).margin(1e-6));
      }
}

namespace {

// One cell without a ReLU between alpha and the loss, which is smooth then; finite differences across the
// kinks of a deep network would measure those.
void check_architecture_gradients(int nodes, const std::vector<std::string>& primitives, int partial_k) {
  SearchSpace space = SearchSpace::load("darts");
  space.nodes = nodes;
  space.primitives = primitives;
  space.skeleton.reduce_at.clear();
  const SupernetConfig config{.space = space,
                              .shape = {.channels = 8, .layers = 1, .classes = 3, .image = 8},
                              .partial_k = partial_k,
                              .edge_normalisation = true};
  SupernetRunner net(config, random_images({4, 3, 8, 8}));
  Storage labels = Storage::create({4}, DType::i32);
  Tensor loss = cross_entropy(net.output, net.graph.leaf(labels));
  Storage loss_value = net.graph.bind_output(loss);
  ParameterSet& set = net.architecture.set();
  gradients(loss, set.leaves(net.graph), {.into = set.gradient_storages()});
  net.params.values();
  labels.upload(std::vector<int32_t>{0, 1, 2, 1});
  Program program = compile(net.graph);
  program.run();
  for (const char* name : {"alpha_normal", "beta_normal"}) {
    INFO(name);
    const ParameterSet::Entry& e = *set.find(name);
    const std::vector<float> g = e.gradient.to_vector(), start = e.value.to_vector();
    const double largest = largest_magnitude(g);
    REQUIRE(largest > 1e-3);
    for (size_t i = 0; i < g.size(); ++i) {
      const auto loss_at = [&](double step) {
        std::vector<float> moved = start;
        moved[i] += float(step);
        e.value.upload(moved);
        program.run();
        e.value.upload(start);
        return double(loss_value.item());
      };
      const double difference = (loss_at(0.02) - loss_at(-0.02)) / 0.04;
      CHECK(difference == Approx(g[i]).margin(0.01 * largest));
    }
  }
}

}  // namespace

TEST_CASE("supernet: gradients of alpha and beta match finite differences", "[nas][supernet]") {
  check_architecture_gradients(1, SearchSpace::load("darts").primitives, 1);
  check_architecture_gradients(1, SearchSpace::load("darts").primitives, 4);
  check_architecture_gradients(3, {"avg_pool_3x3", "none", "skip_connect"}, 2);
}

TEST_CASE("supernet: architecture parameters start small and read back", "[nas][supernet]") {
  ArchitectureParameters a(SearchSpace::load("darts"), true, 3), b(SearchSpace::load("darts"), true, 3);
  CHECK(a.set().count() == 2 * (14 * 8 + 14));
  double sum = 0;
  for (int t = 0; t < 2; ++t) {
    CHECK(a.alpha(t) == b.alpha(t));
    CHECK(a.beta(t).size() == 14);
    for (float v : a.alpha(t)) sum += double(v) * double(v);
  }
  CHECK(std::sqrt(sum / 224) == Approx(1e-3).epsilon(0.2));
  CHECK(a.alpha(0) != a.alpha(1));
  ArchitectureParameters without(SearchSpace::load("darts"), false, 3);
  CHECK(without.set().count() == 2 * 14 * 8);
  CHECK(without.beta(0).empty());
}

TEST_CASE("supernet: impossible configurations are refused", "[nas][supernet]") {
  SupernetConfig config{.space = SearchSpace::load("darts"),
                        .shape = {.channels = 6, .layers = 3, .image = 8}};
  config.partial_k = 4;
  CHECK_THROWS_WITH(SupernetRunner(config, random_images({2, 3, 8, 8})),
                    ContainsSubstring("K = 4 must divide the 6 channels"));
  config.partial_k = 3;
  config.shape.image = 9;
  CHECK_THROWS_WITH(SupernetRunner(config, random_images({2, 3, 9, 9})),
                    ContainsSubstring("side must be even"));
}
