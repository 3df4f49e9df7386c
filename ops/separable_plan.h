// Sizes of the tiles and partial sums of a separable stage, shared by the op (which plans their memory) and
// the CPU kernels. Everything follows from shapes alone, so results do not depend on the number of threads.
//
// A tile holds one image. The input lies in padded planes, one for each channel; at stride 2 a row
// holds its even columns first and its odd ones at `half`, so that each tap reads consecutive floats.
#pragma once

#include "ops/separable_stage.h"

namespace ladarts {

struct SeparablePlan {
  static constexpr int kHalo = 4;  // zeros around an image: the reach of a 5x5 kernel with dilation 2

  // Of the first `channels` of x (N, C, H, W), and as many inputs.
  SeparablePlan(int stride, int channels, const Shape& x, int max_outputs, int inputs = 1);
  SeparablePlan(const SeparableStage& op, const Shape& x, int max_outputs)
      : SeparablePlan(op.stride, op.channels, x, max_outputs, op.n_inputs) {}

  int64_t images;
  int stride;
  int c, o;  // channels read; most outputs of a branch
  int in_h, in_w;
  int out_h, out_w;
  int width;               // out_w rounded up to whole vectors
  int half, pitch, plane;  // of the input: start of the odd columns, row to row, channel to channel
  int g_pitch, g_plane;    // of a padded output-sized tile
  int tile;                // one channel of an output-sized tile without halo
  int tile_stride;         // channel to channel of tiles: readable by whole vectors, and never whole pages
  bool transposes;         // weight gradients of pointwise kernels take the input's tile transposed
  int chunks;              // the batch is cut into these for partial sums of weight gradients
  int64_t images_per_chunk;

  static constexpr int64_t kFlagFloats = 16;    // of each thread: see FirstTask
  static constexpr int64_t kMomentFloats = 48;  // of each output: see OutputMoments
  static constexpr int64_t kMostLanes = 16;     // of a vector, and so of a block of channels
  int64_t forward_scratch() const;              // floats of a thread, without them
  int64_t backward_scratch() const;
};

// A separable_conv() cuts an image into bands of output rows, enough for all threads; a task computes one
// band of every channel. A pixel's sum does not depend on its band.
struct SeparableBands {
  static constexpr int kTogether = 4;  // planes written before the first is read: stores take a while

  SeparableBands(const SeparablePlan& p, int threads);
  int64_t scratch() const;  // floats of a thread

  int rows, count;      // of a band; bands of an image
  int plane;            // padded input rows of a band, one channel
  int64_t tile_stride;  // channel to channel of the depthwise result
  int64_t tiles;        // channels that have a tile: with rows that are no whole vectors, those of y too
};

// Floats of one chunk's partial sums: each branch's depthwise and pointwise gradient, in order.
int64_t separable_weight_floats(const SeparableStage& op, const Shape* operand_shapes);

inline int64_t round_up(int64_t n, int64_t to) {
  return (n + to - 1) / to * to;
}

}  // namespace ladarts
