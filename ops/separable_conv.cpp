#include "ops/separable_conv.h"

#include <algorithm>

#include "ops/checks.h"
#include "ops/separable_plan.h"

namespace ladarts {

Tensor separable_conv(Tensor x, Tensor depthwise, Tensor pointwise, Tensor bias, SeparableConvDesc desc,
                      Tensor addend) {
  require_images("separable_conv", x);
  require(x.shape().elements() > 0, "[separable_conv] x {} must not be empty", x.shape().str());
  require(desc.stride == 1 || desc.stride == 2, "[separable_conv] stride {}: only 1 and 2 are offered",
          desc.stride);
  require(desc.dilation == 1 || desc.dilation == 2, "[separable_conv] dilation {}: only 1 and 2 are offered",
          desc.dilation);
  for (const auto& [what, t] :
       {std::pair("depthwise weight", depthwise), {"pointwise weight", pointwise}, {"bias", bias}})
    require_float("separable_conv", what, t);
  const int64_t c = x.dim(1);
  const Shape &d = depthwise.shape(), &p = pointwise.shape();
  require(d == Shape{c, 1, 3, 3} || d == Shape{c, 1, 5, 5},
          "[separable_conv] depthwise weight {} must be ({}, 1, K, K), K 3 or 5; conv2d takes other kernels",
          d.str(), c);
  require(p.rank() == 4 && p[0] > 0 && p[1] == c && p[2] == 1 && p[3] == 1,
          "[separable_conv] pointwise weight {} must be (O, {}, 1, 1)", p.str(), c);
  require(bias.shape() == Shape{p[0]}, "[separable_conv] bias {} must be ({}): one value for each output",
          bias.shape().str(), p[0]);
  const Shape y{x.dim(0), p[0], (x.dim(2) + desc.stride - 1) / desc.stride,
                (x.dim(3) + desc.stride - 1) / desc.stride};
  std::vector<Tensor> operands{x, depthwise, pointwise, bias};
  if (addend) {
    require_float("separable_conv", "addend", addend);
    require(addend.shape() == y, "[separable_conv] addend {} must have the shape of the result, {}",
            addend.shape().str(), y.str());
    operands.push_back(addend);
  }
  return x.graph().add(std::make_shared<SeparableConv>(desc), operands, {{y}})[0];
}

SeparableBands::SeparableBands(const SeparablePlan& p, int threads) {
  constexpr int64_t kTileFloats = 64 * 1024;  // of all channels: half of the second cache
  constexpr int kRows = 4;                    // that depthwise kernels take at a time
  const int64_t wanted = (threads + p.images - 1) / p.images;
  const int64_t for_threads = (p.out_h + wanted - 1) / wanted,
                for_cache = kTileFloats / (int64_t(p.c) * p.width) / kRows * kRows;
  rows = int(round_up(std::max<int64_t>(1, std::min(for_threads, for_cache)), kRows));
  count = (p.out_h + rows - 1) / rows;
  plane = int(round_up(((rows - 1) * p.stride + 1 + 2 * SeparablePlan::kHalo) * p.pitch, 16));
  tile_stride = round_up(rows * p.width, 16) + 16;
  tiles = p.c + (p.width == p.out_w ? 0 : p.o);
}

int64_t SeparableBands::scratch() const {
  return kTogether * plane + tiles * tile_stride;
}

size_t SeparableConv::workspace_bytes(const NodeShapes& s, int threads) const {
  const SeparablePlan plan(desc.stride, int(s.inputs[0][1]), s.inputs[0], int(s.outputs[0][1]));
  return size_t(threads * SeparableBands(plan, threads).scratch()) * sizeof(float);
}

Cost SeparableConv::cost(const NodeShapes& s) const {
  Cost cost = Op::cost(s);
  const double pixels = double(s.outputs[0][0] * s.outputs[0][2] * s.outputs[0][3]);
  cost.flops = 2 * pixels * double(s.inputs[1].elements() + s.inputs[2].elements());
  return cost;
}

}  // namespace ladarts
