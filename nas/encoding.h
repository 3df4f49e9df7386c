// The paper's encoding of an architecture as the predictor's input: one-hot operations of every possible
// edge. Feature (t, e, p) of index (t * edges + e) * primitives + p is 1 where cell type t's edge e is kept
// and has primitive p, else 0; an edge that is not kept is all zeros. The DARTS space has 2 x 14 x 8 = 224
// features, NAS-Bench-201 1 x 6 x 5 = 30.
#pragma once

#include <string>
#include <vector>

#include "nas/genotype.h"
#include "predictor/feature_expansion.h"

namespace ladarts {

int encoding_size(const SearchSpace& space);
// Throws Error where the genotype is not of this space.
std::vector<float> encode(const Genotype& genotype, const SearchSpace& space);
// "normal.3<-1.sep_conv_3x3": cell type, state written <- state read, primitive.
std::vector<std::string> encoding_names(const SearchSpace& space);

// What a cost may depend on, computed from that encoding, in groups that a model weighs each on its own:
//   operations of edges as they are written, and how many of each there are;
//   the same of live edges alone, where the space allows dead ones;
//   of cells that halve the size, how many read an input, which they do at stride 2.
// An edge is live if its operation is not none, its source is reached from an input over such edges, and the
// cell's output is reached from its node: Network drops the operations whose results nothing reads, and one
// that reads only zeros adds nothing but its bias. Where the encoding is relaxed (nas/relaxation.h), being
// reached is 1 - prod (1 - edge present * source reached): the probability, were edges independent.
FeatureExpansion structured_features(const SearchSpace& space);

}  // namespace ladarts
