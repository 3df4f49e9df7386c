#include "ops/linear.h"

#include <algorithm>
#include <cstring>

#include "core/kernel.h"
#include "core/thread_pool.h"
#include "ops/cpu/copy_floats.h"
#include "ops/cpu/dot_product.h"
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

// c (rows, columns) (+)= a * b, b (depth, columns), c contiguous.
struct Product {
  int64_t rows, columns, depth;
  const float* a;
  int64_t a_row, a_k;  // element (r, k) at r * a_row + k * a_k
  const float* b;
  float* c;
  bool add;
  bool relu_b = false;          // b is read as max(b, 0); without a mask
  const float* mask = nullptr;  // laid out as c: entries of a * b where it is <= 0 become 0
};

// gemm with max(b, 0) for b, whose columns are whole vectors of one tile: a panel of its rows at a time.
void gemm_of_positive(int64_t rows, GemmTile t) {
  constexpr int64_t kDepth = 64;
  alignas(64) float panel[kDepth * kTileColumns];
  const float* b = t.b;
  const int64_t b_row = t.b_row;
  t.b = panel, t.b_row = kTileColumns;
  for (int64_t left = t.k; left > 0; left -= t.k, t.a += t.k * t.a_k, b += t.k * b_row) {
    t.k = std::min(left, kDepth);
    for (int64_t k = 0; k < t.k; ++k) copy_floats(panel + k * kTileColumns, b + k * b_row, t.columns, true);
    gemm(rows, t);
    t.addend = t.c;
  }
}

// A column that belongs to no whole vector, in rows [r0, r1).
void multiply_column(const Product& p, int64_t r0, int64_t r1, int64_t j) {
  for (int64_t r = r0; r < r1; ++r) {
    const int64_t at = r * p.columns + j;
    float sum = 0;
    for (int64_t k = 0; k < p.depth; ++k) {
      const float b = p.b[k * p.columns + j];
      sum += p.a[r * p.a_row + k * p.a_k] * (p.relu_b && !(b > 0.f) ? 0.f : b);
    }
    if (p.mask && !(p.mask[at] > 0.f)) sum = 0;
    p.c[at] = p.add ? p.c[at] + sum : sum;
  }
}

void multiply(const Product& p, ThreadPool& pool) {
  const int64_t whole = p.columns / kLanes * kLanes;  // the rest has no whole vector to read
  const int64_t column_tasks = (p.columns + kTileColumns - 1) / kTileColumns;
  const int64_t row_tasks = (p.rows + kTaskRows - 1) / kTaskRows;
  pool.parallel_for(row_tasks * column_tasks, [&](int64_t task, int) {
    const int64_t r0 = task / column_tasks * kTaskRows, r1 = std::min(r0 + kTaskRows, p.rows);
    const int64_t j0 = task % column_tasks * kTileColumns, j1 = std::min(j0 + kTileColumns, p.columns);
    const int64_t at = r0 * p.columns + j0;
    GemmTile t{};
    t.k = p.depth;
    t.a = p.a + r0 * p.a_row, t.a_row = p.a_row, t.a_k = p.a_k;
    t.b = p.b + j0, t.b_row = p.columns;
    t.c = p.c + at, t.c_row = p.columns;
    t.columns = std::min(j1, whole) - j0;
    t.mask = p.mask ? p.mask + at : nullptr;
    t.addend = p.add ? t.c : nullptr;
    if (p.relu_b) {
      gemm_of_positive(r1 - r0, t);
    } else {
      gemm(r1 - r0, t);
    }
    for (int64_t j = std::max(j0, whole); j < j1; ++j) multiply_column(p, r0, r1, j);
  });
}

// Short products: rows of x and w along each other.
void forward_dots(const KernelArgs& a, bool relu_input) {
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
    if (relu_input) {
      dot_product<true>(n1 - n0, o1 - o0, t);
    } else {
      dot_product(n1 - n0, o1 - o0, t);
    }
  });
}

// y^T = w * x^T, a block of rows of x at a time: no sum across lanes.
void forward_transposed(const KernelArgs& a, bool relu_input) {
  const int64_t batch = a.in_shape(0)[0], features = a.in_shape(0)[1], outputs = a.in_shape(1)[0];
  const float *w = a.in(1), *bias = bias_of(a);
  float* const x_t = reinterpret_cast<float*>(a.workspace);  // (blocks, features, kTileColumns)
  const int64_t blocks = (batch + kTileColumns - 1) / kTileColumns;
  const int64_t feature_tasks = (features + kTaskOutputs - 1) / kTaskOutputs;
  const int64_t output_tasks = (outputs + kTaskOutputs - 1) / kTaskOutputs;
  a.pool->parallel_for(blocks * feature_tasks, [&](int64_t task, int) {
    const int64_t n = task / feature_tasks * kTileColumns, f = task % feature_tasks * kTaskOutputs;
    const int64_t rows = std::min<int64_t>(kTileColumns, batch - n),
                  count = std::min(kTaskOutputs, features - f);
    float* const to = x_t + n * features + f * kTileColumns;
    transpose(a.in(0) + n * features + f, features, rows, count, to, kTileColumns);
    if (!relu_input) return;
    for (int64_t i = 0; i < count; ++i) copy_floats(to + i * kTileColumns, to + i * kTileColumns, rows, true);
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

// Puts rows of b (depth, columns), or of max(b, 0), into a panel.
auto panel_of(const float* b, int64_t columns, bool relu_b) {
  return [=](int64_t j, int64_t vectors, int64_t k, int64_t depth, float* to) {
    for (int64_t i = 0; i < depth; ++i, to += vectors * kLanes)
      copy_floats(to, b + (k + i) * columns + j, vectors * kLanes, relu_b);
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
    if (p.mask) p.mask += r * p.c_row + j;
    half_zero_product(vectors, p,
                      [&](int64_t k, int64_t depth, float* to) { pack(j, vectors, k, depth, to); });
  });
}

// The same for c^T (columns, rows), without start and mask.
void multiply_half_zero_transposed(int64_t columns, const HalfZeroProduct& all, const float* b, float* c_t,
                                   ThreadPool& pool) {
  constexpr int64_t kMostRows = 64;
  const HalfZeroTasks tasks(all.rows, columns, pool.threads(), kMostRows);
  const auto pack = panel_of(b, columns, false);
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

void forward_half_zero(const KernelArgs& a, bool relu_input) {
  const int64_t batch = a.in_shape(0)[0], features = a.in_shape(0)[1], outputs = a.in_shape(1)[0];
  const float* w = a.in(1);
  const HalfZeroProduct p{batch, features, a.in(0), features, a.out(0), outputs, bias_of(a), 0, relu_input};
  multiply_half_zero(
      outputs, p, *a.pool, [=](int64_t o, int64_t vectors, int64_t k, int64_t depth, float* to) {
        transpose(w + o * features + k, features, vectors * kLanes, depth, to, vectors * kLanes);
      });
}

// mask: null, or x; then nothing is accumulated.
void grad_input_half_zero(const KernelArgs& a, const float* mask) {
  const int64_t batch = a.in_shape(0)[0], outputs = a.in_shape(0)[1], features = a.in_shape(1)[1];
  const float* start = a.accumulate(0) ? a.out(0) : nullptr;
  const HalfZeroProduct p{batch, outputs, a.in(0), outputs, a.out(0), features, start, features, false, mask};
  multiply_half_zero(features, p, *a.pool, panel_of(a.in(1), features, false));
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
void grad_weight_half_zero(const KernelArgs& a, bool relu_input, bool by_x) {
  const int64_t batch = a.in_shape(0)[0], outputs = a.in_shape(0)[1], features = a.in_shape(1)[1];
  const int64_t row = (batch + kLanes - 1) / kLanes * kLanes;
  const float *d_y = a.in(0), *x = a.in(1), *start = a.accumulate(0) ? a.out(0) : nullptr;
  const auto* transposed = reinterpret_cast<const float*>(a.workspace);
  if (by_x) {
    transpose_to_workspace(a, x, batch, features, row);
    multiply_half_zero_transposed(outputs,
                                  {features, batch, transposed, row, nullptr, 0, nullptr, 0, relu_input}, d_y,
                                  a.out(0), *a.pool);
  } else {
    transpose_to_workspace(a, d_y, batch, outputs, row);
    multiply_half_zero(features, {outputs, batch, transposed, row, a.out(0), features, start, features},
                       *a.pool, panel_of(x, features, relu_input));
  }
}

// y = sum over the entries of x that are not zero of that times a row of w^T.
void forward_sparse(const KernelArgs& a, bool relu_input) {
  const int64_t batch = a.in_shape(0)[0], features = a.in_shape(0)[1], outputs = a.in_shape(1)[0];
  const float *w = a.in(1), *bias = bias_of(a);
  float* const w_t = reinterpret_cast<float*>(a.workspace);  // (features, outputs)
  constexpr int64_t kBits = 64;
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
      for (int64_t first = 0; first < features; first += kBits) {
        uint64_t others = bits_of_others(x + first, std::min(kBits, features - first), relu_input);
        for (; others != 0; others &= others - 1) {
          const int64_t f = first + __builtin_ctzll(others);
          add_scaled(y, x[f], w_t + f * outputs, outputs);
        }
      }
    }
  });
}

// d_w of x's entries that are not zero: d_w^T by blocks of features, each then transposed. Rows of d_y that
// fill half the second cache serve all blocks of a task before the next ones do.
void grad_weight_sparse(const KernelArgs& a, bool relu_input) {
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
          uint64_t others = bits_of_others(row, std::min<int64_t>(kLanes, end - first), relu_input);
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

void linear_forward(const Linear& op, const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], features = a.in_shape(0)[1], outputs = a.in_shape(1)[0];
  const bool relu_input = op.desc.relu_input;
  if (batch < kLanes || outputs % kLanes != 0) return forward_dots(a, relu_input);
  const double share = share_of_others(a.in(0), batch * features, relu_input);
  if (share <= kFew) return forward_sparse(a, relu_input);
  if (share <= kHalf) return forward_half_zero(a, relu_input);
  forward_transposed(a, relu_input);
}

void linear_grad_input(const LinearGradInput& op, const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], outputs = a.in_shape(0)[1], features = a.in_shape(1)[1];
  const float *d_y = a.in(0), *x = op.desc.relu_input ? a.in(2) : nullptr;
  const bool add = a.accumulate(0);
  if (batch >= kLanes && features % kLanes == 0 && !(x && add) &&
      share_of_others(d_y, batch * outputs, false) <= kHalf)
    return grad_input_half_zero(a, x);
  multiply({.rows = batch,
            .columns = features,
            .depth = outputs,
            .a = d_y,
            .a_row = outputs,
            .a_k = 1,
            .b = a.in(1),
            .c = a.out(0),
            .add = add,
            .mask = x},
           *a.pool);
}

void linear_grad_weight(const LinearGradWeight& op, const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], outputs = a.in_shape(0)[1], features = a.in_shape(1)[1];
  const bool relu_input = op.desc.relu_input, alone = !a.accumulate(0);
  const float *d_y = a.in(0), *x = a.in(1);
  if (outputs >= kLanes) {
    const double of_x = share_of_others(x, batch * features, relu_input);
    if (alone && of_x <= kFew) return grad_weight_sparse(a, relu_input);
    if (batch >= kLanes && outputs % kLanes == 0 && features % kLanes == 0) {
      const double of_d_y = share_of_others(d_y, batch * outputs, false);
      const bool by_x = alone && of_x + kTransposition < of_d_y;
      if ((by_x ? of_x : of_d_y) <= kHalf) return grad_weight_half_zero(a, relu_input, by_x);
    }
  }
  multiply({.rows = outputs,
            .columns = features,
            .depth = batch,
            .a = d_y,
            .a_row = 1,
            .a_k = outputs,
            .b = x,
            .c = a.out(0),
            .add = a.accumulate(0),
            .relu_b = relu_input},
           *a.pool);
}

LADARTS_CPU_KERNEL(Linear, linear_forward)
LADARTS_CPU_KERNEL(LinearGradInput, linear_grad_input)
LADARTS_CPU_KERNEL(LinearGradWeight, linear_grad_weight)

}  // namespace
}  // namespace ladarts
