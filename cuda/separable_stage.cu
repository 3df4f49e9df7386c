// Separable stages on the device: normalisation and ReLU are applied while the depthwise kernels load their
// tiles, the statistics' gradient while the gradient of y is gathered. The depthwise result and its gradient
// go through scratch memory of one branch at a time: 8 more bytes per element and branch than one kernel for
// all would move.
#include "cuda/separable_stage.cuh"

#include <algorithm>

#include "cuda/conv2d_launch.cuh"
#include "cuda/gradient_sum.cuh"
#include "cuda/kernel.h"
#include "ops/separable_stage.h"

namespace ladarts::cuda {
namespace {

struct Geometry {
  Conv2dGeometry depthwise, pointwise;
  Geometry(const SeparableStage& op, int branch, const Shape& x, int64_t outputs) {
    const SeparableStage::Branch& b = op.branches[size_t(branch)];
    const Shape u{x[0], op.channels, x[2], x[3]};
    depthwise = conv2d_geometry({.stride = op.stride,
                                 .padding = b.dilation * (b.kernel - 1) / 2,
                                 .dilation = b.dilation,
                                 .groups = op.channels},
                                u, Shape{op.channels, 1, b.kernel, b.kernel});
    pointwise = conv2d_geometry({}, Shape{x[0], op.channels, depthwise.oh, depthwise.ow},
                                Shape{outputs, op.channels, 1, 1});
    check_sizes(depthwise);
    check_sizes(pointwise);
  }
  int64_t middle() const {
    return depthwise.n * depthwise.o * depthwise.pixels();
  }  // elements between the two
  int64_t outputs() const { return pointwise.n * pointwise.o * pointwise.pixels(); }
};

SourcePlanes source_of(const SeparableStage& op, const KernelArgs& a, int input) {
  return {a.in(input), uint32_t(op.channels), size32(a.in_shape(input)[1]),
          op.reads_affine() ? a.in(op.affine_at(input)) : nullptr, true};
}

size_t round_up(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

// Hands out parts of the workspace, or counts them.
class Scratch {
 public:
  explicit Scratch(std::byte* base) : base_(base) {}
  template <class T = float>
  T* take(size_t bytes) {
    std::byte* at = base_ ? base_ + used_ : nullptr;
    used_ += round_up(bytes);
    return reinterpret_cast<T*>(at);
  }
  size_t used() const { return used_; }

 private:
  std::byte* base_;
  size_t used_ = 0;
};

struct ForwardScratch {
  float* middle;
  Two* sums;
  size_t bytes;
  ForwardScratch(const SeparableStage& op, const Shape& x, const Shape* outputs, std::byte* base) {
    int64_t most = 0;
    size_t most_sums = 0;
    for (int b = 0; b < int(op.branches.size()); ++b) {
      const Geometry g(op, b, x, outputs[2 * b][1]);
      most = std::max(most, g.middle());
      most_sums = std::max(most_sums, sums_bytes(layout_of(x[0], g.pointwise.o, g.pointwise.pixels())));
    }
    Scratch s(base);
    middle = s.take(size_t(most) * sizeof(float));
    sums = s.take<Two>(most_sums);
    bytes = s.used();
  }
};

void stage_forward(const SeparableStage& op, const KernelArgs& a) {
  const Shape& x = a.in_shape(0);
  const ForwardScratch scratch(op, x, a.output_shapes, a.workspace);
  for (int b = 0; b < int(op.branches.size()); ++b) {
    const Geometry g(op, b, x, a.out_shape(2 * b)[1]);
    const int at = op.weights_at(b);
    float* const y = a.out(2 * b);
    depthwise_forward(g.depthwise, source_of(op, a, op.branches[size_t(b)].input), a.in(at), nullptr,
                      scratch.middle, a.stream);
    dense_forward(g.pointwise, OnePart{scratch.middle, size32(g.pointwise.c)}, a.in(at + 1), nullptr, y,
                  a.stream);
    const int64_t outputs = g.pointwise.o, plane = g.pointwise.pixels();
    channel_sums(CenteredTerm{y, plane},
                 FinishAffine{y, plane, outputs, double(x[0] * plane), op.eps, a.out(2 * b + 1)},
                 layout_of(x[0], outputs, plane), scratch.sums, a.stream);
  }
}
size_t forward_workspace(const SeparableStage& op, const NodeShapes& s) {
  return ForwardScratch(op, s.inputs[0], s.outputs.data(), nullptr).bytes;
}

struct BackwardScratch {
  float *d_y, *middle, *d_u, *coefficients, *partials;
  Two* sums;
  size_t bytes;
  BackwardScratch(const SeparableStageGrad& op, const Shape* operands, std::byte* base) {
    const SeparableStage& f = op.forward;
    const Shape& x = operands[0];
    int64_t outputs = 0, between = 0, most_channels = 0;
    size_t weights = 0;
    for (int b = 0; b < int(f.branches.size()); ++b) {
      const Geometry g(f, b, x, operands[op.y_at(b)][1]);
      outputs = std::max(outputs, g.outputs());
      between = std::max(between, g.middle());
      most_channels = std::max(most_channels, g.pointwise.o);
      weights = std::max({weights, partials_bytes(g.depthwise), partials_bytes(g.pointwise)});
    }
    Scratch s(base);
    d_y = s.take(size_t(outputs) * sizeof(float));
    middle = s.take(size_t(between) * sizeof(float));
    d_u = s.take(size_t(x[0] * f.channels * x[2] * x[3]) * sizeof(float));
    coefficients = s.take(size_t(2 * most_channels) * sizeof(float));
    partials = s.take(weights);
    sums = s.take<Two>(sums_bytes(layout_of(x[0], f.channels, x[2] * x[3])));
    bytes = s.used();
  }
};

// The gradient of a branch's y.
void output_gradient(const SeparableStageGrad& op, const KernelArgs& a, int branch, const Geometry& g,
                     const BackwardScratch& scratch) {
  const SeparableStageGrad::Branch& b = op.branches[size_t(branch)];
  const int y = op.y_at(branch);
  const int64_t channels = g.pointwise.o, pixels = g.pointwise.pixels();
  for_each(StatisticsGradient{a.in(y + 1), b.d_affine >= 0 ? a.in(b.d_affine) : nullptr, channels,
                              double(g.pointwise.n * pixels), scratch.coefficients},
           channels, a.stream);
  std::vector<GradientTermOperand> terms = term_operands(b.d_y, a, channels);
  terms.push_back({a.in(y), scratch.coefficients, scratch.coefficients + channels, size32(channels), 1});
  sum_terms(terms, g.pointwise.n, channels, pixels, scratch.d_y, false, a.stream);
}

// Weight gradients of a branch; adds to, or with `first` overwrites, d_u of its input.
void branch_gradient(const SeparableStageGrad& op, const KernelArgs& a, int branch, bool wants_u, bool first,
                     const BackwardScratch& scratch) {
  const SeparableStage& f = op.forward;
  const SeparableStageGrad::Branch& b = op.branches[size_t(branch)];
  if (b.pointwise_out < 0 && b.depthwise_out < 0 && !wants_u) return;
  const Geometry g(f, branch, a.in_shape(0), a.in_shape(op.y_at(branch))[1]);
  const SourcePlanes u = source_of(f, a, f.branches[size_t(branch)].input);
  const float *depthwise = a.in(f.weights_at(branch)), *pointwise = a.in(f.weights_at(branch) + 1);
  output_gradient(op, a, branch, g, scratch);
  if (b.pointwise_out >= 0) {
    depthwise_forward(g.depthwise, u, depthwise, nullptr, scratch.middle, a.stream);
    dense_grad_weight(g.pointwise, scratch.d_y, OnePart{scratch.middle, size32(g.pointwise.c)},
                      scratch.partials, a.out(b.pointwise_out), a.accumulate(b.pointwise_out), a.stream);
  }
  if (b.depthwise_out < 0 && !wants_u) return;
  dense_grad_input(g.pointwise, scratch.d_y, pointwise, nullptr, scratch.middle, false, a.stream);
  if (b.depthwise_out >= 0)
    depthwise_grad_weight(g.depthwise, scratch.middle, u, scratch.partials, a.out(b.depthwise_out),
                          a.accumulate(b.depthwise_out), a.stream);
  if (wants_u)
    depthwise_grad_input(g.depthwise, scratch.middle, depthwise, nullptr, scratch.d_u, !first, a.stream);
}

void input_gradient(const SeparableStageGrad& op, const KernelArgs& a, int input,
                    const BackwardScratch& scratch) {
  const SeparableStage& f = op.forward;
  const SeparableStageGrad::Input& in = op.inputs[size_t(input)];
  const Shape& x = a.in_shape(input);
  const int64_t pixels = x[2] * x[3];
  const float* affine = f.reads_affine() ? a.in(f.affine_at(input)) : nullptr;
  if (in.x_out >= 0)
    elementwise(InputGradient{a.in(input), scratch.d_u, affine, f.has_affine ? affine : nullptr, size32(x[1]),
                              uint32_t(f.channels), size32(pixels)},
                a.out(in.x_out), size32(x.elements()), a.accumulate(in.x_out), a.stream);
  if (in.affine_out >= 0)
    channel_sums(AffineTerm{a.in(input), scratch.d_u, affine, x[1], f.channels, pixels},
                 StoreAffine{a.out(in.affine_out), f.channels, a.accumulate(in.affine_out)},
                 layout_of(x[0], f.channels, pixels), scratch.sums, a.stream);
}

void stage_backward(const SeparableStageGrad& op, const KernelArgs& a) {
  const SeparableStage& f = op.forward;
  const BackwardScratch scratch(op, a.input_shapes, a.workspace);
  for (int i = 0; i < f.n_inputs; ++i) {
    const bool wants_u = op.inputs[size_t(i)].x_out >= 0 || op.inputs[size_t(i)].affine_out >= 0;
    bool first = true;
    for (int b = 0; b < int(f.branches.size()); ++b) {
      if (f.branches[size_t(b)].input != i) continue;
      branch_gradient(op, a, b, wants_u, first, scratch);
      first = false;
    }
    if (wants_u) input_gradient(op, a, i, scratch);
  }
}
size_t backward_workspace(const SeparableStageGrad& op, const NodeShapes& s) {
  return BackwardScratch(op, s.inputs.data(), nullptr).bytes;
}

LADARTS_CUDA_KERNEL(SeparableStage, stage_forward, forward_workspace)
LADARTS_CUDA_KERNEL(SeparableStageGrad, stage_backward, backward_workspace)

}  // namespace
}  // namespace ladarts::cuda
