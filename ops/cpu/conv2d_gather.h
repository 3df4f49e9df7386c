// The implicit matrix of a convolution: row k = (channel, p, q) is a tap, column j = (image, output pixel).
// Gathering writes a block of it, with its zero padding and ReLU, to cache-sized scratch; scattering adds a
// block of its gradient back to the image. Images may be taken together: column j lies in image j / pixels.
#pragma once

#include <algorithm>

#include "ops/conv2d_plan.h"
#include "ops/cpu/channel_parts.h"
#include "ops/cpu/channel_sums.h"
#include "ops/cpu/copy_floats.h"
#include "ops/cpu/simd.h"

namespace ladarts {
namespace {

inline void zero_floats(float* to, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store<kLanes>(to + i, Vec<kLanes>{});
  for (; i < n; ++i) to[i] = 0.f;
}

// to[i] = from[i * stride], i < n.
inline void copy_strided(float* to, const float* from, int64_t n, int64_t stride, bool relu_input) {
  if (stride != 2) {
    for (int64_t i = 0; i < n; ++i) to[i] = relu_input && !(from[i * stride] > 0.f) ? 0.f : from[i * stride];
    return;
  }
  // Whole vectors; nothing is read behind the last float that is copied.
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const float* source = from + 2 * i;
    const Vec<kLanes> v = even_then_odd<kLanes>(load<kLanes>(source), load<kLanes>(source + kLanes - 1));
    store<kLanes>(to + i, relu_input ? relu<kLanes>(v) : v);
  }
  if (i == n) return;
  const int64_t count = n - i, floats = 2 * count - 1;
  const float* source = from + 2 * i;
  const Vec<kLanes> low = load_first<kLanes>(source, std::min<int64_t>(kLanes, floats));
  const Vec<kLanes> high =
      floats > kLanes ? load_first<kLanes>(source + kLanes, floats - kLanes) : Vec<kLanes>{};
  const Vec<kLanes> even = even_lanes<kLanes>(low, high);
  store_first<kLanes>(to + i, relu_input ? relu<kLanes>(even) : even, count);
}

inline int64_t padded_to_vectors(int64_t n) {
  return (n + kLanes - 1) / kLanes * kLanes;
}

// A stack of planes: image n's row r at data + n * image_stride + r * pixels.
struct Planes {
  const float* data;
  int64_t image_stride, pixels;
};

// Rows [0, rows) of `from`, columns [j0, j1), to `panel`; each row is filled with zeros to whole vectors.
inline void gather_rows(const Planes& from, int64_t rows, int64_t j0, int64_t j1, bool relu_input,
                        float* panel, int64_t panel_stride) {
  const int64_t rest = padded_to_vectors(j1 - j0) - (j1 - j0);
  for (int64_t j = j0; j < j1;) {
    const int64_t image = j / from.pixels, at = j % from.pixels, run = std::min(from.pixels - at, j1 - j);
    const float* source = from.data + image * from.image_stride + at;
    for (int64_t r = 0; r < rows; ++r)
      copy_floats(panel + r * panel_stride + (j - j0), source + r * from.pixels, run, relu_input);
    j += run;
  }
  if (rest > 0)
    for (int64_t r = 0; r < rows; ++r) zero_floats(panel + r * panel_stride + (j1 - j0), rest);
}

// One tap (p, q) of one input plane: output column x reads input column x * stride + shift, inside for x in
// [first, last).
struct TapRow {
  int64_t shift, first, last;
  TapRow(const Conv2dGeometry& g, int64_t q) : shift(q * g.dilation - g.padding) {
    first = shift >= 0 ? 0 : std::min(g.ow, (-shift + g.stride - 1) / g.stride);
    last = g.w - 1 - shift < 0 ? 0 : std::min(g.ow, (g.w - 1 - shift) / g.stride + 1);
    last = std::max(first, last);
  }
};

// Calls f(at, run, source) for columns [j0, j1) of tap row k cut at the ends of output rows: `run` columns
// from column j0 + at on; source < 0 where all of them see padding, else the offset in the images of the
// input of the first. Padding left and right comes as runs of its own.
template <class F>
inline void for_tap_runs(const Conv2dGeometry& g, int64_t k, int64_t j0, int64_t j1, F f) {
  const int64_t channel = k / (g.kh * g.kw), p = k / g.kw % g.kh, pixels = g.pixels();
  const TapRow tap(g, k % g.kw);
  int64_t image = j0 / pixels, y = j0 % pixels / g.ow, x = j0 % g.ow;
  for (int64_t j = j0; j < j1;) {
    const int64_t end = std::min(g.ow, x + (j1 - j)), row = y * g.stride - g.padding + p * g.dilation;
    const bool inside = row >= 0 && row < g.h;
    const int64_t first = inside ? std::clamp(tap.first, x, end) : end;
    const int64_t last = inside ? std::clamp(tap.last, first, end) : end;
    if (first > x) f(j - j0, first - x, int64_t{-1});
    if (last > first)
      f(j - j0 + first - x, last - first,
        ((image * g.c + channel) * g.h + row) * g.w + first * g.stride + tap.shift);
    if (end > last) f(j - j0 + last - x, end - last, int64_t{-1});
    j += end - x;
    x = 0;
    if (++y == g.oh) y = 0, ++image;
  }
}

// What taps are gathered from: the channels of a group from `channel` on, columns counted from `image` on.
struct TapSource {
  ChannelParts x;
  int64_t image, channel;
  const ChannelSums* sums = nullptr;  // pointwise: in place of x, whole vectors of each image
};

// Taps [k0, k1) of columns [j0, j1) to `panel`, rows filled with zeros to whole vectors.
inline void gather_taps(const Conv2dGeometry& g, const TapSource& source_of, int64_t k0, int64_t k1,
                        int64_t j0, int64_t j1, float* panel, int64_t panel_stride) {
  const ChannelParts& parts = source_of.x;
  if (source_of.sums) {
    const int64_t pixels = g.pixels();
    for (int64_t j = j0, run = 0; j < j1; j += run) {
      run = std::min(pixels - j % pixels, j1 - j);
      sum_rows(*source_of.sums, source_of.image + j / pixels, source_of.channel + k0, k1 - k0, pixels,
               j % pixels, run, panel + (j - j0), panel_stride);
    }
    return;
  }
  if (g.pointwise()) {
    for (int64_t k = k0, rows = 0; k < k1; k += rows, panel += rows * panel_stride) {
      const int64_t channel = source_of.channel + k;
      rows = parts.run(channel, k1 - k);
      const Planes planes{parts.plane(source_of.image, channel, g.pixels()), parts.channels * g.pixels(),
                          g.pixels()};
      gather_rows(planes, rows, j0, j1, g.relu_input, panel, panel_stride);
    }
    return;
  }
  const float* x = parts.plane(source_of.image, source_of.channel, g.h * g.w);
  for (int64_t k = k0; k < k1; ++k, panel += panel_stride) {
    for_tap_runs(g, k, j0, j1, [&](int64_t at, int64_t run, int64_t source) {
      float* to = panel + at;
      if (source < 0) return zero_floats(to, run);
      const float* from = x + source;
      if (g.stride == 1) return copy_floats(to, from, run, g.relu_input);
      copy_strided(to, from, run, g.stride, g.relu_input);
    });
    zero_floats(panel + (j1 - j0), padded_to_vectors(j1 - j0) - (j1 - j0));
  }
}

// d_x += the gradient panel of taps [k0, k1), columns [j0, j1), where x > 0 or x is null.
inline void scatter_taps(const Conv2dGeometry& g, const float* panel, int64_t panel_stride, int64_t k0,
                         int64_t k1, int64_t j0, int64_t j1, const float* x, float* d_x) {
  for (int64_t k = k0; k < k1; ++k, panel += panel_stride)
    for_tap_runs(g, k, j0, j1, [&](int64_t at, int64_t run, int64_t source) {
      if (source < 0) return;
      const float* from = panel + at;
      if (g.stride > 1) {
        for (int64_t i = 0; i < run; ++i)
          if (!x || x[source + i * g.stride] > 0.f) d_x[source + i * g.stride] += from[i];
        return;
      }
      for (int64_t i = 0; i < run; i += kLanes) {
        const int64_t n = std::min<int64_t>(kLanes, run - i);
        Vec<kLanes> v = load_first<kLanes>(from + i, n);
        if (x) v = load_first<kLanes>(x + source + i, n) > 0.f ? v : Vec<kLanes>{};
        store_first<kLanes>(d_x + source + i, load_first<kLanes>(d_x + source + i, n) + v, n);
      }
    });
}

}  // namespace
}  // namespace ladarts
