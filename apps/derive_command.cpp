#include <filesystem>

#include "apps/command.h"
#include "apps/format.h"
#include "apps/network_options.h"
#include "apps/search_folder.h"
#include "core/atomic_file.h"
#include "core/jsonl_log.h"
#include "nas/network.h"

namespace ladarts {
namespace {

namespace fs = std::filesystem;

bool is_checkpoint(const fs::path& path) {
  return path.extension() == ".safetensors" && fs::is_regular_file(path);
}

class DeriveCommand : public Command {
 public:
  std::string name() const override { return "derive"; }
  std::string summary() const override {
    return "derive or show an architecture, its forms and what it costs";
  }
  std::string example() const override { return "ladarts derive runs/search --out genotype.json"; }

  void declare(CLI::App& app) override {
    app.add_option(
           "source", source_,
           "a search's folder or checkpoint.safetensors, or an architecture: a published one (DARTS_V2, "
           "PC_DARTS_cifar, ...), its text, or a file that holds it")
        ->required();
    app.add_option("--epoch", epoch_,
                   "of a search's folder: the architecture after this epoch, counted from 0")
        ->check(CLI::NonNegativeNumber)
        ->option_text("N [last]");
    app.add_option("--out", out_, "write the architecture as JSON to this file")->option_text("FILE");
    add_network_options(app, network_);
  }

  Json run(const CommonOptions&) override {
    const SearchSpace space = network_.load_space();
    const Genotype genotype = read(space);
    validate(genotype, space);
    const NetworkShape shape = resolve(network_.shape(), space);
    const NetworkCounts counts = count_network({space, genotype, shape});
    if (!out_.empty()) write_file_atomically(out_, to_json(genotype) + "\n");
    return {{"space", space.name},
            {"genotype", Json::parse(to_json(genotype))},
            {"text", to_text(genotype, space)},
            {"key", genotype.key()},
            {"network",
             {{"channels", shape.channels},
              {"layers", shape.layers},
              {"classes", shape.classes},
              {"image", shape.image}}},
            {"parameters", counts.parameters},
            {"multiply_accumulates", counts.multiply_accumulates}};
  }

  std::string text(const Json& r) const override {
    return fmt::format(
        "{}\n\nkey                   {}\nnetwork               {}\nparameters            {}\n"
        "multiply-accumulates  {}\n",
        text_of(r["text"]), text_of(r["key"]), described(r["network"]), with_separators(r["parameters"]),
        with_separators(r["multiply_accumulates"]));
  }

 private:
  Genotype read(const SearchSpace& space) const {
    if (fs::is_directory(source_)) return from_folder(space);
    require(epoch_ < 0, "[derive] --epoch needs a search's folder, '{}' is none", source_);
    return is_checkpoint(source_) ? derive(space, read_architecture(source_, space))
                                  : parse_genotype(source_, space);
  }

  Genotype from_folder(const SearchSpace& space) const {
    const fs::path folder = source_;
    if (epoch_ < 0 && fs::exists(folder / "genotype.json"))
      return parse_genotype((folder / "genotype.json").string(), space);
    const fs::path log = folder / "epochs.jsonl";
    require(fs::exists(log), "[derive] '{}' holds no search: it has neither genotype.json nor epochs.jsonl",
            source_);
    const std::vector<Json> epochs = read_jsonl(log);
    require(!epochs.empty(), "[derive] '{}' has no finished epoch yet", log.string());
    const int64_t wanted = epoch_ < 0 ? int64_t(epochs.size()) - 1 : epoch_;
    require(wanted < int64_t(epochs.size()), "[derive] '{}' has {} epochs, --epoch {} asked for", source_,
            epochs.size(), wanted);
    JsonFields fields(epochs[size_t(wanted)], log.string());
    return parse_genotype(fields.get<std::string>("genotype"), space);
  }

  std::string source_, out_;
  int64_t epoch_ = -1;
  NetworkOptions network_;
};

}  // namespace

std::unique_ptr<Command> make_derive_command() {
  return std::make_unique<DeriveCommand>();
}

}  // namespace ladarts
