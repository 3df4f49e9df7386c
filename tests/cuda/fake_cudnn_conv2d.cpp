// Convolutions.
#include <algorithm>
#include <cstring>
#include <functional>
#include <vector>

#include "tests/cuda/fake_cudnn.h"

using namespace fake;

namespace {

// One convolution as all three passes see it.
struct Convolution {
  cudnnTensorStruct x, y;
  cudnnFilterStruct w;
  cudnnConvolutionStruct c;

  cudnnStatus_t check() const {
    REQUIRE_THAT(x.set() && y.set() && w.k > 0 && c.padding >= 0);
    REQUIRE_THAT(w.c * c.groups == x.c && w.k == y.c && w.k % c.groups == 0 && x.n == y.n);
    REQUIRE_THAT(y.h == (x.h + 2 * c.padding - c.dilation * (w.h - 1) - 1) / c.stride + 1);
    REQUIRE_THAT(y.w == (x.w + 2 * c.padding - c.dilation * (w.w - 1) - 1) / c.stride + 1);
    return kOk;
  }
  // f(index of x, of w, of y) for each multiplication.
  template <class F>
  void each(F f) const {
    const int outputs = w.k / c.groups;
    for (int n = 0; n < y.n; ++n)
      for (int o = 0; o < w.k; ++o)
        for (int i = 0; i < w.c; ++i)
          for (int p = 0; p < w.h; ++p)
            for (int q = 0; q < w.w; ++q)
              for (int r = 0; r < y.h; ++r)
                for (int s = 0; s < y.w; ++s) {
                  const int row = r * c.stride - c.padding + p * c.dilation,
                            column = s * c.stride - c.padding + q * c.dilation;
                  if (row < 0 || column < 0 || row >= x.h || column >= x.w) continue;
                  f(x.at(n, o / outputs * w.c + i, row, column), w.at(o, i, p, q), y.at(n, o, r, s));
                }
  }
  int64_t x_size() const { return x.at(x.n - 1, x.c - 1, x.h - 1, x.w - 1) + 1; }
  int64_t y_size() const { return y.at(y.n - 1, y.c - 1, y.h - 1, y.w - 1) + 1; }
  int64_t w_size() const { return int64_t(w.k) * w.c * w.h * w.w; }
  float factor(float v) const { return c.math == CUDNN_FMA_MATH ? v : fake::to_tf32(v); }
};

// Which algorithms there are: some need scratch memory, some are not deterministic, some do not exist for a
// shape.
struct Algorithm {
  int number;
  bool deterministic;
  cudnnMathType_t math;
  cudnnStatus_t status;
};
size_t scratch_of(int number, const Convolution& c) {
  return number == 0 ? 0 : size_t(c.x_size() + 3) * sizeof(float);
}

// Algorithm 2 looks fastest and is none of those allowed; the last does not exist.
template <class Performance>
cudnnStatus_t list_algorithms(const Convolution& c, int room, int* returned, Performance* list,
                              int not_deterministic) {
  if (const auto s = c.check()) return s;
  REQUIRE_THAT(room > 0 && returned && list);
  std::vector<Algorithm> all{{2, true, CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION, kOk},
                             {not_deterministic, false, c.c.math, kOk},
                             {4, true, c.c.math, CUDNN_STATUS_NOT_SUPPORTED}};
  if (c.c.math != CUDNN_FMA_MATH) all.push_back({1, true, CUDNN_TENSOR_OP_MATH, kOk});
  all.push_back({1, true, CUDNN_FMA_MATH, kOk});
  if (not_deterministic != 0) all.push_back({0, true, CUDNN_FMA_MATH, kOk});
  *returned = std::min(room, int(all.size()));
  for (int i = 0; i < *returned; ++i) {
    const Algorithm& a = all[size_t(i)];
    list[i].algo = decltype(list[i].algo)(a.number);
    list[i].status = a.status;
    list[i].memory = scratch_of(a.number, c);
    list[i].determinism = a.deterministic ? CUDNN_DETERMINISTIC : CUDNN_NON_DETERMINISTIC;
    list[i].mathType = a.math;
  }
  return kOk;
}

cudnnStatus_t scratch_bytes(const Convolution& c, int number, size_t* bytes) {
  if (const auto s = c.check()) return s;
  REQUIRE_THAT(bytes != nullptr);
  if (number > 3) return CUDNN_STATUS_NOT_SUPPORTED;
  *bytes = scratch_of(number, c);
  return kOk;
}

// `compute` gives the products' sums in double precision; wrong ones for an algorithm that is not
// deterministic.
cudnnStatus_t convolve(cudnnHandle_t h, const Convolution& c, int number, int not_deterministic,
                       void* scratch, size_t bytes, const Blend& blend, float* result, int64_t size,
                       std::function<void(std::vector<double>&)> compute) {
  if (const auto s = c.check()) return s;
  REQUIRE_THAT(h != nullptr && result != nullptr);
  REQUIRE_THAT(number <= 3);
  REQUIRE_THAT(bytes >= scratch_of(number, c));
  REQUIRE_THAT(scratch_of(number, c) == 0 || (scratch && reinterpret_cast<size_t>(scratch) % 256 == 0));
  fake::queue(h->stream, [=, compute = std::move(compute)] {
    if (bytes) std::memset(scratch, 0xff, bytes);  // NaN
    std::vector<double> sums(size_t(size), 0.0);
    compute(sums);
    for (int64_t i = 0; i < size; ++i)
      blend.store(result[i], sums[size_t(i)] * (number == not_deterministic ? 1.01 : 1));
  });
  return kOk;
}

constexpr int kForwardRandom = 3, kInputRandom = CUDNN_CONVOLUTION_BWD_DATA_ALGO_0,
              kWeightRandom = CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3;

}  // namespace

extern "C" {

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t, const cudnnTensorDescriptor_t x,
                                                     const cudnnFilterDescriptor_t w,
                                                     const cudnnConvolutionDescriptor_t c,
                                                     const cudnnTensorDescriptor_t y, const int room, int* n,
                                                     cudnnConvolutionFwdAlgoPerf_t* list) {
  BEGIN_CALL();
  return list_algorithms({*x, *y, *w, *c}, room, n, list, kForwardRandom);
}
cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t, const cudnnTensorDescriptor_t x,
                                                      const cudnnFilterDescriptor_t w,
                                                      const cudnnConvolutionDescriptor_t c,
                                                      const cudnnTensorDescriptor_t y,
                                                      cudnnConvolutionFwdAlgo_t a, size_t* bytes) {
  BEGIN_CALL();
  return scratch_bytes({*x, *y, *w, *c}, a, bytes);
}
cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t h, const void* alpha,
                                      const cudnnTensorDescriptor_t x_desc, const void* x,
                                      const cudnnFilterDescriptor_t w_desc, const void* w,
                                      const cudnnConvolutionDescriptor_t c_desc, cudnnConvolutionFwdAlgo_t a,
                                      void* scratch, size_t bytes, const void* beta,
                                      const cudnnTensorDescriptor_t y_desc, void* y) {
  BEGIN_CALL();
  REQUIRE_THAT(x && w);
  const Convolution c{*x_desc, *y_desc, *w_desc, *c_desc};
  return convolve(h, c, a, kForwardRandom, scratch, bytes, Blend(alpha, beta), static_cast<float*>(y),
                  c.y_size(),
                  [c, px = static_cast<const float*>(x), pw = static_cast<const float*>(w)](auto& sums) {
                    c.each([&](int64_t i, int64_t j, int64_t k) {
                      sums[size_t(k)] += double(c.factor(px[i])) * double(c.factor(pw[j]));
                    });
                  });
}

cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnnHandle_t, const cudnnFilterDescriptor_t w,
                                                          const cudnnTensorDescriptor_t y,
                                                          const cudnnConvolutionDescriptor_t c,
                                                          const cudnnTensorDescriptor_t x, const int room,
                                                          int* n, cudnnConvolutionBwdDataAlgoPerf_t* list) {
  BEGIN_CALL();
  return list_algorithms({*x, *y, *w, *c}, room, n, list, kInputRandom);
}
cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnHandle_t, const cudnnFilterDescriptor_t w,
                                                           const cudnnTensorDescriptor_t y,
                                                           const cudnnConvolutionDescriptor_t c,
                                                           const cudnnTensorDescriptor_t x,
                                                           cudnnConvolutionBwdDataAlgo_t a, size_t* bytes) {
  BEGIN_CALL();
  return scratch_bytes({*x, *y, *w, *c}, a, bytes);
}
cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t h, const void* alpha,
                                           const cudnnFilterDescriptor_t w_desc, const void* w,
                                           const cudnnTensorDescriptor_t y_desc, const void* d_y,
                                           const cudnnConvolutionDescriptor_t c_desc,
                                           cudnnConvolutionBwdDataAlgo_t a, void* scratch, size_t bytes,
                                           const void* beta, const cudnnTensorDescriptor_t x_desc,
                                           void* d_x) {
  BEGIN_CALL();
  REQUIRE_THAT(d_y && w);
  const Convolution c{*x_desc, *y_desc, *w_desc, *c_desc};
  return convolve(h, c, a, kInputRandom, scratch, bytes, Blend(alpha, beta), static_cast<float*>(d_x),
                  c.x_size(),
                  [c, py = static_cast<const float*>(d_y), pw = static_cast<const float*>(w)](auto& sums) {
                    c.each([&](int64_t i, int64_t j, int64_t k) {
                      sums[size_t(i)] += double(c.factor(py[k])) * double(c.factor(pw[j]));
                    });
                  });
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(cudnnHandle_t, const cudnnTensorDescriptor_t x,
                                                            const cudnnTensorDescriptor_t y,
                                                            const cudnnConvolutionDescriptor_t c,
                                                            const cudnnFilterDescriptor_t w, const int room,
                                                            int* n,
                                                            cudnnConvolutionBwdFilterAlgoPerf_t* list) {
  BEGIN_CALL();
  return list_algorithms({*x, *y, *w, *c}, room, n, list, kWeightRandom);
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(cudnnHandle_t, const cudnnTensorDescriptor_t x,
                                                             const cudnnTensorDescriptor_t y,
                                                             const cudnnConvolutionDescriptor_t c,
                                                             const cudnnFilterDescriptor_t w,
                                                             cudnnConvolutionBwdFilterAlgo_t a,
                                                             size_t* bytes) {
  BEGIN_CALL();
  return scratch_bytes({*x, *y, *w, *c}, a, bytes);
}
cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t h, const void* alpha,
                                             const cudnnTensorDescriptor_t x_desc, const void* x,
                                             const cudnnTensorDescriptor_t y_desc, const void* d_y,
                                             const cudnnConvolutionDescriptor_t c_desc,
                                             cudnnConvolutionBwdFilterAlgo_t a, void* scratch, size_t bytes,
                                             const void* beta, const cudnnFilterDescriptor_t w_desc,
                                             void* d_w) {
  BEGIN_CALL();
  REQUIRE_THAT(d_y && x);
  const Convolution c{*x_desc, *y_desc, *w_desc, *c_desc};
  return convolve(h, c, a, kWeightRandom, scratch, bytes, Blend(alpha, beta), static_cast<float*>(d_w),
                  c.w_size(),
                  [c, px = static_cast<const float*>(x), py = static_cast<const float*>(d_y)](auto& sums) {
                    c.each([&](int64_t i, int64_t j, int64_t k) {
                      sums[size_t(j)] += double(c.factor(px[i])) * double(c.factor(py[k]));
                    });
                  });
}

}  // extern "C"
