#include <filesystem>
#include <optional>

#include "apps/command.h"
#include "apps/format.h"
#include "apps/network_options.h"
#include "core/atomic_file.h"
#include "core/philox.h"
#include "core/safetensors.h"
#include "nas/onnx/network_export.h"

namespace ladarts {
namespace {

namespace fs = std::filesystem;

// The file of a trained network that `source` names; empty where it names an architecture.
fs::path trained_network_file(const fs::path& source) {
  std::error_code ignored;
  if (fs::is_directory(source, ignored)) {
    const fs::path file = source / "network.safetensors";
    require(fs::exists(file),
            "[export] '{}' holds no network.safetensors: name a folder of a finished ladarts train, or an "
            "architecture",
            source.string());
    return file;
  }
  return source.extension() == ".safetensors" ? source : fs::path();
}

class ExportCommand : public Command {
 public:
  std::string name() const override { return "export"; }
  std::string summary() const override { return "write a network as ONNX, for other programs and machines"; }
  std::string example() const override {
    return "ladarts export runs/train --out model.onnx\n"
           "  ladarts export DARTS_V2 --batch 0 --out model.onnx --example example.safetensors";
  }

  void declare(CLI::App& app) override {
    app.add_option("source", source_,
                   "a folder of ladarts train, or its network.safetensors, exported with its weights; or an "
                   "architecture, exported with random ones: a published one (DARTS_V2, ...), its text, or a "
                   "file that holds it")
        ->required();
    app.add_option("--out", out_, "the ONNX file to write")->required()->option_text("FILE");
    app.add_option("--batch", options_.batch, "images of each call; 0: whoever runs the model chooses")
        ->check(CLI::Range(0, 65536))
        ->option_text("N [1]");
    app.add_option("--example", example_,
                   "also write random images and what ladarts computes from them, to compare with")
        ->option_text("FILE.safetensors");
    add_network_options(app, network_);
    for (const char* option : {"--space", "--channels", "--layers", "--stem", "--classes", "--image"})
      shape_options_.push_back(app.get_option(option));
  }

  Json run(const CommonOptions& common) override {
    options_.seed = common.seed;
    std::optional<LoadedNetwork> trained;
    NetworkConfig config;
    if (const fs::path file = trained_network_file(source_); !file.empty()) {
      for (const CLI::Option* option : shape_options_)
        require(option->count() == 0, "[export] '{}' knows its own network: leave out {}", file.string(),
                option->get_name());
      trained = load_network(file);
      config = trained->config;
    } else {
      config.space = network_.load_space();
      config.genotype = parse_genotype(source_, config.space);
      config.shape = network_.shape();
    }
    return trained ? written(onnx::ExportableNetwork(*trained, options_), config, true)
                   : written(onnx::ExportableNetwork(config, options_), config, false);
  }

  std::string text(const Json& r) const override {
    std::string out = fmt::format(
        "{}\n\nfile                  {} ({} bytes, ONNX operator set {})\nnetwork               {}, {} "
        "weights\n",
        text_of(r["text"]), text_of(r["file"]), with_separators(r["bytes"]), r["opset"].get<int>(),
        described(r["network"]), text_of(r["weights"]));
    for (const char* side : {"inputs", "outputs"})
      for (const Json& value : r[side])
        out += fmt::format("{:<21} {} {}\n", side == std::string("inputs") ? "input" : "output",
                           text_of(value["name"]), value["shape"].dump());
    return out + fmt::format("input images          {}\nmultiply-accumulates  {} for one image\n",
                             text_of(r["normalisation"]), with_separators(r["multiply_accumulates"]));
  }

 private:
  Json written(const onnx::ExportableNetwork& network, const NetworkConfig& config, bool trained) const {
    const onnx::Model model = network.model();
    const std::string bytes = onnx::serialise(model);
    if (!example_.empty()) write_example(network);
    write_file_atomically(out_, bytes);
    const NetworkShape shape = resolve(config.shape, config.space);
    Json result{{"file", out_},
                {"text", to_text(config.genotype, config.space)},
                {"network",
                 {{"channels", shape.channels},
                  {"layers", shape.layers},
                  {"classes", shape.classes},
                  {"image", shape.image}}},
                {"weights", trained ? "trained" : "random"},
                {"opset", onnx::kOpset},
                {"ir_version", onnx::kIrVersion},
                {"bytes", bytes.size()},
                {"nodes", model.nodes.size()},
                {"inputs", described_values(model.inputs)},
                {"outputs", described_values(model.outputs)},
                {"parameters", network.parameters()},
                {"multiply_accumulates", network.multiply_accumulates()}};
    for (const auto& [key, value] : model.metadata)
      if (key == "image.normalisation") result["normalisation"] = value;
    if (!example_.empty()) result["example"] = example_;
    return result;
  }

  static Json described_values(const std::vector<onnx::ValueInfo>& values) {
    Json list = Json::array();
    for (const onnx::ValueInfo& v : values) {
      Json shape = Json::array();
      for (const auto& dim : v.dims) std::visit([&](const auto& d) { shape.push_back(d); }, dim);
      list.push_back({{"name", v.name}, {"type", "float32"}, {"shape", shape}});
    }
    return list;
  }

  // Images of deviation 1, as normalised ones.
  void write_example(const onnx::ExportableNetwork& network) const {
    Random random(options_.seed, 0x6578616d706c65);  // the stream "example"
    std::vector<float> images(size_t(network.images().elements()));
    for (float& v : images) v = random.normal();
    TensorFile file;
    file.tensors["logits"] = {network.logits(), network.run(images)};
    file.tensors["images"] = {network.images(), std::move(images)};
    save_tensors(example_, file);
  }

  std::string source_, out_, example_;
  onnx::ExportOptions options_;
  NetworkOptions network_;
  std::vector<CLI::Option*> shape_options_;
};

}  // namespace

std::unique_ptr<Command> make_export_command() {
  return std::make_unique<ExportCommand>();
}

}  // namespace ladarts
