#include <nvtx3/nvToolsExt.h>

#include "cuda/ranges/ranges.h"

namespace ladarts::cuda {

void push_range(const std::string& name) {
  nvtxRangePushA(name.c_str());
}
void pop_range() {
  nvtxRangePop();
}

}  // namespace ladarts::cuda
