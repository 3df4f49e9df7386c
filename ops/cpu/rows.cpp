#include "ops/rows.h"

#include "core/kernel.h"
#include "core/thread_pool.h"

// These run on architecture parameters, some hundred numbers: one thread, plain loops.
namespace ladarts {
namespace {

inline void store(float& to, float value, bool add) {
  to = add ? to + value : value;
}

void shift_columns(const ShiftColumns& op, const KernelArgs& a) {
  const int64_t rows = a.in_shape(0)[0], from = a.in_shape(0)[1], to = a.out_shape(0)[1];
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < to; ++c) {
      const int64_t source = c + op.shift;
      store(a.out(0)[r * to + c], source >= 0 && source < from ? a.in(0)[r * from + source] : 0.f,
            a.accumulate(0));
    }
}

void scale_rows(const ScaleRows&, const KernelArgs& a) {
  const int64_t rows = a.in_shape(0)[0], columns = a.in_shape(0)[1];
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      store(a.out(0)[r * columns + c], a.in(0)[r * columns + c] * a.in(1)[r], a.accumulate(0));
}

void row_dot(const RowDot&, const KernelArgs& a) {
  const int64_t rows = a.in_shape(0)[0], columns = a.in_shape(0)[1];
  for (int64_t r = 0; r < rows; ++r) {
    float sum = 0;
    for (int64_t c = 0; c < columns; ++c) sum += a.in(0)[r * columns + c] * a.in(1)[r * columns + c];
    store(a.out(0)[r], sum, a.accumulate(0));
  }
}

inline int64_t first_maximum(const float* x, int64_t n) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; ++i)
    if (x[i] > x[best]) best = i;
  return best;
}

void row_max(const RowMax&, const KernelArgs& a) {
  const int64_t rows = a.in_shape(0)[0], columns = a.in_shape(0)[1];
  for (int64_t r = 0; r < rows; ++r) {
    const float* x = a.in(0) + r * columns;
    a.out(0)[r] = x[first_maximum(x, columns)];
  }
}

void row_max_grad(const RowMaxGrad&, const KernelArgs& a) {
  const int64_t rows = a.in_shape(0)[0], columns = a.in_shape(0)[1];
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t best = first_maximum(a.in(0) + r * columns, columns);
    for (int64_t c = 0; c < columns; ++c) a.out(0)[r * columns + c] = c == best ? a.in(1)[r] : 0.f;
  }
}

LADARTS_CPU_KERNEL(ShiftColumns, shift_columns)
LADARTS_CPU_KERNEL(ScaleRows, scale_rows)
LADARTS_CPU_KERNEL(RowDot, row_dot)
LADARTS_CPU_KERNEL(RowMax, row_max)
LADARTS_CPU_KERNEL(RowMaxGrad, row_max_grad)

}  // namespace
}  // namespace ladarts
