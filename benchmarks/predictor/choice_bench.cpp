// What choosing the measurements is worth, replayed on tables of measured architectures.
//
//   choice_bench nasbench201/latency.csv --live nasbench201/accuracy.csv --column 1080ti_1_ms --seeds 3
//   choice_bench own.db --goal 0.03 --budget 100
//
// A random half of the architectures (at most 4,000) is for tests only; the others are the pool. Without
// --goal: the error on the test rows against the number of measurements for each rule of choice. With --goal:
// the whole of ladarts fit --budget --goal, as often as there are seeds: how many measurements it takes, and
// how often the error on the test rows is below the bound that the program claims.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "benchmarks/predictor/table_reader.h"
#include "core/error.h"
#include "core/json_file.h"
#include "core/philox.h"
#include "core/thread_pool.h"
#include "nas/architecture_measuring.h"
#include "nas/encoding.h"
#include "predictor/active_choice.h"
#include "predictor/drawn_error.h"
#include "predictor/fit.h"
#include "predictor/predictor_file.h"

using namespace ladarts;
using benchmarks::CostTable;

namespace {

constexpr int64_t kMostTests = 4000, kCandidates = 1000;

struct Arguments {
  std::string table, json_path, predictor;
  benchmarks::TableOptions options;
  std::vector<std::string> columns, choices = choice_names();
  std::vector<int64_t> rows = {10, 20, 50, 100, 200};
  int seeds = 3, threads = 1;
  int64_t budget = 200;
  double goal = 0, drawn_share = 0;
};

CostTable read_store(const std::string& path) {
  const MeasurementStore store(path, MeasurementStore::Access::read_only);
  const auto rows = store.rows({.status = "ok"});
  require(!rows.empty(), "[choice_bench] '{}' holds no measurements", path);
  const SearchSpace space = SearchSpace::load("darts");
  const Dataset data = measured_dataset(rows, space);
  return {path, data.features, structured_features(space), {rows[0].context.metric}, {data.costs}, {}};
}

// One table's rows, some of them measured so far.
class Replay {
 public:
  Replay(const CostTable& table, size_t column, uint64_t seed)
      : table_(table), data_(table.dataset(column)), seed_(seed) {
    std::vector<int64_t> order(static_cast<size_t>(data_.size()));
    std::iota(order.begin(), order.end(), int64_t(0));
    Random random(seed, 5);
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(uint32_t(i))]);
    const int64_t tests = std::min(data_.size() / 2, kMostTests);
    test_ = data_.subset(std::span(order).first(size_t(tests)));
    pool_.assign(order.begin() + tests, order.end());
  }

  int64_t measured() const { return int64_t(rows_.size()); }
  int64_t pool() const { return int64_t(pool_.size()) + measured(); }

  void measure(Choice choice, const Round& round) {
    const FeatureMatrix before = rows_.empty() ? FeatureMatrix{} : data_.subset(rows_).features;
    const size_t first = rows_.size();
    for (int64_t i = 0; i < round.drawn; ++i) take(0, true);
    if (round.chosen == 0) return;
    Known known{before, {}, model_.get()};
    for (size_t i = first; i < rows_.size(); ++i) known.pending.append(data_.features.row(rows_[i]));
    const auto count = std::min(int64_t(pool_.size()), kCandidates);
    const std::vector<int64_t> rows(pool_.end() - count, pool_.end());
    std::vector<int64_t> chosen =
        choose(choice, data_.subset(rows).features, known, table_.expansion, round.chosen);
    std::sort(chosen.rbegin(), chosen.rend());
    const size_t begin = pool_.size() - size_t(count);
    for (const int64_t c : chosen) take(begin + size_t(c), false);
    // Others stand at the end next time.
    std::rotate(pool_.begin(), pool_.begin() + std::ptrdiff_t(pool_.size() / 2), pool_.end());
  }

  std::unique_ptr<Regressor> fit(const Dataset& data) const {
    return fit_gp(data, {.expansion = table_.expansion, .seed = seed_});
  }
  void fit() { model_ = fit(data_.subset(rows_)); }
  ErrorEstimate estimate() const {
    return estimate_error(predict_left_out(
        data_.subset(rows_), drawn_, [&](const Dataset& d) { return fit(d); }, seed_));
  }
  double error() const {
    return error_report(model_->predict(test_.features), test_.costs).mean_relative_error;
  }
  int64_t drawn() const { return std::count(drawn_.begin(), drawn_.end(), 1); }

 private:
  void take(size_t at, bool drawn) {
    rows_.push_back(pool_[at]);
    drawn_.push_back(drawn);
    pool_.erase(pool_.begin() + std::ptrdiff_t(at));
  }

  const CostTable& table_;
  Dataset data_, test_;
  uint64_t seed_;
  std::vector<int64_t> pool_, rows_;
  std::vector<uint8_t> drawn_;
  std::unique_ptr<Regressor> model_;
};

Json compare(const Arguments& a, const CostTable& table, size_t column, std::map<std::string, double>& sum) {
  Json results = Json::array();
  std::map<std::string, std::vector<double>> errors;  // of choice and rows
  auto key = [](const std::string& choice, int64_t n) { return fmt::format("{} {}", n, choice); };
  for (int seed = 0; seed < a.seeds; ++seed)
    for (const std::string& choice : a.choices) {
      Replay replay(table, column, uint64_t(seed));
      for (const int64_t n : a.rows) {
        if (n > replay.pool() - 10) continue;
        while (replay.measured() < n) {
          replay.measure(parse_choice(choice),
                         next_round(replay.measured(), replay.drawn(), n - replay.measured(), a.drawn_share));
          replay.fit();
        }
        errors[key(choice, n)].push_back(replay.error());
      }
    }
  for (const int64_t n : a.rows)
    for (const std::string& choice : a.choices) {
      const std::vector<double>& e = errors[key(choice, n)];
      if (e.empty()) continue;
      const double mean = std::accumulate(e.begin(), e.end(), 0.0) / double(e.size());
      sum[key(choice, n)] += mean;
      fmt::print("{:20} {:5} {:14} {:8.3f}%\n", table.columns[column], n, choice, 100 * mean);
      results.push_back({{"column", table.columns[column]},
                         {"fitted_on", n},
                         {"choice", choice},
                         {"relative_error", mean},
                         {"seeds", e}});
    }
  std::fflush(stdout);
  return results;
}

Json reach(const Arguments& a, const CostTable& table, size_t column) {
  Json runs = Json::array();
  const Choice choice = parse_choice(a.choices.at(0));
  int64_t reached = 0, right = 0, rounds = 0, covered = 0, total = 0;
  for (int seed = 0; seed < a.seeds; ++seed) {
    Replay replay(table, column, uint64_t(seed));
    ErrorEstimate e;
    Json curve = Json::array();
    bool done = false;
    const int64_t budget = std::min(a.budget, replay.pool() - 10);
    while (!done && replay.measured() < budget) {
      replay.measure(choice, next_round(replay.measured(), replay.drawn(), budget - replay.measured()));
      replay.fit();
      e = replay.estimate();
      const double real = replay.error();
      done = e.rows >= kMinRowsToStop && e.upper <= a.goal;
      ++rounds;
      covered += real <= e.upper;
      right += done && real <= a.goal;
      curve.push_back({{"n", replay.measured()},
                       {"drawn", e.rows},
                       {"estimate", e.error},
                       {"upper", e.upper},
                       {"error", real}});
    }
    reached += done;
    total += replay.measured();
    runs.push_back({{"seed", seed}, {"reached", done}, {"curve", curve}});
    fmt::print("{:20} seed {}: {} with {} ({} drawn): {:.2f}%, below {:.2f}%; on tests {:.2f}%\n",
               table.columns[column], seed, done ? "reached" : "not reached", replay.measured(),
               replay.drawn(), 100 * e.error, 100 * e.upper, 100 * replay.error());
    std::fflush(stdout);
  }
  fmt::print("{:20} reached {} of {}, rightly {}; {:.1f} measurements on average; bound right in {} of {}\n",
             table.columns[column], reached, a.seeds, right, double(total) / a.seeds, covered, rounds);
  return {{"column", table.columns[column]},
          {"goal", a.goal},
          {"choice", a.choices[0]},
          {"reached", reached},
          {"rightly", right},
          {"rounds", rounds},
          {"rounds_below_bound", covered},
          {"runs", runs}};
}

// Of a predictor that was fitted elsewhere.
void test(const std::string& predictor, const CostTable& table) {
  const auto regressor = load_predictor(predictor).regressor;
  for (size_t c = 0; c < table.columns.size(); ++c) {
    const std::vector<double> predicted = regressor->predict(table.features);
    const ErrorReport e = error_report(predicted, table.costs[c]);
    std::vector<double> ratios;
    for (size_t i = 0; i < predicted.size(); ++i) ratios.push_back(predicted[i] / table.costs[c][i]);
    std::nth_element(ratios.begin(), ratios.begin() + std::ptrdiff_t(ratios.size() / 2), ratios.end());
    const double bias = ratios[ratios.size() / 2];
    std::vector<double> without = predicted;
    for (double& p : without) p /= bias;
    fmt::print("{}: {} rows, error {:.2f}%, Spearman {:.4f}; median ratio {:.4f}, without it {:.2f}%\n",
               table.columns[c], e.n, 100 * e.mean_relative_error, e.spearman, bias,
               100 * error_report(without, table.costs[c]).mean_relative_error);
  }
}

void bench(const Arguments& a) {
  const CostTable table =
      a.table.ends_with(".db") ? read_store(a.table) : benchmarks::read_table(a.table, a.options);
  if (!a.predictor.empty()) return test(a.predictor, table);
  Json results = {{"table", table.name}, {"drawn_share", a.drawn_share}, {"results", Json::array()}};
  std::map<std::string, double> sum;
  int columns = 0;
  for (size_t c = 0; c < table.columns.size(); ++c) {
    if (!a.columns.empty() &&
        std::find(a.columns.begin(), a.columns.end(), table.columns[c]) == a.columns.end())
      continue;
    ++columns;
    if (a.goal > 0)
      results["results"].push_back(reach(a, table, c));
    else
      for (const Json& j : compare(a, table, c, sum)) results["results"].push_back(j);
    if (!a.json_path.empty()) write_json_file(a.json_path, results);
  }
  require(columns > 0, "[choice_bench] '{}' has no such column", a.table);
  for (const int64_t n : a.rows)
    for (const std::string& choice : a.choices)
      if (const auto at = sum.find(fmt::format("{} {}", n, choice)); at != sum.end())
        fmt::print("{:20} {:5} {:14} {:8.3f}%\n", "mean of columns", n, choice, 100 * at->second / columns);
}

}  // namespace

int main(int argc, char** argv) try {
  Arguments a;
  CLI::App app("What choosing the measurements is worth, replayed on measured architectures");
  app.add_option("table", a.table, "CSV as for tables_bench, or a store (.db) of the darts space")
      ->required();
  app.add_option("--column", a.columns, "cost to predict; may be repeated; all without it");
  app.add_option("--choice", a.choices, "may be repeated; all without it")
      ->check(CLI::IsMember(choice_names()));
  app.add_option("--rows", a.rows, "numbers of measurements; may be repeated");
  app.add_option("--drawn-share", a.drawn_share, "share drawn at random whatever the choice")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--goal", a.goal, "run until this error is reached, with the first --choice");
  app.add_option("--budget", a.budget, "measurements at most, with --goal")->check(CLI::PositiveNumber);
  app.add_option("--seeds", a.seeds)->check(CLI::PositiveNumber);
  app.add_option("--threads", a.threads, "CPU threads; 0: all");
  app.add_option("--live", a.options.live, "see tables_bench");
  app.add_option("--group", a.options.group, "see tables_bench");
  app.add_option("--predictor", a.predictor, "only tell its error on the table's rows");
  app.add_option("--json", a.json_path, "file for all figures");
  CLI11_PARSE(app, argc, argv);
  ThreadPool::set_global_threads(a.threads);
  bench(a);
} catch (const std::exception& e) {
  fmt::print(stderr, "{}\n", e.what());
  return 1;
}
