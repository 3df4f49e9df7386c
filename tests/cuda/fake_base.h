// Shared by the stand-ins: faults on demand, counts of calls, and work that a stream runs or records.
#pragma once

#include <chrono>
#include <thread>

#include "cuda/host/launch_recorder.h"
#include "tests/cuda/fake_control.h"

namespace fake {

// The status that a call shall return, or 0; counts the call.
int begin_call(const char* function);
extern int slow_us, version_override;  // 0: none

float to_tf32(float x);

template <class F>
void queue(void* stream, F work) {
  ladarts::simt::run_or_record(static_cast<ladarts::simt::LaunchRecorder*>(stream), [work, us = slow_us] {
    if (us) std::this_thread::sleep_for(std::chrono::microseconds(us));
    work();
  });
}

}  // namespace fake
