// Copies of one image plane into scratch with a zero border (BorderedPlane), for the depthwise kernels.
#pragma once

#include <algorithm>

#include "ops/conv2d_plan.h"
#include "ops/cpu/conv2d_gather.h"
#include "ops/cpu/simd.h"

namespace ladarts {
namespace {

// Where tap (p, q) lies, from the place of the output's own first tap.
inline int64_t tap_offset(const Conv2dGeometry& g, const BorderedPlane& layout, int64_t stride, int64_t p,
                          int64_t q) {
  const int64_t column = q * g.dilation;
  return p * g.dilation * layout.row_stride + column % stride * layout.phase_stride + column / stride;
}

// Of all taps (channel, p, q), the planes of `channels` one after the other.
inline void tap_offsets(const Conv2dGeometry& g, const BorderedPlane& layout, int64_t channels,
                        int64_t stride, int64_t* offsets) {
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t p = 0; p < g.kh; ++p)
      for (int64_t q = 0; q < g.kw; ++q)
        *offsets++ = c * layout.floats() + tap_offset(g, layout, stride, p, q);
}

// Scratch row r holds source row r - padding; scratch column c source column c - padding, where they exist.
// With stride > 1, columns are split by c % stride.
struct PlaneCopy {
  BorderedPlane layout;
  int64_t columns, padding, stride;
  int64_t row_end;  // source rows with a place
  struct Phase {
    int64_t first, place, count;  // source column, scratch offset in the row, columns
  };
  static constexpr int64_t kPhases = 4;  // larger strides are copied phase by phase without this table

  PlaneCopy(const Conv2dGeometry& g, const BorderedPlane& p)
      : layout(p),
        columns(g.w),
        padding(g.padding),
        stride(g.stride),
        row_end(std::min(g.h, p.rows - g.padding)) {
    for (int64_t i = 0; i < std::min(stride, kPhases); ++i) phases[i] = phase(i);
  }
  Phase phase(int64_t i) const {
    const int64_t first = ((i - padding) % stride + stride) % stride, at = (first + padding) / stride;
    return {first, i * layout.phase_stride + at,
            std::min((columns - first + stride - 1) / stride, layout.phase_stride - at)};
  }
  Phase phases[kPhases];

  // Where in scratch the plane begins, so that the first source pixels of rows are aligned to vectors.
  float* begin(float* scratch) const {
    return scratch + (kPlaneAlignment - padding / stride % kPlaneAlignment) % kPlaneAlignment;
  }
};

// Only the places of source pixels are written.
inline void copy_plane(const PlaneCopy& c, const float* source, bool relu_input, float* plane) {
  float* to = plane + c.padding * c.layout.row_stride;
  const int64_t fits = std::min(c.columns, c.layout.row_stride - c.padding);
  for (int64_t y = 0; y < c.row_end; ++y, source += c.columns, to += c.layout.row_stride) {
    if (c.stride == 1) {
      copy_floats(to + c.padding, source, fits, relu_input);
      continue;
    }
    for (int64_t i = 0; i < c.stride; ++i) {
      const PlaneCopy::Phase p = i < PlaneCopy::kPhases ? c.phases[i] : c.phase(i);
      if (p.count > 0) copy_strided(to + p.place, source + p.first, p.count, c.stride, relu_input);
    }
  }
}

// For the gradient of the input, from d_y: source pixel (y, x) goes to scratch row y * stride + top, column
// x * stride + left. Either may be negative: pixels without a place are left out.
struct PlaneSpread {
  BorderedPlane layout;
  int64_t top, left, stride;
  int64_t columns;
  int64_t y0, y1, x0, x1;  // source pixels that have a place

  float* begin(float* scratch) const {
    return scratch + (kPlaneAlignment - std::max<int64_t>(left, 0) % kPlaneAlignment) % kPlaneAlignment;
  }

  PlaneSpread(const Conv2dGeometry& g, const BorderedPlane& p)
      : layout(p),
        top(g.dilation * (g.kh - 1) - g.padding),
        left(g.dilation * (g.kw - 1) - g.padding),
        stride(g.stride),
        columns(g.ow) {
    y0 = top >= 0 ? 0 : (-top + stride - 1) / stride;
    x0 = left >= 0 ? 0 : (-left + stride - 1) / stride;
    y1 = std::min(g.oh, (layout.rows - 1 - top) / stride + 1);
    x1 = std::min(g.ow, (layout.row_stride - 1 - left) / stride + 1);
  }
};

inline void spread_plane(const PlaneSpread& s, const float* source, float* scratch) {
  for (int64_t y = s.y0; y < s.y1; ++y) {
    const float* from = source + y * s.columns;
    float* to = scratch + (y * s.stride + s.top) * s.layout.row_stride + s.left;
    if (s.stride == 1) {
      copy_floats(to + s.x0, from + s.x0, s.x1 - s.x0, false);
    } else {
      for (int64_t x = s.x0; x < s.x1; ++x) to[x * s.stride] = from[x];
    }
  }
}

}  // namespace
}  // namespace ladarts
