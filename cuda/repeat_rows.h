// y (rows, columns), each row a copy of `row`. Queued on `stream`; y is written once, 4 bytes per element.
#pragma once

#include <cstdint>

namespace ladarts::cuda {

void repeat_rows(const float* row, float* y, int64_t rows, int64_t columns, void* stream);

}  // namespace ladarts::cuda
