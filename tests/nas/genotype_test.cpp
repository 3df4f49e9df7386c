#include "nas/genotype.h"

#include <cstdio>
#include <fstream>

#include "core/error.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

const SearchSpace& darts() {
  static const SearchSpace s = SearchSpace::load("darts");
  return s;
}
const SearchSpace& bench() {
  static const SearchSpace s = SearchSpace::load("nasbench201");
  return s;
}
constexpr const char* kArch =
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|skip_connect~1|none~2|";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("genotype: presets survive every form of text", "[nas][genotype]") {
  for (const std::string& name : genotype_preset_names()) {
    const Genotype g = parse_genotype(name);
    CHECK(g.space == "darts");
    CHECK(parse_genotype(to_text(g, darts())) == g);
    CHECK(parse_genotype(to_json(g)) == g);
    CHECK(parse_genotype(to_text(g, darts()), darts()) == g);
  }
}

TEST_CASE("genotype: the field's form is printed as the field prints it", "[nas][genotype]") {
  CHECK(
      to_text(parse_genotype("DARTS_V2"), darts()) ==
      "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
      "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], "
      "normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
      "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', "
      "1)], "
      "reduce_concat=range(2, 6))");
}

TEST_CASE("genotype: spaces, double quotes and listed concat are read too", "[nas][genotype]") {
  std::string text = to_text(parse_genotype("DARTS_V1"), darts());
  for (char& c : text)
    if (c == '\'') c = '"';
  text = replaced(text, "normal_concat=range(2, 6)", "\n normal_concat = [2, 3,4 , 5]");
  CHECK(parse_genotype("  " + text + " \n") == parse_genotype("DARTS_V1"));
}

TEST_CASE("genotype: NAS-Bench-201 strings round trip", "[nas][genotype]") {
  const Genotype g = parse_genotype(kArch);
  CHECK(g.space == "nasbench201");
  CHECK(g.cells[0].nodes[1][1] == GenotypeEdge{"skip_connect", 1});
  CHECK(to_text(g, bench()) == kArch);
  CHECK(parse_genotype(to_json(g)) == g);
}

TEST_CASE("genotype: the key ignores the order of a node's edges and nothing else", "[nas][genotype]") {
  const Genotype g = parse_genotype("DARTS_V1");
  Genotype swapped = g, moved = g;
  std::swap(swapped.cells[0].nodes[0][0], swapped.cells[0].nodes[0][1]);
  std::swap(moved.cells[0].nodes[0], moved.cells[0].nodes[1]);
  CHECK(swapped.key() == g.key());
  CHECK(moved.key() != g.key());
  Genotype other = g;
  other.cells[1].nodes[3][1].primitive = "max_pool_3x3";
  CHECK(other.key() != g.key());
}

TEST_CASE("genotype: whether anything reaches the output", "[nas][genotype]") {
  const SearchSpace space = SearchSpace::load("nasbench201");
  auto reaches = [&](const std::string& text) { return reaches_output(parse_genotype(text, space), space); };
  CHECK(reaches("|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"));
  CHECK(reaches("|none~0|+|avg_pool_3x3~0|none~1|+|none~0|none~1|nor_conv_1x1~2|"));
  CHECK_FALSE(reaches("|none~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|"));
  CHECK_FALSE(reaches("|none~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_3x3~2|"));
  CHECK_FALSE(reaches("|skip_connect~0|+|skip_connect~0|skip_connect~1|+|none~0|none~1|none~2|"));
  const SearchSpace darts = SearchSpace::load("darts");
  CHECK(reaches_output(parse_genotype("DARTS_V2", darts), darts));
}

TEST_CASE("genotype: one of another space is refused", "[nas][genotype]") {
  CHECK_THROWS_WITH(parse_genotype(kArch, darts()), ContainsSubstring("not of space 'darts'"));
  CHECK_THROWS_WITH(parse_genotype("DARTS_V1", bench()), ContainsSubstring("not of space 'nasbench201'"));
  CHECK_THROWS_WITH(parse_genotype(to_json(parse_genotype("DARTS_V1")), bench()),
                    ContainsSubstring("is of space 'darts', not of space 'nasbench201'"));
  CHECK_THROWS_WITH(validate(parse_genotype(kArch), darts()),
                    ContainsSubstring("is of space 'nasbench201', not of space 'darts'"));
  CHECK_THROWS_WITH(parse_genotype(R"({"space": "mine", "cells": {}})"),
                    ContainsSubstring("'mine', which is no preset"));
}

TEST_CASE("genotype: malformed text is refused with the place and the remedy", "[nas][genotype]") {
  const std::string good = to_text(parse_genotype("PC_DARTS_cifar"), darts());
  const auto refused = [&](const std::string& from, const std::string& to, const std::string& message) {
    INFO(from << " -> " << to);
    CHECK_THROWS_WITH(parse_genotype(replaced(good, from, to)), ContainsSubstring(message));
  };
  refused("('sep_conv_3x3', 1), ", "", "normal cell has 7 edges, space 'darts' wants 8");
  refused("('sep_conv_3x3', 1)", "('sep_conv_3x3', 1), ('none', 0)", "normal cell has 9 edges");
  refused("('sep_conv_3x3', 1)", "('sep_conv_3x3', 2)", "node 0: reads state 2, but only states 0 to 1");
  refused("('sep_conv_3x3', 1)", "('sep_conv_3x3', 0)", "reads state 0 twice");
  refused("('sep_conv_3x3', 1)", "('sep_conv_4x4', 1)",
          "operation 'sep_conv_4x4' is not one of space 'darts'");
  refused("('sep_conv_3x3', 1)", "('sep_conv_3x3', x)", "expected a state's number");
  refused("('sep_conv_3x3', 1)", "('sep_conv_3x3' 1)", "expected ','");
  refused("normal=", "usual=", "'normal=[...]' is missing");
  refused("reduce_concat", "third=[], reduce_concat", "'third' is no cell type of space 'darts'");
  refused("range(2, 6)", "range(3, 6)", "'normal_concat' must be every node, range(2, 6)");
  CHECK_THROWS_WITH(parse_genotype(good + "x"), ContainsSubstring("text after the closing ')'"));
  CHECK_THROWS_WITH(parse_genotype(good.substr(0, 60)), ContainsSubstring("character 61"));
  CHECK_THROWS_WITH(parse_genotype("|none~0|+|none~0"), ContainsSubstring("must look like |op~0|op~1|"));
  CHECK_THROWS_WITH(parse_genotype("|none0|"), ContainsSubstring("must look like op~0"));
  CHECK_THROWS_WITH(parse_genotype("{\"space\": \"darts\""), ContainsSubstring("not valid JSON"));
  CHECK_THROWS_WITH(parse_genotype(R"({"space": "darts", "cells": {"normal": [[["none"]]]}})"),
                    ContainsSubstring("must be [operation, source]"));
  CHECK_THROWS_WITH(parse_genotype("DARTS_V3"), ContainsSubstring("neither a preset (DARTS_V1, DARTS_V2"));
  CHECK_THROWS_AS(parse_genotype(""), Error);
}

TEST_CASE("genotype: a file may hold any form", "[nas][genotype]") {
  const std::string path = "genotype_test.txt";
  const Genotype g = parse_genotype("PC_DARTS_image");
  for (const std::string& text : {to_text(g, darts()) + "\n", to_json(g)}) {
    std::ofstream(path) << text;
    CHECK(parse_genotype(path) == g);
  }
  std::ofstream(path) << "hello";
  CHECK_THROWS_WITH(parse_genotype(path),
                    ContainsSubstring("file 'genotype_test.txt' does not hold a genotype"));
  std::remove(path.c_str());
}
