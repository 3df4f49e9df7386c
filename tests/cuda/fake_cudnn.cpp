// A library that looks like cuDNN, on memory of the host: plain loops in double precision. It is strict where
// the real one reports errors, and where a mistake would pass unseen there it makes one visible: scratch
// memory is overwritten, algorithms that give different bits each time give wrong values, and arithmetic
// other than CUDNN_FMA_MATH rounds to TF32.
#include <cudnn.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "tests/cuda/fake_base.h"

struct cudnnContext {
  void* stream = nullptr;
};
struct cudnnTensorStruct {
  int n = 0, c = 0, h = 0, w = 0;
  int64_t n_stride = 0, c_stride = 0, h_stride = 0, w_stride = 0;
  int64_t at(int i, int j, int k, int l) const {
    return i * n_stride + j * c_stride + k * h_stride + l * w_stride;
  }
  bool set() const { return n > 0; }
  bool same_sizes(const cudnnTensorStruct& o) const { return n == o.n && c == o.c && h == o.h && w == o.w; }
};
struct cudnnFilterStruct {
  int k = 0, c = 0, h = 0, w = 0;
  int64_t at(int o, int i, int p, int q) const { return ((int64_t(o) * c + i) * h + p) * w + q; }
};
struct cudnnConvolutionStruct {
  int padding = -1, stride = 0, dilation = 0, groups = 1;
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
};
struct cudnnActivationStruct {
  bool set = false;
};
struct cudnnPoolingStruct {
  cudnnPoolingMode_t mode = CUDNN_POOLING_MAX;
  int window_h = 0, window_w = 0, padding = 0, stride = 0;
};

namespace {

constexpr cudnnStatus_t kOk = CUDNN_STATUS_SUCCESS, kBad = CUDNN_STATUS_BAD_PARAM;
const char* last_error = "";

cudnnStatus_t bad(const char* why) {
  last_error = why;
  return kBad;
}
#define REQUIRE_THAT(condition) \
  if (!(condition)) return bad(#condition)
#define BEGIN_CALL() \
  if (const int status = fake::begin_call(__func__)) return cudnnStatus_t(status)

// result = alpha * value + beta * what was there, which is not read where beta is 0.
struct Blend {
  double alpha, beta;
  Blend(const void* a, const void* b)
      : alpha(*static_cast<const float*>(a)), beta(*static_cast<const float*>(b)) {}
  void store(float& to, double value) const {
    to = float(alpha * value + (beta != 0 ? beta * double(to) : 0.0));
  }
};

template <class D>
cudnnStatus_t make(D** d) {
  REQUIRE_THAT(d != nullptr);
  *d = new D;
  return kOk;
}

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

template <class F>
void each_output(const cudnnTensorStruct& y, F f) {
  for (int n = 0; n < y.n; ++n)
    for (int c = 0; c < y.c; ++c)
      for (int r = 0; r < y.h; ++r)
        for (int s = 0; s < y.w; ++s) f(n, c, r, s);
}

bool per_channel(const cudnnTensorStruct& d, const cudnnTensorStruct& x) {
  return d.n == 1 && d.c == x.c && d.h == 1 && d.w == 1;
}

}  // namespace

extern "C" {

size_t cudnnGetVersion() {
  return fake::version_override ? size_t(fake::version_override) : CUDNN_VERSION;
}
const char* cudnnGetErrorString(cudnnStatus_t status) {
  return status == kBad ? "CUDNN_STATUS_BAD_PARAM" : "CUDNN_STATUS_OF_THE_STAND_IN";
}
void cudnnGetLastErrorString(char* message, size_t max) {
  std::strncpy(message, last_error, max - 1);
}
cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  BEGIN_CALL();
  return make(handle);
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  BEGIN_CALL();
  REQUIRE_THAT(handle != nullptr);
  handle->stream = stream;
  return kOk;
}

#define DESCRIPTOR(Name, Type)                           \
  cudnnStatus_t cudnnCreate##Name##Descriptor(Type* d) { \
    BEGIN_CALL();                                        \
    return make(d);                                      \
  }                                                      \
  cudnnStatus_t cudnnDestroy##Name##Descriptor(Type d) { \
    delete d;                                            \
    return kOk;                                          \
  }
DESCRIPTOR(Tensor, cudnnTensorDescriptor_t)
DESCRIPTOR(Filter, cudnnFilterDescriptor_t)
DESCRIPTOR(Convolution, cudnnConvolutionDescriptor_t)
DESCRIPTOR(Activation, cudnnActivationDescriptor_t)
DESCRIPTOR(Pooling, cudnnPoolingDescriptor_t)

cudnnStatus_t cudnnSetTensor4dDescriptorEx(cudnnTensorDescriptor_t t, cudnnDataType_t type, int n, int c,
                                           int h, int w, int n_stride, int c_stride, int h_stride,
                                           int w_stride) {
  BEGIN_CALL();
  REQUIRE_THAT(t && type == CUDNN_DATA_FLOAT && n > 0 && c > 0 && h > 0 && w > 0);
  REQUIRE_THAT(w_stride == 1 && h_stride == w && c_stride == h * w && n_stride >= c * h * w);
  *t = {n, c, h, w, n_stride, c_stride, h_stride, w_stride};
  return kOk;
}
cudnnStatus_t cudnnSetTensor(cudnnHandle_t h, const cudnnTensorDescriptor_t d, void* y, const void* value) {
  BEGIN_CALL();
  REQUIRE_THAT(h && d && d->set() && y && value);
  fake::queue(h->stream, [y = static_cast<float*>(y), d = *d, v = *static_cast<const float*>(value)] {
    each_output(d, [&](int n, int c, int r, int s) { y[d.at(n, c, r, s)] = v; });
  });
  return kOk;
}
cudnnStatus_t cudnnAddTensor(cudnnHandle_t h, const void* alpha, const cudnnTensorDescriptor_t a_desc,
                             const void* a, const void* beta, const cudnnTensorDescriptor_t c_desc, void* c) {
  BEGIN_CALL();
  REQUIRE_THAT(h && a && c && a_desc->set() && per_channel(*a_desc, *c_desc));
  fake::queue(h->stream, [a = static_cast<const float*>(a), c = static_cast<float*>(c), d = *c_desc,
                          blend = Blend(alpha, beta)] {
    each_output(d, [&](int n, int ch, int r, int s) { blend.store(c[d.at(n, ch, r, s)], double(a[ch])); });
  });
  return kOk;
}

cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t f, cudnnDataType_t type,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w) {
  BEGIN_CALL();
  REQUIRE_THAT(f && type == CUDNN_DATA_FLOAT && format == CUDNN_TENSOR_NCHW && k > 0 && c > 0 && h > 0 &&
               w > 0);
  *f = {k, c, h, w};
  return kOk;
}
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t d, int pad_h, int pad_w, int u,
                                              int v, int dilation_h, int dilation_w,
                                              cudnnConvolutionMode_t mode, cudnnDataType_t type) {
  BEGIN_CALL();
  REQUIRE_THAT(d && mode == CUDNN_CROSS_CORRELATION && type == CUDNN_DATA_FLOAT);
  REQUIRE_THAT(pad_h == pad_w && u == v && dilation_h == dilation_w && pad_h >= 0 && u > 0 && dilation_h > 0);
  d->padding = pad_h;
  d->stride = u;
  d->dilation = dilation_h;
  return kOk;
}
cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t d, int groups) {
  BEGIN_CALL();
  REQUIRE_THAT(d && groups > 0);
  d->groups = groups;
  return kOk;
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t d, cudnnMathType_t math) {
  BEGIN_CALL();
  REQUIRE_THAT(d != nullptr);
  d->math = math;
  return kOk;
}

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

cudnnStatus_t cudnnSetActivationDescriptor(cudnnActivationDescriptor_t d, cudnnActivationMode_t mode,
                                           cudnnNanPropagation_t, double) {
  BEGIN_CALL();
  REQUIRE_THAT(d && mode == CUDNN_ACTIVATION_RELU);
  d->set = true;
  return kOk;
}
cudnnStatus_t cudnnActivationForward(cudnnHandle_t h, cudnnActivationDescriptor_t d, const void* alpha,
                                     const cudnnTensorDescriptor_t x_desc, const void* x, const void* beta,
                                     const cudnnTensorDescriptor_t y_desc, void* y) {
  BEGIN_CALL();
  REQUIRE_THAT(h && d->set && x && y && x_desc->set() && x_desc->same_sizes(*y_desc));
  fake::queue(h->stream, [px = static_cast<const float*>(x), py = static_cast<float*>(y), xd = *x_desc,
                          yd = *y_desc, blend = Blend(alpha, beta)] {
    each_output(xd, [&](int n, int c, int r, int s) {
      blend.store(py[yd.at(n, c, r, s)], std::max(0.0, double(px[xd.at(n, c, r, s)])));
    });
  });
  return kOk;
}
cudnnStatus_t cudnnActivationBackward(cudnnHandle_t h, cudnnActivationDescriptor_t d, const void* alpha,
                                      const cudnnTensorDescriptor_t y_desc, const void* y,
                                      const cudnnTensorDescriptor_t dy_desc, const void* dy,
                                      const cudnnTensorDescriptor_t x_desc, const void* x, const void* beta,
                                      const cudnnTensorDescriptor_t dx_desc, void* dx) {
  BEGIN_CALL();
  REQUIRE_THAT(h && d->set && y && dy && x && dx && y_desc->same_sizes(*x_desc) &&
               dy_desc->same_sizes(*dx_desc));
  fake::queue(h->stream,
              [py = static_cast<const float*>(y), pd = static_cast<const float*>(dy),
               px = static_cast<float*>(dx), dd = *dy_desc, yd = *y_desc, blend = Blend(alpha, beta)] {
                each_output(dd, [&](int n, int c, int r, int s) {
                  const int64_t i = dd.at(n, c, r, s);
                  blend.store(px[i], py[yd.at(n, c, r, s)] > 0 ? double(pd[i]) : 0.0);
                });
              });
  return kOk;
}

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
