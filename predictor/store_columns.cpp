#include "predictor/store_columns.h"

#include "core/clock.h"
#include "core/error.h"

namespace ladarts::store_columns {

void bind_context(sqlite::Statement& s, const CostContext& c) {
  s.bind(0, c.metric).bind(1, c.unit).bind(2, c.space).bind(3, c.network);
  s.bind(4, c.batch).bind(5, c.image_size).bind(6, c.device).bind(7, c.device_kind);
  s.bind(8, c.threads).bind(9, c.precision).bind(10, c.isa).bind(11, c.library_version);
}

CostContext read_context(const sqlite::Statement& s, int first) {
  CostContext c;
  c.metric = s.text(first);
  c.unit = s.text(first + 1);
  c.space = s.text(first + 2);
  c.network = s.text(first + 3);
  c.batch = int(s.integer(first + 4));
  c.image_size = int(s.integer(first + 5));
  c.device = s.text(first + 6);
  c.device_kind = s.text(first + 7);
  c.threads = int(s.integer(first + 8));
  c.precision = s.text(first + 9);
  c.isa = s.text(first + 10);
  c.library_version = s.text(first + 11);
  return c;
}

void bind_row(sqlite::Statement& s, int64_t context_id, const Measurement& m) {
  s.bind(0, context_id).bind(1, m.architecture).bind(2, m.replica);
  s.bind(3, m.median).bind(4, m.relative_spread).bind(5, m.min).bind(6, m.mean);
  s.bind(7, m.repeats).bind(8, m.warmup_runs).bind(9, m.disturbed_runs);
  s.bind(10, int64_t(m.noisy)).bind(11, m.status);
  s.bind(12, int64_t(m.seed)).bind(13, m.sample_index);
  s.bind(14, m.commit).bind(15, m.governor).bind(16, m.clock_mhz).bind(17, m.hostname);
  s.bind(18, m.utc_time.empty() ? utc_now() : m.utc_time).bind(19, m.details);
}

Measurement read_row(const sqlite::Statement& s, int first) {
  Measurement m;
  m.id = s.integer(first);
  m.architecture = s.text(first + 1);
  m.replica = int(s.integer(first + 2));
  m.median = s.real(first + 3);
  m.relative_spread = s.real(first + 4);
  m.min = s.real(first + 5);
  m.mean = s.real(first + 6);
  m.repeats = int(s.integer(first + 7));
  m.warmup_runs = int(s.integer(first + 8));
  m.disturbed_runs = int(s.integer(first + 9));
  m.noisy = s.integer(first + 10) != 0;
  m.status = s.text(first + 11);
  m.seed = uint64_t(s.integer(first + 12));
  m.sample_index = s.integer(first + 13);
  m.commit = s.text(first + 14);
  m.governor = s.text(first + 15);
  m.clock_mhz = s.real(first + 16);
  m.hostname = s.text(first + 17);
  m.utc_time = s.text(first + 18);
  m.details = s.text(first + 19);
  return m;
}

int64_t context_id(sqlite::Database& db, const CostContext& context) {
  sqlite::Statement add(db, fmt::format("INSERT INTO contexts ({}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?) "
                                        "ON CONFLICT DO NOTHING",
                                        kContext));
  bind_context(add, context);
  add.step();
  sqlite::Statement find(
      db,
      "SELECT id FROM contexts WHERE metric=? AND unit=? AND space=? AND network=? AND batch=? AND "
      "image_size=? AND device=? AND device_kind=? AND threads=? AND precision=? AND isa=? AND "
      "library_version=?");
  bind_context(find, context);
  LADARTS_CHECK(find.step());
  return find.integer(0);
}

}  // namespace ladarts::store_columns
