// Pooling over square windows; x is (N, C, H, W), output (N, c, H', W') with H' = (H + 2 padding - kernel) /
// stride + 1.
#pragma once

#include "core/gradients.h"
#include "core/graph.h"
#include "ops/scaled_channels.h"

namespace ladarts {

struct Pool2dDesc {
  int kernel = 3;
  int stride = 1;
  int padding = 1;   // at most kernel / 2
  int channels = 0;  // the first c channels of x are pooled; 0: all
  bool operator==(const Pool2dDesc&) const = default;
};

inline constexpr Pool2dDesc kPlanePool{.kernel = 3, .stride = 1, .padding = 1};  // y has x's sides

Tensor max_pool2d(Tensor x,
                  Pool2dDesc desc = {});  // the gradient goes to the first maximum in row-major order
Tensor avg_pool2d(Tensor x, Pool2dDesc desc = {});  // padding is not counted
struct MaxAndAverage {
  Tensor max, average;
};
MaxAndAverage max_avg_pool2d(Tensor x, Pool2dDesc desc = {});  // both in one pass over x
Tensor global_avg_pool(Tensor x);                              // (N, C, H, W) -> (N, C)

// Scratch of one CPU thread: a row, `planes` planes, as high as the larger of x and y, of rows that have room
// for an image row, its padding and a window beyond each end, and two planes of y without any.
struct Pool2dScratch {
  Pool2dScratch(const Shape& x, const Shape& y, Pool2dDesc desc, int planes);
  // Floats before the data of a row, and of a whole row.
  static constexpr int64_t lead(Pool2dDesc d) { return round_up(d.kernel + d.padding); }
  static constexpr int64_t row(Pool2dDesc d, int64_t width) {
    return lead(d) + round_up(width + 2 * d.padding + d.kernel + d.stride);
  }
  static constexpr int64_t round_up(int64_t floats) { return (floats + 15) / 16 * 16; }

  float* gradient(float* thread_memory) const { return thread_memory + thread_floats - gradient_floats; }
  float* pooled(float* thread_memory) const { return gradient(thread_memory) - gradient_floats; }

  int64_t row_floats, plane_floats, gradient_floats, thread_floats;
};

enum class PoolKind : uint8_t { max, average, both };

class Pool2d : public Op {  // (x) -> (y), or (maxima, averages)
 public:
  Pool2d(PoolKind k, Pool2dDesc d) : kind(k), desc(d) {}
  std::string_view name() const override;
  void backward(Backward& b) const override;
  std::optional<Recomputation> recomputation() const override;
  bool commutes_with_affine() const override { return kind == PoolKind::average; }
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  Cost cost(const NodeShapes& s) const override;
  PoolKind kind;
  Pool2dDesc desc;
};

// (what the sums name...) -> (d_x), of pools of either kind or of both. Nothing is kept for it: maxima are
// found again, and a term whose source is kPooled is what the pool wrote, computed again. `late`, of all
// channels of x, is added to d_x as it is written.
class Pool2dGrad : public Op {
 public:
  static constexpr int kPooled = -1;

  std::string_view name() const override;
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  bool can_accumulate(int) const override { return true; }
  Cost cost(const NodeShapes& s) const override;
  // (N, c, H', W') of x (N, C, H, W).
  Shape pooled(const Shape& x_shape) const;
  static bool has_pooled(const GradientSum& sum);
  bool reads_x() const { return !d_max.empty() || has_pooled(d_average); }
  // On the CPU: four for maxima, then one for averages, then one for what averages were.
  int scratch_planes() const {
    return (d_max.empty() ? 0 : 4) + (d_average.empty() ? 0 : 1) + (has_pooled(d_average) ? 1 : 0);
  }
  // Adds what waits for the gradient of forward input 0 (Backward::take_late): every Pool2dGrad of the same
  // pools and, where all channels are pooled, ScaledChannels.
  void take_late(Backward& b, std::vector<Tensor>& operands);

  Pool2dDesc desc;
  int x = -1;  // operand, where reads_x()
  GradientSum d_max, d_average;
  GradientSum late;

 private:
  void add(const Backward::Late& other, std::vector<Tensor>& operands);
};

class GlobalAvgPool : public Op {  // (x) -> (N, C)
 public:
  std::string_view name() const override { return "global_avg_pool"; }
  void backward(Backward& b) const override;
};

class GlobalAvgPoolGrad : public Op {  // (d_y: (N, C)) -> (d_x: (N, C, H, W))
 public:
  std::string_view name() const override { return "global_avg_pool_grad"; }
  bool can_accumulate(int) const override { return true; }
};

}  // namespace ladarts
