// Joining stores, one architecture at a time: each store is read in the order of context and architecture,
// and what stays of an architecture's rows goes to a temporary table, which then takes the place of the rows.
#include <tuple>

#include "core/error.h"
#include "predictor/measurement_store.h"
#include "predictor/store_columns.h"

namespace ladarts {

namespace {

using namespace store_columns;

// Contexts and architectures in the order of SQLite's ORDER BY over kContext and architecture, whose texts
// are compared by their bytes.
auto merge_key(const Measurement& m) {
  const CostContext& c = m.context;
  return std::tie(c.metric, c.unit, c.space, c.network, c.batch, c.image_size, c.device, c.device_kind,
                  c.threads, c.precision, c.isa, c.library_version, m.architecture);
}

// The rows of one store in that order.
class OrderedRows {
 public:
  OrderedRows(sqlite::Database& db, int64_t schema)
      : rows_(db,
              fmt::format("SELECT {0}, measurements.id, {1} FROM measurements JOIN contexts ON contexts.id "
                          "= context_id ORDER BY {0}, architecture, sample_index, measurements.id",
                          kContext, schema == 1 ? kRowOfVersion1 : kRow)) {
    next();
  }

  bool done() const { return done_; }
  const Measurement& row() const { return row_; }
  Measurement take() {
    Measurement taken = std::move(row_);
    next();
    return taken;
  }
  int64_t taken() const { return read_ - (done_ ? 0 : 1); }

 private:
  void next() {
    if ((done_ = !rows_.step())) return;
    row_ = read_row(rows_, kContextCount);
    row_.context = read_context(rows_, 0);
    ++read_;
  }

  sqlite::Statement rows_;
  Measurement row_;
  bool done_ = false;
  int64_t read_ = 0;
};

// The rows that are to stay, in the order in which their architectures were first met in the stores.
class Staged {
 public:
  explicit Staged(sqlite::Database& db) : db_(db) {
    db.exec(
        "DROP TABLE IF EXISTS temp.staged; CREATE TEMP TABLE staged AS SELECT *, 0 AS store, 0 AS sample, 0 "
        "AS "
        "place FROM main.measurements LIMIT 0");
    std::string marks = "?";
    for (int i = 0; i < kRowCount + 3; ++i) marks += ",?";
    add_.emplace(db, fmt::format("INSERT INTO temp.staged (context_id, {}, store, sample, place) VALUES ({})",
                                 kRow, marks));
  }

  void add(const Measurement& m, size_t store, const Measurement& first) {
    if (!context_ || *context_ != m.context) {
      context_ = m.context;
      context_id_ = context_id(db_, m.context);
    }
    bind_row(*add_, context_id_, m);
    add_->bind(kRowCount + 1, int64_t(store)).bind(kRowCount + 2, first.sample_index);
    add_->bind(kRowCount + 3, first.id);
    add_->step();
    add_->reset();
  }

  // In the place of all rows that are there.
  void replace() {
    add_.reset();
    db_.exec(
        fmt::format("DELETE FROM main.measurements; INSERT INTO main.measurements (context_id, {0}) SELECT "
                    "context_id, {0} FROM temp.staged ORDER BY store, sample, place, replica; DELETE FROM "
                    "contexts WHERE id NOT IN (SELECT context_id FROM main.measurements); DROP TABLE "
                    "temp.staged",
                    kRow));
  }

 private:
  sqlite::Database& db_;
  std::optional<sqlite::Statement> add_;
  std::optional<CostContext> context_;
  int64_t context_id_ = 0;
};

}  // namespace

MeasurementStore::Merged MeasurementStore::merge(std::span<const MeasurementStore> others, const Rule& rule) {
  sqlite::Transaction transaction(*db_);
  Staged staged(*db_);
  Merged result;
  {
    std::vector<std::unique_ptr<OrderedRows>> stores;
    stores.push_back(std::make_unique<OrderedRows>(*db_, schema_));
    for (const MeasurementStore& other : others)
      stores.push_back(std::make_unique<OrderedRows>(*other.db_, other.schema_));
    int64_t read = 0, done = 0;
    for (;;) {
      size_t least = stores.size();
      for (size_t k = 0; k < stores.size(); ++k)
        if (!stores[k]->done() &&
            (least == stores.size() || merge_key(stores[k]->row()) < merge_key(stores[least]->row())))
          least = k;
      if (least == stores.size()) break;
      const Measurement first = stores[least]->row();
      std::vector<Measurement> group;
      for (const auto& store : stores)
        while (!store->done() && merge_key(store->row()) == merge_key(first)) {
          group.push_back(store->take());
          ++read;
          report(++done);
        }
      std::set<int> replicas;
      for (const Measurement& m : rule(std::move(group))) {
        require(merge_key(m) == merge_key(first) && replicas.insert(m.replica).second,
                "[store] '{}': a rule left two rows of replica {} of '{}', or one of another architecture",
                path_.string(), m.replica, first.architecture);
        staged.add(m, least, first);
        ++result.after;
        report(++done);
      }
    }
    result.before = stores[0]->taken();
    result.read = read - result.before;
  }
  staged.replace();
  transaction.commit();
  return result;
}

}  // namespace ladarts
