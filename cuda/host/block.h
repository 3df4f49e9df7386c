// Runs the blocks of a grid one after the other, the threads of a block as fibres. Errors of the kernel that
// the layer sees (divergent barriers and warp operations, threads that wait forever) throw Error with block,
// thread, file and line; all threads of the block are unwound first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>

#include "cuda/host/types.h"

namespace ladarts::simt {

using Site = std::source_location;

// The order in which threads of a block run between two waits, and blocks of a grid. A kernel whose result
// depends on it has a race. Chosen by LADARTS_SIMT_ORDER: forward (default), reverse, random or random:SEED.
struct ThreadOrder {
  enum class Kind : uint8_t { forward, reverse, random };
  Kind kind = Kind::forward;
  uint64_t seed = 1;
};
void set_thread_order(ThreadOrder order);  // for tests: instead of the environment's
ThreadOrder thread_order();

// Calls body(argument) once per thread. Throws Error for a grid or block that no GPU would take. One grid at
// a time, from one thread of the operating system.
void run_grid(dim3 grid, dim3 block, size_t shared_bytes, void (*body)(void*), void* argument);

// From inside of a kernel:
void* dynamic_shared();
void block_barrier(Site site);

// A warp's joint operations. Every lane in `mask` calls with the same mask at the same place; all get their
// result when the last has come.
enum class WarpOp : uint8_t { sync, shuffle, ballot };
// shuffle: `value` of the lane `source`; a lane outside of the mask gives all bits set (a NaN).
// ballot: bit i is set where lane i gave a value other than 0.
uint64_t warp_operation(WarpOp op, uint32_t mask, uint64_t value, int source, Site site);
int lane();  // of the running thread, 0..31

}  // namespace ladarts::simt
