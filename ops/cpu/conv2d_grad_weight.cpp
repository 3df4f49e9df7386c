// Weight gradients of convolutions with more than one channel per group:
//   d_w (og, taps) = sum over images and pixels of d_y (og, columns) * taps(x) (taps, columns)^T
// by blocks of kReducedPixels columns. Both operands are contiguous along the reduction. Tiles of dot
// products end in sums over lanes, which is little where images are large; else one operand is transposed,
// and the sum runs down the columns: d_y where that is the smaller one, which gives d_w^T; else x's taps,
// unless these fill no whole vectors. Chunks of images are summed apart, then in order.
#include "ops/channels.h"
#include "ops/cpu/conv2d_gather.h"
#include "ops/cpu/conv2d_kernels.h"
#include "ops/cpu/dot_product.h"
#include "ops/cpu/gemm.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/transpose.h"
#include "ops/cpu/vector_sums.h"

namespace ladarts::LADARTS_ISA {
namespace {

// d_y of one output: planes (images, count, pixels) of one group, and the first of its rows in d_w.
struct OutputPlanes {
  Planes planes;
  int64_t count, first;
};

// At a time where columns are neither copied nor transposed: so many channels fit into the second cache.
constexpr int64_t kDotPixels = 1024;
constexpr int64_t kSummedStride = kDotPixels + 16;  // as kReducedStride

// Few products read each pixel once or twice: not worth a copy, where the columns are of one image.
bool reads_in_place(int64_t tiles, int64_t j0, int64_t j1, int64_t pixels) {
  return tiles <= 2 && j0 / pixels == (j1 - 1) / pixels;
}

// Whether at most a quarter of the lanes would be idle.
bool fills_vectors(int64_t taps) {
  return 4 * taps >= 3 * padded_to_vectors(taps);
}

// How many columns d_y is transposed by at a time; 0: x's taps are transposed. An eighth of the lanes would
// be idle at most, and there is room for so many floats.
int64_t columns_by_outputs(const Conv2dGeometry& g) {
  constexpr int64_t kRoom = kReducedPixels * kReducedTaps + kReducedOutputs * kReducedStride;
  const int64_t width = padded_to_vectors(g.og);
  if (8 * g.og < 7 * width || 2 * g.og > g.taps()) return 0;
  for (int64_t columns = kReducedPixels; columns >= kReducedPixels / 2; columns /= 2)
    if (columns * width <= kRoom) return columns;
  return 0;
}

// d_w^T (taps, og) += over columns from j0 on, which are of one image: channels of x are read where they lie.
void multiply_in_place(const Conv2dGeometry& g, const TapSource& x, int64_t j0, float* d_w_t, GemmTile t) {
  const int64_t pixels = g.pixels();
  t.a_row = pixels;
  t.a_far = true;
  GemmRows rows[kMostParts];
  int parts = 0;
  for (int64_t k = 0, run = 0; k < g.taps(); k += run) {
    run = x.x.run(x.channel + k, g.taps() - k);
    float* const c = d_w_t + k * g.og;
    rows[parts++] = {
        run, x.x.plane(x.image + j0 / pixels, x.channel + k, pixels) + j0 % pixels, c, nullptr, nullptr, c};
  }
  if (g.relu_input) {
    gemm<false, true>(rows, parts, t);
  } else {
    gemm(rows, parts, t);
  }
}

// d_w^T (taps, og) += over columns [j0, j1); scratch as for add_columns().
void add_columns_by_outputs(const Conv2dGeometry& g, const TapSource& x, std::span<const OutputPlanes> d_y,
                            int64_t j0, int64_t j1, float* d_w_t, float* scratch) {
  const int64_t pixels = g.pixels(), width = padded_to_vectors(g.og);
  float* const transposed = scratch + kReducedTaps * kReducedStride;
  for (int64_t j = j0; j < j1;) {
    const int64_t image = j / pixels, at = j % pixels, run = std::min(pixels - at, j1 - j);
    for (const auto& [planes, count, first] : d_y)
      transpose<true>(planes.data + image * planes.image_stride + at, pixels, count, run,
                      transposed + (j - j0) * width + first, width);
    j += run;
  }
  GemmTile t{};
  t.k = j1 - j0;
  t.a_k = 1;
  t.b = transposed, t.b_row = width;
  t.c_row = g.og, t.columns = g.og;
  const bool one_image = j0 / pixels == (j1 - 1) / pixels;
  if (g.pointwise() && one_image && !x.sums) {
    multiply_in_place(g, x, j0, d_w_t, t);
    return;
  }
  for (int64_t k0 = 0; k0 < g.taps(); k0 += kReducedTaps) {
    const int64_t k1 = std::min(k0 + kReducedTaps, g.taps());
    gather_taps(g, x, k0, k1, j0, j1, scratch, kReducedStride);
    t.a = scratch, t.a_row = kReducedStride;
    t.c = d_w_t + k0 * g.og;
    t.addend = t.c;
    if (x.sums && one_image)
      t.ahead = {x.x,    x.image + j0 / pixels, x.channel + k1, std::min(kReducedTaps, g.taps() - k1),
                 pixels, j0 % pixels,           j1 - j0,        x.sums};
    gemm(k1 - k0, t);
  }
}

// The same of large images, whose products are long: both operands are read where they lie, with no sum over
// lanes but at their ends. Six channels of x stay in the nearest cache while all of d_y passes; meanwhile the
// next six are asked for. Sums are formed there.
void add_columns_by_dots(const Conv2dGeometry& g, const TapSource& x, std::span<const OutputPlanes> d_y,
                         int64_t j0, int64_t j1, float* d_w_t, float* scratch) {
  const int64_t pixels = g.pixels(), image = j0 / pixels, at = j0 % pixels;
  auto channel = [&](int64_t k) { return x.x.plane(x.image + image, x.channel + k, pixels) + at; };
  auto channels_from = [&](int64_t k) {  // a tile's, of one part
    return std::min<int64_t>(x.x.run(x.channel + k, g.taps() - k), kDotRows);
  };
  int64_t tiles = 0;  // of six channels
  for (const OutputPlanes& output : d_y) tiles += Blocks(output.count, kDotColumns).count;
  DotTile t{};
  t.length = j1 - j0;
  t.a_row = t.b_row = pixels;
  t.c_row = g.og, t.add = true;
  for (int64_t k = 0, rows = 0; k < g.taps(); k += rows) {
    rows = channels_from(k);
    t.a = channel(k);
    FetchAhead ahead;
    if (const int64_t next = k + rows; next < g.taps()) {
      ahead.add(channel(next), t.length, pixels, channels_from(next));
      if (x.sums)
        if (const float* const second = x.sums->second_plane(x.image + image, x.channel + next, pixels))
          ahead.add(second + at, t.length, pixels, channels_from(next));
    }
    ahead.spread(tiles);
    if (x.sums) {
      t.a = scratch, t.a_row = kSummedStride;
      sum_rows(*x.sums, x.image + image, x.channel + k, rows, pixels, at, t.length, scratch, kSummedStride);
    }
    for (const auto& [planes, count, first] : d_y)
      for (int64_t o = 0, columns = 0; o < count; o += columns) {
        columns = std::min<int64_t>(kDotColumns, count - o);
        t.b = planes.data + image * planes.image_stride + o * pixels + at;
        t.c = d_w_t + k * g.og + first + o;
        ahead.some();
        if (g.relu_input && !x.sums) {
          dot_product<true>(rows, columns, t);
        } else {
          dot_product<false>(rows, columns, t);
        }
      }
  }
}

// Tiles of 3 x 4, all that 16 registers hold, load more than they gain.
bool by_dots(const Conv2dGeometry& g) {
  return kTileVectors > 2 && g.pointwise() && g.pixels() >= kReducedPixels;
}

// d_w (og, taps) += over columns [j0, j1); `scratch` holds (kReducedTaps + kReducedOutputs) * kReducedStride
// floats, and kReducedPixels * kReducedTaps for what is transposed.
void add_columns(const Conv2dGeometry& g, const TapSource& x, std::span<const OutputPlanes> d_y, int64_t j0,
                 int64_t j1, float* d_w, float* scratch) {
  const int64_t pixels = g.pixels(), image = j0 / pixels, at = j0 % pixels;
  const bool x_in_place = g.pointwise() && !g.relu_input && x.x.channels == g.c &&
                          reads_in_place((g.og + kDotRows - 1) / kDotRows, j0, j1, pixels);
  const bool d_y_in_place = image == (j1 - 1) / pixels;
  float* outputs = scratch + kReducedTaps * kReducedStride;
  float* transposed = outputs + kReducedOutputs * kReducedStride;
  for (int64_t k0 = 0; k0 < g.taps(); k0 += kReducedTaps) {
    const int64_t k1 = std::min(k0 + kReducedTaps, g.taps());
    if (!x_in_place) gather_taps(g, x, k0, k1, j0, j1, scratch, kReducedStride);
    const float* panel = x_in_place ? x.x.plane(x.image + image, x.channel + k0, pixels) + at : scratch;
    const int64_t panel_row = x_in_place ? pixels : kReducedStride, width = padded_to_vectors(k1 - k0);
    const bool down = fills_vectors(k1 - k0);
    if (down) transpose(panel, panel_row, k1 - k0, j1 - j0, transposed, width);
    auto add_rows = [&](const OutputPlanes& output, int64_t o0, int64_t o1) {
      const Planes& planes = output.planes;
      const Planes source{planes.data + o0 * pixels, planes.image_stride, pixels};
      if (!d_y_in_place) gather_rows(source, o1 - o0, j0, j1, false, outputs, kReducedStride);
      const float* a = d_y_in_place ? source.data + image * source.image_stride + at : outputs;
      const int64_t a_row = d_y_in_place ? pixels : kReducedStride;
      float* c = d_w + (output.first + o0) * g.taps() + k0;
      if (down) {
        GemmTile t{};
        t.k = j1 - j0;
        t.a = a, t.a_row = a_row, t.a_k = 1;
        t.b = transposed, t.b_row = width;
        t.c = c, t.c_row = g.taps(), t.columns = k1 - k0;
        t.addend = c;
        gemm(o1 - o0, t);
      } else {
        DotTile t{};
        t.length = j1 - j0;
        t.a = a, t.a_row = a_row;
        t.b = panel, t.b_row = panel_row;
        t.c = c, t.c_row = g.taps(), t.add = true;
        dot_product(o1 - o0, k1 - k0, t);
      }
    };
    for (const OutputPlanes& output : d_y)
      for (int64_t o0 = 0; o0 < output.count; o0 += kReducedOutputs)
        add_rows(output, o0, std::min(o0 + kReducedOutputs, output.count));
  }
}

}  // namespace

void add_partials(const float* partials, int64_t chunks, int64_t row, int64_t weights, float* d_w,
                  bool accumulate, ThreadPool& pool) {
  constexpr int64_t kGrain = 4096;
  for_chunks(pool, weights, kGrain, [&](int64_t begin, int64_t end) {
    sum_parts(partials + begin, chunks, row, end - begin, d_w + begin, accumulate);
  });
}

namespace {

// d_w (groups, count, taps) (+)= columns of d_w^T (groups, taps, og) turned, group by group.
void turn_weights(const Conv2dGeometry& g, const float* d_w_t, int64_t count, float* d_w, bool accumulate) {
  for (int64_t group = 0; group < g.groups; ++group, d_w_t += g.og * g.taps(), d_w += count * g.taps()) {
    if (!accumulate) {
      transpose<true>(d_w_t, g.og, g.taps(), count, d_w, g.taps());
      continue;
    }
    for (int64_t o = 0; o < count; ++o)
      for (int64_t k = 0; k < g.taps(); ++k) d_w[o * g.taps() + k] += d_w_t[k * g.og + o];
  }
}

// How columns are taken, and so many at a time.
struct ColumnsOf {
  int64_t turned, columns;  // turned: the gradient is d_w^T; 0: it is d_w
  void (*add)(const Conv2dGeometry&, const TapSource&, std::span<const OutputPlanes>, int64_t, int64_t,
              float*, float*);
  explicit ColumnsOf(const Conv2dGeometry& g)
      : turned(by_dots(g) ? kDotPixels : columns_by_outputs(g)),
        columns(turned > 0 ? turned : kReducedPixels),
        add(by_dots(g)   ? add_columns_by_dots
            : turned > 0 ? add_columns_by_outputs
                         : add_columns) {}
};

// Of `images` images from x.image on, whose d_y are those of `of`, of one group.
void add_images(const Conv2dGeometry& g, std::span<const WeightGradient> of, const TapSource& x,
                int64_t group, int64_t images, float* d_w, float* scratch) {
  const int64_t pixels = g.pixels();
  OutputPlanes d_y[kMostParts];
  for (size_t o = 0, first = 0; o < of.size(); first += size_t(d_y[o++].count)) {
    const int64_t count = of[o].rows / g.groups, stride = of[o].rows * pixels;
    d_y[o] = {{of[o].d_y + x.image * stride + group * count * pixels, stride, pixels}, count, int64_t(first)};
  }
  // Large images are cut by themselves: a block that straddles two would be copied.
  const ColumnsOf way(g);
  const int64_t span = pixels < kReducedPixels / 2 ? images * pixels : pixels;
  for (int64_t begin = 0; begin < images * pixels; begin += span)
    for (int64_t j0 = begin; j0 < begin + span; j0 += way.columns)
      way.add(g, x, {d_y, of.size()}, j0, std::min(j0 + way.columns, begin + span), d_w, scratch);
}

}  // namespace

void store_weight_gradient(const Conv2dGeometry& g, std::span<const WeightGradient> of, int64_t chunks,
                           float* partials, ThreadPool& pool) {
  const bool turned = ColumnsOf(g).turned > 0;
  if (turned) add_partials(partials, chunks, g.weights(), g.weights(), partials, false, pool);
  int64_t first = 0;
  for (const WeightGradient& output : of) {
    if (output.d_w && turned)
      turn_weights(g, partials + first, output.rows / g.groups, output.d_w, output.add);
    else if (output.d_w)
      add_partials(partials + first * g.taps(), chunks, g.weights(), output.rows * g.taps(), output.d_w,
                   output.add, pool);
    first += output.rows;
  }
}

void dense_grad_weight(const Conv2dGeometry& g, int outputs, const KernelArgs& a) {
  const ChannelParts x{a.inputs + outputs, a.in_shape(outputs)[1]};
  WeightGradient of[kMostParts];
  for (int o = 0; o < outputs; ++o) of[o] = {a.in_shape(o)[1], a.in(o), a.out(o), a.accumulate(o)};
  const std::span<const WeightGradient> all(of, size_t(outputs));
  const int64_t scratch_floats = grad_weight_workspace(g).per_thread;
  const Blocks chunks(g.n, (g.n + weight_gradient_chunks(g) - 1) / weight_gradient_chunks(g));
  auto* scratch = reinterpret_cast<float*>(a.workspace);
  float* partials = scratch + a.pool->threads() * scratch_floats;
  const int64_t group_weights = g.og * g.taps();
  a.pool->parallel_for(chunks.count * g.groups, [&](int64_t i, int thread) {
    const int64_t chunk = i / g.groups, group = i % g.groups;
    const int64_t n0 = chunks.begin(chunk), images = chunks.begin(chunk + 1) - n0;
    float* d_w = partials + chunk * g.weights() + group * group_weights;
    zero_floats(d_w, group_weights);
    add_images(g, all, {x, n0, group * g.cg}, group, images, d_w, scratch + thread * scratch_floats);
  });
  store_weight_gradient(g, all, chunks.count, partials, *a.pool);
}

void add_weight_gradient(const Conv2dGeometry& g, std::span<const WeightGradient> of, const InputSums& x,
                         int64_t part_channels, int64_t n0, int64_t images, float* partial, float* scratch) {
  const ChannelSums sums{{x.first, part_channels}, {x.second, part_channels}, x.coefficients};
  add_images(g, of, {sums.first, n0, 0, &sums}, 0, images, partial, scratch);
}

}  // namespace ladarts::LADARTS_ISA
