#include "nas/skeleton.h"

#include "core/error.h"
#include "ops/activations.h"
#include "ops/channels.h"
#include "ops/pool2d.h"

namespace ladarts {

namespace {

Tensor record_cifar_stem(Layers& layers, Tensor images, int channels) {
  const Graph::Scope scope(layers.graph(), "stem");
  return layers.conv_norm("stem.conv", "stem.norm", images, channels, 3, {.padding = 1});
}

// Returns the first cell's two inputs, at 1/4 and 1/8 of the image's side.
std::pair<Tensor, Tensor> record_imagenet_stems(Layers& layers, Tensor images, int channels) {
  const Graph::Scope scope(layers.graph(), "stem");
  const Conv2dDesc first{.stride = 2, .padding = 1}, later{.stride = 2, .padding = 1, .relu_input = true};
  Tensor x = layers.conv_norm("stem0.conv0", "stem0.norm0", images, channels / 2, 3, first);
  Tensor s0 = layers.conv_norm("stem0.conv1", "stem0.norm1", x, channels, 3, later);
  Tensor s1 = layers.conv_norm("stem1.conv", "stem1.norm", s0, channels, 3, later);
  return {s0, s1};
}

// A cell's two inputs, brought to its channels and size.
std::vector<Tensor> record_preprocessing(Layers& layers, const std::string& name,
                                         const std::vector<Tensor>& s0, const std::vector<Tensor>& s1,
                                         const CellPosition& at) {
  const Graph::Scope scope(layers.graph(), "preprocess");
  Tensor first = at.after_reduction ? layers.factorized_reduce(name + "0", s0, at.channels)
                                    : layers.relu_conv_norm(name + "0", s0, at.channels, 1);
  return {first, layers.relu_conv_norm(name + "1", s1, at.channels, 1)};
}

SkeletonResult record_darts(SkeletonLayers& layers, const SearchSpace& space, const NetworkShape& shape,
                            Tensor images, const CellBody& body) {
  SkeletonResult result;
  std::vector<Tensor> s0, s1;  // in parts
  if (shape.stem == Stem::imagenet) {
    const auto [quarter, eighth] =
        record_imagenet_stems(layers.outer, images, layers.imagenet_stem_factor * shape.channels);
    s0 = {quarter}, s1 = {eighth};
  } else {
    s0 = s1 = {record_cifar_stem(layers.outer, images, 3 * shape.channels)};
  }
  const std::vector<CellPosition> cells = cell_positions(shape, space);
  for (size_t i = 0; i < cells.size(); ++i) {
    const CellPosition& at = cells[i];
    const std::string name = fmt::format("cell{}", i);
    const Graph::Scope scope(layers.inner.graph(), name);
    const std::vector<Tensor> inputs = record_preprocessing(layers.inner, name + ".preprocess", s0, s1, at);
    s0 = s1;
    s1 = body({int(i), name, at.reduction, at.channels, inputs});
    if (int(i) == 2 * shape.layers / 3) result.two_thirds_deep = s1;
  }
  const Graph::Scope scope(layers.outer.graph(), "head");
  std::vector<Tensor> pooled;
  for (const Tensor& part : s1) pooled.push_back(global_avg_pool(part));
  result.logits =
      layers.outer.linear("head", pooled.size() == 1 ? pooled[0] : concat_channels(pooled), shape.classes);
  return result;
}

SkeletonResult record_residual_stages(SkeletonLayers& layers, const SearchSpace& space,
                                      const NetworkShape& shape, Tensor images, const CellBody& body) {
  Tensor x = record_cifar_stem(layers.outer, images, shape.channels);
  const std::vector<CellPosition> cells = cell_positions(shape, space);
  for (size_t i = 0; i < cells.size(); ++i) {
    const std::string name = fmt::format("cell{}", i);
    if (cells[i].starts_stage) {
      const std::string block = fmt::format("residual{}", i);  // named by the cell that follows
      const Graph::Scope scope(layers.outer.graph(), block);
      x = layers.outer.residual_block(block, x, cells[i].channels);
    }
    const Graph::Scope scope(layers.inner.graph(), name);
    x = body({int(i), name, false, cells[i].channels, {x}}).front();
  }
  const Graph::Scope scope(layers.outer.graph(), "head");
  x = relu(layers.outer.norm("head.norm", x));
  return {layers.outer.linear("head", global_avg_pool(x), shape.classes), {}};
}

}  // namespace

SkeletonResult record_skeleton(SkeletonLayers layers, const SearchSpace& space, const NetworkShape& shape,
                               Tensor images, const CellBody& body) {
  require(images.rank() == 4 && images.dim(1) == 3 && images.dim(2) == shape.image &&
              images.dim(3) == shape.image,
          "[network] images must be (N, 3, {0}, {0}), are {1}", shape.image, images.shape().str());
  return space.skeleton.kind == SkeletonKind::darts
             ? record_darts(layers, space, shape, images, body)
             : record_residual_stages(layers, space, shape, images, body);
}

}  // namespace ladarts
