// Parameters and multiply-accumulates against the published programs' figures.
#include "core/error.h"
#include "nas/network.h"
#include "nas/supernet.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

const NetworkShape kCifar{.channels = 36, .layers = 20, .classes = 10, .image = 32};
const NetworkShape kImageNet{
    .channels = 48, .layers = 14, .classes = 1000, .image = 224, .stem = Stem::imagenet};

NetworkConfig darts_network(const std::string& genotype, const NetworkShape& shape) {
  return {.space = SearchSpace::load("darts"), .genotype = parse_genotype(genotype), .shape = shape};
}

int64_t supernet_parameters(const NetworkShape& shape, int partial_k, bool edge_normalisation) {
  const SupernetConfig config{.space = SearchSpace::load("darts"),
                              .shape = shape,
                              .partial_k = partial_k,
                              .edge_normalisation = edge_normalisation};
  Graph graph;
  ParameterSet params;
  ArchitectureParameters architecture(config.space, edge_normalisation, 1);
  Tensor images = graph.leaf(Storage::create({2, 3, shape.image, shape.image}));
  record_supernet(graph, config, params, record_architecture_weights(graph, architecture), images);
  return params.count();
}

}  // namespace

TEST_CASE("counts: derived networks have the published parameters", "[nas][counts]") {
  CHECK(count_network(darts_network("DARTS_V1", kCifar)).parameters == 3169414);
  CHECK(count_network(darts_network("DARTS_V2", kCifar)).parameters == 3349342);
  CHECK(count_network(darts_network("PC_DARTS_cifar", kCifar)).parameters == 3634678);
  CHECK(count_network(darts_network("DARTS_V2", kImageNet)).parameters == 4718752);
  CHECK(count_network(darts_network("PC_DARTS_image", kImageNet)).parameters == 5342464);
}

TEST_CASE("counts: derived networks have the published multiply-accumulates", "[nas][counts]") {
  const auto millions = [](const NetworkConfig& c) {
    return double(count_network(c).multiply_accumulates) * 1e-6;
  };
  CHECK(millions(darts_network("DARTS_V2", kCifar)) == Approx(528.36).margin(0.005));
  CHECK(millions(darts_network("PC_DARTS_cifar", kCifar)) == Approx(556.67).margin(0.005));
  CHECK(millions(darts_network("PC_DARTS_image", kImageNet)) == Approx(581.63).margin(0.005));
}

TEST_CASE("counts: inference has the same multiply-accumulates as evaluation", "[nas][counts]") {
  for (const NetworkConfig& config :
       {darts_network("PC_DARTS_cifar", kCifar), darts_network("DARTS_V2", kImageNet),
        NetworkConfig{.space = SearchSpace::load("nasbench201"),
        .genotype = parse_genotype("|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|none~0|none~1|none~2|")}}) {
    Graph graph;
    ParameterSet folded, unused;
    Tensor images = graph.leaf(Storage::create({1, 3, config.shape.image, config.shape.image}));
    record_network(graph, config, NetworkMode::inference, folded, unused, images);
    CHECK(multiply_accumulates(graph) == count_network(config).multiply_accumulates);
    CHECK(unused.count() == 0);
  }
}

TEST_CASE("counts: the auxiliary head adds its published parameters to training only", "[nas][counts]") {
  NetworkConfig config = darts_network("DARTS_V2", kCifar);
  config.auxiliary = true;
  CHECK(count_network(config).parameters == 3349342);
  Graph graph;
  ParameterSet params, buffers;
  Tensor images = graph.leaf(Storage::create({2, 3, 32, 32}));
  const Network network = record_network(graph, config, NetworkMode::training, params, buffers, images);
  CHECK(params.count() == 3349342 + 476426);
  CHECK(network.auxiliary_logits.shape() == Shape{2, 10});
}

TEST_CASE("counts: supernets have the published parameters", "[nas][counts]") {
  const NetworkShape cifar{.channels = 16, .layers = 8, .classes = 10, .image = 32};
  const NetworkShape imagenet{
      .channels = 16, .layers = 8, .classes = 1000, .image = 224, .stem = Stem::imagenet};
  CHECK(supernet_parameters(cifar, 1, false) == 1930618);
  CHECK(supernet_parameters(cifar, 4, true) == 299578);
  CHECK(supernet_parameters(imagenet, 2, true) == 956512);
}

// Parameters and multiply-accumulates as the benchmark's authors list them.
TEST_CASE("counts: NAS-Bench-201 networks have the benchmark's counts", "[nas][counts]") {
  struct Row {
    const char* architecture;
    int64_t parameters, multiply_accumulates;
  };
  for (const Row& row : {
           Row{"|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~"
               "2|",
               129306, 15647360},
           Row{"|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~"
               "2|",
               802426, 113951360},
           Row{"|avg_pool_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|avg_pool_3x3~0|avg_pool_3x3~1|avg_pool_3x3~"
               "2|",
               559386, 78561920},
           Row{"|avg_pool_3x3~0|+|skip_connect~0|none~1|+|none~0|none~1|skip_connect~2|", 73306, 7783040},
           Row{"|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|", 559386,
               78561920},
       }) {
    INFO(row.architecture);
    const NetworkCounts counts = count_network(
        {.space = SearchSpace::load("nasbench201"), .genotype = parse_genotype(row.architecture)});
    CHECK(counts.parameters == row.parameters);
    CHECK(counts.multiply_accumulates == row.multiply_accumulates);
  }
}

TEST_CASE("network shapes: what does not fit is refused with its reason", "[nas][network]") {
  const auto refused = [](const NetworkShape& shape, const std::string& space, const std::string& message) {
    CHECK_THROWS_WITH(resolve(shape, SearchSpace::load(space)), ContainsSubstring(message));
  };
  refused({.channels = -1}, "darts", "channels must be from 1 to 4096, are -1");
  refused({.layers = -3}, "darts", "layers must be from 1 to 1000, are -3");
  refused({.classes = 0}, "darts", "classes must be 1 or more, are 0");
  refused({.image = 3}, "darts", "images of 3 x 3 do not fit: this network halves them 2 times");
  refused({.image = 16, .stem = Stem::imagenet}, "darts", "halves them 5 times");
  refused({.channels = 15, .image = 224, .stem = Stem::imagenet}, "darts", "even number of channels, not 15");
  refused({.image = 30}, "nasbench201", "multiple of 4, not 30");
  refused({.stem = Stem::imagenet}, "nasbench201", "has no ImageNet stem");
  Graph graph;
  ParameterSet params, buffers;
  NetworkConfig config = darts_network("DARTS_V2", {.channels = 4, .layers = 4, .image = 16});
  Tensor images = graph.leaf(Storage::create({2, 3, 16, 16})),
         others = graph.leaf(Storage::create({2, 3, 8, 8}));
  CHECK_THROWS_WITH(record_network(graph, config, NetworkMode::training, params, buffers, others),
                    ContainsSubstring("images must be (N, 3, 16, 16), are (2, 3, 8, 8)"));
  config.auxiliary = true;
  CHECK_THROWS_WITH(record_network(graph, config, NetworkMode::training, params, buffers, images),
                    ContainsSubstring("auxiliary head") && ContainsSubstring("larger images"));
}
