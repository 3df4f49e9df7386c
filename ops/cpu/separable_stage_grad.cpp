// Backward pass of separable stages. A task is one input and one chunk of the batch, image by image:
//   g    gradient of y: the terms of d_y, and slope * y + offset from the batch statistics   (O tiles)
//   t    depthwise(u), computed again; d_pointwise += g t'                                    (c tiles)
//   h    pointwise' g, with a border of zeros; d_depthwise += correlation of h and u          (c planes)
//   d_u += turned depthwise of h, over all branches                                           (c planes)
// then d_x = scale * d_u where u > 0; all but g by groups of channels (ops/cpu/separable_groups.h). Steps
// that only an unwanted gradient needs are left out. Chunks are joined in order at the end.
#include "ops/separable_stage.h"

#include <cstring>

#include "ops/cpu/channel_moments.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/separable_grad_blocks.h"
#include "ops/cpu/separable_grad_direct.h"
#include "ops/cpu/separable_grad_planes.h"
#include "ops/cpu/vector_sums.h"

namespace ladarts {
namespace {

struct Context {
  const SeparableStageGrad& op;
  const KernelArgs& a;
  const SeparablePlan& p;
  const float* statistics;  // (branches, 2, most outputs): slope, offset
  const TileWeights& weights;

  int outputs(int branch) const { return int(a.in_shape(op.y_at(branch))[1]); }
};

// What gradient_tile() reads for a branch of image n.
void add_tile(const Context& k, int branch, int64_t n, FetchAhead& ahead) {
  const int64_t pixels = int64_t(k.p.out_h) * k.p.out_w, outputs = k.outputs(branch);
  ahead.add(k.a.in(k.op.y_at(branch)) + n * outputs * pixels, outputs * pixels, 0, 1);
  for (const GradientTerm& t : k.op.branches[size_t(branch)].d_y)
    ahead.add(k.a.in(t.source) + n * k.a.in_shape(t.source)[1] * pixels, pixels, t.step * pixels, outputs);
}

// f(offset in a channel of g, offset in a channel of y, lanes) for all pixels by whole vectors, the last one
// of a row maybe in part; behind rows g has zeros up to the tile's width.
template <class F>
inline void for_tile_vectors(const SeparablePlan& p, float* g, F f) {
  const bool whole = p.width == p.out_w;
  const int rows = whole ? 1 : p.out_h, columns = whole ? p.out_h * p.out_w : p.out_w;
  for (int r = 0; r < rows; ++r) {
    int j = 0;
    for (; j + kLanes <= columns; j += kLanes) f(r * p.width + j, r * columns + j, kLanes);
    if (j < columns) f(r * p.width + j, r * columns + j, columns - j);
    if (!whole) std::memset(g + r * p.width + columns, 0, size_t(p.width - columns) * sizeof(float));
  }
}

// g[o] = slope * y + offset + sum of factor * source.
void gradient_tile(const Context& k, int branch, int64_t n, float* g) {
  constexpr int L = kLanes;
  const SeparablePlan& p = k.p;
  const std::vector<GradientTerm>& terms = k.op.branches[size_t(branch)].d_y;
  const int64_t pixels = int64_t(p.out_h) * p.out_w;
  const int outputs = k.outputs(branch);
  const float* const y = k.a.in(k.op.y_at(branch)) + n * outputs * pixels;
  const float *const slopes = k.statistics + 2 * branch * p.o, *const offsets = slopes + p.o;
  auto read = [](const float* from, int lanes) {
    return lanes == L ? load<L>(from) : load_first<L>(from, lanes);
  };
  auto write = [](float* to, Vec<L> v, int lanes) {
    lanes == L ? store<L>(to, v) : store_first<L>(to, v, lanes);
  };
  for (size_t t = 0; t < std::max<size_t>(1, terms.size()); ++t) {
    const GradientTerm* const term = t < terms.size() ? &terms[t] : nullptr;
    const int64_t step = term ? term->step * pixels : pixels;
    const float* const d = term ? k.a.in(term->source) + n * k.a.in_shape(term->source)[1] * pixels : y;
    const float* const factors =
        term && term->factors >= 0 ? k.a.in(term->factors) + term->row * outputs : nullptr;
    const float* const more =
        term && term->offset_row >= 0 ? k.a.in(term->factors) + term->offset_row * outputs : nullptr;
    for (int o = 0; o < outputs; ++o) {
      float* const to = g + ptrdiff_t(o) * p.tile_stride;
      const float *const y_of = y + o * pixels, *const d_of = d + o * step;
      const Vec<L> slope = splat<L>(slopes[o]), factor = splat<L>(factors ? factors[o] : 1.f),
                   offset = splat<L>((t == 0 ? offsets[o] : 0.f) + (more ? more[o] : 0.f));
      if (!term) {
        for_tile_vectors(p, to, [&](int i, int j, int lanes) {
          write(to + i, slope * read(y_of + j, lanes) + offset, lanes);
        });
      } else if (t == 0) {
        for_tile_vectors(p, to, [&](int i, int j, int lanes) {
          write(to + i, slope * read(y_of + j, lanes) + factor * read(d_of + j, lanes) + offset, lanes);
        });
      } else {
        for_tile_vectors(p, to, [&](int i, int j, int lanes) {
          write(to + i, read(to + i, lanes) + factor * read(d_of + j, lanes) + offset, lanes);
        });
      }
    }
  }
}

// One branch of one image; `sums` are its partial weight gradients, depthwise before pointwise, which
// add_sums: are added to.
template <class Tiles>
void run_branch_grad(const Context& k, int branch, int64_t n, Tiles& tiles, float* sums, bool add_sums,
                     InputGradient mode, FetchAhead& ahead) {
  const SeparableStageGrad::Branch& b = k.op.branches[size_t(branch)];
  const SeparableStage::Branch& shape = k.op.forward.branches[size_t(branch)];
  const int at = k.op.forward.weights_at(branch);
  const GradBranch of{shape.kernel, shape.dilation, k.outputs(branch), k.weights.depthwise(branch),
                      k.a.in(at + 1)};
  const bool again = b.pointwise_out >= 0, wants_u = mode != InputGradient::none;
  const int left = k.p.c - tiles.first;  // channels of this group and of all that follow
  ahead.spread(tiles.calls(again, wants_u) * left / tiles.count,
               tiles.product_lines(of) * left / tiles.count);
  if (tiles.first == 0) gradient_tile(k, branch, n, tiles.g);
  if (again) {
    tiles.depthwise(of, ahead);
    tiles.pointwise_weight(of, sums + k.a.in_shape(at).elements(), add_sums);
  }
  if (b.depthwise_out < 0 && !wants_u) return;
  tiles.pointwise(of, ahead);
  tiles.depthwise_gradients(of, b.depthwise_out >= 0 ? sums : nullptr, add_sums, mode, ahead);
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

// `affine_sums`: (2, channels).
GradInput input_gradient(const Context& k, int input, int64_t n, float* affine_sums) {
  const SeparablePlan& p = k.p;
  const SeparableStage& op = k.op.forward;
  const int x_out = k.op.inputs[size_t(input)].x_out;
  const int64_t image = n * k.a.in_shape(input)[1] * p.in_h * p.in_w;
  const float* const affine = op.reads_affine() ? k.a.in(op.affine_at(input)) : nullptr;
  return {.x = k.a.in(input) + image,
          .d_x = x_out >= 0 ? k.a.out(x_out) + image : nullptr,
          .affine = affine,
          .factors = op.has_affine ? affine : nullptr,
          .add = x_out >= 0 && k.a.accumulate(x_out),
          .d_scale = affine_sums,
          .d_shift = affine_sums + p.c};
}

// Channels of d_x whose x is not read.
void clear_rest(const Context& k, int input, const GradInput& to) {
  const int64_t pixels = int64_t(k.p.in_h) * k.p.in_w, channels = k.a.in_shape(input)[1];
  if (to.d_x && !to.add && channels > k.p.c)
    std::memset(to.d_x + k.p.c * pixels, 0, size_t((channels - k.p.c) * pixels) * sizeof(float));
}

// One group of the channels of image n, in a chunk that begins at image `begin`. `ahead` goes on from group
// to group.
template <class Tiles>
void run_group(const Context& k, int64_t begin, TaskImage i, Tiles tiles, FetchAhead& ahead, float* sums,
               float* affine_sums) {
  const SeparableStage& op = k.op.forward;
  const SeparableStageGrad::Input& in = k.op.inputs[size_t(i.input)];
  const bool wants_u = in.x_out >= 0 || in.affine_out >= 0;
  const bool at_once = Tiles::kAtOnce && in.x_out >= 0 && int(op.branches.size()) == op.n_inputs;
  InputGradient d_u = !wants_u  ? InputGradient::none
                      : at_once ? InputGradient::at_once
                                : InputGradient::overwrite;
  const GradInput to = input_gradient(k, i.input, i.n, affine_sums);
  tiles.load(op, k.a, i.n, i.input, to);
  for (int b = 0; b < int(op.branches.size()); ++b) {
    if (op.branches[size_t(b)].input == i.input) {
      if (tiles.first == 0) ahead = ahead_of(k, b, i, begin);
      run_branch_grad(k, b, i.n, tiles, sums, i.n > begin, d_u, ahead);
      if (wants_u && !at_once) d_u = InputGradient::add;
    }
    sums += k.a.in_shape(op.weights_at(b)).elements() + k.a.in_shape(op.weights_at(b) + 1).elements();
  }
  if (wants_u && !at_once) tiles.store(to);
  if (tiles.first == 0) clear_rest(k, i.input, to);
}

void run_chunk(const Context& k, const ChannelGroups& groups, int64_t chunk, int input, float* memory,
               float* weight_sums, float* affine_sums) {
  const SeparablePlan& p = k.p;
  std::memset(affine_sums, 0, size_t(2 * p.c) * sizeof(float));
  const int64_t begin = chunk * p.images_per_chunk;
  const int64_t end = std::min(p.images, begin + p.images_per_chunk);
  for (int64_t n = begin; n < end; ++n) {
    FetchAhead ahead;
    for (int done = 0; done < p.c;) {
      const ChannelGroup group = groups.after(done);
      const PlaneGradTiles tiles(p, memory, group);
      if (group.blocked) {
        run_group(k, begin, {input, n}, BlockedGradTiles(tiles), ahead, weight_sums, affine_sums);
      } else if (groups.directly()) {
        run_group(k, begin, {input, n}, DirectGradTiles(tiles), ahead, weight_sums, affine_sums);
      } else {
        run_group(k, begin, {input, n}, tiles, ahead, weight_sums, affine_sums);
      }
      done += group.count;
    }
  }
}

void statistics_coefficients(const Context& k, float* to) {
  const SeparablePlan& p = k.p;
  const int64_t values = p.images * p.out_h * p.out_w;
  for (int b = 0; b < int(k.op.branches.size()); ++b) {
    const int outputs = k.outputs(b), d_affine = k.op.branches[size_t(b)].d_affine;
    float *const slope = to + 2 * b * p.o, *const offset = slope + p.o;
    if (d_affine < 0) {
      std::fill_n(slope, 2 * p.o, 0.f);
    } else {
      statistics_gradient(k.a.in(k.op.y_at(b) + 1), k.a.in(d_affine), outputs, values, slope, offset);
    }
  }
}

// Output `out` (+)= the sum of its parts, `stride` apart.
void join(const Context& k, int out, const float* part, int64_t stride, int64_t floats) {
  if (out >= 0) sum_parts(part, k.p.chunks, stride, floats, k.a.out(out), k.a.accumulate(out));
}

// The same of depthwise weights of `taps` taps, whose first channels are in blocks.
void join_depthwise(const Context& k, int out, float* part, int64_t stride, int taps, int blocked) {
  if (out < 0) return;
  const bool add = k.a.accumulate(out);
  const int64_t floats = int64_t(blocked) * taps, rest = int64_t(k.p.c - blocked) * taps;
  sum_parts(part, k.p.chunks, stride, floats, part, false);
  unblock_taps(part, blocked / kBlock, taps, k.a.out(out), add);
  sum_parts(part + floats, k.p.chunks, stride, rest, k.a.out(out) + floats, add);
}

// Whether images are read where they lie. With 16 columns blocks of channels are faster, where channels fill
// them and gradients of weights are wanted: their products need no transposition.
bool directly(const SeparableStageGrad& op, const SeparablePlan& p) {
  bool weights = false;
  for (const SeparableStageGrad::Branch& b : op.branches) weights = weights || b.pointwise_out >= 0;
  return reads_directly(p) && !(weights && p.in_w == 16 && p.c % kLanes == 0);
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
  const ChannelGroups groups(p, branches > f.n_inputs, directly(op, p));
  const TileWeights tile_weights(f, a, groups.blocked(), parts + p.chunks * stride);
  const Context k{op, a, p, statistics, tile_weights};
  statistics_coefficients(k, statistics);

  a.pool->parallel_for(int64_t(p.chunks) * f.n_inputs, [&](int64_t task, int thread) {
    const int64_t chunk = task / f.n_inputs;
    const int input = int(task % f.n_inputs);
    float* const memory = scratch + thread * p.backward_scratch();
    const PlaneGradTiles all(p, memory, {0, p.c, 0, false});
    if (!groups.directly()) {
      first.clear(thread, all.u, int64_t(p.c) * p.plane);
      first.clear(thread, all.h, int64_t(p.c) * p.g_plane);
    }
    first.done(thread);
    float* const part = parts + chunk * stride;
    run_chunk(k, groups, chunk, input, memory, part, part + weights + 2 * int64_t(input) * p.c);
  });

  // Tasks: depthwise and pointwise weights of each branch, then each input's affine.
  a.pool->parallel_for(2 * branches + f.n_inputs, [&](int64_t task, int) {
    float* part = parts;
    for (int64_t i = 0; i < task; ++i)
      part += i < 2 * branches ? a.in_shape(f.weights_at(0) + int(i)).elements() : 2 * int64_t(p.c);
    if (task >= 2 * branches)
      return join(k, op.inputs[size_t(task - 2 * branches)].affine_out, part, stride, 2 * int64_t(p.c));
    const SeparableStageGrad::Branch& b = op.branches[size_t(task / 2)];
    if (task % 2 == 1)
      return join(k, b.pointwise_out, part, stride, a.in_shape(f.weights_at(0) + int(task)).elements());
    const int kernel = f.branches[size_t(task / 2)].kernel;
    join_depthwise(k, b.depthwise_out, part, stride, kernel * kernel, groups.blocked());
  });
}

LADARTS_CPU_KERNEL(SeparableStageGrad, separable_stage_grad_kernel)

}  // namespace
}  // namespace ladarts
