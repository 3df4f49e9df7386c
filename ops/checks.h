// Checks that many ops make at record time.
#pragma once

#include <string_view>

#include "core/error.h"
#include "core/graph.h"

namespace ladarts {

inline void require_float(std::string_view op, std::string_view what, Tensor x) {
  require(bool(x), "[{}] {} is empty", op, what);
  require(x.dtype() == DType::f32, "[{}] {} holds {} values; expected f32", op, what, to_string(x.dtype()));
}

inline void require_same_shape(std::string_view op, std::string_view what_a, Tensor a,
                               std::string_view what_b, Tensor b) {
  require_float(op, what_a, a);
  require_float(op, what_b, b);
  require(a.shape() == b.shape(), "[{}] {} has shape {}, {} has shape {}; they must be equal", op, what_a,
          a.shape().str(), what_b, b.shape().str());
}

inline void require_images(std::string_view op, Tensor x) {
  require_float(op, "x", x);
  require(x.rank() == 4, "[{}] x has shape {}; expected (N, C, H, W)", op, x.shape().str());
}

inline void require_per_channel(std::string_view op, std::string_view what, const Shape& shape,
                                int64_t channels) {
  require(shape == Shape{channels}, "[{}] {} has shape {}; x has {} channels and needs ({})", op, what,
          shape.str(), channels, channels);
}

inline void require_scalar(std::string_view op, std::string_view what, Tensor x) {
  require_float(op, what, x);
  require(x.shape().elements() == 1, "[{}] {} has shape {}; expected one element", op, what, x.shape().str());
}

}  // namespace ladarts
