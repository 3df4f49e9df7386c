#include "predictor/cache_flush.h"

#include <algorithm>
#include <fstream>

#include <fmt/format.h>

namespace ladarts {

namespace {

constexpr int64_t kUnknown = int64_t(32) << 20;
constexpr int64_t kTaskFloats = int64_t(64) << 10;

// "32768K", "1M", "512" in bytes; 0 for anything else.
int64_t cache_size(const std::string& text) {
  size_t digits = 0;
  while (digits < text.size() && digits < 12 && text[digits] >= '0' && text[digits] <= '9') ++digits;
  if (digits == 0) return 0;
  const int64_t value = std::stoll(text.substr(0, digits));
  const char unit = digits < text.size() ? text[digits] : ' ';
  return unit == 'K' ? value << 10 : unit == 'M' ? value << 20 : unit == 'G' ? value << 30 : value;
}

}  // namespace

int64_t largest_cache_bytes(const std::filesystem::path& system) {
  int64_t largest = 0;
  for (int index = 0; index < 8; ++index) {
    std::ifstream file(system / fmt::format("devices/system/cpu/cpu0/cache/index{}/size", index));
    std::string size;
    if (file >> size) largest = std::max(largest, cache_size(size));
  }
  return largest > 0 ? largest : kUnknown;
}

CacheFlush::CacheFlush(ThreadPool& pool)
    : pool_(pool), memory_(Storage::create(Shape{kTimes * largest_cache_bytes() / 4})) {}

void CacheFlush::operator()() {
  float* memory = reinterpret_cast<float*>(memory_.data());
  const int64_t n = memory_.shape().elements();
  pool_.parallel_for((n + kTaskFloats - 1) / kTaskFloats, [&](int64_t task, int) {
    const int64_t end = std::min(n, (task + 1) * kTaskFloats);
    for (int64_t i = task * kTaskFloats; i < end; ++i) memory[i] += 1;
  });
}

}  // namespace ladarts
