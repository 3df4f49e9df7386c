#include "predictor/store_csv.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>

#include "core/error.h"

namespace ladarts {

namespace {

// Reads or writes one field of a row.
struct Column {
  const char* name;
  std::function<std::string(const Measurement&)> get;
  std::function<bool(Measurement&, const std::string&)> set;  // false for a text that is no such value
  bool is_cost = false;
};

bool parse(const std::string& text, std::string& value) {
  value = text;
  return true;
}

bool parse(const std::string& text, bool& value) {
  value = text == "1";
  return text == "0" || text == "1";
}

template <class T>
bool parse(const std::string& text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

std::string print(bool value) {
  return value ? "1" : "0";
}
template <class T>
std::string print(const T& value) {
  return fmt::format("{}", value);  // the shortest text that reads back as the same number
}

template <class T>
Column field(const char* name, T Measurement::*member, bool is_cost = false) {
  return {name, [=](const Measurement& m) { return print(m.*member); },
          [=](Measurement& m, const std::string& text) { return parse(text, m.*member); }, is_cost};
}
template <class T>
Column field(const char* name, T CostContext::*member) {
  return {name, [=](const Measurement& m) { return print(m.context.*member); },
          [=](Measurement& m, const std::string& text) { return parse(text, m.context.*member); }};
}

const std::vector<Column>& columns() {
  using M = Measurement;
  using C = CostContext;
  static const std::vector<Column> all = {field("architecture", &M::architecture),
                                          field("replica", &M::replica),
                                          field("median", &M::median, true),
                                          field("relative_spread", &M::relative_spread),
                                          field("min", &M::min, true),
                                          field("mean", &M::mean, true),
                                          field("repeats", &M::repeats),
                                          field("warmup_runs", &M::warmup_runs),
                                          field("disturbed_runs", &M::disturbed_runs),
                                          field("noisy", &M::noisy),
                                          field("status", &M::status),
                                          field("metric", &C::metric),
                                          field("unit", &C::unit),
                                          field("space", &C::space),
                                          field("network", &C::network),
                                          field("batch", &C::batch),
                                          field("image_size", &C::image_size),
                                          field("device", &C::device),
                                          field("device_kind", &C::device_kind),
                                          field("threads", &C::threads),
                                          field("precision", &C::precision),
                                          field("isa", &C::isa),
                                          field("library_version", &C::library_version),
                                          field("seed", &M::seed),
                                          field("sample_index", &M::sample_index),
                                          field("commit", &M::commit),
                                          field("governor", &M::governor),
                                          field("clock_mhz", &M::clock_mhz),
                                          field("hostname", &M::hostname),
                                          field("utc_time", &M::utc_time),
                                          field("details", &M::details)};
  return all;
}

// The unit in a header such as "median_ms"; empty for "median".
std::string unit_in_header(const CsvTable& table) {
  for (const std::string& name : table.header)
    if (name.rfind("median_", 0) == 0) return name.substr(7);
  return "";
}

std::string header_name(const Column& column, const std::string& unit) {
  return column.is_cost && !unit.empty() ? std::string(column.name) + "_" + unit : column.name;
}

}  // namespace

std::string to_csv(const std::vector<Measurement>& rows) {
  const bool one_unit = !rows.empty() && std::all_of(rows.begin(), rows.end(), [&](const Measurement& m) {
    return m.context.unit == rows[0].context.unit;
  });
  const std::string unit = one_unit ? rows[0].context.unit : "";
  std::string out;
  std::vector<std::string> cells;
  for (const Column& c : columns()) cells.push_back(header_name(c, unit));
  append_csv_row(out, cells);
  for (const Measurement& m : rows) {
    for (size_t i = 0; i < cells.size(); ++i) cells[i] = columns()[i].get(m);
    append_csv_row(out, cells);
  }
  return out;
}

bool is_store_csv(const CsvTable& table) {
  const std::string unit = unit_in_header(table);
  return std::all_of(columns().begin(), columns().end(),
                     [&](const Column& c) { return table.column(header_name(c, unit)) >= 0; });
}

std::vector<Measurement> from_csv(const CsvTable& table) {
  const std::string unit = unit_in_header(table);
  std::vector<Measurement> rows(table.rows.size());
  for (const Column& c : columns()) {
    const int at = table.column(header_name(c, unit));
    require(at >= 0, "[csv] {} has no column '{}'", table.path.string(), header_name(c, unit));
    for (size_t i = 0; i < rows.size(); ++i)
      require(c.set(rows[i], table.rows[i][size_t(at)]), "[csv] {}, column {}: '{}' is no such value",
              table.place(i), header_name(c, unit), table.rows[i][size_t(at)]);
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    const Measurement& m = rows[i];
    require(unit.empty() || m.context.unit == unit, "[csv] {}: unit '{}', but the header says median_{}",
            table.place(i), m.context.unit, unit);
    require(std::isfinite(m.median) && m.median >= 0 && !m.architecture.empty() && m.replica >= 0,
            "[csv] {}: no measurement: architecture '{}', replica {}, median {}", table.place(i),
            m.architecture, m.replica, m.median);
  }
  return rows;
}

}  // namespace ladarts
