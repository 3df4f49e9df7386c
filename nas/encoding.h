// The paper's encoding of an architecture as the predictor's input: one-hot operations of every possible
// edge. Feature (t, e, p) of index (t * edges + e) * primitives + p is 1 where cell type t's edge e is kept
// and has primitive p, else 0; an edge that is not kept is all zeros. The DARTS space has 2 x 14 x 8 = 224
// features, NAS-Bench-201 1 x 6 x 5 = 30.
#pragma once

#include <string>
#include <vector>

#include "nas/genotype.h"

namespace ladarts {

int encoding_size(const SearchSpace& space);
// Throws Error where the genotype is not of this space.
std::vector<float> encode(const Genotype& genotype, const SearchSpace& space);
// "normal.3<-1.sep_conv_3x3": cell type, state written <- state read, primitive.
std::vector<std::string> encoding_names(const SearchSpace& space);

}  // namespace ladarts
