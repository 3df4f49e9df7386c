// Weight gradients for the convolutions of conv2d_spatial.cpp: x's planes are copied to scratch with their
// border; a tile of (output channels) x (taps) sums runs over the pixels of a few images, both operands read
// in place.
#include "ops/cpu/conv2d_gather.h"
#include "ops/cpu/conv2d_kernels.h"
#include "ops/cpu/conv2d_plane.h"
#include "ops/cpu/lane_sums.h"
#include "ops/cpu/tiles.h"

namespace ladarts::LADARTS_ISA {
namespace {

struct SpatialGradient {
  const float* planes;     // of the first image
  int64_t planes_stride;   // to the next image's
  const int64_t* offsets;  // per tap
  const float* d_y;        // (images, ..., rows, columns) of the group
  int64_t d_y_stride;      // to the next image's
  int64_t images, rows, columns;
  int64_t row_step;  // floats in scratch from one output row's inputs to the next one's
  float* d_w;        // (outputs, taps), added to
  int64_t taps;
};

template <int MR, int NR, int L, bool all>
__attribute__((always_inline)) inline void gradient_step(const float* d_y, int64_t plane,
                                                         const float* const* x, int64_t at, int64_t lanes,
                                                         Vec<L> (&acc)[MR][NR]) {
  Vec<L> d[MR];
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r) d[r] = all ? load<L>(d_y + r * plane) : load_first<L>(d_y + r * plane, lanes);
#pragma GCC unroll 8
  for (int s = 0; s < NR; ++s) {
    Vec<L> v = load<L>(x[s] + at);  // past the row's end it meets zeros in d
    hold_in_register<L>(v);
#pragma GCC unroll 8
    for (int r = 0; r < MR; ++r) acc[r][s] += d[r] * v;
  }
}

template <int MR, int NR, int L>
__attribute__((noinline)) void gradient_tile(const SpatialGradient& g, int64_t o, int64_t k) {
  Vec<L> acc[MR][NR] = {};
  const int64_t plane = g.rows * g.columns;
  const float* x[NR];
#pragma GCC unroll 8
  for (int s = 0; s < NR; ++s) x[s] = g.planes + g.offsets[k + s];
  for (int64_t n = 0; n < g.images; ++n) {
    const float* d_y = g.d_y + n * g.d_y_stride + o * plane;
    for (int64_t y = 0; y < g.rows; ++y) {
      int64_t at = n * g.planes_stride + y * g.row_step, left = g.columns;
      for (; left >= L; left -= L, at += L, d_y += L)
        gradient_step<MR, NR, L, true>(d_y, plane, x, at, L, acc);
      if (left > 0) gradient_step<MR, NR, L, false>(d_y, plane, x, at, left, acc);
      d_y += left;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r) add_lane_sums<L>(acc[r], NR, g.d_w + (o + r) * g.taps + k);
}

template <int L>
void add_images(const SpatialGradient& g, int64_t outputs) {
  const Blocks rows(outputs, kDotRows), columns(g.taps, kDotColumns);
  for (int64_t i = 0; i < rows.count; ++i)
    for (int64_t j = 0; j < columns.count; ++j) {
      const int64_t o = rows.begin(i), k = columns.begin(j), taps = columns.begin(j + 1) - k;
      with_count<kDotRows>(rows.begin(i + 1) - o, [&](auto mr) {
        with_count<kDotColumns>(taps, [&](auto nr) { gradient_tile<mr(), nr(), L>(g, o, k); });
      });
    }
}

void add_images(const SpatialGradient& g, int64_t outputs) {
#if defined(__AVX512F__)
  if (g.columns > 8) return add_images<16>(g, outputs);
#endif
#if defined(__AVX2__)
  return add_images<8>(g, outputs);
#else
  add_images<4>(g, outputs);
#endif
}

}  // namespace

void spatial_grad_weight(const Conv2dGeometry& g, const KernelArgs& a) {
  const float *d_y = a.in(0), *x = a.in(1);
  const Conv2dWorkspace space = grad_weight_workspace(g);
  const BorderedPlane layout = output_plane(g);
  const PlaneCopy places(g, layout);
  const int64_t together = images_together(g), group_weights = g.og * g.taps();
  auto* offsets = reinterpret_cast<int64_t*>(a.workspace);
  tap_offsets(g, layout, g.cg, g.stride, offsets);
  float* scratches = reinterpret_cast<float*>(a.workspace) + space.shared;
  float* partials = scratches + a.pool->threads() * space.per_thread;
  const Blocks chunks(g.n, (g.n + weight_gradient_chunks(g) - 1) / weight_gradient_chunks(g));
  a.pool->parallel_for(chunks.count * g.groups, [&](int64_t i, int thread) {
    const int64_t chunk = i / g.groups, group = i % g.groups, end = chunks.begin(chunk + 1);
    float* d_w = partials + chunk * g.weights() + group * group_weights;
    float* scratch = scratches + thread * space.per_thread;
    zero_floats(d_w, group_weights);
    zero_floats(scratch, space.per_thread);
    for (int64_t n = chunks.begin(chunk); n < end; n += together) {
      const int64_t images = std::min(together, end - n);
      for (int64_t k = 0; k < images * g.cg; ++k)
        copy_plane(places, x + ((n + k / g.cg) * g.c + group * g.cg + k % g.cg) * g.h * g.w, g.relu_input,
                   places.begin(scratch + k * layout.floats()));
      add_images({.planes = places.begin(scratch),
                  .planes_stride = g.cg * layout.floats(),
                  .offsets = offsets,
                  .d_y = d_y + (n * g.o + group * g.og) * g.pixels(),
                  .d_y_stride = g.o * g.pixels(),
                  .images = images,
                  .rows = g.oh,
                  .columns = g.ow,
                  .row_step = g.stride * layout.row_stride,
                  .d_w = d_w,
                  .taps = g.taps()},
                 g.og);
    }
  });
  add_partials(partials, chunks.count, g.weights(), g.weights(), a.out(0), a.accumulate(0), *a.pool);
}

}  // namespace ladarts::LADARTS_ISA
