// Errors of the predictors on public tables of measured architectures, against the number of measurements.
//
//   tables_bench nasbench201/latency.csv --live nasbench201/accuracy.csv --rows 20 --rows 200 --seeds 5
//
// Every architecture that was not fitted on is tested. Prints a table and, with --json, writes all figures:
// for each column, model and number of rows the mean over seeds, the half width of its 95% confidence
// interval, calibration and the worst cases; with --svg it draws them. `--draw FILE` draws such figures that
// are there already. A file of figures is added to: those of other tables stay, and what it has of this table
// from as many seeds is not measured again, so that a long run may be stopped and started. See
// benchmarks/predictor/table_reader.h for the forms of tables.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>

#include "benchmarks/predictor/table_reader.h"
#include "benchmarks/predictor/tables_picture.h"
#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json_file.h"
#include "core/philox.h"
#include "core/thread_pool.h"
#include "predictor/fit.h"
#include "predictor/stack.h"

using namespace ladarts;
using benchmarks::CostTable;
using nlohmann::json;

namespace {

struct Arguments {
  std::string csv, json_path, svg, draw;
  benchmarks::TableOptions table;
  std::vector<std::string> columns, models = {"default", "additive", "paper"};
  std::vector<int64_t> rows = {10, 20, 50, 200, 900};
  int seeds = 5, threads = 0;
  int64_t source_rows = 300;
};

using Sources = std::vector<std::shared_ptr<const Regressor>>;

struct Trial {
  ErrorReport errors;
  std::optional<Calibration> calibration;
  double seconds = 0;
  std::string kind;
  size_t worst = 0;  // row with the largest relative error
  double worst_predicted = 0, worst_measured = 0;
};

Split draw(int64_t rows, int64_t train, uint64_t seed) {
  std::vector<int64_t> order(static_cast<size_t>(rows));
  std::iota(order.begin(), order.end(), int64_t(0));
  Random random(seed);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(uint32_t(i))]);
  return {{order.begin(), order.begin() + train}, {order.begin() + train, order.end()}};
}

// Of structured_features(): operations as they are written and their counts, dead ones like others.
FeatureExpansion first_groups(FeatureExpansion e, size_t count) {
  e.groups.resize(std::min(count, e.groups.size()));
  e.output.rows = std::accumulate(e.groups.begin(), e.groups.end(), int64_t(0));
  e.output.bias.resize(size_t(e.output.rows));
  e.output.weight.resize(size_t(e.output.rows * e.output.columns));
  return e;
}

// default is gp or, with many rows, a stack; gp-written does not know what is dead; gp-plain has nothing but
// the encoding; transfer starts from the other columns.
std::unique_ptr<Regressor> fit(const std::string& model, const Dataset& train, const CostTable& table,
                               const Sources& sources, uint64_t seed) {
  if (model == "additive") return fit_additive(train, {.seed = seed});
  if (model == "transfer") {
    GpOptions options;
    options.expansion = table.expansion;
    options.seed = seed;
    return fit_transfer(train, sources, options);
  }
  if (model == "default") {
    GpOptions gp;
    gp.expansion = table.expansion;
    MlpOptions mlp;
    gp.seed = mlp.seed = seed;
    return fit_default(train, gp, mlp);
  }
  if (model.starts_with("gp")) {
    GpOptions options;
    if (model == "gp") options.expansion = table.expansion;
    if (model == "gp-written") options.expansion = first_groups(table.expansion, 2);
    options.seed = seed;
    return fit_gp(train, options);
  }
  MlpOptions options = model == "paper" ? MlpOptions::paper() : MlpOptions{};
  options.seed = seed;
  return fit_mlp(train, options);
}

Trial run(const std::string& model, const CostTable& table, const Dataset& data, const Sources& sources,
          int64_t rows, uint64_t seed) {
  const Split split = draw(data.size(), rows, seed);
  const Dataset train = data.subset(split.train), test = data.subset(split.test);
  const auto start = std::chrono::steady_clock::now();
  const auto regressor = fit(model, train, table, sources, seed);
  Trial t;
  t.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  t.kind = regressor->kind();
  const std::vector<double> predicted = regressor->predict(test.features);
  t.errors = error_report(predicted, test.costs);
  if (regressor->gives_deviation()) {  // on up to 1,000: its cost grows with the square of the rows fitted
    std::vector<int64_t> some(size_t(std::min<int64_t>(test.size(), 1000)));
    std::iota(some.begin(), some.end(), int64_t(0));
    const Dataset part = test.subset(some);
    t.calibration = calibration(regressor->distribution(part.features), part.costs);
  }
  double worst = -1;
  for (size_t i = 0; i < predicted.size(); ++i)
    if (const double error = std::abs(predicted[i] / test.costs[i] - 1); error > worst) {
      worst = error;
      t.worst = size_t(split.test[i]);
      t.worst_predicted = predicted[i];
      t.worst_measured = test.costs[i];
    }
  return t;
}

// Two-sided 95% quantile of Student's t for a mean of n values.
double student(size_t n) {
  constexpr double kQuantiles[] = {12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26};
  return n < 2 ? 0 : n - 2 < std::size(kQuantiles) ? kQuantiles[n - 2] : 2.2;
}

template <class F>
json mean_and_band(const std::vector<Trial>& trials, F value) {
  double mean = 0, square = 0;
  for (const Trial& t : trials) mean += value(t) / double(trials.size());
  for (const Trial& t : trials) square += (value(t) - mean) * (value(t) - mean);
  const auto n = double(trials.size());
  return {{"mean", mean}, {"band", n > 1 ? student(trials.size()) * std::sqrt(square / (n - 1) / n) : 0.0}};
}

json summary(const std::vector<Trial>& trials, const CostTable& table) {
  json j;
  j["relative_error"] = mean_and_band(trials, [](const Trial& t) { return t.errors.mean_relative_error; });
  j["median_error"] = mean_and_band(trials, [](const Trial& t) { return t.errors.median_relative_error; });
  j["within_5_percent"] = mean_and_band(trials, [](const Trial& t) { return t.errors.within_5_percent; });
  j["within_10_percent"] = mean_and_band(trials, [](const Trial& t) { return t.errors.within_10_percent; });
  j["spearman"] = mean_and_band(trials, [](const Trial& t) { return t.errors.spearman; });
  if (trials[0].calibration) {
    j["within_one_deviation"] =
        mean_and_band(trials, [](const Trial& t) { return t.calibration->within_one; });
    j["within_two_deviations"] =
        mean_and_band(trials, [](const Trial& t) { return t.calibration->within_two; });
  }
  const Trial& worst = *std::max_element(trials.begin(), trials.end(), [](const Trial& a, const Trial& b) {
    return std::abs(a.worst_predicted / a.worst_measured - 1) <
           std::abs(b.worst_predicted / b.worst_measured - 1);
  });
  j["worst"] = {{"architecture", table.architectures[worst.worst]},
                {"predicted", worst.worst_predicted},
                {"measured", worst.worst_measured}};
  for (const Trial& t : trials) j["kinds"].push_back(t.kind);
  j["seconds"] = mean_and_band(trials, [](const Trial& t) { return t.seconds; });
  j["seeds"] = trials.size();
  return j;
}

void print(const std::string& column, int64_t rows, const std::string& model, const json& s) {
  auto mean = [&](const char* key) { return s[key]["mean"].get<double>(); };
  fmt::print("{:18} {:5} {:9} {:8.3f}% +-{:6.3f} {:7.3f}% {:6.1f}% {:6.1f}% {:8.4f}", column, rows, model,
             100 * mean("relative_error"), 100 * s["relative_error"]["band"].get<double>(),
             100 * mean("median_error"), 100 * mean("within_5_percent"), 100 * mean("within_10_percent"),
             mean("spearman"));
  if (s.contains("within_one_deviation"))
    fmt::print(" {:6.1f}% {:6.1f}%", 100 * mean("within_one_deviation"), 100 * mean("within_two_deviations"));
  fmt::print("{}\n",
             s.contains("seconds") ? fmt::format(" {:.1f}s", mean("seconds")) : "");  // not in older files
  std::fflush(stdout);
}

// The figures of one table, and the file that keeps them and those of other tables.
class Figures {
 public:
  Figures(std::string path, const CostTable& table) : path_(std::move(path)) {
    if (!path_.empty() && std::filesystem::exists(path_)) {
      const json read = json::parse(read_file(path_));
      tables_ = read.is_array() ? read : json::array({read});
    }
    for (size_t i = 0; i < tables_.size(); ++i)
      if (tables_[i].at("table") == table.name) at_ = i;
    if (at_ < tables_.size()) {
      require(tables_[at_].at("rows") == table.features.rows,
              "[tables_bench] '{}' has figures of {} with {} rows, here are {}; name another file", path_,
              table.name, tables_[at_].at("rows").get<int64_t>(), table.features.rows);
      return;
    }
    at_ = tables_.size();
    tables_.push_back({{"table", table.name}, {"rows", table.features.rows}, {"results", json::array()}});
  }

  // Null where there are none.
  const json* find(const std::string& column, int64_t rows, const std::string& model) const {
    for (const json& r : table().at("results"))
      if (r.at("column") == column && r.at("fitted_on") == rows && r.at("model") == model) return &r;
    return nullptr;
  }

  const json& add(json summary, const std::string& column, int64_t rows, const std::string& model) {
    summary["column"] = column;
    summary["fitted_on"] = rows;
    summary["model"] = model;
    json& results = tables_[at_]["results"];
    const json* before = find(column, rows, model);
    json& place = before ? results[size_t(before - &results[0])] : results.emplace_back();
    place = std::move(summary);
    if (!path_.empty()) write_json_file(path_, Json::parse(tables_.dump()));
    return place;
  }

  const json& table() const { return tables_[at_]; }

 private:
  std::string path_;
  json tables_ = json::array();
  size_t at_ = SIZE_MAX;
};

void bench(const Arguments& a) {
  const CostTable table = benchmarks::read_table(a.csv, a.table);
  Figures figures(a.json_path, table);
  fmt::print("{}: {} architectures\n{:18} {:>5} {:9} {:>9} {:>8} {:>8} {:>7} {:>7} {:>8} {:>7} {:>7}\n",
             table.name, table.features.rows, "column", "rows", "model", "error", "95%", "median", "in 5%",
             "in 10%", "Spearman", "1 sd", "2 sd");
  for (const std::string& name : a.columns)
    require(std::find(table.columns.begin(), table.columns.end(), name) != table.columns.end(),
            "[tables_bench] '{}' has no column '{}'", a.csv, name);
  // Each column as others' source.
  Sources all;
  if (std::find(a.models.begin(), a.models.end(), "transfer") != a.models.end())
    for (size_t c = 0; c < table.columns.size(); ++c) {
      const Dataset data = table.dataset(c);
      all.push_back(fit("gp",
                        data.subset(draw(data.size(), std::min(a.source_rows, data.size() - 1), c).train),
                        table, {}, 0));
    }
  for (const int64_t rows : a.rows) {
    std::map<std::string, double> sum, rank;
    double columns = 0;
    for (size_t c = 0; c < table.columns.size(); ++c) {
      const std::string& name = table.columns[c];
      if (!a.columns.empty() && std::find(a.columns.begin(), a.columns.end(), name) == a.columns.end())
        continue;
      const Dataset data = table.dataset(c);
      if (rows >= data.size()) continue;
      ++columns;
      Sources others = all;
      if (!all.empty()) others.erase(others.begin() + std::ptrdiff_t(c));
      for (const std::string& model : a.models) {
        const json* there = figures.find(name, rows, model);
        if (!there || there->at("seeds") < a.seeds) {
          std::vector<Trial> trials;
          for (int seed = 0; seed < a.seeds; ++seed)
            trials.push_back(run(model, table, data, others, rows, uint64_t(seed)));
          there = &figures.add(summary(trials, table), name, rows, model);
        }
        const json& s = *there;
        print(name, rows, model, s);
        sum[model] += s["relative_error"]["mean"].get<double>();
        rank[model] += s["spearman"]["mean"].get<double>();
        if (!a.svg.empty()) write_file_atomically(a.svg + ".svg", benchmarks::picture_of(figures.table()));
      }
    }
    for (const auto& [model, total] : sum)
      fmt::print("{:18} {:5} {:9} {:8.3f}% Spearman {:.4f}\n", "mean of columns", rows, model,
                 100 * total / columns, rank[model] / columns);
  }
}

}  // namespace

int main(int argc, char** argv) try {
  Arguments a;
  CLI::App app("Errors of the predictors on a public table of measured architectures");
  app.add_option("csv", a.csv, "table: arch_str, genotype or op0 op1 ..., and columns of costs");
  app.add_option("--column", a.columns, "cost to predict; may be repeated; all without it");
  app.add_option(
         "--model", a.models,
         "default (what ladarts fit takes), gp, gp-written, gp-plain, transfer (from the table's other "
         "columns), additive, mlp or paper; may be repeated")
      ->check(
          CLI::IsMember({"gp", "gp-written", "gp-plain", "transfer", "additive", "mlp", "paper", "default"}));
  app.add_option("--source-rows", a.source_rows, "rows of each other column that transfer starts from")
      ->check(CLI::PositiveNumber);
  app.add_option("--rows", a.rows, "rows to fit on; may be repeated");
  app.add_option("--seeds", a.seeds, "splits to average over")->check(CLI::PositiveNumber);
  app.add_option("--live", a.table.live,
                 "table of the same order with output_reachable; rows with 0 are left out");
  app.add_option("--group", a.table.group, "column with the row measured for this one; others are left out");
  app.add_option("--json", a.json_path, "file for all figures; what it has already is not measured again");
  app.add_option("--threads", a.threads, "CPU threads; 0: all");
  app.add_option("--svg", a.svg, "draw error against rows into this file, `.svg` appended; see --draw");
  app.add_option("--draw", a.draw, "measure nothing: draw the figures of this JSON file to SVG-TABLE.svg");
  CLI11_PARSE(app, argc, argv);
  ThreadPool::set_global_threads(a.threads);
  if (!a.draw.empty()) {
    require(!a.svg.empty(), "[tables_bench] --draw needs --svg, where the pictures go");
    benchmarks::draw_results(a.draw, a.svg);
    return 0;
  }
  require(!a.csv.empty(), "[tables_bench] no table; --help tells what one is");
  bench(a);
} catch (const std::exception& e) {
  fmt::print(stderr, "{}\n", e.what());
  return 1;
}
