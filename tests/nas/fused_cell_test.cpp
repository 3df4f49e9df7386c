#include <cmath>

#include "core/gradients.h"
#include "core/philox.h"
#include "core/program.h"
#include "nas/supernet.h"
#include "ops/losses.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

struct CellResult {
  std::vector<float> logits, weight_gradient, architecture_gradient;
  ProgramStats stats;
};

struct Shared {
  ArchitectureParameters architecture;
  ParameterSet weights{3};
  Storage images, labels;

  Shared(const SearchSpace& space, bool edge_normalisation, int batch, int side)
      : architecture(space, edge_normalisation, 5),
        images(Storage::create({batch, 3, side, side})),
        labels(Storage::create({batch}, DType::i32)) {
    Random random(11);
    std::vector<float> pixels(size_t(images.shape().elements()));
    for (float& v : pixels) v = random.uniform(-1, 1);
    images.upload(std::span<const float>(pixels));
    std::vector<int32_t> classes(size_t(batch), 3);
    labels.upload(std::span<const int32_t>(classes));
  }

  CellResult run(const SupernetConfig& config) {
    Graph g;
    const ArchitectureWeights mixture = record_architecture_weights(g, architecture);
    const Tensor logits = record_supernet(g, config, weights, mixture, g.leaf(images));
    CellResult result;
    const Storage out = g.bind_output(logits);
    weights.values();
    std::vector<Tensor> wrt = weights.leaves(g);
    std::vector<Storage> into = weights.gradient_storages();
    ParameterSet& set = architecture.set();
    for (const Tensor& t : set.leaves(g)) wrt.push_back(t);
    for (const Storage& s : set.gradient_storages()) into.push_back(s);
    gradients(cross_entropy(logits, g.leaf(labels)), wrt, {.into = into});
    ThreadPool pool(2);
    Program program = compile(g, {.pool = &pool});
    program.run();
    result.logits = out.to_vector();
    result.weight_gradient = weights.gradients().to_vector();
    result.architecture_gradient = set.gradients().to_vector();
    result.stats = program.stats();
    return result;
  }
};

void compare(const char* what, const std::vector<float>& fused, const std::vector<float>& plain) {
  REQUIRE(fused.size() == plain.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    difference += std::pow(double(fused[i]) - double(plain[i]), 2);
    norm += std::pow(double(plain[i]), 2);
  }
  INFO(what << ": relative distance " << std::sqrt(difference / norm));
  CHECK(norm > 0);
  CHECK(std::sqrt(difference / norm) < 1e-3);  // rounding, through some sixty normalisations
}

void check_equal(SupernetConfig config, int batch) {
  Shared shared(config.space, config.edge_normalisation, batch, config.shape.image);
  const CellResult plain = shared.run(config);
  config.fused = true;
  const CellResult fused = shared.run(config);
  compare("logits", fused.logits, plain.logits);
  compare("gradient of the weights", fused.weight_gradient, plain.weight_gradient);
  compare("gradient of the architecture", fused.architecture_gradient, plain.architecture_gradient);
}

}  // namespace

TEST_CASE("fused cell: PC-DARTS equals the plain supernet, results and gradients", "[nas][fused_cell]") {
  check_equal({.space = SearchSpace::load("darts"),
               .shape = {.channels = 8, .layers = 3, .image = 16},
               .partial_k = 4,
               .edge_normalisation = true},
              4);
}

TEST_CASE("fused cell: DARTS equals the plain supernet, results and gradients", "[nas][fused_cell]") {
  check_equal({.space = SearchSpace::load("darts"), .shape = {.channels = 4, .layers = 3, .image = 18}}, 6);
}

TEST_CASE("fused cell: NAS-Bench-201 equals the plain supernet", "[nas][fused_cell]") {
  check_equal({.space = SearchSpace::load("nasbench201"), .shape = {.channels = 4, .layers = 1, .image = 12}},
              6);
}

TEST_CASE("fused cell: kernels that have no fused op take the plain body", "[nas][fused_cell]") {
  SearchSpace space = SearchSpace::load("darts");
  space.name = "wide";
  space.primitives = {"none", "skip_connect", "sep_conv_3x3", "sep_conv_7x7"};
  check_equal({.space = space, .shape = {.channels = 4, .layers = 2, .image = 12}}, 4);
}

// What a step costs besides arithmetic. Shapes alone decide both numbers; a change that raises them must say
// why.
TEST_CASE("fused cell: ops and planned memory of a PC-DARTS weight step stay within bounds",
          "[nas][fused_cell]") {
  const SupernetConfig config{.space = SearchSpace::load("darts"),
                              .shape = {.channels = 16, .layers = 8},
                              .partial_k = 4,
                              .edge_normalisation = true,
                              .fused = true};
  constexpr int kImages = 8;
  Shared shared(config.space, true, kImages, 32);
  Graph g;
  const ArchitectureWeights mixture = record_architecture_weights(g, shared.architecture);
  const Tensor logits = record_supernet(g, config, shared.weights, mixture, g.leaf(shared.images));
  const Tensor loss = cross_entropy(logits, g.leaf(shared.labels));
  gradients(loss, shared.weights.leaves(g), {.into = shared.weights.gradient_storages()});
  ThreadPool pool(2);
  const Program program = compile(g, {.pool = &pool});
  CAPTURE(program.stats().nodes, program.stats().arena_bytes / kImages);
  CHECK(program.stats().nodes <= 1200);
  CHECK(program.stats().arena_bytes / kImages <= size_t(14) << 20);
}
