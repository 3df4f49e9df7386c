#include "ops/inclusion.h"

#include "cuda/elementwise.cuh"
#include "cuda/kernel.h"
#include "cuda/segments.h"

namespace ladarts::cuda {
namespace {

// The group of one thread: see ops/cpu/inclusion.cpp for the formulas. Groups are the edges that enter a
// node, at most a dozen, so one thread computes a whole group, in double.
struct Group {
  const float* s;
  int n;
  double total, odds;

  __device__ Group(const float* strengths, int size) : s(strengths), n(size), total(0), odds(0) {
    for (int i = 0; i < n; ++i) total += s[i];
    for (int i = 0; i < n; ++i) odds += p(i) / rest(i);
  }
  __device__ double p(int i) const { return s[i] / total; }
  __device__ double rest(int i) const {
    double others = 0;
    for (int j = 0; j < n; ++j)
      if (j != i) others += s[j];
    return (others > 1e-30 ? others : 1e-30) / total;
  }
};

struct Inclusion {
  Segments groups;
  int keep;
  const float* s;
  float* q;
  __device__ void operator()(int64_t k) const {
    const int begin = groups.begin[k], size = groups.begin[k + 1] - begin;
    const Group g(s + begin, size);
    for (int i = 0; i < size; ++i)
      q[begin + i] =
          size <= keep ? 1.f : float(keep == 1 ? g.p(i) : g.p(i) * (1 + g.odds - g.p(i) / g.rest(i)));
  }
};

struct InclusionGrad {
  Segments groups;
  int keep;
  const float *s, *d_q;
  float* d_s;
  __device__ double d_p(const Group& g, const float* d, int k, double weighted) const {
    if (keep == 1) return double(d[k]);
    const double rest = g.rest(k);
    return d[k] * (1 + g.odds - g.p(k) / rest) + (weighted - d[k] * g.p(k)) / (rest * rest);
  }
  __device__ void operator()(int64_t k) const {
    const int begin = groups.begin[k], size = groups.begin[k + 1] - begin;
    const Group g(s + begin, size);
    const float* d = d_q + begin;
    double weighted = 0, mean = 0;
    for (int i = 0; i < size; ++i) weighted += d[i] * g.p(i);
    for (int i = 0; i < size; ++i) mean += d_p(g, d, i, weighted) * g.p(i);
    for (int i = 0; i < size; ++i)
      d_s[begin + i] = size <= keep ? 0.f : float((d_p(g, d, i, weighted) - mean) / g.total);
  }
};

void inclusion(const InclusionProbability& op, const KernelArgs& a) {
  for_segments(op.group_sizes, [&](const Segments& s) {
    for_each(Inclusion{s, op.keep, a.in(0), a.out(0)}, s.count, a.stream);
  });
}

void inclusion_grad(const InclusionProbabilityGrad& op, const KernelArgs& a) {
  for_segments(op.group_sizes, [&](const Segments& s) {
    for_each(InclusionGrad{s, op.keep, a.in(0), a.in(1), a.out(0)}, s.count, a.stream);
  });
}

LADARTS_CUDA_KERNEL(InclusionProbability, inclusion)
LADARTS_CUDA_KERNEL(InclusionProbabilityGrad, inclusion_grad)

}  // namespace
}  // namespace ladarts::cuda
