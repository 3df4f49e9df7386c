// The layers that cells, stems and heads are made of, recorded with named parameters. x is (N, C, H, W);
// where it is a list, in parts (ops/channels.h).
#pragma once

#include <string>
#include <vector>

#include "core/parameters.h"
#include "nas/primitives.h"
#include "ops/conv2d.h"
#include "ops/deferred_norm.h"
#include "ops/separable_conv.h"

namespace ladarts {

// Where a normalisation takes its statistics from.
enum class Statistics : uint8_t {
  batch,     // of the batch; none are kept
  updating,  // of the batch; running ones are kept
  running,   // the running ones
  folded,    // the running ones, already part of the convolution before the normalisation
};

// A normalisation that is part of a convolution: channels [first, first + outputs of the convolution) of
// `norm`.
struct Fold {
  std::string convolution;  // "stem.conv": parameters ".weight" and ".bias"
  std::string norm;         // "stem.norm": ".gamma", ".beta", ".running_mean", ".running_var"
  int64_t first = 0;
};

inline constexpr float kNormEps = 1e-5f;

struct LayerOptions {
  Statistics statistics = Statistics::batch;
  bool affine = true;                  // normalisations have gamma and beta
  bool pool_norm = false;              // pooling primitives are followed by a normalisation
  ParameterSet* buffers = nullptr;     // running statistics
  std::vector<Fold>* folds = nullptr;  // where folded ones are noted
};

// Parameters of layer `name` are called name + ".weight" and so on; see each.
//
// Weights start uniform in +-1/sqrt(fan_in), as in the public programs. Folded ones, which no training
// follows, start so that they keep the variance of their input: an untrained network must not run into
// denormal numbers, which would change its speed.
class Layers {
 public:
  Layers(Graph& graph, ParameterSet& params, LayerOptions options)
      : graph_(graph), params_(params), options_(options) {}

  // Convolution with square kernel, no bias of its own, then normalisation.
  Tensor conv_norm(const std::string& conv, const std::string& norm, const std::vector<Tensor>& x,
                   int64_t channels, int kernel, Conv2dDesc desc);
  Tensor conv_norm(const std::string& conv, const std::string& norm, Tensor x, int64_t channels, int kernel,
                   Conv2dDesc desc) {
    return conv_norm(conv, norm, std::vector{x}, channels, kernel, desc);
  }
  // Convolution alone, without bias: name.weight.
  Tensor conv(const std::string& name, Tensor x, int64_t channels, int kernel, Conv2dDesc desc);
  Tensor norm(const std::string& name, Tensor x);
  // With bias: name.weight, name.bias.
  Tensor linear(const std::string& name, Tensor x, int64_t outputs);

  // ReLU, convolution (size kept at stride 1), normalisation: name.weight, name.norm.
  Tensor relu_conv_norm(const std::string& name, const std::vector<Tensor>& x, int64_t channels, int kernel,
                        int stride = 1);
  // Of one x, which is read once: ReLU and a 1x1 convolution each, without the normalisation that belongs to
  // it, which is rest_of_relu_conv_norm(): name.weight.
  struct NamedChannels {
    std::string name;
    int64_t channels;
  };
  // only_readers: nothing else reads x from here on, so that sums of nodes need not be stored for it.
  std::vector<Tensor> relu_convs(const std::vector<NamedChannels>& convs, const std::vector<Tensor>& x,
                                 bool only_readers = false);
  // name.norm, which is none where it is folded.
  Tensor rest_of_relu_conv_norm(const std::string& name, Tensor x);
  // Halves the size: ReLU, concat(1x1 of even positions, 1x1 of odd ones), normalisation: name.even, .odd,
  // .norm.
  Tensor factorized_reduce(const std::string& name, const std::vector<Tensor>& x, int64_t channels);
  // The same before its normalisation, of the first `read` channels of x.
  Tensor strided_halves(const std::string& name, Tensor x, int64_t channels, int64_t read);
  // The same for each name in one op.
  std::vector<Tensor> strided_halves(const std::vector<std::string>& names, Tensor x, int64_t channels,
                                     int64_t read);
  // Twice [ReLU, depthwise, pointwise, normalisation]: name.depthwise0, .pointwise0, .norm0, .depthwise1, ...
  // addend: added to the result; empty, or only where adds() is true.
  Tensor sep_conv(const std::string& name, Tensor x, int kernel, int stride, Tensor addend = {});
  // ReLU, depthwise with dilation 2, pointwise, normalisation: name.depthwise, .pointwise, .norm.
  Tensor dil_conv(const std::string& name, Tensor x, int kernel, int stride, Tensor addend = {});
  // NAS-Bench-201's step between stages: two convolutions beside average pooling and 1x1 convolution, added.
  Tensor residual_block(const std::string& name, Tensor x, int64_t channels);

  // The primitive, channels kept, size divided by stride 1 or 2. Pools may be normalised (name.norm).
  Tensor primitive(const Primitive& primitive, const std::string& name, Tensor x, int stride,
                   Tensor addend = {});
  // The same, its last normalisation left to the reader where it is trained by fused ops.
  DeferredNorm deferred_primitive(const Primitive& primitive, const std::string& name, Tensor x, int stride);
  // Whether the primitive is trained as separable stages, of which all that leave an image read it once:
  // first_stages() of them, and last_stage() of each, its normalisation left to the reader.
  bool has_stages(const Primitive& primitive) const;
  struct NamedPrimitive {
    const Primitive& primitive;
    std::string name;
  };
  std::vector<DeferredNorm> first_stages(const std::vector<NamedPrimitive>& convs, Tensor x, int stride);
  DeferredNorm last_stage(const NamedPrimitive& conv, DeferredNorm first);
  // Whether the primitive adds another value to its result without a pass of its own.
  bool adds(const Primitive& primitive) const;
  Tensor zeros(Shape shape);

  Graph& graph() const { return graph_; }

 private:
  bool folded() const { return options_.statistics == Statistics::folded; }
  ConvWeights weights(const std::string& name, int64_t outputs, int64_t inputs, int kernel, bool relu_input,
                      bool bias);
  struct NormLeaves {
    Tensor gamma, beta;
    BatchNormState state;
  };
  NormLeaves norm_leaves(const std::string& name, int64_t channels);
  // Whether kernels that normalise by the batch and leave that to the reader take the place of single layers.
  bool defers() const { return options_.statistics == Statistics::updating; }
  DeferredNorm deferred_norm(const std::string& name, DeferredNorm x);
  struct NamedStage {
    std::string depthwise, pointwise, norm;
    int kernel, dilation;
  };
  std::vector<DeferredNorm> stages(const std::vector<NamedStage>& named, DeferredNorm x, int stride);
  // ReLU, depthwise, pointwise, normalisation.
  Tensor separable(const std::string& depthwise, const std::string& pointwise, const std::string& norm,
                   Tensor x, int kernel, SeparableConvDesc desc, Tensor addend);
  Tensor conv_with(const std::string& name, const std::vector<Tensor>& x, int64_t channels, int kernel,
                   Conv2dDesc desc, bool bias);
  struct HalvesWeights {
    ConvWeights even, odd;
  };
  HalvesWeights halves_weights(const std::string& name, int64_t channels, int64_t read);
  Graph& graph_;
  ParameterSet& params_;
  LayerOptions options_;
};

// True where the primitive at this stride computes nothing: drop-path leaves it alone.
bool is_identity(const Primitive& primitive, int stride);

}  // namespace ladarts
