// Leaving a normalisation to whoever reads its result: a pass over a recorded graph, gradients included.
//
// Where every reader of scale * x + shift can apply these as it reads x (Op::reading_affine), in the forward
// and in the backward pass, the result is neither written nor computed again: the op gives scale and shift
// alone (Op::deferred). What the result's gradient means stays as it was recorded, so the normalisation's own
// gradient is untouched.
#pragma once

#include "core/graph.h"

namespace ladarts {

// Defers what can be; call after gradients(), before compile(). Returns how many were. Values change by
// rounding alone.
int defer_norms(Graph& graph);

}  // namespace ladarts
