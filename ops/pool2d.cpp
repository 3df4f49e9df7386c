#include "ops/pool2d.h"

#include <algorithm>

#include "core/gradients.h"
#include "ops/checks.h"

namespace ladarts {

namespace {

Shape pooled_shape(const Pool2dDesc& d, const Shape& x) {
  return {x[0], d.channels ? d.channels : x[1], (x[2] + 2 * d.padding - d.kernel) / d.stride + 1,
          (x[3] + 2 * d.padding - d.kernel) / d.stride + 1};
}

std::vector<Tensor> record(PoolKind kind, Tensor x, Pool2dDesc desc) {
  auto op = std::make_shared<Pool2d>(kind, desc);
  require_images(op->name(), x);
  require(x.shape().elements() > 0, "[{}] x of shape {} is empty", op->name(), x.shape().str());
  const auto [k, s, p, c] = desc;
  require(k >= 1 && s >= 1 && p >= 0 && p <= k / 2,
          "[{}] kernel {}, stride {}, padding {}: kernel and stride are at least 1, padding is at most "
          "kernel / 2",
          op->name(), k, s, p);
  require(x.dim(2) + 2 * p >= k && x.dim(3) + 2 * p >= k,
          "[{}] a window of {} does not fit into x of shape {} padded by {}", op->name(), k, x.shape().str(),
          p);
  require(c >= 0 && c <= x.dim(1), "[{}] {} channels asked for, x of shape {} has {}", op->name(), c,
          x.shape().str(), x.dim(1));
  const OutputSpec y{pooled_shape(desc, x.shape())};
  return x.graph().add(op, {x}, std::vector<OutputSpec>(kind == PoolKind::both ? 2 : 1, y));
}

}  // namespace

Tensor max_pool2d(Tensor x, Pool2dDesc desc) {
  return record(PoolKind::max, x, desc)[0];
}

Tensor avg_pool2d(Tensor x, Pool2dDesc desc) {
  return record(PoolKind::average, x, desc)[0];
}

MaxAndAverage max_avg_pool2d(Tensor x, Pool2dDesc desc) {
  const std::vector<Tensor> y = record(PoolKind::both, x, desc);
  return {y[0], y[1]};
}

Tensor global_avg_pool(Tensor x) {
  require_images("global_avg_pool", x);
  require(x.shape().elements() > 0, "[global_avg_pool] x of shape {} is empty", x.shape().str());
  return x.graph().add(std::make_shared<GlobalAvgPool>(), {x}, {{Shape{x.dim(0), x.dim(1)}}})[0];
}

Pool2dScratch::Pool2dScratch(const Shape& x, const Shape& y, Pool2dDesc desc, int planes) {
  row_floats = row(desc, x[3]);
  // Not a multiple of 4 KiB, where a load would wait for earlier stores at the same offset of another plane.
  plane_floats = std::max(x[2], y[2]) * row_floats + 80;
  gradient_floats = round_up(y[2] * y[3]);
  thread_floats = row_floats + planes * plane_floats + gradient_floats;
}

size_t Pool2d::workspace_bytes(const NodeShapes& s, int threads) const {
  const int planes = kind == PoolKind::both ? 2 : 1;
  return size_t(Pool2dScratch(s.inputs[0], s.outputs[0], desc, planes).thread_floats * threads) *
         sizeof(float);
}

std::string_view Pool2d::name() const {
  switch (kind) {
    case PoolKind::max:
      return "max_pool2d";
    case PoolKind::average:
      return "avg_pool2d";
    default:
      return "max_avg_pool2d";
  }
}

std::optional<Recomputation> Pool2d::recomputation() const {
  if (kind == PoolKind::both) return std::nullopt;  // of two values
  return Recomputation{};
}

void Pool2d::backward(Backward& b) const {
  if (!b.needs(0)) return;
  const bool maxima = kind != PoolKind::average && b.has_grad(0);
  const int average = kind == PoolKind::both ? 1 : 0;
  std::vector<Tensor> operands;
  Pool2dGrad op;
  op.desc = desc;
  // Where a sum has what this op wrote as a term, which batch statistics lead to.
  auto written = [&](const GradientSum& sum, int output) {
    for (const GradientTerm& t : sum)
      if (operands[size_t(t.source)] == b.output(output)) return t.source;
    return -1;
  };
  if (maxima) {
    op.x = 0;
    operands.push_back(b.input(0));
    op.d_max = gradient_sum(b, 0, operands);
    op.y_max = written(op.d_max, 0);
  }
  if (kind != PoolKind::max) {
    op.d_average = gradient_sum(b, average, operands);
    op.y_average = written(op.d_average, average);
    if (!maxima && op.y_average >= 0) {
      op.x = int(operands.size());
      operands.push_back(b.input(0));
    }
  }
  if (desc.channels == 0 || desc.channels == b.input(0).dim(1)) op.late = late_gradient_sum(b, 0, operands);
  b.emit(std::move(op), operands, {0});
}

std::string_view Pool2dGrad::name() const {
  if (d_average.empty()) return "max_pool2d_grad";
  return d_max.empty() ? "avg_pool2d_grad" : "max_avg_pool2d_grad";
}

Shape Pool2dGrad::pooled(const Shape& x_shape) const {
  return pooled_shape(desc, x_shape);
}

size_t Pool2dGrad::workspace_bytes(const NodeShapes& s, int threads) const {
  const Shape& d_x = s.outputs[0];
  const int planes = (d_max.empty() ? 0 : 4) + (d_average.empty() ? 0 : 1);
  return size_t(Pool2dScratch(d_x, pooled(d_x), desc, planes).thread_floats * threads) * sizeof(float);
}

Cost Pool2d::cost(const NodeShapes& s) const {
  Cost c = Op::cost(s);
  c.flops = double(s.outputs[0].elements()) * desc.kernel * desc.kernel * double(s.outputs.size());
  c.bytes_moved -=
      4.0 * double(s.inputs[0].elements()) * (1 - double(s.outputs[0][1]) / double(s.inputs[0][1]));
  return c;
}

Cost Pool2dGrad::cost(const NodeShapes& s) const {
  Cost c = Op::cost(s);
  for (const GradientSum* sum : {&d_max, &d_average, &late})
    for (const GradientTerm& t : *sum)
      if (t.factors >= 0) c.flops += 2.0 * double(s.inputs[size_t(t.source)].elements());
  return c;
}

void GlobalAvgPool::backward(Backward& b) const {
  if (b.needs(0)) b.emit(GlobalAvgPoolGrad(), {b.grad(0)}, {0});
}

}  // namespace ladarts
