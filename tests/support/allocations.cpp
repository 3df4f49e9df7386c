#include "tests/support/allocations.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

std::atomic<int64_t> count{0};

void* counted_allocation(size_t bytes, size_t alignment) {
  count.fetch_add(1, std::memory_order_relaxed);
  const size_t rounded = (std::max(bytes, size_t(1)) + alignment - 1) / alignment * alignment;
  void* p = std::aligned_alloc(alignment, rounded);
  if (!p) throw std::bad_alloc();
  return p;
}

}  // namespace

namespace ladarts::testing {

int64_t allocations() {
  return count.load();
}

}  // namespace ladarts::testing

void* operator new(size_t bytes) {
  return counted_allocation(bytes, alignof(std::max_align_t));
}
void* operator new(size_t bytes, std::align_val_t alignment) {
  return counted_allocation(bytes, size_t(alignment));
}
// The sanitizers bring a form of their own of these, whose memory the operators below could not release.
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return counted_allocation(bytes, alignof(std::max_align_t));
}
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept {
  return counted_allocation(bytes, alignof(std::max_align_t));
}
void* operator new[](size_t bytes) {
  return counted_allocation(bytes, alignof(std::max_align_t));
}
void operator delete[](void* p) noexcept {
  std::free(p);
}
void operator delete[](void* p, size_t) noexcept {
  std::free(p);
}
void operator delete(void* p) noexcept {
  std::free(p);
}
void operator delete(void* p, size_t) noexcept {
  std::free(p);
}
void operator delete(void* p, std::align_val_t) noexcept {
  std::free(p);
}
void operator delete(void* p, size_t, std::align_val_t) noexcept {
  std::free(p);
}
