#include "ops/inclusion.h"

#include "core/kernel.h"
#include "core/thread_pool.h"

namespace ladarts {
namespace {

// With p = s / sum(s): keep 1 gives q_i = p_i; keep 2 gives q_i = p_i (1 + sum_{j != i} p_j / (1 - p_j)).
struct Group {
  const float* s;
  int n;
  double total = 0, odds = 0;  // sum of s; sum of p / (1 - p)

  Group(const float* strengths, int size) : s(strengths), n(size) {
    for (int i = 0; i < n; ++i) total += s[i];
    for (int i = 0; i < n; ++i) odds += p(i) / rest(i);
  }
  double p(int i) const { return s[i] / total; }
  double rest(int i) const {  // 1 - p, from the others, so that it stays positive
    double others = 0;
    for (int j = 0; j < n; ++j)
      if (j != i) others += s[j];
    return (others > 1e-30 ? others : 1e-30) / total;
  }
};

void inclusion(const InclusionProbability& op, const KernelArgs& a) {
  const float* s = a.in(0);
  float* q = a.out(0);
  for (int size : op.group_sizes) {
    if (size <= op.keep) {
      for (int i = 0; i < size; ++i) q[i] = 1.f;
    } else {
      const Group g(s, size);
      for (int i = 0; i < size; ++i)
        q[i] = float(op.keep == 1 ? g.p(i) : g.p(i) * (1 + g.odds - g.p(i) / g.rest(i)));
    }
    s += size;
    q += size;
  }
}

// Gradient with respect to p first, then through p = s / sum(s).
void inclusion_grad(const InclusionProbabilityGrad& op, const KernelArgs& a) {
  const float* s = a.in(0);
  const float* d_q = a.in(1);
  float* d_s = a.out(0);
  for (int size : op.group_sizes) {
    if (size <= op.keep) {
      for (int i = 0; i < size; ++i) d_s[i] = 0.f;
    } else {
      const Group g(s, size);
      double weighted = 0;  // sum_i d_q_i p_i
      for (int i = 0; i < size; ++i) weighted += d_q[i] * g.p(i);
      auto d_p = [&](int k) {
        if (op.keep == 1) return double(d_q[k]);
        const double rest = g.rest(k);
        return d_q[k] * (1 + g.odds - g.p(k) / rest) + (weighted - d_q[k] * g.p(k)) / (rest * rest);
      };
      double mean = 0;
      for (int i = 0; i < size; ++i) mean += d_p(i) * g.p(i);
      for (int i = 0; i < size; ++i) d_s[i] = float((d_p(i) - mean) / g.total);
    }
    s += size;
    d_q += size;
    d_s += size;
  }
}

LADARTS_CPU_KERNEL(InclusionProbability, inclusion)
LADARTS_CPU_KERNEL(InclusionProbabilityGrad, inclusion_grad)

}  // namespace
}  // namespace ladarts
