// Unique random architectures. Architecture i is a function of (space, seed, i) alone: it does not depend on
// how many are drawn or by which shard, and no two indices give the same one.
#pragma once

#include <cstdint>
#include <vector>

#include "nas/genotype.h"

namespace ladarts {

// Genotypes are numbered by mixed-radix digits: the choice of sources and the choice of operations of each
// node. A keyed permutation of these numbers (a Feistel network over Philox, walked until it lands inside)
// maps index to number, so the first n indices are a random sample without repetition. Of a space beyond 2^62
// the leading digits are permuted and the others drawn from (seed, index).
class ArchitectureSampler {
 public:
  ArchitectureSampler(SearchSpace space, uint64_t seed);

  // Indices below this give distinct architectures; the whole space where it is below 2^62.
  uint64_t size() const { return permuted_; }
  Genotype at(uint64_t index) const;  // throws Error for index >= size()

 private:
  uint64_t permute(uint64_t index) const;
  Genotype decode(const std::vector<uint32_t>& digits) const;

  SearchSpace space_;
  uint64_t seed_;
  std::vector<uint32_t> radices_;  // of all digits, in order
  size_t permuted_digits_ = 0;     // how many of them the permutation covers
  uint64_t permuted_ = 1;          // product of their radices
};

}  // namespace ladarts
