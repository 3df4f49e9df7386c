#include "predictor/conditions.h"

#include "core/error.h"
#include "tests/support/catch.h"

using namespace ladarts;

TEST_CASE("conditions: what is known goes into a row's details and comes back", "[predictor][conditions]") {
  const Conditions known{
      .cores = "0,2", .clock_mhz = 2400, .temperature_c_after = 61.5, .probe_ms = 0.25, .slowdown = 1.5};
  const std::string details = with_conditions(R"({"table": "others.csv"})", known);
  CHECK_THAT(details, ContainsSubstring("others.csv"));
  CHECK_THAT(details, !ContainsSubstring("clock_mhz_after"));  // unknown
  const Conditions read = conditions_of(details);
  CHECK(read.cores == "0,2");
  CHECK(read.clock_mhz == 2400);
  CHECK(read.clock_mhz_after == 0);
  CHECK(read.temperature_c == 0);
  CHECK(read.temperature_c_after == 61.5);
  CHECK(read.probe_ms == 0.25);
  CHECK(read.slowdown == 1.5);
  CHECK(conditions_of("{}").probe_ms == 0);
  CHECK(conditions_of(R"({"slowdown": "fast"})").slowdown == 0);
  for (const char* broken : {"", "[1]", "{", "nonsense"}) {
    CHECK_THROWS_WITH(conditions_of(broken), ContainsSubstring("no JSON object"));
    CHECK_THROWS_AS(with_conditions(broken, known), Error);
  }
}
