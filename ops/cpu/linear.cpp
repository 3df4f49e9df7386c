#include "ops/linear.h"

#include <algorithm>

#include "core/kernel.h"
#include "core/thread_pool.h"
#include "ops/cpu/gemm.h"

namespace ladarts {
namespace {

// Tasks of a matrix product: blocks of its result, enough rows or columns each to reuse what they read.
constexpr int64_t kTaskRows = 48, kTaskOutputs = 48;

// c (rows, columns) (+)= a * b with a's element (r, k) at r * a_row + k * a_k; b (depth, columns), c
// contiguous.
void multiply(int64_t rows, int64_t columns, int64_t depth, const float* a, int64_t a_row, int64_t a_k,
              const float* b, float* c, bool add, ThreadPool& pool) {
  const int64_t whole = columns / kLanes * kLanes;  // the rest has no whole vector to read
  const int64_t column_tasks = (columns + kTileColumns - 1) / kTileColumns;
  const int64_t row_tasks = (rows + kTaskRows - 1) / kTaskRows;
  pool.parallel_for(row_tasks * column_tasks, [&](int64_t task, int) {
    const int64_t r0 = task / column_tasks * kTaskRows, r1 = std::min(r0 + kTaskRows, rows);
    const int64_t j0 = task % column_tasks * kTileColumns, j1 = std::min(j0 + kTileColumns, columns);
    GemmTile t{};
    t.k = depth;
    t.a = a + r0 * a_row, t.a_row = a_row, t.a_k = a_k;
    t.b = b + j0, t.b_row = columns;
    t.c = c + r0 * columns + j0, t.c_row = columns;
    t.columns = std::min(j1, whole) - j0;
    t.add = add;
    gemm(r1 - r0, t);
    for (int64_t r = r0; r < r1; ++r)
      for (int64_t j = std::max(j0, whole); j < j1; ++j) {
        float sum = 0;
        for (int64_t k = 0; k < depth; ++k) sum += a[r * a_row + k * a_k] * b[k * columns + j];
        c[r * columns + j] = add ? c[r * columns + j] + sum : sum;
      }
  });
}

void linear_forward(const Linear&, const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], features = a.in_shape(0)[1], outputs = a.in_shape(1)[0];
  const float *x = a.in(0), *w = a.in(1), *bias = a.n_inputs > 2 ? a.in(2) : nullptr;
  const int64_t output_tasks = (outputs + kTaskOutputs - 1) / kTaskOutputs;
  const int64_t batch_tasks = (batch + kTaskRows - 1) / kTaskRows;
  a.pool->parallel_for(batch_tasks * output_tasks, [&](int64_t task, int) {
    const int64_t n0 = task / output_tasks * kTaskRows, n1 = std::min(n0 + kTaskRows, batch);
    const int64_t o0 = task % output_tasks * kTaskOutputs, o1 = std::min(o0 + kTaskOutputs, outputs);
    float* y = a.out(0) + n0 * outputs + o0;
    if (bias)
      for (int64_t n = n0; n < n1; ++n) std::copy(bias + o0, bias + o1, y + (n - n0) * outputs);
    DotTile t{};
    t.length = features;
    t.a = x + n0 * features, t.a_row = features;
    t.b = w + o0 * features, t.b_row = features;
    t.c = y, t.c_row = outputs;
    t.add = bias != nullptr;
    dot_product(n1 - n0, o1 - o0, t);
  });
}

void linear_grad_input(const LinearGradInput&, const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], outputs = a.in_shape(0)[1], features = a.in_shape(1)[1];
  multiply(batch, features, outputs, a.in(0), outputs, 1, a.in(1), a.out(0), a.accumulate(0), *a.pool);
}

void linear_grad_weight(const LinearGradWeight&, const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], outputs = a.in_shape(0)[1], features = a.in_shape(1)[1];
  multiply(outputs, features, batch, a.in(0), 1, outputs, a.in(1), a.out(0), a.accumulate(0), *a.pool);
}

LADARTS_CPU_KERNEL(Linear, linear_forward)
LADARTS_CPU_KERNEL(LinearGradInput, linear_grad_input)
LADARTS_CPU_KERNEL(LinearGradWeight, linear_grad_weight)

}  // namespace
}  // namespace ladarts
