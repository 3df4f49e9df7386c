#include "nas/network_shape.h"

#include <algorithm>

#include "core/error.h"

namespace ladarts {

namespace {

bool is_reduction(const SearchSpace& space, int layers, int index) {
  return std::any_of(space.skeleton.reduce_at.begin(), space.skeleton.reduce_at.end(),
                     [&](Fraction f) { return layers * f.numerator / f.denominator == index; });
}

int times_halved(const NetworkShape& shape, const SearchSpace& space) {
  if (space.skeleton.kind == SkeletonKind::residual_stages) return space.skeleton.stages - 1;
  int count = shape.stem == Stem::imagenet ? 3 : 0;
  for (int i = 0; i < shape.layers; ++i) count += is_reduction(space, shape.layers, i);
  return count;
}

}  // namespace

NetworkShape resolve(const NetworkShape& shape, const SearchSpace& space) {
  NetworkShape s = shape;
  if (s.channels == 0) s.channels = space.skeleton.channels;
  if (s.layers == 0) s.layers = space.skeleton.layers;
  require(s.channels >= 1 && s.channels <= 4096, "[network] channels must be from 1 to 4096, are {}",
          s.channels);
  require(s.layers >= 1 && s.layers <= 1000, "[network] layers must be from 1 to 1000, are {}", s.layers);
  require(s.classes >= 1, "[network] classes must be 1 or more, are {}", s.classes);
  const bool residual = space.skeleton.kind == SkeletonKind::residual_stages;
  require(!residual || s.stem == Stem::cifar, "[network] space '{}' has no ImageNet stem", space.name);
  require(s.stem == Stem::cifar || s.channels % 2 == 0,
          "[network] an ImageNet stem needs an even number of channels, not {}", s.channels);
  const int halved = times_halved(s, space);
  require(halved < 31 && s.image >= (1 << halved) && s.image <= 16384,
          "[network] images of {0} x {0} do not fit: this network halves them {1} times", s.image, halved);
  require(!residual || s.image % (1 << halved) == 0,
          "[network] space '{}' needs an image side that is a multiple of {}, not {}", space.name,
          1 << halved, s.image);
  return s;
}

std::vector<CellPosition> cell_positions(const NetworkShape& shape, const SearchSpace& space) {
  std::vector<CellPosition> cells;
  CellPosition cell{.channels = shape.channels};
  if (space.skeleton.kind == SkeletonKind::residual_stages) {
    for (int stage = 0; stage < space.skeleton.stages; ++stage, cell.channels *= 2)
      for (int i = 0; i < shape.layers; ++i) {
        cell.starts_stage = stage > 0 && i == 0;
        cells.push_back(cell);
      }
    return cells;
  }
  bool before = shape.stem == Stem::imagenet;
  for (int i = 0; i < shape.layers; ++i) {
    cell.reduction = is_reduction(space, shape.layers, i);
    cell.after_reduction = before;
    if (cell.reduction) cell.channels *= 2;
    cells.push_back(cell);
    before = cell.reduction;
  }
  return cells;
}

}  // namespace ladarts
