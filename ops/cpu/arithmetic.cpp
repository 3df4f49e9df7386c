#include "ops/arithmetic.h"

#include "ops/cpu/parallel.h"
#include "ops/cpu/vector_sums.h"

namespace ladarts {
namespace {

// A block, 8 KiB, that stays in the first-level cache while all terms of a sum pass over it.
constexpr int64_t kBlock = 2048;
// Elements summed in single precision before the double: few enough that four lanes lose no digit that
// counts.
constexpr int64_t kSumBlock = 512;

// y[i] = value(i), or += for an accumulating output.
template <class F>
void elementwise(const KernelArgs& a, F value) {
  float* y = a.out(0);
  const bool add = a.accumulate(0);
  for_chunks(*a.pool, a.out_shape(0).elements(), kElementGrain, [=](int64_t begin, int64_t end) {
    if (add) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) y[i] += value(i);
    } else {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) y[i] = value(i);
    }
  });
}

void binary(const Binary& op, const KernelArgs& a) {
  const float *x = a.in(0), *y = a.in(1);
  switch (op.kind) {
    case BinaryKind::add:
      return elementwise(a, [=](int64_t i) { return x[i] + y[i]; });
    case BinaryKind::sub:
      return elementwise(a, [=](int64_t i) { return x[i] - y[i]; });
    case BinaryKind::mul:
      return elementwise(a, [=](int64_t i) { return x[i] * y[i]; });
  }
}

void scale_kernel(const Scale& op, const KernelArgs& a) {
  const float* x = a.in(0);
  const float factor = op.factor;
  elementwise(a, [=](int64_t i) { return factor * x[i]; });
}

void scale_by_kernel(const ScaleBy&, const KernelArgs& a) {
  const float* x = a.in(0);
  const float s = a.in(1)[0];
  elementwise(a, [=](int64_t i) { return s * x[i]; });
}

void spread(const Spread& op, const KernelArgs& a) {
  const float value = op.factor * a.in(0)[0];
  elementwise(a, [=](int64_t) { return value; });
}

void reshape_kernel(const Reshape&, const KernelArgs& a) {
  const auto* x = a.in<int32_t>(0);  // bits, of either type
  auto* y = a.out<int32_t>(0);
  for_chunks(*a.pool, a.out_shape(0).elements(), kElementGrain, [=](int64_t begin, int64_t end) {
    std::memcpy(y + begin, x + begin, size_t(end - begin) * sizeof(int32_t));
  });
}

// Partial sums of all chunks in the workspace, then their sum in order.
template <class F>
double reduce_chunks(const KernelArgs& a, F partial_sum) {
  const int64_t n = a.in_shape(0).elements();
  auto* partial = reinterpret_cast<double*>(a.workspace);
  for_chunks(*a.pool, n, kReduceChunk, [=](int64_t begin, int64_t end) {
    double block_sum = 0;
    for (int64_t at = begin; at < end; at += kSumBlock)
      block_sum += double(partial_sum(at, std::min(kSumBlock, end - at)));
    partial[begin / kReduceChunk] = block_sum;
  });
  double total = 0;
  for (int64_t c = 0; c * kReduceChunk < n; ++c) total += partial[c];
  return total;
}

void sum_all_kernel(const SumAll& op, const KernelArgs& a) {
  const float* x = a.in(0);
  const double total = reduce_chunks(a, [=](int64_t begin, int64_t n) { return sum(x + begin, n); });
  a.out(0)[0] = float(op.factor * total);
}

void dot_kernel(const Dot&, const KernelArgs& a) {
  const float *x = a.in(0), *y = a.in(1);
  const double total =
      reduce_chunks(a, [=](int64_t begin, int64_t n) { return dot(x + begin, y + begin, n); });
  float* out = a.out(0);
  out[0] = a.accumulate(0) ? out[0] + float(total) : float(total);
}

// y[i] = (first ? 0 : y[i]) + sum of `count` terms w[k] * x[k][i].
template <int count, bool first>
void add_terms(const float* const* x, const float* w, float* __restrict y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    float v = first ? w[0] * x[0][i] : y[i] + w[0] * x[0][i];
    if constexpr (count > 1) v += w[1] * x[1][i];
    if constexpr (count > 2) v += w[2] * x[2][i];
    if constexpr (count > 3) v += w[3] * x[3][i];
    y[i] = v;
  }
}

template <bool first>
void add_up_to_four(int count, const float* const* x, const float* w, float* y, int64_t n) {
  switch (count) {
    case 1:
      return add_terms<1, first>(x, w, y, n);
    case 2:
      return add_terms<2, first>(x, w, y, n);
    case 3:
      return add_terms<3, first>(x, w, y, n);
    default:
      return add_terms<4, first>(x, w, y, n);
  }
}

// y = sum of the first `terms` inputs times their weights (null: ones). Each x is read once, y written once:
// the four-term passes over one block meet in the cache.
void sum_terms(const KernelArgs& a, int terms, const float* weights) {
  float* y = a.out(0);
  for_chunks(*a.pool, a.out_shape(0).elements(), kReduceChunk, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; at += kBlock) {
      const int64_t n = std::min(kBlock, end - at);
      for (int k = 0; k < terms; k += 4) {
        const int count = std::min(4, terms - k);
        const float* x[4];
        float w[4];
        for (int j = 0; j < count; ++j) {
          x[j] = a.in(k + j) + at;
          w[j] = weights ? weights[k + j] : 1.f;
        }
        if (k == 0) {
          add_up_to_four<true>(count, x, w, y + at, n);
        } else {
          add_up_to_four<false>(count, x, w, y + at, n);
        }
      }
    }
  });
}

void add_n_kernel(const AddN&, const KernelArgs& a) {
  sum_terms(a, a.n_inputs, nullptr);
}

void weighted_sum_kernel(const WeightedSum&, const KernelArgs& a) {
  sum_terms(a, a.n_inputs - 1, a.in(a.n_inputs - 1));
}

void scale_block(const float* __restrict d_y, float w, float* __restrict d_x, int64_t n, bool add) {
  if (add) {
    for (int64_t i = 0; i < n; ++i) d_x[i] += w * d_y[i];
  } else {
    for (int64_t i = 0; i < n; ++i) d_x[i] = w * d_y[i];
  }
}

// One pass over d_y: each block is read once from memory and stays in cache for every term.
void weighted_sum_grad(const WeightedSumGrad& op, const KernelArgs& a) {
  const float *d_y = a.in(0), *w = a.in(1);
  const int terms = int(a.in_shape(1).elements());
  const int64_t n = a.in_shape(0).elements();
  const int* wanted = op.wanted.data();
  const int n_wanted = a.n_outputs - (op.wants_weights ? 1 : 0);
  auto* partial = reinterpret_cast<double*>(a.workspace);  // (chunks, terms)
  for_chunks(*a.pool, n, kReduceChunk, [&](int64_t begin, int64_t end) {
    double* dots = op.wants_weights ? partial + begin / kReduceChunk * terms : nullptr;
    if (dots) std::memset(dots, 0, size_t(terms) * sizeof(double));
    for (int64_t at = begin; at < end; at += kBlock) {
      const int64_t count = std::min(kBlock, end - at);
      for (int i = 0; i < n_wanted; ++i)
        scale_block(d_y + at, w[wanted[i]], a.out(i) + at, count, a.accumulate(i));
      if (dots)
        for (int k = 0; k < terms; ++k) dots[k] += double(dot(d_y + at, a.in(2 + k) + at, count));
    }
  });
  if (!op.wants_weights) return;
  float* d_w = a.out(n_wanted);
  for (int k = 0; k < terms; ++k) {
    double total = 0;
    for (int64_t c = 0; c * kReduceChunk < n; ++c) total += partial[c * terms + k];
    d_w[k] = a.accumulate(n_wanted) ? d_w[k] + float(total) : float(total);
  }
}

LADARTS_CPU_KERNEL(Binary, binary)
LADARTS_CPU_KERNEL(Scale, scale_kernel)
LADARTS_CPU_KERNEL(ScaleBy, scale_by_kernel)
LADARTS_CPU_KERNEL(Spread, spread)
LADARTS_CPU_KERNEL(Reshape, reshape_kernel)
LADARTS_CPU_KERNEL(SumAll, sum_all_kernel)
LADARTS_CPU_KERNEL(Dot, dot_kernel)
LADARTS_CPU_KERNEL(AddN, add_n_kernel)
LADARTS_CPU_KERNEL(WeightedSum, weighted_sum_kernel)
LADARTS_CPU_KERNEL(WeightedSumGrad, weighted_sum_grad)

}  // namespace
}  // namespace ladarts
