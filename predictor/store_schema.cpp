#include "predictor/store_schema.h"

#include <chrono>
#include <thread>

#include "core/error.h"

namespace ladarts::store_schema {

namespace {

constexpr int64_t kApplicationId = 0x6c614d73;  // "laMs": tells our files from other SQLite databases

constexpr const char* kSchema = R"sql(
CREATE TABLE contexts (
  id INTEGER PRIMARY KEY,
  metric TEXT NOT NULL, unit TEXT NOT NULL, space TEXT NOT NULL, network TEXT NOT NULL,
  batch INTEGER NOT NULL, image_size INTEGER NOT NULL,
  device TEXT NOT NULL, device_kind TEXT NOT NULL, threads INTEGER NOT NULL,
  precision TEXT NOT NULL, isa TEXT NOT NULL, library_version TEXT NOT NULL,
  UNIQUE (metric, unit, space, network, batch, image_size, device, device_kind, threads, precision, isa,
          library_version)
);
CREATE TABLE measurements (
  id INTEGER PRIMARY KEY,
  context_id INTEGER NOT NULL REFERENCES contexts (id),
  architecture TEXT NOT NULL,
  replica INTEGER NOT NULL,
  median REAL NOT NULL, relative_spread REAL NOT NULL, min REAL NOT NULL, mean REAL NOT NULL,
  repeats INTEGER NOT NULL, warmup_runs INTEGER NOT NULL,
  disturbed_runs INTEGER NOT NULL, noisy INTEGER NOT NULL,
  status TEXT NOT NULL,
  seed INTEGER NOT NULL,          -- the bits of an unsigned number
  sample_index INTEGER NOT NULL,
  commit_id TEXT NOT NULL, governor TEXT NOT NULL, clock_mhz REAL NOT NULL, hostname TEXT NOT NULL,
  utc_time TEXT NOT NULL,
  details TEXT NOT NULL DEFAULT '{}',
  UNIQUE (context_id, architecture, replica)
);
)sql";

// From version 1 to 2.
constexpr const char* kMigration = R"sql(
ALTER TABLE measurements ADD COLUMN details TEXT NOT NULL DEFAULT '{}';
)sql";

int64_t user_tables(sqlite::Database& db) {
  return db.query_int("SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'");
}

}  // namespace

int64_t version(sqlite::Database& db) {
  const std::string path = db.path().string();
  if (user_tables(db) == 0) return 0;
  require(db.query_int("PRAGMA application_id") == kApplicationId,
          "[store] '{}' is an SQLite database of another program; give another path", path);
  const int64_t found = db.query_int("PRAGMA user_version");
  require(found <= kVersion,
          "[store] '{}' has schema {}, written by a newer ladarts; this one reads up to {}: update ladarts",
          path, found, kVersion);
  require(found >= 1, "[store] '{}' is damaged: it has tables, but no schema version", path);
  return found;
}

void prepare(sqlite::Database& db) {
  if (version(db) == kVersion) return;
  sqlite::Transaction transaction(db);
  const int64_t found = version(db);  // another process may have been faster
  if (found == kVersion) return;
  db.exec(found == 0 ? kSchema : kMigration);
  db.exec(fmt::format("PRAGMA application_id={}; PRAGMA user_version={}", kApplicationId, kVersion));
  transaction.commit();
}

void use_write_ahead_log(sqlite::Database& db) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(db.busy_timeout_ms());
  for (;;) {
    const int code = sqlite3_exec(db.handle(), "PRAGMA journal_mode=WAL", nullptr, nullptr, nullptr);
    if (code == SQLITE_OK) return;
    if ((code & 0xff) != SQLITE_BUSY || std::chrono::steady_clock::now() > deadline) db.fail(code);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace ladarts::store_schema
