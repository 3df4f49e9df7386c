#include "ops/linear.h"

#include <algorithm>
#include <cstring>

#include "core/kernel.h"
#include "core/thread_pool.h"
#include "ops/cpu/gemm.h"
#include "ops/cpu/transpose.h"

namespace ladarts {
namespace {

// Tasks of a matrix product: blocks of its result, enough rows or columns each to reuse what they read.
constexpr int64_t kTaskRows = 48, kTaskOutputs = 48;
constexpr int64_t kSparseRows = 4;  // of x; a task where x is mostly zero

// An encoding of an architecture is: a third of the work on the predictor's weights is with zeros.
bool mostly_zero(const float* x, int64_t n) {
  constexpr int64_t kBlock = 1024;
  const int64_t most = n / 6;
  int64_t others = 0;
  for (int64_t begin = 0; begin < n && others <= most; begin += kBlock) {
    const int64_t end = std::min(n, begin + kBlock);
    int32_t count = 0;
#pragma omp simd reduction(+ : count)
    for (int64_t i = begin; i < end; ++i) count += x[i] != 0.f;
    others += count;
  }
  return others <= most;
}

inline void add_scaled(float* __restrict to, float factor, const float* __restrict x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] += factor * x[i];
}

const float* bias_of(const KernelArgs& a) {
  return a.n_inputs > 2 ? a.in(2) : nullptr;
}

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
    t.addend = add ? t.c : nullptr;
    gemm(r1 - r0, t);
    for (int64_t r = r0; r < r1; ++r)
      for (int64_t j = std::max(j0, whole); j < j1; ++j) {
        float sum = 0;
        for (int64_t k = 0; k < depth; ++k) sum += a[r * a_row + k * a_k] * b[k * columns + j];
        c[r * columns + j] = add ? c[r * columns + j] + sum : sum;
      }
  });
}

// Short products: rows of x and w along each other.
void forward_dots(const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], features = a.in_shape(0)[1], outputs = a.in_shape(1)[0];
  const float *x = a.in(0), *w = a.in(1), *bias = bias_of(a);
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

// y^T = w * x^T, a block of rows of x at a time: no sum across lanes.
void forward_transposed(const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], features = a.in_shape(0)[1], outputs = a.in_shape(1)[0];
  const float *w = a.in(1), *bias = bias_of(a);
  float* const x_t = reinterpret_cast<float*>(a.workspace);  // (blocks, features, kTileColumns)
  const int64_t blocks = (batch + kTileColumns - 1) / kTileColumns;
  const int64_t feature_tasks = (features + kTaskOutputs - 1) / kTaskOutputs;
  const int64_t output_tasks = (outputs + kTaskOutputs - 1) / kTaskOutputs;
  a.pool->parallel_for(blocks * feature_tasks, [&](int64_t task, int) {
    const int64_t n = task / feature_tasks * kTileColumns, f = task % feature_tasks * kTaskOutputs;
    transpose(a.in(0) + n * features + f, features, std::min<int64_t>(kTileColumns, batch - n),
              std::min(kTaskOutputs, features - f), x_t + n * features + f * kTileColumns, kTileColumns);
  });
  a.pool->parallel_for(blocks * output_tasks, [&](int64_t task, int) {
    const int64_t n = task / output_tasks * kTileColumns, o = task % output_tasks * kTaskOutputs;
    const int64_t rows = std::min(kTaskOutputs, outputs - o);
    alignas(64) float y_t[kTaskOutputs * kTileColumns];
    GemmTile t{};
    t.k = features;
    t.a = w + o * features, t.a_row = features, t.a_k = 1;
    t.b = x_t + n * features, t.b_row = kTileColumns;
    t.c = y_t, t.c_row = kTileColumns;
    t.columns = std::min<int64_t>(kTileColumns, (batch - n + kLanes - 1) / kLanes * kLanes);
    t.bias = bias ? bias + o : nullptr;
    gemm(rows, t);
    transpose(y_t, kTileColumns, rows, std::min<int64_t>(kTileColumns, batch - n), a.out(0) + n * outputs + o,
              outputs);
  });
}

// y = sum over the entries of x that are not zero of that times a row of w^T.
void forward_sparse(const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], features = a.in_shape(0)[1], outputs = a.in_shape(1)[0];
  const float *w = a.in(1), *bias = bias_of(a);
  float* const w_t = reinterpret_cast<float*>(a.workspace);  // (features, outputs)
  a.pool->parallel_for(outputs / kLanes, [&](int64_t task, int) {
    const int64_t o = task * kLanes;
    transpose(w + o * features, features, kLanes, features, w_t + o, outputs);
  });
  a.pool->parallel_for((batch + kSparseRows - 1) / kSparseRows, [&](int64_t task, int) {
    const int64_t end = std::min(batch, (task + 1) * kSparseRows);
    for (int64_t n = task * kSparseRows; n < end; ++n) {
      const float* x = a.in(0) + n * features;
      float* y = a.out(0) + n * outputs;
      for (int64_t o = 0; o < outputs; ++o) y[o] = bias ? bias[o] : 0.f;
      for (int64_t f = 0; f < features; ++f)
        if (x[f] != 0.f) add_scaled(y, x[f], w_t + f * outputs, outputs);
    }
  });
}

// d_w of x's entries that are not zero: d_w^T by blocks of features, each then transposed.
void grad_weight_sparse(const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], outputs = a.in_shape(0)[1], features = a.in_shape(1)[1];
  const float *d_y = a.in(0), *x = a.in(1);
  a.pool->parallel_for((features + kLanes - 1) / kLanes, [&](int64_t task, int) {
    const int64_t first = task * kLanes, count = std::min<int64_t>(kLanes, features - first);
    float* const d_w_t = reinterpret_cast<float*>(a.workspace) + first * outputs;
    std::memset(d_w_t, 0, size_t(count * outputs) * sizeof(float));
    for (int64_t n = 0; n < batch; ++n)
      for (int64_t f = 0; f < count; ++f)
        if (const float v = x[n * features + first + f]; v != 0.f)
          add_scaled(d_w_t + f * outputs, v, d_y + n * outputs, outputs);
    transpose<true>(d_w_t, outputs, count, outputs, a.out(0) + first, features);
  });
}

void linear_forward(const Linear&, const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], outputs = a.in_shape(1)[0];
  if (batch < kLanes || outputs % kLanes != 0) {
    forward_dots(a);
  } else if (mostly_zero(a.in(0), a.in_shape(0).elements())) {
    forward_sparse(a);
  } else {
    forward_transposed(a);
  }
}

void linear_grad_input(const LinearGradInput&, const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], outputs = a.in_shape(0)[1], features = a.in_shape(1)[1];
  multiply(batch, features, outputs, a.in(0), outputs, 1, a.in(1), a.out(0), a.accumulate(0), *a.pool);
}

void linear_grad_weight(const LinearGradWeight&, const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], outputs = a.in_shape(0)[1], features = a.in_shape(1)[1];
  if (outputs >= kLanes && !a.accumulate(0) && mostly_zero(a.in(1), batch * features))
    return grad_weight_sparse(a);
  multiply(outputs, features, batch, a.in(0), 1, outputs, a.in(1), a.out(0), a.accumulate(0), *a.pool);
}

LADARTS_CPU_KERNEL(Linear, linear_forward)
LADARTS_CPU_KERNEL(LinearGradInput, linear_grad_input)
LADARTS_CPU_KERNEL(LinearGradWeight, linear_grad_weight)

}  // namespace
}  // namespace ladarts
