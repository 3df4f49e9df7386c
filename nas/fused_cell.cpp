// The body of a supernet cell out of fused ops. All edges that leave a state read it together: one separable
// stage for the first halves of their convolutions, one for the second halves of the separable ones. A node
// is one mixture, which pools states as it reads them.
#include "core/error.h"
#include "nas/layers.h"
#include "nas/supernet_cell.h"
#include "ops/channels.h"
#include "ops/deferred_norm.h"
#include "ops/deferred_pool.h"
#include "ops/mixture.h"
#include "ops/pool2d.h"
#include "ops/separable_stage.h"

namespace ladarts {

namespace {

class FusedCell {
 public:
  FusedCell(Graph& graph, const SupernetCell& cell, ParameterSet& params)
      : graph_(graph),
        cell_(cell),
        space_(cell.config.space),
        params_(params),
        darts_(space_.skeleton.kind == SkeletonKind::darts),
        layers_(graph, params, {.affine = false}),
        edges_(size_t(space_.edges())) {}

  std::vector<Tensor> record() {
    std::vector<Tensor> states = cell_.inputs;
    for (int i = 0; i < int(states.size()); ++i) record_source(i, states[size_t(i)]);
    for (int node = 0; node < space_.nodes; ++node) {
      const Graph::Scope scope(graph_, fmt::format("node{}", node));
      const int first = space_.edge_index(node, 0), count = space_.inputs + node;
      states.push_back(mixture({edges_.begin() + first, edges_.begin() + first + count}, cell_.operations,
                               cell_.edges, {.groups = cell_.config.partial_k, .first_row = first}));
      if (node + 1 < space_.nodes) record_source(space_.inputs + node, states.back());
    }
    if (!darts_) return {states.back()};
    return {states.begin() + space_.inputs, states.end()};
  }

 private:
  // A convolution of the table below: where its result goes, and its second half where it has one.
  struct Candidate {
    int edge;
    int column;
    int kernel;
    std::string second;  // "cell3.edge5.sep_conv_3x3", or empty
  };

  int stride_of(int source) const { return cell_.reduction && source < space_.inputs ? 2 : 1; }
  std::string name_of(int edge, const Primitive& p) const {
    return fmt::format("{}.edge{}.{}", cell_.name, edge, p.name);
  }

  // Everything that reads state `source`, (N, C, H, W), on its edges to all later nodes.
  void record_source(int source, Tensor x) {
    const Graph::Scope scope(graph_, fmt::format("state{}", source));
    const int64_t channels = x.dim(1), part = channels / cell_.config.partial_k;
    const int stride = stride_of(source);
    Tensor head = x, bypass;
    if (part < channels && stride == 2)
      bypass = max_pool2d(slice_channels(x, part, channels - part), {.kernel = 2, .stride = 2, .padding = 0});
    pools_ = statistics_ = {};
    std::vector<SeparableBranch> branches;
    std::vector<Candidate> candidates;
    for (int column = 0; column < int(space_.primitives.size()); ++column) {
      const Primitive& p = find_primitive(space_.primitives[size_t(column)]);
      const bool shared = p.kind == PrimitiveKind::max_pool || p.kind == PrimitiveKind::avg_pool;
      const bool identity = p.kind == PrimitiveKind::skip_connect && stride == 1;
      const bool separable = p.kind == PrimitiveKind::sep_conv || p.kind == PrimitiveKind::dil_conv;
      if (p.kind == PrimitiveKind::none) continue;
      const bool skip = p.kind == PrimitiveKind::skip_connect && darts_;
      if (!separable && !identity && !shared && !skip && head.dim(1) != part)
        head = slice_channels(x, 0, part);
      // At stride 1 nodes pool what they read of a state anyway; only the statistics are made once.
      const bool in_passing = shared && darts_ && stride == 1 && p.kernel == kPlanePool.kernel;
      DeferredNorm pooled;
      if (shared && !in_passing) pooled = pool(p, x, int(part), stride);
      const int first = std::max(0, source - space_.inputs + 1);
      std::vector<Tensor> halves;  // of each node from the first on
      if (skip && !identity) {
        std::vector<std::string> names;
        for (int node = first; node < space_.nodes; ++node)
          names.push_back(name_of(space_.edge_index(node, source), p));
        halves = layers_.strided_halves(names, x, part, part);
      }
      for (int node = first; node < space_.nodes; ++node) {
        const int e = space_.edge_index(node, source);
        MixtureEdge& edge = edges_[size_t(e)];
        if (identity || in_passing || part < channels) edge.source = bypass ? bypass : x;
        if (identity) {
          edge.identity_column = column;
        } else if (separable) {
          branches.push_back(first_half(e, p, part));
          candidates.push_back(
              {e, column, p.kernel, p.kind == PrimitiveKind::sep_conv ? name_of(e, p) : std::string()});
        } else if (in_passing) {
          edge.pools.push_back(pool_in_passing(p, x, int(part), column));
        } else if (shared) {
          edge.terms.push_back({pooled, column});
        } else if (skip) {
          edge.terms.push_back({defer_norm(halves[size_t(node - first)], kNormEps), column});
        } else {
          edge.terms.push_back({{layers_.primitive(p, name_of(e, p), head, stride), {}}, column});
        }
      }
    }
    if (!branches.empty()) record_separable(x, branches, candidates, int(part), stride);
  }

  MixturePool pool_in_passing(const Primitive& p, Tensor x, int channels, int column) {
    const bool max = p.kind == PrimitiveKind::max_pool;
    if (!statistics_.max) statistics_ = pool_statistics(x, channels, kNormEps);
    return {max ? PoolKind::max : PoolKind::average, max ? statistics_.max : statistics_.average, column};
  }

  DeferredNorm pool(const Primitive& p, Tensor x, int channels, int stride) {
    const Pool2dDesc desc{
        .kernel = p.kernel, .stride = stride, .padding = (p.kernel - 1) / 2, .channels = channels};
    const bool max = p.kind == PrimitiveKind::max_pool;
    Tensor y;
    if (has_primitive(PrimitiveKind::max_pool, p.kernel) &&
        has_primitive(PrimitiveKind::avg_pool, p.kernel)) {
      if (!pools_.max) pools_ = max_avg_pool2d(x, desc);
      y = max ? pools_.max : pools_.average;
    } else {
      y = max ? max_pool2d(x, desc) : avg_pool2d(x, desc);
    }
    return darts_ ? defer_norm(y, kNormEps) : DeferredNorm{y, {}};
  }

  bool has_primitive(PrimitiveKind kind, int kernel) const {
    for (const std::string& name : space_.primitives) {
      const Primitive& p = find_primitive(name);
      if (p.kind == kind && p.kernel == kernel) return true;
    }
    return false;
  }

  void record_separable(Tensor x, const std::vector<SeparableBranch>& branches,
                        const std::vector<Candidate>& candidates, int part, int stride) {
    const std::vector<DeferredNorm> first =
        separable_stage({{x, {}}}, branches, {.channels = part, .stride = stride, .eps = kNormEps});
    std::vector<DeferredNorm> middle;
    std::vector<SeparableBranch> second;
    for (size_t i = 0; i < candidates.size(); ++i) {
      const Candidate& c = candidates[i];
      if (c.second.empty()) {
        edges_[size_t(c.edge)].terms.push_back({first[i], c.column});
      } else {
        second.push_back({int(middle.size()), depthwise(c.second + ".depthwise1", part, c.kernel),
                          pointwise(c.second + ".pointwise1", part)});
        middle.push_back(first[i]);
      }
    }
    if (second.empty()) return;
    const std::vector<DeferredNorm> last = separable_stage(middle, second, {.eps = kNormEps});
    for (size_t i = 0, k = 0; i < candidates.size(); ++i)
      if (!candidates[i].second.empty())
        edges_[size_t(candidates[i].edge)].terms.push_back({last[k++], candidates[i].column});
  }

  SeparableBranch first_half(int edge, const Primitive& p, int64_t channels) {
    const bool twice = p.kind == PrimitiveKind::sep_conv;
    const std::string name = name_of(edge, p);
    return {.input = 0,
            .depthwise = depthwise(name + (twice ? ".depthwise0" : ".depthwise"), channels, p.kernel),
            .pointwise = pointwise(name + (twice ? ".pointwise0" : ".pointwise"), channels),
            .dilation = twice ? 1 : 2};
  }

  Tensor depthwise(const std::string& name, int64_t channels, int kernel) {
    return params_.get(graph_, name + ".weight", {channels, 1, kernel, kernel},
                       Init::fan_in(kernel * kernel));
  }
  Tensor pointwise(const std::string& name, int64_t channels) {
    return params_.get(graph_, name + ".weight", {channels, channels, 1, 1}, Init::fan_in(channels));
  }

  Graph& graph_;
  const SupernetCell& cell_;
  const SearchSpace& space_;
  ParameterSet& params_;
  bool darts_;
  Layers layers_;
  std::vector<MixtureEdge> edges_;
  MaxAndAverage pools_, statistics_;  // of the state at hand, once recorded
};

// A mixture takes its shape from a term; identities and nothing else have none.
bool has_terms(const SearchSpace& space) {
  for (const std::string& name : space.primitives) {
    const PrimitiveKind kind = find_primitive(name).kind;
    if (kind != PrimitiveKind::none && kind != PrimitiveKind::skip_connect) return true;
  }
  return false;
}

// Separable stages know kernels of side 3 and 5.
bool has_other_kernels(const SearchSpace& space) {
  for (const std::string& name : space.primitives) {
    const Primitive& p = find_primitive(name);
    const bool separable = p.kind == PrimitiveKind::sep_conv || p.kind == PrimitiveKind::dil_conv;
    if (separable && p.kernel != 3 && p.kernel != 5) return true;
  }
  return false;
}

}  // namespace

std::vector<Tensor> record_fused_cell(Graph& graph, const SupernetCell& cell, ParameterSet& params) {
  if (!has_terms(cell.config.space) || has_other_kernels(cell.config.space))
    return record_cell(graph, cell, params);
  return FusedCell(graph, cell, params).record();
}

}  // namespace ladarts
