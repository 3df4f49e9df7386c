// Denormal numbers (below 1.2e-38) as zeros. Processors take up to 150 cycles for an operation that meets
// one, and networks in training make many: weights of units that are never active decay towards zero, and so
// do their optimisers' momenta.
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif
#include <cstdint>

namespace ladarts {

// While it lives, the calling thread's arithmetic reads and writes denormal numbers as zeros. x86-64 and
// AArch64; elsewhere it does nothing.
class FlushDenormals {
 public:
  FlushDenormals() : before_(mode()) { set_mode(before_ | kFlush); }
  ~FlushDenormals() { set_mode(before_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
#if defined(__x86_64__)
  static constexpr uint64_t kFlush = 0x8040;  // MXCSR: flush to zero, denormals are zeros
  static uint64_t mode() {
    return _mm_getcsr();
  }
  static void set_mode(uint64_t mode) {
    _mm_setcsr(unsigned(mode));
  }
#elif defined(__aarch64__)
  static constexpr uint64_t kFlush = uint64_t(1) << 24;  // FPCR.FZ
  static uint64_t mode() {
    uint64_t mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void set_mode(uint64_t mode) {
    asm volatile("msr fpcr, %0" : : "r"(mode));
  }
#else
  static constexpr uint64_t kFlush = 0;
  static uint64_t mode() {
    return 0;
  }
  static void set_mode(uint64_t) {}
#endif
  uint64_t before_;
};

}  // namespace ladarts
