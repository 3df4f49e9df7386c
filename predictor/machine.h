// The machine and the build, as far as a latency depends on them.
#pragma once

#include <string>

#include "core/device.h"
#include "predictor/cost_context.h"

namespace ladarts {

struct Machine {
  std::string cpu;       // model name; "unknown" where the system does not tell
  int cores = 0;         // available to this process
  std::string isa;       // of the kernels in use
  double clock_mhz = 0;  // of the first core, now; 0 where unreadable
  std::string governor;  // "performance"; empty where unreadable
  std::string os;        // "Linux 6.1.0 x86_64"
  std::string hostname;
};

Machine this_machine();

std::string library_version();  // "0.1.0"
std::string library_commit();   // abbreviated, with "-dirty" where built from a changed tree; or "unknown"

// Fills in device, device_kind, threads, isa and library_version for a device of this machine. A GPU's isa is
// its compute capability, its threads are 1. Costs of kAnyDevice keep that.
void describe_device(CostContext& context, Device device, int threads);

}  // namespace ladarts
