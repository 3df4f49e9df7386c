#include "core/parameters.h"

#include <cmath>

#include "core/error.h"
#include "tests/support/catch.h"

using namespace ladarts;

TEST_CASE("parameters: one name is one leaf in every graph", "[core][parameters]") {
  ParameterSet set(1);
  Graph a, b;
  Tensor in_a = set.get(a, "stem.weight", {3, 5}, Init::fan_in(5));
  CHECK(set.get(a, "stem.weight", {3, 5}, Init::fan_in(5)) == in_a);
  Tensor in_b = set.get(b, "stem.weight", {3, 5}, Init::fan_in(5));
  CHECK(a.value(in_a).storage->data() == b.value(in_b).storage->data());
  CHECK(set.entries().size() == 1);
  CHECK(set.count() == 15);
  REQUIRE(set.find("stem.weight") != nullptr);
  CHECK(set.find("stem.weight")->value.shape() == Shape{3, 5});
  CHECK(set.find("stem") == nullptr);
}

TEST_CASE("parameters: another shape, or a new name in a set in use, is refused", "[core][parameters]") {
  ParameterSet set;
  Graph g;
  set.get(g, "w", {3, 5}, Init::constant(0));
  CHECK_THROWS_WITH(set.get(g, "w", {5, 3}, Init::constant(0)),
                    ContainsSubstring("'w' has shape (3, 5), asked for as (5, 3)"));
  set.values();
  CHECK_THROWS_WITH(set.get(g, "late", {2}, Init::constant(0)), ContainsSubstring("'late' is new"));
  CHECK_NOTHROW(set.get(g, "w", {3, 5}, Init::constant(0)));
}

TEST_CASE("parameters: the flat buffers hold every parameter in one layout, padded with zeros",
          "[core][parameters]") {
  ParameterSet set;
  Graph g;
  set.get(g, "a", {3}, Init::constant(2));
  set.get(g, "b", {20}, Init::constant(-1));
  Storage values = set.values(), gradients = set.gradients();
  CHECK(values.shape() == gradients.shape());
  const auto flat = values.to_vector();
  double total = 0;
  for (float v : flat) total += double(v);
  CHECK(total == 3 * 2 - 20);  // padding adds nothing
  for (const auto& e : set.entries()) {
    CHECK(e.value.offset() % 64 == 0);
    CHECK(e.value.offset() == e.gradient.offset());
    CHECK(flat[e.value.offset() / 4] == e.value.to_vector()[0]);
  }
  CHECK(gradients.to_vector() == std::vector<float>(flat.size(), 0.f));
}

TEST_CASE("parameters: a start depends on seed and name, not on the rest of the set", "[core][parameters]") {
  auto start = [](uint64_t seed, bool other_first) {
    ParameterSet set(seed);
    Graph g;
    if (other_first) set.get(g, "other", {7}, Init::normal(1));
    set.get(g, "w", {64}, Init::normal(0.5f));
    set.values();
    return set.find("w")->value.to_vector();
  };
  CHECK(start(1, false) == start(1, true));
  CHECK(start(1, false) != start(2, false));
}

TEST_CASE("parameters: initial values have the asked distribution", "[core][parameters]") {
  constexpr int64_t kCount = 100000;
  ParameterSet set(3);
  Graph g;
  set.get(g, "uniform", {kCount}, Init::uniform(0.25f));
  set.get(g, "normal", {kCount}, Init::normal(0.001f));
  set.get(g, "fan_in", {kCount}, Init::fan_in(16));
  set.values();
  auto moments = [&](const char* name, double& low, double& high) {
    double sum = 0, squares = 0;
    low = 1e30, high = -1e30;
    for (float v : set.find(name)->value.to_vector()) {
      sum += double(v), squares += double(v) * double(v);
      low = std::min(low, double(v)), high = std::max(high, double(v));
    }
    return std::pair{sum / kCount, std::sqrt(squares / kCount)};
  };
  double low, high;
  for (const char* name : {"uniform", "fan_in"}) {  // both U(-0.25, 0.25)
    const auto [mean, deviation] = moments(name, low, high);
    CHECK(std::fabs(mean) < 5 * 0.25 / std::sqrt(3.0 * kCount));
    CHECK(deviation == Approx(0.25 / std::sqrt(3.0)).epsilon(0.01));
    CHECK((low >= -0.25 && low < -0.249 && high <= 0.25 && high > 0.249));
  }
  const auto [mean, deviation] = moments("normal", low, high);
  CHECK(std::fabs(mean) < 5 * 0.001 / std::sqrt(double(kCount)));
  CHECK(deviation == Approx(0.001).epsilon(0.01));
  CHECK((low < -0.0035 && high > 0.0035));  // tails
}
