#include "ops/conv2d.h"

#include "core/error.h"
#include "core/gradients.h"
#include "ops/channels.h"
#include "ops/conv2d_plan.h"

namespace ladarts {

namespace {

void check_desc(const Conv2dDesc& d) {
  require(
      d.stride >= 1 && d.dilation >= 1 && d.groups >= 1 && d.padding >= 0,
      "[conv2d] stride {}, dilation {}, groups {}, padding {}: the first three must be at least 1, padding "
      "at least 0",
      d.stride, d.dilation, d.groups, d.padding);
}

void check_bias(Tensor w, Tensor bias) {
  if (!bias) return;
  require(bias.dtype() == DType::f32 && bias.shape() == Shape{w.dim(0)},
          "[conv2d] bias {} must be ({}): one value per output channel of weight {}", bias.shape().str(),
          w.dim(0), w.shape().str());
}

// x: of one part.
void check_shapes(const Conv2dDesc& d, Tensor x, int64_t parts, Tensor w, Tensor bias) {
  require(bool(x) && bool(w), "[conv2d] x and weight must be tensors of a graph; one of them is empty");
  require(x.dtype() == DType::f32 && w.dtype() == DType::f32,
          "[conv2d] x and weight must hold f32, got {} and {}", to_string(x.dtype()), to_string(w.dtype()));
  require(x.rank() == 4, "[conv2d] x {} must be (N, C, H, W)", x.shape().str());
  require(w.rank() == 4, "[conv2d] weight {} must be (O, C/groups, KH, KW)", w.shape().str());
  require(x.dim(1) % d.groups == 0 && w.dim(0) % d.groups == 0,
          "[conv2d] groups {} must divide the {} channels of x {} and the {} of weight {}", d.groups,
          x.dim(1), x.shape().str(), w.dim(0), w.shape().str());
  require(parts > 1 || w.dim(1) == x.dim(1) / d.groups,
          "[conv2d] weight {} with groups {} expects {} input channels, x {} has {}", w.shape().str(),
          d.groups, w.dim(1) * d.groups, x.shape().str(), x.dim(1));
  require(parts == 1 || w.dim(1) == parts * x.dim(1),
          "[conv2d] weight {} expects {} input channels, {} parts {} have {}", w.shape().str(), w.dim(1),
          parts, x.shape().str(), parts * x.dim(1));
  for (int i = 0; i < 4; ++i)
    require(x.dim(i) > 0 && w.dim(i) > 0, "[conv2d] x {} and weight {} must not be empty", x.shape().str(),
            w.shape().str());
  for (int i = 2; i < 4; ++i) {
    const int64_t reach = int64_t{d.dilation} * (w.dim(i) - 1) + 1;
    require(x.dim(i) + 2 * d.padding >= reach,
            "[conv2d] weight {} with dilation {} spans {} pixels, x {} with padding {} has {}; enlarge the "
            "padding or "
            "use a smaller kernel",
            w.shape().str(), d.dilation, reach, x.shape().str(), d.padding, x.dim(i) + 2 * d.padding);
  }
  check_bias(w, bias);
}

bool is_pointwise(const Conv2dDesc& d, const std::vector<ConvWeights>& w) {
  const bool biased = bool(w[0].bias);
  for (const auto& [weight, bias] : w)
    if (!weight || weight.rank() != 4 || weight.dim(2) != 1 || weight.dim(3) != 1 || bool(bias) != biased)
      return false;
  return d.stride == 1 && d.padding == 0 && d.groups == 1;
}

// A multiply-accumulate per tap of every output, operands moved once. y: of each output.
Cost convolution_cost(const NodeShapes& s, std::span<const Shape> y, const Shape& w) {
  Cost cost;
  for (const Shape& shape : y) cost.flops += 2.0 * double(shape.elements()) * double(w[1] * w[2] * w[3]);
  for (const Shape& shape : s.inputs) cost.bytes_moved += 4.0 * double(shape.elements());
  for (const Shape& shape : s.outputs) cost.bytes_moved += 4.0 * double(shape.elements());
  return cost;
}

}  // namespace

Tensor conv2d(Tensor x, Tensor w, Conv2dDesc desc, Tensor bias) {
  check_desc(desc);
  check_shapes(desc, x, 1, w, bias);
  const Conv2dGeometry g = conv2d_geometry(desc, x.shape(), w.shape());
  std::vector<Tensor> operands{x, w};
  if (bias) operands.push_back(bias);
  return x.graph().add(std::make_shared<Conv2d>(desc), operands, {{{g.n, g.o, g.oh, g.ow}}})[0];
}

Tensor conv2d(const std::vector<Tensor>& x, Tensor w, Conv2dDesc desc, Tensor bias) {
  return conv2d(x, std::vector{ConvWeights{w, bias}}, desc)[0];
}

std::vector<Tensor> conv2d(const std::vector<Tensor>& x, const std::vector<ConvWeights>& w, Conv2dDesc desc) {
  require(!x.empty() && !w.empty(), "[conv2d] x must have at least one part, and there must be a weight");
  const bool joint =
      w.size() <= size_t(kMostParts) && is_pointwise(desc, w) && (x.size() == 1 || readable_as_parts(x));
  if (!joint || (x.size() == 1 && w.size() == 1)) {
    const Tensor whole = x.size() == 1 ? x[0] : concat_channels(x);
    std::vector<Tensor> results;
    for (const auto& [weight, bias] : w) results.push_back(conv2d(whole, weight, desc, bias));
    return results;
  }
  check_desc(desc);
  const auto parts = int64_t(x.size());
  std::vector<Tensor> operands = x;
  std::vector<OutputSpec> outputs;
  for (const auto& [weight, bias] : w) {
    check_shapes(desc, x[0], parts, weight, bias);
    operands.push_back(weight);
    outputs.push_back({{x[0].dim(0), weight.dim(0), x[0].dim(2), x[0].dim(3)}});
  }
  for (const auto& [weight, bias] : w)
    if (bias) operands.push_back(bias);
  return x[0].graph().add(std::make_shared<Conv2d>(desc, int(parts), int(w.size())), operands, outputs);
}

void Conv2d::backward(Backward& b) const {
  std::vector<int> wanted;  // parts of x
  for (int i = 0; i < parts; ++i)
    if (b.needs(i)) wanted.push_back(i);
  std::vector<Tensor> for_input, weights, for_weight;
  std::vector<int> trained;
  for (int i = 0; i < outputs; ++i) {
    const int weight = parts + i, bias = weight + outputs;
    if (!b.has_grad(i)) continue;
    for_input.push_back(b.grad(i));
    weights.push_back(b.input(weight));
    if (b.needs(weight)) {
      for_weight.push_back(b.grad(i));
      trained.push_back(weight);
    }
    if (b.inputs() > bias && b.needs(bias)) b.emit(BiasGrad(), {b.grad(i)}, {bias});
  }
  if (!wanted.empty()) {
    const int reached = int(weights.size());
    for_input.insert(for_input.end(), weights.begin(), weights.end());
    for (const int i : wanted)
      if (desc.relu_input) for_input.push_back(b.input(i));
    b.emit(Conv2dGradInput(desc, wanted, reached), for_input, wanted);
  }
  if (trained.empty()) return;
  for (int i = 0; i < parts; ++i) for_weight.push_back(b.input(i));
  b.emit(Conv2dGradWeight(desc, int(trained.size())), for_weight, trained);
}

std::optional<Recomputation> Conv2d::recomputation() const {
  if (!desc.few_taps || outputs > 1) return {};
  return Recomputation{};
}

size_t Conv2d::workspace_bytes(const NodeShapes& s, int threads) const {
  const Conv2dGeometry g =
      conv2d_geometry(desc, s.inputs[0], s.inputs.subspan(size_t(parts), size_t(outputs)));
  return sizeof(float) * size_t(forward_workspace(g).floats(threads));
}
size_t Conv2dGradInput::workspace_bytes(const NodeShapes& s, int threads) const {
  const auto n = size_t(outputs);
  const Conv2dGeometry g = conv2d_geometry(desc, s.outputs[0], s.inputs.subspan(n, n));
  return sizeof(float) * size_t(grad_input_workspace(g, outputs).floats(threads));
}
size_t Conv2dGradWeight::workspace_bytes(const NodeShapes& s, int threads) const {
  const Conv2dGeometry g = conv2d_geometry(desc, s.inputs[size_t(outputs)], s.outputs);
  return sizeof(float) * size_t(grad_weight_workspace(g).floats(threads));
}

Cost Conv2d::cost(const NodeShapes& s) const {
  return convolution_cost(s, s.outputs, s.inputs[size_t(parts)]);
}
Cost Conv2dGradInput::cost(const NodeShapes& s) const {
  const Shape& w = s.inputs[size_t(outputs)];
  Cost cost = convolution_cost(s, s.inputs.first(size_t(outputs)), w);
  const double channels = double(w[1] * desc.groups);  // of all parts
  cost.flops *= double(s.outputs[0][1]) * double(parts.size()) / channels;
  return cost;
}
Cost Conv2dGradWeight::cost(const NodeShapes& s) const {
  return convolution_cost(s, s.inputs.first(size_t(outputs)), s.outputs[0]);
}

}  // namespace ladarts
