#include "ops/pool2d.h"

#include <algorithm>

#include "core/gradients.h"
#include "ops/checks.h"

namespace ladarts {

namespace {

Tensor record(PoolKind kind, Tensor x, Pool2dDesc desc) {
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
  const Shape out{x.dim(0), c ? c : x.dim(1), (x.dim(2) + 2 * p - k) / s + 1, (x.dim(3) + 2 * p - k) / s + 1};
  return x.graph().add(op, {x}, {{out}})[0];
}

}  // namespace

Tensor max_pool2d(Tensor x, Pool2dDesc desc) {
  return record(PoolKind::max, x, desc);
}

Tensor avg_pool2d(Tensor x, Pool2dDesc desc) {
  return record(PoolKind::average, x, desc);
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
  return size_t(Pool2dScratch(s.inputs[0], s.outputs[0], desc, 1).thread_floats * threads) * sizeof(float);
}

size_t MaxPool2dGrad::workspace_bytes(const NodeShapes& s, int threads) const {
  return size_t(Pool2dScratch(s.inputs[0], s.inputs[size_t(d_y[0].source)], desc, 4).thread_floats *
                threads) *
         sizeof(float);
}

size_t AvgPool2dGrad::workspace_bytes(const NodeShapes& s, int threads) const {
  return size_t(Pool2dScratch(s.outputs[0], s.inputs[size_t(d_y[0].source)], desc, 1).thread_floats *
                threads) *
         sizeof(float);
}

std::string_view Pool2d::name() const {
  return kind == PoolKind::max ? "max_pool2d" : "avg_pool2d";
}

void Pool2d::backward(Backward& b) const {
  if (!b.needs(0)) return;
  std::vector<Tensor> operands;
  if (kind == PoolKind::max) operands.push_back(b.input(0));
  GradientSum d_y = gradient_sum(b, 0, operands);
  if (kind == PoolKind::max) {
    b.emit(MaxPool2dGrad(desc, std::move(d_y)), operands, {0});
  } else {
    b.emit(AvgPool2dGrad(desc, std::move(d_y)), operands, {0});
  }
}

Cost Pool2d::cost(const NodeShapes& s) const {
  Cost c = Op::cost(s);
  c.flops = double(s.outputs[0].elements()) * desc.kernel * desc.kernel;
  c.bytes_moved -=
      4.0 * double(s.inputs[0].elements()) * (1 - double(s.outputs[0][1]) / double(s.inputs[0][1]));
  return c;
}

void GlobalAvgPool::backward(Backward& b) const {
  if (b.needs(0)) b.emit(GlobalAvgPoolGrad(), {b.grad(0)}, {0});
}

}  // namespace ladarts
