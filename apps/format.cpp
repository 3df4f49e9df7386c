#include "apps/format.h"

#include <algorithm>
#include <cmath>

namespace ladarts {

std::string with_separators(int64_t value) {
  std::string digits = fmt::format("{}", value);
  for (int i = int(digits.size()) - 3; i > (value < 0 ? 1 : 0); i -= 3) digits.insert(size_t(i), ",");
  return digits;
}

std::string percent(double fraction, int digits) {
  return std::isfinite(fraction) ? fmt::format("{:.{}f}%", 100 * fraction, digits) : "-";
}

std::string described(const Json& network) {
  std::string out;
  for (const auto& [key, value] : network.items())
    out += (out.empty() ? "" : ", ") + key + " " + (value.is_string() ? text_of(value) : value.dump());
  return out;
}

std::string table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> width(header.size());
  for (size_t c = 0; c < header.size(); ++c) {
    width[c] = header[c].size();
    for (const auto& row : rows) width[c] = std::max(width[c], row.at(c).size());
  }
  std::string out;
  auto add = [&](const std::vector<std::string>& row) {
    out += fmt::format("{:<{}}", row[0], width[0]);
    for (size_t c = 1; c < row.size(); ++c) out += fmt::format("  {:>{}}", row[c], width[c]);
    out += '\n';
  };
  add(header);
  std::vector<std::string> rule;
  for (size_t w : width) rule.emplace_back(w, '-');
  add(rule);
  for (const auto& row : rows) add(row);
  return out;
}

}  // namespace ladarts
