#include "apps/db_actions.h"
#include "apps/format.h"
#include "apps/store_filter_options.h"
#include "predictor/agreement.h"

namespace ladarts {
namespace {

Json to_json(const Agreement& a) {
  return {{"n", a.n},
          {"spearman", a.spearman},
          {"bias", a.bias},
          {"median_difference", a.median_difference},
          {"mean_difference", a.mean_difference},
          {"p95_difference", a.p95_difference},
          {"within_5_percent", a.within_5_percent}};
}

class CompareAction : public Command {
 public:
  std::string name() const override { return "compare"; }
  std::string summary() const override { return "how well two campaigns over the same architectures agree"; }
  std::string example() const override { return "ladarts db compare monday.db friday.db --metric latency"; }
  void declare(CLI::App& app) override {
    add_store_argument(app, first_);
    app.add_option("other", second_, "file of measurements that the first is held against")->required();
    filter_.declare(app);
  }

  Json run(const CommonOptions&) override {
    constexpr auto read_only = MeasurementStore::Access::read_only;
    const auto a = MeasurementStore(first_, read_only).rows(filter_.filter());
    const auto b = MeasurementStore(second_, read_only).rows(filter_.filter());
    return {{"store", first_},
            {"other", second_},
            {"every_run", to_json(agreement(a, b, CostForm::every_run))},
            {"measured", to_json(agreement(a, b, CostForm::measured))},
            {"corrected", to_json(agreement(a, b, CostForm::corrected))}};
  }

  std::string text(const Json& r) const override {
    std::vector<std::vector<std::string>> rows;
    for (const char* kind : {"every_run", "measured", "corrected"}) {
      const Json& a = r[kind];
      rows.push_back(
          {kind, with_separators(a["n"]), fmt::format("{:.4f}", a["spearman"].get<double>()),
           fmt::format("{:+.2f}%", 100 * a["bias"].get<double>()),
           percent(a["median_difference"].get<double>(), 2), percent(a["mean_difference"].get<double>(), 2),
           percent(a["p95_difference"].get<double>(), 2), percent(a["within_5_percent"].get<double>())});
    }
    return fmt::format("{} against {}, relative to the latter\n\n", text_of(r["store"]),
                       text_of(r["other"])) +
           table({"costs", "architectures", "Spearman", "bias", "median difference", "mean",
                  "95th percentile", "within 5%"},
                 rows) +
           "\nevery_run: medians over all runs. measured: disturbed runs left out. corrected: that, divided "
           "by how "
           "much slower than at its best the machine was meanwhile.\n";
  }

 private:
  std::string first_, second_;
  StoreFilterOptions filter_;
};

}  // namespace

std::unique_ptr<Command> make_db_compare() {
  return std::make_unique<CompareAction>();
}

}  // namespace ladarts
