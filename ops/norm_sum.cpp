#include "ops/norm_sum.h"

#include "ops/checks.h"

namespace ladarts {

Tensor norm_sum(const std::vector<DeferredNorm>& terms) {
  require(!terms.empty(), "[norm_sum] needs at least one term");
  const Tensor first = terms[0].y;
  require_images("norm_sum", first);
  auto op = std::make_shared<NormSum>();
  std::vector<Tensor> operands;
  for (const DeferredNorm& t : terms) {
    require_same_shape("norm_sum", "term 0", first, "another term", t.y);
    op->terms.push_back({.source = int(operands.size())});
    operands.push_back(t.y);
  }
  for (size_t k = 0; k < terms.size(); ++k) {
    const Tensor affine = terms[k].affine;
    if (!affine) continue;
    require_float("norm_sum", "affine", affine);
    require(affine.shape() == Shape{2, first.dim(1)}, "[norm_sum] affine {} must be (2, {})",
            affine.shape().str(), first.dim(1));
    op->terms[k].factors = int(operands.size());
    op->terms[k].offset_row = 1;
    operands.push_back(affine);
  }
  return first.graph().add(op, operands, {{first.shape()}})[0];
}

std::vector<DeferredNorm> unread_terms(Tensor x) {
  Graph& graph = x.graph();
  const std::vector<int>& writers = graph.value(x).writers;
  if (writers.size() != 1) return {{x, {}}};
  const Node& node = graph.nodes()[size_t(writers[0])];
  const auto* const op = dynamic_cast<const NormSum*>(node.op.get());
  if (!op) return {{x, {}}};
  for (size_t n = size_t(writers[0]) + 1; n < graph.nodes().size(); ++n)
    for (const int input : graph.nodes()[n].inputs)
      if (input == x.id()) return {{x, {}}};
  std::vector<DeferredNorm> terms;
  for (const GradientTerm& t : op->terms)
    terms.push_back({Tensor(&graph, node.inputs[size_t(t.source)]),
                     t.factors < 0 ? Tensor() : Tensor(&graph, node.inputs[size_t(t.factors)])});
  return terms;
}

void NormSum::backward(Backward& b) const {
  const Tensor d_out = b.grad(0);
  std::vector<Tensor> operands{d_out};
  std::vector<int> grads_of;
  for (const GradientTerm& t : terms) {
    if (t.factors < 0) {
      if (b.needs(t.source)) b.pass(t.source, d_out);
      continue;
    }
    if (b.needs(t.source)) b.emit(ScaledChannels(0, 1), {d_out, b.input(t.factors)}, {t.source});
    if (!b.needs(t.factors)) continue;
    operands.push_back(b.input(t.source));
    grads_of.push_back(t.factors);
  }
  if (!grads_of.empty()) b.emit(NormSumGrad(), operands, grads_of);
}

std::shared_ptr<const Op> NormSum::reading_affine(const std::vector<int>& inputs, int affine) const {
  auto op = std::make_shared<NormSum>(*this);
  return apply_affine(op->terms, inputs, affine) ? op : nullptr;
}

Cost NormSum::cost(const NodeShapes& s) const {
  Cost c = Op::cost(s);
  c.flops = 2 * double(terms.size()) * double(s.outputs[0].elements());
  return c;
}

// Sums of d_out and of its products with each y, for each chunk and channel, in double precision.
size_t NormSumGrad::workspace_bytes(const NodeShapes& s, int) const {
  return size_t(chunks(s.inputs[0][0]) * int64_t(s.inputs.size()) * s.inputs[0][1]) * sizeof(double);
}

Cost NormSumGrad::cost(const NodeShapes& s) const {
  Cost c = Op::cost(s);
  c.flops = 2 * double(s.inputs.size()) * double(s.inputs[0].elements());
  return c;
}

}  // namespace ladarts
