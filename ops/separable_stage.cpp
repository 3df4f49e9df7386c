#include "ops/separable_stage.h"

#include <algorithm>

#include "ops/checks.h"
#include "ops/separable_plan.h"

namespace ladarts {

namespace {

void check_inputs(const std::vector<DeferredNorm>& inputs, const SeparableStageDesc& desc) {
  require(!inputs.empty(), "[separable_stage] needs at least one input");
  require(desc.stride == 1 || desc.stride == 2, "[separable_stage] stride {}: only 1 and 2 are offered",
          desc.stride);
  const Tensor first = inputs[0].y;
  require_float("separable_stage", "input", first);
  require(first.rank() == 4 && first.shape().elements() > 0,
          "[separable_stage] input {} must be (N, C, H, W) and not empty", first.shape().str());
  require(desc.channels >= 0 && desc.channels <= first.dim(1),
          "[separable_stage] {} channels asked for, the input has {}", desc.channels, first.dim(1));
  const int64_t c = desc.channels ? desc.channels : first.dim(1);
  for (const DeferredNorm& in : inputs) {
    require_same_shape("separable_stage", "input 0", first, "another input", in.y);
    require(bool(in.affine) == bool(inputs[0].affine),
            "[separable_stage] either all inputs have an affine or none");
    if (in.affine) require_float("separable_stage", "affine", in.affine);
    if (in.affine)
      require(in.affine.shape() == Shape{2, c}, "[separable_stage] affine {} must be (2, {})",
              in.affine.shape().str(), c);
  }
}

void check_branch(const SeparableBranch& b, size_t inputs, int64_t c) {
  require(b.input >= 0 && size_t(b.input) < inputs, "[separable_stage] branch reads input {} of {}", b.input,
          inputs);
  require(b.dilation == 1 || b.dilation == 2, "[separable_stage] dilation {}: only 1 and 2 are offered",
          b.dilation);
  require_float("separable_stage", "depthwise weight", b.depthwise);
  require_float("separable_stage", "pointwise weight", b.pointwise);
  const Shape& d = b.depthwise.shape();
  require(d == Shape{c, 1, 3, 3} || d == Shape{c, 1, 5, 5},
          "[separable_stage] depthwise weight {} must be ({}, 1, K, K), K 3 or 5; conv2d takes other kernels",
          d.str(), c);
  const Shape& p = b.pointwise.shape();
  require(p.rank() == 4 && p[0] > 0 && p[1] == c && p[2] == 1 && p[3] == 1,
          "[separable_stage] pointwise weight {} must be (O, {}, 1, 1)", p.str(), c);
}

int max_outputs(const SeparableStage& op, const Shape* operands) {
  int64_t most = 0;
  for (size_t b = 0; b < op.branches.size(); ++b)
    most = std::max(most, operands[op.weights_at(int(b)) + 1][0]);
  return int(most);
}

int64_t depthwise_floats(const SeparableStage& op, const NodeShapes& s) {
  int64_t sum = 0;
  for (size_t b = 0; b < op.branches.size(); ++b) sum += s.inputs[size_t(op.weights_at(int(b)))].elements();
  return sum;
}

double multiply_accumulates(const SeparableStage& op, const NodeShapes& s, bool depthwise) {
  const Shape& x = s.inputs[0];
  const double pixels =
      double(x[0]) * double((x[2] + op.stride - 1) / op.stride) * double((x[3] + op.stride - 1) / op.stride);
  double sum = 0;
  for (size_t b = 0; b < op.branches.size(); ++b)
    sum += pixels * double(s.inputs[size_t(op.weights_at(int(b)) + (depthwise ? 0 : 1))].elements());
  return sum;
}

}  // namespace

SeparablePlan::SeparablePlan(int s, int channels, const Shape& x, int outputs, int inputs)
    : images(x[0]), stride(s), c(channels), o(outputs), in_h(int(x[2])), in_w(int(x[3])) {
  out_h = (in_h + stride - 1) / stride;
  out_w = (in_w + stride - 1) / stride;
  width = int(round_up(out_w, 8));
  half = stride == 1 ? 0 : width + 2 * kHalo;
  pitch = stride == 1 ? width + 2 * kHalo : 2 * half;
  plane = (in_h + 2 * kHalo) * pitch;
  g_pitch = width + 2 * kHalo;
  g_plane = (out_h + 2 * kHalo) * g_pitch;
  tile = out_h * width;
  tile_stride = int(round_up(tile, 16)) + 16;
  transposes = c >= 16 && tile <= 64;
  // Tasks enough for the threads of a workstation, of which each has one input; as few partial sums as that
  // allows.
  constexpr int64_t kTasks = 16, kLeastChunks = 4;
  const int64_t wanted = std::max(kLeastChunks, kTasks / inputs);
  images_per_chunk = (images + wanted - 1) / wanted;
  chunks = int((images + images_per_chunk - 1) / images_per_chunk);
}

int64_t SeparablePlan::forward_scratch() const {
  return round_up(int64_t(c) * plane, 16) + (c + o + kMostLanes) * tile_stride + o * kMomentFloats;
}

int64_t SeparablePlan::backward_scratch() const {
  return 2 * round_up(int64_t(c) * plane, 16) + int64_t(c + o) * tile_stride +
         round_up(int64_t(c) * g_plane, 16) + (transposes ? tile * round_up(c, 16) : 0);
}

int64_t separable_weight_floats(const SeparableStage& op, const Shape* operands) {
  int64_t sum = 0;
  for (size_t b = 0; b < op.branches.size(); ++b)
    sum += operands[op.weights_at(int(b))].elements() + operands[op.weights_at(int(b)) + 1].elements();
  return sum;
}

std::vector<DeferredNorm> separable_stage(const std::vector<DeferredNorm>& inputs,
                                          const std::vector<SeparableBranch>& branches,
                                          SeparableStageDesc desc) {
  check_inputs(inputs, desc);
  auto op = std::make_shared<SeparableStage>();
  const Shape x = inputs[0].y.shape();
  op->n_inputs = int(inputs.size());
  op->has_affine = bool(inputs[0].affine);
  op->channels = desc.channels ? desc.channels : int(x[1]);
  op->stride = desc.stride;
  op->eps = desc.eps;
  const int64_t height = (x[2] + desc.stride - 1) / desc.stride,
                width = (x[3] + desc.stride - 1) / desc.stride;
  require(x[0] * height * width > 1, "[separable_stage] input {} gives one value a channel: no statistics",
          x.str());

  std::vector<Tensor> operands;
  std::vector<OutputSpec> outputs;
  for (const DeferredNorm& in : inputs) operands.push_back(in.y);
  if (op->has_affine)
    for (const DeferredNorm& in : inputs) operands.push_back(in.affine);
  for (const SeparableBranch& b : branches) {
    check_branch(b, inputs.size(), op->channels);
    op->branches.push_back({b.input, int(b.depthwise.dim(2)), b.dilation});
    operands.push_back(b.depthwise);
    operands.push_back(b.pointwise);
    outputs.push_back({{x[0], b.pointwise.dim(0), height, width}});
    outputs.push_back({{2, b.pointwise.dim(0)}});
  }
  for (size_t i = 0; i < inputs.size(); ++i)
    require(std::any_of(branches.begin(), branches.end(),
                        [&](const SeparableBranch& b) { return size_t(b.input) == i; }),
            "[separable_stage] no branch reads input {}; leave it out", i);
  const std::vector<Tensor> results = inputs[0].y.graph().add(op, operands, outputs);
  std::vector<DeferredNorm> norms;
  for (size_t b = 0; b < branches.size(); ++b) norms.push_back({results[2 * b], results[2 * b + 1]});
  return norms;
}

void SeparableStage::backward(Backward& b) const {
  SeparableStageGrad op;
  op.forward = *this;
  std::vector<Tensor> operands;
  for (int i = 0; i < b.inputs(); ++i) operands.push_back(b.input(i));
  for (int i = 0; i < b.outputs(); ++i) operands.push_back(b.output(i));
  for (int k = 0; k < int(branches.size()); ++k) {
    SeparableStageGrad::Branch branch;
    branch.d_y = gradient_sum(b, 2 * k, operands);
    if (b.has_grad(2 * k + 1)) {
      branch.d_affine = int(operands.size());
      operands.push_back(b.grad(2 * k + 1));
    }
    op.branches.push_back(std::move(branch));
  }
  std::vector<int> grads_of;
  auto want = [&](int input) {
    if (!b.needs(input)) return -1;
    grads_of.push_back(input);
    return int(grads_of.size()) - 1;
  };
  for (int i = 0; i < n_inputs; ++i) {
    SeparableStageGrad::Input in;
    in.x_out = want(i);
    if (has_affine) in.affine_out = want(affine_at(i));
    op.inputs.push_back(in);
  }
  for (int k = 0; k < int(branches.size()); ++k) {
    op.branches[size_t(k)].depthwise_out = want(weights_at(k));
    op.branches[size_t(k)].pointwise_out = want(weights_at(k) + 1);
  }
  b.emit(std::move(op), operands, grads_of);
}

std::shared_ptr<const Op> SeparableStage::reading_affine(const std::vector<int>& inputs, int affine) const {
  if (n_inputs > 1 || reads_affine() || inputs != std::vector{0}) return {};
  auto op = std::make_shared<SeparableStage>(*this);
  op->deferred_affine = affine;
  return op;
}
std::shared_ptr<const Op> SeparableStageGrad::reading_affine(const std::vector<int>& operands,
                                                             int affine) const {
  if (forward.n_inputs > 1 || forward.reads_affine() || operands != std::vector{0}) return {};
  auto op = std::make_shared<SeparableStageGrad>(*this);
  op->forward.deferred_affine = affine;
  return op;
}

// Each thread's tiles; mean and sum of squared deviations of every image and output channel; depthwise
// weights in another order.
size_t SeparableStage::workspace_bytes(const NodeShapes& s, int threads) const {
  const SeparablePlan plan(*this, s.inputs[0], max_outputs(*this, s.inputs.data()));
  int64_t outputs = 0;
  for (size_t b = 0; b < branches.size(); ++b) outputs += s.outputs[2 * b][1];
  return size_t(threads * (plan.forward_scratch() + SeparablePlan::kFlagFloats) + 2 * plan.images * outputs +
                depthwise_floats(*this, s)) *
         sizeof(float);
}

Cost SeparableStage::cost(const NodeShapes& s) const {
  Cost cost = Op::cost(s);
  cost.flops = 2 * (multiply_accumulates(*this, s, true) + multiply_accumulates(*this, s, false));
  cost.bytes_moved -=
      4.0 * n_inputs * double(s.inputs[0].elements()) * (1 - double(channels) / double(s.inputs[0][1]));
  return cost;
}

// Each thread's tiles; the coefficients (2) of every output channel's statistics; partial sums of each chunk;
// depthwise weights in another order.
size_t SeparableStageGrad::workspace_bytes(const NodeShapes& s, int threads) const {
  const int outputs = max_outputs(forward, s.inputs.data());
  const SeparablePlan plan(forward, s.inputs[0], outputs);
  const int64_t affine = 2 * int64_t(forward.n_inputs) * plan.c;
  return size_t(threads * (plan.backward_scratch() + SeparablePlan::kFlagFloats) +
                round_up(2 * int64_t(branches.size()) * outputs, 16) +
                plan.chunks * (separable_weight_floats(forward, s.inputs.data()) + affine) +
                depthwise_floats(forward, s)) *
         sizeof(float);
}

Cost SeparableStageGrad::cost(const NodeShapes& s) const {
  Cost cost = Op::cost(s);
  const double depthwise = multiply_accumulates(forward, s, true);
  const double pointwise = multiply_accumulates(forward, s, false);
  bool x = false, w = false;
  for (const Input& in : inputs) x = x || in.x_out >= 0 || in.affine_out >= 0;
  for (const Branch& b : branches) w = w || b.depthwise_out >= 0 || b.pointwise_out >= 0;
  cost.flops = 2 * ((x ? depthwise + pointwise : 0) + (w ? 2 * depthwise + pointwise : 0));
  return cost;
}

}  // namespace ladarts
