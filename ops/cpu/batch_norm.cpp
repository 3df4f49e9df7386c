// Training works channel by channel: a task reads one channel's N planes (H * W contiguous floats each),
// reduces, and normalises them while they are still in the second-level cache, so memory is read and written
// once. Sums are taken in single precision lanes over about kFlush elements, then in double.
#include "ops/batch_norm.h"

#include <cmath>

#include "ops/cpu/fetch_ahead.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/vector_sums.h"

namespace ladarts {
namespace {

constexpr int64_t kFlush = 1024;

struct Layout {
  int64_t images, channels, plane;
  int64_t count() const { return images * plane; }  // values of one channel
};

Layout layout_of(const Shape& shape) {
  return {shape[0], shape[1], shape.rank() == 4 ? shape[2] * shape[3] : 1};
}

struct Sums {
  double first = 0, second = 0;
};

// Totals of two terms over the planes of channel c. step(offset, s, t) adds kLanes elements from `offset` on
// to both vectors; tail(offset, s, t) adds one element; fetch(offset) asks for a plane.
template <class Fetch, class Step, class Tail>
inline Sums channel_sums(const Layout& l, int64_t c, Fetch fetch, Step step, Tail tail) {
  Sums total;
  const int64_t group = std::max<int64_t>(1, kFlush / l.plane);
  for (int64_t n = 0; n < l.images; n += group) {
    Vec<kLanes> s0{}, s1{}, t0{}, t1{};
    float s = 0, t = 0;
    for (int64_t image = n; image < std::min(l.images, n + group); ++image) {
      int64_t at = (image * l.channels + c) * l.plane;
      const int64_t end = at + l.plane;
      if (image + 1 < l.images) fetch(at + l.channels * l.plane);
      for (; at + 2 * kLanes <= end; at += 2 * kLanes) {
        step(at, s0, t0);
        step(at + kLanes, s1, t1);
      }
      if (at + kLanes <= end) {
        step(at, s0, t0);
        at += kLanes;
      }
      for (; at < end; ++at) tail(at, s, t);
    }
    total.first += double(sum_lanes<kLanes>(s0 + s1) + s);
    total.second += double(sum_lanes<kLanes>(t0 + t1) + t);
  }
  return total;
}

// y = (x - mean) * factor + offset over the planes of channel c.
void normalise_plane(const float* __restrict x, float* __restrict y, int64_t n, float mean, float factor,
                     float offset) {
  for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * factor + offset;
}

struct Moments {
  double mean, variance;
};

// Sums of (x - pivot) and its square with the first plane's mean as pivot. Its distance from the channel's
// mean is at most sqrt(N) deviations, so the subtraction at the end loses few digits however large the mean
// is.
Moments channel_moments(const float* x, const Layout& l, int64_t c) {
  const float pivot = sum(x + c * l.plane, l.plane) / float(l.plane);
  const Sums sums = channel_sums(
      l, c, [&](int64_t at) { prefetch(x + at, l.plane); },
      [=](int64_t at, Vec<kLanes>& s, Vec<kLanes>& t) {
        const Vec<kLanes> d = load<kLanes>(x + at) - pivot;
        s += d;
        t += d * d;
      },
      [=](int64_t at, float& s, float& t) {
        const float d = x[at] - pivot;
        s += d;
        t += d * d;
      });
  const double m = double(l.count()), shift = sums.first / m;
  return {double(pivot) + shift, std::fmax(0.0, sums.second / m - shift * shift)};
}

// Writes channel c's mean and inverse deviation, and moves the running ones.
void take_statistics(const BatchNorm& op, const KernelArgs& a, const Layout& l, int64_t c) {
  const Moments m = channel_moments(a.in(0), l, c);
  a.out(1)[c] = float(m.mean);
  a.out(2)[c] = float(1 / std::sqrt(m.variance + double(op.eps)));
  if (!op.has_running) return;
  const int running = op.has_affine ? 3 : 1;
  const double unbiased = m.variance * double(l.count()) / double(l.count() - 1);
  float *r_mean = a.updated(running), *r_var = a.updated(running + 1);
  r_mean[c] += op.momentum * float(m.mean - r_mean[c]);
  r_var[c] += op.momentum * float(unbiased - r_var[c]);
}

void train(const BatchNorm& op, const KernelArgs& a, const Layout& l) {
  const float* x = a.in(0);
  float *y = a.out(0), *mean = a.out(1), *inv_std = a.out(2);
  const float* gamma = op.has_affine ? a.in(1) : nullptr;
  const float* beta = op.has_affine ? a.in(2) : nullptr;
  a.pool->parallel_for(l.channels, [&](int64_t c, int) {
    take_statistics(op, a, l, c);
    const float factor = gamma ? gamma[c] * inv_std[c] : inv_std[c], offset = beta ? beta[c] : 0.f;
    for (int64_t n = l.images; n-- > 0;) {  // the last planes read are the likeliest in cache
      const int64_t at = (n * l.channels + c) * l.plane;
      if (n > 0) prefetch(y + at - l.channels * l.plane, l.plane);
      normalise_plane(x + at, y + at, l.plane, mean[c], factor, offset);
    }
  });
}

// y of given statistics; gamma and beta null: 1 and 0.
void normalise(const KernelArgs& a, const Layout& l, const float* gamma, const float* beta, const float* mean,
               const float* inv_std) {
  const float* x = a.in(0);
  float* y = a.out(0);
  const int64_t grain = std::max<int64_t>(1, kElementGrain / l.plane);
  for_chunks(*a.pool, l.images * l.channels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t c = p % l.channels;
      normalise_plane(x + p * l.plane, y + p * l.plane, l.plane, mean[c],
                      gamma ? gamma[c] * inv_std[c] : inv_std[c], beta ? beta[c] : 0.f);
    }
  });
}

void evaluate(const BatchNorm& op, const KernelArgs& a, const Layout& l) {
  float *mean = a.out(1), *inv_std = a.out(2);
  const float* gamma = op.has_affine ? a.in(1) : nullptr;
  const float* beta = op.has_affine ? a.in(2) : nullptr;
  const int running = op.has_affine ? 3 : 1;
  for (int64_t c = 0; c < l.channels; ++c) {
    mean[c] = a.in(running)[c];
    inv_std[c] = float(1 / std::sqrt(double(a.in(running + 1)[c]) + double(op.eps)));
  }
  normalise(a, l, gamma, beta, mean, inv_std);
}

void batch_norm_again(const BatchNormAgain& op, const KernelArgs& a) {
  const int mean = op.has_affine ? 3 : 1;
  normalise(a, layout_of(a.in_shape(0)), op.has_affine ? a.in(1) : nullptr, op.has_affine ? a.in(2) : nullptr,
            a.in(mean), a.in(mean + 1));
}

void batch_norm_kernel(const BatchNorm& op, const KernelArgs& a) {
  const Layout l = layout_of(a.in_shape(0));
  if (op.batch_statistics) {
    train(op, a, l);
  } else {
    evaluate(op, a, l);
  }
}

void deferred_batch_norm(const DeferredBatchNorm& op, const KernelArgs& a) {
  const Layout l = layout_of(a.in_shape(0));
  const float* gamma = op.norm.has_affine ? a.in(1) : nullptr;
  const float* beta = op.norm.has_affine ? a.in(2) : nullptr;
  float *scale = a.out(0), *shift = scale + l.channels;
  a.pool->parallel_for(l.channels, [&](int64_t c, int) {
    take_statistics(op.norm, a, l, c);
    scale[c] = gamma ? gamma[c] * a.out(2)[c] : a.out(2)[c];
    shift[c] = (beta ? beta[c] : 0.f) - a.out(1)[c] * scale[c];
  });
}

// d_x = factor * d_y + slope * (x - mean) + offset.
void gradient_plane(const float* __restrict x, const float* __restrict d_y, float* __restrict d_x, int64_t n,
                    float mean, float factor, float slope, float offset, bool add) {
  if (add) {
    for (int64_t i = 0; i < n; ++i) d_x[i] += factor * d_y[i] + (slope * (x[i] - mean) + offset);
  } else {
    for (int64_t i = 0; i < n; ++i) d_x[i] = factor * d_y[i] + (slope * (x[i] - mean) + offset);
  }
}

Sums gradient_sums(const float* x, const float* d_y, float mean, const Layout& l, int64_t c) {
  return channel_sums(
      l, c,
      [&](int64_t at) {
        prefetch(x + at, l.plane);
        prefetch(d_y + at, l.plane);
      },
      [=](int64_t at, Vec<kLanes>& s, Vec<kLanes>& t) {
        const Vec<kLanes> g = load<kLanes>(d_y + at);
        s += g;
        t += g * (load<kLanes>(x + at) - mean);
      },
      [=](int64_t at, float& s, float& t) {
        s += d_y[at];
        t += d_y[at] * (x[at] - mean);
      });
}

// With sum_g = sum d_y, sum_gx = sum d_y (x - mean), M values a channel, r = inv_std:
//   d_beta = sum_g,  d_gamma = r sum_gx,
//   d_x = gamma r (d_y - sum_g / M - (x - mean) r^2 sum_gx / M); without the last two terms in evaluation.
void batch_norm_grad(const BatchNormGrad& op, const KernelArgs& a) {
  const Layout l = layout_of(a.in_shape(0));
  const float *x = a.in(0), *d_y = a.in(1), *mean = a.in(2), *inv_std = a.in(3);
  const float* gamma = op.has_affine ? a.in(4) : nullptr;
  const int gamma_at = op.wants_x ? 1 : 0, beta_at = gamma_at + (op.wants_gamma ? 1 : 0);
  const bool needs_sums = op.wants_gamma || op.wants_beta || op.batch_statistics;
  auto put = [&](int output, int64_t c, double v) {
    float* to = a.out(output);
    to[c] = a.accumulate(output) ? to[c] + float(v) : float(v);
  };
  a.pool->parallel_for(l.channels, [&](int64_t c, int) {
    Sums sums;
    if (needs_sums) sums = gradient_sums(x, d_y, mean[c], l, c);
    const double r = inv_std[c], m = double(l.count());
    if (op.wants_gamma) put(gamma_at, c, r * sums.second);
    if (op.wants_beta) put(beta_at, c, sums.first);
    if (!op.wants_x) return;
    const double factor = gamma ? gamma[c] * r : r;
    float slope = 0, offset = 0;
    if (op.batch_statistics) {
      slope = float(-factor * r * r * sums.second / m);
      offset = float(-factor * sums.first / m);
    }
    for (int64_t n = l.images; n-- > 0;) {
      const int64_t at = (n * l.channels + c) * l.plane;
      if (n > 0) prefetch(a.out(0) + at - l.channels * l.plane, l.plane);
      gradient_plane(x + at, d_y + at, a.out(0) + at, l.plane, mean[c], float(factor), slope, offset,
                     a.accumulate(0));
    }
  });
}

LADARTS_CPU_KERNEL(BatchNorm, batch_norm_kernel)
LADARTS_CPU_KERNEL(DeferredBatchNorm, deferred_batch_norm)
LADARTS_CPU_KERNEL(BatchNormAgain, batch_norm_again)
LADARTS_CPU_KERNEL(BatchNormGrad, batch_norm_grad)

}  // namespace
}  // namespace ladarts
