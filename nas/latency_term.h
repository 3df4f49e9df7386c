// The differentiable cost LAT(alpha): architecture parameters -> points of the encoding (nas/relaxation.h) ->
// predictor, all as nodes of the graph that holds the architecture step, so that its gradient reaches alpha
// and beta.
#pragma once

#include "nas/relaxation.h"
#include "predictor/regressor.h"

namespace ladarts {

struct LatencyTermOptions {
  Relaxation relaxation{};
  // So many of the predictor's standard deviations are added to the cost (an upper confidence bound): what it
  // does not know counts as slow. 0: the predicted cost alone.
  float certainty = 0;
};

// -> (1): the predicted cost in the predictor's unit, the mean over the relaxation's points; `noise` where
// these are drawn. Throws Error where the predictor takes another number of features than the space has, and
// where it has no deviation and one is asked for.
Tensor record_latency_term(Graph& graph, ArchitectureParameters& architecture, const Regressor& predictor,
                           const LatencyTermOptions& options = {}, const RelaxationNoise* noise = nullptr);

}  // namespace ladarts
