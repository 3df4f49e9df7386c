// Errors of the predictors on a public table of latencies: CSV with a column `arch_str` in the NAS-Bench-201
// form
// (|op~0|+|op~0|op~1|+...) and one column for each device. The features are the operations of the edges,
// one-hot.
//
//   tables_bench latency.csv --device 1080ti_1_ms --device raspi4_ms --rows 200 --rows 900 --seeds 3
//
// Optional: --live CSV, a table with `output_reachable`; rows where it is 0 are left out. --group COLUMN
// keeps rows of equal value on one side of the split. --paper adds the paper's plain 512-512 network.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <fstream>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <sstream>

#include "core/error.h"
#include "core/philox.h"
#include "predictor/fit.h"

using namespace ladarts;

namespace {

using Table = std::map<std::string, std::vector<std::string>>;  // column -> cells

std::vector<std::string> split_text(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

Table read_csv(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  require(bool(std::getline(file, line)), "[tables_bench] cannot read '{}'", path);
  const std::vector<std::string> names = split_text(line, ',');
  Table table;
  while (std::getline(file, line)) {
    const std::vector<std::string> cells = split_text(line, ',');
    require(cells.size() == names.size(), "[tables_bench] '{}': {} cells under {} columns: {}", path,
            cells.size(), names.size(), line);
    for (size_t i = 0; i < names.size(); ++i) table[names[i]].push_back(cells[i]);
  }
  return table;
}

const std::vector<std::string>& column(const Table& table, const std::string& name) {
  const auto it = table.find(name);
  require(it != table.end(), "[tables_bench] there is no column '{}'", name);
  return it->second;
}

// Operations of the edges in order: "|a~0|+|b~0|c~1|" -> {a, b, c}.
std::vector<std::string> operations(const std::string& architecture) {
  std::vector<std::string> result;
  for (const std::string& part : split_text(architecture, '|'))
    if (part.find('~') != std::string::npos) result.push_back(part.substr(0, part.find('~')));
  return result;
}

FeatureMatrix one_hot(const std::vector<std::string>& architectures) {
  std::set<std::string> known;
  for (const std::string& a : architectures)
    for (const std::string& op : operations(a)) known.insert(op);
  FeatureMatrix features;
  for (const std::string& a : architectures) {
    std::vector<float> row;
    for (const std::string& op : operations(a))
      for (const std::string& candidate : known) row.push_back(op == candidate ? 1.f : 0.f);
    features.append(row);
  }
  return features;
}

struct Arguments {
  std::string csv, live, group;
  std::vector<std::string> devices;
  std::vector<int64_t> rows = {200, 900};
  int seeds = 3;
  int64_t test_rows = 4000;
  bool paper = false;
};

Dataset load(const Arguments& a, const std::string& device) {
  const Table table = read_csv(a.csv);
  Dataset all;
  all.features = one_hot(column(table, "arch_str"));
  for (const std::string& cell : column(table, device)) all.costs.push_back(std::stod(cell));
  if (!a.group.empty())
    for (const std::string& cell : column(table, a.group)) all.groups.push_back(std::stoll(cell));
  if (a.live.empty()) return all;
  const Table live = read_csv(a.live);
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < all.size(); ++i)
    if (column(live, "output_reachable").at(size_t(i)) != "0") rows.push_back(i);
  return all.subset(rows);
}

// `train_rows` for the fit and at most `test_rows` others, of other groups, to test on.
Split draw(const Dataset& data, int64_t train_rows, int64_t test_rows, uint64_t seed) {
  std::vector<int64_t> order(size_t(data.size()));
  std::iota(order.begin(), order.end(), int64_t(0));
  Random random(seed);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(uint32_t(i))]);
  require(train_rows < data.size(), "[tables_bench] {} rows to fit, the table has {}", train_rows,
          data.size());
  Split split;
  std::set<int64_t> trained;
  for (const int64_t i : order) {
    const int64_t group = data.groups.empty() ? i : data.groups[size_t(i)];
    if (int64_t(split.train.size()) < train_rows) {
      if (trained.insert(group).second) split.train.push_back(i);
    } else if (int64_t(split.test.size()) < test_rows && !trained.count(group)) {
      split.test.push_back(i);
    }
  }
  return split;
}

void report(const Arguments& a, const std::string& device, const Dataset& data, int64_t rows) {
  std::vector<std::pair<std::string, std::optional<MlpOptions>>> models = {{"additive", {}},
                                                                           {"mlp", MlpOptions{}}};
  if (a.paper) models.emplace_back("mlp 512-512", MlpOptions::paper());
  for (auto& [name, options] : models) {
    ErrorReport mean;
    double seconds = 0;
    for (int seed = 0; seed < a.seeds; ++seed) {
      const Split split = draw(data, rows, a.test_rows, uint64_t(seed));
      const Dataset train = data.subset(split.train), test = data.subset(split.test);
      const auto start = std::chrono::steady_clock::now();
      std::unique_ptr<Regressor> model;
      if (options) {
        options->seed = uint64_t(seed);
        model = fit_mlp(train, *options);
      } else {
        model = fit_additive(train, {.seed = uint64_t(seed)});
      }
      seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / a.seeds;
      const ErrorReport r = error_report(model->predict(test.features), test.costs);
      mean.mean_relative_error += r.mean_relative_error / a.seeds;
      mean.within_5_percent += r.within_5_percent / a.seeds;
      mean.within_10_percent += r.within_10_percent / a.seeds;
      mean.spearman += r.spearman / a.seeds;
      mean.kendall += r.kendall / a.seeds;
    }
    fmt::print("{:16} {:5} {:12} {:7.2f}% {:6.1f}% {:6.1f}% {:9.4f} {:8.4f} {:7.2f}\n", device, rows, name,
               100 * mean.mean_relative_error, 100 * mean.within_5_percent, 100 * mean.within_10_percent,
               mean.spearman, mean.kendall, seconds);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) try {
  Arguments a;
  CLI::App app("Errors of the predictors on a public table of latencies");
  app.add_option("csv", a.csv, "table with arch_str and a column for each device")->required();
  app.add_option("--device", a.devices, "column to predict; may be repeated")->required();
  app.add_option("--rows", a.rows, "rows to fit on; may be repeated");
  app.add_option("--seeds", a.seeds, "splits to average over");
  app.add_option("--test-rows", a.test_rows, "at most this many rows to test on");
  app.add_option("--live", a.live, "table of the same order with output_reachable; rows with 0 are left out");
  app.add_option("--group", a.group, "column whose equal values stay on one side of the split");
  app.add_flag("--paper", a.paper, "also the paper's plain network");
  CLI11_PARSE(app, argc, argv);
  fmt::print("{:16} {:>5} {:12} {:>8} {:>7} {:>7} {:>9} {:>8} {:>7}\n", "device", "rows", "model", "error",
             "in 5%", "in 10%", "Spearman", "Kendall", "fit s");
  for (const std::string& device : a.devices) {
    const Dataset data = load(a, device);
    for (const int64_t rows : a.rows) report(a, device, data, rows);
  }
} catch (const std::exception& e) {
  fmt::print(stderr, "{}\n", e.what());
  return 1;
}
