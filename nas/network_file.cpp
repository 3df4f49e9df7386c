#include "nas/network_file.h"

#include "core/error.h"
#include "core/safetensors.h"

namespace ladarts {

namespace {

constexpr const char* kFormat = "ladarts-network-1";

}  // namespace

Json to_json(const NetworkConfig& c) {
  Json j;
  j["space"] = Json::parse(c.space.to_json());
  j["genotype"] = Json::parse(to_json(c.genotype));
  const NetworkShape shape = resolve(c.shape, c.space);
  j["channels"] = shape.channels;
  j["layers"] = shape.layers;
  j["classes"] = shape.classes;
  j["image"] = shape.image;
  j["stem"] = shape.stem == Stem::cifar ? "cifar" : "imagenet";
  j["auxiliary"] = c.auxiliary;
  return j;
}

NetworkConfig read_network_config(const Json& json, const std::string& where) {
  JsonFields fields(json, where);
  NetworkConfig c;
  c.space = SearchSpace::from_json(fields.at("space").dump(), where + ": space");
  c.genotype = parse_genotype(fields.at("genotype").dump(), c.space);
  c.shape.channels = fields.get<int>("channels");
  c.shape.layers = fields.get<int>("layers");
  c.shape.classes = fields.get<int>("classes");
  c.shape.image = fields.get<int>("image");
  const auto stem = fields.get<std::string>("stem");
  require(stem == "cifar" || stem == "imagenet", "{}: stem '{}' is unknown; use cifar or imagenet", where,
          stem);
  c.shape.stem = stem == "cifar" ? Stem::cifar : Stem::imagenet;
  c.auxiliary = fields.get<bool>("auxiliary");
  fields.finish();
  return c;
}

void save_network(const std::filesystem::path& path, const NetworkConfig& config, ParameterSet& params,
                  ParameterSet& buffers, const Json& facts) {
  save_parameters(path, {&params, &buffers},
                  {{"format", kFormat}, {"network", to_json(config).dump()}, {"facts", facts.dump()}});
}

Json to_json(const Normalisation& n) {
  return {{"mean", n.mean}, {"deviation", n.deviation}};
}

std::optional<Normalisation> LoadedNetwork::normalisation() const {
  if (!facts.is_object() || !facts.contains("normalisation")) return std::nullopt;
  JsonFields fields(facts["normalisation"], "normalisation of the trained network");
  using Channels = std::array<float, kImageChannels>;
  Normalisation n{fields.get<Channels>("mean"), fields.get<Channels>("deviation")};
  fields.finish();
  return n;
}

LoadedNetwork load_network(const std::filesystem::path& path, Device device) {
  const auto metadata = load_tensors(path).metadata;
  const auto format = metadata.find("format");
  require(format != metadata.end() && format->second == kFormat && metadata.count("network"),
          "{}: is not a network saved by ladarts train", path.string());
  LoadedNetwork n;
  n.config =
      read_network_config(parse_json(metadata.at("network"), path.string()), path.string() + ": network");
  n.params = std::make_unique<ParameterSet>(0, device);
  n.buffers = std::make_unique<ParameterSet>(0, device);
  if (metadata.count("facts")) n.facts = parse_json(metadata.at("facts"), path.string());
  // Recording declares the names and shapes that the file must have.
  Graph graph(device);
  const NetworkShape shape = resolve(n.config.shape, n.config.space);
  // Two images: the auxiliary head normalises values of which one image has a single one per channel.
  const Storage images = Storage::create({2, 3, shape.image, shape.image}, DType::f32, device);
  record_network(graph, n.config, n.config.auxiliary ? NetworkMode::training : NetworkMode::evaluation,
                 *n.params, *n.buffers, graph.leaf(images));
  load_parameters(path, {n.params.get(), n.buffers.get()});
  return n;
}

}  // namespace ladarts
