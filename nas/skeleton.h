// What stands around the cells: stems, preprocessing, residual blocks, head. Shared by supernet and derived
// network, which differ in their cells' bodies and normalisations.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "nas/layers.h"
#include "nas/network_shape.h"

namespace ladarts {

struct CellInputs {
  int index = 0;     // of the cell in the network
  std::string name;  // "cell3"
  bool reduction = false;
  int channels = 0;            // C of its nodes
  std::vector<Tensor> states;  // preprocessed input states (N, C, H, W)
};
// Returns the cell's output in parts (ops/channels.h): its nodes, which nobody has to copy together.
using CellBody = std::function<std::vector<Tensor>(const CellInputs&)>;

struct SkeletonLayers {
  Layers outer;              // stems, residual blocks, head
  Layers inner;              // the preprocessing of a cell's inputs
  int imagenet_stem_factor;  // channels of an ImageNet stem in units of C; CIFAR stems of the darts kind have
                             // 3C
};

struct SkeletonResult {
  Tensor logits;                        // (N, classes)
  std::vector<Tensor> two_thirds_deep;  // output of cell floor(2 * layers / 3), in parts; darts skeleton
};

SkeletonResult record_skeleton(SkeletonLayers layers, const SearchSpace& space, const NetworkShape& resolved,
                               Tensor images, const CellBody& body);

}  // namespace ladarts
