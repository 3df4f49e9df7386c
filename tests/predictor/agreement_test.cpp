#include "predictor/agreement.h"

#include <fmt/format.h>

#include "core/error.h"
#include "predictor/conditions.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

Measurement row(const std::string& architecture, double cost, double slowdown = 0) {
  Measurement m;
  m.architecture = architecture;
  m.median = cost;
  Conditions conditions;
  conditions.slowdown = slowdown;
  m.details = with_conditions(m.details, conditions);
  return m;
}

}  // namespace

TEST_CASE("agreement: of known rows", "[predictor][agreement]") {
  std::vector<Measurement> a, b;
  for (int i = 0; i < 10; ++i) {
    a.push_back(row(fmt::format("{}", i), 10.0 + i));
    b.push_back(row(fmt::format("{}", 9 - i), 10.0 + (9 - i)));
  }
  b.push_back(row("only here", 3));
  const Agreement same = agreement(a, b);
  CHECK(same.n == 10);
  CHECK(same.spearman == Approx(1));
  CHECK(same.bias == 0);
  CHECK(same.within_5_percent == Approx(1));
  for (Measurement& m : a) m.median *= 1.2;
  a[3].median /= 2;
  const Agreement other = agreement(a, b);
  CHECK(other.bias == Approx(0.2));
  CHECK(other.median_difference == Approx(0.2));
  CHECK(other.mean_difference == Approx((9 * 0.2 + 0.4) / 10));
  CHECK(other.p95_difference == Approx(0.2 + 0.55 * 0.2));  // between the 9th and 10th of 0.2 ... 0.2, 0.4
  CHECK(other.within_5_percent == 0);
  CHECK(other.spearman < 1);
}

TEST_CASE("agreement: latencies have other forms, other costs have not", "[predictor][agreement]") {
  Measurement m = row("x", 12, 1.5);
  CHECK(cost_in_form(m, CostForm::corrected) == Approx(8));
  CHECK(cost_in_form(m, CostForm::every_run) == 12);  // unknown, as in older rows
  Conditions c = conditions_of(m.details);
  c.every_run_ms = 15;
  m.details = with_conditions(m.details, c);
  CHECK(cost_in_form(m, CostForm::every_run) == 15);
  CHECK(cost_in_form(m, CostForm::measured) == 12);
  CHECK(cost_in_form(m, CostForm::corrected) == Approx(8));
  m.context.metric = "peak_memory";
  CHECK(cost_in_form(m, CostForm::corrected) == 12);
  CHECK(cost_in_form(row("x", 12), CostForm::corrected) == 12);
  const std::vector<Measurement> quiet = {row("1", 10, 1), row("2", 11, 1), row("3", 12, 1)};
  const std::vector<Measurement> slowed = {row("1", 15, 1.5), row("2", 22, 2), row("3", 12, 1)};
  CHECK(agreement(slowed, quiet).mean_difference == Approx(0.5));
  CHECK(agreement(slowed, quiet, CostForm::corrected).mean_difference == Approx(0).margin(1e-12));
}

TEST_CASE("agreement: a quiet row of the lowest replica stands for its architecture",
          "[predictor][agreement]") {
  Measurement noisy = row("1", 30), second = row("1", 11), third = row("1", 12), failed = row("1", 1);
  noisy.noisy = true;
  second.replica = 1;
  third.replica = 2;
  failed.status = "out of memory";
  const Measurement other = row("2", 5);
  const auto kept = representative_rows(std::vector<Measurement>{failed, noisy, other, third, second});
  REQUIRE(kept.size() == 2);
  CHECK(kept[0].median == 11);
  CHECK(kept[1].median == 5);
  const auto only = representative_rows(std::vector<Measurement>{failed, noisy});
  REQUIRE(only.size() == 1);
  CHECK(only[0].median == 30);
}

TEST_CASE("agreement: too few in common and costs of nothing are refused", "[predictor][agreement]") {
  std::vector<Measurement> a = {row("1", 1), row("2", 2), row("3", 3)}, b = a;
  b[2].context.batch = 7;
  CHECK_THROWS_WITH(agreement(a, b), ContainsSubstring("2 architectures in common"));
  b = a;
  b[1].median = 0;
  CHECK_THROWS_WITH(agreement(a, b), ContainsSubstring("must be positive"));
}
