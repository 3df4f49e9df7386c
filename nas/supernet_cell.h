// The body of one supernet cell, between its preprocessed inputs and its output: what fusion replaces.
#pragma once

#include <string>
#include <vector>

#include "nas/supernet.h"

namespace ladarts {

struct SupernetCell {
  const SupernetConfig& config;
  std::string name;            // "cell3": prefix of its parameters' names and its scope
  bool reduction = false;      // edges that leave an input state have stride 2
  int channels = 0;            // C of its nodes
  std::vector<Tensor> inputs;  // (N, C, H, W) each
  Tensor operations;           // (edges, primitives)
  Tensor edges;                // (edges), or empty
};

// Returns the nodes, (N, C, H', W') each, whose concatenation is the cell's output, or the last node alone
// where the skeleton is residual_stages. Names and shapes of the parameters, with E the edge's index and c =
// C / partial_k:
//   cell3.edgeE.sep_conv_3x3.depthwise0.weight (c, 1, 3, 3)   .pointwise0.weight (c, c, 1, 1)
//                           .depthwise1.weight                .pointwise1.weight
//   cell3.edgeE.dil_conv_5x5.depthwise.weight (c, 1, 5, 5)    .pointwise.weight (c, c, 1, 1)
//   cell3.edgeE.nor_conv_3x3.weight (c, c, 3, 3)
//   cell3.edgeE.skip_connect.even.weight (c/2, c, 1, 1)       .odd.weight   (stride 2 only)
// No normalisation in a cell has parameters. Pools are followed by one in the darts skeleton. All start with
// Init::fan_in(inputs per output value).
std::vector<Tensor> record_cell(Graph& graph, const SupernetCell& cell, ParameterSet& params);
std::vector<Tensor> record_fused_cell(Graph& graph, const SupernetCell& cell,
                                      ParameterSet& params);  // nas/fused_cell.cpp

}  // namespace ladarts
