// Times kernels that compute the same node, each alone on operands of its own. Internal to the choice of
// kernels.
#pragma once

#include <vector>

#include "core/kernel_choice.h"

namespace ladarts {

// Microseconds of one run of each, the least of several tries in which each runs in turn. On a device with a
// stream the runs are recorded, as those of programs are, and timed by its clock.
std::vector<double> time_kernels(const KernelNode& node, const std::vector<ChosenKernel>& kernels,
                                 DeviceStream* stream);

}  // namespace ladarts
