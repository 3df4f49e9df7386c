#include "predictor/measurement_store.h"

#include <algorithm>
#include <variant>

#include "core/error.h"
#include "predictor/machine.h"
#include "predictor/store_columns.h"
#include "predictor/store_schema.h"

namespace ladarts {

namespace {

using namespace store_columns;

// A WHERE clause with its parameters, from the fields of a filter that are set.
class Where {
 public:
  explicit Where(const MeasurementFilter& f) {
    if (f.context) {
      const CostContext& c = *f.context;
      text("metric", c.metric), text("unit", c.unit), text("space", c.space), text("network", c.network);
      number("batch", c.batch), number("image_size", c.image_size), text("device", c.device);
      text("device_kind", c.device_kind), number("threads", c.threads), text("precision", c.precision);
      text("isa", c.isa), text("library_version", c.library_version);
    }
    if (f.metric) text("metric", *f.metric);
    if (f.space) text("space", *f.space);
    if (f.device) text("device", *f.device);
    if (f.device_kind) text("device_kind", *f.device_kind);
    if (f.architecture) text("architecture", *f.architecture);
    if (f.status) text("status", *f.status);
    if (f.network) text("network", *f.network);
    if (f.batch) number("batch", *f.batch);
    if (f.image_size) number("image_size", *f.image_size);
    if (f.threads) number("threads", *f.threads);
    if (f.replica) number("replica", *f.replica);
    if (f.seed) number("seed", int64_t(*f.seed));
    if (f.id) number("measurements.id", *f.id);
  }

  std::string delete_rows() const {
    return fmt::format(
        "DELETE FROM measurements WHERE id IN (SELECT measurements.id FROM measurements JOIN contexts ON "
        "contexts.id = context_id {})",
        clause_);
  }
  // SELECT `columns` over both tables, where the filter matches.
  std::string select(const std::string& columns, const std::string& tail = "") const {
    return fmt::format("SELECT {} FROM measurements JOIN contexts ON contexts.id = context_id {} {}", columns,
                       clause_, tail);
  }
  void bind(sqlite::Statement& s) const {
    for (size_t i = 0; i < values_.size(); ++i)
      std::visit([&](const auto& v) { s.bind(int(i), v); }, values_[i]);
  }

 private:
  void condition(const char* column) {
    clause_ += fmt::format("{} {} = ?", clause_.empty() ? "WHERE" : " AND", column);
  }
  void text(const char* column, const std::string& value) {
    condition(column);
    values_.emplace_back(value);
  }
  void number(const char* column, int64_t value) {
    condition(column);
    values_.emplace_back(value);
  }
  std::string clause_;
  std::vector<std::variant<int64_t, std::string>> values_;
};

}  // namespace

MeasurementStore::MeasurementStore(const std::filesystem::path& path, Access access, int busy_timeout_ms)
    : path_(path) {
  std::error_code ignored;
  const bool exists = std::filesystem::exists(path, ignored);
  require(exists || access == Access::create,
          "[store] there is no file '{}'; measure some architectures first, or check the path",
          path.string());
  require(!std::filesystem::is_directory(path, ignored), "[store] '{}' is a folder; give the path of a file",
          path.string());
  const sqlite::Mode mode = access == Access::create      ? sqlite::Mode::create
                            : access == Access::read_only ? sqlite::Mode::read_only
                                                          : sqlite::Mode::read_write;
  db_ = std::make_unique<sqlite::Database>(path, mode, busy_timeout_ms);
  if (access == Access::create) {
    store_schema::version(*db_);  // a file of another program is refused before anything is changed in it
    store_schema::use_write_ahead_log(*db_);
    store_schema::prepare(*db_);
  } else {
    require(store_schema::version(*db_) > 0, "[store] '{}' is empty; measure some architectures first",
            path.string());
    if (access == Access::existing) store_schema::prepare(*db_);
  }
  schema_ = store_schema::version(*db_);
  if (access != Access::read_only) db_->exec("PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON");
}

MeasurementStore::~MeasurementStore() = default;
MeasurementStore::MeasurementStore(MeasurementStore&&) noexcept = default;
MeasurementStore& MeasurementStore::operator=(MeasurementStore&&) noexcept = default;

bool MeasurementStore::insert(const Measurement& row) {
  return insert(std::span<const Measurement>(&row, 1)) == 1;
}

int64_t MeasurementStore::insert(std::span<const Measurement> rows) {
  sqlite::Transaction transaction(*db_);
  const int64_t added = insert_all(rows);
  transaction.commit();
  return added;
}

int64_t MeasurementStore::insert_all(std::span<const Measurement> rows) {
  sqlite::Statement add(*db_, fmt::format("INSERT INTO measurements (context_id, {0}) VALUES "
                                          "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) "
                                          "ON CONFLICT DO UPDATE SET ({0}) = (excluded.architecture, "
                                          "excluded.replica, excluded.median, excluded.relative_spread, "
                                          "excluded.min, excluded.mean, excluded.repeats, "
                                          "excluded.warmup_runs, excluded.disturbed_runs, excluded.noisy, "
                                          "excluded.status, excluded.seed, "
                                          "excluded.sample_index, excluded.commit_id, excluded.governor, "
                                          "excluded.clock_mhz, excluded.hostname, excluded.utc_time, "
                                          "excluded.details) "
                                          "WHERE measurements.status <> 'ok'",
                                          kRow));
  int64_t added = 0, id = 0, done = 0;
  const CostContext* context = nullptr;
  for (const Measurement& row : rows) {
    if (!context || row.context != *context) id = context_id(*db_, row.context);
    context = &row.context;
    bind_row(add, id, row);
    add.step();
    added += sqlite3_changes(db_->handle());
    add.reset();
    report(++done);
  }
  return added;
}

int64_t MeasurementStore::remove(const MeasurementFilter& filter) {
  const Where where(filter);
  sqlite::Transaction transaction(*db_);
  sqlite::Statement s(*db_, where.delete_rows());
  where.bind(s);
  s.step();
  const int64_t removed = sqlite3_changes(db_->handle());
  transaction.commit();
  return removed;
}

void MeasurementStore::insert_replica(Measurement row) {
  for (const Measurement& m : rows({.context = row.context, .architecture = row.architecture}))
    row.replica = std::max(row.replica, m.replica + 1);
  while (!insert(row)) ++row.replica;  // another process has taken that one
}

void MeasurementStore::mark_noisy(int64_t id, const std::string& details) {
  sqlite::Transaction transaction(*db_);
  sqlite::Statement s(*db_, "UPDATE measurements SET noisy = 1, details = ? WHERE id = ?");
  s.bind(0, details).bind(1, id);
  s.step();
  transaction.commit();
}

std::vector<Measurement> MeasurementStore::rows(const MeasurementFilter& filter) const {
  return rows(filter, RowOrder{});
}

std::vector<Measurement> MeasurementStore::rows(const MeasurementFilter& filter,
                                                const RowOrder& order) const {
  const Where where(filter);
  static constexpr const char* kColumns[] = {"sample_index", "median", "relative_spread", "utc_time",
                                             "architecture"};
  const char* direction = order.descending ? "DESC" : "ASC";
  const char* columns = schema_ == 1 ? kRowOfVersion1 : kRow;
  sqlite::Statement s(
      *db_, where.select(fmt::format("{}, measurements.id, {}", kContext, columns),
                         fmt::format("ORDER BY {} {}, measurements.id {} LIMIT {}", kColumns[int(order.by)],
                                     direction, direction, order.limit)));
  where.bind(s);
  std::vector<Measurement> result;
  while (s.step()) {
    result.push_back(read_row(s, kContextCount));
    result.back().context = read_context(s, 0);
    report(int64_t(result.size()));
  }
  return result;
}

int64_t MeasurementStore::count(const MeasurementFilter& filter) const {
  const Where where(filter);
  sqlite::Statement s(*db_, where.select("count(*)"));
  where.bind(s);
  return s.step() ? s.integer(0) : 0;
}

std::set<std::string> MeasurementStore::architectures(const MeasurementFilter& filter) const {
  const Where where(filter);
  sqlite::Statement s(*db_, where.select("DISTINCT architecture"));
  where.bind(s);
  std::set<std::string> result;
  while (s.step()) result.insert(s.text(0));
  return result;
}

double MeasurementStore::best_probe_ms(const CostContext& context) const {
  if (schema_ < 2) return 0;
  sqlite::Statement s(
      *db_,
      "SELECT min(json_extract(details, '$.probe_ms')) FROM measurements JOIN contexts ON "
      "contexts.id = context_id WHERE device = ? AND device_kind = ? AND threads = ? AND isa = ? AND "
      "library_version = ? AND json_extract(details, '$.probe_ms') > 0");
  s.bind(0, context.device).bind(1, context.device_kind).bind(2, context.threads).bind(3, context.isa);
  s.bind(4, context.library_version);
  return s.step() ? s.real(0) : 0;
}

std::set<int64_t> MeasurementStore::sample_indices(const MeasurementFilter& filter) const {
  const Where where(filter);
  sqlite::Statement s(*db_, where.select("DISTINCT sample_index"));
  where.bind(s);
  std::set<int64_t> result;
  while (s.step())
    if (s.integer(0) >= 0) result.insert(s.integer(0));
  return result;
}

std::vector<std::pair<CostContext, int64_t>> MeasurementStore::contexts(
    const MeasurementFilter& filter) const {
  const Where where(filter);
  sqlite::Statement s(
      *db_, where.select(fmt::format("{}, count(*)", kContext), "GROUP BY contexts.id ORDER BY contexts.id"));
  where.bind(s);
  std::vector<std::pair<CostContext, int64_t>> result;
  while (s.step()) result.emplace_back(read_context(s, 0), s.integer(kContextCount));
  return result;
}

void MeasurementStore::verify() const {
  const std::string finding = db_->query_text("PRAGMA integrity_check(1)");
  require(finding == "ok",
          "[store] '{}' is damaged: {}; 'sqlite3 OLD .recover | sqlite3 NEW' saves what can be read",
          path_.string(), finding);
  const int64_t orphans =
      db_->query_int("SELECT count(*) FROM measurements WHERE context_id NOT IN (SELECT id FROM contexts)");
  require(orphans == 0, "[store] '{}' is damaged: {} rows belong to no context", path_.string(), orphans);
  sqlite::Statement s(
      *db_,
      "SELECT id, median, relative_spread FROM measurements WHERE status = 'ok' AND NOT "
      "(typeof(median) = 'real' AND median >= 0 AND median < 9e999 AND relative_spread >= 0 AND "
      "replica >= 0 AND architecture <> '') LIMIT 1");
  if (s.step())
    fail(
        "[store] '{}': row {} is no measurement: median '{}', spread '{}'; ladarts db delete --id {} removes "
        "it",
        path_.string(), s.integer(0), s.text(1), s.text(2), s.integer(0));
  if (schema_ < 2) return;
  sqlite::Statement details(*db_, "SELECT id FROM measurements WHERE NOT json_valid(details) LIMIT 1");
  if (details.step())
    fail("[store] '{}': the details of row {} are no JSON; ladarts db delete --id {} removes it",
         path_.string(), details.integer(0), details.integer(0));
}

}  // namespace ladarts
