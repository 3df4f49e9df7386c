// Rows of small matrices (architecture parameters, encodings): one thread per output.
#include "ops/rows.h"

#include "cuda/elementwise.cuh"
#include "cuda/kernel.h"

namespace ladarts::cuda {
namespace {

// out[r, c] = x[r, c + shift] where that exists, else 0.
struct ShiftedColumns {
  const float* x;
  uint32_t from, to;  // columns of x and of out
  int64_t shift;
  __device__ float operator()(int64_t i) const {
    const uint32_t r = uint32_t(i) / to;
    const int64_t c = int64_t(uint32_t(i) % to) + shift;
    return c >= 0 && c < from ? x[int64_t(r) * from + c] : 0.f;
  }
};
struct ScaledRows {
  const float *x, *s;
  uint32_t columns;
  __device__ float operator()(int64_t i) const { return x[i] * s[uint32_t(i) / columns]; }
};
struct RowDots {
  const float *a, *b;
  uint32_t columns;
  __device__ float operator()(int64_t r) const {
    float sum = 0;
    for (int64_t i = r * columns; i < (r + 1) * columns; ++i) sum += a[i] * b[i];
    return sum;
  }
};

__device__ inline uint32_t first_maximum(const float* x, uint32_t n) {
  uint32_t best = 0;
  for (uint32_t i = 1; i < n; ++i)
    if (x[i] > x[best]) best = i;
  return best;
}
struct RowMaxima {
  const float* x;
  uint32_t columns;
  __device__ float operator()(int64_t r) const {
    return x[r * columns + first_maximum(x + r * columns, columns)];
  }
};
// Each element looks for its row's maximum anew: rows are short.
struct RowMaximaGrad {
  const float *x, *d_y;
  uint32_t columns;
  __device__ float operator()(int64_t i) const {
    const uint32_t r = uint32_t(i) / columns;
    return first_maximum(x + int64_t(r) * columns, columns) == uint32_t(i) % columns ? d_y[r] : 0.f;
  }
};

template <class F>
void store(F f, const KernelArgs& a) {
  size32(a.in_shape(0).elements());
  elementwise(f, a.out(0), size32(a.out_shape(0).elements()), a.accumulate(0), a.stream);
}

uint32_t columns_of(const KernelArgs& a) {
  return uint32_t(a.in_shape(0)[1]);
}

void shift_columns(const ShiftColumns& op, const KernelArgs& a) {
  store(ShiftedColumns{a.in(0), columns_of(a), uint32_t(a.out_shape(0)[1]), op.shift}, a);
}
void scale_rows_kernel(const ScaleRows&, const KernelArgs& a) {
  store(ScaledRows{a.in(0), a.in(1), columns_of(a)}, a);
}
void row_dot(const RowDot&, const KernelArgs& a) {
  store(RowDots{a.in(0), a.in(1), columns_of(a)}, a);
}
void row_max_kernel(const RowMax&, const KernelArgs& a) {
  store(RowMaxima{a.in(0), columns_of(a)}, a);
}
void row_max_grad(const RowMaxGrad&, const KernelArgs& a) {
  store(RowMaximaGrad{a.in(0), a.in(1), columns_of(a)}, a);
}

LADARTS_CUDA_KERNEL(ShiftColumns, shift_columns)
LADARTS_CUDA_KERNEL(ScaleRows, scale_rows_kernel)
LADARTS_CUDA_KERNEL(RowDot, row_dot)
LADARTS_CUDA_KERNEL(RowMax, row_max_kernel)
LADARTS_CUDA_KERNEL(RowMaxGrad, row_max_grad)

}  // namespace
}  // namespace ladarts::cuda
