#include "predictor/store_rules.h"

#include <cmath>
#include <fstream>

#include "core/atomic_file.h"
#include "core/error.h"
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
