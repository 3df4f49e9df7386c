#include "predictor/learning_curve.h"

#include <algorithm>
#include <regex>

#include "core/error.h"
#include "core/svg.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

std::vector<std::pair<double, double>> corners(const std::string& picture, const std::string& element) {
  std::smatch found;
  const std::regex list("<" + element + " points=\"([^\"]*)\"");
  REQUIRE(std::regex_search(picture, found, list));
  std::vector<std::pair<double, double>> all;
  const std::string text = found[1];
  const std::regex pair("([0-9.]+),([0-9.]+)");
  for (std::sregex_iterator i(text.begin(), text.end(), pair), end; i != end; ++i)
    all.emplace_back(std::stod((*i)[1]), std::stod((*i)[2]));
  return all;
}

}  // namespace

TEST_CASE("learning curve: the line falls as the errors do, inside its band", "[predictor][learning_curve]") {
  const std::string picture = learning_curve_svg(
      {{"a < b", {{10, 0.2, 0.05}, {100, 0.1, 0.02}, {1000, 0.05, 0}}}, {"c", {{10, 0.4, 0}}}}, "R&D");
  const auto line = corners(picture, "polyline"), band = corners(picture, "polygon");
  REQUIRE(line.size() == 3);
  REQUIRE(band.size() == 6);
  // Halving the error, as ten times the rows, is the same distance anywhere; y grows downwards.
  CHECK(line[1].second - line[0].second == Approx(line[2].second - line[1].second).margin(0.15));
  CHECK(line[1].first - line[0].first == Approx(line[2].first - line[1].first).margin(0.15));
  CHECK(line[1].second > line[0].second);
  for (size_t i = 0; i < 2; ++i) {
    CHECK(band[i].second < line[i].second);      // above
    CHECK(band[5 - i].second > line[i].second);  // below
    CHECK(band[5 - i].first == line[i].first);
  }
  CHECK(band[2].second == line[2].second);  // one trial, no band
  CHECK(picture.find("a &lt; b") != std::string::npos);
  CHECK(picture.find("R&amp;D") != std::string::npos);
  CHECK(picture.find("a < b") == std::string::npos);
  CHECK(picture.find("10%") != std::string::npos);
}

TEST_CASE("learning curve: names that would lie on each other are moved apart",
          "[predictor][learning_curve]") {
  const std::string picture = learning_curve_svg(
      {{"first", {{10, 0.1, 0}}}, {"second", {{10, 0.1, 0}}}, {"third", {{10, 0.3, 0}}}}, "t");
  const std::regex name("y=\"([0-9.]+)\" fill=[^>]*>(first|second|third)<");
  std::vector<double> places;
  for (std::sregex_iterator i(picture.begin(), picture.end(), name), end; i != end; ++i)
    places.push_back(std::stod((*i)[1]));
  REQUIRE(places.size() == 3);
  std::sort(places.begin(), places.end());
  CHECK(places[1] - places[0] >= 12);
  CHECK(places[2] - places[1] >= 12);
}

TEST_CASE("learning curve: refuses what has no place on its axes", "[predictor][learning_curve]") {
  CHECK_THROWS_WITH(learning_curve_svg({}, "t"), ContainsSubstring("no point"));
  CHECK_THROWS_WITH(learning_curve_svg({{"a", {{10, 0.0, 0}}}}, "t"), ContainsSubstring("a: an error of 0"));
}
