// Forward pass of separable stages. A task is one input and one chunk of the batch: each image is read where
// it lies (ops/cpu/depthwise_direct.h, depthwise_pairs.h), or its padded, rectified planes are built once and
// serve every branch. A tile of the CIFAR supernet is 16 to 32 KiB, so all but the reading of x and the
// writing of y stays in the first two caches.
#include "ops/separable_stage.h"

#include <algorithm>
#include <cstring>

#include "ops/cpu/blocked_tile.h"
#include "ops/cpu/channel_moments.h"
#include "ops/cpu/depthwise.h"
#include "ops/cpu/depthwise_direct.h"
#include "ops/cpu/depthwise_pairs.h"
#include "ops/cpu/pointwise.h"
#include "ops/cpu/separable_input.h"

namespace ladarts {
namespace {

struct Scratch {
  const float* x;       // an image,
  const float* affine;  // (2, channels) of it, or null,
  float* planes;        // and u of it, padded, unless it is read directly
  float* t;             // tiles of the depthwise result
  float* t_block;       // the same of a block of channels
  float* y_tile;        // tiles of y, where its rows are no whole vectors
  float* moments;
};

// Where rows are shorter than a vector, depthwise loops run over blocks of channels in place of rows.
bool by_blocks(const SeparablePlan& p) {
  return !reads_pairs(p) && kLanes > kTileLanes && p.c % kBlock == 0 && p.width == p.out_w &&
         p.width % kLanes != 0 && p.tile % kLanes == 0;
}

// t of one branch from planes in blocks of channels; `w` alike.
void depthwise_of_blocks(const SeparablePlan& p, SeparableStage::Branch b, const float* w, const Scratch& s,
                         FetchAhead& ahead) {
  const int taps = b.kernel * b.kernel;
  const BlockedPlan blocked(p, p.c);
  for (int c = 0; c < p.c; c += kBlock) {
    const BlockPlane x{s.planes + c / kBlock * blocked.u_block, blocked.u_pitch};
    with_kernel(b.kernel, b.dilation, p.stride, [&](auto k, auto d, auto stride) {
      block_plane<k(), d(), stride(), false, false>(x, w + c * taps, s.t_block, ptrdiff_t(p.out_w) * kBlock,
                                                    p.out_h, p.out_w, ahead);
    });
    unblock(s.t_block, p.tile, s.t + ptrdiff_t(c) * p.tile_stride, p.tile_stride);
  }
}

// From the image itself.
void depthwise_of_image(const SeparablePlan& p, SeparableStage::Branch b, const float* w, const Scratch& s,
                        FetchAhead& ahead) {
  with_direct_size(p.in_w, b.kernel, b.dilation, [&](auto l, auto v, auto k, auto d) {
    for (int c = 0; c < p.c; ++c) {
      const DirectImage image{s.x + c * p.tile, p.in_h};
      const float* const taps = w + c * k * k;
      float* const t = s.t + ptrdiff_t(c) * p.tile_stride;
      if (s.affine) {
        const NormalisedPixels u{s.affine[c], s.affine[p.c + c]};
        direct_plane<l(), v(), k(), d(), false, false>(image, u, taps, t, ahead);
      } else {
        direct_plane<l(), v(), k(), d(), false, false>(image, RectifiedPixels(), taps, t, ahead);
      }
    }
  });
}

// The same of 8 x 8, two channels at a time.
void depthwise_of_pairs(const SeparablePlan& p, SeparableStage::Branch b, const float* w, const Scratch& s,
                        FetchAhead& ahead) {
  with_pair_kernel(b.kernel, b.dilation, [&](auto k, auto d) {
    for (int c = 0; c < p.c; c += 2) {
      const ChannelPair at(c, p.c);
      const Pair<const float> x = at.of(s.x, p.tile), taps = at.of(w, k * k);
      const Pair<float> t = at.of(s.t, p.tile_stride);
      ahead.some(2);
      if (s.affine) {
        pair_plane<k(), d()>(x, NormalisedPair(at.of(s.affine, 1), at.of(s.affine + p.c, 1)), taps, t);
      } else {
        pair_plane<k(), d()>(x, RectifiedPixels(), taps, t);
      }
    }
  });
}

// From planes.
void depthwise_of_planes(const SeparablePlan& p, SeparableStage::Branch b, const float* w, const Scratch& s,
                         FetchAhead& ahead) {
  for (int c = 0; c < p.c; ++c)
    depthwise_plane(b.kernel, b.dilation, p.stride, {s.planes + ptrdiff_t(c) * p.plane, p.pitch, p.half},
                    w + c * b.kernel * b.kernel, s.t + ptrdiff_t(c) * p.tile_stride, p.width, p.out_h,
                    p.width, ahead);
}

// Steps of a product's sum from which it asks for memory, too.
constexpr int kLongSum = 32;

// One branch of one image; `moments`: two of each output.
void run_branch(const SeparableStage& op, int branch, const KernelArgs& a, const SeparablePlan& p,
                const float* w, const Scratch& s, float* y, int outputs, const float* next, float* moments) {
  const int64_t in_pixels = int64_t(p.in_h) * p.in_w, pixels = int64_t(p.out_h) * p.out_w;
  FetchAhead ahead;
  ahead.add(y, outputs * pixels, 0, 1);
  if (next) ahead.add(next, p.c * in_pixels, 0, 1);
  const bool in_product = p.c >= kLongSum;
  ahead.spread(by_blocks(p) ? p.c / kBlock * p.out_h : int64_t(p.c) * depthwise_calls(p.out_h, p.width),
               in_product ? pointwise_lines(p.c, outputs, p.tile) : 0);

  const Matrix m{a.in(op.weights_at(branch) + 1), p.c, 1};
  const bool whole = p.width == p.out_w, gathers = whole && pixels % kLanes == 0;
  OutputMoments gathered(s.moments, p.o);
  const auto depthwise = by_blocks(p)        ? depthwise_of_blocks
                         : reads_directly(p) ? depthwise_of_image
                         : reads_pairs(p)    ? depthwise_of_pairs
                                             : depthwise_of_planes;
  depthwise(p, op.branches[size_t(branch)], w, s, ahead);
  const Tile to{whole ? y : s.y_tile, whole ? p.tile : p.tile_stride, p.width};
  const Tile t{s.t, p.tile_stride, p.width};
  OutputMoments* const into = gathers ? &gathered : nullptr;
  if (in_product) {
    pointwise_tile_asking(ahead, t, m, p.c, outputs, to, p.out_h, into);
  } else {
    pointwise_tile(t, m, p.c, outputs, to, p.out_h, into);
  }
  if (gathers) return gathered.finish(outputs, pixels, moments);
  for (int o = 0; o < outputs && !whole; ++o)
    for (int r = 0; r < p.out_h; ++r)
      std::memcpy(y + (ptrdiff_t(o) * p.out_h + r) * p.out_w,
                  s.y_tile + ptrdiff_t(o) * p.tile_stride + r * p.width, size_t(p.out_w) * sizeof(float));
  for (int o = 0; o < outputs; ++o) plane_moments(y + o * pixels, pixels, moments + 2 * o);
}

void separable_stage_kernel(const SeparableStage& op, const KernelArgs& a) {
  const int branches = int(op.branches.size());
  int most = 0, total = 0;
  for (int b = 0; b < branches; ++b) {
    const int outputs = int(a.out_shape(2 * b)[1]);
    most = outputs > most ? outputs : most;
    total += outputs;
  }
  const SeparablePlan p(op, a.in_shape(0), most);
  float* const scratch = reinterpret_cast<float*>(a.workspace);
  float* const flags = scratch + a.pool->threads() * p.forward_scratch();
  float* const moments = flags + a.pool->threads() * SeparablePlan::kFlagFloats;  // (images, total, 2)
  const FirstTask first(flags, a.pool->threads());
  const int64_t pixels = int64_t(p.out_h) * p.out_w;
  const bool blocks = by_blocks(p), direct = reads_directly(p) || reads_pairs(p);
  const TileWeights weights(op, a, blocks ? p.c : 0, moments + p.images * total * 2);

  a.pool->parallel_for(int64_t(p.chunks) * op.n_inputs, [&](int64_t task, int thread) {
    const int input = int(task % op.n_inputs);
    Scratch s;
    s.planes = scratch + thread * p.forward_scratch();
    s.t = s.planes + round_up(int64_t(p.c) * p.plane, 16);
    s.t_block = s.t + int64_t(p.c) * p.tile_stride;
    s.y_tile = s.t_block + int64_t(SeparablePlan::kMostLanes) * p.tile_stride;
    s.moments = s.y_tile + int64_t(p.o) * p.tile_stride;
    if (!direct) first.clear(thread, s.planes, int64_t(p.c) * p.plane);
    first.done(thread);
    const int64_t begin = task / op.n_inputs * p.images_per_chunk;
    for (int64_t n = begin; n < begin + p.images_per_chunk && n < p.images; ++n) {
      s.x = image_of(a, p, {input, n});
      s.affine = op.reads_affine() ? a.in(op.affine_at(input)) : nullptr;
      if (blocks) {
        load_blocks(op, a, p, BlockedPlan(p, p.c), n, input, 0, s.planes);
      } else if (!direct) {
        load_planes(op, a, p, n, input, 0, p.c, s.planes);
      }
      float* moment = moments + n * total * 2;
      const TaskImage after = image_after(p, op.n_inputs, {input, n}, begin);
      const float* next = after.n < p.images ? image_of(a, p, after) : nullptr;
      for (int b = 0; b < branches; ++b) {
        const int outputs = int(a.out_shape(2 * b)[1]);
        if (op.branches[size_t(b)].input == input) {
          float* y = a.out(2 * b) + n * outputs * pixels;
          run_branch(op, b, a, p, weights.depthwise(b), s, y, outputs, next, moment);
          next = nullptr;
        }
        moment += 2 * outputs;
      }
    }
  });

  const float* of_branch = moments;
  for (int b = 0; b < branches; ++b) {
    const int outputs = int(a.out_shape(2 * b)[1]);
    float* const affine = a.out(2 * b + 1);
    normalising_affine(of_branch, 2 * total, p.images, pixels, op.eps, outputs, affine, affine + outputs);
    of_branch += 2 * outputs;
  }
}

LADARTS_CPU_KERNEL(SeparableStage, separable_stage_kernel)

}  // namespace
}  // namespace ladarts
