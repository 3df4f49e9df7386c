#include "ops/scaled_channels.h"

#include "core/error.h"

namespace ladarts {

namespace {

int append(std::vector<Tensor>& operands, Tensor t) {
  operands.push_back(t);
  return int(operands.size()) - 1;
}

// The term that a ScaledChannels of (source, factors) is.
GradientTerm term_of(const ScaledChannels& op, Tensor source, Tensor factors, std::vector<Tensor>& operands) {
  const int at = append(operands, source);
  return {at, append(operands, factors), op.row, op.step, op.offset_row};
}

}  // namespace

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
    scaled.push_back(term_of(*op, Tensor(&graph, node.inputs[0]), Tensor(&graph, node.inputs[1]), operands));
  }
  if (scaled.empty()) return {{append(operands, grad)}};  // a leaf
  return scaled;
}

GradientSum late_gradient_sum(Backward& b, int input, std::vector<Tensor>& operands) {
  GradientSum sum;
  for (const Backward::Late& late : b.take_late(input)) {
    const auto* op = dynamic_cast<const ScaledChannels*>(late.op.get());
    LADARTS_CHECK(op);
    sum.push_back(term_of(*op, late.operands[0], late.operands[1], operands));
  }
  return sum;
}

}  // namespace ladarts
