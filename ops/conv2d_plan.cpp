#include "ops/conv2d_plan.h"

#include <algorithm>

namespace ladarts {

namespace {

constexpr int64_t kVector = 16;  // floats in the widest vector, and in a cache line

int64_t round_up(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

}  // namespace

Conv2dGeometry conv2d_geometry(const Conv2dDesc& desc, const Shape& x, const Shape& w) {
  Conv2dGeometry g{};
  g.n = x[0], g.h = x[2], g.w = x[3];
  g.o = w[0], g.cg = w[1], g.kh = w[2], g.kw = w[3];
  g.c = g.cg * desc.groups;
  g.stride = desc.stride, g.padding = desc.padding, g.dilation = desc.dilation, g.groups = desc.groups;
  g.relu_input = desc.relu_input;
  g.og = g.o / g.groups;
  g.oh = (g.h + 2 * g.padding - g.dilation * (g.kh - 1) - 1) / g.stride + 1;
  g.ow = (g.w + 2 * g.padding - g.dilation * (g.kw - 1) - 1) / g.stride + 1;
  return g;
}

Conv2dGeometry conv2d_geometry(const Conv2dDesc& desc, const Shape& x, std::span<const Shape> w) {
  Conv2dGeometry g = conv2d_geometry(desc, x, w[0]);
  for (const Shape& more : w.subspan(1)) g.o += more[0], g.og += more[0];
  return g;
}

BorderedPlane bordered_plane(int64_t rows, int64_t columns, int64_t kh, int64_t kw, int64_t stride,
                             int64_t dilation) {
  BorderedPlane p{};
  // A block of rows that starts at the last output row still reads its other rows.
  p.rows = stride * (rows - 1 + dilation * (kDepthwiseRows - 1)) + dilation * (kh - 1) + 1;
  p.phase_stride = round_up(
      round_up(columns, columns > kVector / 2 ? kVector : kVector / 2) + dilation * (kw - 1) / stride + 1,
      kVector);
  p.row_stride = stride * p.phase_stride;
  return p;
}

int64_t planes_together(const BorderedPlane& p) {
  constexpr int64_t kFloats = 5 * 1024;  // within the nearest cache
  return std::clamp(kFloats / p.floats(), int64_t{1}, int64_t{8});
}

int64_t weight_gradient_chunks(const Conv2dGeometry& g) {
  constexpr int64_t kMostPartials = 4 << 20;  // floats
  const int64_t most = std::max<int64_t>(1, kMostPartials / g.weights());
  return std::min({g.n, most, int64_t{16}});
}

int64_t images_together(const Conv2dGeometry& g) {
  constexpr int64_t kPixels = 512;  // enough multiply-adds for each sum over lanes
  return std::clamp(kPixels / g.pixels(), int64_t{1}, int64_t{8});
}

bool Conv2dGeometry::spatial() const {
  constexpr int64_t kMostFloats = 1 << 20;  // of one thread's planes
  if (depthwise() || kh * kw == 1 || ow < 4 || w < 4) return false;
  return images_together(*this) *
             std::max(cg * output_plane(*this).floats(), og * input_plane(*this).floats()) <=
         kMostFloats;
}

BorderedPlane output_plane(const Conv2dGeometry& g) {
  return bordered_plane(g.oh, g.ow, g.kh, g.kw, g.stride, g.dilation);
}

BorderedPlane input_plane(const Conv2dGeometry& g) {
  return bordered_plane(g.h, g.w, g.kh, g.kw, 1, g.dilation);
}

namespace {

// One int64 per tap.
int64_t offset_floats(int64_t taps) {
  return round_up(2 * taps, kVector);
}

}  // namespace

Conv2dWorkspace forward_workspace(const Conv2dGeometry& g) {
  const BorderedPlane p = output_plane(g);
  if (g.depthwise()) return {0, planes_together(p) * p.floats(), 0};
  if (g.spatial()) return {offset_floats(g.taps()), g.cg * p.floats(), 0};
  return {0, 2 * kPanelRows * kPanelColumns, 0};
}

Conv2dWorkspace grad_input_workspace(const Conv2dGeometry& g, int outputs) {
  const BorderedPlane p = input_plane(g);
  if (g.depthwise()) return {0, planes_together(p) * p.floats() + round_up(g.kh * g.kw, kVector), 0};
  if (g.spatial() && g.stride == 1)
    return {offset_floats(g.og * g.kh * g.kw) + round_up(g.weights(), kVector), g.og * p.floats(), 0};
  // Several weights are copied together.
  return {outputs > 1 ? round_up(g.weights(), kVector) : 0, 2 * kPanelRows * kPanelColumns, 0};
}

Conv2dWorkspace grad_weight_workspace(const Conv2dGeometry& g) {
  const BorderedPlane p = output_plane(g);
  const int64_t partials = weight_gradient_chunks(g) * g.weights();
  if (g.depthwise()) return {0, planes_together(p) * p.floats(), partials};
  if (g.spatial()) return {offset_floats(g.taps()), images_together(g) * g.cg * p.floats(), partials};
  return {0, (kReducedTaps + kReducedOutputs) * kReducedStride + kReducedPixels * kReducedTaps, partials};
}

}  // namespace ladarts
