// From architecture parameters to a genotype, by the published rule: an edge's strength is its best weight
// other than none's, softmax(alpha) times the normalised beta; each node keeps its two strongest edges, each
// with its best operation. Where a space keeps every edge, each takes its best operation, none included.
#pragma once

#include "core/philox.h"
#include "nas/genotype.h"
#include "nas/supernet.h"

namespace ladarts {

// Host values: [cell type] -> (edges, primitives) and (edges), the latter empty without edge normalisation.
struct ArchitectureValues {
  std::vector<std::vector<float>> alpha, beta;
};

Genotype derive(const SearchSpace& space, const ArchitectureValues& values);
Genotype derive(const ArchitectureParameters& architecture);
ArchitectureValues values_of(const ArchitectureParameters& architecture);

// The same choices drawn instead of maximised, from the distribution that nas/relaxation.h defines.
Genotype draw_genotype(const SearchSpace& space, const ArchitectureValues& values, Random& random,
                       double temperature = 1);

// Softmax weights as used by derive(), times the normalised beta where there is one.
std::vector<double> mixture_weights(const SearchSpace& space, const ArchitectureValues& values,
                                    int cell_type);

}  // namespace ladarts
