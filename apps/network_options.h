// Options that say which search space, which architecture and which network around its cells.
#pragma once

#include <string>

#include "apps/options.h"
#include "nas/network_shape.h"

namespace ladarts {

struct NetworkOptions {
  std::string space = "darts";
  int channels = 0, layers = 0;  // 0: the space's default
  int classes = 10;
  int image = 32;
  std::string stem = "cifar";

  // Throws Error for a space that cannot be read and for sizes that cannot be.
  SearchSpace load_space() const { return SearchSpace::load(space); }
  NetworkShape shape() const;  // zeros not yet resolved
};

void add_space_option(CLI::App& app, NetworkOptions& options);
void add_size_options(CLI::App& app, NetworkOptions& options);     // channels, layers, stem
void add_network_options(CLI::App& app, NetworkOptions& options);  // all: also classes and image

// Help text of an option that takes an architecture.
inline constexpr const char* kGenotypeHelp =
    "architecture: a published one (DARTS_V2, PC_DARTS_cifar, ...), its text, or a file that holds it";

}  // namespace ladarts
