// The kernels between which ops/cpu/conv2d.cpp chooses. One copy per instruction set, told apart by the inner
// namespace.
#pragma once

#include <span>

#include "core/kernel.h"
#include "core/thread_pool.h"
#include "ops/conv2d_plan.h"

namespace ladarts::LADARTS_ISA {

// Where a pointwise kernel's x are sums (ops/sum_conv2d.h): of each part the terms, whose channels count on.
struct InputSums {
  void* const* first;
  void* const* second;        // null where there is one term
  const float* coefficients;  // kSumCoefficients for each channel of all parts
};
// Operands as the ops list them: (x, w[, bias]) -> y, (d_y, w[, x]) -> d_x, (d_y, x) -> d_w. `parts` and
// `outputs` as in the ops; more than one only where pointwise.
void dense_forward(const Conv2dGeometry& g, int parts, int outputs, const KernelArgs& a);
void dense_grad_input(const Conv2dGeometry& g, std::span<const int> parts, int outputs, const KernelArgs& a);
void dense_grad_weight(const Conv2dGeometry& g, int outputs, const KernelArgs& a);
void spatial_forward(const Conv2dGeometry& g, const KernelArgs& a);
void spatial_grad_input(const Conv2dGeometry& g, const KernelArgs& a);  // stride 1
void spatial_grad_weight(const Conv2dGeometry& g, const KernelArgs& a);
void depthwise_forward(const Conv2dGeometry& g, const KernelArgs& a);
void depthwise_grad_input(const Conv2dGeometry& g, const KernelArgs& a);
void depthwise_grad_weight(const Conv2dGeometry& g, const KernelArgs& a);

// (..., w... from operand `weights_at` on) -> y of an x of sums.
void sum_forward(const Conv2dGeometry& g, int parts, int outputs, int weights_at, const InputSums& x,
                 const KernelArgs& a);
// The weights' gradient of such an x: of images [n0, n0 + images), added to `partial` of g.weights() floats
// whose layout is the kernel's; then from the partials of all chunks, in their order, to d_w (rows, g.c) of
// each output. d_y (N, rows, H, W) of each output; scratch as of dense_grad_weight().
struct WeightGradient {
  int64_t rows;
  const float* d_y;
  float* d_w;  // null: not wanted
  bool add;
};
void add_weight_gradient(const Conv2dGeometry& g, std::span<const WeightGradient> of, const InputSums& x,
                         int64_t part_channels, int64_t n0, int64_t images, float* partial, float* scratch);
void store_weight_gradient(const Conv2dGeometry& g, std::span<const WeightGradient> of, int64_t chunks,
                           float* partials, ThreadPool& pool);

// d_w (+)= the sum over chunks of the first `weights` of partials (chunks, row), in order.
void add_partials(const float* partials, int64_t chunks, int64_t row, int64_t weights, float* d_w,
                  bool accumulate, ThreadPool& pool);

}  // namespace ladarts::LADARTS_ISA
