#include "tests/cuda/fake_base.h"

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <utility>

namespace {

std::map<std::string, int> faults, calls;

}  // namespace

namespace fake {

int slow_us = 0, version_override = 0;

int begin_call(const char* function) {
  ++calls[function];
  return std::exchange(faults[function], 0);
}

float to_tf32(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  bits = (bits + 0x1000) & ~0x1fffu;
  std::memcpy(&x, &bits, 4);
  return x;
}

}  // namespace fake

extern "C" {

void fake_fail(const char* function, int status) {
  faults[function] = status;
}
int fake_calls(const char* function) {
  return calls[function];
}
void fake_slow_down(int microseconds) {
  fake::slow_us = microseconds;
}
void fake_set_version(int version) {
  fake::version_override = version;
}

}  // extern "C"
