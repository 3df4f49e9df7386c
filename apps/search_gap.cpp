#include "apps/search_gap.h"

#include <algorithm>
#include <cmath>

#include "apps/command.h"
#include "apps/format.h"
#include "core/error.h"
#include "core/jsonl_log.h"
#include "predictor/metrics.h"

namespace ladarts {

namespace {

// What an epoch's log says of its architecture, by what it asked the predictor about.
constexpr std::pair<const char*, const char*> kSaid[] = {
    {"relaxed", "relaxed_cost"}, {"drawn", "drawn_cost"}, {"derived", "derived_cost"}};

// `factor`: what all that is said is multiplied by in "beside_factor".
Json gap_of(const std::vector<double>& said, const std::vector<double>& measured, double factor) {
  double absolute = 0, sum = 0, beside = 0;
  for (size_t i = 0; i < said.size(); ++i) {
    const double error = said[i] / measured[i] - 1;
    absolute += std::abs(error) / double(said.size());
    sum += error / double(said.size());
    beside += std::abs(factor * said[i] / measured[i] - 1) / double(said.size());
  }
  return {{"mean_relative", absolute},
          {"bias", sum},
          {"beside_factor", beside},
          {"spearman", spearman(said, measured)}};
}

}  // namespace

SearchGap::SearchGap(const std::vector<std::string>& folders, const SearchSpace& space,
                     const Predictor& predictor) {
  const std::string weights = fingerprint(predictor);
  for (const std::string& folder : folders) read(folder, space, weights);
}

void SearchGap::read(const std::string& folder, const SearchSpace& space, const std::string& weights) {
  const std::filesystem::path path(folder);
  require(std::filesystem::exists(path / "config.json") && std::filesystem::exists(path / "epochs.jsonl"),
          "[verify] '{}' is no folder of ladarts search: it has no config.json or epochs.jsonl", folder);
  Search search{folder, read_json_file(path / "config.json"), {}};
  const Json& config = search.config;
  require(config.contains("architecture_start_epoch") && config.contains("predictor") &&
              config.contains("relaxation"),
          "[verify] '{}' is no folder of ladarts search, or one of an older program", folder);
  require(!config["predictor"].is_null(),
          "[verify] '{}' searched without a predictor; give ladarts search --predictor, with --lambda 0 too",
          folder);
  require(config["predictor"].at("weights") == weights,
          "[verify] '{}' searched with another predictor ({}); give that one", folder,
          text_of(config["predictor"].at("cost")));
  for (const Json& record : read_jsonl(path / "epochs.jsonl")) {
    if (record.at("epoch") < config["architecture_start_epoch"]) continue;
    const Genotype genotype = parse_genotype(text_of(record.at("genotype")), space);
    const auto same = [&](const Genotype& g) { return g.key() == genotype.key(); };
    const auto found = std::find_if(genotypes_.begin(), genotypes_.end(), same);
    search.epochs.push_back({record, size_t(found - genotypes_.begin())});
    if (found == genotypes_.end()) genotypes_.push_back(genotype);
  }
  require(!search.epochs.empty(), "[verify] the search in '{}' has not trained its architecture yet", folder);
  searches_.push_back(std::move(search));
}

Json SearchGap::describe(const std::vector<double>& measured) const {
  Json searches = Json::array();
  // A machine that is slower now than when the predictor's rows were measured is so for all of them.
  std::vector<double> ratios;
  for (const Search& search : searches_)
    for (const Epoch& e : search.epochs)
      ratios.push_back(measured[e.genotype] / e.record.at("derived_cost").get<double>());
  std::nth_element(ratios.begin(), ratios.begin() + long(ratios.size() / 2), ratios.end());
  const double factor = ratios[ratios.size() / 2];
  std::vector<double> all_said[std::size(kSaid)], all_true;
  for (const Search& search : searches_) {
    Json epochs = Json::array();
    std::vector<double> said[std::size(kSaid)], truth;
    for (const Epoch& e : search.epochs) {
      truth.push_back(measured[e.genotype]);
      Json row{{"epoch", e.record["epoch"]}};
      for (size_t k = 0; k < std::size(kSaid); ++k) {
        row[kSaid[k].second] = e.record.at(kSaid[k].second);
        said[k].push_back(row[kSaid[k].second].get<double>());
      }
      row["drawn_deviation"] = e.record.at("drawn_deviation");
      row["measured"] = truth.back();
      epochs.push_back(std::move(row));
    }
    Json entry{{"folder", search.folder}};
    for (const char* field : {"lambda", "relaxation", "draws", "seed"})
      entry[field] = search.config.at(field);
    for (size_t k = 0; k < std::size(kSaid); ++k) {
      entry[kSaid[k].first] = gap_of(said[k], truth, factor);
      all_said[k].insert(all_said[k].end(), said[k].begin(), said[k].end());
    }
    all_true.insert(all_true.end(), truth.begin(), truth.end());
    entry["validation_accuracy"] = search.epochs.back().record.at("validation_accuracy");
    entry["measured"] = truth.back();
    entry["epochs"] = std::move(epochs);
    searches.push_back(std::move(entry));
  }
  Json all{{"architectures", genotypes_.size()}, {"epochs", all_true.size()}};
  for (size_t k = 0; k < std::size(kSaid); ++k) all[kSaid[k].first] = gap_of(all_said[k], all_true, factor);
  return {{"factor", factor}, {"all", all}, {"searches", searches}};
}

std::string search_gap_text(const Json& r) {
  const auto error = [](const Json& gap) {
    return fmt::format("{} ({})", percent(gap["mean_relative"].get<double>()),
                       percent(gap["beside_factor"].get<double>()));
  };
  std::vector<std::vector<std::string>> rows;
  for (const Json& s : r["searches"])
    rows.push_back({text_of(s["folder"]), fmt::format("{:.3g}", s["lambda"].get<double>()),
                    text_of(s["relaxation"]), fmt::format("{}", s["epochs"].size()), error(s["relaxed"]),
                    error(s["drawn"]), error(s["derived"]),
                    fmt::format("{:.3f}", s["measured"].get<double>())});
  const Json& all = r["all"];
  rows.push_back({"all", "", "", fmt::format("{}", all["epochs"].get<size_t>()), error(all["relaxed"]),
                  error(all["drawn"]), error(all["derived"]), ""});
  std::string out =
      fmt::format(
          "what was said at each epoch, against the measured cost of what was derived then: mean error,\n"
          "in brackets beside a factor common to all: what was derived costs {:.3f} times what is "
          "predicted\n\n",
          r["factor"].get<double>()) +
      table({"search", "lambda", "relaxation", "epochs", "term", "mean of draws", "derived", "last measured"},
            rows);
  for (const Json& s : r["searches"]) {
    if (r["searches"].size() > 1) break;
    std::vector<std::vector<std::string>> epochs;
    for (const Json& e : s["epochs"]) {
      std::vector<std::string> row = {fmt::format("{}", e["epoch"].get<int>() + 1)};
      for (const char* field : {"relaxed_cost", "drawn_cost", "drawn_deviation", "derived_cost", "measured"})
        row.push_back(fmt::format("{:.3f}", e[field].get<double>()));
      epochs.push_back(std::move(row));
    }
    out += "\n" + table({"epoch", "term", "mean of draws", "their deviation", "derived", "measured"}, epochs);
  }
  return out;
}

}  // namespace ladarts
