#include "nas/skeleton.h"

#include <map>

#include "core/error.h"
#include "ops/activations.h"
#include "ops/channels.h"
#include "ops/pool2d.h"

namespace ladarts {

namespace {

Tensor record_cifar_stem(Layers& layers, Tensor images, int channels) {
  const Graph::Scope scope(layers.graph(), "stem");
  return layers.conv_norm("stem.conv", "stem.norm", images, channels, 3, {.padding = 1, .few_taps = true});
}

// Returns the first cell's two inputs, at 1/4 and 1/8 of the image's side.
std::pair<Tensor, Tensor> record_imagenet_stems(Layers& layers, Tensor images, int channels) {
  const Graph::Scope scope(layers.graph(), "stem");
  const Conv2dDesc first{.stride = 2, .padding = 1, .few_taps = true},
      later{.stride = 2, .padding = 1, .relu_input = true};
  Tensor x = layers.conv_norm("stem0.conv0", "stem0.norm0", images, channels / 2, 3, first);
  Tensor s0 = layers.conv_norm("stem0.conv1", "stem0.norm1", x, channels, 3, later);
  Tensor s1 = layers.conv_norm("stem1.conv", "stem1.norm", s0, channels, 3, later);
  return {s0, s1};
}

// Brings states to the channels and size of the cells that read them. A state goes to the next cell and to
// the one after it: its two convolutions are recorded together as soon as it is there.
class Preprocessing {
 public:
  Preprocessing(Layers& layers, const std::vector<CellPosition>& cells) : layers_(layers), cells_(cells) {}

  // Both inputs of a cell: s1, the newest state, and s0, the one before it, in parts. only_readers: nothing
  // but cells reads s1.
  std::vector<Tensor> inputs_of(size_t cell, const std::vector<Tensor>& s0, const std::vector<Tensor>& s1,
                                bool only_readers) {
    const Graph::Scope scope(layers_.graph(), "preprocess");
    std::vector<Reader> newest{{cell, 1}, {cell + 1, 0}};
    if (cell == 0 && s0[0].id() == s1[0].id())
      newest.insert(newest.begin(), {0, 0});
    else if (cell == 0)
      convolve(s0, {{0, 0}}, false);
    const bool halved = cell + 1 < cells_.size() && halves(cell + 1);
    convolve(s1, newest, only_readers && !halved);
    return {halves(cell) ? layers_.factorized_reduce(name_of({cell, 0}), s0, cells_[cell].channels)
                         : convolved(name_of({cell, 0})),
            convolved(name_of({cell, 1}))};
  }

 private:
  struct Reader {
    size_t cell;
    int input;
  };
  static std::string name_of(const Reader& r) { return fmt::format("cell{}.preprocess{}", r.cell, r.input); }
  // Whether the cell's first input is halved in size, for which no convolution of here serves.
  bool halves(size_t cell) const { return cells_[cell].after_reduction; }

  void convolve(const std::vector<Tensor>& state, const std::vector<Reader>& readers, bool only_readers) {
    std::vector<Layers::NamedChannels> convs;
    for (const Reader& r : readers)
      if (r.cell < cells_.size() && !(r.input == 0 && halves(r.cell)))
        convs.push_back({name_of(r), cells_[r.cell].channels});
    if (convs.empty()) return;
    const std::vector<Tensor> results = layers_.relu_convs(convs, state, only_readers);
    for (size_t i = 0; i < convs.size(); ++i) convolved_[convs[i].name] = results[i];
  }
  // Normalised when its cell comes, so that less lives in between.
  Tensor convolved(const std::string& name) {
    return layers_.rest_of_relu_conv_norm(name, convolved_.at(name));
  }

  Layers& layers_;
  const std::vector<CellPosition>& cells_;
  std::map<std::string, Tensor> convolved_;
};

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
  Preprocessing preprocessing(layers.inner, cells);
  for (size_t i = 0; i < cells.size(); ++i) {
    const CellPosition& at = cells[i];
    const std::string name = fmt::format("cell{}", i);
    const Graph::Scope scope(layers.inner.graph(), name);
    const bool only_cells_read = int(i) - 1 != 2 * shape.layers / 3;  // s1: else an auxiliary head may
    const std::vector<Tensor> inputs = preprocessing.inputs_of(i, s0, s1, only_cells_read);
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
