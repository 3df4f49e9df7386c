// Inference of separable convolutions. A task is a band of rows of one image: its channels are convolved to
// tiles, read where they lie or, a few at a time, copied to scratch with ReLU and a border of zeros; then one
// matrix product over the tiles of all channels writes y. Consecutive ops give the same band to the same
// thread (core/thread_pool.h), so that what it reads lies in its cache.
#include "ops/separable_conv.h"

#include <algorithm>

#include "ops/cpu/depthwise.h"
#include "ops/cpu/depthwise_direct.h"
#include "ops/cpu/gemm.h"
#include "ops/cpu/separable_input.h"

namespace ladarts {
namespace {

struct Band {
  int64_t image;
  int begin, end;  // rows of y
};

// Tiles of the depthwise result: channel c at t + c * bands.tile_stride.
void depthwise_band(const SeparableConv& op, const KernelArgs& a, const SeparablePlan& p,
                    const SeparableBands& bands, Band band, float* planes, float* t) {
  const int kernel = int(a.in_shape(1)[2]), reach = op.desc.dilation * (kernel - 1) / 2,
            taps = kernel * kernel;
  const int64_t pixels = int64_t(p.in_h) * p.in_w;
  const float* x = a.in(0) + band.image * p.c * pixels;
  auto directly = [&](auto l, auto v, auto k, auto d) {
    for (int c = 0; c < p.c; ++c)
      direct_band<l(), v(), k(), d()>({x + c * pixels, p.in_h}, RectifiedPixels(), a.in(1) + c * taps,
                                      t + c * bands.tile_stride, band.begin, band.end);
  };
  if (reads_directly(p)) return with_direct_size(p.in_w, kernel, op.desc.dilation, directly);
  if (reads_small_directly(p)) return with_small_direct_size(kernel, op.desc.dilation, directly);
  const int top = band.begin * p.stride, first = std::max(0, top - reach),
            last = std::min(p.in_h, (band.end - 1) * p.stride + reach + 1);
  constexpr int together = SeparableBands::kTogether;
  std::memset(planes, 0, size_t(std::min(together, p.c) * bands.plane) * sizeof(float));
  FetchAhead nothing;
  for (int c0 = 0; c0 < p.c; c0 += together) {
    const int c1 = std::min(c0 + together, p.c);
    for (int c = c0; c < c1; ++c)
      load_plane(p, x + c * pixels, planes + ptrdiff_t(c - c0) * bands.plane, 1, 0, top, first, last);
    for (int c = c0; c < c1; ++c)
      depthwise_plane(kernel, op.desc.dilation, p.stride,
                      {planes + ptrdiff_t(c - c0) * bands.plane, p.pitch, p.half}, a.in(1) + c * taps,
                      t + c * bands.tile_stride, p.width, band.end - band.begin, p.width, nothing);
  }
}

void pointwise_band(const KernelArgs& a, const SeparablePlan& p, const SeparableBands& bands, Band band,
                    const float* t, float* y_tiles) {
  const int64_t pixels = int64_t(p.out_h) * p.out_w;
  const int64_t at = band.image * p.o * pixels + int64_t(band.begin) * p.out_w;
  float* const y = a.out(0) + at;
  const float* const addend = a.n_inputs > 4 ? a.in(4) + at : nullptr;
  const bool whole = p.width == p.out_w;
  GemmTile m{};
  m.k = p.c;
  m.a = a.in(2), m.a_row = p.c, m.a_k = 1;
  m.b = t, m.b_row = bands.tile_stride;
  m.c = whole ? y : y_tiles, m.c_row = whole ? pixels : bands.tile_stride;
  m.columns = int64_t(band.end - band.begin) * p.width;
  m.bias = a.in(3);
  m.addend = whole ? addend : nullptr;
  gemm(p.o, m);
  if (whole) return;
  for (int o = 0; o < p.o; ++o)
    for (int r = 0; r < band.end - band.begin; ++r) {
      const float* from = y_tiles + o * bands.tile_stride + r * p.width;
      const int64_t to = o * pixels + int64_t(r) * p.out_w;
      for (int j = 0; j < p.out_w; ++j) y[to + j] = addend ? from[j] + addend[to + j] : from[j];
    }
}

void separable_conv_kernel(const SeparableConv& op, const KernelArgs& a) {
  const SeparablePlan p(op.desc.stride, int(a.in_shape(0)[1]), a.in_shape(0), int(a.out_shape(0)[1]));
  const SeparableBands bands(p, a.pool->threads());
  a.pool->parallel_for(p.images * bands.count, [&](int64_t task, int thread) {
    float* const planes = reinterpret_cast<float*>(a.workspace) + thread * bands.scratch();
    float* const t = planes + SeparableBands::kTogether * bands.plane;
    const int begin = int(task % bands.count) * bands.rows;
    const Band band{task / bands.count, begin, std::min(begin + bands.rows, p.out_h)};
    depthwise_band(op, a, p, bands, band, planes, t);
    pointwise_band(a, p, bands, band, t, t + p.c * bands.tile_stride);
  });
}

LADARTS_CPU_KERNEL(SeparableConv, separable_conv_kernel)

}  // namespace
}  // namespace ladarts
