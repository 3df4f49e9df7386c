// CUDA's names for a host compiler: see cuda/simt.h.
#pragma once

#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>

#include "cuda/host/block.h"
#include "cuda/host/launch_recorder.h"

namespace ladarts::simt {

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, void* stream, A... args) {
  struct Call {
    void (*kernel)(P...);
    std::tuple<P...> args;
  };
  auto run = [grid, block, shared_bytes, call = Call{kernel, {static_cast<P>(args)...}}]() mutable {
    run_grid(
        grid, block, shared_bytes,
        [](void* p) {
          auto* c = static_cast<Call*>(p);
          std::apply(c->kernel, c->args);
        },
        &call);
  };
  run_or_record(static_cast<LaunchRecorder*>(stream), std::move(run));
}

template <class T>
T shuffle(uint32_t mask, T value, int source, Site site) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = warp_operation(WarpOp::shuffle, mask, bits, source, site);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

// The lanes of a group of `width` that holds the running one: [first, first + width).
inline int first_of_group(int width) {
  return lane() & ~(width - 1);
}

}  // namespace ladarts::simt

#define SIMT_SITE ladarts::simt::Site site = ladarts::simt::Site::current()

inline void __syncthreads(SIMT_SITE) {
  ladarts::simt::block_barrier(site);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, SIMT_SITE) {
  ladarts::simt::warp_operation(ladarts::simt::WarpOp::sync, mask, 0, 0, site);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, SIMT_SITE) {
  return ladarts::simt::shuffle(mask, value, ladarts::simt::first_of_group(width) + (source & (width - 1)),
                                site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_SITE) {
  const int lane = ladarts::simt::lane(), from = lane - int(delta);
  return ladarts::simt::shuffle(mask, value, from < ladarts::simt::first_of_group(width) ? lane : from, site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_SITE) {
  const int lane = ladarts::simt::lane(), from = lane + int(delta);
  return ladarts::simt::shuffle(mask, value,
                                from >= ladarts::simt::first_of_group(width) + width ? lane : from, site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, SIMT_SITE) {
  const int lane = ladarts::simt::lane(), from = lane ^ bits;
  return ladarts::simt::shuffle(mask, value,
                                from >= ladarts::simt::first_of_group(width) + width ? lane : from, site);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, SIMT_SITE) {
  return unsigned(
      ladarts::simt::warp_operation(ladarts::simt::WarpOp::ballot, mask, predicate != 0, 0, site));
}
inline int __any_sync(unsigned mask, int predicate, SIMT_SITE) {
  return __ballot_sync(mask, predicate, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, SIMT_SITE) {
  return __ballot_sync(mask, predicate == 0, site) == 0;
}
#undef SIMT_SITE

template <class T>
T atomicAdd(T* at, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*at).fetch_add(value, std::memory_order_relaxed);
}
template <class T>
T atomicExch(T* at, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*at).exchange(value, std::memory_order_relaxed);
}
template <class T>
T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  std::atomic_ref<T>(*at).compare_exchange_strong(expected, value, std::memory_order_relaxed);
  return expected;
}
template <class T>
T atomicMax(T* at, std::type_identity_t<T> value) {
  std::atomic_ref<T> ref(*at);
  T old = ref.load(std::memory_order_relaxed);
  while (old < value && !ref.compare_exchange_weak(old, value, std::memory_order_relaxed)) {
  }
  return old;
}

inline float rsqrtf(float x) {
  return 1.f / std::sqrt(x);
}

// Keywords. They come after every standard header; none of these uses such a name. Static shared memory lies
// in a linker section of its own, which the layer fills with NaN before each block. GCC ignores the section
// in templates: there kernels take dynamic shared memory, which is always filled.
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ static __attribute__((section("simt_shared")))
#define SIMT_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(ladarts::simt::dynamic_shared())
