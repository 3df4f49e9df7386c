// Forward pass of separable stages. A task is one input and one chunk of the batch: each image's padded,
// rectified planes are built once and serve every branch that reads it. A tile of the CIFAR supernet is 16 to
// 32 KiB, so all but the reading of x and the writing of y stays in the first two caches.
#include "ops/separable_stage.h"

#include <cmath>
#include <cstring>

#include "ops/cpu/channel_moments.h"
#include "ops/cpu/depthwise.h"
#include "ops/cpu/pointwise.h"
#include "ops/cpu/separable_input.h"

namespace ladarts {
namespace {

// One branch of one image: t (c tiles) is scratch, y_tile too where rows of y are not whole vectors.
void run_branch(const SeparableStage& op, int branch, const KernelArgs& a, const SeparablePlan& p,
                const float* planes, float* t, float* y_tile, float* y, int outputs, const float* next) {
  const int64_t pixels = int64_t(p.in_h) * p.in_w;
  FetchAhead ahead;
  ahead.add(y, int64_t(outputs) * p.out_h * p.out_w, 0, 1);
  if (next) ahead.add(next, p.c * pixels, 0, 1);
  ahead.spread(int64_t(p.c) * depthwise_calls(p.out_h, p.width));

  const SeparableStage::Branch& b = op.branches[size_t(branch)];
  const float* w = a.in(op.weights_at(branch));
  const bool whole = p.width == p.out_w;
  for (int c = 0; c < p.c; ++c) {
    const Plane x{planes + ptrdiff_t(c) * p.plane, p.pitch, p.half};
    depthwise_plane(b.kernel, b.dilation, op.stride, x, w + c * b.kernel * b.kernel,
                    t + ptrdiff_t(c) * p.tile_stride, p.width, p.out_h, p.width, ahead);
  }
  const Matrix m{a.in(op.weights_at(branch) + 1), p.c, 1};
  const Tile to{whole ? y : y_tile, whole ? p.tile : p.tile_stride, p.width};
  pointwise_tile({t, p.tile_stride, p.width}, m, p.c, outputs, to, p.out_h);
  if (whole) return;
  for (int o = 0; o < outputs; ++o)
    for (int r = 0; r < p.out_h; ++r)
      std::memcpy(y + (ptrdiff_t(o) * p.out_h + r) * p.out_w,
                  y_tile + ptrdiff_t(o) * p.tile_stride + r * p.width, size_t(p.out_w) * sizeof(float));
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

  a.pool->parallel_for(int64_t(p.chunks) * op.n_inputs, [&](int64_t task, int thread) {
    const int input = int(task % op.n_inputs);
    float* const planes = scratch + thread * p.forward_scratch();
    float* const t = planes + round_up(int64_t(p.c) * p.plane, 16);
    float* const y_tile = t + int64_t(p.c) * p.tile_stride;
    first.clear(thread, planes, int64_t(p.c) * p.plane);
    first.done(thread);
    const int64_t begin = task / op.n_inputs * p.images_per_chunk;
    for (int64_t n = begin; n < begin + p.images_per_chunk && n < p.images; ++n) {
      load_planes(op, a, p, n, input, planes);
      float* moment = moments + n * total * 2;
      const TaskImage after = image_after(p, op.n_inputs, {input, n}, begin);
      const float* next = after.n < p.images ? image_of(a, p, after) : nullptr;
      for (int b = 0; b < branches; ++b) {
        const int outputs = int(a.out_shape(2 * b)[1]);
        if (op.branches[size_t(b)].input == input) {
          float* y = a.out(2 * b) + n * outputs * pixels;
          run_branch(op, b, a, p, planes, t, y_tile, y, outputs, next);
          next = nullptr;
          for (int o = 0; o < outputs; ++o) plane_moments(y + o * pixels, pixels, moment + 2 * o);
        }
        moment += 2 * outputs;
      }
    }
  });

  int at = 0;
  for (int b = 0; b < branches; ++b) {
    const int outputs = int(a.out_shape(2 * b)[1]);
    for (int o = 0; o < outputs; ++o, ++at)
      normalising_affine(moments + 2 * at, 2 * total, p.images, pixels, op.eps, a.out(2 * b + 1) + o,
                         a.out(2 * b + 1) + outputs + o);
  }
}

LADARTS_CPU_KERNEL(SeparableStage, separable_stage_kernel)

}  // namespace
}  // namespace ladarts
