// What the thread sanitizer has to be told, so that it takes the fibres of a block for threads: which one
// runs, and which of CUDA's operations order memory. A switch between fibres orders nothing. In other builds
// all of this is empty.
#pragma once

#if defined(__SANITIZE_THREAD__)

#include <sanitizer/tsan_interface.h>

extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}

namespace ladarts::simt {

inline void* tsan_make_fiber() {
  return __tsan_create_fiber(0);
}
inline void tsan_destroy_fiber(void* fiber) {
  __tsan_destroy_fiber(fiber);
}
inline void* tsan_this_fiber() {
  return __tsan_get_current_fiber();
}
// Right before the switch of stacks, nothing instrumented between.
inline void tsan_switch(void* fiber) {
  __tsan_switch_to_fiber(fiber, __tsan_switch_to_fiber_no_sync);
}
// What a thread did before it published at a place is ordered before what another does once it has seen that
// place.
inline void tsan_publish(void* place) {
  __tsan_release(place);
}
inline void tsan_see(void* place) {
  __tsan_acquire(place);
}

// While it lives, memory accesses of this fibre are the layer's own: all fibres share its data in turn.
struct TsanIgnore {
  TsanIgnore() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~TsanIgnore() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
};

}  // namespace ladarts::simt

#else

namespace ladarts::simt {

inline void* tsan_make_fiber() {
  return nullptr;
}
inline void tsan_destroy_fiber(void*) {}
inline void* tsan_this_fiber() {
  return nullptr;
}
inline void tsan_switch(void*) {}
inline void tsan_publish(void*) {}
inline void tsan_see(void*) {}
struct TsanIgnore {
  TsanIgnore() {}
};

}  // namespace ladarts::simt

#endif
