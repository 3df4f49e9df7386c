// The kernels that a GPU ran, each with its own begin and end: by CUPTI, NVIDIA's library for profilers. It
// is loaded when it is first needed. Kernels inside of a graph are seen one by one.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/device.h"

namespace ladarts::cuda {

// Calls `work`, which queues kernels and waits for them; returns what ran meanwhile on any GPU of this
// process, in the order of their begins. One caller at a time. Throws Error where CUPTI is missing (what, how
// to mend it), is in use by a profiler around this process, reports an error, or lost records; what `work`
// throws passes through.
std::vector<KernelRecord> trace_kernels(const std::function<void()>& work);

// "depthwise_forward<3, 1>" of "_ZN7ladarts4cuda...": a kernel's symbol without result, namespaces of this
// project and parameters.
std::string kernel_name(const char* symbol);

}  // namespace ladarts::cuda
