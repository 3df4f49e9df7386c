#include "nas/latency_term.h"

#include "core/error.h"
#include "nas/encoding.h"
#include "ops/arithmetic.h"
#include "ops/channels.h"
#include "ops/inclusion.h"
#include "ops/rows.h"
#include "ops/softmax.h"

namespace ladarts {

namespace {

constexpr int kKeptEdges = 2;

// (edges, primitives) of one cell type whose nodes keep two edges.
Tensor relax_cell(const SearchSpace& space, Tensor alpha, Tensor beta) {
  const int none = space.primitive_index("none");
  require(none <= 0, "[latency] space '{}' lists none as primitive {}; the relaxed encoding needs it first",
          space.name, none);
  const int64_t skipped = none == 0 ? 1 : 0;
  const int64_t count = alpha.dim(1) - skipped;
  Tensor strength = row_max(slice_columns(softmax(alpha), skipped, count));
  if (beta) strength = mul(strength, segment_softmax(beta, space.edges_per_node()));
  Tensor kept = inclusion_probability(strength, space.edges_per_node(), kKeptEdges);
  Tensor choice = softmax(slice_columns(alpha, skipped, count));
  return pad_columns(scale_rows(choice, kept), skipped, 0);
}

}  // namespace

Tensor record_relaxed_encoding(Graph& graph, const SearchSpace& space, const std::vector<Tensor>& alphas,
                               const std::vector<Tensor>& betas) {
  Graph::Scope scope(graph, "encoding");
  std::vector<Tensor> cells;
  for (size_t t = 0; t < space.cell_types.size(); ++t)
    cells.push_back(space.edge_rule == EdgeRule::all
                        ? softmax(alphas[t])
                        : relax_cell(space, alphas[t], betas.empty() ? Tensor() : betas[t]));
  return reshape(cells.size() == 1 ? cells[0] : concat_rows(cells), Shape{1, encoding_size(space)});
}

Tensor record_relaxed_encoding(Graph& graph, ArchitectureParameters& architecture) {
  std::vector<Tensor> alphas, betas;
  for (int t = 0; t < int(architecture.space().cell_types.size()); ++t) {
    alphas.push_back(architecture.record_alpha(graph, t));
    if (architecture.edge_normalisation()) betas.push_back(architecture.record_beta(graph, t));
  }
  return record_relaxed_encoding(graph, architecture.space(), alphas, betas);
}

Tensor record_latency_term(Graph& graph, ArchitectureParameters& architecture, const Regressor& predictor) {
  const int features = encoding_size(architecture.space());
  require(predictor.features() == features, "[latency] the predictor takes {} features, space '{}' has {}",
          predictor.features(), architecture.space().name, features);
  Graph::Scope scope(graph, "latency");
  return reshape(predictor.record(record_relaxed_encoding(graph, architecture)), Shape{1});
}

}  // namespace ladarts
