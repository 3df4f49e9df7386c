// What tests ask of the emulated device beside what every device does.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ladarts::testing {

// The names of profilers' ranges that began so far, and "end" for each end.
std::vector<std::string>& emulated_ranges();

// Called, unless null, after each kernel of a recording that is replayed, with its times in nanoseconds.
extern void (*emulated_kernel_ran)(int64_t begin_ns, int64_t end_ns);

}  // namespace ladarts::testing
