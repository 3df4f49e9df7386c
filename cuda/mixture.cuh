// A node of a mixed network (ops/mixture.h). Bound by memory: every term is read once; normalisation, branch
// weight and edge weight are one factor for each term and channel, made by a small kernel before. Pools of a
// source are computed as it is read.
#pragma once

#include "cuda/elementwise.cuh"
#include "cuda/pool_window.cuh"
#include "cuda/reduce.cuh"
#include "ops/mixture.h"

namespace ladarts::cuda {
namespace {

constexpr int kMixtureTerms = 64, kMixtureEdges = 16;  // of one launch; kernel arguments take 4 KiB

// Channels of an image as a term reads them.
struct TermPlanes {
  const float* y;
  uint32_t channels;  // of y
  Mixture::Of of;
  // Pixel p of channel j of image n, of images of these sides.
  __device__ float at(int64_t n, uint32_t j, uint32_t p, int height, int width) const {
    const float* plane = y + (n * channels + j) * (uint32_t(height) * uint32_t(width));
    if (of == Mixture::Of::value || of == Mixture::Of::identity) return plane[p];
    const PoolWindow w{3, 1, 1, height, width, height, width, channels, channels};
    return window_value(w, plane, int(p) / width, int(p) % width, of == Mixture::Of::maxima);
  }
};
struct TermOperand {
  TermPlanes planes;
  const float* affine;  // (2, c); null: none
  int edge, column;
};
struct EdgeOperand {
  const float* source;  // null: none
  uint32_t source_channels, bypass_begin;
  int identity_column;       // -1: none
  int first_term, end_term;  // among the operands' terms
};

// The edges of one launch.
struct MixtureOperands {
  TermOperand term[kMixtureTerms];
  EdgeOperand edge[kMixtureEdges];
  int terms, edges;
  const float *branch_weights, *edge_weights;  // edge_weights null: 1
  int first_row, columns;
  uint32_t channels, groups, pixels;  // c, groups, H * W
  int height, width;

  __device__ float edge_weight(int e) const { return edge_weights ? edge_weights[first_row + e] : 1.f; }
  __device__ float branch_weight(int e, int column) const {
    return branch_weights[int64_t(first_row + e) * columns + column];
  }
};

// factors[t, j] = edge weight * branch weight * scale. One thread for each.
struct TermFactors {
  MixtureOperands m;
  float* factors;
  __device__ void operator()(int64_t i) const {
    const int t = int(i / m.channels);
    const uint32_t j = uint32_t(i % m.channels);
    const TermOperand& term = m.term[t];
    const float w = m.edge_weight(term.edge) * m.branch_weight(term.edge, term.column);
    factors[i] = term.affine ? w * term.affine[j] : w;
  }
};
// constants[j] = sum over terms of edge weight * branch weight * shift, in the order of the terms.
struct TermConstants {
  MixtureOperands m;
  float* constants;
  __device__ void operator()(int64_t j) const {
    float sum = 0;
    for (int t = 0; t < m.terms; ++t)
      if (m.term[t].affine)
        sum += m.edge_weight(m.term[t].edge) * m.branch_weight(m.term[t].edge, m.term[t].column) *
               m.term[t].affine[m.channels + uint32_t(j)];
    constants[j] = sum;
  }
};

// out[n, j * groups] = the sum of the terms of channel j; out[n, j * groups + g] = that of the bypasses. 4
// bytes read for each term and 4 written per element.
struct MixtureSum {
  MixtureOperands m;
  const float *factors, *constants;
  __device__ float operator()(int64_t at) const {
    const uint32_t i = uint32_t(at), p = i % m.pixels, q = i / m.pixels % (m.channels * m.groups);
    const int64_t n = i / m.pixels / (m.channels * m.groups);
    const uint32_t j = q / m.groups, g = q % m.groups;
    float sum = 0;
    if (g > 0) {
      for (int e = 0; e < m.edges; ++e) {
        const EdgeOperand& edge = m.edge[e];
        const uint32_t from = edge.bypass_begin + (g - 1) * m.channels + j;
        sum += m.edge_weight(e) * edge.source[(n * edge.source_channels + from) * m.pixels + p];
      }
      return sum;
    }
    sum = constants[j];
    for (int t = 0; t < m.terms; ++t)
      sum += factors[t * m.channels + j] * m.term[t].planes.at(n, j, p, m.height, m.width);
    for (int e = 0; e < m.edges; ++e) {
      const EdgeOperand& edge = m.edge[e];
      if (edge.identity_column >= 0)
        sum += m.edge_weight(e) * m.branch_weight(e, edge.identity_column) *
               edge.source[(n * edge.source_channels + j) * m.pixels + p];
    }
    return sum;
  }
};

// One inner product with d_out for each channel j: of x[n, begin + j] (x.y null: of ones) with d_out[n, j *
// groups + group].
struct InnerProduct {
  TermPlanes x;
  uint32_t begin, group;
};
constexpr int kInnerProducts = 96;
struct InnerProducts {
  InnerProduct job[kInnerProducts];
  int count;
};

// partials[job, j, k] = the product over chunk k of the images. Grid (chunks, c, jobs), 256 threads that take
// every 256th element, in float up to 256 elements each, then in double. Reads x and the channel of d_out
// once: 8 bytes per element. 2 KiB of dynamic shared memory. Run on the host only.
__global__ void inner_products_kernel(InnerProducts jobs, const float* d_out, uint32_t images,
                                      uint32_t channels, uint32_t groups, int height, int width,
                                      uint32_t images_per_chunk, double* partials) {
  SIMT_DYNAMIC_SHARED(double, part);
  const InnerProduct& job = jobs.job[blockIdx.z];
  const uint32_t j = blockIdx.y, first = blockIdx.x * images_per_chunk;
  const uint32_t last = first + images_per_chunk < images ? first + images_per_chunk : images;
  const uint32_t pixels = uint32_t(height) * uint32_t(width), n = (last - first) * pixels;
  double total = 0;
  for (uint32_t begin = threadIdx.x; begin < n; begin += 256 * kReduceThreads) {
    float sum = 0;
    for (uint32_t k = begin; k < n && k < begin + 256 * kReduceThreads; k += kReduceThreads) {
      const int64_t image = first + k / pixels;
      const uint32_t p = k % pixels;
      const float g = d_out[(image * channels * groups + j * groups + job.group) * pixels + p];
      sum += job.x.y ? g * job.x.at(image, job.begin + j, p, height, width) : g;
    }
    total += double(sum);
  }
  total = block_sum(total, part);
  if (threadIdx.x == 0) partials[(int64_t(blockIdx.z) * channels + j) * gridDim.x + blockIdx.x] = total;
}

// totals[i] = the sum of its chunks, in their order.
struct SumOfProducts {
  const double* partials;
  double* totals;
  int64_t chunks;
  __device__ void operator()(int64_t i) const {
    double sum = 0;
    for (int64_t k = 0; k < chunks; ++k) sum += partials[i * chunks + k];
    totals[i] = sum;
  }
};

// The gradient of an edge's weights from its inner products; one thread per edge. Terms are in the order of
// `products`.
struct WeightGradients {
  MixtureOperands m;
  const double *terms, *ones, *identities,
      *bypasses;             // (terms, c), (c), (edges, c), (edges * (groups - 1), c)
  float *d_branch, *d_edge;  // null: not wanted
  __device__ void operator()(int64_t k) const {
    const int e = int(k);
    const EdgeOperand& edge = m.edge[e];
    const double b = m.edge_weight(e);
    double d = 0;
    for (int t = edge.first_term; t < edge.end_term; ++t) {
      const TermOperand& term = m.term[t];
      double inner = 0;
      for (uint32_t j = 0; j < m.channels; ++j) {
        const double product = terms[t * m.channels + j];
        inner += term.affine
                     ? double(term.affine[j]) * product + double(term.affine[m.channels + j]) * ones[j]
                     : product;
      }
      add_branch(e, term.column, b, inner, d);
    }
    if (edge.identity_column >= 0) {
      double inner = 0;
      for (uint32_t j = 0; j < m.channels; ++j) inner += identities[e * m.channels + j];
      add_branch(e, edge.identity_column, b, inner, d);
    }
    if (!d_edge) return;
    for (uint32_t i = 0; i < (m.groups - 1) * m.channels; ++i)
      d += bypasses[e * (m.groups - 1) * m.channels + i];
    d_edge[m.first_row + e] += float(d);
  }
  __device__ void add_branch(int e, int column, double b, double inner, double& d) const {
    if (d_branch) d_branch[int64_t(m.first_row + e) * m.columns + column] += float(b * inner);
    d += double(m.branch_weight(e, column)) * inner;
  }
};

// d_affine (2, c) of one term; one thread per channel.
struct AffineGradient {
  const float *branch_weights, *edge_weights;
  int64_t branch_at, edge_at;
  const double *term, *ones;
  uint32_t channels;
  float* d;
  bool add;
  __device__ void operator()(int64_t j) const {
    const double w = double(edge_weights ? edge_weights[edge_at] : 1.f) * double(branch_weights[branch_at]);
    d[j] = float(w * term[j]) + (add ? d[j] : 0.f);
    d[channels + j] = float(w * ones[j]) + (add ? d[channels + j] : 0.f);
  }
};

// d_source of an edge: what its identity and its bypass pass on; zero where neither does.
struct SourceGradient {
  const float* d_out;
  const float *branch_weights, *edge_weights;
  int64_t branch_at, edge_at;  // branch_at -1: no identity
  uint32_t source_channels, channels, groups, pixels, bypass_begin;
  __device__ float operator()(int64_t at) const {
    const uint32_t i = uint32_t(at), p = i % pixels, ch = i / pixels % source_channels;
    const int64_t n = i / pixels / source_channels;
    const float w = edge_weights ? edge_weights[edge_at] : 1.f;
    uint32_t from = ch * groups;
    float factor = branch_at >= 0 ? w * branch_weights[branch_at] : 0.f;
    if (ch >= bypass_begin) {
      const uint32_t k = ch - bypass_begin;
      from = k % channels * groups + 1 + k / channels;
      factor = w;
    }
    return factor == 0.f ? 0.f : factor * d_out[(n * channels * groups + from) * pixels + p];
  }
};

}  // namespace
}  // namespace ladarts::cuda
