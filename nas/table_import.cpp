#include "nas/table_import.h"

#include <fnmatch.h>

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/clock.h"
#include "core/error.h"
#include "nas/architecture_measuring.h"
#include "predictor/units.h"

namespace ladarts {

namespace {

struct CostColumn {
  int at = 0;
  std::string device;
};

std::string names_of(const CsvTable& table) {
  std::string names;
  for (const std::string& name : table.header) names += (names.empty() ? "" : ", ") + name;
  return names;
}

// "gold_6240_ms" -> "ms" where that is a unit of the metric; else empty.
std::string unit_at_end(const std::string& column, const std::string& metric) {
  const size_t underscore = column.rfind('_');
  if (underscore == std::string::npos) return "";
  const std::string end = column.substr(underscore + 1);
  try {
    unit_factor(metric, end);
    return end;
  } catch (const Error&) {
    return "";
  }
}

CostColumn cost_column(const CsvTable& table, int at, const std::string& device, const TableImport& how) {
  const std::string& name = table.header[size_t(at)];
  const std::string end = unit_at_end(name, how.context.metric);
  require(end.empty() || end == how.unit,
          "[import] column '{}' ends in {}, but the unit given is {}; give --unit {}, or rename the column",
          name, end, how.unit, end);
  if (!device.empty()) return {at, device};
  return {at, end.empty() ? name : name.substr(0, name.size() - end.size() - 1)};
}

std::vector<CostColumn> find_columns(const CsvTable& table, const TableImport& how) {
  std::vector<CostColumn> found;
  for (const std::string& asked : how.columns) {
    const size_t equals = asked.find('=');
    const std::string pattern = asked.substr(0, equals);
    const std::string device = equals == std::string::npos ? "" : asked.substr(equals + 1);
    const size_t before = found.size();
    for (size_t i = 0; i < table.header.size(); ++i)
      if (table.header[i] != how.architecture_column &&
          fnmatch(pattern.c_str(), table.header[i].c_str(), 0) == 0)
        found.push_back(cost_column(table, int(i), device, how));
    require(found.size() > before, "[import] {} has no column '{}'; it has {}", table.path.string(), pattern,
            names_of(table));
    require(device.empty() || found.size() == before + 1, "[import] '{}' names one device for {} columns",
            asked, found.size() - before);
  }
  require(!found.empty(), "[import] no column of costs given; {} has {}", table.path.string(),
          names_of(table));
  return found;
}

// NaN for an empty cell.
double cost_in(const CsvTable& table, size_t row, int column) {
  const std::string& text = table.rows[row][size_t(column)];
  if (text.empty() || text == "nan" || text == "NaN" || text == "NA") return NAN;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  require(error == std::errc() && end == text.data() + text.size() && std::isfinite(value) && value > 0,
          "[import] {}, column {}: '{}' is no positive number", table.place(row),
          table.header[size_t(column)], text);
  return value;
}

std::string architecture_in(const CsvTable& table, size_t row, int column, const SearchSpace& space) try {
  return architecture_text(parse_genotype(table.rows[row][size_t(column)], space), space);
} catch (const Error& e) {
  fail("[import] {}, column {}: {}", table.place(row), table.header[size_t(column)], e.what());
}

}  // namespace

ImportedTable import_table(const CsvTable& table, const TableImport& how) {
  const double factor = unit_factor(how.context.metric, how.unit);
  const int architectures = table.column(how.architecture_column);
  require(architectures >= 0, "[import] {} has no column '{}' of architectures; it has {}",
          table.path.string(), how.architecture_column, names_of(table));
  const std::vector<CostColumn> columns = find_columns(table, how);
  const std::string now = utc_now();
  ImportedTable result;
  std::vector<std::string> texts;
  for (size_t i = 0; i < table.rows.size(); ++i)
    texts.push_back(architecture_in(table, i, architectures, how.space));
  for (const CostColumn& column : columns) {
    Measurement m;
    m.context = how.context;
    m.context.unit = metric_info(how.context.metric).unit;
    m.context.device = column.device;
    m.repeats = 1;
    m.utc_time = now;
    m.details = nlohmann::json{
        {"imported_from", table.path.filename().string()},
        {"column", table.header[size_t(column.at)]},
        {"unit",
         how.unit}}.dump();
    for (size_t i = 0; i < table.rows.size(); ++i) {
      const double cost = cost_in(table, i, column.at);
      if (std::isnan(cost)) {
        ++result.empty_cells;
        continue;
      }
      m.architecture = texts[i];
      m.median = m.min = m.mean = cost * factor;
      result.rows.push_back(m);
    }
  }
  return result;
}

}  // namespace ladarts
