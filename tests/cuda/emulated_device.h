// What tests ask of the emulated device beside what every device does.
#pragma once

#include <string>
#include <vector>

namespace ladarts::testing {

// The names of profilers' ranges that began so far, and "end" for each end.
std::vector<std::string>& emulated_ranges();

}  // namespace ladarts::testing
