// A trained network in one .safetensors file: weights, running statistics, and as metadata what builds it
// again.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "core/json_file.h"
#include "nas/data/dataset.h"
#include "nas/network.h"

namespace ladarts {

Json to_json(const NetworkConfig& config);
// Throws Error naming a missing or impossible field.
NetworkConfig read_network_config(const Json& json, const std::string& where);

void save_network(const std::filesystem::path& path, const NetworkConfig& config, ParameterSet& params,
                  ParameterSet& buffers, const Json& facts);

struct LoadedNetwork {
  NetworkConfig config;
  std::unique_ptr<ParameterSet> params, buffers;
  Json facts;  // as saved: accuracy, training
  // How its images were normalised; empty for a network that was saved without that.
  std::optional<Normalisation> normalisation() const;
};
Json to_json(const Normalisation& normalisation);  // the value of "normalisation" among the facts
LoadedNetwork load_network(const std::filesystem::path& path, Device device = {});

}  // namespace ladarts
