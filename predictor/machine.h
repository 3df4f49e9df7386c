// The machine and the build, as far as a latency depends on them.
#pragma once

#include <filesystem>
#include <string>

#include "core/device.h"
#include "predictor/cost_context.h"

namespace ladarts {

struct Machine {
  std::string cpu;       // model name; "unknown" where the system does not tell
  int cores = 0;         // available to this process
  std::string isa;       // of the kernels in use
  double clock_mhz = 0;  // of the cores it may use, now; 0 where unreadable
  std::string governor;  // "performance"; empty where unreadable
  std::string os;        // "Linux 6.1.0 x86_64"
  std::string hostname;
};

Machine this_machine();

// What changes while a machine runs. 0 where the system does not tell. `system` holds devices/ and class/,
// for tests.
struct MachineState {
  double clock_mhz = 0;      // mean over the cores that this process may use
  double temperature_c = 0;  // of the hottest sensor of a CPU, else of the hottest of all
};
MachineState machine_state(const std::filesystem::path& system = "/sys");

std::string library_version();  // "0.1.0"
std::string library_commit();   // abbreviated, with "-dirty" where built from a changed tree; or "unknown"

// Fills in device, device_kind, threads, isa and library_version for a device of this machine. A GPU's isa is
// its compute capability and, where not ours, whose kernels run (KernelPolicy::str); its threads are 1; under
// TF32 its precision is that. Costs of kAnyDevice keep that.
void describe_device(CostContext& context, Device device, int threads);

}  // namespace ladarts
