#include "ops/linear.h"

#include <algorithm>
#include <cstring>

#include "core/kernel.h"
#include "core/thread_pool.h"
#include "ops/cpu/half_zero.h"
#include "ops/cpu/transpose.h"

namespace ladarts {
namespace {

// Tasks of a matrix product: blocks of its result, enough rows or columns each to reuse what they read.
constexpr int64_t kTaskRows = 48, kTaskOutputs = 48;
constexpr int64_t kSparseRows = 4;    // of x; a task where x is mostly zero
constexpr int64_t kSparseBlocks = 4;  // of kLanes features; a task of its weights' gradient

// What is not zero of an operand. An encoding of an architecture is mostly zero: a third of the work on the
// predictor's weights; what ReLU gives, and lets through of a gradient, half.
constexpr double kFew = 1. / 6, kHalf = 0.6;
constexpr double kTransposition = 0.1;  // what a transposed result costs, as a share multiplied

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

// Puts rows of b (depth, columns) into a panel.
auto panel_of(const float* b, int64_t columns) {
  return [=](int64_t j, int64_t vectors, int64_t k, int64_t depth, float* to) {
    for (int64_t i = 0; i < depth; ++i)
      for (int64_t v = 0; v < vectors; ++v, to += kLanes)
        store<kLanes>(to, load<kLanes>(b + (k + i) * columns + j + v * kLanes));
  };
}

// c (rows, columns) = start + a * b where half of a (rows, depth) is zero. pack(column, vectors, k, depth,
// panel) puts b's rows there, from that column on.
template <class Pack>
void multiply_half_zero(int64_t columns, const HalfZeroProduct& all, ThreadPool& pool, Pack pack) {
  const HalfZeroTasks tasks(all.rows, columns, pool.threads(), 256);
  pool.parallel_for(tasks.count(), [&](int64_t task, int) {
    const int64_t i = task / tasks.panels.count, panel = task % tasks.panels.count;
    const int64_t r = tasks.rows.begin(i), j = tasks.panels.begin(panel) * kLanes;
    const int64_t vectors = tasks.panels.begin(panel + 1) - tasks.panels.begin(panel);
    HalfZeroProduct p = all;
    p.rows = tasks.rows.begin(i + 1) - r;
    p.a += r * p.a_row;
    p.c += r * p.c_row + j;
    if (p.start) p.start += r * p.start_row + j;
    half_zero_product(vectors, p,
                      [&](int64_t k, int64_t depth, float* to) { pack(j, vectors, k, depth, to); });
  });
}

// The same for c^T (columns, rows), without a start.
void multiply_half_zero_transposed(int64_t columns, const HalfZeroProduct& all, const float* b, float* c_t,
                                   ThreadPool& pool) {
  constexpr int64_t kMostRows = 64;
  const HalfZeroTasks tasks(all.rows, columns, pool.threads(), kMostRows);
  const auto pack = panel_of(b, columns);
  pool.parallel_for(tasks.count(), [&](int64_t task, int) {
    // Tasks that follow each other write rows of c^T that do.
    const int64_t i = task % tasks.rows.count, panel = task / tasks.rows.count;
    const int64_t r = tasks.rows.begin(i), j = tasks.panels.begin(panel) * kLanes;
    const int64_t vectors = tasks.panels.begin(panel + 1) - tasks.panels.begin(panel);
    alignas(64) float c[kMostRows * kPanelVectors * kLanes];
    HalfZeroProduct p = all;
    p.rows = tasks.rows.begin(i + 1) - r;
    p.a += r * p.a_row;
    p.c = c, p.c_row = vectors * kLanes;
    half_zero_product(vectors, p,
                      [&](int64_t k, int64_t depth, float* to) { pack(j, vectors, k, depth, to); });
    transpose<true>(c, p.c_row, p.rows, p.c_row, c_t + j * all.rows + r, all.rows);
  });
}

void forward_half_zero(const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], features = a.in_shape(0)[1], outputs = a.in_shape(1)[0];
  const float* w = a.in(1);
  const HalfZeroProduct p{batch, features, a.in(0), features, a.out(0), outputs, bias_of(a), 0};
  multiply_half_zero(
      outputs, p, *a.pool, [=](int64_t o, int64_t vectors, int64_t k, int64_t depth, float* to) {
        transpose(w + o * features + k, features, vectors * kLanes, depth, to, vectors * kLanes);
      });
}

void grad_input_half_zero(const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], outputs = a.in_shape(0)[1], features = a.in_shape(1)[1];
  const float* start = a.accumulate(0) ? a.out(0) : nullptr;
  const HalfZeroProduct p{batch, outputs, a.in(0), outputs, a.out(0), features, start, features};
  multiply_half_zero(features, p, *a.pool, panel_of(a.in(1), features));
}

// x (rows, columns) to the workspace: (columns, rows filled up to whole vectors).
void transpose_to_workspace(const KernelArgs& a, const float* x, int64_t rows, int64_t columns, int64_t row) {
  float* const x_t = reinterpret_cast<float*>(a.workspace);
  const Blocks blocks(columns / kLanes, kTaskOutputs / kLanes);
  a.pool->parallel_for(blocks.count, [&](int64_t task, int) {
    const int64_t c = blocks.begin(task) * kLanes, end = blocks.begin(task + 1) * kLanes;
    transpose(x + c, columns, rows, end - c, x_t + c * row, row);
  });
}

// d_w = d_y^T * x, or (x^T * d_y)^T where x has clearly more zeros.
void grad_weight_half_zero(const KernelArgs& a, bool by_x) {
  const int64_t batch = a.in_shape(0)[0], outputs = a.in_shape(0)[1], features = a.in_shape(1)[1];
  const int64_t row = (batch + kLanes - 1) / kLanes * kLanes;
  const float *d_y = a.in(0), *x = a.in(1), *start = a.accumulate(0) ? a.out(0) : nullptr;
  const auto* transposed = reinterpret_cast<const float*>(a.workspace);
  if (by_x) {
    transpose_to_workspace(a, x, batch, features, row);
    multiply_half_zero_transposed(outputs, {features, batch, transposed, row, nullptr, 0, nullptr, 0}, d_y,
                                  a.out(0), *a.pool);
  } else {
    transpose_to_workspace(a, d_y, batch, outputs, row);
    multiply_half_zero(features, {outputs, batch, transposed, row, a.out(0), features, start, features},
                       *a.pool, panel_of(x, features));
  }
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

// d_w of x's entries that are not zero: d_w^T by blocks of features, each then transposed. Rows of d_y that
// fill half the second cache serve all blocks of a task before the next ones do.
void grad_weight_sparse(const KernelArgs& a) {
  constexpr int64_t kNearFloats = 64 * 1024;
  const int64_t batch = a.in_shape(0)[0], outputs = a.in_shape(0)[1], features = a.in_shape(1)[1];
  const int64_t near = std::max<int64_t>(1, kNearFloats / outputs);
  const float *d_y = a.in(0), *x = a.in(1);
  float* const d_w_t = reinterpret_cast<float*>(a.workspace);
  const Blocks tasks((features + kLanes - 1) / kLanes, kSparseBlocks);
  a.pool->parallel_for(tasks.count, [&](int64_t task, int) {
    const int64_t begin = tasks.begin(task) * kLanes,
                  end = std::min(tasks.begin(task + 1) * kLanes, features);
    std::memset(d_w_t + begin * outputs, 0, size_t((end - begin) * outputs) * sizeof(float));
    for (int64_t n0 = 0; n0 < batch; n0 += near)
      for (int64_t first = begin; first < end; first += kLanes)
        for (int64_t n = n0; n < std::min(n0 + near, batch); ++n) {
          const float* row = x + n * features + first;
          uint64_t others = bits_of_others(row, std::min<int64_t>(kLanes, end - first));
          for (; others != 0; others &= others - 1) {
            const int f = __builtin_ctzll(others);
            add_scaled(d_w_t + (first + f) * outputs, row[f], d_y + n * outputs, outputs);
          }
        }
    for (int64_t first = begin; first < end; first += kLanes)
      transpose<true>(d_w_t + first * outputs, outputs, std::min<int64_t>(kLanes, end - first), outputs,
                      a.out(0) + first, features);
  });
}

void linear_forward(const Linear&, const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], outputs = a.in_shape(1)[0];
  if (batch < kLanes || outputs % kLanes != 0) {
    forward_dots(a);
  } else if (const double share = share_of_others(a.in(0), a.in_shape(0).elements()); share <= kFew) {
    forward_sparse(a);
  } else if (share <= kHalf) {
    forward_half_zero(a);
  } else {
    forward_transposed(a);
  }
}

void linear_grad_input(const LinearGradInput&, const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], outputs = a.in_shape(0)[1], features = a.in_shape(1)[1];
  if (batch >= kLanes && features % kLanes == 0 && share_of_others(a.in(0), batch * outputs) <= kHalf)
    return grad_input_half_zero(a);
  multiply(batch, features, outputs, a.in(0), outputs, 1, a.in(1), a.out(0), a.accumulate(0), *a.pool);
}

void linear_grad_weight(const LinearGradWeight&, const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], outputs = a.in_shape(0)[1], features = a.in_shape(1)[1];
  const bool alone = !a.accumulate(0);
  const double of_x = share_of_others(a.in(1), batch * features);
  if (outputs >= kLanes && alone && of_x <= kFew) return grad_weight_sparse(a);
  if (batch >= kLanes && outputs % kLanes == 0 && features % kLanes == 0) {
    const double of_d_y = share_of_others(a.in(0), batch * outputs);
    const bool by_x = alone && of_x + kTransposition < of_d_y;
    if ((by_x ? of_x : of_d_y) <= kHalf) return grad_weight_half_zero(a, by_x);
  }
  multiply(outputs, features, batch, a.in(0), 1, outputs, a.in(1), a.out(0), a.accumulate(0), *a.pool);
}

LADARTS_CPU_KERNEL(Linear, linear_forward)
LADARTS_CPU_KERNEL(LinearGradInput, linear_grad_input)
LADARTS_CPU_KERNEL(LinearGradWeight, linear_grad_weight)

}  // namespace
}  // namespace ladarts
