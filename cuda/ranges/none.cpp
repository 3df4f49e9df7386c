#include "cuda/ranges/ranges.h"

namespace ladarts::cuda {

void push_range(const std::string&) {}
void pop_range() {}

}  // namespace ladarts::cuda
