// Geometry of a pooling window with constants known at compile time where that pays.
#pragma once

#include <algorithm>

#include "core/kernel.h"
#include "core/thread_pool.h"
#include "ops/pool2d.h"

namespace ladarts {
namespace {

struct Range {
  int64_t begin, end;
};

// K = 0: window from `desc`. W = 0: width from the shape.
template <int K, int S, int P, int W>
struct PoolWindow {
  Pool2dDesc desc;
  int64_t height, out_height;
  int64_t any_width, any_out_width;

  static constexpr bool is_fixed = K > 0;
  static constexpr Pool2dDesc fixed{K, S, P};

  int kernel() const { return K ? K : desc.kernel; }
  int stride() const { return K ? S : desc.stride; }
  int padding() const { return K ? P : desc.padding; }
  int64_t width() const { return W ? W : any_width; }
  int64_t out_width() const { return W ? (W + 2 * P - K) / S + 1 : any_out_width; }

  // Layout of scratch rows: see Pool2dScratch.
  int64_t lead() const { return K ? Pool2dScratch::lead(fixed) : Pool2dScratch::lead(desc); }
  int64_t row() const { return W ? Pool2dScratch::row(fixed, W) : Pool2dScratch::row(desc, any_width); }

  // Rows of x in the window of output row o; the same for columns.
  Range input_rows(int64_t o) const { return clip(o, height); }
  Range input_columns(int64_t o) const { return clip(o, width()); }
  // Output rows whose window holds row r of x.
  Range output_rows(int64_t r) const {
    const int64_t below =
        r + padding() - kernel();  // the last window start that misses r is at or before this
    const int64_t begin = below < 0 ? 0 : below / stride() + 1;
    return {begin, std::min(out_height, (r + padding()) / stride() + 1)};
  }

 private:
  Range clip(int64_t o, int64_t size) const {
    const int64_t first = o * stride() - padding();
    return {std::max<int64_t>(0, first), std::min<int64_t>(size, first + kernel())};
  }
};

// f(window) for the shapes of an image x and a pooled y.
template <int K, int S, int P, class F>
void with_width(Pool2dDesc d, const Shape& x, const Shape& y, F f) {
  switch (x[3]) {
    case 8:
      return f(PoolWindow<K, S, P, 8>{d, x[2], y[2], x[3], y[3]});
    case 16:
      return f(PoolWindow<K, S, P, 16>{d, x[2], y[2], x[3], y[3]});
    case 32:
      return f(PoolWindow<K, S, P, 32>{d, x[2], y[2], x[3], y[3]});
    default:
      return f(PoolWindow<K, S, P, 0>{d, x[2], y[2], x[3], y[3]});
  }
}

template <class F>
void with_window(Pool2dDesc d, const Shape& x, const Shape& y, F f) {
  if (d.kernel == 3 && d.padding == 1 && d.stride == 1) return with_width<3, 1, 1>(d, x, y, f);
  if (d.kernel == 3 && d.padding == 1 && d.stride == 2) return with_width<3, 2, 1>(d, x, y, f);
  if (d.kernel == 2 && d.padding == 0 && d.stride == 2) return with_width<2, 2, 0>(d, x, y, f);
  f(PoolWindow<0, 0, 0, 0>{d, x[2], y[2], x[3], y[3]});
}

// f(image, first channel, end) for ranges of the first `channels` channels of x; several planes to a task.
template <class F>
void for_images(const KernelArgs& a, const Shape& x, int64_t channels, F f) {
  constexpr int64_t kTaskElements = 16 * 1024;
  const int64_t grain = std::max<int64_t>(1, kTaskElements / (x[2] * x[3]));
  const int64_t tasks = (channels + grain - 1) / grain;  // of an image
  a.pool->parallel_for(x[0] * tasks, [&](int64_t task, int) {
    const int64_t begin = task % tasks * grain;
    f(task / tasks, begin, std::min(channels, begin + grain));
  });
}

// f(image, channel, scratch of this thread) for every plane of the first `channels` channels of x; several
// planes to a task.
template <class Setup, class F>
void for_planes(const KernelArgs& a, const Shape& x, int64_t channels, const Pool2dScratch& scratch,
                Setup setup, F f) {
  constexpr int64_t kTaskElements = 16 * 1024;
  const int64_t planes = x[0] * channels, grain = std::max<int64_t>(1, kTaskElements / (x[2] * x[3]));
  a.pool->parallel_for((planes + grain - 1) / grain, [&](int64_t task, int thread) {
    float* memory = reinterpret_cast<float*>(a.workspace) + thread * scratch.thread_floats;
    setup(memory);
    for (int64_t p = task * grain; p < std::min(planes, (task + 1) * grain); ++p)
      f(p / channels, p % channels, memory);
  });
}

}  // namespace
}  // namespace ladarts
