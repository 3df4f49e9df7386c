// Networks of one genotype, for training, evaluation, and inference with folded normalisation.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/parameters.h"
#include "nas/genotype.h"
#include "nas/layers.h"
#include "nas/network_shape.h"
#include "ops/dropout.h"

namespace ladarts {

struct NetworkConfig {
  SearchSpace space;
  Genotype genotype;  // of this space
  NetworkShape shape{};
  bool auxiliary = false;  // second head at 2/3 of the depth (darts skeleton), while training only
};

enum class NetworkMode : uint8_t {
  training,    // batch statistics; running ones are updated at every run
  evaluation,  // running statistics
  inference,   // normalisations folded into the convolutions before them; see fold_normalisation()
};

// Drop-path: operations other than identities lose a sample with the chance `rate`, a (1) leaf that varies.
struct DropPathInput {
  Tensor rate;
  RandomState random;
};

struct Network {
  Tensor logits;            // (N, classes)
  Tensor auxiliary_logits;  // (N, classes); empty without auxiliary head
  std::vector<Fold> folds;  // inference only
};

// Records the network over images (N, 3, H, W). Training and evaluation share `params` and `buffers` (running
// statistics). In inference `params` is a set of its own, with folded convolutions and their biases;
// `buffers` is not used. Call values() of the sets (which initialises them) before running.
Network record_network(Graph& graph, const NetworkConfig& config, NetworkMode mode, ParameterSet& params,
                       ParameterSet& buffers, Tensor images,
                       const std::optional<DropPathInput>& drop_path = {});

// Fills `folded`, the set of a network recorded for inference, from trained parameters and statistics:
// w' = w * gamma / sqrt(var + eps), b' = beta - mean * gamma / sqrt(var + eps).
void fold_normalisation(const Network& inference, const ParameterSet& params, const ParameterSet& buffers,
                        ParameterSet& folded);

// Scalars and multiply-accumulates (convolutions and linear layers) of one image, without the auxiliary head.
struct NetworkCounts {
  int64_t parameters = 0;
  int64_t multiply_accumulates = 0;
};
NetworkCounts count_network(const NetworkConfig& config);
// Multiply-accumulates of the convolutions and linear layers recorded in a graph.
int64_t multiply_accumulates(const Graph& graph);

}  // namespace ladarts
