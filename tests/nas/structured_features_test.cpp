#include <algorithm>
#include <set>

#include "core/error.h"
#include "core/philox.h"
#include "core/program.h"
#include "nas/encoding.h"
#include "nas/network.h"
#include "tests/nas/network_support.h"
#include "tests/support/catch.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

constexpr int kEdges = 6, kOperations = 4;  // of NAS-Bench-201, none left out

FeatureMatrix encoded(const Genotype& genotype, const SearchSpace& space) {
  FeatureMatrix x;
  x.append(encode(genotype, space));
  return x;
}

// Indices of the live edges: the third group holds operation by operation the live edges.
std::set<int> live_edges(const std::string& text) {
  const SearchSpace space = SearchSpace::load("nasbench201");
  const FeatureExpansion e = structured_features(space);
  REQUIRE(e.groups == std::vector<int64_t>{24, 4, 24, 4});
  const FeatureMatrix f = e.apply(encoded(parse_genotype(text, space), space));
  std::set<int> live;
  for (int i = 0; i < kEdges * kOperations; ++i) {
    const float v = f.values[size_t(24 + 4 + i)];
    CHECK((v == 0 || v == 1));
    if (v == 1) live.insert(i % kEdges);
  }
  float counted = 0;
  for (int op = 0; op < kOperations; ++op) counted += f.values[size_t(52 + op)];
  CHECK(counted == float(live.size()));
  return live;
}

}  // namespace

// Edges are numbered node by node: 0 is 0->1; 1 and 2 are 0->2, 1->2; 3, 4 and 5 are 0->3, 1->3, 2->3.
TEST_CASE("structured features: dead edges of cells worked out by hand", "[nas][encoding]") {
  using Edges = std::set<int>;
  // Everything leads to the output.
  CHECK(live_edges("|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_"
                   "3x3~2|") == Edges{0, 1, 2, 3, 4, 5});
  // Node 2 is not read: what leads there is dead.
  CHECK(
      live_edges("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_1x1~1|none~2|") ==
      Edges{0, 3, 4});
  // Node 1 gets nothing: what reads it is dead.
  CHECK(live_edges("|none~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|none~0|nor_conv_3x3~1|skip_connect~2|") ==
        Edges{1, 5});
  // Dead from both sides, and nothing left.
  CHECK(live_edges("|none~0|+|none~0|nor_conv_3x3~1|+|none~0|nor_conv_1x1~1|avg_pool_3x3~2|").empty());
  CHECK(live_edges("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|none~0|none~1|none~2|").empty());
}

TEST_CASE("structured features: live convolutions are those that the compiled network runs",
          "[nas][encoding]") {
  const SearchSpace space = SearchSpace::load("nasbench201");
  const char* names[] = {"none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"};
  Random random(5);
  int dead = 0;
  for (int trial = 0; trial < 25; ++trial) {
    std::string ops[kEdges], text;
    for (std::string& op : ops) op = names[random.below(5)];
    for (int e = 0; e < kEdges; ++e) {
      const Edge edge = space.edge(e);
      text += fmt::format("{}{}~{}|", edge.source == 0 ? (e ? "+|" : "|") : "", ops[e], edge.source);
    }
    // Which states have something; an operation on zeros runs, but is not live.
    bool reached[4] = {true, false, false, false};
    for (int e = 0; e < kEdges; ++e)
      if (ops[e] != "none" && reached[space.edge(e).source]) reached[space.edge(e).node + 1] = true;

    NetworkConfig config{.space = space, .genotype = parse_genotype(text, space)};
    config.shape.layers = 1;
    config.shape.channels = 4;
    config.shape.image = 8;
    Graph graph;
    ParameterSet params, buffers;
    const Tensor images = graph.leaf(random_images({1, 3, 8, 8}));
    const Network network = record_network(graph, config, NetworkMode::inference, params, buffers, images);
    graph.bind_output(network.logits);
    params.values();
    const Program program = compile(graph);
    std::set<int> run;
    for (const NodeInfo& node : program.nodes())
      if (const size_t at = node.scope.find("edge");
          at != std::string::npos && node.op.find("conv") != std::string::npos)
        run.insert(std::stoi(node.scope.substr(at + 4)));
    const std::set<int> live = live_edges(text);
    INFO(text);
    for (int e = 0; e < kEdges; ++e) {
      if (!ops[e].starts_with("nor_conv")) continue;
      CHECK((live.count(e) == 1) == (run.count(e) == 1 && reached[space.edge(e).source]));
      dead += live.count(e) == 0 ? 1 : 0;
    }
  }
  CHECK(dead > 10);  // enough that the claim was tried
}

TEST_CASE("structured features: of the DARTS space every kept edge counts, by its stride too",
          "[nas][encoding]") {
  const SearchSpace space = SearchSpace::load("darts");
  const FeatureExpansion e = structured_features(space);
  REQUIRE(e.groups == std::vector<int64_t>{2 * 7 * 14, 2 * 7, 7});
  CHECK(e.steps.empty());
  const Genotype genotype = parse_genotype("DARTS_V2", space);
  const FeatureMatrix f = e.apply(encoded(genotype, space));
  float kept = 0, counted = 0, at_stride_2 = 0, expected = 0;
  for (size_t i = 0; i < f.values.size(); ++i)
    (i < 196 ? kept : i < 210 ? counted : at_stride_2) += f.values[i];
  for (const auto& node : genotype.cells[1].nodes)
    for (const GenotypeEdge& edge : node) expected += edge.source < 2 ? 1 : 0;
  CHECK(kept == 16);
  CHECK(counted == 16);
  CHECK(at_stride_2 == expected);
}
