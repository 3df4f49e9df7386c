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

void check_shapes(const Conv2dDesc& d, Tensor x, Tensor w, Tensor bias) {
  require(bool(x) && bool(w), "[conv2d] x and weight must be tensors of a graph; one of them is empty");
  require(x.dtype() == DType::f32 && w.dtype() == DType::f32,
          "[conv2d] x and weight must hold f32, got {} and {}", to_string(x.dtype()), to_string(w.dtype()));
  require(x.rank() == 4, "[conv2d] x {} must be (N, C, H, W)", x.shape().str());
  require(w.rank() == 4, "[conv2d] weight {} must be (O, C/groups, KH, KW)", w.shape().str());
  require(x.dim(1) % d.groups == 0 && w.dim(0) % d.groups == 0,
          "[conv2d] groups {} must divide the {} channels of x {} and the {} of weight {}", d.groups,
          x.dim(1), x.shape().str(), w.dim(0), w.shape().str());
  require(w.dim(1) == x.dim(1) / d.groups,
          "[conv2d] weight {} with groups {} expects {} input channels, x {} has {}", w.shape().str(),
          d.groups, w.dim(1) * d.groups, x.shape().str(), x.dim(1));
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

// A multiply-accumulate per tap of every output, operands moved once.
Cost convolution_cost(const NodeShapes& s, const Shape& y, const Shape& w) {
  Cost cost;
  cost.flops = 2.0 * double(y.elements()) * double(w[1] * w[2] * w[3]);
  for (const Shape& shape : s.inputs) cost.bytes_moved += 4.0 * double(shape.elements());
  for (const Shape& shape : s.outputs) cost.bytes_moved += 4.0 * double(shape.elements());
  return cost;
}

}  // namespace

Tensor conv2d(Tensor x, Tensor w, Conv2dDesc desc, Tensor bias) {
  check_desc(desc);
  check_shapes(desc, x, w, bias);
  const Conv2dGeometry g = conv2d_geometry(desc, x.shape(), w.shape());
  std::vector<Tensor> operands{x, w};
  if (bias) operands.push_back(bias);
  return x.graph().add(std::make_shared<Conv2d>(desc), operands, {{{g.n, g.o, g.oh, g.ow}}})[0];
}

Tensor conv2d(const std::vector<Tensor>& x, Tensor w, Conv2dDesc desc, Tensor bias) {
  require(!x.empty(), "[conv2d] x must have at least one part");
  const bool pointwise = desc.stride == 1 && desc.padding == 0 && desc.groups == 1 && bool(w) &&
                         w.rank() == 4 && w.dim(2) == 1 && w.dim(3) == 1;
  if (x.size() == 1) return conv2d(x[0], w, desc, bias);
  if (!pointwise || !readable_as_parts(x)) return conv2d(concat_channels(x), w, desc, bias);
  check_desc(desc);
  const auto parts = int64_t(x.size());
  require(w.dim(1) == parts * x[0].dim(1),
          "[conv2d] weight {} expects {} input channels, {} parts {} have {}", w.shape().str(), w.dim(1),
          parts, x[0].shape().str(), parts * x[0].dim(1));
  check_bias(w, bias);
  std::vector<Tensor> operands = x;
  operands.push_back(w);
  if (bias) operands.push_back(bias);
  return w.graph().add(std::make_shared<Conv2d>(desc, int(parts)), operands,
                       {{{x[0].dim(0), w.dim(0), x[0].dim(2), x[0].dim(3)}}})[0];
}

void Conv2d::backward(Backward& b) const {
  const Tensor w = b.input(parts), d_y = b.grad(0);
  std::vector<int> wanted;
  std::vector<Tensor> for_input{d_y, w}, for_weight{d_y};
  for (int i = 0; i < parts; ++i) {
    for_weight.push_back(b.input(i));
    if (!b.needs(i)) continue;
    wanted.push_back(i);
    if (desc.relu_input) for_input.push_back(b.input(i));
  }
  if (!wanted.empty()) b.emit(Conv2dGradInput(desc, wanted), for_input, wanted);
  if (b.needs(parts)) b.emit(Conv2dGradWeight(desc), for_weight, {parts});
  if (b.inputs() > parts + 1 && b.needs(parts + 1)) b.emit(BiasGrad(), {d_y}, {parts + 1});
}

size_t Conv2d::workspace_bytes(const NodeShapes& s, int threads) const {
  const Conv2dGeometry g = conv2d_geometry(desc, s.inputs[0], s.inputs[size_t(parts)]);
  return sizeof(float) * size_t(forward_workspace(g).floats(threads));
}
size_t Conv2dGradInput::workspace_bytes(const NodeShapes& s, int threads) const {
  const Conv2dGeometry g = conv2d_geometry(desc, s.outputs[0], s.inputs[1]);
  return sizeof(float) * size_t(grad_input_workspace(g).floats(threads));
}
size_t Conv2dGradWeight::workspace_bytes(const NodeShapes& s, int threads) const {
  const Conv2dGeometry g = conv2d_geometry(desc, s.inputs[1], s.outputs[0]);
  return sizeof(float) * size_t(grad_weight_workspace(g).floats(threads));
}

Cost Conv2d::cost(const NodeShapes& s) const {
  return convolution_cost(s, s.outputs[0], s.inputs[size_t(parts)]);
}
Cost Conv2dGradInput::cost(const NodeShapes& s) const {
  Cost cost = convolution_cost(s, s.inputs[0], s.inputs[1]);
  const double channels = double(s.inputs[1][1] * desc.groups);  // of all parts
  cost.flops *= double(s.outputs[0][1]) * double(parts.size()) / channels;
  return cost;
}
Cost Conv2dGradWeight::cost(const NodeShapes& s) const {
  return convolution_cost(s, s.inputs[0], s.outputs[0]);
}

}  // namespace ladarts
