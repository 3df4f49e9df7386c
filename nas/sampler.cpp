#include "nas/sampler.h"

#include <algorithm>
#include <bit>

#include "core/error.h"
#include "core/philox.h"

namespace ladarts {

namespace {

constexpr uint64_t kLimit = uint64_t(1) << 62;
constexpr int kRounds = 10;

uint32_t choose_two(uint32_t n) {
  return n * (n - 1) / 2;
}

uint32_t source_choices(const SearchSpace& s, int node) {
  const uint32_t states = uint32_t(s.inputs + node);
  return s.edge_rule == EdgeRule::darts && states > 2 ? choose_two(states) : 1;
}

// The pair of states of this rank, in the order (0,1) (0,2) (1,2) (0,3) ...
std::pair<int, int> pair_of_rank(uint32_t rank) {
  uint32_t high = 1;
  while (rank >= high) rank -= high++;
  return {int(rank), int(high)};
}

}  // namespace

ArchitectureSampler::ArchitectureSampler(SearchSpace space, uint64_t seed)
    : space_(std::move(space)), seed_(seed) {
  const uint32_t operations = uint32_t(space_.choosable_primitives().size());
  for (size_t t = 0; t < space_.cell_types.size(); ++t)
    for (int j = 0; j < space_.nodes; ++j) {
      radices_.push_back(source_choices(space_, j));
      radices_.insert(radices_.end(), size_t(space_.kept_edges(j)), operations);
    }
  while (permuted_digits_ < radices_.size() && permuted_ <= kLimit / radices_[permuted_digits_])
    permuted_ *= radices_[permuted_digits_++];
}

// A Feistel network over the smallest even number of bits that holds `permuted_` numbers; results outside are
// fed in again until one lands inside, which keeps it a permutation.
uint64_t ArchitectureSampler::permute(uint64_t index) const {
  const int half = std::max(1, (int(std::bit_width(permuted_ - 1)) + 1) / 2);
  const uint64_t mask = (uint64_t(1) << half) - 1;
  uint64_t value = index;
  do {
    uint64_t left = value >> half, right = value & mask;
    for (uint64_t round = 0; round < kRounds; ++round) {
      const Philox4 bits = philox(seed_, round, right);
      const uint64_t next = left ^ ((uint64_t(bits[0]) << 32 | bits[1]) & mask);
      left = right;
      right = next;
    }
    value = left << half | right;
  } while (value >= permuted_);
  return value;
}

Genotype ArchitectureSampler::decode(const std::vector<uint32_t>& digits) const {
  const std::vector<int> operations = space_.choosable_primitives();
  Genotype g{space_.name, space_.inputs, {}};
  size_t d = 0;
  for (const std::string& type : space_.cell_types) {
    CellGenotype& cell = g.cells.emplace_back();
    cell.type = type;
    for (int j = 0; j < space_.nodes; ++j) {
      const uint32_t rank = digits[d++];
      const int kept = space_.kept_edges(j);
      std::vector<GenotypeEdge>& edges = cell.nodes.emplace_back();
      for (int k = 0; k < kept; ++k) {
        int source = k;
        if (kept == 2 && space_.edge_rule == EdgeRule::darts) {
          const auto [low, high] = pair_of_rank(rank);
          source = k == 0 ? low : high;
        }
        edges.push_back({space_.primitives[size_t(operations[digits[d++]])], source});
      }
    }
  }
  return g;
}

Genotype ArchitectureSampler::at(uint64_t index) const {
  require(index < permuted_, "[sampler] space '{}' has {} architectures, asked for number {}", space_.name,
          permuted_, index);
  uint64_t number = permute(index);
  Random rest(seed_, (uint64_t(1) << 63) | index);
  std::vector<uint32_t> digits;
  for (size_t d = 0; d < radices_.size(); ++d) {
    const uint32_t radix = radices_[d];
    digits.push_back(d < permuted_digits_ ? uint32_t(number % radix) : rest.below(radix));
    if (d < permuted_digits_) number /= radix;
  }
  return decode(digits);
}

}  // namespace ladarts
