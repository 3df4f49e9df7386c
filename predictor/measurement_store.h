// Measurements in an SQLite file. Every insert is one durable transaction (write-ahead log, synchronous=FULL:
// an fsync costs far less than a measurement), so a process killed at any moment loses at most the row it was
// about to insert. Several processes may read and write one store. A store is used by one thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "predictor/cost_context.h"

namespace ladarts {

namespace sqlite {
class Database;
}

struct Measurement {
  int64_t id = 0;  // given by the store
  // What identifies it: no two rows of a store agree in all of these.
  CostContext context;
  std::string architecture;  // key of the architecture, unique within its space
  int replica = 0;           // 0, or the number of a repetition: for the noise floor, or of a slowed row

  double median = 0;           // cost, in context.unit
  double relative_spread = 0;  // of single runs: 1.4826 * median absolute deviation / median
  double min = 0;
  double mean = 0;
  int repeats = 0;
  int warmup_runs = 0;
  int disturbed_runs = 0;     // runs on a slowed machine; not counted in the others unless noisy
  bool noisy = false;         // disturbed runs had to be counted, or the machine turned out to be slowed
  std::string status = "ok";  // anything else says why there is no cost

  // Where it came from.
  uint64_t seed = 0;          // of the sampler
  int64_t sample_index = -1;  // -1: not from a sampler
  std::string commit;
  std::string governor;  // of the CPU's clock; empty where unreadable
  double clock_mhz = 0;  // 0 where unreadable
  std::string hostname;
  std::string utc_time;  // "2026-01-31T23:59:59Z"; filled by insert() where empty
  // What else is known of how it was measured, as a JSON object: the counter of an energy, the table that an
  // imported row comes from.
  std::string details = "{}";
};

// Empty fields match everything.
struct MeasurementFilter {
  std::optional<CostContext> context = {};  // all of it
  std::optional<std::string> metric = {}, space = {}, device = {}, device_kind = {}, architecture = {},
                             status = {}, network = {};
  std::optional<int> batch = {}, image_size = {}, threads = {}, replica = {};
  std::optional<uint64_t> seed = {};
  std::optional<int64_t> id = {};
};

struct RowOrder {
  enum class By { sample, cost, spread, time, architecture } by = By::sample;
  bool descending = false;
  int64_t limit = -1;  // -1: all
};

class MeasurementStore {
 public:
  enum class Access { create, existing, read_only };

  // Throws Error saying what is wrong and what to do: no such file, not a database, a database of another
  // program, damaged, written by a newer ladarts, no permission, locked for longer than `busy_timeout_ms`.
  explicit MeasurementStore(const std::filesystem::path& path, Access access = Access::create,
                            int busy_timeout_ms = 10'000);
  ~MeasurementStore();
  MeasurementStore(MeasurementStore&&) noexcept;
  MeasurementStore& operator=(MeasurementStore&&) noexcept;

  // False, and nothing is changed, where a row of the same identity is present, unless that one's status is
  // not "ok": then it is replaced. Throws Error on a full disk or a lock; what was there before stays.
  bool insert(const Measurement& row);
  // All in one transaction, or nothing; returns how many were new.
  int64_t insert(std::span<const Measurement> rows);

  // As the next replica of its architecture, so that nothing measured before is lost.
  void insert_replica(Measurement row);

  std::vector<Measurement> rows(const MeasurementFilter& filter = {}) const;  // by sample index, then id
  std::vector<Measurement> rows(const MeasurementFilter& filter, const RowOrder& order) const;
  int64_t count(const MeasurementFilter& filter = {}) const;
  // Returns how many were removed.
  int64_t remove(const MeasurementFilter& filter);
  // Marks the row of this id noisy and gives it these details: for what was found out about it later.
  void mark_noisy(int64_t id, const std::string& details);
  // Of each architecture of each context, stays what `rule` makes of its rows here, then in `others` in turn
  // (of one store by sample index, then id). In one transaction: what other processes insert meanwhile waits
  // and stays, and where something throws, nothing is changed. Memory is that of one architecture's rows;
  // SQLite sorts in temporary files. Throws Error where the rule leaves two rows of one replica number.
  using Rule = std::function<std::vector<Measurement>(std::vector<Measurement>)>;
  struct Merged {
    int64_t before = 0, read = 0, after = 0;  // rows here, in the others, and here afterwards
  };
  Merged merge(std::span<const MeasurementStore> others, const Rule& rule);  // predictor/store_merge.cpp
  std::set<std::string> architectures(const MeasurementFilter& filter = {}) const;
  // The least SpeedProbe time that rows of this device, number of threads, instruction set and version have
  // among their conditions; 0 where none has.
  double best_probe_ms(const CostContext& context) const;
  std::set<int64_t> sample_indices(const MeasurementFilter& filter = {}) const;
  // Every context that has rows, with their number: what a user may ask for.
  std::vector<std::pair<CostContext, int64_t>> contexts(const MeasurementFilter& filter = {}) const;
  // Reads the whole file; throws Error naming the first defect: a damaged page or index, a row without its
  // context, a cost that is none, details that are no JSON.
  void verify() const;

  // Called with the number of rows after each so many that were read or written; where it throws, the work is
  // given up and nothing is changed.
  static constexpr int64_t kRowsOfProgress = 1000;
  void set_progress(std::function<void(int64_t rows)> progress) { progress_ = std::move(progress); }

  const std::filesystem::path& path() const { return path_; }

 private:
  void report(int64_t done) const {
    if (progress_ && done % kRowsOfProgress == 0) progress_(kRowsOfProgress);
  }
  int64_t insert_all(std::span<const Measurement> rows);  // within a transaction
  std::filesystem::path path_;
  std::unique_ptr<sqlite::Database> db_;
  std::function<void(int64_t)> progress_;
  int64_t schema_ = 0;  // of the file: an older one is read as it is, and migrated where it may be written
};

}  // namespace ladarts
