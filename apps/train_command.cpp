#include "apps/command.h"
#include "apps/format.h"
#include "apps/network_options.h"
#include "apps/run_options.h"
#include "nas/train.h"

namespace ladarts {
namespace {

class TrainCommand : public Command {
 public:
  std::string name() const override { return "train"; }
  std::string summary() const override { return "train the network of an architecture"; }
  std::string example() const override {
    return "ladarts train --genotype runs/search/genotype.json --data images --out runs/train --epochs 20";
  }

  void declare(CLI::App& app) override {
    app.add_option("--genotype", genotype_, kGenotypeHelp)->required()->option_text("G");
    add_data_option(app, data_);
    add_out_option(app, out_);
    app.add_option(
           "--protocol", protocol_,
           "published settings to start from: darts, pc-darts or imagenet; without it those of darts but no "
           "second head")
        ->check(CLI::IsMember({"darts", "pc-darts", "imagenet"}))
        ->option_text("NAME")
        ->group("Settings");
    app.add_flag("--auxiliary", auxiliary_, "train with a second head at two thirds of the depth")
        ->group("Settings");
    settings_.declare(app, "the training", "drop_path=0.3");
    add_space_option(app, network_);
    add_size_options(app, network_);
  }

  Json run(const CommonOptions& common) override {
    const LabelledImages images = load_images(data_);
    const TrainConfig config = read_config(common, images);
    const TrainOutcome outcome = run_training(config, images.train, images.test, out_);
    if (!outcome.finished) throw Interrupted(continue_hint(out_));
    const NetworkCounts counts = count_network(config.network);
    return {
        {"folder", out_},
        {"text", to_text(config.network.genotype, config.network.space)},
        {"parameters", counts.parameters},
        {"multiply_accumulates", counts.multiply_accumulates},
        {"test",
         {{"images", outcome.test.images}, {"loss", outcome.test.loss}, {"accuracy", outcome.test.accuracy}}},
        {"epochs", outcome.epochs}};
  }

  std::string text(const Json& r) const override {
    return fmt::format(
        "{}\n\nparameters            {}\nmultiply-accumulates  {}\ntest accuracy         {} of {} images\n"
        "test loss             {:.4f}\n\nwritten to {}/network.safetensors\n",
        text_of(r["text"]), with_separators(r["parameters"]), with_separators(r["multiply_accumulates"]),
        percent(r["test"]["accuracy"].get<double>(), 2), with_separators(r["test"]["images"]),
        r["test"]["loss"].get<double>(), text_of(r["folder"]));
  }

 private:
  TrainConfig read_config(const CommonOptions& common, const LabelledImages& images) const {
    TrainConfig config = protocol_.empty() ? TrainConfig{} : train_protocol(protocol_);
    config.network.space = network_.load_space();
    config.network.genotype = parse_genotype(genotype_, config.network.space);
    config.network.shape = network_.shape();
    config.network.shape.classes = images.classes;
    config.network.shape.image = images.image;
    Json settings = settings_.read({"network", "seed", "device", "kernels", "train_set", "test_set"});
    if (auxiliary_) settings["auxiliary"] = true;
    JsonFields fields(settings, settings_.origin());
    config = read_train_config(fields, config);
    fields.finish();
    config.seed = common.seed;
    config.device = Device::parse(common.device);
    return config;
  }

  std::string genotype_, data_, out_, protocol_;
  bool auxiliary_ = false;
  NetworkOptions network_;
  SettingsOptions settings_;
};

}  // namespace

std::unique_ptr<Command> make_train_command() {
  return std::make_unique<TrainCommand>();
}

}  // namespace ladarts
