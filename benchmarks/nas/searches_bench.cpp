// Searches of a space all of whose architectures others have measured and trained (NAS-Bench-201): what the
// predictor said along them against the measured cost of what was derived, and the measured cost and the
// accuracy after training of what they ended with. Nothing is timed and nothing trained here.
//
//   searches_bench --table nasbench201/latency.csv --column gold_6240_ms --trained nasbench201/accuracy.csv
//   --search runs/drawn-1 --search runs/drawn-2 --json out.json
//
// Searches whose folders differ in the number at the end alone ("drawn-1", "drawn-2") are repeats: their
// means and ranges are given.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "benchmarks/predictor/table_reader.h"
#include "core/error.h"
#include "core/jsonl_log.h"
#include "nas/genotype.h"

using namespace ladarts;
using namespace ladarts::benchmarks;

namespace {

struct Arguments {
  std::string table, column, trained, accuracy = "cifar10_test_200epochs", json_path;
  std::vector<std::string> searches;
};

struct Known {  // of one architecture
  double cost = 0, accuracy = 0;
};
using Table = std::map<std::string, Known>;  // by its text

Table read_known(const Arguments& a) {
  const CostTable costs = read_table(a.table, {});
  const auto column = std::find(costs.columns.begin(), costs.columns.end(), a.column);
  require(column != costs.columns.end(), "[bench] '{}' has no column '{}'; it has {}", a.table, a.column,
          fmt::join(costs.columns, ", "));
  const std::vector<double>& cost = costs.costs[size_t(column - costs.columns.begin())];
  Table known;
  for (size_t i = 0; i < cost.size(); ++i) known[costs.architectures[i]].cost = cost[i];
  const CsvTable trained = read_csv(a.trained);
  const size_t name = required_column(trained, "arch_str"), accuracy = required_column(trained, a.accuracy);
  for (size_t r = 0; r < trained.rows.size(); ++r) {
    const auto found = known.find(trained.rows[r][name]);
    require(found != known.end(), "[bench] {}: an architecture that '{}' has not", trained.place(r), a.table);
    found->second.accuracy = number(trained, r, accuracy);
  }
  return known;
}

const std::vector<std::pair<std::string, std::string>> kSaid = {
    {"term", "relaxed_cost"}, {"draws", "drawn_cost"}, {"derived", "derived_cost"}};

Json describe(const std::string& folder, const Table& known) {
  const Json config = read_json_file(std::filesystem::path(folder) / "config.json");
  Json r{{"folder", std::filesystem::path(folder).filename().string()}};
  for (const char* field : {"lambda", "relaxation", "draws", "temperature", "certainty", "seed", "channels",
                            "layers", "epochs", "images", "partial_k", "architecture_lr"})
    r[field] = config.at(field);
  const std::vector<Json> log = read_jsonl(std::filesystem::path(folder) / "epochs.jsonl");
  int epochs = 0;
  std::map<std::string, double> gap;
  Known last;
  for (const Json& epoch : log) {
    if (epoch.at("epoch") < config.at("architecture_start_epoch")) continue;
    const std::string genotype = epoch.at("genotype");
    const auto found = known.find(genotype);
    require(found != known.end(), "[bench] '{}' derived an architecture that is not in the table: {}", folder,
            genotype);
    last = found->second;
    for (const auto& [what, field] : kSaid)
      gap[what] += std::abs(epoch.at(field).get<double>() / last.cost - 1);
    ++epochs;
  }
  require(epochs > 0, "[bench] the search in '{}' has not trained its architecture yet", folder);
  for (const auto& [what, sum] : gap) r["gap_" + what] = sum / epochs;
  r["genotype"] = log.back().at("genotype");
  r["supernet_accuracy"] = log.back().at("validation_accuracy");
  r["cost"] = last.cost;
  r["accuracy"] = last.accuracy;
  return r;
}

std::string without_number(std::string folder) {
  const size_t end = folder.find_last_not_of("0123456789");
  if (end != std::string::npos && folder[end] == '-') folder.resize(end);
  return folder;
}

struct Range {
  double mean = 0, least = INFINITY, most = -INFINITY;
};
Range range(const std::vector<Json>& searches, const char* field) {
  Range r;
  for (const Json& s : searches) {
    const double v = s.at(field);
    r = {r.mean + v / double(searches.size()), std::min(r.least, v), std::max(r.most, v)};
  }
  return r;
}

void print(const std::map<std::string, std::vector<Json>>& groups) {
  fmt::print("{:<24}{:>4}{:>10}{:>10}{:>10}   {:<24}{:<26}\n", "", "", "gap: term", "draws", "derived",
             "measured cost", "accuracy after training");
  for (const auto& [name, searches] : groups) {
    const Range cost = range(searches, "cost"), accuracy = range(searches, "accuracy");
    fmt::print("{:<24}{:>4}{:>9.1f}%{:>9.1f}%{:>9.1f}%   {:<24}{:<26}\n", name, searches.size(),
               100 * range(searches, "gap_term").mean, 100 * range(searches, "gap_draws").mean,
               100 * range(searches, "gap_derived").mean,
               fmt::format("{:.2f} ({:.2f} to {:.2f})", cost.mean, cost.least, cost.most),
               fmt::format("{:.2f} ({:.2f} to {:.2f})", accuracy.mean, accuracy.least, accuracy.most));
  }
}

}  // namespace

int main(int argc, char** argv) try {
  Arguments a;
  CLI::App app("Searches of a space all of whose architectures are measured and trained");
  app.add_option("--table", a.table, "costs of all architectures")->required();
  app.add_option("--column", a.column, "the cost that was searched for")->required();
  app.add_option("--trained", a.trained, "table with the accuracies of all architectures")->required();
  app.add_option("--accuracy", a.accuracy, "its column");
  app.add_option("--search", a.searches, "folders of searches")->required();
  app.add_option("--json", a.json_path, "file for all figures");
  CLI11_PARSE(app, argc, argv);
  const Table known = read_known(a);
  std::map<std::string, std::vector<Json>> groups;
  Json all = Json::array();
  for (const std::string& folder : a.searches) {
    all.push_back(describe(folder, known));
    groups[without_number(all.back().at("folder"))].push_back(all.back());
  }
  print(groups);
  if (!a.json_path.empty())
    write_json_file(a.json_path, {{"column", a.column}, {"accuracy", a.accuracy}, {"searches", all}});
} catch (const std::exception& e) {
  fmt::print(stderr, "{}\n", e.what());
  return 1;
}
