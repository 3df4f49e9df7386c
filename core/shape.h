// Shape of a contiguous tensor: up to five dimensions, row-major (NCHW for images).
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace ladarts {

enum class DType : uint8_t { f32, i32, u8 };

inline size_t bytes_of(DType t) {
  return t == DType::u8 ? 1 : 4;
}
inline const char* to_string(DType t) {
  return t == DType::f32 ? "f32" : t == DType::i32 ? "i32" : "u8";
}

class Shape {
 public:
  static constexpr int kMaxRank = 5;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims);      // throws Error on a rank above kMaxRank or a negative size
  static Shape of(std::span<const int64_t> dims);  // likewise

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[i]; }  // 0 <= i < rank()
  void set(int i, int64_t size) { dims_[i] = size; }
  int64_t elements() const;
  bool operator==(const Shape& other) const = default;
  std::string str() const;  // "(64, 16, 32, 32)"

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

}  // namespace ladarts
