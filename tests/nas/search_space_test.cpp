#include "nas/search_space.h"

#include <cstdio>
#include <fstream>

#include "core/error.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("search space: sizes of the presets are the published ones", "[nas][space]") {
  const SearchSpace darts = SearchSpace::load("darts");
  CHECK(darts.edges() == 14);
  CHECK(darts.cells_of_each_type() == 180.0 * 49 * 49 * 49 * 49);
  CHECK(darts.architectures() == Approx(1.0768e18).epsilon(1e-3));
  const SearchSpace bench = SearchSpace::load("nasbench201");
  CHECK(bench.edges() == 6);
  CHECK(bench.architectures() == 15625);
}

TEST_CASE("search space: edges are numbered node by node", "[nas][space]") {
  for (const std::string& name : SearchSpace::preset_names()) {
    const SearchSpace s = SearchSpace::load(name);
    int expected = 0;
    for (int node = 0; node < s.nodes; ++node)
      for (int source = 0; source < s.inputs + node; ++source, ++expected) {
        CHECK(s.edge_index(node, source) == expected);
        CHECK(s.edge(expected).node == node);
        CHECK(s.edge(expected).source == source);
      }
    CHECK(expected == s.edges());
  }
  CHECK(SearchSpace::load("darts").edges_per_node() == std::vector<int>{2, 3, 4, 5});
}

TEST_CASE("search space: JSON round trip gives the same space", "[nas][space]") {
  for (const std::string& name : SearchSpace::preset_names()) {
    const SearchSpace s = SearchSpace::load(name);
    CHECK(SearchSpace::from_json(s.to_json(), "text") == s);
  }
}

TEST_CASE("search space: what a user may get wrong is refused with its place", "[nas][space]") {
  const std::string good = SearchSpace::load("darts").to_json();
  const auto refused = [&](const std::string& from, const std::string& to, const std::string& message) {
    INFO(from << " -> " << to);
    CHECK_THROWS_WITH(SearchSpace::from_json(replaced(good, from, to), "my.json"),
                      ContainsSubstring("my.json") && ContainsSubstring(message));
  };
  refused("\"nodes\": 4", "\"nodes\": 0", "'nodes' must be a whole number from 1 to 16, is 0");
  refused("\"nodes\": 4", "\"nodes\": 2.5", "'nodes' must be a whole number");
  refused("\"nodes\": 4", "\"nodes\": 4, \"colour\": 1", "field 'colour' is not known");
  refused("\"nodes\": 4,", "", "field 'nodes' is missing");
  refused("\"nodes\": 4,", "\"nodes\": 4", "not valid JSON");
  refused("\"none\"", "\"conv_9x9\"",
          "'primitives' holds 'conv_9x9', which is not known; known are none, max_pool_3x3");
  refused("\"none\"", "\"max_pool_3x3\"", "lists \"max_pool_3x3\" twice");
  refused("\"inputs\": 2", "\"inputs\": 1", "needs 'inputs' to be 2");
  refused("\"edges\": \"darts\"", "\"edges\": \"some\"", "'edges' is \"some\"");
  refused("\"kind\": \"darts\"", "\"kind\": \"tree\"", "'kind' is \"tree\"");
  refused("\"normal\"", "\"nor mal\"", "may only have letters");
  refused("\"normal\"", "\"first\", \"normal\"", "lists 3 types");
  refused("\"layers\": 20", "\"layers\": 20, \"stages\": 2", "skeleton: field 'stages' is not known");
  CHECK_THROWS_WITH(SearchSpace::from_json("[]", "x"), ContainsSubstring("must be an object"));
  CHECK_THROWS_WITH(SearchSpace::load("no/such.json"),
                    ContainsSubstring("'no/such.json' is neither a preset (darts, nasbench201) nor a file"));
}

TEST_CASE("search space: a user's own comes from a file", "[nas][space]") {
  SearchSpace s = SearchSpace::load("darts");
  s.nodes = 3;
  s.primitives = {"none", "skip_connect", "sep_conv_7x7"};
  const std::string path = "search_space_test.json";
  const auto write = [&] { std::ofstream(path) << s.to_json(); };
  write();
  CHECK_THROWS_WITH(SearchSpace::load(path), ContainsSubstring("choose another name"));
  s.name = "mine";
  write();
  CHECK(SearchSpace::load(path) == s);
  CHECK(s.cells_of_each_type() == 1 * 3 * 6 * 64.0);  // sources x two operations for each of six kept edges
  std::remove(path.c_str());
}
