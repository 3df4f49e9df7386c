// Convolutions with kernels of several taps and several channels per group. The planes of one image and group
// are copied to scratch with their zero border (and ReLU); tap k of a vector of outputs is then one load at
// the tap's offset, and register tiles run as for a matrix product without its right side ever being
// gathered:
//   tile (MR output channels) x (NV vectors of outputs, each within a row) += w[o][k] * planes[offset[k] +
//   place[v]]
// The input's gradient at stride 1 is the same over planes of d_y with the kernel turned by 180 degrees.
#include "ops/cpu/conv2d_gather.h"
#include "ops/cpu/conv2d_kernels.h"
#include "ops/cpu/conv2d_plane.h"
#include "ops/cpu/gemm.h"
#include "ops/cpu/parallel.h"

namespace ladarts::LADARTS_ISA {
namespace {

// What is computed from one image's planes.
struct Spatial {
  const float* planes;
  const int64_t* offsets;  // per tap
  int64_t taps;
  const float* w;            // (outputs, taps)
  const float *bias, *mask;  // per output or null; laid out as y or null, as in GemmTile
  float* y;                  // (outputs, rows, columns)
  int64_t rows, columns;
  int64_t row_step;  // floats in scratch from one output row's inputs to the next one's
  bool add;
};

template <int L>
struct VectorPlace {
  int64_t source, result;  // offsets in scratch and in one output plane
  int64_t count;           // outputs
};

template <int MR, int NV, int L>
__attribute__((noinline)) void spatial_tile(const Spatial& s, int64_t o, const VectorPlace<L>* places) {
  using V = Vec<L>;
  V acc[MR][NV] = {};
  const float *w = s.w + o * s.taps, *source[NV];
#pragma GCC unroll 8
  for (int v = 0; v < NV; ++v) source[v] = s.planes + places[v].source;
  const int64_t taps = s.taps;
  for (int64_t k = 0; k < taps; ++k) {
    const int64_t offset = s.offsets[k];
    V x[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      x[v] = load<L>(source[v] + offset);
      hold_in_register<L>(x[v]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < MR; ++r) {
      const V factor = splat<L>(w[r * taps + k]);
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) acc[r][v] += factor * x[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      const int64_t at = (o + r) * s.rows * s.columns + places[v].result, n = places[v].count;
      V value = acc[r][v];
      if (s.bias) value += splat<L>(s.bias[o + r]);
      if (s.mask) value = (n == L ? load<L>(s.mask + at) : load_first<L>(s.mask + at, n)) > 0.f ? value : V{};
      if (n == L) {
        store<L>(s.y + at, s.add ? value + load<L>(s.y + at) : value);
      } else {
        store_first<L>(s.y + at, s.add ? value + load_first<L>(s.y + at, n) : value, n);
      }
    }
}

template <int MR, int L>
inline void spatial_tile(const Spatial& s, int64_t o, int vectors, const VectorPlace<L>* places) {
  switch (vectors) {
    case 1:
      return spatial_tile<MR, 1, L>(s, o, places);
    case 2:
      return spatial_tile<MR, 2, L>(s, o, places);
#if defined(__AVX512F__)
    case 3:
      return spatial_tile<MR, 3, L>(s, o, places);
    default:
      return spatial_tile<MR, 4, L>(s, o, places);
#endif
  }
}

// Outputs [o0, o1): vectors of the image kTileVectors at a time, all outputs for each.
template <int L>
void convolve_image(const Spatial& s, int64_t o0, int64_t o1) {
  const Blocks blocks(o1 - o0, kTileRows);
  VectorPlace<L> places[kTileVectors];
  int count = 0;
  for (int64_t y = 0; y < s.rows; ++y)
    for (int64_t x = 0; x < s.columns; x += L) {
      places[count++] = {y * s.row_step + x, y * s.columns + x, std::min<int64_t>(L, s.columns - x)};
      const bool last = y + 1 == s.rows && x + L >= s.columns;
      if (count < kTileVectors && !last) continue;
      for (int64_t i = 0; i < blocks.count; ++i) {
        const int64_t o = o0 + blocks.begin(i);
        switch (blocks.begin(i + 1) - blocks.begin(i)) {
          case 1:
            spatial_tile<1, L>(s, o, count, places);
            break;
          case 2:
            spatial_tile<2, L>(s, o, count, places);
            break;
          case 3:
            spatial_tile<3, L>(s, o, count, places);
            break;
          case 4:
            spatial_tile<4, L>(s, o, count, places);
            break;
          case 5:
            spatial_tile<5, L>(s, o, count, places);
            break;
          default:
            spatial_tile<6, L>(s, o, count, places);
            break;
        }
      }
      count = 0;
    }
}

// Vectors no wider than the rows.
void convolve_image(const Spatial& s, int64_t o0, int64_t o1) {
#if defined(__AVX512F__)
  if (s.columns > 8) return convolve_image<16>(s, o0, o1);
#endif
#if defined(__AVX2__)
  return convolve_image<8>(s, o0, o1);
#else
  convolve_image<4>(s, o0, o1);
#endif
}

// Calls f(n, group, o0, o1, scratch) over images and groups; few of them are cut by outputs, each part with
// planes of its own. The scratch starts as zeros.
template <class F>
void for_images(const Conv2dGeometry& g, int64_t outputs, const Conv2dWorkspace& space, const KernelArgs& a,
                F f) {
  const int64_t whole = g.n * g.groups;
  const int64_t cuts =
      std::clamp((kEnoughTasks + whole - 1) / whole, int64_t{1}, (outputs + kTileRows - 1) / kTileRows);
  const Blocks blocks(outputs, (outputs + cuts - 1) / cuts);
  float* scratch = reinterpret_cast<float*>(a.workspace) + space.shared;
  a.pool->parallel_for(whole * blocks.count, [&](int64_t i, int thread) {
    const int64_t cut = i % blocks.count, group = i / blocks.count % g.groups,
                  n = i / blocks.count / g.groups;
    float* own = scratch + thread * space.per_thread;
    zero_floats(own, space.per_thread);
    f(n, group, blocks.begin(cut), blocks.begin(cut + 1), own);
  });
}

// w (groups * og, cg, kh, kw) to turned (groups * cg, og, kh, kw), each kernel backwards.
void turn_weights(const Conv2dGeometry& g, const float* w, float* turned, ThreadPool& pool) {
  const int64_t taps = g.kh * g.kw;
  pool.parallel_for(g.c, [&](int64_t channel, int) {
    const int64_t group = channel / g.cg, c = channel % g.cg;
    for (int64_t o = 0; o < g.og; ++o)
      for (int64_t k = 0; k < taps; ++k)
        turned[(channel * g.og + o) * taps + k] = w[((group * g.og + o) * g.cg + c) * taps + taps - 1 - k];
  });
}

}  // namespace

void spatial_forward(const Conv2dGeometry& g, const KernelArgs& a) {
  const float *x = a.in(0), *w = a.in(1), *bias = a.n_inputs > 2 ? a.in(2) : nullptr;
  const Conv2dWorkspace space = forward_workspace(g);
  const BorderedPlane layout = output_plane(g);
  const PlaneCopy places(g, layout);
  auto* offsets = reinterpret_cast<int64_t*>(a.workspace);
  tap_offsets(g, layout, g.cg, g.stride, offsets);
  for_images(g, g.og, space, a, [&](int64_t n, int64_t group, int64_t o0, int64_t o1, float* scratch) {
    for (int64_t c = 0; c < g.cg; ++c)
      copy_plane(places, x + (n * g.c + group * g.cg + c) * g.h * g.w, g.relu_input,
                 places.begin(scratch + c * layout.floats()));
    const Spatial s{.planes = places.begin(scratch),
                    .offsets = offsets,
                    .taps = g.taps(),
                    .w = w + group * g.og * g.taps(),
                    .bias = bias ? bias + group * g.og : nullptr,
                    .mask = nullptr,
                    .y = a.out(0) + (n * g.o + group * g.og) * g.pixels(),
                    .rows = g.oh,
                    .columns = g.ow,
                    .row_step = g.stride * layout.row_stride,
                    .add = false};
    convolve_image(s, o0, o1);
  });
}

void spatial_grad_input(const Conv2dGeometry& g, const KernelArgs& a) {
  const float *d_y = a.in(0), *w = a.in(1), *x = g.relu_input ? a.in(2) : nullptr;
  const Conv2dWorkspace space = grad_input_workspace(g);
  const BorderedPlane layout = input_plane(g);
  const PlaneSpread places(g, layout);
  const int64_t taps = g.og * g.kh * g.kw, plane = g.h * g.w;
  auto* offsets = reinterpret_cast<int64_t*>(a.workspace);
  float* turned = reinterpret_cast<float*>(offsets + taps);
  tap_offsets(g, layout, g.og, 1, offsets);
  turn_weights(g, w, turned, *a.pool);
  for_images(g, g.cg, space, a, [&](int64_t n, int64_t group, int64_t c0, int64_t c1, float* scratch) {
    for (int64_t o = 0; o < g.og; ++o)
      spread_plane(places, d_y + (n * g.o + group * g.og + o) * g.pixels(),
                   places.begin(scratch + o * layout.floats()));
    const int64_t first = (n * g.c + group * g.cg) * plane;
    const Spatial s{.planes = places.begin(scratch),
                    .offsets = offsets,
                    .taps = taps,
                    .w = turned + group * g.cg * taps,
                    .bias = nullptr,
                    .mask = x ? x + first : nullptr,
                    .y = a.out(0) + first,
                    .rows = g.h,
                    .columns = g.w,
                    .row_step = layout.row_stride,
                    .add = a.accumulate(0)};
    convolve_image(s, c0, c1);
  });
}

}  // namespace ladarts::LADARTS_ISA
