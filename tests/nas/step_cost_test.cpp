// What a step of a search, of a training or of an inference costs as planned: operations, memory and bytes
// moved. A change that loses a fusion shows here; one that gains may lower the limits.
#include "core/error.h"
#include "core/thread_pool.h"
#include "nas/search_steps.h"
#include "nas/train_steps.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

struct Limits {
  int ops;
  double arena_mib, planned_mib, gbytes_moved;
};

void check_limits(const char* name, const ProgramStats& s, Limits limits) {
  CAPTURE(name, s.nodes, double(s.arena_bytes) / (1 << 20), double(s.value_bytes) / (1 << 20),
          s.bytes_moved * 1e-9);
  CHECK(s.nodes <= limits.ops);
  CHECK(double(s.arena_bytes) / (1 << 20) <= limits.arena_mib);
  CHECK(double(s.value_bytes) / (1 << 20) <= limits.planned_mib);
  CHECK(s.bytes_moved * 1e-9 <= limits.gbytes_moved);
}

SearchStepConfig search(int partial_k, int batch) {
  SearchStepConfig config;
  config.supernet = {.space = SearchSpace::load("darts"),
                     .shape = {.channels = 16, .layers = 8},
                     .partial_k = partial_k,
                     .edge_normalisation = partial_k > 1,
                     .fused = true};
  config.batch = batch;
  return config;
}

}  // namespace

TEST_CASE("a step of the CIFAR supernets keeps its operations, memory and traffic", "[nas][step_cost]") {
  ThreadPool::set_global_threads(2);  // scratch memory is planned for each thread
  SearchSteps pc_darts(search(4, 64), nullptr), darts(search(1, 16), nullptr);
  check_limits("PC-DARTS weight step", pc_darts.weight_program().stats(), {537, 592, 924, 5.84});
  check_limits("PC-DARTS architecture step", pc_darts.architecture_program().stats(), {509, 531, 852, 5.02});
  check_limits("DARTS weight step", darts.weight_program().stats(), {519, 419, 585, 2.89});
  check_limits("DARTS architecture step", darts.architecture_program().stats(), {489, 386, 549, 2.52});
}

TEST_CASE("training and inference of a derived network keep their operations, memory and traffic",
          "[nas][step_cost]") {
  ThreadPool::set_global_threads(2);
  const SearchSpace space = SearchSpace::load("darts");
  const NetworkConfig network{.space = space,
                              .genotype = parse_genotype("PC_DARTS_cifar", space),
                              .shape = {.channels = 36, .layers = 20}};
  TrainConfig train;
  train.network = network;
  train.batch = 8;
  train.drop_path = 0;
  TrainSteps steps(train);
  check_limits("training step", steps.program().stats(), {962, 166, 398, 1.55});

  Graph g;
  ParameterSet params, unused;
  const Tensor images = g.leaf(Storage::create({1, 3, 32, 32}));
  g.bind_output(record_network(g, network, NetworkMode::inference, params, unused, images).logits);
  check_limits("inference", compile(g).stats(), {257, 2.55, 22.1, 0.0726});
}
