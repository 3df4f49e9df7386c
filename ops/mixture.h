// A weighted sum of edges, each a weighted sum of branches: one node of a mixed network in one pass.
//
// An edge has terms, each (N, c, H, W), and a source (N, C, H, W), C = c * groups, whose channels from c on
// bypass the terms (partial channel connections, Xu et al., 2020):
//   out = sum over e of b_e * shuffle(concat(sum over t of a[e][column_t] * term_t, source_e[c .. C)))
// shuffle: out[j * groups + g] = in[g * c + j]. With one group there is no bypass and no shuffle.
#pragma once

#include <vector>

#include "ops/deferred_norm.h"
#include "ops/pool2d.h"

namespace ladarts {

struct MixtureTerm {
  DeferredNorm value;
  int column = 0;  // its weight's column in the edge's row
};

// The source's channels [0, c), pooled by 3x3 windows at stride 1 while they are read.
struct MixturePool {
  PoolKind kind = PoolKind::max;  // max or average
  Tensor affine;                  // (2, c) of its normalisation, see pool_statistics(); or empty
  int column = 0;
};

struct MixtureEdge {
  std::vector<MixtureTerm> terms;
  Tensor source;             // (N, C, H, W); or the bypass alone (N, C - c, H, W); or empty with one group
  int identity_column = -1;  // >= 0: source[0 .. c) is a term with this weight
  std::vector<MixturePool> pools;
};

struct MixtureDesc {
  int groups = 1;
  int first_row = 0;  // edge e reads row first_row + e of both weights
};

// branch_weights (rows, columns); edge_weights (rows), or empty: 1. Returns (N, C, H, W).
Tensor mixture(const std::vector<MixtureEdge>& edges, Tensor branch_weights, Tensor edge_weights,
               MixtureDesc desc = {});

// (branch_weights, [edge_weights], for each edge: [source], (y, [affine])...) -> (out)
class Mixture : public Op {
 public:
  // What a term is: a value of its own, or made of the first channels of the edge's source.
  enum class Of : uint8_t { value, identity, maxima, averages };
  struct Term {
    int y, affine, column;  // operands; affine -1: none
    Of of = Of::value;
  };
  struct Edge {
    std::vector<Term> terms;
    int source = -1;  // operand; -1: none
    int bypass_begin = 0;
    int identity_column = -1;  // with one group an identity is a term
    bool pools = false;        // whether any term is
  };
  std::string_view name() const override { return "mixture"; }
  void backward(Backward& b) const override;
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  Cost cost(const NodeShapes& s) const override;

  int n_terms() const;
  bool has_pools() const;
  Pool2dDesc pool_desc() const;
  // Factors of every term and channel, and a constant for each channel.
  int64_t factor_floats() const { return Pool2dScratch::round_up(int64_t(n_terms() + 1) * channels); }
  int channels = 0;  // c
  int groups = 1;
  int first_row = 0;
  bool has_edge_weights = false;
  std::vector<Edge> edges;
};

// Scratch of one CPU thread where there are pools: a plane, then what pooling one needs.
struct MixtureScratch {
  MixtureScratch(const Mixture& op, const Shape& out);
  int64_t thread_floats() const { return plane_floats + pool_floats; }
  int64_t plane_floats = 0, pool_floats = 0;
};

// (operands of the forward op, d_out) -> the wanted ones of (d_branch_weights, d_edge_weights, d_affine and
// d_source of each edge); then `factors` (terms, c), such that d_y[n][j] = factors[t][j] * d_out[n][j *
// groups] (see ScaledChannels). Members name the outputs; -1: not wanted.
class MixtureGrad : public Op {
 public:
  struct Edge {
    std::vector<int> affine_out;  // one for each term
    int source_out = -1;
  };
  std::string_view name() const override { return "mixture_grad"; }
  bool can_accumulate(int output) const override { return output != factors_out; }
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  Cost cost(const NodeShapes& s) const override;

  int64_t sums() const;  // inner products that the gradients of the weights and affines are made of
  static int64_t chunks(int64_t images) { return images < kChunks ? images : kChunks; }
  static constexpr int64_t kChunks = 16;  // partial sums; fixed, so results do not depend on threads

  Mixture forward;
  int d_out = 0;  // operand
  int branch_out = -1, edge_out = -1, factors_out = 0;
  std::vector<Edge> edges;
};

}  // namespace ladarts
