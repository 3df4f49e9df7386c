// A fibre: a stack of its own that runs until it gives control back. One CUDA thread of a host-run kernel.
#pragma once

#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace ladarts::simt {

// Runs body(argument) on its stack whenever it is resumed. The body must never return: it calls suspend()
// where it has nothing to do. All fibres belong to one thread of the operating system.
class Fiber {
 public:
  Fiber(void (*body)(void*), void* argument);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void resume();   // from outside: returns at the next suspend()
  void suspend();  // from inside: returns at the next resume()

 private:
  static void enter();
  void* stack_ = nullptr;  // lowest address: a page without access, then kStackBytes
  void (*body_)(void*);
  void* argument_;
#if defined(__x86_64__)
  void* inside_ = nullptr;  // stack pointers of the side that does not run
  void* outside_ = nullptr;
#else
  ucontext_t inside_, outside_;
#endif
  // For thread sanitizer: this fibre, and the one that resumed it.
  void* tsan_inside_ = nullptr;
  void* tsan_outside_ = nullptr;
  // For address sanitizer, which has to know on which stack the program is.
  const void* outside_bottom_ = nullptr;
  size_t outside_bytes_ = 0;
};

}  // namespace ladarts::simt
