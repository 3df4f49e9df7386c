#include "cuda/host/fiber.h"

#include <sys/mman.h>

#include <cstdint>

#include "core/error.h"
#include "cuda/host/thread_sanitizer.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace ladarts::simt {

namespace {

constexpr size_t kGuardBytes = 64 * 1024;  // a multiple of every page size
constexpr size_t kStackBytes = 256 * 1024;

Fiber* starting = nullptr;  // read by enter(), which takes no argument

// Around each switch; `saved` is the sanitizer's own note about the stack that is left.
void leave_stack([[maybe_unused]] void** saved, [[maybe_unused]] const void* to,
                 [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(saved, to, bytes);
#endif
}
void arrive_on_stack([[maybe_unused]] void* saved, [[maybe_unused]] const void** from,
                     [[maybe_unused]] size_t* bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(saved, from, bytes);
#endif
}

}  // namespace

#if defined(__x86_64__)

// Saves what a function must preserve, stores the stack pointer in *save, and goes on from `load`.
extern "C" void ladarts_switch_stack(void** save, void* load);
asm(R"(
  .pushsection .text
  .globl ladarts_switch_stack
  .hidden ladarts_switch_stack
  .type ladarts_switch_stack, @function
ladarts_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size ladarts_switch_stack, . - ladarts_switch_stack
  .popsection
)");

#endif

Fiber::Fiber(void (*body)(void*), void* argument) : body_(body), argument_(argument) {
  stack_ =
      mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  require(stack_ != MAP_FAILED, "[simt] no memory for the stack of a host-run CUDA thread");
  LADARTS_CHECK(mprotect(stack_, kGuardBytes, PROT_NONE) == 0);
  tsan_inside_ = tsan_make_fiber();
#if defined(__x86_64__)
  auto* top = reinterpret_cast<uintptr_t*>(static_cast<char*>(stack_) + kGuardBytes + kStackBytes);
  // As if enter() had been called: a return address of zero below an aligned top, then the six registers.
  top[-1] = 0;
  top[-2] = reinterpret_cast<uintptr_t>(&Fiber::enter);
  for (int i = 3; i <= 8; ++i) top[-i] = 0;
  inside_ = top - 8;
#else
  LADARTS_CHECK(getcontext(&inside_) == 0);
  inside_.uc_stack.ss_sp = static_cast<char*>(stack_) + kGuardBytes;
  inside_.uc_stack.ss_size = kStackBytes;
  inside_.uc_link = nullptr;
  makecontext(&inside_, &Fiber::enter, 0);
#endif
}

Fiber::~Fiber() {
  tsan_destroy_fiber(tsan_inside_);
  munmap(stack_, kGuardBytes + kStackBytes);
}

void Fiber::enter() {
  Fiber* self = starting;
  arrive_on_stack(nullptr, &self->outside_bottom_, &self->outside_bytes_);
  self->body_(self->argument_);
  LADARTS_CHECK(false);
}

void Fiber::resume() {
  void* saved = nullptr;
  starting = this;
  leave_stack(&saved, static_cast<char*>(stack_) + kGuardBytes, kStackBytes);
  tsan_outside_ = tsan_this_fiber();
  tsan_switch(tsan_inside_);
#if defined(__x86_64__)
  ladarts_switch_stack(&outside_, inside_);
#else
  swapcontext(&outside_, &inside_);
#endif
  arrive_on_stack(saved, nullptr, nullptr);
}

void Fiber::suspend() {
  void* saved = nullptr;
  leave_stack(&saved, outside_bottom_, outside_bytes_);
  tsan_switch(tsan_outside_);
#if defined(__x86_64__)
  ladarts_switch_stack(&inside_, outside_);
#else
  swapcontext(&inside_, &outside_);
#endif
  arrive_on_stack(saved, &outside_bottom_, &outside_bytes_);
}

}  // namespace ladarts::simt
