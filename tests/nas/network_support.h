// Shared by the tests of networks.
#pragma once

#include <string>
#include <vector>

#include "core/parameters.h"
#include "core/philox.h"
#include "nas/network.h"

namespace ladarts::testing {

// Every primitive that a derived network may have, at stride 1 and 2.
inline constexpr const char* kEveryPrimitive =
    "Genotype(normal=[('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_5x5', 0), ('dil_conv_3x3', 1), "
    "('max_pool_3x3', 0), ('dil_conv_5x5', 3), ('avg_pool_3x3', 4), ('none', 1)], normal_concat=range(2, 6), "
    "reduce=[('sep_conv_5x5', 1), ('max_pool_3x3', 0), ('skip_connect', 1), ('dil_conv_5x5', 0), "
    "('avg_pool_3x3', 0), ('dil_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 3)], "
    "reduce_concat=range(2, 6))";

inline NetworkConfig config_of(const std::string& genotype, NetworkShape shape) {
  const Genotype g = parse_genotype(genotype);
  return {.space = SearchSpace::load(g.space), .genotype = g, .shape = shape};
}

inline void fill_uniform(const Storage& storage, float low, float high, uint64_t stream) {
  Random random(42, stream);
  std::vector<float> values(size_t(storage.shape().elements()));
  for (float& v : values) v = random.uniform(low, high);
  storage.upload(std::span<const float>(values));
}

inline Storage random_images(Shape shape, uint64_t stream = 1) {
  Storage s = Storage::create(shape);
  fill_uniform(s, -1, 1, stream);
  return s;
}

// Gives every entry whose name ends so values in [low, high), which the start of a network does not have.
inline void disturb(ParameterSet& set, const std::string& ending, float low, float high) {
  set.values();
  for (size_t i = 0; i < set.entries().size(); ++i)
    if (set.entries()[i].name.ends_with(ending)) fill_uniform(set.entries()[i].value, low, high, 1000 + i);
}

// Values of the entries of `to` that `from` has under the same name.
inline int copy_shared(const ParameterSet& from, ParameterSet& to) {
  to.values();
  int copied = 0;
  for (const ParameterSet::Entry& e : to.entries())
    if (const ParameterSet::Entry* f = from.find(e.name)) {
      e.value.upload(f->value.to_vector());
      ++copied;
    }
  return copied;
}

inline double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(double(a[i]) - double(b[i])));
  return largest;
}

inline double largest_magnitude(const std::vector<float>& a) {
  return largest_difference(a, std::vector<float>(a.size(), 0.f));
}

}  // namespace ladarts::testing
