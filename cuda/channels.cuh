// Moving whole channels or rows. Everything is read and written once: 8 bytes moved per element, 12 where it
// adds.
#pragma once

#include "cuda/elementwise.cuh"

namespace ladarts::cuda {
namespace {

// to[r, j] = from[r, j], or +=, for `rows` rows of `length` elements, each array with its own distance
// between rows.
struct MoveRows {
  const float* from;
  float* to;
  int64_t from_stride, to_stride;
  uint32_t length;
  bool add;
  __device__ void operator()(int64_t i) const {
    const uint32_t r = uint32_t(i) / length, j = uint32_t(i) % length;
    const float v = from[r * from_stride + j];
    float& y = to[r * to_stride + j];
    y = add ? y + v : v;
  }
};

inline void move_rows(const float* from, int64_t from_stride, float* to, int64_t to_stride, int64_t rows,
                      int64_t length, bool add, void* stream) {
  size32(rows * length);
  for_each(MoveRows{from, to, from_stride, to_stride, size32(length), add}, rows * length, stream);
}

// Rows of `stride` elements that hold a row of x (length) from `before` on, and zeros elsewhere.
struct RowsBetweenZeros {
  const float* x;
  uint32_t length, stride, before;
  __device__ float operator()(int64_t i) const {
    const uint32_t r = uint32_t(i) / stride, j = uint32_t(i) % stride;
    return j >= before && j < before + length ? x[int64_t(r) * length + (j - before)] : 0.f;
  }
};

// y[n, j * groups + g] = x[n, g * (C / groups) + j], whole planes.
struct Shuffled {
  const float* x;
  uint32_t channels, groups, plane;
  __device__ float operator()(int64_t at) const {
    const uint32_t i = uint32_t(at), p = i % plane, c = i / plane % channels, n = i / plane / channels;
    const uint32_t from = c % groups * (channels / groups) + c / groups;
    return x[(int64_t(n) * channels + from) * plane + p];
  }
};

}  // namespace
}  // namespace ladarts::cuda
