#include <filesystem>

#include "apps/db_actions.h"
#include "apps/format.h"
#include "apps/store_filter_options.h"
#include "core/error.h"
#include "predictor/store_rules.h"

namespace ladarts {
namespace {

using Access = MeasurementStore::Access;

void add_keep_option(CLI::App& app, std::string& keep) {
  app.add_option("--keep", keep,
                 "which of several rows of one architecture in one context: first (the oldest), newest, "
                 "least-spread, or all-as-replicas")
      ->check(CLI::IsMember(keep_names()))
      ->option_text("RULE [" + keep + "]");
}

class MergeAction : public Command {
 public:
  std::string name() const override { return "merge"; }
  std::string summary() const override { return "join stores of several machines or shards into one"; }
  std::string example() const override {
    return "ladarts db merge all.db shard1.db shard2.db shard3.db --keep first";
  }
  void declare(CLI::App& app) override {
    app.add_option("store", db_, "file to merge into; rows that it has already count as well")->required();
    app.add_option("others", others_, "files to merge; they are only read")
        ->required()
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    add_keep_option(app, keep_);
  }

  Json run(const CommonOptions&) override {
    std::vector<MeasurementStore> others;
    int64_t rows = 0;
    for (const std::string& other : others_) {
      std::error_code ignored;
      require(!std::filesystem::equivalent(db_, other, ignored), "[db] '{}' cannot be merged into itself",
              other);
      others.emplace_back(other, Access::read_only);
      rows += others.back().count();
    }
    MeasurementStore store(db_);
    RowProgress progress("merge", db_, 2 * (rows + store.count()));
    progress.follow(store);
    const auto merged = store.merge(others, [keep = parse_keep(keep_)](std::vector<Measurement> group) {
      return apply_rule(std::move(group), keep);
    });
    progress.finish();
    return {{"store", db_},
            {"keep", keep_},
            {"before", merged.before},
            {"read", merged.read},
            {"after", merged.after}};
  }

  std::string text(const Json& r) const override {
    return fmt::format(
        "{}: {} rows before, {} read, {} now ({} duplicates removed by rule {})\n", text_of(r["store"]),
        with_separators(r["before"]), with_separators(r["read"]), with_separators(r["after"]),
        with_separators(r["before"].get<int64_t>() + r["read"].get<int64_t>() - r["after"].get<int64_t>()),
        text_of(r["keep"]));
  }

 private:
  std::string db_, keep_ = "all-as-replicas";
  std::vector<std::string> others_;
};

class DedupeAction : public Command {
 public:
  std::string name() const override { return "dedupe"; }
  std::string summary() const override { return "keep of each architecture the rows that a rule picks"; }
  std::string example() const override { return "ladarts db dedupe latency.db --keep least-spread"; }
  void declare(CLI::App& app) override {
    add_store_argument(app, db_);
    add_keep_option(app, keep_);
  }

  Json run(const CommonOptions&) override {
    MeasurementStore store(db_, Access::existing);
    RowProgress progress("dedupe", db_, 2 * store.count());
    progress.follow(store);
    const auto merged = store.merge({}, [keep = parse_keep(keep_)](std::vector<Measurement> group) {
      return apply_rule(std::move(group), keep);
    });
    progress.finish();
    return {{"store", db_}, {"keep", keep_}, {"before", merged.before}, {"after", merged.after}};
  }

  std::string text(const Json& r) const override {
    return fmt::format("{}: {} rows before, {} now, by rule {}\n", text_of(r["store"]),
                       with_separators(r["before"]), with_separators(r["after"]), text_of(r["keep"]));
  }

 private:
  std::string db_, keep_ = "all-as-replicas";
};

class DeleteAction : public Command {
 public:
  std::string name() const override { return "delete"; }
  std::string summary() const override { return "remove the rows that a filter matches"; }
  std::string example() const override {
    return "ladarts db delete latency.db --on 'AMD EPYC' --batch 64 --yes";
  }
  void declare(CLI::App& app) override {
    add_store_argument(app, db_);
    app.add_flag("--yes", yes_, "do it; without this the number of rows is told only");
    app.add_flag("--all", all_, "every row, where no filter is given");
    filter_.declare(app);
  }

  Json run(const CommonOptions&) override {
    require(all_ || !filter_.empty(), "[db] which rows? give a filter, or --all for every row of '{}'", db_);
    MeasurementStore store(db_, Access::existing);
    if (!yes_)
      fail("[db] {} of {} rows of '{}' would be removed; --yes does it", store.count(filter_.filter()),
           store.count(), db_);
    const int64_t removed = store.remove(filter_.filter());
    return {{"store", db_}, {"removed", removed}, {"left", store.count()}};
  }

  std::string text(const Json& r) const override {
    return fmt::format("{}: {} rows removed, {} left\n", text_of(r["store"]), with_separators(r["removed"]),
                       with_separators(r["left"]));
  }

 private:
  std::string db_;
  bool yes_ = false, all_ = false;
  StoreFilterOptions filter_;
};

}  // namespace

std::unique_ptr<Command> make_db_merge() {
  return std::make_unique<MergeAction>();
}
std::unique_ptr<Command> make_db_dedupe() {
  return std::make_unique<DedupeAction>();
}
std::unique_ptr<Command> make_db_delete() {
  return std::make_unique<DeleteAction>();
}

}  // namespace ladarts
