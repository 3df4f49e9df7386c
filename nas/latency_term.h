// The differentiable cost LAT(alpha): architecture parameters -> relaxed encoding -> predictor, all as nodes
// of the graph that holds the architecture step, so that its gradient reaches alpha and beta.
//
// Relaxed encoding. A derived cell keeps the two strongest incoming edges of each node, each with its best
// primitive other than none; its encoding is one-hot on kept edges and zero on the others (nas/encoding.h).
// The relaxed form is the expected encoding when edges and primitives are drawn instead of maximised:
//   p(o | e) = softmax of alpha_e over the primitives other than none,
//   s_e      = max_o softmax(alpha_e)_o (o other than none), times beta_e normalised within its node where it
//   exists, q_e      = probability that e is among two edges of its node drawn without replacement in
//   proportion to s, x_eo     = q_e p(o | e).
// Each node's features sum to two, as those of every discrete cell do, and they become the discrete ones as
// the parameters part. Where a space keeps every edge (NAS-Bench-201), x_eo = softmax(alpha_e)_o, none among
// them.
#pragma once

#include "nas/supernet.h"
#include "predictor/regressor.h"

namespace ladarts {

// alphas[t] (edges, primitives) and, with edge normalisation, betas[t] (edges), of each cell type, before any
// softmax
// -> (1, encoding_size(space)). Throws Error for a space in which `none` is not the first primitive.
Tensor record_relaxed_encoding(Graph& graph, const SearchSpace& space, const std::vector<Tensor>& alphas,
                               const std::vector<Tensor>& betas);
Tensor record_relaxed_encoding(Graph& graph, ArchitectureParameters& architecture);

// -> (1): the predicted cost in the predictor's unit. Throws Error where the predictor takes another number
// of features than the space has.
Tensor record_latency_term(Graph& graph, ArchitectureParameters& architecture, const Regressor& predictor);

}  // namespace ladarts
