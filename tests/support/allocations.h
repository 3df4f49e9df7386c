// Counts what operator new gives out, in the whole test program: tests prove with it that a run allocates
// nothing.
#pragma once

#include <cstdint>

namespace ladarts::testing {

int64_t allocations();  // so far, of all threads

}  // namespace ladarts::testing
