#include "ops/scaled_channels.h"

#include <algorithm>

namespace ladarts {

namespace {

int append(std::vector<Tensor>& operands, Tensor t) {
  operands.push_back(t);
  return int(operands.size()) - 1;
}

}  // namespace

bool apply_affine(GradientSum& sum, const std::vector<int>& sources, int affine) {
  for (GradientTerm& t : sum) {
    if (std::find(sources.begin(), sources.end(), t.source) == sources.end()) continue;
    if (t.factors >= 0) return false;
    t.factors = affine, t.offset_row = 1;
  }
  return true;
}

GradientSum gradient_sum(const Backward& b, int output, std::vector<Tensor>& operands) {
  if (!b.has_grad(output)) return {};
  const Tensor grad = b.grad(output);
  Graph& graph = b.graph();
  const std::vector<int>& writers = graph.value(grad).writers;
  GradientSum scaled;
  for (int writer : writers) {
    const Node& node = graph.nodes()[size_t(writer)];
    const auto* op = dynamic_cast<const ScaledChannels*>(node.op.get());
    if (!op) return {{append(operands, grad)}};
    const int source = append(operands, Tensor(&graph, node.inputs[0]));
    const int factors = append(operands, Tensor(&graph, node.inputs[1]));
    scaled.push_back({source, factors, op->row, op->step, op->offset_row});
  }
  if (scaled.empty()) return {{append(operands, grad)}};  // a leaf
  return scaled;
}

}  // namespace ladarts
