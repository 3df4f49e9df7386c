// Halving an image without losing half of its pixels: one 1x1 convolution of the pixels at even rows and
// columns beside another of those at odd ones (FactorizedReduce of the DARTS programs), of max(x, 0):
//   y[n][o][h][w] = sum over c of even[o][c] * max(x[n][c][2h][2w], 0)                  o < E
//   y[n][E + o][h][w] = sum over c of odd[o][c] * max(x[n][c][2h + 1][2w + 1], 0)      zero outside of x
#pragma once

#include "core/graph.h"
#include "ops/scaled_channels.h"

namespace ladarts {

struct FactorizedReduceDesc {
  int channels = 0;  // the first c channels of x are read; 0: all
};

// x (N, C, H, W), even (E, c, 1, 1), odd (O, c, 1, 1), biases (E) and (O) or both empty. Returns
// (N, E + O, ceil(H/2), ceil(W/2)).
Tensor factorized_reduce(Tensor x, Tensor even, Tensor odd, FactorizedReduceDesc desc = {},
                         Tensor even_bias = {}, Tensor odd_bias = {});
// The same of all channels of x in parts, as if by concat_channels; read where they lie (readable_as_parts),
// or from a concatenation that is recorded.
Tensor factorized_reduce(const std::vector<Tensor>& x, Tensor even, Tensor odd, Tensor even_bias = {},
                         Tensor odd_bias = {});

// Several of one x, which is read once; all weights of the same shapes. In order of the pairs.
struct FactorizedReduceWeights {
  Tensor even, odd;
};
std::vector<Tensor> factorized_reduce(Tensor x, const std::vector<FactorizedReduceWeights>& weights,
                                      FactorizedReduceDesc desc = {});

struct FactorizedReduceGeometry {
  int64_t images, channels, read;  // of one part of x, of which the first `read` of all channels are read
  int64_t h, w, oh, ow;
  int64_t outputs[2];  // of a pair of weights, from even and odd pixels

  FactorizedReduceGeometry(const Shape& x, const Shape& even, const Shape& odd);
  int64_t all_outputs() const { return outputs[0] + outputs[1]; }
  int64_t weights() const { return all_outputs() * read; }
  int64_t pixels() const { return oh * ow; }
};

// (x in parts, then of each pair even, odd; [even_bias, odd_bias] of a single pair) -> (y of each pair)
class FactorizedReduce : public Op {
 public:
  explicit FactorizedReduce(int p = 1, int q = 1) : parts(p), pairs(q) {}
  std::string_view name() const override { return "factorized_reduce"; }
  void backward(Backward& b) const override;
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  Cost cost(const NodeShapes& s) const override;
  int parts, pairs;
};

// (x in parts, even and odd of each pair, what the sums name...) -> the wanted ones of (d_x of each part,
// d_even and d_odd of each pair); the *_out members give their positions, or -1.
class FactorizedReduceGrad : public Op {
 public:
  std::string_view name() const override { return "factorized_reduce_grad"; }
  bool can_accumulate(int) const override { return true; }
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  Cost cost(const NodeShapes& s) const override;

  struct Pair {
    int weight_out[2] = {-1, -1};
    GradientSum d_y;  // empty: none reached it
  };
  int parts() const { return int(x_out.size()); }
  bool wants_x() const;
  bool wants_weights() const;

  std::vector<int> x_out;  // of each part
  std::vector<Pair> pairs;
};

// How the CPU kernels cut their work; by shape alone, so that results do not depend on the number of threads.
// A block is some output rows of one image: its pixels at even and odd places are gathered to panels.
struct FactorizedReducePlan {
  explicit FactorizedReducePlan(const FactorizedReduceGeometry& g);
  int64_t rows, blocks;          // output rows of a block, blocks of an image
  int64_t stride;                // floats from row to row of a panel
  int64_t chunks, chunk_images;  // the batch is cut into these for partial sums of weight gradients
  int64_t panel;                 // floats of one panel of inputs
  // Of a thread's panels backward: three, gradients of all outputs, and a plane.
  int64_t grad_floats(const FactorizedReduceGeometry& g, int64_t pairs) const;
};

}  // namespace ladarts
