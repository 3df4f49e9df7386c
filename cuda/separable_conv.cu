// Inference of separable convolutions on the device: the depthwise result goes through scratch memory.
#include "ops/separable_conv.h"

#include "cuda/conv2d_launch.cuh"
#include "cuda/kernel.h"

namespace ladarts::cuda {
namespace {

Conv2dGeometry depthwise_geometry(const SeparableConv& op, const Shape& x, const Shape& w) {
  return conv2d_geometry({.stride = op.desc.stride,
                          .padding = op.desc.dilation * (int(w[2]) - 1) / 2,
                          .dilation = op.desc.dilation,
                          .groups = int(x[1])},
                         x, w);
}

void separable_conv(const SeparableConv& op, const KernelArgs& a) {
  const Shape& x = a.in_shape(0);
  const Conv2dGeometry depthwise = depthwise_geometry(op, x, a.in_shape(1));
  const Conv2dGeometry pointwise =
      conv2d_geometry({}, Shape{x[0], x[1], depthwise.oh, depthwise.ow}, a.in_shape(2));
  check_sizes(depthwise);
  check_sizes(pointwise);
  float* const middle = reinterpret_cast<float*>(a.workspace);
  const SourcePlanes source{a.in(0), size32(x[1]), size32(x[1]), nullptr, true};
  depthwise_forward(depthwise, source, a.in(1), nullptr, middle, a.stream);
  dense_forward(pointwise, OnePart{middle, size32(pointwise.c)}, a.in(2), a.in(3), a.out(0), a.stream,
                a.n_inputs > 4 ? a.in(4) : nullptr);
}

size_t workspace(const SeparableConv& op, const NodeShapes& s) {
  const Conv2dGeometry d = depthwise_geometry(op, s.inputs[0], s.inputs[1]);
  return size_t(d.n * d.o * d.pixels()) * sizeof(float);
}

LADARTS_CUDA_KERNEL(SeparableConv, separable_conv, workspace)

}  // namespace
}  // namespace ladarts::cuda
