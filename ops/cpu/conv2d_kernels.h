// The kernels between which ops/cpu/conv2d.cpp chooses. One copy per instruction set, told apart by the inner
// namespace.
#pragma once

#include <span>

#include "core/kernel.h"
#include "core/thread_pool.h"
#include "ops/conv2d_plan.h"

namespace ladarts::LADARTS_ISA {

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

// d_w (+)= the sum over chunks of the first `weights` of partials (chunks, row), in order.
void add_partials(const float* partials, int64_t chunks, int64_t row, int64_t weights, float* d_w,
                  bool accumulate, ThreadPool& pool);

}  // namespace ladarts::LADARTS_ISA
