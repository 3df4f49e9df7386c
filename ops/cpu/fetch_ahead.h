// Asking memory for what is read, or written, next, while something else is computed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/kernel.h"

namespace ladarts {
namespace {

constexpr int64_t kLineFloats = 16;

// Asks for a cache line that is read, or written, soon, into the second cache: it waits for more lines at
// once than the first does. Zen 4, two cores, planes of 4 KiB far apart: reading 20 GB/s without, 22 with
// prefetches into the first cache, 30 into the second; writing 21, 21 (prefetchw) and 26.
inline void prefetch_line(const float* p) {
  __builtin_prefetch(p, 0, 2);
}
inline void prefetch(const float* p, int64_t n) {
  for (int64_t i = 0; i < n; i += kLineFloats) prefetch_line(p + i);
}
// The same into the first cache, which Zen 5 takes gladly (gradients of DARTS' stages: 31.1 to 30.2 ms;
// products of 1x1 convolutions in training 2% faster).
inline void prefetch_near(const float* p, int64_t n) {
  for (int64_t i = 0; i < n; i += kLineFloats) __builtin_prefetch(p + i, 0, 3);
}

// Planes to ask for in shares, evenly over the loops that run meanwhile: many at once would hold those up as
// a read does.
class FetchAhead {
 public:
  // `rows` runs of `floats` each, `stride` apart. Runs beyond kMost are left to the hardware.
  void add(const float* data, int64_t floats, ptrdiff_t stride, int64_t rows) {
    if (count_ == kMost || rows <= 0) return;
    runs_[count_++] = {data, floats, stride, rows};
    left_ += rows * floats;
  }
  // Shares for `calls` of some(), of all but `taken` lines.
  void spread(int64_t calls, int64_t taken = 0) {
    const int64_t floats = std::max(int64_t{0}, left_ - taken * kLineFloats);
    share_ = calls > 0 ? (floats + calls - 1) / calls : floats;
  }
  void some(int64_t shares = 1) { fetch(shares * share_); }
  void rest() { fetch(left_); }
  // Where the next `lines` lines begin, for the caller to ask for; those beyond the end of a run are asked
  // for to no end. Null: nothing is left.
  const float* take(int64_t lines) {
    if (at_ == count_) return nullptr;
    const Run& run = runs_[at_];
    const float* const from = run.data + row_ * run.stride + column_;
    advance(std::min(run.floats - column_, lines * kLineFloats));
    return from;
  }

 private:
  static constexpr int kMost = 8;
  struct Run {
    const float* data;
    int64_t floats;
    ptrdiff_t stride;
    int64_t rows;
  };

  void fetch(int64_t floats) {
    while (floats > 0 && at_ < count_) {
      const Run& run = runs_[at_];
      const int64_t n = std::min(run.floats - column_, floats);
      const float* const from = run.data + row_ * run.stride + column_;
      first_cache_ ? prefetch_near(from, n) : prefetch(from, n);
      floats -= n;
      advance(n);
    }
  }
  // Within a row of the present run.
  void advance(int64_t floats) {
    const Run& run = runs_[at_];
    left_ -= floats;
    column_ += floats;
    if (column_ < run.floats) return;
    column_ = 0;
    if (++row_ < run.rows) return;
    row_ = 0;
    ++at_;
  }

  bool first_cache_ = whole_vectors();
  Run runs_[kMost];
  int count_ = 0, at_ = 0;
  int64_t row_ = 0, column_ = 0, left_ = 0, share_ = 0;
};

}  // namespace
}  // namespace ladarts
