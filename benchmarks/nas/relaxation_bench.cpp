// Treatments of soft input (nas/relaxation.h): values and gradients of the latency term against those of the
// expected cost of the architectures that alpha and beta stand for.
//
//   relaxation_bench --table nasbench201/latency.csv --live nasbench201/accuracy.csv --rows 200 --json
//   out.json relaxation_bench --predictor predictor.safetensors --search runs/a --search runs/b --threads 1
//
// Of a NAS-Bench-201 table the predictor is fitted on some rows, and the reference is exact: the table's own
// costs of all architectures, at alphas of several spreads. Of searches of the DARTS space alpha and beta are
// those that a search went through, and the reference is the predictor's expected cost
// (benchmarks/nas/expected_cost.h).
#include <CLI/CLI.hpp>
#include <cmath>
#include <numeric>

#include "benchmarks/nas/expected_cost.h"
#include "benchmarks/predictor/table_reader.h"
#include "benchmarks/support/report.h"
#include "core/gradients.h"
#include "core/json_file.h"
#include "core/jsonl_log.h"
#include "core/program.h"
#include "nas/encoding.h"
#include "nas/latency_term.h"
#include "predictor/predictor_file.h"

using namespace ladarts;
using namespace ladarts::benchmarks;

namespace {

struct Arguments {
  std::string table, live, model = "gp", predictor, json_path;
  std::vector<std::string> columns, searches;
  int64_t rows = 200;
  int seeds = 3, steps = 64, threads = 0;
};

struct Treatment {
  std::string name;
  Relaxation relaxation;
};
const std::vector<Treatment> kTreatments = {{"expected", {}},
                                            {"drawn 1", {RelaxationKind::drawn, 1}},
                                            {"drawn 8", {RelaxationKind::drawn, 8}},
                                            {"gumbel 1", {RelaxationKind::gumbel, 1}},
                                            {"gumbel 8", {RelaxationKind::gumbel, 8}},
                                            {"derived", {RelaxationKind::derived, 1}},
                                            {"T 0.3", {.temperature = 0.3f}},
                                            {"T 0.1", {.temperature = 0.1f}},
                                            {"T 0.05", {.temperature = 0.05f}}};

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}
double cosine(const std::vector<double>& a, const std::vector<double>& b) {
  return dot(a, b) / std::sqrt(std::max(dot(a, a) * dot(b, b), 1e-300));
}

// The term and its gradient as the architecture step records them.
class Term {
 public:
  Term(const SearchSpace& space, bool beta, const Regressor& predictor, const Relaxation& relaxation,
       uint64_t seed)
      : architecture_(space, beta, 0), noise_(space, relaxation.draws, seed) {
    Graph g;
    const Tensor term = record_latency_term(g, architecture_, predictor, {relaxation}, &noise_);
    value_ = g.bind_output(term);
    ParameterSet& set = architecture_.set();
    set.gradients();
    gradients(term, set.leaves(g), {.into = set.gradient_storages()});
    program_.emplace(compile(g));
  }
  void set(const ArchitectureValues& values) {
    for (size_t t = 0; t < values.alpha.size(); ++t) {
      architecture_.set_alpha(int(t), values.alpha[t]);
      if (architecture_.edge_normalisation()) architecture_.set_beta(int(t), values.beta[t]);
    }
  }
  double run(uint64_t step) {
    noise_.draw(step);
    program_->run();
    return value_.item();
  }
  std::vector<double> gradient() const {
    std::vector<double> all;
    for (const std::string& cell : architecture_.space().cell_types)
      for (const char* kind : {"alpha_", "beta_"})
        if (const auto* entry = const_cast<ArchitectureParameters&>(architecture_).set().find(kind + cell)) {
          const std::vector<float> v = entry->gradient.to_vector();
          all.insert(all.end(), v.begin(), v.end());
        }
    return all;
  }
  Program& program() { return *program_; }

 private:
  ArchitectureParameters architecture_;
  RelaxationNoise noise_;
  Storage value_;
  std::optional<Program> program_;
};

// What one treatment gives at one alpha.
struct Figures {
  double value_gap = 0;       // |mean term / expected cost - 1|
  double derived_gap = 0;     // |mean term / cost of what would be derived - 1|
  double value_noise = 0;     // standard deviation of a step's term, over the expected cost
  double cosine_of_mean = 0;  // of the mean gradient with the expected cost's
  double cosine_of_step = 0;  // mean over steps
  double noise = 0;           // of a step's gradient: deviation over the length of the mean
  double length = 0;          // of the mean gradient, over the expected cost's
};

Figures compare(Term& term, const ArchitectureValues& at, const ExpectedCost& reference, double derived,
                int steps) {
  term.set(at);
  Figures f;
  std::vector<std::vector<double>> all;
  std::vector<double> mean(reference.gradient.size()), values;
  for (int s = 0; s < steps; ++s) {
    values.push_back(term.run(uint64_t(s)));
    all.push_back(term.gradient());
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += all.back()[i] / steps;
    f.cosine_of_step += cosine(all.back(), reference.gradient) / steps;
  }
  const double value = std::accumulate(values.begin(), values.end(), 0.0) / steps;
  double squares = 0, spread = 0;
  for (int s = 0; s < steps; ++s) {
    for (size_t i = 0; i < mean.size(); ++i) squares += std::pow(all[size_t(s)][i] - mean[i], 2) / steps;
    spread += std::pow(values[size_t(s)] - value, 2) / steps;
  }
  f.value_gap = std::abs(value / reference.value - 1);
  f.derived_gap = std::abs(value / derived - 1);
  f.value_noise = std::sqrt(spread) / reference.value;
  f.cosine_of_mean = cosine(mean, reference.gradient);
  f.noise = std::sqrt(squares / dot(mean, mean));
  f.length = std::sqrt(dot(mean, mean) / dot(reference.gradient, reference.gradient));
  return f;
}

Json summary(const std::vector<Figures>& all) {
  Json j;
  const auto mean = [&](const char* name, double Figures::*member) {
    double sum = 0;
    for (const Figures& f : all) sum += f.*member / double(all.size());
    j[name] = sum;
  };
  mean("value_gap", &Figures::value_gap);
  mean("derived_gap", &Figures::derived_gap);
  mean("value_noise", &Figures::value_noise);
  mean("cosine_of_mean_gradient", &Figures::cosine_of_mean);
  mean("cosine_of_a_step", &Figures::cosine_of_step);
  mean("gradient_noise", &Figures::noise);
  mean("gradient_length", &Figures::length);
  return j;
}

void print(const std::string& what, const Json& treatments) {
  fmt::print("{}\n{:<10}{:>14}{:>14}{:>13}{:>14}{:>10}{:>10}{:>10}\n", what, "", "gap: expected",
             "gap: derived", "value noise", "mean gradient", "one step", "noise", "length");
  for (const auto& [name, t] : treatments.items())
    fmt::print("{:<10}{:>13.2f}%{:>13.2f}%{:>12.2f}%{:>14.4f}{:>10.4f}{:>10.3f}{:>10.3f}\n", name,
               100 * t["value_gap"].get<double>(), 100 * t["derived_gap"].get<double>(),
               100 * t["value_noise"].get<double>(), t["cosine_of_mean_gradient"].get<double>(),
               t["cosine_of_a_step"].get<double>(), t["gradient_noise"].get<double>(),
               t["gradient_length"].get<double>());
  fmt::print("\n");
  std::fflush(stdout);
}

std::unique_ptr<Regressor> fitted(const std::string& model, const Dataset& rows,
                                  const FeatureExpansion& expansion) {
  if (model == "paper") return fit_mlp(rows, MlpOptions::paper());
  GpOptions options;
  options.expansion = expansion;
  return fit_gp(rows, options);
}

Json of_table(const Arguments& a) {
  const SearchSpace space = SearchSpace::load("nasbench201");
  const CostTable table = read_table(a.table, {}),
                  measured = read_table(a.table, {.live = a.live, .group = {}});
  const FeatureMatrix everything = all_encodings(space);
  require(table.features.rows == everything.rows, "[bench] '{}' has {} architectures of {}", a.table,
          table.features.rows, everything.rows);
  std::map<std::vector<float>, size_t> row_of;
  for (int64_t i = 0; i < table.features.rows; ++i)
    row_of[{table.features.row(i).begin(), table.features.row(i).end()}] = size_t(i);
  Json result;
  std::map<std::string, std::map<std::string, std::vector<Figures>>> found;  // [spread][treatment]
  for (size_t column = 0; column < table.columns.size(); ++column) {
    if (!a.columns.empty() && std::count(a.columns.begin(), a.columns.end(), table.columns[column]) == 0)
      continue;
    std::vector<double> truth;
    for (int64_t i = 0; i < everything.rows; ++i)
      truth.push_back(table.costs[column][row_of.at({everything.row(i).begin(), everything.row(i).end()})]);
    for (int seed = 0; seed < a.seeds; ++seed) {
      Random random(uint64_t(seed), 5);
      std::vector<int64_t> rows;
      for (int64_t i = 0; i < a.rows; ++i)
        rows.push_back(int64_t(random.below(uint32_t(measured.features.rows))));
      const auto predictor = fitted(a.model, measured.dataset(column).subset(rows), measured.expansion);
      for (const double spread : {0.001, 0.5, 1.0, 2.0, 4.0}) {
        ArchitectureValues at;
        at.beta = {{}};
        std::vector<float>& alpha = at.alpha.emplace_back();
        for (int i = 0; i < encoding_size(space); ++i) alpha.push_back(float(spread) * random.normal());
        const ExpectedCost reference = enumerate_cost(space, at, truth);
        const double derived = table.costs[column][row_of.at(encode(derive(space, at), space))];
        for (const Treatment& t : kTreatments) {
          Term term(space, false, *predictor, t.relaxation, uint64_t(seed));
          found[fmt::format("spread {}", spread)][t.name].push_back(
              compare(term, at, reference, derived, t.relaxation.random() ? a.steps : 1));
        }
      }
    }
  }
  for (const auto& [spread, treatments] : found) {
    Json entry;
    for (const Treatment& t : kTreatments) entry[t.name] = summary(treatments.at(t.name));
    print(spread, entry);
    result[spread] = entry;
  }
  return result;
}

Json of_searches(const Arguments& a) {
  const SearchSpace space = SearchSpace::load("darts");
  const Predictor predictor = load_predictor(a.predictor);
  const CostFunction cost = [&](const FeatureMatrix& x) { return predictor.regressor->predict(x); };
  std::map<std::string, std::vector<Figures>> found;
  for (const std::string& folder : a.searches) {
    const std::vector<Json> log = read_jsonl(std::filesystem::path(folder) / "architecture.jsonl");
    for (const size_t i : {log.size() / 2, log.size() - 1}) {
      ArchitectureValues at;
      for (const std::string& cell : space.cell_types) {
        at.alpha.push_back(log[i].at("alpha_" + cell).get<std::vector<float>>());
        at.beta.push_back(log[i].value("beta_" + cell, std::vector<float>{}));
      }
      const ExpectedCost reference = average_cost(space, at, cost, a.steps, 1);
      FeatureMatrix derived;
      derived.append(encode(derive(space, at), space));
      for (const Treatment& t : kTreatments) {
        Term term(space, !at.beta[0].empty(), *predictor.regressor, t.relaxation, 1);
        found[t.name].push_back(
            compare(term, at, reference, cost(derived)[0], t.relaxation.random() ? a.steps : 1));
      }
    }
  }
  Json entry;
  for (const Treatment& t : kTreatments) {
    entry[t.name] = summary(found.at(t.name));
    Term term(space, true, *predictor.regressor, t.relaxation, 1);
    uint64_t step = 0;
    entry[t.name]["microseconds"] = benchmark::time_repeated(200, [&] { term.run(step++); }).median_us;
    entry[t.name]["nodes"] = term.program().stats().nodes;
  }
  print("searches", entry);
  for (const auto& [name, t] : entry.items())
    fmt::print("{:<10}{:>8.0f} us of an architecture step, {} ops\n", name, t["microseconds"].get<double>(),
               t["nodes"].get<int>());
  return {{"searches", entry}};
}

}  // namespace

int main(int argc, char** argv) try {
  Arguments a;
  CLI::App app("Treatments of soft input against the expected cost");
  app.add_option("--table", a.table, "NAS-Bench-201 table of costs, with all architectures");
  app.add_option("--live", a.live,
                 "table of the same order with output_reachable; rows with 0 are not fitted on");
  app.add_option("--column", a.columns, "a cost of the table; may be repeated; all without it");
  app.add_option("--model", a.model, "gp, or paper: the network of Latency-Aware DARTS")
      ->check(CLI::IsMember({"gp", "paper"}));
  app.add_option("--rows", a.rows, "rows that the predictor is fitted on");
  app.add_option("--seeds", a.seeds, "predictors and alphas of each column and spread");
  app.add_option("--predictor", a.predictor, "of the DARTS space, for --search");
  app.add_option("--search", a.searches, "folder of a search of the DARTS space; may be repeated");
  app.add_option("--steps", a.steps,
                 "steps over which random treatments are averaged; draws of the reference")
      ->check(CLI::Range(2, 100000));
  app.add_option("--threads", a.threads, "CPU threads; 0 is all");
  app.add_option("--json", a.json_path, "file for all figures");
  CLI11_PARSE(app, argc, argv);
  require(!a.table.empty() || (!a.predictor.empty() && !a.searches.empty()),
          "give --table, or --predictor with --search");
  if (a.threads > 0) ThreadPool::set_global_threads(a.threads);
  const Json result = a.table.empty() ? of_searches(a) : of_table(a);
  if (!a.json_path.empty()) write_json_file(a.json_path, result);
} catch (const std::exception& e) {
  fmt::print(stderr, "{}\n", e.what());
  return 1;
}
