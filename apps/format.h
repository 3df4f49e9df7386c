// Words and tables for people.
#pragma once

#include <string>
#include <vector>

#include "core/json_file.h"

namespace ladarts {

inline std::string text_of(const Json& value) {
  return value.get<std::string>();
}

std::string with_separators(int64_t value);  // 3349342 -> "3,349,342"
inline std::string with_separators(const Json& value) {
  return with_separators(value.get<int64_t>());
}
std::string percent(double fraction, int digits = 1);  // 0.0312 -> "3.1%"
// {"channels": 36, "layers": 20, ...} -> "channels 36, layers 20, ..."
std::string described(const Json& network);

// Columns as wide as their widest entry; the first is aligned left, the others right. Every row is as long as
// the header.
std::string table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows);

}  // namespace ladarts
