// Weight gradients of convolutions with more than one channel per group:
//   d_w (og, taps) = sum over images and pixels of d_y (og, columns) * taps(x) (taps, columns)^T
// by blocks of kReducedPixels columns. Both operands are contiguous along the reduction, so one of them is
// transposed, and the sum runs down the columns: d_y where that is the smaller one, which gives d_w^T; else
// x's taps. Where these fill no whole vectors, tiles of dot products end in sums over lanes, a quarter of
// their time. Chunks of images are summed apart, then in order.
#include "ops/cpu/conv2d_gather.h"
#include "ops/cpu/conv2d_kernels.h"
#include "ops/cpu/gemm.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/transpose.h"
#include "ops/cpu/vector_sums.h"

namespace ladarts::LADARTS_ISA {
namespace {

// Few products read each pixel once or twice: not worth a copy, where the columns are of one image.
bool reads_in_place(int64_t tiles, int64_t j0, int64_t j1, int64_t pixels) {
  return tiles <= 2 && j0 / pixels == (j1 - 1) / pixels;
}

// Whether at most a quarter of the lanes would be idle.
bool fills_vectors(int64_t taps) {
  return 4 * taps >= 3 * padded_to_vectors(taps);
}

// Whether d_y is transposed: an eighth of the lanes would be idle at most, and there is room for kMostOutputs
// floats of each pixel.
bool by_outputs(const Conv2dGeometry& g) {
  constexpr int64_t kMostOutputs =
      (kReducedPixels * kReducedTaps + kReducedOutputs * kReducedStride) / kReducedPixels;
  return 8 * g.og >= 7 * padded_to_vectors(g.og) && 2 * g.og <= g.taps() &&
         padded_to_vectors(g.og) <= kMostOutputs;
}

// d_w^T (taps, og) += over columns [j0, j1); scratch as for add_columns().
void add_columns_by_outputs(const Conv2dGeometry& g, const TapSource& x, const Planes& d_y, int64_t j0,
                            int64_t j1, float* d_w_t, float* scratch) {
  const int64_t pixels = g.pixels(), width = padded_to_vectors(g.og);
  float* const transposed = scratch + kReducedTaps * kReducedStride;
  for (int64_t j = j0; j < j1;) {
    const int64_t image = j / pixels, at = j % pixels, run = std::min(pixels - at, j1 - j);
    transpose(d_y.data + image * d_y.image_stride + at, pixels, g.og, run, transposed + (j - j0) * width,
              width);
    j += run;
  }
  for (int64_t k0 = 0; k0 < g.taps(); k0 += kReducedTaps) {
    const int64_t k1 = std::min(k0 + kReducedTaps, g.taps());
    gather_taps(g, x, k0, k1, j0, j1, scratch, kReducedStride);
    GemmTile t{};
    t.k = j1 - j0;
    t.a = scratch, t.a_row = kReducedStride, t.a_k = 1;
    t.b = transposed, t.b_row = width;
    t.c = d_w_t + k0 * g.og, t.c_row = g.og, t.columns = g.og;
    t.addend = t.c;
    gemm(k1 - k0, t);
  }
}

// d_w (og, taps) += over columns [j0, j1); `scratch` holds (kReducedTaps + kReducedOutputs) * kReducedStride
// floats, and kReducedPixels * kReducedTaps for what is transposed.
void add_columns(const Conv2dGeometry& g, const TapSource& x, const Planes& d_y, int64_t j0, int64_t j1,
                 float* d_w, float* scratch) {
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
    for (int64_t o0 = 0; o0 < g.og; o0 += kReducedOutputs) {
      const int64_t o1 = std::min(o0 + kReducedOutputs, g.og);
      const Planes source{d_y.data + o0 * pixels, d_y.image_stride, pixels};
      if (!d_y_in_place) gather_rows(source, o1 - o0, j0, j1, false, outputs, kReducedStride);
      const float* a = d_y_in_place ? source.data + image * source.image_stride + at : outputs;
      const int64_t a_row = d_y_in_place ? pixels : kReducedStride;
      float* c = d_w + o0 * g.taps() + k0;
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
    }
  }
}

}  // namespace

void add_partials(const float* partials, int64_t chunks, int64_t weights, float* d_w, bool accumulate,
                  ThreadPool& pool) {
  constexpr int64_t kGrain = 4096;
  for_chunks(pool, weights, kGrain, [&](int64_t begin, int64_t end) {
    sum_parts(partials + begin, chunks, weights, end - begin, d_w + begin, accumulate);
  });
}

namespace {

// d_w (+)= d_w^T turned, group by group.
void turn_weights(const Conv2dGeometry& g, const float* d_w_t, float* d_w, bool accumulate) {
  for (int64_t group = 0; group < g.groups; ++group, d_w_t += g.og * g.taps(), d_w += g.og * g.taps()) {
    if (!accumulate) {
      transpose<true>(d_w_t, g.og, g.taps(), g.og, d_w, g.taps());
      continue;
    }
    for (int64_t o = 0; o < g.og; ++o)
      for (int64_t k = 0; k < g.taps(); ++k) d_w[o * g.taps() + k] += d_w_t[k * g.og + o];
  }
}

}  // namespace

void dense_grad_weight(const Conv2dGeometry& g, const KernelArgs& a) {
  const float* d_y = a.in(0);
  const ChannelParts x{a.inputs + 1, a.in_shape(1)[1]};
  const int64_t scratch_floats = grad_weight_workspace(g).per_thread;
  const Blocks chunks(g.n, (g.n + weight_gradient_chunks(g) - 1) / weight_gradient_chunks(g));
  auto* scratch = reinterpret_cast<float*>(a.workspace);
  float* partials = scratch + a.pool->threads() * scratch_floats;
  const int64_t group_weights = g.og * g.taps(), pixels = g.pixels();
  const bool turned = by_outputs(g);
  const auto add = turned ? add_columns_by_outputs : add_columns;
  a.pool->parallel_for(chunks.count * g.groups, [&](int64_t i, int thread) {
    const int64_t chunk = i / g.groups, group = i % g.groups;
    const int64_t n0 = chunks.begin(chunk), images = chunks.begin(chunk + 1) - n0;
    float* d_w = partials + chunk * g.weights() + group * group_weights;
    zero_floats(d_w, group_weights);
    const TapSource source{x, n0, group * g.cg};
    const Planes d_y_planes{d_y + (n0 * g.o + group * g.og) * pixels, g.o * pixels, pixels};
    // Large images are cut by themselves: a block that straddles two would be copied.
    const int64_t span = pixels < kReducedPixels / 2 ? images * pixels : pixels;
    for (int64_t begin = 0; begin < images * pixels; begin += span)
      for (int64_t j0 = begin; j0 < begin + span; j0 += kReducedPixels)
        add(g, source, d_y_planes, j0, std::min(j0 + kReducedPixels, begin + span), d_w,
            scratch + thread * scratch_floats);
  });
  if (turned) {
    add_partials(partials, chunks.count, g.weights(), partials, false, *a.pool);
    return turn_weights(g, partials, a.out(0), a.accumulate(0));
  }
  add_partials(partials, chunks.count, g.weights(), a.out(0), a.accumulate(0), *a.pool);
}

}  // namespace ladarts::LADARTS_ISA
