#include "ops/dropout.h"

#include <array>

#include "core/gradients.h"
#include "ops/checks.h"

namespace ladarts {

namespace {

using StateWords = std::array<int32_t, 4>;

void require_stream(std::string_view op, uint32_t stream) {
  require(stream < 0x80000000u, "[{}] stream {} is too large; use numbers below 2^31", op, stream);
}

}  // namespace

RandomState::RandomState(uint64_t seed, Device device)
    : seed_(seed), storage_(Storage::create(Shape{4}, DType::i32, device)) {
  set_step(0);
}

void RandomState::advance() {
  set_step(step() + 1);
}

void RandomState::set_step(uint64_t step) {
  const StateWords words{int32_t(uint32_t(seed_)), int32_t(uint32_t(seed_ >> 32)), int32_t(uint32_t(step)),
                         int32_t(uint32_t(step >> 32))};
  storage_.upload(std::span<const int32_t>(words));
}

uint64_t RandomState::step() const {
  StateWords words;
  storage_.download(std::span<int32_t>(words));
  return uint64_t(uint32_t(words[3])) << 32 | uint32_t(words[2]);
}

Tensor dropout(Tensor x, float rate, const RandomState& state, uint32_t stream) {
  require_float("dropout", "x", x);
  require(rate >= 0 && rate < 1, "[dropout] rate {} is not in [0, 1)", rate);
  require_stream("dropout", stream);
  auto op = std::make_shared<Dropout>(rate, stream);
  return x.graph().add(op, {x, state.leaf(x.graph())}, {{x.shape()}})[0];
}

Tensor drop_path(Tensor x, Tensor rate, const RandomState& state, uint32_t stream) {
  require_float("drop_path", "x", x);
  require(x.rank() >= 1, "[drop_path] x has no samples");
  require_scalar("drop_path", "rate", rate);
  require_stream("drop_path", stream);
  auto op = std::make_shared<DropPath>(stream);
  return x.graph().add(op, {x, rate, state.leaf(x.graph())}, {{x.shape()}})[0];
}

void Dropout::backward(Backward& b) const {
  if (b.needs(0)) b.emit(Dropout(rate, stream), {b.grad(0), b.input(1)}, {0});
}

void DropPath::backward(Backward& b) const {
  require(!b.needs(1), "[drop_path] has no gradient for its rate");
  if (b.needs(0)) b.emit(DropPath(stream), {b.grad(0), b.input(1), b.input(2)}, {0});
}

}  // namespace ladarts
