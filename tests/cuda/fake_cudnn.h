// What the parts of the library that looks like cuDNN share. It works on memory of the host, by plain loops
// in double precision. It is strict where the real one reports errors, and where a mistake would pass unseen
// there it makes one visible: scratch memory is overwritten, algorithms that give different bits each time
// give wrong values, and arithmetic other than CUDNN_FMA_MATH rounds to TF32.
#pragma once

#include <cudnn.h>

#include <cstdint>

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

namespace fake {

constexpr cudnnStatus_t kOk = CUDNN_STATUS_SUCCESS, kBad = CUDNN_STATUS_BAD_PARAM;
cudnnStatus_t bad(const char* why);  // what cudnnGetLastErrorString() says

#define REQUIRE_THAT(condition) \
  if (!(condition)) return fake::bad(#condition)
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

template <class F>
void each_output(const cudnnTensorStruct& y, F f) {
  for (int n = 0; n < y.n; ++n)
    for (int c = 0; c < y.c; ++c)
      for (int r = 0; r < y.h; ++r)
        for (int s = 0; s < y.w; ++s) f(n, c, r, s);
}

inline bool per_channel(const cudnnTensorStruct& d, const cudnnTensorStruct& x) {
  return d.n == 1 && d.c == x.c && d.h == 1 && d.w == 1;
}

}  // namespace fake
