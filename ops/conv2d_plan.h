// What the convolution ops and their kernels must agree on: sizes, which algorithm runs, how scratch memory
// is laid out. Compiled once, so that kernels of no instruction set can disagree with Op::workspace_bytes.
#pragma once

#include <span>

#include "ops/conv2d.h"

namespace ladarts {

struct Conv2dGeometry {
  int64_t n, c, h, w;     // x (n, c, h, w)
  int64_t o, cg, kh, kw;  // w (o, cg, kh, kw); cg = c / groups
  int64_t oh, ow;         // y (n, o, oh, ow)
  int64_t og;             // output channels per group
  int64_t stride, padding, dilation, groups;
  bool relu_input;

  int64_t taps() const { return cg * kh * kw; }  // terms of one output's sum
  int64_t pixels() const { return oh * ow; }     // of one output plane
  int64_t weights() const { return o * taps(); }
  // One input and one output channel per group; everything else goes through matrix products.
  bool depthwise() const { return cg == 1 && og == 1; }
  // Kernels of several taps whose images are wide enough for vectors of one row read bordered planes instead
  // of gathered panels, where the planes of a group fit into scratch. The input's gradient does where stride
  // is 1.
  bool spatial() const;
  // Output pixel p reads input pixel p of each channel: no gathering is needed.
  bool pointwise() const { return kh == 1 && kw == 1 && stride == 1 && padding == 0; }
};

// From the shapes of x, or of a part of it, and w. The output must not be empty (conv2d() checks).
Conv2dGeometry conv2d_geometry(const Conv2dDesc& desc, const Shape& x, const Shape& w);
// Of several weights: as if they were one, output channel after output channel.
Conv2dGeometry conv2d_geometry(const Conv2dDesc& desc, const Shape& x, std::span<const Shape> w);

// Matrix products work on panels: kPanelRows taps (or channels) of up to kPanelColumns output pixels.
// Channels of large images lie pages apart, so long runs of each are read at a time. Small images are taken
// together, kSharedColumns pixels at a time.
constexpr int64_t kPanelRows = 256, kPanelColumns = 256, kSharedColumns = 64;
// Weight gradients reduce over kReducedPixels pixels at a time. Rows are a little longer, so that rows of a
// power of two do not share cache sets.
constexpr int64_t kReducedPixels = 512, kReducedStride = kReducedPixels + 16;
constexpr int64_t kReducedTaps = 128, kReducedOutputs = 64;

constexpr int64_t kPlaneAlignment =
    16;  // floats; planes may start later in their scratch by fewer than these

// Scratch of one image plane: input rows with their zero border. With stride s a row is stored as s
// sub-rows of every s-th pixel, so that outputs next to each other read values next to each other.
struct BorderedPlane {
  int64_t rows;
  int64_t phase_stride;  // floats from one sub-row to the next
  int64_t row_stride;    // stride * phase_stride
  int64_t floats() const { return rows * row_stride + kPlaneAlignment; }
};
// For computing (rows, columns) outputs at the given stride; covers whole vectors and kDepthwiseRows more
// rows.
BorderedPlane bordered_plane(int64_t rows, int64_t columns, int64_t kh, int64_t kw, int64_t stride,
                             int64_t dilation);
// Images whose planes spatial weight gradients keep at a time.
int64_t images_together(const Conv2dGeometry& g);
// The planes that forward and weight gradient read x from, and that the input's gradient reads d_y from.
BorderedPlane output_plane(const Conv2dGeometry& g);
BorderedPlane input_plane(const Conv2dGeometry& g);
constexpr int64_t kDepthwiseRows = 4;  // output rows held in registers
// Small planes are copied several at a time: reading one right after it was written would wait for the
// stores.
int64_t planes_together(const BorderedPlane& p);

// Weight gradients are summed per chunk of images, then over chunks, both in order.
int64_t weight_gradient_chunks(const Conv2dGeometry& g);

// Scratch of a kernel in floats, in this order: what all threads read, each thread's own, partial sums.
struct Conv2dWorkspace {
  int64_t shared, per_thread, partials;
  int64_t floats(int threads) const { return shared + threads * per_thread + partials; }
};
Conv2dWorkspace forward_workspace(const Conv2dGeometry& g);
Conv2dWorkspace grad_input_workspace(const Conv2dGeometry& g, int outputs = 1);
Conv2dWorkspace grad_weight_workspace(const Conv2dGeometry& g);

}  // namespace ladarts
