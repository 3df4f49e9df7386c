#include "ops/factorized_reduce.h"

#include "core/error.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

struct ReduceCase {
  Shape x;  // of each part
  int64_t even, odd;
  int channels = 0;
  bool bias = false;
  int parts = 1;
  int pairs = 1;
};

OpCase make(const ReduceCase& s) {
  const int64_t read = s.channels ? s.channels : s.parts * s.x[1];
  const auto parts = size_t(s.parts);
  OpCase c;
  c.name = fmt::format("factorized_reduce {} x {} to {} x ({} + {}), channels {}, bias {}", s.parts,
                       s.x.str(), s.pairs, s.even, s.odd, s.channels, s.bias);
  c.inputs.assign(parts, {.shape = s.x});
  for (int pair = 0; pair < s.pairs; ++pair)
    c.inputs.insert(c.inputs.end(), {{.shape = {s.even, read, 1, 1}}, {.shape = {s.odd, read, 1, 1}}});
  if (s.bias) c.inputs.insert(c.inputs.end(), {{.shape = {s.even}}, {.shape = {s.odd}}});
  c.gradients = !s.bias;
  c.record = [=](Graph&, const std::vector<Tensor>& x) {
    const Tensor even_bias = s.bias ? x[parts + 2] : Tensor(), odd_bias = s.bias ? x[parts + 3] : Tensor();
    if (s.pairs > 1) {
      std::vector<FactorizedReduceWeights> pairs;
      for (size_t i = 1; i < x.size(); i += 2) pairs.push_back({x[i], x[i + 1]});
      return factorized_reduce(x[0], pairs, {s.channels});
    }
    if (parts == 1)
      return std::vector{factorized_reduce(x[0], x[1], x[2], {s.channels}, even_bias, odd_bias)};
    return std::vector{
        factorized_reduce({x.begin(), x.begin() + s.parts}, x[parts], x[parts + 1], even_bias, odd_bias)};
  };
  c.oracle = [=](const std::vector<Array>& x) {
    const Array joined = join_channels({x.begin(), x.begin() + s.parts});
    std::vector<Array> all;
    for (int pair = 0; pair < s.pairs; ++pair) {
      const size_t weights = parts + 2 * size_t(pair);
      Array y({s.x[0], s.even + s.odd, (s.x[2] + 1) / 2, (s.x[3] + 1) / 2});
      for (int64_t n = 0; n < y.shape[0]; ++n)
        for (int64_t o = 0; o < y.shape[1]; ++o)
          for (int64_t h = 0; h < y.shape[2]; ++h)
            for (int64_t w = 0; w < y.shape[3]; ++w) {
              const int64_t parity = o < s.even ? 0 : 1, k = parity ? o - s.even : o;
              double sum = s.bias ? x[parts + 2 + size_t(parity)].v[size_t(k)] : 0;
              for (int64_t i = 0; i < read; ++i)
                sum += x[weights + size_t(parity)].at(k, i, 0, 0) *
                       std::max(0.0, joined.padded(n, i, 2 * h + parity, 2 * w + parity));
              y.at(n, o, h, w) = sum;
            }
      all.push_back(y);
    }
    return all;
  };
  c.rtol = 1e-3;
  c.atol = 1e-3;
  return c;
}

}  // namespace

TEST_CASE("factorized_reduce: sizes of the search spaces match the double oracle",
          "[ops][factorized_reduce]") {
  check(make({{3, 8, 8, 8}, 4, 4}));
  check(make({{2, 16, 32, 32}, 8, 8}));
  check(make({{35, 4, 4, 4}, 2, 2}));
  check(make({{2, 12, 16, 16}, 18, 18}));
  check(make({{2, 3, 64, 40}, 5, 2}));
  check(make({{3, 8, 16, 16}, 1, 1, 2}));
  check(make({{3, 16, 8, 8}, 2, 2, 4}));
}

TEST_CASE("factorized_reduce: odd sides end in zeros", "[ops][factorized_reduce]") {
  check(make({{2, 3, 7, 9}, 2, 3}));
  check(make({{2, 3, 1, 1}, 2, 2}));
  check(make({{2, 2, 1, 6}, 3, 1}));
  check(make({{2, 4, 5, 2}, 3, 3, 3}));
}

TEST_CASE("factorized_reduce: with biases, for inference", "[ops][factorized_reduce]") {
  check(make({{2, 6, 8, 8}, 3, 4, 0, true}));
  check(make({{2, 6, 5, 7}, 3, 4, 2, true}));
}

TEST_CASE("factorized_reduce: several pairs of weights in one op", "[ops][factorized_reduce]") {
  check(make({{2, 16, 32, 32}, 8, 8, 0, false, 1, 4}));
  check(make({{17, 4, 8, 8}, 2, 2, 2, false, 1, 3}));
  check(make({{2, 3, 7, 9}, 2, 3, 0, false, 1, 2}));
}

TEST_CASE("factorized_reduce: of an x in parts, as of their concatenation", "[ops][factorized_reduce]") {
  check(make({.x = {2, 4, 8, 8}, .even = 8, .odd = 8, .parts = 4}));
  check(make({.x = {3, 3, 7, 9}, .even = 2, .odd = 3, .parts = 2}));
  check(make({.x = {2, 6, 8, 8}, .even = 3, .odd = 4, .bias = true, .parts = 3}));
  check(make({.x = {1, 1, 4, 4}, .even = 2, .odd = 2, .parts = 9}));  // more than are read where they lie
}

TEST_CASE("factorized_reduce: refuses what does not fit, naming shapes", "[ops][factorized_reduce]") {
  Graph g;
  const Tensor x = g.leaf(Storage::create({2, 4, 8, 8})), w = g.leaf(Storage::create({2, 4, 1, 1}));
  const Tensor wide = g.leaf(Storage::create({2, 4, 3, 3}));
  CHECK_THROWS_WITH(factorized_reduce(x, w, wide),
                    ContainsSubstring("weight (2, 4, 3, 3) must be (outputs, 4, 1, 1)"));
  const Tensor more = g.leaf(Storage::create({3, 4, 1, 1}));
  CHECK_THROWS_WITH(factorized_reduce(x, std::vector<FactorizedReduceWeights>{{w, w}, {w, more}}),
                    ContainsSubstring("and (3, 4, 1, 1) differ from the first"));
  CHECK_THROWS_WITH(factorized_reduce(x, std::vector<FactorizedReduceWeights>{}),
                    ContainsSubstring("no weights given"));
  CHECK_THROWS_WITH(factorized_reduce(x, w, w, {5}), ContainsSubstring("5 channels asked for"));
  CHECK_THROWS_WITH(factorized_reduce(x, w, w, {}, g.leaf(Storage::create({2}))),
                    ContainsSubstring("both biases"));
}
