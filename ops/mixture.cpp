#include "ops/mixture.h"

#include <algorithm>

#include "ops/checks.h"

namespace ladarts {

namespace {

void check_term(const MixtureTerm& t, const Shape& like, int64_t columns) {
  require_float("mixture", "a term", t.value.y);
  require(t.value.y.shape() == like, "[mixture] all terms must have shape {}, one has {}", like.str(),
          t.value.y.shape().str());
  if (t.value.affine) require_float("mixture", "an affine", t.value.affine);
  if (t.value.affine)
    require(t.value.affine.shape() == Shape{2, like[1]}, "[mixture] affine {} must be (2, {})",
            t.value.affine.shape().str(), like[1]);
  require(t.column >= 0 && t.column < columns, "[mixture] a term has column {}, the weights have {}",
          t.column, columns);
}

void check_pool(const MixturePool& p, const MixtureEdge& e, const Shape& term, int groups, int64_t columns) {
  require(p.kind != PoolKind::both, "[mixture] a pool is of maxima or of averages");
  if (p.affine) require_float("mixture", "an affine", p.affine);
  require(!p.affine || p.affine.shape() == Shape{2, term[1]}, "[mixture] affine {} must be (2, {})",
          p.affine ? p.affine.shape().str() : "", term[1]);
  require(p.column >= 0 && p.column < columns, "[mixture] a pool has column {}, the weights have {}",
          p.column, columns);
  require(bool(e.source) && e.source.dim(1) == term[1] * groups, "[mixture] a pool needs the whole source");
}

void check_source(const MixtureEdge& e, const Shape& term, int groups, int64_t columns) {
  const int64_t c = term[1], all = c * groups;
  if (!e.source) {
    require(groups == 1 && e.identity_column < 0,
            "[mixture] an edge without source has no identity or bypass");
    return;
  }
  require_float("mixture", "source", e.source);
  const Shape& s = e.source.shape();
  require(
      s.rank() == 4 && s[0] == term[0] && s[2] == term[2] && s[3] == term[3] &&
          (s[1] == all || (groups > 1 && s[1] == all - c)),
      "[mixture] source {} must have the images and pixels of the terms {} and {} channels, or the {} that "
      "bypass them",
      s.str(), term.str(), all, all - c);
  require(e.identity_column < columns, "[mixture] the identity has column {}, the weights have {}",
          e.identity_column, columns);
  require(e.identity_column < 0 || s[1] == all, "[mixture] an identity needs the whole source, not {}",
          s.str());
}

}  // namespace

Tensor mixture(const std::vector<MixtureEdge>& edges, Tensor branch_weights, Tensor edge_weights,
               MixtureDesc desc) {
  require(!edges.empty() && !edges[0].terms.empty(), "[mixture] needs an edge with at least one term");
  require_float("mixture", "branch weights", branch_weights);
  require(branch_weights.rank() == 2 && desc.first_row >= 0 &&
              branch_weights.dim(0) >= desc.first_row + int64_t(edges.size()),
          "[mixture] branch weights {} must hold rows {} to {}", branch_weights.shape().str(), desc.first_row,
          desc.first_row + int(edges.size()) - 1);
  if (edge_weights) require_float("mixture", "edge weights", edge_weights);
  require(!edge_weights || edge_weights.shape() == Shape{branch_weights.dim(0)},
          "[mixture] edge weights {} must be ({})", edge_weights ? edge_weights.shape().str() : "",
          branch_weights.dim(0));
  require(desc.groups >= 1, "[mixture] {} groups of channels; give 1 or more", desc.groups);
  require_float("mixture", "a term", edges[0].terms[0].value.y);
  const Shape term = edges[0].terms[0].value.y.shape();
  require(term.rank() == 4, "[mixture] term {} must be (N, c, H, W)", term.str());

  auto op = std::make_shared<Mixture>();
  op->channels = int(term[1]);
  op->groups = desc.groups;
  op->first_row = desc.first_row;
  op->has_edge_weights = bool(edge_weights);
  std::vector<Tensor> operands{branch_weights};
  auto append = [&](Tensor t) {
    operands.push_back(t);
    return int(operands.size()) - 1;
  };
  if (edge_weights) append(edge_weights);
  for (const MixtureEdge& e : edges) {
    check_source(e, term, desc.groups, branch_weights.dim(1));
    Mixture::Edge edge;
    int source = -1;
    if (e.source && (desc.groups > 1 || e.identity_column >= 0 || !e.pools.empty()))
      source = append(e.source);
    if (desc.groups > 1) {
      edge.source = source;
      edge.identity_column = e.identity_column;
      edge.bypass_begin = e.source.dim(1) == term[1] * desc.groups ? int(term[1]) : 0;
    } else if (e.identity_column >= 0) {
      edge.terms.push_back({source, -1, e.identity_column, Mixture::Of::identity});
    }
    for (const MixtureTerm& t : e.terms) {
      check_term(t, term, branch_weights.dim(1));
      const int y = append(t.value.y);
      edge.terms.push_back({y, t.value.affine ? append(t.value.affine) : -1, t.column});
    }
    edge.pools = !e.pools.empty();
    for (const MixturePool& p : e.pools) {
      check_pool(p, e, term, desc.groups, branch_weights.dim(1));
      edge.terms.push_back({source, p.affine ? append(p.affine) : -1, p.column,
                            p.kind == PoolKind::max ? Mixture::Of::maxima : Mixture::Of::averages});
    }
    op->edges.push_back(std::move(edge));
  }
  return branch_weights.graph().add(op, operands, {{{term[0], term[1] * desc.groups, term[2], term[3]}}})[0];
}

int Mixture::n_terms() const {
  int n = 0;
  for (const Edge& e : edges) n += int(e.terms.size());
  return n;
}

bool Mixture::has_pools() const {
  return std::any_of(edges.begin(), edges.end(), [](const Edge& e) { return e.pools; });
}

Pool2dDesc Mixture::pool_desc() const {
  Pool2dDesc desc = kPlanePool;
  desc.channels = channels;
  return desc;
}

void Mixture::backward(Backward& b) const {
  MixtureGrad op;
  op.forward = *this;
  std::vector<Tensor> operands;
  for (int i = 0; i < b.inputs(); ++i) operands.push_back(b.input(i));
  op.d_out = int(operands.size());
  operands.push_back(b.grad(0));
  std::vector<int> grads_of;
  auto want = [&](int input) {
    if (input < 0 || !b.needs(input)) return -1;
    grads_of.push_back(input);
    return int(grads_of.size()) - 1;
  };
  op.branch_out = want(0);
  if (has_edge_weights) op.edge_out = want(1);
  for (const Edge& e : edges) {
    MixtureGrad::Edge edge;
    for (const Term& t : e.terms) edge.affine_out.push_back(want(t.affine));
    edge.source_out = want(e.source);
    op.edges.push_back(std::move(edge));
  }
  op.factors_out = int(grads_of.size());
  const Tensor d_out = b.grad(0);
  const Tensor factors = b.emit(std::move(op), operands, grads_of, {{{n_terms(), channels}}})[0];
  int row = 0;
  for (const Edge& e : edges)
    for (const Term& t : e.terms) {
      const int term = row++;
      if (!b.needs(t.y)) continue;
      if (t.of == Of::value) {
        b.emit(ScaledChannels(term, groups), {d_out, factors}, {t.y});
        continue;
      }
      // Nodes share a source: who writes to its gradient anyway may add these in passing.
      if (t.of == Of::identity) {
        b.emit_late(t.y, std::make_shared<ScaledChannels>(term, groups), {d_out, factors});
        continue;
      }
      auto pool = std::make_shared<Pool2dGrad>();
      pool->desc = pool_desc();
      const GradientTerm of_out{.source = 0, .factors = 1, .row = term, .step = groups};
      (t.of == Of::maxima ? pool->d_max : pool->d_average).push_back(of_out);
      if (pool->reads_x()) pool->x = 2;
      std::vector<Tensor> of_pool{d_out, factors};
      if (pool->x >= 0) of_pool.push_back(b.input(t.y));
      b.emit_late(t.y, pool, of_pool);
    }
}

MixtureScratch::MixtureScratch(const Mixture& op, const Shape& out) {
  if (!op.has_pools()) return;
  plane_floats = Pool2dScratch::round_up(out[2] * out[3]);
  pool_floats = Pool2dScratch(out, out, kPlanePool, 2).thread_floats;
}

size_t Mixture::workspace_bytes(const NodeShapes& s, int threads) const {
  return size_t(factor_floats() + MixtureScratch(*this, s.outputs[0]).thread_floats() * threads) *
         sizeof(float);
}

Cost Mixture::cost(const NodeShapes& s) const {
  Cost cost = Op::cost(s);
  for (const Shape& in : s.inputs)
    if (in.rank() == 4) cost.flops += 2.0 * double(in.elements());
  return cost;
}

int64_t MixtureGrad::sums() const {
  const int64_t edges_count = int64_t(edges.size());
  return (forward.n_terms() + 1 + edges_count) * forward.channels + edges_count;
}

size_t MixtureGrad::workspace_bytes(const NodeShapes& s, int threads) const {
  const Shape& d = s.inputs[size_t(d_out)];
  return size_t(MixtureScratch(forward, d).thread_floats() * threads) * sizeof(float) +
         size_t(chunks(d[0])) * size_t(sums()) * sizeof(double);
}

Cost MixtureGrad::cost(const NodeShapes& s) const {
  Cost cost = Op::cost(s);
  for (const Shape& in : s.inputs)
    if (in.rank() == 4) cost.flops += 2.0 * double(in.elements());
  return cost;
}

}  // namespace ladarts
