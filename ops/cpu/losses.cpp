#include "ops/losses.h"

#include <cmath>

#include "ops/cpu/parallel.h"
#include "ops/cpu/vector_sums.h"

namespace ladarts {
namespace {

constexpr int64_t kRowGrain = 4096;  // logits of one task

int64_t row_grain(int64_t classes) {
  return std::max<int64_t>(1, kRowGrain / classes);
}

float largest(const float* x, int64_t n) {
  float m = x[0];
#pragma omp simd reduction(max : m)
  for (int64_t i = 1; i < n; ++i) m = x[i] > m ? x[i] : m;
  return m;
}

double mean_of(const double* x, int64_t n) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += x[i];
  return total / double(n);
}

void cross_entropy_kernel(const CrossEntropy& op, const KernelArgs& a) {
  const int64_t rows = a.in_shape(0)[0], classes = a.in_shape(0)[1];
  const float* logits = a.in(0);
  const auto* labels = a.in<int32_t>(1);
  float* log_sum = a.out(1);
  auto* row_loss = reinterpret_cast<double*>(a.workspace);
  const double smoothing = op.label_smoothing;
  for_chunks(*a.pool, rows, row_grain(classes), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* x = logits + r * classes;
      if (labels[r] < 0 || labels[r] >= classes) fail_label("cross_entropy", r, labels[r], classes);
      const float top = largest(x, classes);
      double exponentials = 0;
      for (int64_t k = 0; k < classes; ++k) exponentials += double(std::exp(x[k] - top));
      const double log_total = std::log(exponentials);
      log_sum[r] = float(double(top) + log_total);
      // Relative to the largest logit, so that equal offsets of all logits cost no digits.
      const double label_term = log_total - double(x[labels[r]] - top);
      double mean_term = 0;
      if (smoothing > 0) {
        for (int64_t k = 0; k < classes; ++k) mean_term += log_total - double(x[k] - top);
        mean_term /= double(classes);
      }
      row_loss[r] = (1 - smoothing) * label_term + smoothing * mean_term;
    }
  });
  a.out(0)[0] = float(mean_of(row_loss, rows));
}

// d_logits = (softmax - target) * d_loss / N
void cross_entropy_grad(const CrossEntropyGrad& op, const KernelArgs& a) {
  const int64_t rows = a.in_shape(0)[0], classes = a.in_shape(0)[1];
  const float *logits = a.in(0), *log_sum = a.in(2);
  const auto* labels = a.in<int32_t>(1);
  float* d_logits = a.out(0);
  const float unit = a.in(3)[0] / float(rows);
  const float spread = op.label_smoothing / float(classes), peak = 1.f - op.label_smoothing;
  const bool add = a.accumulate(0);
  for_chunks(*a.pool, rows, row_grain(classes), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* x = logits + r * classes;
      float* d = d_logits + r * classes;
      for (int64_t k = 0; k < classes; ++k) {
        const float target = spread + (k == labels[r] ? peak : 0.f);
        const float v = (std::exp(x[k] - log_sum[r]) - target) * unit;
        d[k] = add ? d[k] + v : v;
      }
    }
  });
}

void count_correct_kernel(const CountCorrect&, const KernelArgs& a) {
  const int64_t rows = a.in_shape(0)[0], classes = a.in_shape(0)[1];
  const float* logits = a.in(0);
  const auto* labels = a.in<int32_t>(1);
  int64_t correct = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const float* x = logits + r * classes;
    int64_t best = 0;
    for (int64_t k = 1; k < classes; ++k)
      if (x[k] > x[best]) best = k;
    correct += best == labels[r] ? 1 : 0;
  }
  a.out(0)[0] = float(correct);
}

double regression_term(RegressionLoss kind, double p, double t) {
  switch (kind) {
    case RegressionLoss::squared:
      return (p - t) * (p - t);
    case RegressionLoss::relative:
      return std::fabs(p - t) / t;
    default:
      return (p - t) / t * ((p - t) / t);
  }
}

float regression_slope(RegressionLoss kind, float p, float t) {
  switch (kind) {
    case RegressionLoss::squared:
      return 2 * (p - t);
    case RegressionLoss::relative:
      return p > t ? 1 / t : p < t ? -1 / t : 0.f;
    default:
      return 2 * (p - t) / (t * t);
  }
}

// Predictions of a batch are few: one task.
void regression(const Regression& op, const KernelArgs& a) {
  const float *p = a.in(0), *t = a.in(1);
  const int64_t n = a.in_shape(0).elements();
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += regression_term(op.kind, double(p[i]), double(t[i]));
  a.out(0)[0] = float(total / double(n));
}

void regression_grad(const RegressionGrad& op, const KernelArgs& a) {
  const float *p = a.in(0), *t = a.in(1);
  float* d = a.out(0);
  const int64_t n = a.in_shape(0).elements();
  const float unit = op.sign * a.in(2)[0] / float(n);
  const bool add = a.accumulate(0);
  for (int64_t i = 0; i < n; ++i) {
    const float v = unit * regression_slope(op.kind, p[i], t[i]);
    d[i] = add ? d[i] + v : v;
  }
}

LADARTS_CPU_KERNEL(CrossEntropy, cross_entropy_kernel)
LADARTS_CPU_KERNEL(CrossEntropyGrad, cross_entropy_grad)
LADARTS_CPU_KERNEL(CountCorrect, count_correct_kernel)
LADARTS_CPU_KERNEL(Regression, regression)
LADARTS_CPU_KERNEL(RegressionGrad, regression_grad)

}  // namespace
}  // namespace ladarts
