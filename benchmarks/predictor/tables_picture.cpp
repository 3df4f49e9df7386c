#include "benchmarks/predictor/tables_picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/atomic_file.h"
#include "core/error.h"
#include "predictor/learning_curve.h"

namespace ladarts::benchmarks {

std::string picture_of(const nlohmann::json& table) {
  struct Sum {
    double error = 0, band = 0;
    int columns = 0;
  };
  std::map<std::string, std::map<int64_t, Sum>> models;
  std::map<std::string, std::set<std::string>> columns;
  std::set<std::string> all;
  for (const auto& r : table.at("results")) {
    const auto model = r.at("model").get<std::string>(), column = r.at("column").get<std::string>();
    Sum& sum = models[model][r.at("fitted_on").get<int64_t>()];
    sum.error += r.at("relative_error").at("mean").get<double>();
    sum.band += r.at("relative_error").at("band").get<double>();
    ++sum.columns;
    columns[model].insert(column);
    all.insert(column);
  }
  std::vector<LearningCurve> curves;
  for (const auto& [model, sums] : models) {
    LearningCurve curve{model, {}};
    for (const auto& [rows, sum] : sums)
      if (sum.columns == int(columns[model].size()))
        curve.points.push_back({rows, sum.error / sum.columns, sum.band / sum.columns});
    curves.push_back(std::move(curve));
  }
  // ladarts' own first, in the first colour.
  std::stable_partition(curves.begin(), curves.end(),
                        [](const LearningCurve& c) { return c.name == "default"; });
  return learning_curve_svg(
      curves, fmt::format("{}: mean relative error, mean of {} column{}",
                          table.at("table").get<std::string>(), all.size(), all.size() == 1 ? "" : "s"));
}

void draw_results(const std::string& json_path, const std::string& prefix) {
  std::ifstream file(json_path);
  require(bool(file), "[tables_bench] cannot read '{}'", json_path);
  const nlohmann::json read = nlohmann::json::parse(file);
  const nlohmann::json tables = read.is_array() ? read : nlohmann::json::array({read});
  for (const auto& table : tables) {
    auto name = table.at("table").get<std::string>();
    std::replace(name.begin(), name.end(), '/', '-');
    write_file_atomically(fmt::format("{}-{}.svg", prefix, name), picture_of(table));
  }
}

}  // namespace ladarts::benchmarks
