#include "predictor/measurement_store.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "core/error.h"
#include "core/philox.h"
#include "tests/support/catch.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;
namespace fs = std::filesystem;

namespace {

Measurement example(int64_t index, int replica = 0) {
  Measurement m;
  m.context = {.space = "darts",
               .network = "channels=36 layers=20 classes=10",
               .device = "a cpu",
               .device_kind = "cpu",
               .threads = 2,
               .isa = "avx2",
               .library_version = "0.1.0"};
  m.architecture = fmt::format("architecture {}", index);
  m.replica = replica;
  m.median = 10.5 + double(index) / 3;
  m.relative_spread = 0.01;
  m.min = 10;
  m.mean = 10.75;
  m.repeats = 11;
  m.warmup_runs = 4;
  m.disturbed_runs = 2;
  m.noisy = true;
  m.seed = 0xfedcba9876543210;
  m.sample_index = index;
  m.commit = "abc";
  m.governor = "performance";
  m.clock_mhz = 2600;
  m.hostname = "host";
  return m;
}

void run_sql(const fs::path& path, const char* sql) {
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &db) == SQLITE_OK);
  REQUIRE(sqlite3_exec(db, sql, nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(db);
}

// Runs f in a child process; its exit status is what f returns, 99 when it throws.
template <class F>
pid_t in_child(F f) {
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid > 0) return pid;
  int status = 99;
  try {
    status = f();
  } catch (...) {
  }
  _exit(status);
}

int exit_status(pid_t pid) {
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

TEST_CASE("store: a row comes back as it went in", "[predictor][store]") {
  const TempFolder folder;
  const fs::path path = folder / "with ? # and %41.db";
  const Measurement in = example(3);
  { CHECK(MeasurementStore(path).insert(in)); }
  CHECK(fs::exists(path));
  const auto rows = MeasurementStore(path, MeasurementStore::Access::read_only).rows();
  REQUIRE(rows.size() == 1);
  const Measurement& out = rows[0];
  CHECK(out.context == in.context);
  CHECK(out.architecture == in.architecture);
  CHECK(out.median == in.median);
  CHECK(out.relative_spread == in.relative_spread);
  CHECK(out.min == in.min);
  CHECK(out.mean == in.mean);
  CHECK(out.repeats == in.repeats);
  CHECK(out.warmup_runs == in.warmup_runs);
  CHECK(out.disturbed_runs == in.disturbed_runs);
  CHECK(out.noisy == in.noisy);
  CHECK(out.status == "ok");
  CHECK(out.seed == in.seed);
  CHECK(out.sample_index == in.sample_index);
  CHECK(out.commit == in.commit);
  CHECK(out.governor == in.governor);
  CHECK(out.clock_mhz == in.clock_mhz);
  CHECK(out.hostname == in.hostname);
  CHECK(out.utc_time.size() == 20);
}

TEST_CASE("store: what is present is kept, what failed is replaced", "[predictor][store]") {
  const TempFolder folder;
  MeasurementStore store(folder / "m.db");
  Measurement m = example(1);
  m.status = "out of memory";
  CHECK(store.insert(m));
  CHECK(store.insert(example(1)));
  CHECK_FALSE(store.insert(m));
  Measurement again = example(1);
  again.median = 99;
  CHECK_FALSE(store.insert(again));
  REQUIRE(store.count() == 1);
  CHECK(store.rows()[0].median == example(1).median);
  CHECK(store.rows()[0].status == "ok");
  CHECK(store.insert(example(1, 1)));  // a replica is a row of its own
  CHECK(store.insert(std::vector{example(1), example(2), example(3)}) == 2);
  CHECK(store.count() == 4);
}

TEST_CASE("store: filters pick rows by every field they name", "[predictor][store]") {
  const TempFolder folder;
  MeasurementStore store(folder / "m.db");
  for (int64_t i : {4, 2, 9}) store.insert(example(i));
  Measurement other = example(5);
  other.context.device = "another cpu";
  other.context.threads = 4;
  other.seed = 1;
  other.status = "failed";
  store.insert(other);

  CHECK(store.count({.context = example(0).context}) == 3);
  CHECK(store.count({.device = "another cpu"}) == 1);
  CHECK(store.count({.status = "ok"}) == 3);
  CHECK(store.count({.threads = 4}) == 1);
  CHECK(store.count({.seed = 0xfedcba9876543210}) == 3);
  CHECK(store.count({.metric = "energy"}) == 0);
  CHECK(store.count({.space = "darts", .architecture = "architecture 2", .replica = 0}) == 1);
  CHECK(store.sample_indices({.status = "ok"}) == std::set<int64_t>{2, 4, 9});
  CHECK(store.architectures({.threads = 4}) == std::set<std::string>{"architecture 5"});
  const auto rows = store.rows({.status = "ok"});
  CHECK(rows.front().sample_index == 2);
  CHECK(rows.back().sample_index == 9);
  const auto contexts = store.contexts();
  REQUIRE(contexts.size() == 2);
  CHECK(contexts[0].second == 3);
  CHECK(contexts[1].first == other.context);
}

TEST_CASE("store: files that are no store are refused and left alone", "[predictor][store]") {
  const TempFolder folder;
  using Access = MeasurementStore::Access;
  CHECK_THROWS_WITH(MeasurementStore(folder / "none.db", Access::existing), ContainsSubstring("no file"));
  CHECK(!fs::exists(folder / "none.db"));
  CHECK_THROWS_WITH(MeasurementStore(folder / "no/folder/m.db"),
                    ContainsSubstring("check that the folder exists"));
  CHECK_THROWS_WITH(MeasurementStore(folder.path()), ContainsSubstring("is a folder"));

  const std::string text = "space,architecture,ms\n" + std::string(5000, 'x');
  std::ofstream(folder / "table.csv") << text;
  CHECK_THROWS_WITH(MeasurementStore(folder / "table.csv"), ContainsSubstring("not an SQLite database"));
  CHECK(fs::file_size(folder / "table.csv") == text.size());

  run_sql(folder / "other.db", "CREATE TABLE notes (t TEXT); INSERT INTO notes VALUES ('keep')");
  CHECK_THROWS_WITH(MeasurementStore(folder / "other.db"), ContainsSubstring("another program"));
  run_sql(folder / "other.db", "UPDATE notes SET t = 'kept'");

  { MeasurementStore(folder / "newer.db").insert(example(1)); }
  run_sql(folder / "newer.db", "PRAGMA user_version = 99");
  CHECK_THROWS_WITH(MeasurementStore(folder / "newer.db"), ContainsSubstring("newer ladarts"));

  std::ofstream(folder / "empty.db");
  CHECK_THROWS_WITH(MeasurementStore(folder / "empty.db", Access::read_only), ContainsSubstring("is empty"));
  CHECK(MeasurementStore(folder / "empty.db").insert(example(1)));
}

TEST_CASE("store: a file of the first schema is read as it is, and migrated where it is written",
          "[predictor][store]") {
  const TempFolder folder;
  const fs::path path = folder / "old.db";
  { MeasurementStore(path).insert(std::vector{example(1), example(2)}); }
  run_sql(path, "ALTER TABLE measurements DROP COLUMN details; PRAGMA user_version = 1");
  {
    const MeasurementStore old(path, MeasurementStore::Access::read_only);
    REQUIRE(old.rows().size() == 2);
    CHECK(old.rows()[1].median == example(2).median);
    CHECK(old.rows()[1].details == "{}");
  }
  Measurement m = example(3);
  m.details = R"({"counter":"x"})";
  for (const auto access : {MeasurementStore::Access::existing, MeasurementStore::Access::create}) {
    MeasurementStore store(path, access);
    store.insert(m);
    REQUIRE(store.rows().size() == 3);
    CHECK(store.rows()[0].details == "{}");
    CHECK(store.rows()[2].details == m.details);
    CHECK_NOTHROW(store.verify());
  }
}

TEST_CASE("store: damage is found and named", "[predictor][store]") {
  const TempFolder folder;
  const fs::path path = folder / "m.db";
  {
    MeasurementStore store(path);
    std::vector<Measurement> rows;
    for (int i = 0; i < 2000; ++i) rows.push_back(example(i));
    store.insert(rows);
    CHECK_NOTHROW(store.verify());
  }
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(3 * 4096);
    const std::string rubbish(20 * 4096, '\x5a');
    file.write(rubbish.data(), std::streamsize(rubbish.size()));
  }
  MeasurementStore store(path, MeasurementStore::Access::existing);
  CHECK_THROWS_WITH(store.verify(), ContainsSubstring("damaged"));
  CHECK_THROWS_WITH(store.rows(), ContainsSubstring(".recover"));
}

TEST_CASE("store: a lock is waited for, then reported", "[predictor][store]") {
  const TempFolder folder;
  MeasurementStore store(folder / "m.db", MeasurementStore::Access::create, 50);
  store.insert(example(0));
  sqlite3* other = nullptr;
  REQUIRE(sqlite3_open((folder / "m.db").c_str(), &other) == SQLITE_OK);
  REQUIRE(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) == SQLITE_OK);
  CHECK_THROWS_WITH(store.insert(example(1)), ContainsSubstring("another process"));
  CHECK(store.count() == 1);  // reading goes on
  {
    MeasurementStore patient(folder / "m.db", MeasurementStore::Access::create, 10'000);
    std::thread release([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      sqlite3_exec(other, "COMMIT", nullptr, nullptr, nullptr);
    });
    const bool inserted = patient.insert(example(1));
    release.join();
    CHECK(inserted);
  }
  sqlite3_close(other);
  CHECK(store.insert(example(2)));
}

TEST_CASE("store: processes that write at once lose nothing", "[predictor][store]") {
  const TempFolder folder;
  const fs::path path = folder / "m.db";
  std::vector<pid_t> children;
  for (int child = 0; child < 4; ++child)
    children.push_back(in_child([&] {
      MeasurementStore store(path);  // all of them race to create the file
      for (int i = 0; i < 20; ++i) store.insert(example(100 * child + i));
      return 0;
    }));
  for (const pid_t child : children) CHECK(exit_status(child) == 0);
  CHECK(MeasurementStore(path).count() == 80);
}

TEST_CASE("store: a process killed at any moment loses no row that was stored", "[predictor][store]") {
  const TempFolder folder;
  const fs::path path = folder / "m.db";
  Random random(11);
  int64_t next = 0;
  for (int round = 0; round < 50; ++round) {
    int pipe_ends[2];
    REQUIRE(pipe(pipe_ends) == 0);
    const pid_t child = in_child([&] {  // tells after each row that it is stored
      close(pipe_ends[0]);
      MeasurementStore store(path);
      for (int64_t i = next;; ++i) {
        store.insert(example(i));
        if (write(pipe_ends[1], &i, sizeof i) != sizeof i) return 1;
      }
      return 0;
    });
    close(pipe_ends[1]);
    int64_t told = next - 1;
    // Every other child stores a row at least; the others may be killed while they open the file.
    if (round % 2 && read(pipe_ends[0], &told, sizeof told) != sizeof told) FAIL("the child stored nothing");
    std::this_thread::sleep_for(std::chrono::microseconds(random.below(20'000)));
    kill(child, SIGKILL);
    CHECK(exit_status(child) == 128 + SIGKILL);
    for (int64_t i; read(pipe_ends[0], &i, sizeof i) == sizeof i;) told = i;
    close(pipe_ends[0]);

    MeasurementStore store(path);
    REQUIRE_NOTHROW(store.verify());
    const auto present = store.sample_indices();
    REQUIRE(int64_t(present.size()) >= told + 1);  // at most one more: stored, but killed before telling
    REQUIRE(int64_t(present.size()) <= told + 2);
    REQUIRE((present.empty() || *present.rbegin() == int64_t(present.size()) - 1));
    next = int64_t(present.size());
  }
  CHECK(next >= 20);
}

TEST_CASE("store: a full disk is reported and costs nothing stored before", "[predictor][store]") {
  const TempFolder folder;
  const fs::path path = folder / "m.db";
  { MeasurementStore(path).insert(example(0)); }
  {
    const FileSizeLimit limit(200'000);
    MeasurementStore store(path);
    std::vector<Measurement> rows;
    for (int i = 0; i < 5000; ++i) rows.push_back(example(i));
    CHECK_THROWS_WITH(store.insert(rows), ContainsSubstring("free some"));
    CHECK(store.count() == 1);
  }
  MeasurementStore store(path);
  CHECK_NOTHROW(store.verify());
  CHECK(store.count() == 1);
  CHECK(store.insert(example(1)));
}
