// A batch normalisation that is not carried out: the value meant is affine[0][c] * y + affine[1][c], and
// whoever reads y applies it while loading. Without affine it is y itself.
#pragma once

#include "core/graph.h"

namespace ladarts {

struct DeferredNorm {
  Tensor y;       // (N, C, H, W)
  Tensor affine;  // (2, C): 1 / deviation and -mean / deviation over the batch; or empty
};

}  // namespace ladarts
