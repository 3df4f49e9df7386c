// What a test tells the stand-in for CUPTI.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {
// A kernel ran; `symbol` must live on.
void fake_cupti_kernel(const char* symbol, int64_t begin_ns, int64_t end_ns);
void fake_cupti_lose(size_t records);
}
