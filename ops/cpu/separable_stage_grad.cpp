// Backward pass of separable stages. A task is one input and one chunk of the batch, image by image:
//   g    gradient of y: the terms of d_y, and slope * y + offset from the batch statistics   (O tiles)
//   t    depthwise(u), computed again; d_pointwise += g t'                                    (c tiles)
//   h    pointwise' g, with a border of zeros; d_depthwise += correlation of h and u          (c planes)
//   d_u += turned depthwise of h, over all branches                                           (c planes)
// then d_x = scale * d_u where u > 0. Steps that only an unwanted gradient needs are left out. Chunks are
// joined in order at the end.
#include "ops/separable_stage.h"

#include <cstring>

#include "ops/cpu/channel_moments.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/separable_input.h"
#include "ops/cpu/separable_tile.h"
#include "ops/cpu/vector_sums.h"

namespace ladarts {
namespace {

struct Scratch {
  float* u;
  float* d_u;
  float* t;
  float* g;
  float* h;
  float* transposed;  // null: none
};

enum class InputGradient { none, overwrite, add };

struct Context {
  const SeparableStageGrad& op;
  const KernelArgs& a;
  const SeparablePlan& p;
  const float* statistics;  // (branches, 2, most outputs): slope, offset

  int outputs(int branch) const { return int(a.in_shape(op.y_at(branch))[1]); }
};

// What gradient_tile() reads for a branch of image n.
void add_tile(const Context& k, int branch, int64_t n, FetchAhead& ahead) {
  const int64_t pixels = int64_t(k.p.out_h) * k.p.out_w, outputs = k.outputs(branch);
  ahead.add(k.a.in(k.op.y_at(branch)) + n * outputs * pixels, outputs * pixels, 0, 1);
  for (const GradientTerm& t : k.op.branches[size_t(branch)].d_y)
    ahead.add(k.a.in(t.source) + n * k.a.in_shape(t.source)[1] * pixels, pixels, t.step * pixels, outputs);
}

// g[o] = slope * y + offset + sum of factor * source, over rows of out_w pixels; zeros up to the tile's
// width.
void gradient_tile(const Context& k, int branch, int64_t n, float* g) {
  const SeparablePlan& p = k.p;
  const SeparableStageGrad::Branch& b = k.op.branches[size_t(branch)];
  const int64_t pixels = int64_t(p.out_h) * p.out_w;
  const bool whole = p.width == p.out_w;
  const int rows = whole ? 1 : p.out_h;
  const int64_t columns = whole ? pixels : p.out_w;
  const int outputs = k.outputs(branch);
  for (int o = 0; o < outputs; ++o) {
    const float* y = k.a.in(k.op.y_at(branch)) + (n * outputs + o) * pixels;
    const float slope = k.statistics[(2 * branch) * p.o + o],
                offset = k.statistics[(2 * branch + 1) * p.o + o];
    for (int r = 0; r < rows; ++r) {
      float* to = g + ptrdiff_t(o) * p.tile_stride + ptrdiff_t(r) * p.width;
      const int64_t at = r * columns;
      if (b.d_y.empty())
        for (int64_t j = 0; j < columns; ++j) to[j] = slope * y[at + j] + offset;
      for (size_t t = 0; t < b.d_y.size(); ++t) {
        const GradientTerm& term = b.d_y[t];
        const Shape& shape = k.a.in_shape(term.source);
        const float* d = k.a.in(term.source) + (n * shape[1] + int64_t(o) * term.step) * pixels + at;
        const float factor = term.factors < 0 ? 1.f : k.a.in(term.factors)[term.row * outputs + o];
        const float more = term.offset_row < 0 ? 0.f : k.a.in(term.factors)[term.offset_row * outputs + o];
        if (t == 0) {
          for (int64_t j = 0; j < columns; ++j) to[j] = slope * y[at + j] + factor * d[j] + (offset + more);
        } else {
          for (int64_t j = 0; j < columns; ++j) to[j] += factor * d[j] + more;
        }
      }
      if (!whole) std::memset(to + columns, 0, size_t(p.width - columns) * sizeof(float));
    }
  }
}

// d_u (+)= what the padded plane h of gradients gives through the kernel.
template <int L, int K, int D, bool add>
void input_gradient(bool stride_one, const float* h, const float* taps, float* d_u, const SeparablePlan& p,
                    FetchAhead& ahead) {
  if (stride_one) {
    depthwise_plane<L, K, D, 1, true, add>({h, p.g_pitch}, taps, d_u + kHalo * p.pitch + kHalo, p.pitch,
                                           p.out_h, p.width, ahead);
  } else {
    depthwise_input_stride2<L, K, D, add>({h + kHalo * p.g_pitch + kHalo, p.g_pitch}, taps, d_u, p.pitch,
                                          p.half, p.in_h, p.width, ahead);
  }
}

template <int L, int K, int D>
void branch_planes(const Context& k, int branch, Scratch s, float* d_depthwise, bool recompute,
                   InputGradient mode, FetchAhead& ahead) {
  const SeparablePlan& p = k.p;
  const float* w = k.a.in(k.op.forward.weights_at(branch));
  const bool one = k.op.forward.stride == 1;
  for (int c = 0; c < p.c; ++c) {
    const Plane u{s.u + ptrdiff_t(c) * p.plane, p.pitch, p.half};
    const float* taps = w + c * K * K;
    if (recompute) {
      float* t = s.t + ptrdiff_t(c) * p.tile_stride;
      if (one) {
        depthwise_plane<L, K, D, 1, false, false>(u, taps, t, p.width, p.out_h, p.width, ahead);
      } else {
        depthwise_plane<L, K, D, 2, false, false>(u, taps, t, p.width, p.out_h, p.width, ahead);
      }
      continue;
    }
    float* h = s.h + ptrdiff_t(c) * p.g_plane;
    const Plane inner{h + kHalo * p.g_pitch + kHalo, p.g_pitch};
    if (d_depthwise) {
      if (one) {
        depthwise_weight_plane<L, K, D, 1>(u, inner, d_depthwise + c * K * K, p.out_h, p.width);
      } else {
        depthwise_weight_plane<L, K, D, 2>(u, inner, d_depthwise + c * K * K, p.out_h, p.width);
      }
    }
    float* d_u = s.d_u + ptrdiff_t(c) * p.plane;
    if (mode == InputGradient::overwrite) {
      input_gradient<L, K, D, false>(one, h, taps, d_u, p, ahead);
    } else if (mode == InputGradient::add) {
      input_gradient<L, K, D, true>(one, h, taps, d_u, p, ahead);
    }
  }
}

void run_planes(const Context& k, int branch, Scratch s, float* d_depthwise, bool recompute,
                InputGradient mode, FetchAhead& ahead) {
  const SeparableStage::Branch& b = k.op.forward.branches[size_t(branch)];
  with_tile_lanes(k.p.width, [&](auto l) {
    if (b.kernel == 3 && b.dilation == 1) {
      branch_planes<l(), 3, 1>(k, branch, s, d_depthwise, recompute, mode, ahead);
    } else if (b.kernel == 3) {
      branch_planes<l(), 3, 2>(k, branch, s, d_depthwise, recompute, mode, ahead);
    } else if (b.dilation == 1) {
      branch_planes<l(), 5, 1>(k, branch, s, d_depthwise, recompute, mode, ahead);
    } else {
      branch_planes<l(), 5, 2>(k, branch, s, d_depthwise, recompute, mode, ahead);
    }
  });
}

// One branch of one image; `sums` are its partial weight gradients, depthwise before pointwise.
void run_branch_grad(const Context& k, int branch, int64_t n, Scratch s, float* sums, InputGradient mode,
                     FetchAhead ahead) {
  const SeparablePlan& p = k.p;
  const SeparableStageGrad::Branch& b = k.op.branches[size_t(branch)];
  const int at = k.op.forward.weights_at(branch), outputs = k.outputs(branch);
  const int passes = (b.pointwise_out >= 0 ? depthwise_calls(p.out_h, p.width) : 0) +
                     (mode == InputGradient::none ? 0
                      : k.op.forward.stride == 1  ? depthwise_calls(p.out_h, p.width)
                                                  : 4);
  ahead.spread(int64_t(passes) * p.c);
  gradient_tile(k, branch, n, s.g);
  if (b.pointwise_out >= 0) {
    run_planes(k, branch, s, nullptr, true, InputGradient::none, ahead);
    pointwise_weight_tile(s.g, s.t, p.tile_stride, p.tile, p.c, outputs, s.transposed,
                          sums + k.a.in_shape(at).elements());
  }
  if (b.depthwise_out < 0 && mode == InputGradient::none) return;
  const Matrix transposed{k.a.in(at + 1), 1, p.c};
  pointwise_tile({s.g, p.tile_stride, p.width}, transposed, outputs, p.c,
                 {s.h + kHalo * p.g_pitch + kHalo, p.g_plane, p.g_pitch}, p.out_h);
  run_planes(k, branch, s, b.depthwise_out >= 0 ? sums : nullptr, false, mode, ahead);
}

// Sums over a plane of d * x and d, where d = d_u where u > 0.
template <int L>
struct AffineSums {
  Vec<L> scale = {}, shift = {};
};

struct InputPlane {
  const float *u, *d_u;  // padded
  const float* x;
  float* d_x;  // null: sums alone
  float scale;
};

// d_x (+)= scale * d over rows without stride; W: their width, or 0.
template <int W, bool add>
inline void finish_rows(const SeparablePlan& p, InputPlane plane, float* d_scale, float* d_shift) {
  constexpr int L = kRowLanes<W>;
  const int width = W > 0 ? W : p.in_w;
  AffineSums<L> sums;
  const ptrdiff_t origin = kHalo * p.pitch + kHalo;
  for (int row = 0; row < p.in_h; ++row)
    for (int j = 0; j < width; j += L) {
      const int n = W > 0 || j + L <= width ? L : width - j;
      const ptrdiff_t padded = origin + ptrdiff_t(row) * p.pitch + j, at = ptrdiff_t(row) * width + j;
      auto read = [&](const float* from) { return n == L ? load<L>(from) : load_first<L>(from, n); };
      const Vec<L> d = read(plane.u + padded) > 0.f ? read(plane.d_u + padded) : Vec<L>{};
      sums.scale += d * read(plane.x + at);
      sums.shift += d;
      if (!plane.d_x) continue;
      Vec<L> d_x = d * plane.scale;
      if (add) d_x += read(plane.d_x + at);
      if (n == L) {
        store<L>(plane.d_x + at, d_x);
      } else {
        store_first<L>(plane.d_x + at, d_x, n);
      }
    }
  *d_scale += sum_lanes<L>(sums.scale);
  *d_shift += sum_lanes<L>(sums.shift);
}

// The same at stride 2, where even and odd columns lie apart; W > 0.
template <int W, bool add>
inline void finish_split_rows(const SeparablePlan& p, InputPlane plane, float* d_scale, float* d_shift) {
  constexpr int L = kHalfRowLanes<W>;
  AffineSums<L> sums;
  const ptrdiff_t origin = kHalo * p.pitch + kHalo / 2;
  for (int row = 0; row < p.in_h; ++row)
    for (int j = 0; j < W / 2; j += L) {
      const ptrdiff_t padded = origin + ptrdiff_t(row) * p.pitch + j, at = ptrdiff_t(row) * W + 2 * j;
      const float *u = plane.u + padded, *d_u = plane.d_u + padded, *x = plane.x + at;
      const Vec<L> even = load<L>(u) > 0.f ? load<L>(d_u) : Vec<L>{};
      const Vec<L> odd = load<L>(u + p.half) > 0.f ? load<L>(d_u + p.half) : Vec<L>{};
      const Vec<L> low = interleaved_low<L>(even, odd), high = interleaved_high<L>(even, odd);
      sums.scale += low * load<L>(x) + high * load<L>(x + L);
      sums.shift += even + odd;
      if (!plane.d_x) continue;
      float* d_x = plane.d_x + at;
      store<L>(d_x, low * plane.scale + (add ? load<L>(d_x) : Vec<L>{}));
      store<L>(d_x + L, high * plane.scale + (add ? load<L>(d_x + L) : Vec<L>{}));
    }
  *d_scale += sum_lanes<L>(sums.scale);
  *d_shift += sum_lanes<L>(sums.shift);
}

// The same for any width.
inline void finish_strided_rows(const SeparablePlan& p, InputPlane plane, bool add, float* d_scale,
                                float* d_shift) {
  float scale_sum = 0, shift_sum = 0;
  for (int row = 0; row < p.in_h; ++row)
    for_row_runs(p, row, [&](ptrdiff_t padded, ptrdiff_t at, int columns, int step) {
      for (int j = 0; j < columns; ++j) {
        const float d = plane.u[padded + j] > 0.f ? plane.d_u[padded + j] : 0.f;
        const ptrdiff_t i = at + j * step;
        scale_sum += d * plane.x[i];
        shift_sum += d;
        if (plane.d_x) plane.d_x[i] = add ? plane.d_x[i] + d * plane.scale : d * plane.scale;
      }
    });
  *d_scale += scale_sum;
  *d_shift += shift_sum;
}

void store_input_gradient(const Context& k, int input, int64_t n, Scratch s, float* affine_sums) {
  const SeparablePlan& p = k.p;
  const SeparableStage& op = k.op.forward;
  const SeparableStageGrad::Input& in = k.op.inputs[size_t(input)];
  const int64_t pixels = int64_t(p.in_h) * p.in_w, channels = k.a.in_shape(input)[1];
  const bool add = in.x_out >= 0 && k.a.accumulate(in.x_out);
  for (int c = 0; c < p.c; ++c) {
    const InputPlane plane{s.u + ptrdiff_t(c) * p.plane, s.d_u + ptrdiff_t(c) * p.plane,
                           k.a.in(input) + (n * channels + c) * pixels,
                           in.x_out >= 0 ? k.a.out(in.x_out) + (n * channels + c) * pixels : nullptr,
                           op.has_affine ? k.a.in(op.affine_at(input))[c] : 1.f};
    float *d_scale = affine_sums + c, *d_shift = affine_sums + p.c + c;
    auto finish = [&](auto w, auto adds) {
      if (op.stride == 1) {
        finish_rows<w(), adds()>(p, plane, d_scale, d_shift);
      } else if constexpr (w() > 0) {
        finish_split_rows<w(), adds()>(p, plane, d_scale, d_shift);
      } else {
        finish_strided_rows(p, plane, add, d_scale, d_shift);
      }
    };
    with_row_width(p.in_w, [&](auto w) {
      if (add) {
        finish(w, std::true_type());
      } else {
        finish(w, std::false_type());
      }
    });
  }
  if (in.x_out >= 0 && !add && channels > p.c)
    std::memset(k.a.out(in.x_out) + (n * channels + p.c) * pixels, 0,
                size_t(channels - p.c) * size_t(pixels) * sizeof(float));
}

// What is read after branch b of an image of the chunk that begins at image `begin`; behind the image's last
// branch also what its gradient is written to.
FetchAhead ahead_of(const Context& k, int b, TaskImage i, int64_t begin) {
  const std::vector<SeparableStage::Branch>& branches = k.op.forward.branches;
  auto next = [&](int from, int input) {
    while (size_t(from) < branches.size() && branches[size_t(from)].input != input) ++from;
    return from;
  };
  FetchAhead ahead;
  if (const int same = next(b + 1, i.input); size_t(same) < branches.size()) {
    add_tile(k, same, i.n, ahead);
    return ahead;
  }
  const int64_t floats = k.p.c * int64_t(k.p.in_h) * k.p.in_w;
  if (const int x_out = k.op.inputs[size_t(i.input)].x_out; x_out >= 0)
    ahead.add(k.a.out(x_out) + i.n * k.a.in_shape(i.input).elements() / k.p.images, floats, 0, 1);
  const TaskImage after = image_after(k.p, k.op.forward.n_inputs, i, begin);
  if (after.n == k.p.images) return ahead;
  ahead.add(image_of(k.a, k.p, after), floats, 0, 1);
  if (const int first = next(0, after.input); size_t(first) < branches.size())
    add_tile(k, first, after.n, ahead);
  return ahead;
}

void run_chunk(const Context& k, int64_t chunk, int input, Scratch s, float* weight_sums,
               float* affine_sums) {
  const SeparablePlan& p = k.p;
  const SeparableStage& op = k.op.forward;
  const SeparableStageGrad::Input& in = k.op.inputs[size_t(input)];
  const bool wants_u = in.x_out >= 0 || in.affine_out >= 0;
  std::memset(affine_sums, 0, size_t(2 * p.c) * sizeof(float));
  const int64_t begin = chunk * p.images_per_chunk;
  const int64_t end = std::min(p.images, begin + p.images_per_chunk);
  for (int64_t n = begin; n < end; ++n) {
    load_planes(op, k.a, p, n, input, s.u);
    float* sums = weight_sums;
    InputGradient d_u = wants_u ? InputGradient::overwrite : InputGradient::none;
    for (int b = 0; b < int(op.branches.size()); ++b) {
      const int64_t floats =
          k.a.in_shape(op.weights_at(b)).elements() + k.a.in_shape(op.weights_at(b) + 1).elements();
      if (op.branches[size_t(b)].input == input) {
        if (n == begin) std::memset(sums, 0, size_t(floats) * sizeof(float));
        run_branch_grad(k, b, n, s, sums, d_u, ahead_of(k, b, {input, n}, begin));
        if (wants_u) d_u = InputGradient::add;
      }
      sums += floats;
    }
    if (wants_u) store_input_gradient(k, input, n, s, affine_sums);
  }
}

void statistics_coefficients(const Context& k, float* to) {
  const SeparablePlan& p = k.p;
  const int64_t values = p.images * p.out_h * p.out_w;
  for (int b = 0; b < int(k.op.branches.size()); ++b) {
    const int outputs = k.outputs(b), d_affine = k.op.branches[size_t(b)].d_affine;
    const float* affine = k.a.in(k.op.y_at(b) + 1);
    for (int o = 0; o < outputs; ++o) {
      float* slope = to + (2 * b) * p.o + o;
      float* offset = to + (2 * b + 1) * p.o + o;
      *slope = *offset = 0;
      if (d_affine < 0) continue;
      const float* d = k.a.in(d_affine);
      statistics_gradient(affine[o], affine[outputs + o], d[o], d[outputs + o], values, slope, offset);
    }
  }
}

void separable_stage_grad_kernel(const SeparableStageGrad& op, const KernelArgs& a) {
  const SeparableStage& f = op.forward;
  const int branches = int(f.branches.size());
  int most = 0;
  for (int b = 0; b < branches; ++b) most = std::max(most, int(a.in_shape(op.y_at(b))[1]));
  const SeparablePlan p(f, a.in_shape(0), most);
  float* const scratch = reinterpret_cast<float*>(a.workspace);
  float* const flags = scratch + a.pool->threads() * p.backward_scratch();
  const FirstTask first(flags, a.pool->threads());
  float* const statistics = flags + a.pool->threads() * SeparablePlan::kFlagFloats;
  float* const parts = statistics + round_up(2 * int64_t(branches) * most, 16);
  const int64_t weights = separable_weight_floats(f, a.input_shapes);
  const int64_t stride = weights + 2 * int64_t(f.n_inputs) * p.c;
  const Context k{op, a, p, statistics};
  statistics_coefficients(k, statistics);

  a.pool->parallel_for(int64_t(p.chunks) * f.n_inputs, [&](int64_t task, int thread) {
    const int64_t chunk = task / f.n_inputs;
    const int input = int(task % f.n_inputs);
    Scratch s;
    s.u = scratch + thread * p.backward_scratch();
    s.d_u = s.u + round_up(int64_t(p.c) * p.plane, 16);
    s.t = s.d_u + round_up(int64_t(p.c) * p.plane, 16);
    s.g = s.t + int64_t(p.c) * p.tile_stride;
    s.h = s.g + int64_t(p.o) * p.tile_stride;
    s.transposed = p.transposes ? s.h + round_up(int64_t(p.c) * p.g_plane, 16) : nullptr;
    first.clear(thread, s.u, int64_t(p.c) * p.plane);
    first.clear(thread, s.h, int64_t(p.c) * p.g_plane);
    first.done(thread);
    float* part = parts + chunk * stride;
    run_chunk(k, chunk, input, s, part, part + weights + 2 * int64_t(input) * p.c);
  });

  const float* part = parts;
  auto join = [&](int output, int64_t floats) {
    if (output >= 0) sum_parts(part, p.chunks, stride, floats, a.out(output), a.accumulate(output));
    part += floats;
  };
  for (int b = 0; b < branches; ++b) {
    join(op.branches[size_t(b)].depthwise_out, a.in_shape(f.weights_at(b)).elements());
    join(op.branches[size_t(b)].pointwise_out, a.in_shape(f.weights_at(b) + 1).elements());
  }
  for (const SeparableStageGrad::Input& input : op.inputs) join(input.affine_out, 2 * int64_t(p.c));
}

LADARTS_CPU_KERNEL(SeparableStageGrad, separable_stage_grad_kernel)

}  // namespace
}  // namespace ladarts
