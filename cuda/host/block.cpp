#include "cuda/host/block.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/philox.h"
#include "cuda/host/fiber.h"
#include "cuda/host/thread_sanitizer.h"

// Static shared memory of all kernels in the program: the linker names the ends of the section.
extern "C" {
extern char __start_simt_shared[] __attribute__((weak));
extern char __stop_simt_shared[] __attribute__((weak));
}

namespace ladarts::simt {

namespace {

constexpr unsigned kWarp = 32;
constexpr unsigned kMaxThreads = 1024;
constexpr size_t kMaxSharedBytes = 227 * 1024;  // of one block, on compute capability 9.0
constexpr int kNanByte = 0xff;

enum class State : uint8_t { ready, at_barrier, in_warp, finished };

struct Thread {
  uint3 index{0, 0, 0};
  State state = State::ready;
  Fiber* fiber = nullptr;  // null before its first turn
  Site site;               // of the barrier or warp operation it waits in
  WarpOp op = WarpOp::sync;
  uint32_t mask = 0;
  uint64_t value = 0, result = 0;
  int source = 0;
};

struct Unwind {};  // thrown through the stacks of a block that has failed

class Block {
 public:
  void run(unsigned threads, void (*body)(void*), void* argument);
  void barrier(Site site);
  uint64_t warp_operation(WarpOp op, uint32_t mask, uint64_t value, int source, Site site);
  int lane() const { return int(current_ % kWarp); }

 private:
  static void fiber_body(void* self) { static_cast<Block*>(self)->serve(); }
  void serve();
  void prepare(unsigned threads);
  void give_turn(unsigned rank);
  bool give_turns(std::vector<unsigned>& order, Random& random);
  void wait();
  void finish();
  void complete(unsigned first, uint32_t mask);
  void check_mask(const Thread& me, uint32_t bit) const;
  Error stuck() const;
  std::string who(const Thread& t) const;
  std::string where(const Thread& t) const;

  std::vector<Thread> threads_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  void (*body_)(void*) = nullptr;
  void* argument_ = nullptr;
  unsigned current_ = 0;
  unsigned waiting_ = 0, finished_ = 0;  // at the barrier; returned
  std::exception_ptr error_;
  // Places for the thread sanitizer. Those of barriers alternate: a thread that reaches the next one
  // publishes elsewhere than where slower ones still have to look.
  struct Warp {
    char place[2] = {};
    unsigned operations = 0;
  };
  char start_ = 0, end_ = 0, barrier_[2] = {};
  unsigned barriers_ = 0;
  std::array<Warp, kMaxThreads / kWarp> warps_;
};

Block& the_block() {
  static Block& block = *new Block;  // never destroyed: its fibres end with the program
  return block;
}

std::string Block::who(const Thread& t) const {
  return fmt::format("thread ({}, {}, {}) of block ({}, {}, {})", t.index.x, t.index.y, t.index.z, blockIdx.x,
                     blockIdx.y, blockIdx.z);
}

std::string Block::where(const Thread& t) const {
  return fmt::format("{}:{}", t.site.file_name(), t.site.line());
}

// A fibre's whole life: it runs one thread after another.
void Block::serve() {
  for (;;) {
    tsan_see(&start_);
    try {
      body_(argument_);
      finish();
    } catch (const Unwind&) {
    } catch (...) {
      if (!error_) error_ = std::current_exception();
    }
    const TsanIgnore ignore;
    Thread& me = threads_[current_];
    me.state = State::finished;
    tsan_publish(&end_);
    idle_.push_back(me.fiber);
    me.fiber->suspend();
  }
}

void Block::finish() {
  const TsanIgnore ignore;
  ++finished_;
  const Thread& me = threads_[current_];
  for (const Thread& t : threads_)
    if (t.state == State::at_barrier)
      fail("[simt] {} returned while {} waits in __syncthreads at {}", who(me), who(t), where(t));
  const unsigned first = current_ / kWarp * kWarp;
  for (unsigned i = first; i < std::min<unsigned>(first + kWarp, unsigned(threads_.size())); ++i)
    if (threads_[i].state == State::in_warp && (threads_[i].mask >> lane() & 1))
      fail("[simt] {} returned while {} waits for it in a warp operation at {}", who(me), who(threads_[i]),
           where(threads_[i]));
}

void Block::give_turn(unsigned rank) {
  Thread& t = threads_[rank];
  if (!t.fiber) {
    if (idle_.empty()) {
      fibers_.push_back(std::make_unique<Fiber>(&Block::fiber_body, this));
      idle_.push_back(fibers_.back().get());
    }
    t.fiber = idle_.back();
    idle_.pop_back();
  }
  current_ = rank;
  threadIdx = t.index;
  t.fiber->resume();
}

// Lets another thread run; returns when this one may go on.
void Block::wait() {
  threads_[current_].fiber->suspend();
  if (error_) throw Unwind();
}

// One round over all threads that can run; false where there was none. In random order about half of them are
// left for a later round, so that threads also get ahead of one another.
bool Block::give_turns(std::vector<unsigned>& order, Random& random) {
  const bool shuffled = thread_order().kind == ThreadOrder::Kind::random;
  if (shuffled)
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(uint32_t(i))]);
  bool any = false;
  for (unsigned rank : order) {
    if (threads_[rank].state != State::ready) continue;
    if (shuffled && any && random.below(2)) continue;
    any = true;
    give_turn(rank);
    if (error_) return true;
  }
  return any;
}

void Block::prepare(unsigned threads) {
  threads_.assign(threads, Thread{});
  for (unsigned i = 0; i < threads; ++i)
    threads_[i].index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
  waiting_ = finished_ = 0;
  error_ = nullptr;
}

void Block::run(unsigned threads, void (*body)(void*), void* argument) {
  tsan_publish(&start_);
  prepare(threads);
  body_ = body;
  argument_ = argument;
  std::vector<unsigned> order(threads);
  for (unsigned i = 0; i < threads; ++i) order[i] = i;
  if (thread_order().kind == ThreadOrder::Kind::reverse) std::reverse(order.begin(), order.end());
  Random random(thread_order().seed,
                (uint64_t(blockIdx.z) << 48) ^ (uint64_t(blockIdx.y) << 32) ^ blockIdx.x);
  while (!error_ && finished_ < threads)
    if (!give_turns(order, random)) error_ = std::make_exception_ptr(stuck());
  if (error_)
    for (unsigned i = 0; i < threads; ++i)
      if (threads_[i].fiber && threads_[i].state != State::finished) give_turn(i);
  tsan_see(&end_);
  if (error_) std::rethrow_exception(error_);
}

// Threads wait and none can go on.
Error Block::stuck() const {
  for (const Thread& t : threads_)
    if (t.state == State::in_warp)
      return Error(
          fmt::format("[simt] {} waits forever in a warp operation at {}: not all lanes of its mask {:#010x} "
                      "came there",
                      who(t), where(t), t.mask));
  return Error("[simt] all threads wait");
}

void Block::barrier(Site site) {
  const TsanIgnore ignore;
  char* const place = &barrier_[barriers_ % 2];
  tsan_publish(place);
  Thread& me = threads_[current_];
  me.site = site;
  if (finished_ > 0)
    fail("[simt] {} waits in __syncthreads at {}, but {} thread(s) of the block have returned", who(me),
         where(me), finished_);
  for (const Thread& t : threads_) {
    if (t.state != State::at_barrier) continue;
    if (t.site.line() == site.line() && t.site.column() == site.column() &&
        std::string_view(t.site.file_name()) == site.file_name())
      break;  // all that wait are at one place
    fail("[simt] divergent barrier: {} is in __syncthreads at {}, {} at {}", who(me), where(me), who(t),
         where(t));
  }
  me.state = State::at_barrier;
  if (++waiting_ < threads_.size()) {
    wait();
  } else {
    waiting_ = 0;
    ++barriers_;
    for (Thread& t : threads_) t.state = State::ready;
  }
  tsan_see(place);
}

void Block::check_mask(const Thread& me, uint32_t bit) const {
  const unsigned first = current_ / kWarp * kWarp;
  if (!(me.mask & bit)) fail("[simt] {}: not in its own mask {:#010x} at {}", who(me), me.mask, where(me));
  for (uint32_t rest = me.mask; rest; rest &= rest - 1) {
    const unsigned other = first + unsigned(std::countr_zero(rest));
    if (other >= threads_.size() || threads_[other].state == State::finished)
      fail("[simt] {}: mask {:#010x} names lane {}, which has returned or does not exist, at {}", who(me),
           me.mask, other - first, where(me));
    const Thread& t = threads_[other];
    if (t.state == State::in_warp && (t.op != me.op || t.mask != me.mask || t.site.line() != me.site.line()))
      fail("[simt] divergent warp operation: {} with mask {:#010x} at {}, {} with mask {:#010x} at {}",
           who(me), me.mask, where(me), who(t), t.mask, where(t));
  }
}

// All lanes of the mask have come: gives each its result and lets it go on.
void Block::complete(unsigned first, uint32_t mask) {
  uint64_t ballot = 0;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    const unsigned i = unsigned(std::countr_zero(rest));
    ballot |= uint64_t(threads_[first + i].value != 0) << i;
  }
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    Thread& t = threads_[first + unsigned(std::countr_zero(rest))];
    const bool known = t.source >= 0 && t.source < int(kWarp) && (mask >> t.source & 1);
    const uint64_t shuffled = known ? threads_[first + unsigned(t.source)].value : ~uint64_t(0);
    t.result = t.op == WarpOp::ballot ? ballot : shuffled;
    t.state = State::ready;
  }
}

uint64_t Block::warp_operation(WarpOp op, uint32_t mask, uint64_t value, int source, Site site) {
  const TsanIgnore ignore;
  Thread& me = threads_[current_];
  const unsigned first = current_ / kWarp * kWarp;
  // __syncwarp alone orders memory.
  Warp& warp = warps_[current_ / kWarp];
  char* const place = op == WarpOp::sync ? &warp.place[warp.operations % 2] : nullptr;
  if (place) tsan_publish(place);
  me.op = op;
  me.mask = mask;
  me.value = value;
  me.source = source;
  me.site = site;
  check_mask(me, 1u << lane());
  me.state = State::in_warp;
  bool all = true;
  for (uint32_t rest = mask; rest; rest &= rest - 1)
    all = all && threads_[first + unsigned(std::countr_zero(rest))].state == State::in_warp;
  if (all) {
    ++warp.operations;
    complete(first, mask);
  } else {
    wait();
  }
  if (place) tsan_see(place);
  return me.result;
}

std::optional<ThreadOrder>& chosen_order() {
  static std::optional<ThreadOrder> order;
  return order;
}

ThreadOrder order_from_environment() {
  const char* text = std::getenv("LADARTS_SIMT_ORDER");
  const std::string_view name = text ? text : "";
  if (name.empty() || name == "forward") return {};
  if (name == "reverse") return {ThreadOrder::Kind::reverse};
  if (name == "random") return {ThreadOrder::Kind::random};
  uint64_t seed = 0;
  const char* end = name.data() + name.size();
  if (name.substr(0, 7) == "random:") {
    const auto [stop, status] = std::from_chars(name.data() + 7, end, seed);
    if (status == std::errc() && stop == end) return {ThreadOrder::Kind::random, seed};
  }
  fail("[simt] LADARTS_SIMT_ORDER={} is unknown; use forward, reverse, random or random:SEED", name);
}

// Dynamic shared memory of the running block, of exactly the size asked for.
struct SharedMemory {
  void* data = nullptr;
  ~SharedMemory() { std::free(data); }
};
void* dynamic_data = nullptr;

// Between variables of the section lie the address sanitizer's red zones, hence the byte loop without its
// checks.
__attribute__((no_sanitize("address"))) void spoil_static_shared() {
  if (!__start_simt_shared) return;
  for (volatile char* p = __start_simt_shared; p < __stop_simt_shared; ++p) *p = char(kNanByte);
}

void check_sizes(dim3 grid, dim3 block, size_t shared_bytes) {
  const uint64_t threads = uint64_t(block.x) * block.y * block.z;
  require(threads > 0 && threads <= kMaxThreads && block.z <= 64,
          "[simt] a block of {} x {} x {} threads; a GPU takes 1 to {}, z up to 64", block.x, block.y,
          block.z, kMaxThreads);
  require(
      grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535,
      "[simt] a grid of {} x {} x {} blocks; a GPU takes 1 to 2^31-1, 65535, 65535", grid.x, grid.y, grid.z);
  require(shared_bytes <= kMaxSharedBytes, "[simt] {} bytes of dynamic shared memory; a GPU has {} at most",
          shared_bytes, kMaxSharedBytes);
}

struct Running {
  static bool& flag() {
    static bool running = false;
    return running;
  }
  Running() {
    LADARTS_CHECK(!flag());
    flag() = true;
  }
  ~Running() { flag() = false; }
};

}  // namespace

void set_thread_order(ThreadOrder order) {
  chosen_order() = order;
}

ThreadOrder thread_order() {
  if (!chosen_order()) chosen_order() = order_from_environment();
  return *chosen_order();
}

void run_grid(dim3 grid, dim3 block, size_t shared_bytes, void (*body)(void*), void* argument) {
  check_sizes(grid, block, shared_bytes);
  const Running running;
  const TsanIgnore ignore;
  gridDim = {grid.x, grid.y, grid.z};
  blockDim = {block.x, block.y, block.z};
  const uint64_t blocks = uint64_t(grid.x) * grid.y * grid.z;
  const bool backwards = thread_order().kind == ThreadOrder::Kind::reverse;
  for (uint64_t i = 0; i < blocks; ++i) {
    const uint64_t b = backwards ? blocks - 1 - i : i;
    blockIdx = {unsigned(b % grid.x), unsigned(b / grid.x % grid.y),
                unsigned(b / (uint64_t(grid.x) * grid.y))};
    SharedMemory shared;
    if (shared_bytes) {
      LADARTS_CHECK(posix_memalign(&shared.data, 128, shared_bytes) == 0);
      std::memset(shared.data, kNanByte, shared_bytes);
    }
    dynamic_data = shared.data;
    spoil_static_shared();
    the_block().run(block.x * block.y * block.z, body, argument);
  }
}

void* dynamic_shared() {
  return dynamic_data;
}

void block_barrier(Site site) {
  the_block().barrier(site);
}

uint64_t warp_operation(WarpOp op, uint32_t mask, uint64_t value, int source, Site site) {
  return the_block().warp_operation(op, mask, value, source, site);
}

int lane() {
  return the_block().lane();
}

}  // namespace ladarts::simt
