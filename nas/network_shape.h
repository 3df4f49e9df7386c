// What both supernet and derived network need to know besides the cells.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nas/search_space.h"

namespace ladarts {

// cifar: one 3x3 convolution. imagenet: three of stride 2, so cells start at 1/8 of the image's side.
enum class Stem : uint8_t { cifar, imagenet };

struct NetworkShape {
  int channels = 0;  // of the first cells' nodes; 0: the space's default
  int layers = 0;    // cells, or cells of each stage; 0: the space's default
  int classes = 10;
  int image = 32;  // side in pixels; images are (N, 3, image, image)
  Stem stem = Stem::cifar;
};

// With defaults filled in. Throws Error naming what cannot be: sizes below 1, an image too small for the
// reductions, an ImageNet stem where the space has none.
NetworkShape resolve(const NetworkShape& shape, const SearchSpace& space);

// One cell of a network, in order from the stem to the head.
struct CellPosition {
  int channels = 0;              // C of its nodes
  bool reduction = false;        // darts: this cell halves the image
  bool after_reduction = false;  // darts: the cell before did, so the input before that is twice as large
  bool starts_stage = false;     // residual_stages: a residual block stands before it
};
std::vector<CellPosition> cell_positions(const NetworkShape& resolved, const SearchSpace& space);

}  // namespace ladarts
