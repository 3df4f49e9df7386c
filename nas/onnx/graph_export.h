// A recorded graph as an ONNX model: each op becomes the standard nodes that compute the same. What is
// exported is what runs here, so no second description of a network can differ from the first.
#pragma once

#include <string>

#include "core/graph.h"
#include "nas/onnx/model.h"

namespace ladarts::onnx {

struct GraphExport {
  Tensor input;   // a leaf
  Tensor output;  // only what it needs is exported
  std::string input_name = "images", output_name = "logits";
  // Empty: the batch, dimension 0 of every value that depends on the input, is as recorded. Else the name of
  // a dimension that the caller chooses.
  std::string batch_name = {};
};

// Other leaves become constants with the values that they have now, so their sets must have been initialised.
// Throws Error for an op that inference does not use, naming it.
Model export_graph(const Graph& graph, const GraphExport& options);

}  // namespace ladarts::onnx
