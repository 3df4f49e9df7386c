// Convolutions with more than one channel per group, pointwise ones above all, as matrix products whose right
// side is gathered panel by panel (ops/cpu/conv2d_gather.h); no image-to-column matrix ever exists.
//
//   forward      y   (og, columns) = w (og, taps) * taps(x) (taps, columns)
//   grad input   taps(d_x)         = w^T (taps, og) * d_y (og, columns), scattered; pointwise: d_x itself
//   grad weight  d_w (og, taps)    = d_y (og, columns) * taps(x)^T, reduced along contiguous pixels
#include <cstring>

#include "ops/channels.h"
#include "ops/cpu/conv2d_gather.h"
#include "ops/cpu/conv2d_kernels.h"
#include "ops/cpu/gemm.h"
#include "ops/cpu/parallel.h"

namespace ladarts::LADARTS_ISA {
namespace {

// Tiles of up to kPanelColumns columns. Small images are taken together, so that vectors stay full.
struct Tiles {
  int64_t columns, span, spans, per_span;
  explicit Tiles(const Conv2dGeometry& g) {
    const bool together = g.pixels() < kSharedColumns / 2;
    span = together ? g.n * g.pixels() : g.pixels();
    spans = together ? 1 : g.n;
    columns = together ? kSharedColumns : kPanelColumns;
    // Few images are cut finer rather than by rows: each cut reads the columns again.
    while (columns > kSharedColumns && g.groups * spans * ((span + columns - 1) / columns) < kEnoughTasks)
      columns /= 2;
    per_span = (span + columns - 1) / columns;
  }
  int64_t count() const { return spans * per_span; }
  int64_t begin(int64_t i) const { return i / per_span * span + i % per_span * columns; }
  int64_t end(int64_t i) const { return std::min(begin(i) + columns, (i / per_span + 1) * span); }
};

// Rows of a product over planes that lie in one value: c's row r of image n at n * image_stride + r * pixels,
// mask alike.
struct PlaneRows {
  int64_t count;
  const float* a;
  float* c;
  int64_t image_stride;
  const float *bias, *mask;
  bool add;
};

// c (rows, columns) (+)= a * b over planes.
struct PlaneProduct {
  int64_t k, a_row, a_k;
  int64_t pixels;
  bool far;         // planes of several images: not all in the cache
  RowsAhead ahead;  // of all k
  int parts = 1;
  PlaneRows rows[kMostParts] = {};
};

// The columns of the next tile, of `rows` channels from `first` on, where they are of one image.
RowsAhead tile_ahead(const Tiles& tiles, int64_t tile, const ChannelParts& source, int64_t pixels,
                     int64_t first, int64_t rows, const ChannelSums* sums = nullptr) {
  if (tile + 1 >= tiles.count()) return {};
  const int64_t j0 = tiles.begin(tile + 1), j1 = tiles.end(tile + 1), image = j0 / pixels;
  if (image != (j1 - 1) / pixels) return {};
  return {source, image, first, rows, pixels, j0 % pixels, j1 - j0, sums};
}

// Floats from row to row of a panel of columns [j0, j1): rows lie close, so that a panel fills the cache
// evenly.
int64_t panel_stride(int64_t j0, int64_t j1) {
  return padded_to_vectors(j1 - j0);
}

// By way of `scratch`, where columns are of several images.
void multiply_straddling(const PlaneProduct& p, const PlaneRows& part, GemmTile t, bool add, int64_t j0,
                         int64_t j1, float* scratch) {
  t.c = scratch, t.c_row = panel_stride(j0, j1), t.far = false;
  for (int64_t r0 = 0; r0 < part.count; r0 += kPanelRows) {
    const int64_t rows = std::min(kPanelRows, part.count - r0);
    gemm(rows, t);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t j = j0; j < j1; ++j) {
        const int64_t at = j / p.pixels * part.image_stride + (r0 + r) * p.pixels + j % p.pixels;
        const float v = part.mask && !(part.mask[at] > 0.f) ? 0.f : scratch[r * t.c_row + j - j0];
        part.c[at] = add ? part.c[at] + v : v;
      }
    t.a += kPanelRows * t.a_row;
    if (t.bias) t.bias += kPanelRows;
  }
}

// What all products of columns [j0, j1) have in common.
GemmTile columns_of(const PlaneProduct& p, int64_t j0, int64_t j1) {
  GemmTile t{};
  t.k = p.k;
  t.a_row = p.a_row, t.a_k = p.a_k;
  t.c_row = p.pixels;
  t.columns = j1 - j0;
  t.far = p.far;
  t.ahead = p.ahead;
  return t;
}

GemmRows rows_of(const PlaneRows& part, const PlaneProduct& p, int64_t k0, int64_t j0) {
  const int64_t at = j0 / p.pixels * part.image_stride + j0 % p.pixels;
  float* const c = part.c + at;
  return {part.count,
          part.a + k0 * p.a_k,
          c,
          k0 == 0 ? part.bias : nullptr,
          part.mask ? part.mask + at : nullptr,
          part.add || k0 > 0 ? c : nullptr};
}

// Columns [j0, j1) of taps [k0, k1), whose panel is b. `scratch` holds kPanelRows x kPanelColumns floats.
void multiply_panel(const PlaneProduct& p, int64_t k0, int64_t k1, const float* b, int64_t b_row, int64_t j0,
                    int64_t j1, float* scratch) {
  GemmTile t = columns_of(p, j0, j1);
  t.k = k1 - k0;
  t.b = b, t.b_row = b_row;
  t.ahead.first += k0, t.ahead.rows = k1 - k0;
  const bool straddles = j0 / p.pixels != (j1 - 1) / p.pixels;
  GemmRows rows[kMostParts];
  for (int i = 0; i < p.parts; ++i) {
    const PlaneRows& part = p.rows[i];
    if (straddles) {
      t.a = part.a + k0 * p.a_k, t.bias = k0 == 0 ? part.bias : nullptr;
      multiply_straddling(p, part, t, part.add || k0 > 0, j0, j1, scratch);
    } else {
      rows[i] = rows_of(part, p, k0, j0);
    }
  }
  if (!straddles) gemm(rows, p.parts, t);
}

// Whether multiply_source() takes columns [j0, j1) of `taps` taps.
bool copies_tiles(int64_t taps, int64_t j0, int64_t j1, int64_t pixels) {
  return (j1 - j0) % kLanes == 0 && j0 / pixels == (j1 - 1) / pixels &&
         taps * kTileColumns <= 2 * kPanelRows * kPanelColumns;
}

// Columns [j0, j1) of all taps, whose rows are planes of `source` from channel `first` on. Copied to
// `scratch` tile by tile.
void multiply_source(const PlaneProduct& p, const TapSource& source, bool relu, int64_t j0, int64_t j1,
                     float* scratch) {
  const RowSource from{source.x, j0 / p.pixels, source.channel, p.pixels, j0 % p.pixels, relu, source.sums};
  GemmTile t = columns_of(p, j0, j1);
  t.b = scratch, t.b_row = kTileColumns;
  t.source = &from;
  GemmRows rows[kMostParts];
  for (int i = 0; i < p.parts; ++i) rows[i] = rows_of(p.rows[i], p, 0, j0);
  gemm<true>(rows, p.parts, t);
}

// Runs task(group, row0, row1, tile, scratch) over all rows of all groups and all tiles; where threads share
// few tiles, these are cut by rows.
template <class F>
void for_products(const Conv2dGeometry& g, const Tiles& tiles, int64_t rows, const KernelArgs& a,
                  float* scratch, F task) {
  const int64_t whole = g.groups * tiles.count(), enough = a.pool->threads() > 1 ? kEnoughTasks : 1;
  const int64_t cuts =
      std::clamp((enough + whole - 1) / whole, int64_t{1}, (rows + kTileRows - 1) / kTileRows);
  const Blocks blocks(rows, (rows + cuts - 1) / cuts);
  a.pool->parallel_for(whole * blocks.count, [&](int64_t i, int thread) {
    const int64_t cut = i % blocks.count, tile = i / blocks.count % tiles.count(),
                  group = i / blocks.count / tiles.count();
    task(group, blocks.begin(cut), blocks.begin(cut + 1), tile,
         scratch + thread * 2 * kPanelRows * kPanelColumns);
  });
}

// Few rows read each column once or twice: not worth a copy, where the columns are whole vectors of one
// image.
bool reads_in_place(int64_t rows, int64_t j0, int64_t j1, int64_t pixels) {
  return rows <= 2 * kTileRows && (j1 - j0) % kLanes == 0 && j0 / pixels == (j1 - 1) / pixels;
}

// Calls f(i, first, begin, end) for channels [begin, end) of value i where they are among channels [c0, c1)
// of `count` values (N, C_i, H, W) that count on from one to the next; value i's begin at `first`.
template <class F>
void for_values(const Shape* shapes, int count, int64_t c0, int64_t c1, F f) {
  for (int64_t i = 0, first = 0; i < count; first += shapes[i++][1]) {
    const int64_t begin = std::max(first, c0), end = std::min(first + shapes[i][1], c1);
    if (begin < end) f(int(i), first, begin, end);
  }
}

// What `count` values (N, C_i, H, W) are as parts of one; none where their channels differ.
ChannelParts as_parts(void* const* values, const Shape* shapes, int count) {
  for (int i = 1; i < count; ++i)
    if (shapes[i][1] != shapes[0][1]) return {};
  return {values, shapes[0][1]};
}

// The weights (O_i, C, 1, 1) of all outputs below each other: `copy` where there are several.
const float* joined_weights(const Conv2dGeometry& g, int outputs, const KernelArgs& a, float* copy) {
  if (outputs == 1) return a.in(1);
  a.pool->parallel_for(outputs, [&](int64_t output, int) {
    int64_t before = 0;
    for (int i = 0; i < int(output); ++i) before += a.in_shape(i)[1];
    std::memcpy(copy + before * g.cg, a.in(outputs + int(output)),
                size_t(a.in_shape(int(output))[1] * g.cg) * sizeof(float));
  });
  return copy;
}

// Pointwise gradients of the input: as forward, with transposed weights. Rows are the channels of all parts
// that are wanted, one part after the other.
void pointwise_grad_input(const Conv2dGeometry& g, std::span<const int> parts, int outputs,
                          const KernelArgs& a) {
  const Tiles tiles(g);
  const int64_t pixels = g.pixels(), channels = a.out_shape(0)[1];  // of one part
  const int64_t per_group = channels / g.groups;                    // more than one group: one part
  auto* const workspace = reinterpret_cast<float*>(a.workspace);
  const float* w = joined_weights(g, outputs, a, workspace);
  const ChannelParts d_y = as_parts(a.inputs, a.input_shapes, outputs);
  for_products(
      g, tiles, per_group * int64_t(parts.size()), a, workspace + grad_input_workspace(g, outputs).shared,
      [&](int64_t group, int64_t c0, int64_t c1, int64_t tile, float* scratch) {
        const int64_t j0 = tiles.begin(tile), j1 = tiles.end(tile), first_k = group * g.og;
        PlaneProduct p{.k = g.og,
                       .a_row = 1,
                       .a_k = g.cg,
                       .pixels = pixels,
                       .far = g.n > 1,
                       .ahead = tile_ahead(tiles, tile, d_y, pixels, first_k, g.og),
                       .parts = 0};
        for (int64_t c = c0, end = 0; c < c1; c = end) {
          const int out = int(c / per_group);
          end = std::min(c1, (out + 1) * per_group);
          const int64_t channel = c % per_group, first = (group * per_group + channel) * pixels;
          p.rows[p.parts++] = {.count = end - c,
                               .a = w + first_k * g.cg + parts[size_t(out)] * channels + channel,
                               .c = a.out(out) + first,
                               .image_stride = channels * pixels,
                               .bias = nullptr,
                               .mask = g.relu_input ? a.in(2 * outputs + out) + first : nullptr,
                               .add = a.accumulate(out)};
        }
        if (outputs == 1 && reads_in_place(c1 - c0, j0, j1, pixels)) {
          const float* b = d_y.plane(j0 / pixels, first_k, pixels) + j0 % pixels;
          return multiply_panel(p, 0, g.og, b, pixels, j0, j1, scratch);
        }
        const int64_t stride = panel_stride(j0, j1);
        for (int64_t k0 = 0; k0 < g.og; k0 += kPanelRows) {
          const int64_t k1 = std::min(k0 + kPanelRows, g.og);
          for_values(
              a.input_shapes, outputs, first_k + k0, first_k + k1,
              [&](int i, int64_t first, int64_t begin, int64_t end) {
                const Planes source{a.in(i) + (begin - first) * pixels, a.in_shape(i)[1] * pixels, pixels};
                gather_rows(source, end - begin, j0, j1, false, scratch + (begin - first_k - k0) * stride,
                            stride);
              });
          multiply_panel(p, k0, k1, scratch, stride, j0, j1, scratch + kPanelRows * kPanelColumns);
        }
      });
}

// The gradient of one panel of columns: products with w^T block by block, each scattered.
void scatter_panel(const Conv2dGeometry& g, const float* w, const Planes& d_y, int64_t j0, int64_t j1,
                   const float* x, float* d_x, float* scratch) {
  const int64_t stride = panel_stride(j0, j1);
  float* taps = scratch + kPanelRows * kPanelColumns;
  for (int64_t k0 = 0; k0 < g.taps(); k0 += kPanelRows) {
    const int64_t k1 = std::min(k0 + kPanelRows, g.taps());
    for (int64_t o0 = 0; o0 < g.og; o0 += kPanelRows) {
      const int64_t o1 = std::min(o0 + kPanelRows, g.og);
      gather_rows({d_y.data + o0 * d_y.pixels, d_y.image_stride, d_y.pixels}, o1 - o0, j0, j1, false, scratch,
                  stride);
      GemmTile t{};
      t.k = o1 - o0;
      t.a = w + o0 * g.taps() + k0, t.a_row = 1, t.a_k = g.taps();
      t.b = scratch, t.b_row = stride;
      t.c = taps, t.c_row = stride, t.columns = j1 - j0;
      t.addend = o0 > 0 ? t.c : nullptr;
      gemm(k1 - k0, t);
    }
    scatter_taps(g, taps, stride, k0, k1, j0, j1, x, d_x);
  }
}

// Weights are operands from `weights_at` on, biases, where there are any, follow. sums: in place of x, whose
// first terms x are.
void forward(const Conv2dGeometry& g, int parts, int outputs, int weights_at, bool biased,
             const ChannelParts& x, const ChannelSums* sums, const KernelArgs& a) {
  const Tiles tiles(g);
  const int64_t pixels = g.pixels();
  for_products(
      g, tiles, g.og, a, reinterpret_cast<float*>(a.workspace),
      [&](int64_t group, int64_t o0, int64_t o1, int64_t tile, float* scratch) {
        const int64_t j0 = tiles.begin(tile), j1 = tiles.end(tile), first_o = group * g.og;
        const TapSource source{x, 0, group * g.cg, sums};
        const bool one_to_one = g.pointwise() && g.n > 1;
        PlaneProduct p{.k = g.taps(),
                       .a_row = g.taps(),
                       .a_k = 1,
                       .pixels = pixels,
                       .far = g.n > 1,
                       .ahead = one_to_one
                                    ? tile_ahead(tiles, tile, x, pixels, source.channel, g.taps(), sums)
                                    : RowsAhead(),
                       .parts = 0};
        for_values(a.output_shapes, outputs, first_o + o0, first_o + o1,
                   [&](int i, int64_t first, int64_t begin, int64_t end) {
                     const int64_t o = begin - first;  // in its own output
                     p.rows[p.parts++] = {.count = end - begin,
                                          .a = a.in(weights_at + i) + o * g.taps(),
                                          .c = a.out(i) + o * pixels,
                                          .image_stride = a.out_shape(i)[1] * pixels,
                                          .bias = biased ? a.in(weights_at + outputs + i) + o : nullptr,
                                          .mask = nullptr,
                                          .add = false};
                   });
        if (g.pointwise() && !g.relu_input && parts == 1 && reads_in_place(o1 - o0, j0, j1, pixels)) {
          const float* b = x.plane(j0 / pixels, source.channel, pixels) + j0 % pixels;
          return multiply_panel(p, 0, p.k, b, pixels, j0, j1, scratch);
        }
        if (g.pointwise() && copies_tiles(p.k, j0, j1, pixels))
          return multiply_source(p, source, g.relu_input, j0, j1, scratch);
        const int64_t stride = panel_stride(j0, j1);
        for (int64_t k0 = 0; k0 < p.k; k0 += kPanelRows) {
          const int64_t k1 = std::min(k0 + kPanelRows, p.k);
          gather_taps(g, source, k0, k1, j0, j1, scratch, stride);
          multiply_panel(p, k0, k1, scratch, stride, j0, j1, scratch + kPanelRows * kPanelColumns);
        }
      });
}

}  // namespace

void dense_forward(const Conv2dGeometry& g, int parts, int outputs, const KernelArgs& a) {
  forward(g, parts, outputs, parts, a.n_inputs > parts + outputs, {a.inputs, g.c / parts}, nullptr, a);
}

void sum_forward(const Conv2dGeometry& g, int parts, int outputs, int weights_at, const InputSums& x,
                 const KernelArgs& a) {
  const int64_t channels = g.c / parts;
  const ChannelSums sums{{x.first, channels}, {x.second, channels}, x.coefficients};
  forward(g, parts, outputs, weights_at, false, sums.first, &sums, a);
}

void dense_grad_input(const Conv2dGeometry& g, std::span<const int> parts, int outputs, const KernelArgs& a) {
  if (g.pointwise()) return pointwise_grad_input(g, parts, outputs, a);
  const float *d_y = a.in(0), *w = a.in(1), *x = g.relu_input ? a.in(2) : nullptr;
  // A task owns the images that it scatters to; small ones are taken together to fill a panel.
  const int64_t pixels = g.pixels(), images = std::max<int64_t>(1, kSharedColumns / pixels);
  const int64_t tasks = (g.n + images - 1) / images;
  auto* scratches = reinterpret_cast<float*>(a.workspace);
  a.pool->parallel_for(tasks * g.groups, [&](int64_t i, int thread) {
    const int64_t group = i % g.groups, n0 = i / g.groups * images, n1 = std::min(n0 + images, g.n);
    const int64_t plane = g.h * g.w, first = (n0 * g.c + group * g.cg) * plane;
    float* d_x = a.out(0) + first;
    if (!a.accumulate(0))
      for (int64_t n = n0; n < n1; ++n) zero_floats(d_x + (n - n0) * g.c * plane, g.cg * plane);
    const Planes source{d_y + (n0 * g.o + group * g.og) * pixels, g.o * pixels, pixels};
    for (int64_t j0 = 0; j0 < (n1 - n0) * pixels; j0 += kPanelColumns)
      scatter_panel(g, w + group * g.og * g.taps(), source, j0,
                    std::min(j0 + kPanelColumns, (n1 - n0) * pixels), x ? x + first : nullptr, d_x,
                    scratches + thread * 2 * kPanelRows * kPanelColumns);
  });
}

}  // namespace ladarts::LADARTS_ISA
