#include "ops/losses.h"

#include "cuda/elementwise.cuh"
#include "cuda/kernel.h"
#include "cuda/reduce.cuh"

namespace ladarts::cuda {
namespace {

// The loss of a row in double, and the log of its sum of exponentials. One thread per row: a batch has some
// hundred rows of 10 to 1000 logits, read three times from the cache. A label outside of [0, classes) makes
// the loss NaN: a kernel cannot throw.
struct RowLoss {
  const float* logits;
  const int32_t* labels;
  float* log_sum;
  double* loss;
  int64_t classes;
  double smoothing;
  __device__ void operator()(int64_t r) const {
    const float* x = logits + r * classes;
    float top = x[0];
    for (int64_t k = 1; k < classes; ++k) top = x[k] > top ? x[k] : top;
    double exponentials = 0;
    for (int64_t k = 0; k < classes; ++k) exponentials += double(expf(x[k] - top));
    const double log_total = log(exponentials);
    log_sum[r] = float(double(top) + log_total);
    if (labels[r] < 0 || labels[r] >= classes) {
      loss[r] = double(nanf(""));
      return;
    }
    const double label_term = log_total - double(x[labels[r]] - top);
    double mean_term = 0;
    if (smoothing > 0)
      for (int64_t k = 0; k < classes; ++k) mean_term += log_total - double(x[k] - top);
    loss[r] = (1 - smoothing) * label_term + smoothing * mean_term / double(classes);
  }
};

struct DoubleAt {
  const double* x;
  __device__ double operator()(int64_t i) const { return x[i]; }
};
struct StoreMean {
  float* y;
  double count;
  __device__ void operator()(double sum) const { *y = float(sum / count); }
};

// d_logits = (softmax - target) * d_loss / N: 8 bytes moved per logit.
struct CrossEntropySlope {
  const float* logits;
  const int32_t* labels;
  const float *log_sum, *d_loss;
  uint32_t classes;
  float rows, spread, peak;
  __device__ float operator()(int64_t i) const {
    const uint32_t r = uint32_t(i) / classes, k = uint32_t(i) % classes;
    const float target = spread + (int32_t(k) == labels[r] ? peak : 0.f);
    return (expf(logits[i] - log_sum[r]) - target) * (*d_loss / rows);
  }
};

struct IsCorrect {
  const float* logits;
  const int32_t* labels;
  int64_t classes;
  __device__ double operator()(int64_t r) const {
    const float* x = logits + r * classes;
    int64_t best = 0;
    for (int64_t k = 1; k < classes; ++k)
      if (x[k] > x[best]) best = k;
    return best == labels[r] ? 1 : 0;
  }
};

struct RegressionTerm {
  RegressionLoss kind;
  const float *p, *t;
  __device__ double operator()(int64_t i) const {
    const double d = double(p[i]) - double(t[i]), r = d / double(t[i]);
    return kind == RegressionLoss::squared ? d * d : kind == RegressionLoss::relative ? fabs(r) : r * r;
  }
};

struct RegressionSlope {
  RegressionLoss kind;
  const float *p, *t, *d_loss;
  float factor;  // sign / N
  __device__ float operator()(int64_t i) const {
    const float d = p[i] - t[i];
    const float slope = kind == RegressionLoss::squared    ? 2 * d
                        : kind == RegressionLoss::relative ? (d > 0   ? 1 / t[i]
                                                              : d < 0 ? -1 / t[i]
                                                                      : 0.f)
                                                           : 2 * d / (t[i] * t[i]);
    return factor * *d_loss * slope;
  }
};

// The losses of all rows, then partial sums.
void cross_entropy_kernel(const CrossEntropy& op, const KernelArgs& a) {
  const int64_t rows = a.in_shape(0)[0], classes = a.in_shape(0)[1];
  auto* loss = reinterpret_cast<double*>(a.workspace);
  for_each(RowLoss{a.in(0), a.in<int32_t>(1), a.out(1), loss, classes, double(op.label_smoothing)}, rows,
           a.stream);
  reduce(DoubleAt{loss}, rows, a.workspace + size_t(rows) * sizeof(double), StoreMean{a.out(0), double(rows)},
         a.stream);
}
size_t cross_entropy_workspace(const CrossEntropy&, const NodeShapes& s) {
  const int64_t rows = s.inputs[0][0];
  return size_t(rows) * sizeof(double) + reduce_workspace_bytes(rows);
}

void cross_entropy_grad(const CrossEntropyGrad& op, const KernelArgs& a) {
  const int64_t rows = a.in_shape(0)[0], classes = a.in_shape(0)[1];
  elementwise(CrossEntropySlope{a.in(0), a.in<int32_t>(1), a.in(2), a.in(3), size32(classes), float(rows),
                                op.label_smoothing / float(classes), 1.f - op.label_smoothing},
              a.out(0), size32(rows * classes), a.accumulate(0), a.stream);
}

void count_correct_kernel(const CountCorrect&, const KernelArgs& a) {
  reduce(IsCorrect{a.in(0), a.in<int32_t>(1), a.in_shape(0)[1]}, a.in_shape(0)[0], a.workspace,
         StoreMean{a.out(0), 1}, a.stream);
}
size_t count_correct_workspace(const CountCorrect&, const NodeShapes& s) {
  return reduce_workspace_bytes(s.inputs[0][0]);
}

void regression(const Regression& op, const KernelArgs& a) {
  const int64_t n = a.in_shape(0).elements();
  reduce(RegressionTerm{op.kind, a.in(0), a.in(1)}, n, a.workspace, StoreMean{a.out(0), double(n)}, a.stream);
}
size_t regression_workspace(const Regression&, const NodeShapes& s) {
  return reduce_workspace_bytes(s.inputs[0].elements());
}

void regression_grad(const RegressionGrad& op, const KernelArgs& a) {
  const int64_t n = a.in_shape(0).elements();
  elementwise(RegressionSlope{op.kind, a.in(0), a.in(1), a.in(2), op.sign / float(n)}, a.out(0), n,
              a.accumulate(0), a.stream);
}

LADARTS_CUDA_KERNEL(CrossEntropy, cross_entropy_kernel, cross_entropy_workspace)
LADARTS_CUDA_KERNEL(CrossEntropyGrad, cross_entropy_grad)
LADARTS_CUDA_KERNEL(CountCorrect, count_correct_kernel, count_correct_workspace)
LADARTS_CUDA_KERNEL(Regression, regression, regression_workspace)
LADARTS_CUDA_KERNEL(RegressionGrad, regression_grad)

}  // namespace
}  // namespace ladarts::cuda
