// Depthwise convolution, plane by plane. A plane is copied to scratch with its zero border (and ReLU) so that
// every tap of a whole vector of outputs is one load; it stays in the nearest cache. Square kernels of the
// search spaces at stride 1 keep kDepthwiseRows output rows, `dilation` apart, in registers: a loaded vector
// serves all of them that it touches, (rows + K - 1) * K loads for rows * K * K multiply-adds.
//
// The input's gradient at stride 1 is the same convolution of d_y with the kernel turned by 180 degrees and
// the padding dilation*(K-1) - padding; at larger strides d_y is spread over scratch with zeros between.
#include "ops/cpu/conv2d_gather.h"
#include "ops/cpu/conv2d_kernels.h"
#include "ops/cpu/conv2d_plane.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/tiles.h"

namespace ladarts::LADARTS_ISA {
namespace {

// Where results go: rows of `columns` floats.
struct PlaneOutput {
  float* data;
  const float* mask;  // laid out as data: results where it is <= 0 become 0; or null
  int64_t rows, columns;
  float bias;
  bool add;
};

template <int L>
inline void put(const PlaneOutput& out, int64_t y, int64_t x, Vec<L> value) {
  if (y >= out.rows) return;
  const int64_t at = y * out.columns + x, n = out.columns - x;
  if (n >= L) {
    if (out.mask) value = load<L>(out.mask + at) > 0.f ? value : Vec<L>{};
    if (out.add) value += load<L>(out.data + at);
    store<L>(out.data + at, value);
  } else if (n > 0) {
    if (out.mask) value = load_first<L>(out.mask + at, n) > 0.f ? value : Vec<L>{};
    if (out.add) value += load_first<L>(out.data + at, n);
    store_first<L>(out.data + at, value, n);
  }
}

// Outputs (y0 + r * dilation, x0 .. x0 + V*L) for r < kDepthwiseRows, stride 1, K x K.
template <int K, int L, int V>
inline void rows_in_registers(const float* plane, int64_t row_stride, const float* w, int64_t dilation,
                              int64_t y0, int64_t x0, const PlaneOutput& out) {
  constexpr int R = int(kDepthwiseRows);
  Vec<L> acc[R][V];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) acc[r][v] = splat<L>(out.bias);
  const float* first = plane + y0 * row_stride + x0;
#pragma GCC unroll 1  // else the compiler hoists all loads, spills, and runs the rows one after the other
  for (int q = 0; q < K; ++q, first += dilation) {
    Vec<L> tap[K];
#pragma GCC unroll 8
    for (int p = 0; p < K; ++p) tap[p] = splat<L>(w[p * K + q]);
    const float* row = first;
#pragma GCC unroll 16
    for (int i = 0; i < R + K - 1; ++i, row += dilation * row_stride)
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        Vec<L> x = load<L>(row + v * L);
        hold_in_register<L>(x);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
          if (i - r >= 0 && i - r < K) acc[r][v] += tap[i - r] * x;
      }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) put<L>(out, y0 + r * dilation, x0 + v * L, acc[r][v]);
}

template <int K, int L>
__attribute__((noinline)) void square_kernel(const float* plane, int64_t row_stride, const float* w,
                                             int64_t dilation, const PlaneOutput& out) {
  for (int64_t phase = 0; phase < std::min(dilation, out.rows); ++phase)
    for (int64_t y = phase; y < out.rows; y += dilation * kDepthwiseRows) {
      int64_t x = 0;
      for (; x + L < out.columns; x += 2 * L)
        rows_in_registers<K, L, 2>(plane, row_stride, w, dilation, y, x, out);
      if (x < out.columns) rows_in_registers<K, L, 1>(plane, row_stride, w, dilation, y, x, out);
    }
}

// A convolution over bordered planes of one layout.
struct Kernel {
  int64_t kh, kw, stride, dilation, row_stride, phase_stride;
  Kernel(const Conv2dGeometry& g, const BorderedPlane& p, int64_t s)
      : kh(g.kh),
        kw(g.kw),
        stride(s),
        dilation(g.dilation),
        row_stride(p.row_stride),
        phase_stride(p.phase_stride) {}
};

// Any kernel and stride: kDepthwiseRows neighbouring rows, every tap loaded for each.
template <int L>
__attribute__((noinline)) void any_kernel(const Kernel& s, const float* plane, const float* w,
                                          const PlaneOutput& out) {
  constexpr int R = int(kDepthwiseRows);
  for (int64_t y = 0; y < out.rows; y += R)
    for (int64_t x = 0; x < out.columns; x += L) {
      Vec<L> acc[R];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) acc[r] = splat<L>(out.bias);
      const float* block = plane + x + y * s.stride * s.row_stride;
      // Tap column q is q * dilation columns on: sub-row `phase`, `step` from its start.
      for (int64_t q = 0, phase = 0, step = 0; q < s.kw; ++q) {
        const float* row = block + phase * s.phase_stride + step;
        for (int64_t p = 0; p < s.kh; ++p, row += s.dilation * s.row_stride) {
          const Vec<L> tap = splat<L>(w[p * s.kw + q]);
#pragma GCC unroll 8
          for (int r = 0; r < R; ++r) acc[r] += tap * load<L>(row + r * s.stride * s.row_stride);
        }
        for (phase += s.dilation; phase >= s.stride; phase -= s.stride) ++step;
      }
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) put<L>(out, y + r, x, acc[r]);
    }
}

template <int L>
void convolve_rows(const Kernel& s, const float* plane, const float* w, const PlaneOutput& out) {
  if (s.stride == 1 && s.kh == s.kw) {
    if (s.kh == 3) return square_kernel<3, L>(plane, s.row_stride, w, s.dilation, out);
    if (s.kh == 5) return square_kernel<5, L>(plane, s.row_stride, w, s.dilation, out);
    if (s.kh == 7) return square_kernel<7, L>(plane, s.row_stride, w, s.dilation, out);
  }
  any_kernel<L>(s, plane, w, out);
}

// Vectors no wider than the plane.
void convolve_plane(const Kernel& s, const float* plane, const float* w, const PlaneOutput& out) {
#if defined(__AVX512F__)
  if (out.columns > 8) return convolve_rows<16>(s, plane, w, out);
#endif
#if defined(__AVX2__)
  if (out.columns > 4) return convolve_rows<8>(s, plane, w, out);
#endif
  convolve_rows<4>(s, plane, w, out);
}

// All n * c planes: copies some to scratch by copy(plane, to), then convolves each by f(plane, from). The
// scratch starts as zeros and keeps its border.
template <class Copy, class F>
void for_planes(const Conv2dGeometry& g, const BorderedPlane& layout, int64_t scratch_floats,
                const KernelArgs& a, Copy copy, F f) {
  constexpr int64_t kTaskTaps = 128 * 1024;
  const int64_t planes = g.n * g.c, together = planes_together(layout);
  const int64_t per_task = std::clamp(kTaskTaps / (g.pixels() * g.kh * g.kw), int64_t{1},
                                      (planes + kEnoughTasks - 1) / kEnoughTasks);
  const Blocks blocks(planes, per_task);
  a.pool->parallel_for(blocks.count, [&](int64_t i, int thread) {
    float* scratch = reinterpret_cast<float*>(a.workspace) + thread * scratch_floats;
    const int64_t end = blocks.begin(i + 1);
    int64_t plane = blocks.begin(i);
    zero_floats(scratch, std::min(together, end - plane) * layout.floats());
    for (; plane < end; plane += together) {
      const int64_t count = std::min(together, end - plane);
      for (int64_t k = 0; k < count; ++k) copy(plane + k, scratch + k * layout.floats());
      for (int64_t k = 0; k < count; ++k) f(plane + k, scratch + k * layout.floats(), thread);
    }
  });
}

}  // namespace

void depthwise_forward(const Conv2dGeometry& g, const KernelArgs& a) {
  const float *x = a.in(0), *w = a.in(1), *bias = a.n_inputs > 2 ? a.in(2) : nullptr;
  const BorderedPlane layout = output_plane(g);
  const PlaneCopy places(g, layout);
  const Kernel kernel(g, layout, g.stride);
  auto copy = [&](int64_t plane, float* to) {
    copy_plane(places, x + plane * g.h * g.w, g.relu_input, places.begin(to));
  };
  for_planes(g, layout, forward_workspace(g).per_thread, a, copy, [&](int64_t plane, float* from, int) {
    const int64_t c = plane % g.c;
    const PlaneOutput out{a.out(0) + plane * g.pixels(), nullptr, g.oh, g.ow, bias ? bias[c] : 0.f, false};
    convolve_plane(kernel, places.begin(from), w + c * g.kh * g.kw, out);
  });
}

void depthwise_grad_input(const Conv2dGeometry& g, const KernelArgs& a) {
  const float *d_y = a.in(0), *w = a.in(1), *x = g.relu_input ? a.in(2) : nullptr;
  const BorderedPlane layout = input_plane(g);
  const int64_t taps = g.kh * g.kw, scratch_floats = grad_input_workspace(g).per_thread;
  const PlaneSpread places(g, layout);
  const Kernel kernel(g, layout, 1);
  auto copy = [&](int64_t plane, float* to) {
    spread_plane(places, d_y + plane * g.pixels(), places.begin(to));
  };
  for_planes(g, layout, scratch_floats, a, copy, [&](int64_t plane, float* from, int thread) {
    float* turned = reinterpret_cast<float*>(a.workspace) + thread * scratch_floats +
                    planes_together(layout) * layout.floats();
    for (int64_t k = 0; k < taps; ++k) turned[k] = w[plane % g.c * taps + taps - 1 - k];
    const int64_t at = plane * g.h * g.w;
    const PlaneOutput out{a.out(0) + at, x ? x + at : nullptr, g.h, g.w, 0.f, a.accumulate(0)};
    convolve_plane(kernel, places.begin(from), turned, out);
  });
}

}  // namespace ladarts::LADARTS_ISA
