#include "ops/schedule.h"

#include "core/error.h"
#include "tests/support/catch.h"

using namespace ladarts;

TEST_CASE("schedule: cosine from start towards end", "[ops][schedule]") {
  const CosineSchedule s{.start = 0.025, .end = 0.001, .epochs = 50};
  CHECK(learning_rate(s, 0) == Approx(0.025));
  CHECK(learning_rate(s, 25) == Approx((0.025 + 0.001) / 2));
  CHECK(learning_rate(s, 49) ==
        Approx(0.001 + 0.024 * 0.000986636).epsilon(1e-4));  // (1 + cos(49 pi / 50)) / 2
  for (int e = 1; e < 50; ++e) CHECK(learning_rate(s, e) < learning_rate(s, e - 1));
}

TEST_CASE("schedule: warm-up rises by equal amounts to the start, then the cosine takes over",
          "[ops][schedule]") {
  const CosineSchedule warm{.start = 0.5, .epochs = 50, .warmup_epochs = 5};
  const CosineSchedule plain{.start = 0.5, .epochs = 50};
  for (int e = 0; e < 5; ++e) CHECK(learning_rate(warm, e) == Approx(0.1 * (e + 1)));
  for (int e = 5; e < 50; ++e) CHECK(learning_rate(warm, e) == learning_rate(plain, e));
}

TEST_CASE("schedule: linear ramp", "[ops][schedule]") {
  CHECK(linear_ramp(0.3, 0, 600) == 0);
  CHECK(linear_ramp(0.3, 300, 600) == Approx(0.15));
}

TEST_CASE("schedule: epochs beyond the end are refused", "[ops][schedule]") {
  CHECK_THROWS_WITH(learning_rate({.epochs = 50}, 50), ContainsSubstring("epoch 50 is not in [0, 50)"));
  CHECK_THROWS_WITH(learning_rate({.epochs = 0}, 0), ContainsSubstring("[schedule]"));
  CHECK_THROWS_WITH(linear_ramp(0.2, -1, 10), ContainsSubstring("epoch -1"));
}
