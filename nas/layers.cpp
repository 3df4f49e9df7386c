#include "nas/layers.h"

#include <cmath>

#include "core/error.h"
#include "core/gradients.h"
#include "ops/arithmetic.h"
#include "ops/batch_norm.h"
#include "ops/factorized_reduce.h"
#include "ops/linear.h"
#include "ops/norm_sum.h"
#include "ops/pool2d.h"
#include "ops/separable_stage.h"
#include "ops/sum_conv2d.h"

namespace ladarts {

ConvWeights Layers::weights(const std::string& name, int64_t outputs, int64_t inputs, int kernel,
                            bool relu_input, bool bias) {
  const int64_t fan_in = inputs * kernel * kernel;
  const float keeps_variance = std::sqrt(3.f * (relu_input ? 2.f : 1.f) / float(fan_in));
  return {params_.get(graph_, name + ".weight", {outputs, inputs, kernel, kernel},
                      folded() ? Init::uniform(keeps_variance) : Init::fan_in(fan_in)),
          bias ? params_.get(graph_, name + ".bias", {outputs}, Init::constant(0)) : Tensor()};
}

namespace {

int64_t channels_of(const std::vector<Tensor>& parts) {
  int64_t channels = 0;
  for (const Tensor& part : parts) channels += part.dim(1);
  return channels;
}

}  // namespace

Tensor Layers::conv_with(const std::string& name, const std::vector<Tensor>& x, int64_t channels, int kernel,
                         Conv2dDesc desc, bool bias) {
  const ConvWeights w = weights(name, channels, channels_of(x) / desc.groups, kernel, desc.relu_input, bias);
  return conv2d(x, w.weight, desc, w.bias);
}

Tensor Layers::conv(const std::string& name, Tensor x, int64_t channels, int kernel, Conv2dDesc desc) {
  return conv_with(name, {x}, channels, kernel, desc, false);
}

Tensor Layers::conv_norm(const std::string& conv_name, const std::string& norm_name,
                         const std::vector<Tensor>& x, int64_t channels, int kernel, Conv2dDesc desc) {
  if (!folded()) return norm(norm_name, conv_with(conv_name, x, channels, kernel, desc, false));
  if (options_.folds) options_.folds->push_back({conv_name, norm_name, 0});
  return conv_with(conv_name, x, channels, kernel, desc, true);
}

Layers::NormLeaves Layers::norm_leaves(const std::string& name, int64_t channels) {
  const Shape shape{channels};
  NormLeaves leaves;
  if (options_.affine) {
    leaves.gamma = params_.get(graph_, name + ".gamma", shape, Init::constant(1));
    leaves.beta = params_.get(graph_, name + ".beta", shape, Init::constant(0));
  }
  if (options_.statistics != Statistics::batch) {
    // A normalisation that no convolution precedes keeps its statistics in the folded set itself.
    ParameterSet& set = folded() ? params_ : *options_.buffers;
    set.get(graph_, name + ".running_mean", shape, Init::constant(0));
    set.get(graph_, name + ".running_var", shape, Init::constant(1));
    leaves.state = {set.find(name + ".running_mean")->value, set.find(name + ".running_var")->value};
  }
  return leaves;
}

Tensor Layers::norm(const std::string& name, Tensor x) {
  const NormLeaves leaves = norm_leaves(name, x.dim(1));
  const bool training =
      options_.statistics == Statistics::batch || options_.statistics == Statistics::updating;
  return batch_norm(x, leaves.gamma, leaves.beta, leaves.state, {.training = training, .eps = kNormEps});
}

DeferredNorm Layers::deferred_norm(const std::string& name, DeferredNorm x) {
  const NormLeaves leaves = norm_leaves(name, x.y.dim(1));
  return with_gamma_beta(x, leaves.gamma, leaves.beta, leaves.state, {.eps = kNormEps});
}

Tensor Layers::linear(const std::string& name, Tensor x, int64_t outputs) {
  const Init init = Init::fan_in(x.dim(1));
  Tensor w = params_.get(graph_, name + ".weight", {outputs, x.dim(1)}, init);
  Tensor b = params_.get(graph_, name + ".bias", {outputs}, init);
  return ladarts::linear(x, w, b);
}

Tensor Layers::relu_conv_norm(const std::string& name, const std::vector<Tensor>& x, int64_t channels,
                              int kernel, int stride) {
  return conv_norm(name, name + ".norm", x, channels, kernel,
                   {.stride = stride, .padding = (kernel - 1) / 2, .relu_input = true});
}

std::vector<Tensor> Layers::relu_convs(const std::vector<NamedChannels>& convs, const std::vector<Tensor>& x,
                                       bool only_readers) {
  std::vector<ConvWeights> w;
  for (const auto& [name, channels] : convs) {
    w.push_back(weights(name, channels, channels_of(x), 1, true, folded()));
    if (folded() && options_.folds) options_.folds->push_back({name, name + ".norm", 0});
  }
  if (only_readers && defers()) {
    SumParts parts;
    bool sums = false;
    for (const Tensor& part : x) {
      parts.push_back(unread_terms(part));
      sums = sums || parts.back()[0].y != part;
    }
    if (sums && readable_as_sums(parts)) {
      std::vector<Tensor> plain;
      for (const ConvWeights& c : w) plain.push_back(c.weight);
      return sum_conv2d(parts, plain);
    }
  }
  return conv2d(x, w, {.relu_input = true});
}

Tensor Layers::rest_of_relu_conv_norm(const std::string& name, Tensor x) {
  return folded() ? x : norm(name + ".norm", x);
}

Layers::HalvesWeights Layers::halves_weights(const std::string& name, int64_t channels, int64_t read) {
  require(channels % 2 == 0, "[layers] {} halves the image and needs an even number of channels, not {}",
          name, channels);
  return {weights(name + ".even", channels / 2, read, 1, true, folded()),
          weights(name + ".odd", channels / 2, read, 1, true, folded())};
}

Tensor Layers::strided_halves(const std::string& name, Tensor x, int64_t channels, int64_t read) {
  const auto [even, odd] = halves_weights(name, channels, read);
  return ladarts::factorized_reduce(x, even.weight, odd.weight, {.channels = int(read)}, even.bias, odd.bias);
}

std::vector<Tensor> Layers::strided_halves(const std::vector<std::string>& names, Tensor x, int64_t channels,
                                           int64_t read) {
  LADARTS_CHECK(!folded());
  std::vector<FactorizedReduceWeights> pairs;
  for (const std::string& name : names) {
    const auto [even, odd] = halves_weights(name, channels, read);
    pairs.push_back({even.weight, odd.weight});
  }
  return ladarts::factorized_reduce(x, pairs, {.channels = int(read)});
}

Tensor Layers::factorized_reduce(const std::string& name, const std::vector<Tensor>& x, int64_t channels) {
  const auto [even, odd] = halves_weights(name, channels, channels_of(x));
  Tensor y = ladarts::factorized_reduce(x, even.weight, odd.weight, even.bias, odd.bias);
  if (!folded()) return norm(name + ".norm", y);
  if (options_.folds) {
    options_.folds->push_back({name + ".even", name + ".norm", 0});
    options_.folds->push_back({name + ".odd", name + ".norm", channels / 2});
  }
  return y;
}

Tensor Layers::separable(const std::string& depthwise, const std::string& pointwise, const std::string& norm,
                         Tensor x, int kernel, SeparableConvDesc desc, Tensor addend) {
  const int64_t channels = x.dim(1);
  if (!folded() || !has_separable_conv(kernel)) {
    LADARTS_CHECK(!addend);
    x = conv(depthwise, x, channels, kernel,
             {.stride = desc.stride,
              .padding = desc.dilation * (kernel - 1) / 2,
              .dilation = desc.dilation,
              .groups = int(channels),
              .relu_input = true});
    return conv_norm(pointwise, norm, x, channels, 1, {});
  }
  if (options_.folds) options_.folds->push_back({pointwise, norm, 0});
  const ConvWeights d = weights(depthwise, channels, 1, kernel, true, false),
                    p = weights(pointwise, channels, channels, 1, false, true);
  return separable_conv(x, d.weight, p.weight, p.bias, desc, addend);
}

bool Layers::has_stages(const Primitive& p) const {
  return defers() && (p.kind == PrimitiveKind::sep_conv || p.kind == PrimitiveKind::dil_conv) &&
         has_separable_conv(p.kernel);
}

std::vector<DeferredNorm> Layers::stages(const std::vector<NamedStage>& named, DeferredNorm x, int stride) {
  const int64_t channels = x.y.dim(1);
  std::vector<SeparableBranch> branches;
  for (const NamedStage& s : named)
    branches.push_back({.depthwise = weights(s.depthwise, channels, 1, s.kernel, true, false).weight,
                        .pointwise = weights(s.pointwise, channels, channels, 1, false, false).weight,
                        .dilation = s.dilation});
  std::vector<DeferredNorm> y = separable_stage({x}, branches, {.stride = stride, .eps = kNormEps});
  for (size_t i = 0; i < named.size(); ++i) y[i] = deferred_norm(named[i].norm, y[i]);
  return y;
}

std::vector<DeferredNorm> Layers::first_stages(const std::vector<NamedPrimitive>& convs, Tensor x,
                                               int stride) {
  std::vector<NamedStage> named;
  for (const auto& [p, name] : convs) {
    LADARTS_CHECK(has_stages(p));
    if (p.kind == PrimitiveKind::dil_conv) {
      named.push_back({name + ".depthwise", name + ".pointwise", name + ".norm", p.kernel, 2});
    } else {
      named.push_back({name + ".depthwise0", name + ".pointwise0", name + ".norm0", p.kernel, 1});
    }
  }
  return stages(named, {x, {}}, stride);
}

DeferredNorm Layers::last_stage(const NamedPrimitive& conv, DeferredNorm first) {
  const auto& [p, name] = conv;
  if (p.kind == PrimitiveKind::dil_conv) return first;
  return stages({{name + ".depthwise1", name + ".pointwise1", name + ".norm1", p.kernel, 1}}, first, 1)[0];
}

DeferredNorm Layers::deferred_primitive(const Primitive& p, const std::string& name, Tensor x, int stride) {
  if (defers() && p.kind == PrimitiveKind::skip_connect && stride == 2)
    return deferred_norm(name + ".norm", defer_norm(strided_halves(name, x, x.dim(1), x.dim(1)), kNormEps));
  return {primitive(p, name, x, stride), {}};
}

Tensor Layers::sep_conv(const std::string& name, Tensor x, int kernel, int stride, Tensor addend) {
  x = separable(name + ".depthwise0", name + ".pointwise0", name + ".norm0", x, kernel, {.stride = stride},
                {});
  return separable(name + ".depthwise1", name + ".pointwise1", name + ".norm1", x, kernel, {}, addend);
}

Tensor Layers::dil_conv(const std::string& name, Tensor x, int kernel, int stride, Tensor addend) {
  return separable(name + ".depthwise", name + ".pointwise", name + ".norm", x, kernel,
                   {.stride = stride, .dilation = 2}, addend);
}

bool Layers::adds(const Primitive& p) const {
  return folded() && (p.kind == PrimitiveKind::sep_conv || p.kind == PrimitiveKind::dil_conv) &&
         has_separable_conv(p.kernel);
}

Tensor Layers::residual_block(const std::string& name, Tensor x, int64_t channels) {
  Tensor main = relu_conv_norm(name + ".a", {x}, channels, 3, 2);
  main = relu_conv_norm(name + ".b", {main}, channels, 3);
  Tensor pooled = avg_pool2d(x, {.kernel = 2, .stride = 2, .padding = 0});
  return add(conv(name + ".shortcut", pooled, channels, 1, {}), main);
}

Tensor Layers::zeros(Shape shape) {
  return graph_.add(std::make_shared<Fill>(0.f), {}, {{shape}})[0];
}

Tensor Layers::primitive(const Primitive& p, const std::string& name, Tensor x, int stride, Tensor addend) {
  LADARTS_CHECK(!addend || adds(p));
  const Pool2dDesc pool{.kernel = p.kernel, .stride = stride, .padding = (p.kernel - 1) / 2};
  switch (p.kind) {
    case PrimitiveKind::none:
      return zeros({x.dim(0), x.dim(1), (x.dim(2) - 1) / stride + 1, (x.dim(3) - 1) / stride + 1});
    case PrimitiveKind::max_pool:
      return options_.pool_norm ? norm(name + ".norm", max_pool2d(x, pool)) : max_pool2d(x, pool);
    case PrimitiveKind::avg_pool:
      return options_.pool_norm ? norm(name + ".norm", avg_pool2d(x, pool)) : avg_pool2d(x, pool);
    case PrimitiveKind::skip_connect:
      return stride == 1 ? x : factorized_reduce(name, {x}, x.dim(1));
    case PrimitiveKind::sep_conv:
      return sep_conv(name, x, p.kernel, stride, addend);
    case PrimitiveKind::dil_conv:
      return dil_conv(name, x, p.kernel, stride, addend);
    case PrimitiveKind::nor_conv:
      return relu_conv_norm(name, {x}, x.dim(1), p.kernel, stride);
  }
  LADARTS_CHECK(false);
  return {};
}

bool is_identity(const Primitive& primitive, int stride) {
  return primitive.kind == PrimitiveKind::none ||
         (primitive.kind == PrimitiveKind::skip_connect && stride == 1);
}

}  // namespace ladarts
