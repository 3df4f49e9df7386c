#include "apps/network_options.h"

namespace ladarts {

NetworkShape NetworkOptions::shape() const {
  NetworkShape s;
  s.channels = channels;
  s.layers = layers;
  s.classes = classes;
  s.image = image;
  s.stem = stem == "imagenet" ? Stem::imagenet : Stem::cifar;
  return s;
}

void add_space_option(CLI::App& app, NetworkOptions& options) {
  app.add_option("--space", options.space, "search space: darts, nasbench201 or a JSON file")
      ->option_text("NAME|FILE [darts]")
      ->group("Network");
}

void add_size_options(CLI::App& app, NetworkOptions& options) {
  app.add_option("--channels", options.channels, "channels of the first cells; 0 is the space's default")
      ->check(CLI::Range(0, 4096))
      ->option_text("N [0]")
      ->group("Network");
  app.add_option("--layers", options.layers, "cells, or cells of each stage; 0 is the space's default")
      ->check(CLI::Range(0, 1000))
      ->option_text("N [0]")
      ->group("Network");
  app.add_option("--stem", options.stem, "first layers: cifar or imagenet")
      ->check(CLI::IsMember({"cifar", "imagenet"}))
      ->option_text("NAME [cifar]")
      ->group("Network");
}

void add_network_options(CLI::App& app, NetworkOptions& options) {
  add_space_option(app, options);
  add_size_options(app, options);
  app.add_option("--classes", options.classes, "classes to tell apart")
      ->check(CLI::Range(1, 1000000))
      ->option_text("N [10]")
      ->group("Network");
  app.add_option("--image", options.image, "side of the images in pixels")
      ->check(CLI::Range(1, 4096))
      ->option_text("N [32]")
      ->group("Network");
}

}  // namespace ladarts
