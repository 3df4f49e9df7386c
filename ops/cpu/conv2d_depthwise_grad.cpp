// Weight gradients of depthwise convolutions: for each channel, K * K sums over images and pixels of
//   d_w[c][p][q] = sum of d_y[n][c][i][j] * x[n][c][i*s - pad + p*d][j*s - pad + q*d]
// Planes of x are copied to scratch with their border; partial sums stay in vectors until a chunk of images
// is done.
#include "ops/cpu/conv2d_gather.h"
#include "ops/cpu/conv2d_kernels.h"
#include "ops/cpu/conv2d_plane.h"
#include "ops/cpu/tiles.h"

namespace ladarts::LADARTS_ISA {
namespace {

constexpr int64_t kMostSums = 64;  // taps whose sums are kept in vectors

struct Gradient {
  const Conv2dGeometry& g;
  const float* plane;  // x with border
  const BorderedPlane& layout;
  const float* d_y;  // (oh, ow)
};

// Taps at `offsets`: sums[t] += d_y * x of tap t.
template <int L, int T>
inline void add_taps(const Gradient& s, const int64_t* offsets, Vec<L>* sums) {
  const Conv2dGeometry& g = s.g;
  const float* tap[T];
  Vec<L> acc[T];
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) {
    tap[t] = s.plane + offsets[t];
    acc[t] = sums[t];
  }
  for (int64_t y = 0; y < g.oh; ++y) {
    const int64_t row = y * g.stride * s.layout.row_stride;
    const float* d_y = s.d_y + y * g.ow;
    for (int64_t x = 0; x < g.ow; x += L) {
      const Vec<L> d = g.ow - x >= L ? load<L>(d_y + x) : load_first<L>(d_y + x, g.ow - x);
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) acc[t] += d * load<L>(tap[t] + row + x);
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) sums[t] = acc[t];
}

template <int L>
__attribute__((noinline)) void any_kernel(const Gradient& s, const int64_t* offsets, int64_t taps,
                                          Vec<L>* sums) {
  int64_t t = 0;
  for (; t + 8 <= taps; t += 8) add_taps<L, 8>(s, offsets + t, sums + t);
  for (; t + 4 <= taps; t += 4) add_taps<L, 4>(s, offsets + t, sums + t);
  for (; t < taps; ++t) add_taps<L, 1>(s, offsets + t, sums + t);
}

// K x K at stride 1: kDepthwiseRows rows of d_y, `dilation` apart, in registers; a vector of x serves all of
// them.
template <int K, int L>
__attribute__((noinline)) void square_kernel(const Gradient& s, Vec<L>* sums) {
  constexpr int R = int(kDepthwiseRows);
  const Conv2dGeometry& g = s.g;
  const int64_t row_step = g.dilation * s.layout.row_stride;
#pragma GCC unroll 1
  for (int q = 0; q < K; ++q) {
    Vec<L> acc[K][2] = {};  // two sums each: one multiply-add need not wait for the last
    for (int64_t phase = 0; phase < std::min(g.dilation, g.oh); ++phase)
      for (int64_t y = phase; y < g.oh; y += g.dilation * R)
        for (int64_t x = 0; x < g.ow; x += L) {
          Vec<L> d[R];
#pragma GCC unroll 8
          for (int r = 0; r < R; ++r) {
            const int64_t at = y + r * g.dilation;
            const float* from = s.d_y + at * g.ow + x;
            d[r] = at >= g.oh ? Vec<L>{} : g.ow - x >= L ? load<L>(from) : load_first<L>(from, g.ow - x);
          }
          const float* row = s.plane + y * s.layout.row_stride + x + q * g.dilation;
#pragma GCC unroll 16
          for (int i = 0; i < R + K - 1; ++i, row += row_step) {
            Vec<L> v = load<L>(row);
            hold_in_register<L>(v);
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r)
              if (i - r >= 0 && i - r < K) acc[i - r][r & 1] += d[r] * v;
          }
        }
#pragma GCC unroll 8
    for (int p = 0; p < K; ++p) sums[p * K + q] += acc[p][0] + acc[p][1];
  }
}

template <int L>
void add_plane(const Gradient& s, const int64_t* offsets, int64_t taps, Vec<L>* sums) {
  if (s.g.stride == 1 && s.g.kh == s.g.kw) {
    if (s.g.kh == 3) return square_kernel<3, L>(s, sums);
    if (s.g.kh == 5) return square_kernel<5, L>(s, sums);
    if (s.g.kh == 7) return square_kernel<7, L>(s, sums);
  }
  any_kernel<L>(s, offsets, taps, sums);
}

// One channel over images [n0, n1): d_w (kh * kw), kMostSums taps at a time.
template <int L>
void channel_gradient(const Conv2dGeometry& g, const PlaneCopy& copy, const float* d_y, const float* x,
                      int64_t c, int64_t n0, int64_t n1, float* scratch, float* d_w) {
  const int64_t taps = g.kh * g.kw;
  const int64_t together = planes_together(copy.layout);
  float* bordered = copy.begin(scratch);
  for (int64_t first = 0; first < taps; first += kMostSums) {
    const int64_t count = std::min(kMostSums, taps - first);
    int64_t offsets[kMostSums];
    for (int64_t t = 0; t < count; ++t)
      offsets[t] = tap_offset(g, copy.layout, g.stride, (first + t) / g.kw, (first + t) % g.kw);
    Vec<L> sums[kMostSums] = {};
    for (int64_t n = n0; n < n1; n += together) {
      const int64_t planes = std::min(together, n1 - n);
      for (int64_t i = 0; i < planes; ++i)
        copy_plane(copy, x + ((n + i) * g.c + c) * g.h * g.w, g.relu_input,
                   bordered + i * copy.layout.floats());
      for (int64_t i = 0; i < planes; ++i)
        add_plane<L>(
            {g, bordered + i * copy.layout.floats(), copy.layout, d_y + ((n + i) * g.c + c) * g.pixels()},
            offsets, count, sums);
    }
    for (int64_t t = 0; t < count; ++t) d_w[first + t] = sum_lanes<L>(sums[t]);
  }
}

}  // namespace

void depthwise_grad_weight(const Conv2dGeometry& g, const KernelArgs& a) {
  const float *d_y = a.in(0), *x = a.in(1);
  const BorderedPlane layout = output_plane(g);
  const PlaneCopy copy(g, layout);
  const int64_t scratch_floats = grad_weight_workspace(g).per_thread, taps = g.kh * g.kw;
  auto* scratches = reinterpret_cast<float*>(a.workspace);
  float* partials = scratches + a.pool->threads() * scratch_floats;
  const Blocks chunks(g.n, (g.n + weight_gradient_chunks(g) - 1) / weight_gradient_chunks(g));
  a.pool->parallel_for(chunks.count, [&](int64_t chunk, int thread) {
    float* scratch = scratches + thread * scratch_floats;
    zero_floats(scratch, scratch_floats);
    const int64_t n0 = chunks.begin(chunk), n1 = chunks.begin(chunk + 1);
    for (int64_t c = 0; c < g.c; ++c) {
      float* d_w = partials + chunk * g.weights() + c * taps;
#if defined(__AVX512F__)
      if (g.ow > 8) {
        channel_gradient<16>(g, copy, d_y, x, c, n0, n1, scratch, d_w);
        continue;
      }
#endif
#if defined(__AVX2__)
      if (g.ow > 4) {
        channel_gradient<8>(g, copy, d_y, x, c, n0, n1, scratch, d_w);
        continue;
      }
#endif
      channel_gradient<4>(g, copy, d_y, x, c, n0, n1, scratch, d_w);
    }
  });
  add_partials(partials, chunks.count, g.weights(), g.weights(), a.out(0), a.accumulate(0), *a.pool);
}

}  // namespace ladarts::LADARTS_ISA
