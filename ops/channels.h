// Moving whole channels (dimension 1) or rows (dimension 0) of (N, C, H, W) or (N, C) tensors.
#pragma once

#include <vector>

#include "core/graph.h"

namespace ladarts {

// Some ops take x in parts, as if by concat_channels, and read these where they lie: up to so many of one
// shape.
constexpr int kMostParts = 8;
bool readable_as_parts(const std::vector<Tensor>& xs);

Tensor concat_channels(const std::vector<Tensor>& xs);          // (N, C_k, ...) -> (N, sum C_k, ...)
Tensor slice_channels(Tensor x, int64_t begin, int64_t count);  // channels [begin, begin + count)
Tensor concat_rows(const std::vector<Tensor>& xs);              // (N_k, ...) -> (sum N_k, ...)
Tensor slice_rows(Tensor x, int64_t begin, int64_t count);      // rows [begin, begin + count) of dimension 0
// out[:, j * groups + g] = x[:, g * (C / groups) + j]
Tensor channel_shuffle(Tensor x, int groups);

class Concat : public Op {  // (x_0 .. x_K-1) -> (y), along dimension `axis` (0 or 1)
 public:
  explicit Concat(int a) : axis(a) {}
  std::string_view name() const override { return axis == 0 ? "concat_rows" : "concat_channels"; }
  void backward(Backward& b) const override;
  int axis;
};

// (d_y) -> (the slice of d_y for every input in wanted); begins[i] is where that slice starts.
class ConcatGrad : public Op {
 public:
  ConcatGrad(int a, std::vector<int64_t> at) : axis(a), begins(std::move(at)) {}
  std::string_view name() const override { return "concat_grad"; }
  bool can_accumulate(int) const override { return true; }
  int axis;
  std::vector<int64_t> begins;
};

class Slice : public Op {  // (x) -> (y)
 public:
  Slice(int a, int64_t first) : axis(a), begin(first) {}
  std::string_view name() const override { return axis == 0 ? "slice_rows" : "slice_channels"; }
  void backward(Backward& b) const override;
  Cost cost(const NodeShapes& s) const override;
  int axis;
  int64_t begin;
};

class SliceGrad
    : public Op {  // (d_y) -> (d_x), zero outside of the slice; accumulating touches the slice alone
 public:
  SliceGrad(int a, int64_t first) : axis(a), begin(first) {}
  std::string_view name() const override { return "slice_grad"; }
  bool can_accumulate(int) const override { return true; }
  int axis;
  int64_t begin;
};

class ChannelShuffle : public Op {  // (x) -> (y); its gradient is the shuffle with C / groups groups
 public:
  explicit ChannelShuffle(int g) : groups(g) {}
  std::string_view name() const override { return "channel_shuffle"; }
  void backward(Backward& b) const override;
  bool can_accumulate(int) const override { return true; }
  int groups;
};

}  // namespace ladarts
