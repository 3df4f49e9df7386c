#include <filesystem>

#include "apps/command.h"
#include "apps/format.h"
#include "apps/run_options.h"
#include "core/progress.h"
#include "nas/network_file.h"
#include "nas/train.h"

namespace ladarts {
namespace {

class EvalCommand : public Command {
 public:
  std::string name() const override { return "eval"; }
  std::string summary() const override { return "evaluate a trained network on test images"; }
  std::string example() const override { return "ladarts eval runs/train --data images"; }

  void declare(CLI::App& app) override {
    app.add_option("network", network_, "a folder of ladarts train, or its network.safetensors")->required();
    add_data_option(app, data_);
    app.add_option("--images", limit_, "how many test images; 0 is all")
        ->check(CLI::NonNegativeNumber)
        ->option_text("N [0]");
    app.add_option("--batch", batch_, "images in a step")->check(CLI::PositiveNumber)->option_text("N [100]");
  }

  Json run(const CommonOptions& common) override {
    namespace fs = std::filesystem;
    const fs::path file =
        fs::is_directory(network_) ? fs::path(network_) / "network.safetensors" : fs::path(network_);
    LoadedNetwork network = load_network(file, Device::parse(common.device));
    const LabelledImages images = load_images(data_);
    const NetworkShape shape = resolve(network.config.shape, network.config.space);
    require(shape.classes == images.classes && shape.image == images.image,
            "[eval] '{}' tells {} classes apart in {}x{} images, '{}' has {} classes and {}x{} images; give "
            "the data "
            "that it was trained on",
            file.string(), shape.classes, shape.image, shape.image, data_, images.classes, images.image,
            images.image);
    const int64_t count = limit_ > 0 ? limit_ : images.test.dataset->count();
    Progress progress("eval", count, {.unit = "image"});
    const auto evaluation = evaluate_network(network.config, *network.params, *network.buffers, images.test,
                                             batch_, limit_, [&](int64_t done) { progress.update(done); });
    if (!evaluation) throw Interrupted("interrupted; nothing was written");
    progress.finish();
    const Evaluation& e = *evaluation;
    const NetworkCounts counts = count_network(network.config);
    return {{"network", file.string()},
            {"text", to_text(network.config.genotype, network.config.space)},
            {"images", e.images},
            {"accuracy", e.accuracy},
            {"loss", e.loss},
            {"parameters", counts.parameters},
            {"multiply_accumulates", counts.multiply_accumulates}};
  }

  std::string text(const Json& r) const override {
    return fmt::format(
        "{}\n\nparameters            {}\nmultiply-accumulates  {}\ntest accuracy         {} of {} images\n"
        "test loss             {:.4f}\n",
        text_of(r["text"]), with_separators(r["parameters"]), with_separators(r["multiply_accumulates"]),
        percent(r["accuracy"].get<double>(), 2), with_separators(r["images"]), r["loss"].get<double>());
  }

 private:
  std::string network_, data_;
  int64_t limit_ = 0;
  int batch_ = 100;
};

}  // namespace

std::unique_ptr<Command> make_eval_command() {
  return std::make_unique<EvalCommand>();
}

}  // namespace ladarts
