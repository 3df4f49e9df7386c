// Batch normalisation over x (N, C, P), P the pixels of a plane. Statistics are sums over the chunks of each
// channel, a chunk being some images' planes; the chunks are as many as give every multiprocessor work,
// whatever C is.
#pragma once

#include <algorithm>

#include "cuda/elementwise.cuh"
#include "cuda/reduce.cuh"

namespace ladarts::cuda {
namespace {

struct NormLayout {
  int64_t images, channels, plane;
  int64_t chunks, images_per_chunk;
};

struct Two {
  double first, second;
};

// sums[c, k] = the two sums over chunk k of channel c of what term(i, first, second) adds for element i. Grid
// (chunks, C), 256 threads that take every 256th element of the chunk's planes, in float up to 256 elements
// each, then in double. Reads what `term` reads once. 4 KiB of dynamic shared memory. Run on the host only.
template <class F>
__global__ void channel_sums_kernel(F term, NormLayout l, Two* sums) {
  SIMT_DYNAMIC_SHARED(double, part);
  const int64_t c = blockIdx.y, first_image = int64_t(blockIdx.x) * l.images_per_chunk;
  const int64_t rest = l.images - first_image;
  const uint32_t plane = uint32_t(l.plane);
  const uint32_t n = uint32_t(rest < l.images_per_chunk ? rest : l.images_per_chunk) * plane;
  double a = 0, b = 0;
  for (uint32_t begin = threadIdx.x; begin < n; begin += 256 * kReduceThreads) {
    float s = 0, t = 0;
    for (uint32_t k = begin; k < n && k < begin + 256 * kReduceThreads; k += kReduceThreads)
      term(c, ((first_image + k / plane) * l.channels + c) * l.plane + k % plane, s, t);
    a += double(s);
    b += double(t);
  }
  a = block_sum(a, part);
  b = block_sum(b, part + kReduceThreads);
  if (threadIdx.x == 0) sums[c * l.chunks + blockIdx.x] = {a, b};
}

// finish(c, first, second) with the sums of all chunks of each channel, in their order. One thread per
// channel.
template <class F>
struct FinishChannels {
  F finish;
  const Two* sums;
  int64_t chunks;
  __device__ void operator()(int64_t c) const {
    Two total{0, 0};
    for (int64_t k = 0; k < chunks; ++k) {
      total.first += sums[c * chunks + k].first;
      total.second += sums[c * chunks + k].second;
    }
    finish(c, total.first, total.second);
  }
};

// Chunks by shape alone, so that sums have one order on every GPU: about 4096 elements each, 128 at most.
inline NormLayout layout_of(int64_t images, int64_t channels, int64_t plane) {
  const int64_t per_chunk = std::max({int64_t{1}, 4096 / plane, (images + 127) / 128});
  return {images, channels, plane, (images + per_chunk - 1) / per_chunk, per_chunk};
}

inline size_t sums_bytes(const NormLayout& l) {
  return size_t(l.channels * l.chunks) * sizeof(Two);
}

// sums: sums_bytes(l) of scratch memory.
template <class Term, class Finish>
void channel_sums(Term term, Finish finish, const NormLayout& l, void* sums, void* stream) {
  auto* partial = static_cast<Two*>(sums);
  simt::launch(channel_sums_kernel<Term>, dim3(unsigned(l.chunks), unsigned(l.channels)),
               dim3(kReduceThreads), 2 * kReduceThreads * sizeof(double), stream, term, l, partial);
  for_each(FinishChannels<Finish>{finish, partial, l.chunks}, l.channels, stream);
}

// Of (x - pivot) and its square. The pivot, the channel's first value, lies within a few deviations of the
// mean, so that the variance loses few digits however large the mean is.
struct CenteredTerm {
  const float* x;
  int64_t plane;
  __device__ void operator()(int64_t c, int64_t i, float& s, float& t) const {
    const float d = x[i] - x[c * plane];
    s += d;
    t += d * d;
  }
};

struct FinishMoments {
  const float* x;
  int64_t plane;
  double count;
  float eps, momentum;
  float *mean, *inv_std;
  float *running_mean, *running_var;  // null: none are kept
  __device__ void operator()(int64_t c, double first, double second) const {
    const double shift = first / count, spread = second / count - shift * shift;
    const double m = double(x[c * plane]) + shift, variance = spread > 0 ? spread : 0;
    mean[c] = float(m);
    inv_std[c] = float(1 / sqrt(variance + double(eps)));
    if (!running_mean) return;
    running_mean[c] += momentum * float(m - running_mean[c]);
    running_var[c] += momentum * float(variance * count / (count - 1) - running_var[c]);
  }
};

// Running statistics in place of the batch's.
struct CopyMoments {
  const float *running_mean, *running_var;
  float eps;
  float *mean, *inv_std;
  __device__ void operator()(int64_t c) const {
    mean[c] = running_mean[c];
    inv_std[c] = float(1 / sqrt(double(running_var[c]) + double(eps)));
  }
};

// 8 bytes moved per element; the channel's numbers come from the cache.
struct Normalised {
  const float *x, *mean, *inv_std, *gamma, *beta;  // gamma and beta null: 1 and 0
  uint32_t channels, plane;
  __device__ float operator()(int64_t i) const {
    const uint32_t c = uint32_t(i) / plane % channels;
    return (x[i] - mean[c]) * (gamma ? gamma[c] * inv_std[c] : inv_std[c]) + (beta ? beta[c] : 0.f);
  }
};

// Of d_y and d_y (x - mean).
struct NormGradientTerm {
  const float *x, *d_y, *mean;
  __device__ void operator()(int64_t c, int64_t i, float& s, float& t) const {
    s += d_y[i];
    t += d_y[i] * (x[i] - mean[c]);
  }
};

// d_gamma, d_beta, and coefficients (C, 3) of d_x = factor d_y + slope (x - mean) + offset.
struct FinishGradient {
  const float *inv_std, *gamma;
  double count;
  bool batch;
  float *coefficients, *d_gamma, *d_beta;  // null: not wanted
  bool add_gamma, add_beta;
  __device__ void operator()(int64_t c, double first, double second) const {
    const double r = inv_std[c];
    if (d_gamma) d_gamma[c] = float(r * second) + (add_gamma ? d_gamma[c] : 0.f);
    if (d_beta) d_beta[c] = float(first) + (add_beta ? d_beta[c] : 0.f);
    if (!coefficients) return;
    const double factor = gamma ? gamma[c] * r : r;
    coefficients[3 * c] = float(factor);
    coefficients[3 * c + 1] = batch ? float(-factor * r * r * second / count) : 0.f;
    coefficients[3 * c + 2] = batch ? float(-factor * first / count) : 0.f;
  }
};

// 12 bytes moved per element.
struct NormalisedGrad {
  const float *x, *d_y, *mean, *coefficients;
  uint32_t channels, plane;
  __device__ float operator()(int64_t i) const {
    const uint32_t c = uint32_t(i) / plane % channels;
    const float* k = coefficients + 3 * c;
    return k[0] * d_y[i] + (k[1] * (x[i] - mean[c]) + k[2]);
  }
};

// The normalisation of y as scale and shift (2, O).
struct FinishAffine {
  const float* y;
  int64_t plane, channels;
  double count;
  float eps;
  float* affine;
  __device__ void operator()(int64_t o, double first, double second) const {
    const double shift = first / count, spread = second / count - shift * shift;
    const double mean = double(y[o * plane]) + shift;
    const double inverse = 1 / sqrt((spread > 0 ? spread : 0) + double(eps));
    affine[o] = float(inverse);
    affine[channels + o] = float(-mean * inverse);
  }
};

// gamma * n + beta of a normalisation n given as scale and shift (2, C); keeps running statistics.
struct AffineWithGamma {
  const float *affine, *gamma, *beta;  // gamma and beta null: 1 and 0
  float *running_mean, *running_var;   // null: none are kept
  int64_t channels;
  double values;
  float eps, momentum;
  float* out;  // (2, C)
  __device__ void operator()(int64_t c) const {
    const float scale = affine[c], shift = affine[channels + c];
    if (running_mean) {
      const double s = scale, spread = 1 / (s * s) - double(eps), variance = spread > 0 ? spread : 0;
      running_mean[c] += momentum * float(-double(shift) / s - running_mean[c]);
      running_var[c] += momentum * float(variance * values / (values - 1) - running_var[c]);
    }
    out[c] = gamma ? gamma[c] * scale : scale;
    out[channels + c] = gamma ? gamma[c] * shift + beta[c] : shift;
  }
};

struct AffineWithGammaGrad {
  const float *affine, *d_out, *gamma;  // gamma null: 1
  int64_t channels;
  float *d_affine, *d_gamma, *d_beta;  // null: not wanted
  bool add_affine, add_gamma, add_beta;
  __device__ void operator()(int64_t c) const {
    const float d_scale = d_out[c], d_shift = d_out[channels + c], g = gamma ? gamma[c] : 1.f;
    if (d_affine) {
      d_affine[c] = g * d_scale + (add_affine ? d_affine[c] : 0.f);
      d_affine[channels + c] = g * d_shift + (add_affine ? d_affine[channels + c] : 0.f);
    }
    if (d_gamma)
      d_gamma[c] = affine[c] * d_scale + affine[channels + c] * d_shift + (add_gamma ? d_gamma[c] : 0.f);
    if (d_beta) d_beta[c] = d_shift + (add_beta ? d_beta[c] : 0.f);
  }
};

// What the statistics add to the gradient of y: slope * y + offset, from the gradients of scale and shift,
// where scale = (variance + eps)^(-1/2), shift = -mean * scale. d_affine null: none of these.
struct StatisticsGradient {
  const float *affine, *d_affine;  // (2, O)
  int64_t channels;
  double count;
  float* coefficients;  // (2, O): slope, offset
  __device__ void operator()(int64_t o) const {
    double slope = 0, offset = 0;
    if (d_affine) {
      const double s = affine[o], mean = -double(affine[channels + o]) / s;
      const double d_scale = d_affine[o], d_shift = d_affine[channels + o];
      slope = -s * s * s * (d_scale - mean * d_shift) / count;
      offset = -s * d_shift / count - slope * mean;
    }
    coefficients[o] = float(slope);
    coefficients[channels + o] = float(offset);
  }
};

}  // namespace
}  // namespace ladarts::cuda
