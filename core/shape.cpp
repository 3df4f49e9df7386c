#include "core/shape.h"

#include "core/error.h"

namespace ladarts {

Shape::Shape(std::initializer_list<int64_t> dims) : Shape(of({dims.begin(), dims.size()})) {}

Shape Shape::of(std::span<const int64_t> dims) {
  require(dims.size() <= size_t(kMaxRank), "[shape] rank {} is above the largest supported, {}", dims.size(),
          kMaxRank);
  Shape shape;
  for (int64_t d : dims) {
    require(d >= 0, "[shape] dimension {} is {}; sizes are not negative", shape.rank_, d);
    shape.dims_[shape.rank_++] = d;
  }
  return shape;
}

int64_t Shape::elements() const {
  int64_t n = 1;
  for (int i = 0; i < rank_; ++i) n *= dims_[i];
  return n;
}

std::string Shape::str() const {
  std::string s = "(";
  for (int i = 0; i < rank_; ++i) s += fmt::format("{}{}", i ? ", " : "", dims_[i]);
  return s + ")";
}

}  // namespace ladarts
