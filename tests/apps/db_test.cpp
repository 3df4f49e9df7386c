// ladarts db: tables in and out, merging, and faults on the way.
#include <sqlite3.h>

#include <csignal>
#include <fstream>

#include "core/atomic_file.h"
#include "core/philox.h"
#include "predictor/measurement_store.h"
#include "tests/support/catch.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/small_job.h"

using namespace ladarts;

namespace {

std::vector<std::string> count_parameters(const std::string& db, const std::vector<std::string>& more) {
  return with(with({"measure", "--metric", "parameters", "--db", db, "--seed", "1", "--json"}, kSmallNetwork),
              more);
}

// Rows that no program has to measure.
std::string filled(const TempFolder& folder, const std::string& name, int rows, int first = 0) {
  std::vector<Measurement> all;
  for (int i = first; i < first + rows; ++i) {
    Measurement m;
    m.context = {.space = "elsewhere", .network = "n", .device = "d", .device_kind = "cpu"};
    m.architecture = fmt::format("architecture {}", i);
    m.median = m.min = m.mean = 1 + i;
    m.sample_index = i;
    all.push_back(m);
  }
  MeasurementStore(folder / name).insert(all);
  return folder / name;
}

int64_t rows_in(const std::string& db) {
  return MeasurementStore(db, MeasurementStore::Access::read_only).count();
}

}  // namespace

TEST_CASE("db: shards merged are the campaign of one machine", "[apps][db]") {
  TempFolder folder;
  const std::string whole = folder / "whole.db", merged = folder / "merged.db";
  REQUIRE(run(count_parameters(whole, {"--count", "10"})).code == 0);
  std::vector<std::string> merge = {"db", "merge", merged};
  for (int i = 1; i <= 3; ++i) {
    const std::string shard = folder / fmt::format("{}.db", i);
    REQUIRE(run(count_parameters(shard, {"--count", "10", "--shard", fmt::format("{}/3", i)})).code == 0);
    merge.push_back(shard);
  }
  REQUIRE(run(merge).code == 0);
  const ProgramResult again = run(with(merge, {"--json"}));
  REQUIRE(again.code == 0);
  CHECK(again.json()["after"] == 10);
  CHECK(MeasurementStore(merged).architectures() == MeasurementStore(whole).architectures());
  CHECK(run(count_parameters(merged, {"--count", "10"})).json()["present"] == 10);
  CHECK(run(count_parameters(merged, {"--count", "10", "--shard", "4/3"})).code == 1);
  CHECK(run({"db", "merge", merged, merged}).code == 1);
}

TEST_CASE("db: what is exported comes back, filters and rules apply", "[apps][db]") {
  TempFolder folder;
  const std::string db = folder / "a.db", csv = folder / "a.csv", back = folder / "b.db";
  REQUIRE(run(count_parameters(db, {"--count", "5"})).code == 0);
  REQUIRE(run(with(with({"measure", "--metric", "macs", "--genotype", "DARTS_V2", "--db", db}, kSmallNetwork),
                   {}))
              .code == 0);
  REQUIRE(run({"db", "export", db, "--out", csv}).code == 0);
  REQUIRE(run({"db", "import", back, csv}).code == 0);
  CHECK(run({"db", "export", back}).out == read_file(csv));
  CHECK(run({"db", "import", back, csv, "--json"}).json()["added"] == 0);
  const Json list = run({"db", "list", back, "--json"}).json();
  CHECK(list["count"] == 6);
  REQUIRE(list["contexts"].size() == 2);
  const Json rows = run({"db", "list", back, "--rows", "--metric", "parameters", "--sort", "cost",
                         "--descending", "--limit", "2", "--json"})
                        .json();
  CHECK(rows["count"] == 5);
  REQUIRE(rows["rows"].size() == 2);
  CHECK(rows["rows"][0]["cost"].get<double>() >= rows["rows"][1]["cost"].get<double>());
  const ProgramResult asked = run({"db", "delete", back, "--metric", "macs"});
  CHECK(asked.code == 1);
  CHECK_THAT(asked.err, ContainsSubstring("1 of 6 rows"));
  CHECK(run({"db", "delete", back}).code == 1);
  CHECK(run({"db", "delete", back, "--metric", "macs", "--yes"}).code == 0);
  CHECK(rows_in(back) == 5);
  CHECK(run({"db", "dedupe", back, "--keep", "first", "--json"}).json()["after"] == 5);
  CHECK(run({"db", "check", back}).code == 0);
  CHECK(run({"db"}).code == 2);
  CHECK(run({"db", "list"}).code == 2);
}

TEST_CASE("db: two campaigns are compared where they measured the same", "[apps][db]") {
  TempFolder folder;
  const std::string a = filled(folder, "a.db", 10), b = filled(folder, "b.db", 10, 4);
  const Json compared = run({"db", "compare", a, b, "--json"}).json();
  CHECK(compared["measured"]["n"] == 6);
  CHECK(compared["measured"]["spearman"].get<double>() == Approx(1));
  CHECK(compared["measured"]["mean_difference"] == 0);
  CHECK_THAT(run({"db", "compare", a, b}).out, ContainsSubstring("within 5%"));
  const ProgramResult none = run({"db", "compare", a, filled(folder, "c.db", 5, 50)});
  CHECK(none.code == 1);
  CHECK_THAT(none.err, ContainsSubstring("0 architectures in common"));
}

TEST_CASE("db: others' tables come in with their units, or are refused by line", "[apps][db]") {
  TempFolder folder;
  const std::string csv = folder / "t.csv", db = folder / "t.db";
  std::ofstream(csv) << "arch,phone_us,board\n"
                        "|none~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|,2500,7000\n"
                        "|none~0|+|none~0|none~1|+|none~0|none~1|nor_conv_1x1~2|,,8000\n";
  const std::vector<std::string> import = {"db",          "import",          db,     csv,     "--space",
                                           "nasbench201", "--architectures", "arch", "--json"};
  const ProgramResult r = run(with(import, {"--unit", "us", "--columns", "phone*", "board=Board 4"}));
  INFO(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["added"] == 3);
  CHECK(r.json()["empty_cells"] == 1);
  {
    const MeasurementStore store(db);
    REQUIRE(store.rows({.device = "phone"}).size() == 1);
    CHECK(store.rows({.device = "phone"})[0].median == Approx(2.5));
    CHECK(store.count({.device = "Board 4"}) == 2);
  }
  CHECK(run({"db", "check", db}).code == 0);
  const ProgramResult unit = run(with(import, {"--unit", "ms", "--columns", "phone_us"}));
  CHECK(unit.code == 1);
  CHECK_THAT(unit.err, ContainsSubstring("ends in us"));
  CHECK_THAT(run(with(import, {"--unit", "us", "--columns", "tablet"})).err,
             ContainsSubstring("phone_us, board"));
  std::ofstream(csv, std::ios::app) << "|nonsense~0|,1,2\n";
  const ProgramResult line = run(with(import, {"--unit", "us", "--columns", "board"}));
  CHECK(line.code == 1);
  CHECK_THAT(line.err, ContainsSubstring("line 4"));
  CHECK(rows_in(db) == 3);
}

TEST_CASE("db: a change killed at any moment is whole or not there", "[apps][db]") {
  TempFolder folder;
  const std::string a = filled(folder, "a.db", 3000), b = filled(folder, "b.db", 6000, 3000);
  const std::string into = folder / "into.db";
  Random random(5);
  for (int round = 0; round < 25; ++round) {
    RunningProgram program(LADARTS_PROGRAM,
                           round % 2 ? std::vector<std::string>{"db", "merge", into, a, b}
                                     : std::vector<std::string>{"db", "dedupe", b, "--keep", "newest"});
    std::this_thread::sleep_for(std::chrono::microseconds(random.below(150'000)));
    program.signal(SIGKILL);
    program.wait();
    CHECK(rows_in(a) == 3000);
    CHECK(rows_in(b) == 6000);
    if (!std::filesystem::exists(into)) continue;
    const MeasurementStore store(into);
    CHECK((store.count() == 0 || store.count() == 9000));
    CHECK_NOTHROW(store.verify());
  }
  REQUIRE(run({"db", "merge", into, a, b}).code == 0);
  CHECK(rows_in(into) == 9000);
}

TEST_CASE("db: full disk, locks and damage are told, and what was there stays", "[apps][db]") {
  TempFolder folder;
  const std::string db = filled(folder, "a.db", 10), large = filled(folder, "b.db", 5000);
  {
    const FileSizeLimit limit(400'000);  // the program inherits it
    const ProgramResult r = run({"db", "merge", db, large});
    CHECK(r.code == 1);
    CHECK_THAT(r.err, ContainsSubstring("free some"));
  }
  CHECK(rows_in(db) == 10);
  CHECK(run({"db", "check", db}).code == 0);

  sqlite3* other = nullptr;
  REQUIRE(sqlite3_open(db.c_str(), &other) == SQLITE_OK);
  REQUIRE(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) == SQLITE_OK);
  CHECK(run({"db", "list", db}).code == 0);
  RunningProgram waiting(LADARTS_PROGRAM, {"db", "merge", db, large});
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK(waiting.running());
  sqlite3_exec(other, "COMMIT", nullptr, nullptr, nullptr);
  sqlite3_close(other);
  CHECK(waiting.wait().code == 0);

  const auto size = std::filesystem::file_size(large);
  {
    std::fstream file(large, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(std::streamoff(size / 2));
    const std::string rubbish(20 * 4096, '\x5a');
    file.write(rubbish.data(), std::streamsize(rubbish.size()));
  }
  const ProgramResult damaged = run({"db", "check", large});
  CHECK(damaged.code == 1);
  CHECK_THAT(damaged.err, ContainsSubstring("damaged"));
  const int64_t before = rows_in(db);
  CHECK(run({"db", "merge", db, large}).code == 1);
  CHECK(rows_in(db) == before);
}
