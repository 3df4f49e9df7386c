#include <fmt/ranges.h>

#include "apps/command.h"
#include "apps/format.h"
#include "core/progress.h"
#include "nas/data/cifar.h"
#include "nas/data/synthetic.h"

namespace ladarts {
namespace {

Json describe(const ImageSet& set) {
  std::vector<int64_t> per_class(set.classes.size());
  for (uint8_t label : set.labels) ++per_class.at(label);
  return {{"images", set.count()}, {"images_per_class", per_class}};
}

class DataCommand : public Command {
 public:
  std::string name() const override { return "data"; }
  std::string summary() const override { return "generate a small image set, or check and describe one"; }
  std::string example() const override {
    return "ladarts data generate images --train 4000 --test 1000\n  ladarts data inspect "
           "cifar-10-batches-bin";
  }

  void declare(CLI::App& app) override {
    app.add_option("action", action_, "generate: write a small set that can be learnt; inspect: read a set")
        ->check(CLI::IsMember({"generate", "inspect"}))
        ->required();
    app.add_option("folder", folder_, "images in the binary format of CIFAR-10 or CIFAR-100")->required();
    const char* group = "To generate";
    app.add_option("--train", options_.train, "training images")
        ->check(CLI::Range(int64_t(1), int64_t(10'000'000)))
        ->option_text("N [4000]")
        ->group(group);
    app.add_option("--test", options_.test, "test images")
        ->check(CLI::Range(int64_t(1), int64_t(10'000'000)))
        ->option_text("N [1000]")
        ->group(group);
    app.add_option("--image", options_.size, "side of the images in pixels")
        ->check(CLI::Range(8, 256))
        ->option_text("N [32]")
        ->group(group);
    app.add_option("--noise", options_.noise, "standard deviation of the noise, of 1 = white")
        ->check(CLI::Range(0.f, 1.f))
        ->option_text("X [0.1]")
        ->group(group);
  }

  Json run(const CommonOptions& common) override {
    options_.seed = common.seed;
    if (action_ == "generate") generate();
    const ImageSets sets = read_cifar(folder_);
    return {
        {"folder", folder_},
        {"image", sets.train.size},
        {"classes", sets.train.classes},
        {"train", describe(sets.train)},
        {"test", describe(sets.test)},
        {"normalisation", {{"mean", sets.normalisation.mean}, {"deviation", sets.normalisation.deviation}}}};
  }

  std::string text(const Json& r) const override {
    std::vector<std::vector<std::string>> rows;
    for (size_t c = 0; c < r["classes"].size(); ++c)
      rows.push_back({text_of(r["classes"][c]), with_separators(r["train"]["images_per_class"][c]),
                      with_separators(r["test"]["images_per_class"][c])});
    rows.push_back({"total", with_separators(r["train"]["images"]), with_separators(r["test"]["images"])});
    const auto mean = r["normalisation"]["mean"].get<std::vector<double>>();
    const auto deviation = r["normalisation"]["deviation"].get<std::vector<double>>();
    return fmt::format("{}: {} classes, {}x{} pixels\nmean {:.4f}, deviation {:.4f}\n\n{}",
                       text_of(r["folder"]), r["classes"].size(), r["image"].get<int>(),
                       r["image"].get<int>(), fmt::join(mean, " "), fmt::join(deviation, " "),
                       table({"class", "train", "test"}, rows));
  }

 private:
  void generate() const {
    Progress progress("generate", options_.train + options_.test, {.unit = "image"});
    if (!write_synthetic(folder_, options_, [&](int64_t images) { progress.update(images); }))
      throw Interrupted(
          fmt::format("interrupted; '{}' is half-written, the same command writes it anew", folder_));
    progress.update(options_.train + options_.test);
    progress.finish();
  }

  std::string action_, folder_;
  SyntheticOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_data_command() {
  return std::make_unique<DataCommand>();
}

}  // namespace ladarts
