// Pooling and batch normalisation.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/cuda/fake_cudnn.h"

using namespace fake;

namespace {

cudnnStatus_t check_pooling(const cudnnPoolingStruct& p, const cudnnTensorStruct& x,
                            const cudnnTensorStruct& y) {
  REQUIRE_THAT(p.window_h > 0 && x.set() && y.set() && x.n == y.n && x.c == y.c);
  REQUIRE_THAT(p.padding < p.window_h && p.padding < p.window_w);
  REQUIRE_THAT(y.h == (x.h + 2 * p.padding - p.window_h) / p.stride + 1);
  REQUIRE_THAT(y.w == (x.w + 2 * p.padding - p.window_w) / p.stride + 1);
  return kOk;
}

// f(index in x) for what a window holds of the image.
template <class F>
void each_in_window(const cudnnPoolingStruct& p, const cudnnTensorStruct& x, int n, int c, int r, int s,
                    F f) {
  for (int i = std::max(0, r * p.stride - p.padding);
       i < std::min(x.h, r * p.stride - p.padding + p.window_h); ++i)
    for (int j = std::max(0, s * p.stride - p.padding);
         j < std::min(x.w, s * p.stride - p.padding + p.window_w); ++j)
      f(x.at(n, c, i, j));
}

}  // namespace

extern "C" {

cudnnStatus_t cudnnSetPooling2dDescriptor(cudnnPoolingDescriptor_t d, cudnnPoolingMode_t mode,
                                          cudnnNanPropagation_t, int window_h, int window_w, int pad_h,
                                          int pad_w, int stride_h, int stride_w) {
  BEGIN_CALL();
  REQUIRE_THAT(d && window_h > 0 && window_w > 0 && pad_h == pad_w && pad_h >= 0 && stride_h == stride_w &&
               stride_h > 0);
  *d = {mode, window_h, window_w, pad_h, stride_h};
  return kOk;
}
cudnnStatus_t cudnnPoolingForward(cudnnHandle_t h, const cudnnPoolingDescriptor_t p, const void* alpha,
                                  const cudnnTensorDescriptor_t x_desc, const void* x, const void* beta,
                                  const cudnnTensorDescriptor_t y_desc, void* y) {
  BEGIN_CALL();
  if (const auto s = check_pooling(*p, *x_desc, *y_desc)) return s;
  REQUIRE_THAT(h && x && y);
  fake::queue(h->stream, [p = *p, xd = *x_desc, yd = *y_desc, px = static_cast<const float*>(x),
                          py = static_cast<float*>(y), blend = Blend(alpha, beta)] {
    each_output(yd, [&](int n, int c, int r, int s) {
      double sum = 0, largest = -std::numeric_limits<double>::infinity();
      int inside = 0;
      each_in_window(p, xd, n, c, r, s, [&](int64_t i) {
        sum += double(px[i]);
        largest = std::max(largest, double(px[i]));
        ++inside;
      });
      const int all =
          p.mode == CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING ? p.window_h * p.window_w : inside;
      blend.store(py[yd.at(n, c, r, s)], p.mode == CUDNN_POOLING_MAX ? largest : sum / all);
    });
  });
  return kOk;
}
cudnnStatus_t cudnnPoolingBackward(cudnnHandle_t h, const cudnnPoolingDescriptor_t p, const void* alpha,
                                   const cudnnTensorDescriptor_t y_desc, const void* y,
                                   const cudnnTensorDescriptor_t dy_desc, const void* dy,
                                   const cudnnTensorDescriptor_t x_desc, const void* x, const void* beta,
                                   const cudnnTensorDescriptor_t dx_desc, void* dx) {
  BEGIN_CALL();
  if (const auto s = check_pooling(*p, *x_desc, *y_desc)) return s;
  REQUIRE_THAT(h && x && y && dy && dx && dy_desc->same_sizes(*y_desc) && dx_desc->same_sizes(*x_desc));
  if (p->mode != CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING) return CUDNN_STATUS_NOT_SUPPORTED;
  fake::queue(h->stream, [p = *p, xd = *dx_desc, yd = *dy_desc, pd = static_cast<const float*>(dy),
                          px = static_cast<float*>(dx), blend = Blend(alpha, beta)] {
    std::vector<double> sums(size_t(xd.at(xd.n - 1, xd.c - 1, xd.h - 1, xd.w - 1) + 1), 0.0);
    each_output(yd, [&](int n, int c, int r, int s) {
      int inside = 0;
      each_in_window(p, xd, n, c, r, s, [&](int64_t) { ++inside; });
      each_in_window(p, xd, n, c, r, s,
                     [&](int64_t i) { sums[size_t(i)] += double(pd[yd.at(n, c, r, s)]) / inside; });
    });
    each_output(xd, [&](int n, int c, int r, int s) {
      const int64_t i = xd.at(n, c, r, s);
      blend.store(px[i], sums[size_t(i)]);
    });
  });
  return kOk;
}

cudnnStatus_t cudnnBatchNormalizationForwardTraining(
    cudnnHandle_t h, cudnnBatchNormMode_t mode, const void* alpha, const void* beta,
    const cudnnTensorDescriptor_t x_desc, const void* x, const cudnnTensorDescriptor_t y_desc, void* y,
    const cudnnTensorDescriptor_t channels, const void* scale, const void* bias, double factor,
    void* running_mean, void* running_var, double epsilon, void* saved_mean, void* saved_inverse) {
  BEGIN_CALL();
  REQUIRE_THAT(h && mode == CUDNN_BATCHNORM_SPATIAL && x_desc->set() && x_desc->same_sizes(*y_desc));
  REQUIRE_THAT(per_channel(*channels, *x_desc) && x && y && scale && bias);
  REQUIRE_THAT(epsilon >= CUDNN_BN_MIN_EPSILON && factor >= 0 && factor <= 1);
  REQUIRE_THAT(!running_mean == !running_var && !saved_mean == !saved_inverse);
  fake::queue(h->stream, [=, d = *x_desc, px = static_cast<const float*>(x), py = static_cast<float*>(y),
                          gamma = static_cast<const float*>(scale), offset = static_cast<const float*>(bias),
                          blend = Blend(alpha, beta)] {
    const double count = double(d.n) * d.h * d.w;
    std::vector<double> mean(size_t(d.c), 0.0), variance(size_t(d.c), 0.0);
    each_output(d,
                [&](int n, int c, int r, int s) { mean[size_t(c)] += double(px[d.at(n, c, r, s)]) / count; });
    each_output(d, [&](int n, int c, int r, int s) {
      variance[size_t(c)] += std::pow(double(px[d.at(n, c, r, s)]) - mean[size_t(c)], 2) / count;
    });
    each_output(d, [&](int n, int c, int r, int s) {
      const int64_t i = d.at(n, c, r, s);
      blend.store(py[i], (double(px[i]) - mean[size_t(c)]) / std::sqrt(variance[size_t(c)] + epsilon) *
                                 double(gamma[c]) +
                             double(offset[c]));
    });
    const auto average = [&](void* to, int c, double value) {
      float& v = static_cast<float*>(to)[c];
      v = float((1 - factor) * double(v) + factor * value);
    };
    for (int c = 0; c < d.c; ++c) {
      const double var = variance[size_t(c)];
      if (running_mean) average(running_mean, c, mean[size_t(c)]);
      if (running_var) average(running_var, c, var * count / (count - 1));
      if (saved_mean) static_cast<float*>(saved_mean)[c] = float(mean[size_t(c)]);
      if (saved_inverse) static_cast<float*>(saved_inverse)[c] = float(1 / std::sqrt(var + epsilon));
    }
  });
  return kOk;
}

cudnnStatus_t cudnnBatchNormalizationBackward(cudnnHandle_t h, cudnnBatchNormMode_t mode,
                                              const void* alpha_data, const void* beta_data,
                                              const void* alpha_parameters, const void* beta_parameters,
                                              const cudnnTensorDescriptor_t x_desc, const void* x,
                                              const cudnnTensorDescriptor_t dy_desc, const void* dy,
                                              const cudnnTensorDescriptor_t dx_desc, void* dx,
                                              const cudnnTensorDescriptor_t channels, const void* scale,
                                              void* d_scale, void* d_bias, double epsilon,
                                              const void* saved_mean, const void* saved_inverse) {
  BEGIN_CALL();
  REQUIRE_THAT(h && mode == CUDNN_BATCHNORM_SPATIAL && x_desc->set() && x_desc->same_sizes(*dy_desc) &&
               x_desc->same_sizes(*dx_desc) && per_channel(*channels, *x_desc));
  REQUIRE_THAT(x && dy && dx && scale && d_scale && d_bias && saved_mean && saved_inverse);
  REQUIRE_THAT(epsilon >= CUDNN_BN_MIN_EPSILON);
  fake::queue(
      h->stream,
      [=, d = *x_desc, px = static_cast<const float*>(x), pd = static_cast<const float*>(dy),
       out = static_cast<float*>(dx), gamma = static_cast<const float*>(scale),
       mean = static_cast<const float*>(saved_mean), inverse = static_cast<const float*>(saved_inverse),
       data = Blend(alpha_data, beta_data), parameters = Blend(alpha_parameters, beta_parameters)] {
        const double count = double(d.n) * d.h * d.w;
        std::vector<double> sum(size_t(d.c), 0.0), product(size_t(d.c), 0.0);
        const auto normal = [&](int64_t i, int c) {
          return (double(px[i]) - double(mean[c])) * double(inverse[c]);
        };
        each_output(d, [&](int n, int c, int r, int s) {
          const int64_t i = d.at(n, c, r, s);
          sum[size_t(c)] += double(pd[i]);
          product[size_t(c)] += double(pd[i]) * normal(i, c);
        });
        each_output(d, [&](int n, int c, int r, int s) {
          const int64_t i = d.at(n, c, r, s);
          data.store(out[i],
                     double(gamma[c]) * double(inverse[c]) *
                         (double(pd[i]) - (sum[size_t(c)] + normal(i, c) * product[size_t(c)]) / count));
        });
        for (int c = 0; c < d.c; ++c) {
          parameters.store(static_cast<float*>(d_scale)[c], product[size_t(c)]);
          parameters.store(static_cast<float*>(d_bias)[c], sum[size_t(c)]);
        }
      });
  return kOk;
}

}  // extern "C"
