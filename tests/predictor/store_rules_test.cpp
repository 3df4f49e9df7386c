#include "predictor/store_rules.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/philox.h"
#include "predictor/store_csv.h"
#include "predictor/units.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;

namespace {

Measurement row(const std::string& architecture, double median, const std::string& day,
                double spread = 0.01) {
  Measurement m;
  m.context = {.space = "darts", .network = "n", .device = "d", .device_kind = "cpu"};
  m.architecture = architecture;
  m.median = m.min = m.mean = median;
  m.relative_spread = spread;
  m.repeats = 5;
  m.utc_time = "2026-01-" + day + "T00:00:00Z";
  return m;
}

std::vector<double> medians(const std::vector<Measurement>& rows) {
  std::vector<double> result;
  for (const Measurement& m : rows) result.push_back(m.median);
  return result;
}

}  // namespace

TEST_CASE("store rules: each picks its rows", "[predictor][store]") {
  std::vector<Measurement> rows = {row("b", 5, "09"), row("a", 2, "03", 0.03), row("a", 1, "02", 0.02),
                                   row("a", 3, "04", 0.01), row("a", 2, "03", 0.03)};
  rows[3].noisy = true;
  rows[4].replica = 7;  // the second row once more
  CHECK(medians(apply_rule(rows, Keep::first)) == std::vector<double>{5, 1});
  CHECK(medians(apply_rule(rows, Keep::newest)) == std::vector<double>{5, 3});
  CHECK(medians(apply_rule(rows, Keep::least_spread)) == std::vector<double>{5, 1});  // 3 is noisy
  const auto all = apply_rule(rows, Keep::all_as_replicas);
  CHECK(medians(all) == std::vector<double>{5, 1, 2, 3});
  CHECK(all[0].replica == 0);
  CHECK(all[3].replica == 2);
  CHECK(medians(apply_rule(all, Keep::all_as_replicas)) == medians(all));
  for (const Measurement& m : apply_rule(rows, Keep::newest)) CHECK(m.replica == 0);
  CHECK(parse_keep("least-spread") == Keep::least_spread);
  CHECK_THROWS_WITH(parse_keep("best"), ContainsSubstring("newest"));
}

TEST_CASE("store rules: other contexts are other rows, failures give way", "[predictor][store]") {
  std::vector<Measurement> rows = {row("a", 1, "02"), row("a", 2, "03"), row("a", 0, "04"), row("f", 0, "01"),
                                   row("f", 0, "02")};
  rows[1].context.batch = 2;
  rows[2].status = rows[3].status = rows[4].status = "out of memory";
  for (const Keep keep : {Keep::first, Keep::newest, Keep::least_spread, Keep::all_as_replicas}) {
    const auto kept = apply_rule(rows, keep);
    REQUIRE(kept.size() == 3);
    CHECK(kept[0].median == 1);
    CHECK(kept[1].context.batch == 2);
    CHECK(kept[2].utc_time == rows[4].utc_time);
  }
}

TEST_CASE("store csv: rows come back without loss", "[predictor][store]") {
  const TempFolder folder;
  std::vector<Measurement> rows = {row("a, \"b\"\nc", 1.0 / 3, "02"), row("", 2e-300, "03")};
  rows[1].architecture = "x";
  rows[1].seed = 0xfedcba9876543210;
  rows[1].sample_index = -1;
  rows[1].noisy = true;
  rows[1].status = "ok";
  rows[1].commit = "abc";
  rows[1].clock_mhz = 2600.125;
  rows[1].details = R"({"counter":"RAPL, all"})";
  for (const bool mixed : {false, true}) {
    if (mixed) rows[1].context.metric = "energy", rows[1].context.unit = "mJ";
    write_file_atomically(folder / "t.csv", to_csv(rows));
    const CsvTable table = read_csv(folder / "t.csv");
    CHECK(is_store_csv(table));
    CHECK((table.column("median_ms") >= 0) == !mixed);
    const auto back = from_csv(table);
    REQUIRE(back.size() == 2);
    CHECK(to_csv(back) == to_csv(rows));
    CHECK(back[0].architecture == rows[0].architecture);
    CHECK(back[0].median == rows[0].median);
    CHECK(back[1].seed == rows[1].seed);
    CHECK(back[1].context == rows[1].context);
    CHECK(back[1].details == rows[1].details);
  }
}

TEST_CASE("store csv: what is wrong is named with its line", "[predictor][store]") {
  const TempFolder folder;
  auto read = [&](const std::string& text) {
    std::ofstream(folder / "t.csv") << text;
    return read_csv(folder / "t.csv");
  };
  CHECK_THROWS_WITH(read(""), ContainsSubstring("is empty"));
  CHECK_THROWS_WITH(read("a,a\n"), ContainsSubstring("'a' twice"));
  CHECK_THROWS_WITH(read("a,b\n1,2\n\n3\n"), ContainsSubstring("line 4: 1 cells"));
  CHECK_THROWS_WITH(read("a,b\n1,\"2\n"), ContainsSubstring("line 2: a quote"));
  const CsvTable table = read(
      "\xef\xbb\xbf"
      "a,b\r\n\"1,\n\"\"x\"\"\",\r\n");
  CHECK(table.header == std::vector<std::string>{"a", "b"});
  CHECK(table.rows == std::vector<std::vector<std::string>>{{"1,\n\"x\"", ""}});
  std::string csv = to_csv({row("a", 1.5, "02")});
  csv.replace(csv.find("1.5"), 3, "1,5");
  CHECK_THROWS_AS(read(csv), Error);
  csv.replace(csv.find("1,5"), 3, "1_5");
  CHECK_THROWS_WITH(from_csv(read(csv)), ContainsSubstring("median_ms: '1_5'"));
}

TEST_CASE("units: every metric converts to its own", "[predictor][store]") {
  for (const MetricInfo& m : known_metrics()) CHECK(unit_factor(m.name, m.unit) == 1);
  CHECK(unit_factor("latency", "us") * 2500 == Approx(2.5));
  CHECK(unit_factor("peak_memory", "B") * (1 << 20) == 1);
  CHECK(unit_factor("peak_memory", "MB") == Approx(0.95367431640625));
  CHECK(unit_factor("macs", "one") * 3e6 == Approx(3));
  CHECK_THROWS_WITH(unit_factor("latency", "MiB"), ContainsSubstring("ns, us, ms, s"));
}

namespace {

// Measurements of a few architectures in three contexts, many of them several times, some failed, some twins.
std::vector<Measurement> campaign(uint64_t seed, int count) {
  Random random(seed, 31);
  std::vector<Measurement> rows;
  std::map<std::pair<int, std::string>, int> replicas;
  for (int i = 0; i < count; ++i) {
    const auto batch = int(1 + random.below(3));
    Measurement m = row(fmt::format("{}", random.below(uint32_t(count / 2))), 1 + double(random.below(5)),
                        fmt::format("{:02}", 1 + random.below(9)), 0.01 * double(1 + random.below(4)));
    m.context.batch = batch;
    m.context.device = random.below(2) ? "d" : "\xc3\xa9, not ASCII";
    m.replica = replicas[{batch, m.architecture + m.context.device}]++;
    m.sample_index = random.below(4) ? i : -1;
    if (random.below(10) == 0) m.status = "out of memory";
    rows.push_back(m);
  }
  return rows;
}

auto contents(const Measurement& m) {
  return std::make_tuple(m.context.str(), m.architecture, m.replica, m.median, m.relative_spread, m.utc_time,
                         m.status, m.sample_index, m.details);
}

}  // namespace

TEST_CASE("merge: one architecture at a time is as all rows at once", "[predictor][store]") {
  const TempFolder folder;
  for (const std::string& name : keep_names()) {
    std::vector<MeasurementStore> others;
    MeasurementStore into(folder / (name + ".db"));
    into.insert(campaign(1, 60));
    for (const uint64_t seed : {2, 3}) {
      others.emplace_back(folder / fmt::format("{}{}.db", name, seed));
      others.back().insert(campaign(seed, 80));
    }
    others.emplace_back(folder / (name + "none.db"));
    std::vector<Measurement> all = into.rows();
    for (const MeasurementStore& other : others)
      for (const Measurement& m : other.rows()) all.push_back(m);
    const std::vector<Measurement> expected = apply_rule(all, parse_keep(name));
    const auto rule = [&](std::vector<Measurement> group) {
      for (const Measurement& m : group) {
        CHECK(m.architecture == group[0].architecture);
        CHECK(m.context == group[0].context);
      }
      return apply_rule(std::move(group), parse_keep(name));
    };
    const MeasurementStore::Merged merged = into.merge(others, rule);
    CHECK(merged.before + merged.read == int64_t(all.size()));
    CHECK(merged.after == int64_t(expected.size()));
    std::vector<Measurement> got = into.rows();
    std::sort(got.begin(), got.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
    REQUIRE(got.size() == expected.size());
    for (size_t i = 0; i < got.size(); ++i) CHECK(contents(got[i]) == contents(expected[i]));
    CHECK_NOTHROW(into.verify());
    CHECK(into.merge(others, rule).after == merged.after);
  }
}

TEST_CASE("merge: a rule that throws or leaves twins changes nothing", "[predictor][store]") {
  const TempFolder folder;
  MeasurementStore into(folder / "into.db");
  into.insert(campaign(1, 30));
  std::vector<MeasurementStore> others;
  others.emplace_back(folder / "other.db");
  others.back().insert(campaign(2, 30));
  const auto before = into.rows();
  CHECK_THROWS_WITH(into.merge(others,
                               [](std::vector<Measurement> group) {
                                 group.push_back(group[0]);
                                 return group;
                               }),
                    ContainsSubstring("two rows of replica"));
  int calls = 0;
  CHECK_THROWS_WITH(into.merge(others,
                               [&](std::vector<Measurement> group) {
                                 require(++calls < 9, "enough");
                                 return apply_rule(std::move(group), Keep::first);
                               }),
                    ContainsSubstring("enough"));
  const auto after = into.rows();
  REQUIRE(after.size() == before.size());
  for (size_t i = 0; i < after.size(); ++i) CHECK(contents(after[i]) == contents(before[i]));
  CHECK(into.insert(row("new", 1, "01")));  // and goes on to be used
}

TEST_CASE("merge: stores of 12,000 rows each", "[predictor][store]") {
  const TempFolder folder;
  std::vector<MeasurementStore> others;
  for (int k = 0; k < 2; ++k) {
    std::vector<Measurement> rows;
    for (int i = 0; i < 12'000; ++i) {
      rows.push_back(row(fmt::format("architecture {}", i + 6'000 * k), 1 + i, "02"));
      rows.back().sample_index = i;
    }
    others.emplace_back(folder / fmt::format("{}.db", k)).insert(rows);
  }
  MeasurementStore into(folder / "into.db");
  size_t most = 0;
  int64_t told = 0;
  into.set_progress([&](int64_t rows) { told += rows; });
  const auto merged = into.merge(others, [&](std::vector<Measurement> group) {
    most = std::max(most, group.size());
    return apply_rule(std::move(group), Keep::newest);
  });
  CHECK(most == 2);  // what memory holds at one time
  CHECK(merged.read == 24'000);
  CHECK(merged.after == 18'000);
  CHECK(told == 42'000);
  CHECK(into.count() == 18'000);
}
