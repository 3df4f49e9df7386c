#include "nas/network.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.h"
#include "nas/skeleton.h"
#include "ops/activations.h"
#include "ops/arithmetic.h"
#include "ops/channels.h"
#include "ops/factorized_reduce.h"
#include "ops/linear.h"
#include "ops/norm_sum.h"
#include "ops/pool2d.h"

namespace ladarts {

namespace {

LayerOptions layer_options(NetworkMode mode, ParameterSet& buffers, std::vector<Fold>* folds) {
  switch (mode) {
    case NetworkMode::training:
      return {.statistics = Statistics::updating, .buffers = &buffers};
    case NetworkMode::evaluation:
      return {.statistics = Statistics::running, .buffers = &buffers};
    case NetworkMode::inference:
      break;
  }
  return {.statistics = Statistics::folded, .folds = folds};
}

// One cell of a genotype; parameters are named by the edge's index in the space, as in the supernet.
class CellRecorder {
 public:
  CellRecorder(Layers layers, const NetworkConfig& config, std::optional<DropPathInput> drop_path)
      : layers_(layers), config_(config), drop_path_(std::move(drop_path)) {}

  std::vector<Tensor> record(const CellInputs& in) {
    const SearchSpace& space = config_.space;
    const CellGenotype& genotype = config_.genotype.cells[size_t(space.cell_type_of(in.reduction))];
    const int64_t side = in.reduction ? (in.states[0].dim(2) + 1) / 2 : in.states[0].dim(2);
    std::vector<Tensor> states = in.states;
    first_stages_.clear();
    for (int i = 0; i < int(states.size()); ++i) record_first_stages(in, i, states[size_t(i)]);
    for (int node = 0; node < space.nodes; ++node) {
      const Graph::Scope node_scope(layers_.graph(), fmt::format("node{}", node));
      std::vector<DeferredNorm> terms;
      const GenotypeEdge* last = nullptr;  // adds the others to its result
      for (const GenotypeEdge& edge : genotype.nodes[size_t(node)]) {
        if (edge.primitive == "none") continue;
        if (!last && layers_.adds(find_primitive(edge.primitive))) {
          last = &edge;
        } else {
          terms.push_back(record_edge(in, node, edge, states));
        }
      }
      if (last) {
        const Edge e = edge_of(in, node, *last);
        const Graph::Scope scope(layers_.graph(), e.scope);
        states.push_back(layers_.primitive(e.primitive, e.name, states[size_t(last->source)], e.stride,
                                           terms.empty() ? Tensor() : sum_of(terms)));
      } else {
        states.push_back(terms.empty() ? layers_.zeros({in.states[0].dim(0), in.channels, side, side})
                                       : sum_of(terms));
      }
      record_first_stages(in, space.inputs + node, states.back());
    }
    if (space.skeleton.kind == SkeletonKind::residual_stages) return {states.back()};
    return {states.begin() + space.inputs, states.end()};
  }

 private:
  struct Edge {
    int index, stride;
    std::string scope, name;
    const Primitive& primitive;
  };
  Edge edge_of(const CellInputs& in, int node, const GenotypeEdge& edge) const {
    const int index = config_.space.edge_index(node, edge.source);
    return {index, in.reduction && edge.source < config_.space.inputs ? 2 : 1,
            fmt::format("edge{}/{}", index, edge.primitive),
            fmt::format("{}.edge{}.{}", in.name, index, edge.primitive), find_primitive(edge.primitive)};
  }

  // Of all edges that leave a state.
  void record_first_stages(const CellInputs& in, int source, Tensor x) {
    const CellGenotype& genotype = config_.genotype.cells[size_t(config_.space.cell_type_of(in.reduction))];
    const Graph::Scope scope(layers_.graph(), fmt::format("state{}", source));
    int stride = 1;
    std::vector<Layers::NamedPrimitive> convs;
    for (int node = std::max(0, source - config_.space.inputs + 1); node < config_.space.nodes; ++node)
      for (const GenotypeEdge& edge : genotype.nodes[size_t(node)]) {
        if (edge.source != source || edge.primitive == "none") continue;
        const Edge e = edge_of(in, node, edge);
        if (!layers_.has_stages(e.primitive)) continue;
        stride = e.stride;  // the same for all of them
        convs.push_back({e.primitive, e.name});
      }
    if (convs.empty()) return;
    const std::vector<DeferredNorm> first = layers_.first_stages(convs, x, stride);
    for (size_t i = 0; i < convs.size(); ++i) first_stages_.emplace(convs[i].name, first[i]);
  }

  DeferredNorm record_edge(const CellInputs& in, int node, const GenotypeEdge& edge,
                           const std::vector<Tensor>& states) {
    const Edge e = edge_of(in, node, edge);
    const Graph::Scope scope(layers_.graph(), e.scope);
    const auto first = first_stages_.find(e.name);
    const DeferredNorm y =
        first != first_stages_.end()
            ? layers_.last_stage({e.primitive, e.name}, first->second)
            : layers_.deferred_primitive(e.primitive, e.name, states[size_t(edge.source)], e.stride);
    if (!drop_path_ || is_identity(e.primitive, e.stride)) return y;
    const auto stream = uint32_t(in.index * config_.space.edges() + e.index);
    return {drop_path(sum_of({y}), drop_path_->rate, drop_path_->random, stream), {}};
  }

  // Normalisations that were left to this sum are carried out in it.
  static Tensor sum_of(const std::vector<DeferredNorm>& terms) {
    std::vector<Tensor> plain;
    for (const DeferredNorm& t : terms)
      if (!t.affine) plain.push_back(t.y);
    if (plain.size() < terms.size()) return norm_sum(terms);
    return plain.size() == 1 ? plain[0] : add_n(plain);
  }

  Layers layers_;
  const NetworkConfig& config_;
  std::optional<DropPathInput> drop_path_;
  std::map<std::string, DeferredNorm> first_stages_;  // of the cell at hand, by the edge's name
};

Tensor record_auxiliary_head(Layers& layers, const NetworkShape& shape, const std::vector<Tensor>& nodes) {
  const Graph::Scope scope(layers.graph(), "auxiliary");
  Tensor x = concat_channels(nodes);
  const bool imagenet = shape.stem == Stem::imagenet;
  const int stride = imagenet ? 2 : 3;
  require(
      x.dim(2) >= 5 + stride,
      "[network] the auxiliary head pools 5 x 5 at stride {} and needs maps of side {} or more where it is "
      "attached, not {}: use larger images or train without it",
      stride, 5 + stride, x.dim(2));
  x = avg_pool2d(relu(x), {.kernel = 5, .stride = stride, .padding = 0});
  x = layers.conv_norm("auxiliary.conv0", "auxiliary.norm0", x, 128, 1, {});
  const Conv2dDesc last{.relu_input = true};
  x = imagenet ? layers.conv("auxiliary.conv1", x, 768, 2, last)
               : layers.conv_norm("auxiliary.conv1", "auxiliary.norm1", x, 768, 2, last);
  return layers.linear("auxiliary.head", global_avg_pool(relu(x)), shape.classes);
}

// scale = gamma / sqrt(var + eps) and shift = beta - mean * scale of the channels that a convolution feeds.
struct Affine {
  std::vector<float> scale, shift;
};

std::vector<float> values_of(const ParameterSet& set, const std::string& name) {
  const ParameterSet::Entry* entry = set.find(name);
  require(entry != nullptr, "[fold] the trained network has no '{}'", name);
  return entry->value.to_vector();
}

Affine affine_of(const ParameterSet& params, const ParameterSet& buffers, const std::string& norm,
                 int64_t first, int64_t count) {
  const std::vector<float> gamma = values_of(params, norm + ".gamma"),
                           beta = values_of(params, norm + ".beta");
  const std::vector<float> mean = values_of(buffers, norm + ".running_mean"),
                           var = values_of(buffers, norm + ".running_var");
  require(int64_t(gamma.size()) >= first + count, "[fold] '{}' has {} channels, {} are needed", norm,
          gamma.size(), first + count);
  Affine a;
  for (size_t c = size_t(first); c < size_t(first + count); ++c) {
    a.scale.push_back(gamma[c] / std::sqrt(var[c] + kNormEps));
    a.shift.push_back(beta[c] - mean[c] * a.scale.back());
  }
  return a;
}

}  // namespace

Network record_network(Graph& graph, const NetworkConfig& config, NetworkMode mode, ParameterSet& params,
                       ParameterSet& buffers, Tensor images, const std::optional<DropPathInput>& drop_path) {
  validate(config.genotype, config.space);
  const NetworkShape shape = resolve(config.shape, config.space);
  const bool darts = config.space.skeleton.kind == SkeletonKind::darts;
  require(!config.auxiliary || darts, "[network] space '{}' has no auxiliary head", config.space.name);
  Network network;
  Layers layers(graph, params, layer_options(mode, buffers, &network.folds));
  CellRecorder cells(layers, config, mode == NetworkMode::training ? drop_path : std::nullopt);
  const SkeletonResult result =
      record_skeleton({.outer = layers, .inner = layers, .imagenet_stem_factor = 1}, config.space, shape,
                      images, [&](const CellInputs& in) { return cells.record(in); });
  network.logits = result.logits;
  if (config.auxiliary && mode == NetworkMode::training)
    network.auxiliary_logits = record_auxiliary_head(layers, shape, result.two_thirds_deep);
  return network;
}

void fold_normalisation(const Network& inference, const ParameterSet& params, const ParameterSet& buffers,
                        ParameterSet& folded) {
  folded.values();
  for (const ParameterSet::Entry& e : folded.entries()) {  // what stays as it is
    const ParameterSet::Entry* from = params.find(e.name);
    if (!from) from = buffers.find(e.name);
    if (!from) continue;  // a bias that folding makes
    require(from->value.shape() == e.value.shape(),
            "[fold] '{}' is {} in the trained network, {} in the folded one", e.name,
            from->value.shape().str(), e.value.shape().str());
    e.value.upload(from->value.to_vector());
  }
  for (const Fold& fold : inference.folds) {
    const ParameterSet::Entry* weight = folded.find(fold.convolution + ".weight");
    const ParameterSet::Entry* bias = folded.find(fold.convolution + ".bias");
    LADARTS_CHECK(weight && bias);
    const int64_t outputs = weight->value.shape()[0], per_output = weight->value.shape().elements() / outputs;
    const Affine affine = affine_of(params, buffers, fold.norm, fold.first, outputs);
    std::vector<float> w = values_of(params, fold.convolution + ".weight");
    for (size_t i = 0; i < w.size(); ++i) w[i] *= affine.scale[i / size_t(per_output)];
    weight->value.upload(w);
    bias->value.upload(affine.shift);
  }
}

int64_t multiply_accumulates(const Graph& graph) {
  int64_t total = 0;
  for (const Node& node : graph.nodes()) {
    const Op* op = node.op.get();
    if (const auto* conv = dynamic_cast<const Conv2d*>(op)) {
      for (int i = 0; i < conv->outputs; ++i) {
        const Shape& weight = graph.values()[size_t(node.inputs[size_t(conv->parts + i)])].shape;
        total += graph.values()[size_t(node.outputs[size_t(i)])].shape.elements() *
                 (weight.elements() / weight[0]);
      }
      continue;
    }
    if (dynamic_cast<const SeparableConv*>(op)) {  // the depthwise and the pointwise kernel at every pixel
      const Shape& y = graph.values()[size_t(node.outputs[0])].shape;
      for (const int weight : {1, 2})
        total += graph.values()[size_t(node.inputs[size_t(weight)])].shape.elements() * y[0] * y[2] * y[3];
      continue;
    }
    int weights = 0;  // which operand
    if (const auto* reduce = dynamic_cast<const FactorizedReduce*>(op)) {
      LADARTS_CHECK(reduce->pairs == 1);
      weights = reduce->parts;
    }
    if (dynamic_cast<const Linear*>(op)) weights = 1;
    if (weights == 0) continue;
    const Shape& weight = graph.values()[size_t(node.inputs[size_t(weights)])].shape;  // (outputs, ...)
    total += graph.values()[size_t(node.outputs[0])].shape.elements() * (weight.elements() / weight[0]);
  }
  return total;
}

NetworkCounts count_network(const NetworkConfig& config) {
  Graph graph;
  ParameterSet params, buffers;
  const int64_t side = config.shape.image;
  Tensor images = graph.leaf(Storage::create({1, 3, side, side}));
  record_network(graph, config, NetworkMode::evaluation, params, buffers, images);
  return {params.count(), multiply_accumulates(graph)};
}

}  // namespace ladarts
