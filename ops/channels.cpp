#include "ops/channels.h"

#include "core/gradients.h"
#include "ops/checks.h"

namespace ladarts {

namespace {

// x with the size along `axis` replaced.
Shape resized(const Shape& shape, int axis, int64_t size) {
  Shape result = shape;
  result.set(axis, size);
  return result;
}

Tensor record_concat(int axis, const std::vector<Tensor>& xs) {
  auto op = std::make_shared<Concat>(axis);
  require(!xs.empty(), "[{}] needs at least one tensor", op->name());
  int64_t total = 0;
  for (size_t k = 0; k < xs.size(); ++k) {
    const std::string what = fmt::format("x[{}]", k);
    require_float(op->name(), what, xs[k]);
    require(xs[k].rank() > axis && xs[k].rank() == xs[0].rank() &&
                resized(xs[k].shape(), axis, 0) == resized(xs[0].shape(), axis, 0),
            "[{}] {} has shape {}, x[0] has {}; they may differ in dimension {} alone", op->name(), what,
            xs[k].shape().str(), xs[0].shape().str(), axis);
    total += xs[k].dim(axis);
  }
  return xs[0].graph().add(op, xs, {{resized(xs[0].shape(), axis, total)}})[0];
}

Tensor record_slice(int axis, Tensor x, int64_t begin, int64_t count) {
  auto op = std::make_shared<Slice>(axis, begin);
  require_float(op->name(), "x", x);
  require(x.rank() > axis, "[{}] x of shape {} has no dimension {}", op->name(), x.shape().str(), axis);
  require(begin >= 0 && count > 0 && begin + count <= x.dim(axis),
          "[{}] {} from {} on are not in dimension {} of x of shape {}", op->name(), count, begin, axis,
          x.shape().str());
  return x.graph().add(op, {x}, {{resized(x.shape(), axis, count)}})[0];
}

}  // namespace

bool readable_as_parts(const std::vector<Tensor>& xs) {
  if (xs.empty() || xs.size() > size_t(kMostParts)) return false;
  for (const Tensor& x : xs) {
    if (!x || x.dtype() != DType::f32 || x.rank() != 4) return false;
    if (x.shape() != xs[0].shape() || x.shape().elements() == 0) return false;
  }
  return true;
}

Tensor concat_channels(const std::vector<Tensor>& xs) {
  return record_concat(1, xs);
}

Tensor concat_rows(const std::vector<Tensor>& xs) {
  return record_concat(0, xs);
}

Tensor slice_channels(Tensor x, int64_t begin, int64_t count) {
  return record_slice(1, x, begin, count);
}

Tensor slice_rows(Tensor x, int64_t begin, int64_t count) {
  return record_slice(0, x, begin, count);
}

Tensor channel_shuffle(Tensor x, int groups) {
  require_float("channel_shuffle", "x", x);
  require(x.rank() >= 2, "[channel_shuffle] x has shape {}; expected (N, C, ...)", x.shape().str());
  require(groups >= 1 && x.dim(1) % groups == 0, "[channel_shuffle] {} channels do not divide into {} groups",
          x.dim(1), groups);
  return x.graph().add(std::make_shared<ChannelShuffle>(groups), {x}, {{x.shape()}})[0];
}

void Concat::backward(Backward& b) const {
  std::vector<int> wanted;
  std::vector<int64_t> begins;
  int64_t at = 0;
  for (int k = 0; k < b.inputs(); ++k) {
    if (b.needs(k)) {
      wanted.push_back(k);
      begins.push_back(at);
    }
    at += b.input(k).dim(axis);
  }
  b.emit(ConcatGrad(axis, std::move(begins)), {b.grad(0)}, wanted);
}

void Slice::backward(Backward& b) const {
  if (b.needs(0)) b.emit(SliceGrad(axis, begin), {b.grad(0)}, {0});
}

Cost Slice::cost(const NodeShapes& s) const {
  Cost c;
  c.bytes_moved = 8.0 * double(s.outputs[0].elements());
  return c;
}

void ChannelShuffle::backward(Backward& b) const {
  const int inverse = int(b.input(0).dim(1)) / groups;
  if (b.needs(0)) b.emit(ChannelShuffle(inverse), {b.grad(0)}, {0});
}

}  // namespace ladarts
