// Errors. A user can cause an Error: its message says where, what, and how to mend it. A failed LADARTS_CHECK
// is a defect of ladarts itself; it is on in release builds too.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace ladarts {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws Error with a formatted message.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

// Throws Error unless `ok`.
template <class... Args>
void require(bool ok, fmt::format_string<Args...> format, Args&&... args) {
  if (!ok) throw Error(fmt::format(format, std::forward<Args>(args)...));
}

[[noreturn]] void check_failed(const char* expression, const char* file, int line);

}  // namespace ladarts

#define LADARTS_CHECK(expression) \
  ((expression) ? void() : ::ladarts::check_failed(#expression, __FILE__, __LINE__))
