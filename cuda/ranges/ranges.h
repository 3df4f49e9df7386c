// Named ranges on the host's time line of NVIDIA's profilers (NVTX). Without NVTX's header they do nothing.
#pragma once

#include <string>

namespace ladarts::cuda {

void push_range(const std::string& name);
void pop_range();

}  // namespace ladarts::cuda
