#include "core/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <initializer_list>

namespace ladarts {

namespace {

std::atomic<int> signal_seen{0};
static_assert(std::atomic<int>::is_always_lock_free);  // a signal handler may use it

extern "C" void on_interrupt(int number) {
  if (signal_seen.exchange(number) != 0) ::_exit(128 + number);
}

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (int number : {SIGINT, SIGTERM}) ::sigaction(number, &action, nullptr);
}

bool interrupted() {
  return signal_seen.load(std::memory_order_relaxed) != 0;
}

int interrupt_signal() {
  return signal_seen.load(std::memory_order_relaxed);
}

void clear_interrupt() {
  signal_seen.store(0);
}

}  // namespace ladarts
