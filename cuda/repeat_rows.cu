#include "cuda/repeat_rows.h"

#include "cuda/elementwise.cuh"

namespace ladarts::cuda {
namespace {

struct RepeatedRow {
  const float* row;
  uint32_t columns;
  __device__ float operator()(int64_t i) const { return row[uint32_t(i) % columns]; }
};

}  // namespace

void repeat_rows(const float* row, float* y, int64_t rows, int64_t columns, void* stream) {
  elementwise(RepeatedRow{row, size32(columns)}, y, size32(rows * columns), false, stream);
}

}  // namespace ladarts::cuda
