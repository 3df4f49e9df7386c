#include "ops/pool2d.h"

#include <algorithm>

#include "core/error.h"
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
  thread_floats = row_floats + planes * plane_floats + 2 * gradient_floats;
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
  std::vector<Tensor> operands;
  Pool2dGrad op;
  op.desc = desc;
  const int average = kind == PoolKind::both ? 1 : 0;
  auto sum = [&](int output) {
    std::vector<Tensor> named;
    GradientSum terms = gradient_sum(b, output, named);
    for (GradientTerm& t : terms) {
      auto append = [&](int i) {
        operands.push_back(named[size_t(i)]);
        return int(operands.size()) - 1;
      };
      t.source = named[size_t(t.source)] == b.output(output) ? Pool2dGrad::kPooled : append(t.source);
      if (t.factors >= 0) t.factors = append(t.factors);
    }
    return terms;
  };
  if (kind != PoolKind::average) op.d_max = sum(0);
  if (kind != PoolKind::max) op.d_average = sum(average);
  op.take_late(b, operands);
  if (op.reads_x()) {
    op.x = int(operands.size());
    operands.push_back(b.input(0));
  }
  b.emit(std::move(op), operands, {0});
}

bool Pool2dGrad::has_pooled(const GradientSum& sum) {
  for (const GradientTerm& t : sum)
    if (t.source == kPooled) return true;
  return false;
}

void Pool2dGrad::take_late(Backward& b, std::vector<Tensor>& operands) {
  const bool all_channels = desc.channels == 0 || desc.channels == b.input(0).dim(1);
  auto wanted = [&](const Backward::Late& l) {
    if (dynamic_cast<const ScaledChannels*>(l.op.get())) return all_channels;
    const auto* pools = dynamic_cast<const Pool2dGrad*>(l.op.get());
    return pools && pools->desc == desc && pools->late.empty();
  };
  for (const Backward::Late& l : b.take_late(0, wanted)) add(l, operands);
}

void Pool2dGrad::add(const Backward::Late& other, std::vector<Tensor>& operands) {
  auto append = [&](int i) {
    operands.push_back(other.operands[size_t(i)]);
    return int(operands.size()) - 1;
  };
  if (const auto* scaled = dynamic_cast<const ScaledChannels*>(other.op.get())) {
    const int source = append(0);
    late.push_back({source, append(1), scaled->row, scaled->step, scaled->offset_row});
    return;
  }
  const auto& pools = dynamic_cast<const Pool2dGrad&>(*other.op);
  auto append_terms = [&](const GradientSum& from, GradientSum& to) {
    for (GradientTerm t : from) {
      if (t.source != kPooled) t.source = append(t.source);
      if (t.factors >= 0) t.factors = append(t.factors);
      to.push_back(t);
    }
  };
  append_terms(pools.d_max, d_max);
  append_terms(pools.d_average, d_average);
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
  return size_t(Pool2dScratch(d_x, pooled(d_x), desc, scratch_planes()).thread_floats * threads) *
         sizeof(float);
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
      if (t.factors >= 0 && t.source >= 0) c.flops += 2.0 * double(s.inputs[size_t(t.source)].elements());
  return c;
}

void GlobalAvgPool::backward(Backward& b) const {
  if (b.needs(0)) b.emit(GlobalAvgPoolGrad(), {b.grad(0)}, {0});
}

}  // namespace ladarts
