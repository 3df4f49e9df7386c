#include "nas/latency_term.h"

#include "core/error.h"
#include "nas/encoding.h"
#include "ops/arithmetic.h"

namespace ladarts {

Tensor record_latency_term(Graph& graph, ArchitectureParameters& architecture, const Regressor& predictor,
                           const LatencyTermOptions& options, const RelaxationNoise* noise) {
  const int features = encoding_size(architecture.space());
  require(predictor.features() == features, "[latency] the predictor takes {} features, space '{}' has {}",
          predictor.features(), architecture.space().name, features);
  Graph::Scope scope(graph, "latency");
  const Tensor points = record_relaxation(graph, architecture, options.relaxation, noise);
  if (options.certainty == 0) return mean_all(predictor.record(points));
  const RecordedDistribution cost = predictor.record_distribution(points);
  return mean_all(add(cost.mean, scale(cost.deviation, options.certainty)));
}

}  // namespace ladarts
