#include <map>

#include "apps/db_actions.h"
#include "apps/format.h"
#include "apps/measuring_options.h"
#include "apps/store_filter_options.h"
#include "core/error.h"

namespace ladarts {
namespace {

using Access = MeasurementStore::Access;

const std::map<std::string, RowOrder::By> kOrders = {{"sample", RowOrder::By::sample},
                                                     {"cost", RowOrder::By::cost},
                                                     {"spread", RowOrder::By::spread},
                                                     {"time", RowOrder::By::time},
                                                     {"architecture", RowOrder::By::architecture}};

class ListAction : public Command {
 public:
  std::string name() const override { return "list"; }
  std::string summary() const override { return "what a store holds, or its rows"; }
  std::string example() const override {
    return "ladarts db list latency.db\n  ladarts db list latency.db --rows --metric latency --sort cost "
           "--limit 10";
  }
  void declare(CLI::App& app) override {
    add_store_argument(app, db_);
    app.add_flag("--rows", rows_, "each row instead of the kinds of measurements");
    app.add_option("--limit", order_.limit, "so many rows at most; 0: all")
        ->check(CLI::NonNegativeNumber)
        ->option_text("N [20]");
    app.add_option("--sort", sort_, "sample, cost, spread, time or architecture")
        ->check(CLI::IsMember({"sample", "cost", "spread", "time", "architecture"}))
        ->option_text("NAME [sample]");
    app.add_flag("--descending", order_.descending, "the largest first");
    filter_.declare(app);
    order_.limit = 20;
  }

  Json run(const CommonOptions&) override {
    const MeasurementStore store(db_, Access::read_only);
    Json result{{"store", db_}, {"count", store.count(filter_.filter())}};
    if (rows_) {
      order_.by = kOrders.at(sort_);
      if (order_.limit == 0) order_.limit = -1;
      result["rows"] = Json::array();
      for (const Measurement& m : store.rows(filter_.filter(), order_)) result["rows"].push_back(describe(m));
      return result;
    }
    result["contexts"] = Json::array();
    for (const auto& [context, count] : store.contexts(filter_.filter())) {
      MeasurementFilter ok;
      ok.context = context;
      ok.status = "ok";
      result["contexts"].push_back({{"count", count},
                                    {"failed", count - store.count(ok)},
                                    {"what", context.str()},
                                    {"context", Json::parse(nlohmann::json(context).dump())}});
    }
    return result;
  }

  std::string text(const Json& r) const override {
    const auto count = r["count"].get<int64_t>();
    if (!r.contains("rows")) {
      std::string out = fmt::format("{} rows in {}\n", with_separators(count), text_of(r["store"]));
      for (const Json& c : r["contexts"]) {
        const auto failed = c["failed"].get<int64_t>();
        out += fmt::format("{:>9}  {}{}\n", with_separators(c["count"]), text_of(c["what"]),
                           failed > 0 ? fmt::format("; {} failed", with_separators(failed)) : "");
      }
      return out;
    }
    std::vector<std::vector<std::string>> rows;
    for (const Json& m : r["rows"])
      rows.push_back({text_of(m["architecture"]), fmt::format("{}", m["id"].get<int64_t>()),
                      text_of(m["metric"]),
                      m["status"] == "ok" ? cost_text(m["cost"].get<double>()) : "failed", text_of(m["unit"]),
                      percent(m["relative_spread"].get<double>()), fmt::format("{}", m["replica"].get<int>()),
                      text_of(m["device"]), text_of(m["utc_time"])});
    return table({"architecture", "id", "metric", "cost", "unit", "spread", "replica", "device", "time"},
                 rows) +
           fmt::format("{} of {} rows\n", with_separators(int64_t(rows.size())), with_separators(count));
  }

 private:
  static Json describe(const Measurement& m) {
    return {{"id", m.id},
            {"architecture", m.architecture},
            {"metric", m.context.metric},
            {"cost", m.median},
            {"unit", m.context.unit},
            {"relative_spread", m.relative_spread},
            {"replica", m.replica},
            {"noisy", m.noisy},
            {"status", m.status},
            {"device", m.context.device},
            {"what", m.context.str()},
            {"sample_index", m.sample_index},
            {"utc_time", m.utc_time},
            {"details", Json::parse(m.details, nullptr, /*allow_exceptions=*/false)}};
  }

  std::string db_, sort_ = "sample";
  bool rows_ = false;
  RowOrder order_;
  StoreFilterOptions filter_;
};

class CheckAction : public Command {
 public:
  std::string name() const override { return "check"; }
  std::string summary() const override { return "read a whole store; fail with the first defect"; }
  std::string example() const override { return "ladarts db check latency.db"; }
  void declare(CLI::App& app) override { add_store_argument(app, db_); }

  Json run(const CommonOptions&) override {
    const MeasurementStore store(db_, Access::read_only);
    store.verify();
    std::map<std::string, SearchSpace> spaces;
    for (const std::string& name : SearchSpace::preset_names()) spaces.emplace(name, SearchSpace::load(name));
    int64_t unread = 0;  // of spaces that only their file knows
    for (const auto& [name, space] : spaces)
      for (const std::string& text : store.architectures({.space = name})) check_architecture(text, space);
    for (const auto& [context, count] : store.contexts())
      if (!spaces.count(context.space)) unread += count;
    return {{"store", db_}, {"rows", store.count()}, {"of_unknown_spaces", unread}};
  }

  std::string text(const Json& r) const override {
    const auto unread = r["of_unknown_spaces"].get<int64_t>();
    return fmt::format("{}: {} rows, no defect{}\n", text_of(r["store"]), with_separators(r["rows"]),
                       unread > 0
                           ? fmt::format("; the architectures of {}, of other search spaces, were not read",
                                         with_separators(unread))
                           : "");
  }

 private:
  void check_architecture(const std::string& text, const SearchSpace& space) const try {
    parse_genotype(text, space);
  } catch (const Error& e) {
    fail("[store] '{}': '{}' is no architecture of its space: {}", db_, text, e.what());
  }

  std::string db_;
};

}  // namespace

std::unique_ptr<Command> make_db_list() {
  return std::make_unique<ListAction>();
}
std::unique_ptr<Command> make_db_check() {
  return std::make_unique<CheckAction>();
}

}  // namespace ladarts
