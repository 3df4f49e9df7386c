#include "ops/conv2d.h"

#include "core/error.h"
#include "core/gradients.h"
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
  if (bias)
    require(bias.dtype() == DType::f32 && bias.shape() == Shape{w.dim(0)},
            "[conv2d] bias {} must be ({}): one value per output channel of weight {}", bias.shape().str(),
            w.dim(0), w.shape().str());
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

void Conv2d::backward(Backward& b) const {
  const Tensor x = b.input(0), w = b.input(1), d_y = b.grad(0);
  if (b.needs(0)) {
    std::vector<Tensor> operands{d_y, w};
    if (desc.relu_input) operands.push_back(x);
    b.emit(Conv2dGradInput(desc), operands, {0});
  }
  if (b.needs(1)) b.emit(Conv2dGradWeight(desc), {d_y, x}, {1});
  if (b.inputs() > 2 && b.needs(2)) b.emit(BiasGrad(), {d_y}, {2});
}

size_t Conv2d::workspace_bytes(const NodeShapes& s, int threads) const {
  const Conv2dGeometry g = conv2d_geometry(desc, s.inputs[0], s.inputs[1]);
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
  return convolution_cost(s, s.outputs[0], s.inputs[1]);
}
Cost Conv2dGradInput::cost(const NodeShapes& s) const {
  return convolution_cost(s, s.inputs[0], s.inputs[1]);
}
Cost Conv2dGradWeight::cost(const NodeShapes& s) const {
  return convolution_cost(s, s.inputs[0], s.outputs[0]);
}

}  // namespace ladarts
