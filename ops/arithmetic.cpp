#include "ops/arithmetic.h"

#include "core/gradients.h"
#include "ops/checks.h"

namespace ladarts {

namespace {

Tensor record_binary(BinaryKind kind, Tensor a, Tensor b) {
  auto op = std::make_shared<Binary>(kind);
  require_same_shape(op->name(), "a", a, "b", b);
  return a.graph().add(op, {a, b}, {{a.shape()}})[0];
}

void require_terms(std::string_view op, const std::vector<Tensor>& xs) {
  require(!xs.empty(), "[{}] needs at least one tensor", op);
  for (size_t k = 0; k < xs.size(); ++k)
    require_same_shape(op, "x[0]", xs[0], fmt::format("x[{}]", k), xs[k]);
}

Tensor record_sum(Tensor x, float factor) {
  return x.graph().add(std::make_shared<SumAll>(factor), {x}, {{Shape{1}}})[0];
}

size_t chunks(int64_t elements) {
  return size_t((elements + kReduceChunk - 1) / kReduceChunk);
}

}  // namespace

Tensor add(Tensor a, Tensor b) {
  return record_binary(BinaryKind::add, a, b);
}

Tensor sub(Tensor a, Tensor b) {
  return record_binary(BinaryKind::sub, a, b);
}

Tensor mul(Tensor a, Tensor b) {
  return record_binary(BinaryKind::mul, a, b);
}

Tensor scale(Tensor x, float factor) {
  require_float("scale", "x", x);
  return x.graph().add(std::make_shared<Scale>(factor), {x}, {{x.shape()}})[0];
}

Tensor scale_by(Tensor x, Tensor s) {
  require_float("scale_by", "x", x);
  require_scalar("scale_by", "s", s);
  return x.graph().add(std::make_shared<ScaleBy>(), {x, s}, {{x.shape()}})[0];
}

Tensor add_n(const std::vector<Tensor>& xs) {
  require_terms("add_n", xs);
  return xs[0].graph().add(std::make_shared<AddN>(), xs, {{xs[0].shape()}})[0];
}

Tensor weighted_sum(const std::vector<Tensor>& xs, Tensor weights) {
  require_terms("weighted_sum", xs);
  require_float("weighted_sum", "weights", weights);
  require(weights.shape().elements() == int64_t(xs.size()),
          "[weighted_sum] {} tensors, but weights of shape {}", xs.size(), weights.shape().str());
  std::vector<Tensor> inputs = xs;
  inputs.push_back(weights);
  return xs[0].graph().add(std::make_shared<WeightedSum>(), inputs, {{xs[0].shape()}})[0];
}

Tensor sum_all(Tensor x) {
  require_float("sum_all", "x", x);
  return record_sum(x, 1.f);
}

Tensor mean_all(Tensor x) {
  require_float("mean_all", "x", x);
  require(x.shape().elements() > 0, "[mean_all] x of shape {} is empty", x.shape().str());
  return record_sum(x, 1.f / float(x.shape().elements()));
}

Tensor reshape(Tensor x, Shape shape) {
  require(bool(x), "[reshape] x is empty");
  require(x.shape().elements() == shape.elements(),
          "[reshape] x of shape {} does not have the elements of {}", x.shape().str(), shape.str());
  return x.graph().add(std::make_shared<Reshape>(), {x}, {{shape, x.dtype()}})[0];
}

std::string_view Binary::name() const {
  return kind == BinaryKind::add ? "add" : kind == BinaryKind::sub ? "sub" : "mul";
}

void Binary::backward(Backward& b) const {
  if (kind == BinaryKind::mul) {
    if (b.needs(0)) b.emit(Binary(BinaryKind::mul), {b.grad(0), b.input(1)}, {0});
    if (b.needs(1)) b.emit(Binary(BinaryKind::mul), {b.grad(0), b.input(0)}, {1});
    return;
  }
  if (b.needs(0)) b.pass(0, b.grad(0));
  if (!b.needs(1)) return;
  if (kind == BinaryKind::add) {
    b.pass(1, b.grad(0));
  } else {
    b.emit(Scale(-1.f), {b.grad(0)}, {1});
  }
}

void Scale::backward(Backward& b) const {
  if (b.needs(0)) b.emit(Scale(factor), {b.grad(0)}, {0});
}

void ScaleBy::backward(Backward& b) const {
  if (b.needs(0)) b.emit(ScaleBy(), {b.grad(0), b.input(1)}, {0});
  if (b.needs(1)) b.emit(Dot(), {b.grad(0), b.input(0)}, {1});
}

void SumAll::backward(Backward& b) const {
  if (b.needs(0)) b.emit(Spread(factor), {b.grad(0)}, {0});
}

void AddN::backward(Backward& b) const {
  const Tensor grad = b.grad(0);
  for (int k = 0; k < b.inputs(); ++k)
    if (b.needs(k)) b.pass(k, grad);
}

void WeightedSum::backward(Backward& b) const {
  const int terms = b.inputs() - 1;
  const bool weights = b.needs(terms);
  std::vector<int> wanted;
  std::vector<Tensor> operands{b.grad(0), b.input(terms)};
  for (int k = 0; k < terms; ++k) {
    if (b.needs(k)) wanted.push_back(k);
    if (weights) operands.push_back(b.input(k));
  }
  std::vector<int> grads_of = wanted;
  if (weights) grads_of.push_back(terms);
  b.emit(WeightedSumGrad(std::move(wanted), weights), operands, grads_of);
}

void Reshape::backward(Backward& b) const {
  if (b.needs(0)) b.emit(Reshape(), {b.grad(0)}, {0});  // not passed on: the next op relies on its own shape
}

size_t Dot::workspace_bytes(const NodeShapes& s, int) const {
  return chunks(s.inputs[0].elements()) * sizeof(double);
}

size_t SumAll::workspace_bytes(const NodeShapes& s, int) const {
  return chunks(s.inputs[0].elements()) * sizeof(double);
}

size_t WeightedSumGrad::workspace_bytes(const NodeShapes& s, int) const {
  if (!wants_weights) return 0;
  return chunks(s.inputs[0].elements()) * size_t(s.inputs[1].elements()) * sizeof(double);
}

Cost WeightedSum::cost(const NodeShapes& s) const {
  Cost c = Op::cost(s);
  c.flops = 2.0 * double(s.outputs[0].elements()) * double(s.inputs.size() - 1);
  return c;
}

}  // namespace ladarts
