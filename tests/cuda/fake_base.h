// Shared by the stand-ins: faults on demand, counts of calls, and work that a stream runs or records.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <utility>

#include "cuda/host/launch_recorder.h"
#include "tests/cuda/fake_control.h"

namespace fake {
namespace {

std::map<std::string, int> faults, calls;
int slow_us = 0, version_override = 0;

// The status that a call shall return, or 0; counts the call.
int begin_call(const char* function) {
  ++calls[function];
  return std::exchange(faults[function], 0);
}

inline float to_tf32(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  bits = (bits + 0x1000) & ~0x1fffu;
  std::memcpy(&x, &bits, 4);
  return x;
}

template <class F>
void queue(void* stream, F work) {
  ladarts::simt::run_or_record(static_cast<ladarts::simt::LaunchRecorder*>(stream), [work, us = slow_us] {
    if (us) std::this_thread::sleep_for(std::chrono::microseconds(us));
    work();
  });
}

}  // namespace
}  // namespace fake

extern "C" {
void fake_fail(const char* function, int status) {
  fake::faults[function] = status;
}
int fake_calls(const char* function) {
  return fake::calls[function];
}
void fake_slow_down(int microseconds) {
  fake::slow_us = microseconds;
}
void fake_set_version(int version) {
  fake::version_override = version;
}
}
