// The gradient of a term's affine in a sum of terms (ops/norm_sum.h).
#pragma once

#include "core/shape.h"
#include "cuda/batch_norm.cuh"

namespace ladarts::cuda {
namespace {

// Of d_out * y and d_out.
struct NormSumTerm {
  const float *d_out, *y;
  __device__ void operator()(int64_t, int64_t i, float& s, float& t) const {
    s += d_out[i] * y[i];
    t += d_out[i];
  }
};

struct FinishNormSum {
  int64_t channels;
  float* d_affine;  // (2, C)
  bool add;
  __device__ void operator()(int64_t c, double first, double second) const {
    d_affine[c] = float(first) + (add ? d_affine[c] : 0.f);
    d_affine[channels + c] = float(second) + (add ? d_affine[channels + c] : 0.f);
  }
};

inline NormLayout image_layout(const Shape& s) {
  return layout_of(s[0], s[1], s[2] * s[3]);
}
inline size_t affine_gradient_bytes(const Shape& s) {
  return sums_bytes(image_layout(s));
}

// d_affine (2, C) (+)= sums of d_out * y and of d_out, both of shape s (N, C, H, W). 8 bytes read for each of
// their elements.
inline void affine_gradient(const Shape& s, const float* d_out, const float* y, float* d_affine, bool add,
                            void* workspace, void* stream) {
  const NormLayout l = image_layout(s);
  channel_sums(NormSumTerm{d_out, y}, FinishNormSum{l.channels, d_affine, add}, l, workspace, stream);
}

}  // namespace
}  // namespace ladarts::cuda
