#include "core/error.h"

namespace ladarts {

void check_failed(const char* expression, const char* file, int line) {
  throw std::logic_error(fmt::format("{}:{}: invariant does not hold: {}", file, line, expression));
}

}  // namespace ladarts
