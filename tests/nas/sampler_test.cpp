#include "nas/sampler.h"

#include <cmath>
#include <set>

#include "core/error.h"
#include "nas/encoding.h"
#include "tests/support/catch.h"

using namespace ladarts;

TEST_CASE("sampler: a small space is enumerated without repetition", "[nas][sampler]") {
  const SearchSpace space = SearchSpace::load("nasbench201");
  const ArchitectureSampler sampler(space, 7);
  REQUIRE(sampler.size() == 15625);
  std::set<std::string> keys;
  for (uint64_t i = 0; i < sampler.size(); ++i) keys.insert(sampler.at(i).key());
  CHECK(keys.size() == 15625);
  CHECK_THROWS_WITH(sampler.at(15625), ContainsSubstring("has 15625 architectures, asked for number 15625"));
}

TEST_CASE("sampler: DARTS architectures are valid, distinct, and a function of seed and index",
          "[nas][sampler]") {
  const SearchSpace space = SearchSpace::load("darts");
  const ArchitectureSampler a(space, 1), b(space, 1), c(space, 2);
  CHECK(double(a.size()) == space.architectures());
  std::set<std::string> keys;
  int same = 0;
  for (uint64_t i = 0; i < 2000; ++i) {
    const Genotype g = a.at(i);
    validate(g, space);
    keys.insert(g.key());
    same += g == c.at(i);
  }
  CHECK(keys.size() == 2000);
  CHECK(same == 0);
  for (uint64_t i : {1999u, 0u, 512u}) CHECK(b.at(i) == a.at(i));
}

TEST_CASE("sampler: sources and operations are drawn evenly", "[nas][sampler]") {
  const SearchSpace space = SearchSpace::load("darts");
  const ArchitectureSampler sampler(space, 3);
  const int draws = 7000;
  std::vector<double> mean(size_t(encoding_size(space)), 0.0);
  for (int i = 0; i < draws; ++i) {
    const std::vector<float> features = encode(sampler.at(uint64_t(i)), space);
    for (size_t f = 0; f < features.size(); ++f) mean[f] += features[f] / double(draws);
  }
  for (size_t f = 0; f < mean.size(); ++f) {
    const int edge = int(f) / 8 % 14, states = space.inputs + space.edge(edge).node;
    const double p =
        f % 8 == 0 ? 0 : 2.0 / states / 7;  // none is never drawn; two of `states` edges are kept
    INFO(encoding_names(space)[f]);
    CHECK(mean[f] == Approx(p).margin(4.5 * std::sqrt(p * (1 - p) / draws)));
  }
}

TEST_CASE("sampler: a space beyond 2^62 still gives distinct architectures", "[nas][sampler]") {
  SearchSpace space = SearchSpace::load("darts");
  space.name = "large";
  space.nodes = 8;
  const ArchitectureSampler sampler(space, 1);
  std::set<std::string> keys;
  for (uint64_t i = 0; i < 300; ++i) {
    validate(sampler.at(i), space);
    keys.insert(sampler.at(i).key());
  }
  CHECK(keys.size() == 300);
  CHECK(sampler.size() > uint64_t(1) << 50);
}

TEST_CASE("encoding: sizes, names and positions of the paper's encoding", "[nas][encoding]") {
  const SearchSpace darts = SearchSpace::load("darts"), bench = SearchSpace::load("nasbench201");
  CHECK(encoding_size(darts) == 224);
  CHECK(encoding_size(bench) == 30);
  const std::vector<float> features = encode(parse_genotype("PC_DARTS_cifar"), darts);
  const std::vector<std::string> names = encoding_names(darts);
  REQUIRE(names.size() == 224);
  std::set<std::string> on;
  for (size_t f = 0; f < features.size(); ++f)
    if (features[f] == 1.f) on.insert(names[f]);
  CHECK(on == std::set<std::string>{
                  "normal.2<-1.sep_conv_3x3", "normal.2<-0.skip_connect", "normal.3<-0.sep_conv_3x3",
                  "normal.3<-1.dil_conv_3x3", "normal.4<-0.sep_conv_5x5", "normal.4<-1.sep_conv_3x3",
                  "normal.5<-0.avg_pool_3x3", "normal.5<-1.dil_conv_3x3", "reduce.2<-1.sep_conv_5x5",
                  "reduce.2<-0.max_pool_3x3", "reduce.3<-1.sep_conv_5x5", "reduce.3<-2.sep_conv_5x5",
                  "reduce.4<-0.sep_conv_3x3", "reduce.4<-3.sep_conv_3x3", "reduce.5<-1.sep_conv_3x3",
                  "reduce.5<-2.sep_conv_3x3"});
  CHECK_THROWS_AS(encode(parse_genotype("DARTS_V1"), bench), Error);
}

TEST_CASE("encoding: different architectures have different encodings", "[nas][encoding]") {
  const SearchSpace space = SearchSpace::load("nasbench201");
  const ArchitectureSampler sampler(space, 5);
  std::set<std::vector<float>> seen;
  for (uint64_t i = 0; i < sampler.size(); ++i) seen.insert(encode(sampler.at(i), space));
  CHECK(seen.size() == sampler.size());
}
