#include "apps/search_profile.h"

#include <algorithm>
#include <filesystem>

#include "apps/command.h"
#include "apps/format.h"
#include "apps/measuring_options.h"
#include "apps/predictor_options.h"
#include "apps/search_folder.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "nas/edge_costs.h"
#include "predictor/metrics.h"

namespace ladarts {

namespace {

namespace fs = std::filesystem;

struct SearchFolder {
  SearchSpace space;
  ArchitectureValues values;
  Json predictor;  // {cost, weights} of config.json; null where the search had none
};

SearchFolder read_folder(const std::string& folder) {
  const fs::path config_path = fs::path(folder) / "config.json",
                 checkpoint = fs::path(folder) / "checkpoint.safetensors";
  for (const fs::path& p : {config_path, checkpoint})
    require(fs::exists(p), "[profile] '{}' holds no search: it has no {}", folder, p.filename().string());
  const Json config = read_json_file(config_path);
  JsonFields fields(config, config_path.string());
  SearchFolder found;
  found.space = SearchSpace::from_json(fields.at("space").dump(), config_path.string() + ": space");
  found.values = read_architecture(checkpoint, found.space);
  if (config.contains("predictor")) found.predictor = config["predictor"];
  return found;
}

std::string missing_predictor(const SearchFolder& search, const std::string& folder) {
  if (search.predictor.is_object() && search.predictor.contains("cost"))
    return fmt::format("[profile] the search in '{}' used a predictor of {}; name its file by --predictor",
                       folder, to_json_line(search.predictor["cost"]));
  return fmt::format(
      "[profile] the search in '{}' used no predictor, so nothing says what its edges cost; give one of the "
      "same "
      "space by --predictor (ladarts measure, ladarts fit)",
      folder);
}

bool is_kept(const Genotype& genotype, const SearchSpace& space, int cell_type, int edge,
             const std::string& primitive) {
  const Edge at = space.edge(edge);
  const auto& node = genotype.cells[size_t(cell_type)].nodes[size_t(at.node)];
  return std::any_of(node.begin(), node.end(), [&](const GenotypeEdge& g) {
    return g.source == at.source && g.primitive == primitive;
  });
}

std::string state_name(const SearchSpace& space, int source) {
  return source < space.inputs ? fmt::format("input{}", source)
                               : fmt::format("node{}", source - space.inputs);
}

Json edges_json(const SearchSpace& space, const ArchitectureValues& values, const LatencyGradients& gradients,
                const std::vector<std::vector<double>>& costs) {
  const Genotype genotype = derive(space, values);
  const size_t primitives = space.primitives.size();
  Json list = Json::array();
  for (size_t t = 0; t < space.cell_types.size(); ++t) {
    const std::vector<double> weights = mixture_weights(space, values, int(t));
    for (int e = 0; e < space.edges(); ++e)
      for (size_t p = 0; p < primitives; ++p) {
        const size_t at = size_t(e) * primitives + p;
        const Edge edge = space.edge(e);
        list.push_back({{"cell", space.cell_types[t]},
                        {"edge", e},
                        {"from", state_name(space, edge.source)},
                        {"to", fmt::format("node{}", edge.node)},
                        {"primitive", space.primitives[p]},
                        {"weight", weights[at]},
                        {"kept", is_kept(genotype, space, int(t), e, space.primitives[p])},
                        {"d_latency_d_alpha_ms", gradients.d_alpha[t][at]},
                        {"d_latency_d_feature_ms", gradients.d_features[t][at]},
                        {"measured_us", costs[t][at]}});
      }
  }
  return list;
}

// Spearman's rank correlation of the measured costs with both gradients, over all primitives but none.
Json correlations(const Json& edges, const std::string& cell) {
  std::vector<double> alpha, feature, measured;
  for (const Json& e : edges) {
    if (e["primitive"] == "none" || (!cell.empty() && e["cell"] != cell)) continue;
    alpha.push_back(e["d_latency_d_alpha_ms"].get<double>());
    feature.push_back(e["d_latency_d_feature_ms"].get<double>());
    measured.push_back(e["measured_us"].get<double>());
  }
  return {{"cell", cell.empty() ? "all" : cell},
          {"ops", measured.size()},
          {"alpha", spearman(alpha, measured)},
          {"feature", spearman(feature, measured)}};
}

std::vector<std::string> row_of(const Json& e) {
  return {fmt::format("{} {} -> {}", text_of(e["cell"]), text_of(e["from"]), text_of(e["to"])),
          text_of(e["primitive"]),
          fmt::format("{:.3f}", e["weight"].get<double>()),
          e["kept"].get<bool>() ? "kept" : "",
          fmt::format("{:.1f}", e["measured_us"].get<double>()),
          fmt::format("{:+.1f}", 1e3 * e["d_latency_d_feature_ms"].get<double>()),
          fmt::format("{:+.2f}", 1e3 * e["d_latency_d_alpha_ms"].get<double>())};
}

const std::vector<std::string> kColumns = {"edge",        "primitive",  "softmax",       "",
                                           "measured us", "dLAT/dx us", "dLAT/dalpha us"};

}  // namespace

Json profile_search(const SearchProfileOptions& options, int repeats, const CommonOptions& common) {
  const SearchFolder search = read_folder(options.folder);
  if (options.predictor.empty()) fail("{}", missing_predictor(search, options.folder));
  const Device device = Device::parse(common.device);
  const Predictor predictor = load_predictor_for(options.predictor, search.space, options.any_device, device);
  const CostContext& fitted = predictor.context;
  require(fitted.metric == "latency" && fitted.unit == "ms",
          "[profile] '{}' predicts {} in {}; the measured times of ops compare with a latency in ms",
          options.predictor, fitted.metric, fitted.unit);
  LatencySetup setup;
  setup.space = search.space;
  setup.shape = parse_network_text(fitted.network, fitted.image_size);
  setup.batch = fitted.batch;
  setup.device = device;
  setup.measure.min_repeats = repeats;
  setup.measure.max_repeats = 4 * repeats;
  setup.measure.time_budget_s = 0.3;
  ThreadPool pool(common.threads > 0 ? common.threads : fitted.threads);
  setup.pool = &pool;

  const LatencyGradients gradients =
      latency_gradients(search.space, search.values, *predictor.regressor, device);
  Progress progress("profile", 0, {.unit = "op"});
  const std::vector<std::vector<double>> costs = measure_edge_costs(setup, [&](int done, int total) {
    if (interrupted()) throw Interrupted("interrupted; nothing was written");
    progress.update(done, fmt::format("of {}", total));
  });
  progress.finish();
  Json edges = edges_json(search.space, search.values, gradients, costs);
  Json ranks = Json::array();
  ranks.push_back(correlations(edges, ""));
  if (search.space.cell_types.size() > 1)
    for (const std::string& cell : search.space.cell_types) ranks.push_back(correlations(edges, cell));
  const bool same = search.predictor.is_object() && search.predictor.contains("weights") &&
                    search.predictor["weights"] == fingerprint(predictor);
  return {{"search", options.folder},
          {"what", latency_context(setup).str()},
          {"genotype", to_text(derive(search.space, search.values), search.space)},
          {"predictor", options.predictor},
          {"used_predictor", search.predictor.is_null() ? "none"
                             : same                     ? "this"
                                                        : "another"},
          {"relaxed_latency_ms", gradients.latency},
          {"rank_correlation", ranks},
          {"edges", std::move(edges)}};
}

std::string search_text(const Json& r, size_t top) {
  std::string out = fmt::format("{}\n{}\n\nLAT of the relaxed architecture: {:.3f} ms\n", text_of(r["what"]),
                                text_of(r["genotype"]), r["relaxed_latency_ms"].get<double>());
  const std::string used = text_of(r["used_predictor"]);
  if (used != "this")
    out += used == "none" ? "the search itself used no predictor: these gradients never acted on it\n"
                          : "the search used another predictor: these gradients are not those that it saw\n";
  for (const Json& c : r["rank_correlation"])
    out += fmt::format(
        "rank correlation with the measured cost, {} ({} ops): dLAT/dx {:.3f}, dLAT/dalpha {:.3f}\n",
        text_of(c["cell"]), c["ops"].get<int>(), c["feature"].get<double>(), c["alpha"].get<double>());
  std::vector<std::vector<std::string>> kept, others;
  std::vector<Json> sorted(r["edges"].begin(), r["edges"].end());
  double kept_us = 0;
  for (const Json& e : sorted)
    if (e["kept"].get<bool>()) {
      kept.push_back(row_of(e));
      kept_us += e["measured_us"].get<double>();
    }
  out += fmt::format("\nthe kept ops, {:.1f} us measured alone, over all cells\n", kept_us) +
         table(kColumns, kept);
  std::stable_sort(sorted.begin(), sorted.end(), [](const Json& a, const Json& b) {
    return a["measured_us"].get<double>() > b["measured_us"].get<double>();
  });
  for (const Json& e : sorted)
    if (others.size() < top) others.push_back(row_of(e));
  if (!others.empty()) out += "\nthe costliest that the search could choose\n" + table(kColumns, others);
  return out;
}

}  // namespace ladarts
