#include "nas/supernet_cell.h"

#include "core/error.h"
#include "nas/layers.h"
#include "ops/arithmetic.h"
#include "ops/channels.h"
#include "ops/pool2d.h"

namespace ladarts {

namespace {

// Every candidate of one edge, weighted: (N, c, H, W) -> the same at 1/stride of the side.
Tensor record_mixed_op(Layers& layers, const SearchSpace& space, const std::string& name, Tensor x,
                       int stride, Tensor weights) {
  std::vector<Tensor> candidates;
  for (const std::string& primitive : space.primitives)
    candidates.push_back(layers.primitive(find_primitive(primitive), name + "." + primitive, x, stride));
  return weighted_sum(candidates, weights);
}

// One edge: of C channels, the first C/K go through the operations, the others past them.
Tensor record_edge(Layers& layers, const SupernetConfig& config, const std::string& name, Tensor x,
                   int stride, Tensor weights) {
  const int64_t channels = x.dim(1), k = config.partial_k;
  if (k == 1) return record_mixed_op(layers, config.space, name, x, stride, weights);
  Tensor mixed =
      record_mixed_op(layers, config.space, name, slice_channels(x, 0, channels / k), stride, weights);
  Tensor rest = slice_channels(x, channels / k, channels - channels / k);
  if (stride == 2) rest = max_pool2d(rest, {.kernel = 2, .stride = 2, .padding = 0});
  return channel_shuffle(concat_channels({mixed, rest}), int(k));
}

}  // namespace

std::vector<Tensor> record_cell(Graph& graph, const SupernetCell& cell, ParameterSet& params) {
  const SearchSpace& space = cell.config.space;
  const bool darts = space.skeleton.kind == SkeletonKind::darts;
  const int64_t primitives = int64_t(space.primitives.size());
  Layers layers(graph, params, {.affine = false, .pool_norm = darts});
  if (cell.reduction && cell.config.partial_k > 1)
    require(cell.inputs[0].dim(2) % 2 == 0,
            "[supernet] {} halves images of side {}; with partial channels the side must be even", cell.name,
            cell.inputs[0].dim(2));
  std::vector<Tensor> states = cell.inputs;
  for (int node = 0, edge = 0; node < space.nodes; ++node) {
    const int first = edge, sources = space.inputs + node;
    std::vector<Tensor> incoming;
    for (int source = 0; source < sources; ++source, ++edge) {
      const std::string name = fmt::format("edge{}", edge);
      const Graph::Scope scope(graph, name);
      const int stride = cell.reduction && source < space.inputs ? 2 : 1;
      Tensor weights = reshape(slice_rows(cell.operations, edge, 1), {primitives});
      incoming.push_back(
          record_edge(layers, cell.config, cell.name + "." + name, states[size_t(source)], stride, weights));
    }
    if (cell.edges)
      states.push_back(weighted_sum(incoming, slice_rows(cell.edges, first, sources)));
    else
      states.push_back(incoming.size() == 1 ? incoming[0] : add_n(incoming));
  }
  if (!darts) return {states.back()};
  return {states.begin() + space.inputs, states.end()};
}

}  // namespace ladarts
