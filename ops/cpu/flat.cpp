#include "ops/flat.h"

#include <cmath>
#include <cstring>

#include "ops/cpu/parallel.h"

namespace ladarts {
namespace {

void flat_copy(const FlatCopy&, const KernelArgs& a) {
  float* to = a.updated(0);
  const float* from = a.in(1);
  for_chunks(*a.pool, a.in_shape(0).elements(), kElementGrain, [&](int64_t begin, int64_t end) {
    std::memcpy(to + begin, from + begin, size_t(end - begin) * sizeof(float));
  });
}

void add_scaled(const KernelArgs& a, float c) {
  float* y = a.updated(0);
  const float* x = a.in(1);
  for_chunks(*a.pool, a.in_shape(0).elements(), kElementGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] += c * x[i];
  });
}

void flat_axpy(const FlatAxpy&, const KernelArgs& a) {
  add_scaled(a, a.in(2)[0]);
}

void flat_step(const FlatStep&, const KernelArgs& a) {
  const float norm = a.in(2)[0], length = a.in(3)[0];
  if (norm > 0) add_scaled(a, length / norm);
}

void flat_norm(const FlatNorm&, const KernelArgs& a) {
  const float* x = a.in(0);
  const int64_t n = a.in_shape(0).elements();
  auto* partial = reinterpret_cast<double*>(a.workspace);
  for_chunks(*a.pool, n, kFlatNormChunk, [&](int64_t begin, int64_t end) {
    double sum = 0;
    for (int64_t i = begin; i < end; ++i) sum += double(x[i]) * x[i];
    partial[begin / kFlatNormChunk] = sum;
  });
  double total = 0;
  for (int64_t c = 0; c * kFlatNormChunk < n; ++c) total += partial[c];
  a.out(0)[0] = float(std::sqrt(total));
}

LADARTS_CPU_KERNEL(FlatCopy, flat_copy)
LADARTS_CPU_KERNEL(FlatAxpy, flat_axpy)
LADARTS_CPU_KERNEL(FlatStep, flat_step)
LADARTS_CPU_KERNEL(FlatNorm, flat_norm)

}  // namespace
}  // namespace ladarts
