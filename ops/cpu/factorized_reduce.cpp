// A task is a block of output rows of one image: its rectified pixels at even (odd) places are gathered to a
// panel (c, pixels), which one matrix product turns into y. Backward, the gradient of x is written once, even
// and odd pixels and the zeros between them.
#include "ops/factorized_reduce.h"

#include <cstring>

#include "ops/cpu/conv2d_gather.h"
#include "ops/cpu/dot_product.h"
#include "ops/cpu/fetch_ahead.h"
#include "ops/cpu/gemm.h"
#include "ops/cpu/gradient_plane.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/vector_sums.h"

namespace ladarts {
namespace {

using Geometry = FactorizedReduceGeometry;

// Output rows [begin, end) of a block, and its pixels.
struct Rows {
  int64_t begin, end, pixels;
  Rows(const Geometry& g, const FactorizedReducePlan& p, int64_t block)
      : begin(block * p.rows), end(std::min(begin + p.rows, g.oh)), pixels((end - begin) * g.ow) {}
};

// The rows of x that a block reads, both parities: from where in a plane, and how many floats.
int64_t first_pixel(const Geometry& g, Rows r) {
  return 2 * r.begin * g.w;
}
int64_t input_pixels(const Geometry& g, Rows r) {
  return std::min(g.h, 2 * r.end) * g.w - first_pixel(g, r);
}

// max(x, 0) at rows and columns of one parity, to panel (read, stride); zeros outside of x and to whole
// vectors.
void gather_panel(const Geometry& g, const FactorizedReducePlan& p, const ChannelParts& x, int64_t n,
                  int parity, Rows r, float* panel) {
  const int64_t columns = (g.w - parity + 1) / 2;
  for (int64_t c = 0; c < g.read; ++c, panel += p.stride) {
    const float* plane = x.plane(n, c, g.h * g.w);
    if (parity == 0 && c + 1 < g.read)
      prefetch(x.plane(n, c + 1, g.h * g.w) + first_pixel(g, r), input_pixels(g, r));
    float* to = panel;
    for (int64_t row = r.begin; row < r.end; ++row, to += g.ow) {
      const int64_t source = 2 * row + parity;
      const int64_t inside = source < g.h ? columns : 0;
      copy_strided(to, plane + source * g.w + parity, inside, 2, true);
      for (int64_t j = inside; j < g.ow; ++j) to[j] = 0.f;
    }
    for (float* end = panel + p.stride; to < end; ++to) *to = 0.f;
  }
}

// to (rows, pixels of the block), rows `to_row` apart, = a * panel.
void product(int64_t rows, int64_t k, const float* a, int64_t a_row, int64_t a_k, const float* panel,
             int64_t panel_row, float* to, int64_t to_row, int64_t pixels, const float* bias, bool far) {
  GemmTile t{};
  t.k = k;
  t.a = a, t.a_row = a_row, t.a_k = a_k;
  t.b = panel, t.b_row = panel_row;
  t.c = to, t.c_row = to_row, t.columns = pixels;
  t.bias = bias;
  t.far = far;
  gemm(rows, t);
}

Geometry geometry_of(const KernelArgs& a, int parts) {
  return {a.in_shape(0), a.in_shape(parts), a.in_shape(parts + 1)};
}

void factorized_reduce(const FactorizedReduce& op, const KernelArgs& a) {
  const Geometry g = geometry_of(a, op.parts);
  const FactorizedReducePlan p(g);
  const int weights = op.parts, biases = op.parts + 2 * op.pairs;
  a.pool->parallel_for(g.images * p.blocks, [&](int64_t task, int thread) {
    const int64_t n = task / p.blocks;
    const Rows r(g, p, task % p.blocks);
    float* panel = reinterpret_cast<float*>(a.workspace) + thread * p.panel;
    for (int parity = 0; parity < 2; ++parity) {
      gather_panel(g, p, {a.inputs, g.channels}, n, parity, r, panel);
      const int64_t first = parity ? g.outputs[0] : 0;
      for (int pair = 0; pair < op.pairs; ++pair)
        product(g.outputs[parity], g.read, a.in(weights + 2 * pair + parity), g.read, 1, panel, p.stride,
                a.out(pair) + (n * g.all_outputs() + first) * g.pixels() + r.begin * g.ow, g.pixels(),
                r.pixels, a.n_inputs > biases ? a.in(biases + parity) : nullptr, true);
    }
  });
}

// One row of d_x: from[j] at columns 2j + parity where x > 0, zero at the others. Pairs of columns, so that
// vectors are taken apart and joined by shuffles.
template <int parity, bool add>
void scatter_row(const float* __restrict from, const float* __restrict x, int64_t width,
                 float* __restrict d_x) {
#pragma omp simd
  for (int64_t j = 0; j < width / 2; ++j) {
    const float g = from[j];  // read in any case, so that the loop needs no branch
    const float v = x[2 * j + parity] > 0.f ? g : 0.f;
    const float before = add ? d_x[2 * j] : 0.f, after = add ? d_x[2 * j + 1] : 0.f;
    d_x[2 * j] = parity == 0 ? before + v : before;
    d_x[2 * j + 1] = parity == 1 ? after + v : after;
  }
  if (width % 2 == 0) return;
  const float v = parity == 0 && x[width - 1] > 0.f ? from[width / 2] : 0.f;
  d_x[width - 1] = add ? d_x[width - 1] + v : v;
}

struct ImageGradient {
  const FactorizedReduceGrad& op;
  const KernelArgs& a;
  const Geometry& g;
  const FactorizedReducePlan& p;
  const float* weights;  // (pairs * outputs, read) of even pixels, then of odd ones
  float* panels[2];      // (read, stride): what the inputs receive
  float* inputs;         // (read, stride)
  float* d_y;            // (pairs * outputs, stride)
  float* plane;          // scratch of one plane of the gradient

  ChannelParts x() const { return {a.inputs, g.channels}; }

  int64_t pairs() const { return int64_t(op.pairs.size()); }

  // The gradients of all pairs' outputs from pixels of this parity, rows r.
  void gather_gradients(int64_t n, int parity, Rows r) const {
    float* to = d_y;
    for (const FactorizedReduceGrad::Pair& pair : op.pairs)
      for (int64_t o = 0; o < g.outputs[parity]; ++o, to += p.stride) {
        const int64_t channel = (parity ? g.outputs[0] : 0) + o;
        const float* from =
            gradient_plane(pair.d_y, a, n, channel, g.all_outputs(), g.pixels(), plane) + r.begin * g.ow;
        std::memcpy(to, from, size_t(r.pixels) * sizeof(float));
        for (int64_t j = r.pixels; j < p.stride; ++j) to[j] = 0.f;
      }
  }

  // d_w (pairs * outputs, read).
  void weight_gradients(int parity, float* d_w) const {
    DotTile t{};
    t.length = p.stride;
    t.a = d_y, t.a_row = p.stride;
    t.b = inputs, t.b_row = p.stride;
    t.c = d_w, t.c_row = g.read;
    t.add = true;
    dot_product(pairs() * g.outputs[parity], g.read, t);
  }

  void scatter(int64_t n, Rows r) const {
    const int64_t plane_floats = g.h * g.w;
    for (int64_t c = 0; c < g.read; ++c) {
      const int out = op.x_out[size_t(c / g.channels)];
      if (out < 0) continue;
      const bool add = a.accumulate(out);
      const float* x_plane = x().plane(n, c, plane_floats);
      float* d_x = a.out(out) + (n * g.channels + c % g.channels) * plane_floats;
      if (c + 1 < g.read) prefetch(x().plane(n, c + 1, plane_floats) + first_pixel(g, r), input_pixels(g, r));
      prefetch(d_x + plane_floats + first_pixel(g, r), input_pixels(g, r));
      for (int64_t row = 2 * r.begin; row < std::min(g.h, 2 * r.end); ++row) {
        const int parity = int(row & 1);
        const int64_t at = row * g.w;
        const float* from = panels[parity] + c * p.stride + (row / 2 - r.begin) * g.ow;
        const auto scatter = parity == 0 ? (add ? scatter_row<0, true> : scatter_row<0, false>)
                                         : (add ? scatter_row<1, true> : scatter_row<1, false>);
        scatter(from, x_plane + at, g.w, d_x + at);
      }
    }
    // Channels that are not read: of an x in one part alone.
    const int only = op.x_out[0];
    if (g.read < g.channels && only >= 0 && !a.accumulate(only) && r.begin == 0)
      std::memset(a.out(only) + (n * g.channels + g.read) * plane_floats, 0,
                  size_t((g.channels - g.read) * plane_floats) * sizeof(float));
  }

  // d_w: of even pixels, then of odd ones.
  void run(int64_t n, Rows r, float* d_w) const {
    for (int parity = 0; parity < 2; ++parity) {
      const int64_t outputs = pairs() * g.outputs[parity],
                    before = parity ? pairs() * g.outputs[0] * g.read : 0;
      gather_gradients(n, parity, r);
      if (op.wants_weights()) {
        gather_panel(g, p, x(), n, parity, r, inputs);
        weight_gradients(parity, d_w + before);
      }
      if (op.wants_x())
        product(g.read, outputs, weights + before, 1, g.read, d_y, p.stride, panels[parity], p.stride,
                r.pixels, nullptr, false);
    }
    if (op.wants_x()) scatter(n, r);
  }
};

void factorized_reduce_grad(const FactorizedReduceGrad& op, const KernelArgs& a) {
  const Geometry g = geometry_of(a, op.parts());
  const FactorizedReducePlan p(g);
  const auto pairs = int64_t(op.pairs.size());
  auto* scratch = reinterpret_cast<float*>(a.workspace);
  const int64_t thread_floats = p.grad_floats(g, pairs), all_weights = g.weights() * pairs;
  float* const partials = scratch + a.pool->threads() * thread_floats;
  float* const weights = partials + p.chunks * all_weights;  // even ones of all pairs, then odd ones
  float* to = weights;
  for (int parity = 0; parity < 2; ++parity)
    for (int64_t pair = 0; pair < pairs; ++pair, to += g.outputs[parity] * g.read)
      std::memcpy(to, a.in(op.parts() + 2 * int(pair) + parity),
                  size_t(g.outputs[parity] * g.read) * sizeof(float));
  a.pool->parallel_for(p.chunks, [&](int64_t chunk, int thread) {
    float* at = scratch + thread * thread_floats;
    const int64_t most = pairs * std::max(g.outputs[0], g.outputs[1]);
    const ImageGradient image{op,
                              a,
                              g,
                              p,
                              weights,
                              {at, at + p.panel},
                              at + 2 * p.panel,
                              at + 3 * p.panel,
                              at + 3 * p.panel + most * p.stride};
    float* d_w = partials + chunk * all_weights;
    zero_floats(d_w, all_weights);
    for (int64_t n = chunk * p.chunk_images; n < std::min(g.images, (chunk + 1) * p.chunk_images); ++n)
      for (int64_t block = 0; block < p.blocks; ++block) image.run(n, Rows(g, p, block), d_w);
  });
  int64_t first = 0;
  for (int parity = 0; parity < 2; ++parity)
    for (const FactorizedReduceGrad::Pair& pair : op.pairs) {
      const int out = pair.weight_out[parity];
      const int64_t floats = g.outputs[parity] * g.read;
      if (out >= 0) sum_parts(partials + first, p.chunks, all_weights, floats, a.out(out), a.accumulate(out));
      first += floats;
    }
}

LADARTS_CPU_KERNEL(FactorizedReduce, factorized_reduce)
LADARTS_CPU_KERNEL(FactorizedReduceGrad, factorized_reduce_grad)

}  // namespace
}  // namespace ladarts
