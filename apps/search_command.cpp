#include "apps/command.h"
#include "apps/format.h"
#include "apps/network_options.h"
#include "apps/predictor_options.h"
#include "apps/run_options.h"
#include "nas/search.h"

namespace ladarts {
namespace {

class SearchCommand : public Command {
 public:
  std::string name() const override { return "search"; }
  std::string summary() const override { return "search for an architecture that is accurate and fast"; }
  std::string example() const override {
    return "ladarts search --data images --out runs/search --protocol pc-darts --epochs 20 \\\n"
           "      --predictor predictor.safetensors --lambda 0.2\n"
           "  ladarts search --data images --out runs/drawn --predictor predictor.safetensors --lambda 0.2 "
           "\\\n"
           "      --relaxation drawn --draws 4 --certainty 1";
  }

  void declare(CLI::App& app) override {
    add_data_option(app, data_);
    add_out_option(app, out_);
    app.add_option("--predictor", predictor_,
                   "a file written by ladarts fit; needed for a lambda other than 0")
        ->option_text("FILE");
    app.add_option("--lambda", lambda_,
                   "weight of the predicted cost: loss per unit of the predictor (ms of latency or mJ of "
                   "energy, MiB of memory, million parameters or MACs)")
        ->check(CLI::NonNegativeNumber)
        ->option_text("X [0]");
    app.add_option(
           "--relaxation", relaxation_,
           "which architecture the predictor, which knows decided ones, is asked about: derived (what would "
           "be derived now), expected (the mean of what alpha and beta may choose), drawn (some drawn from "
           "them at each step); the gradient goes through the mean; gumbel is drawn, with the gradient "
           "through Gumbel-softmax")
        ->check(CLI::IsMember(relaxation_names()))
        ->option_text("NAME [derived]");
    app.add_option("--draws", draws_, "architectures drawn at each step, of drawn and gumbel")
        ->check(CLI::Range(1, kMostDraws))
        ->option_text("N [1]");
    app.add_option(
           "--temperature", temperature_,
           "of the relaxation: below 1 the term sees what alpha and beta may choose nearer to what would be "
           "derived")
        ->check(CLI::PositiveNumber)
        ->option_text("X [1]");
    app.add_option(
           "--certainty", certainty_,
           "stay where the predictor knows: so many of its standard deviations are added to the predicted "
           "cost; needs a predictor of ladarts fit --model gp or --from")
        ->check(CLI::NonNegativeNumber)
        ->option_text("X [0]");
    app.add_flag("--any-device", any_device_, "accept a predictor of another device");
    app.add_option("--protocol", protocol_,
                   "published settings to start from: darts or pc-darts; both search 16 channels and 8 cells")
        ->check(CLI::IsMember({"darts", "pc-darts"}))
        ->option_text("NAME [pc-darts]")
        ->group("Settings");
    settings_.declare(app, "the search", "second_order=true");
    add_space_option(app, network_);
    add_size_options(app, network_);
  }

  Json run(const CommonOptions& common) override {
    const LabelledImages images = load_images(data_);
    const SearchConfig config = read_config(common, images);
    Predictor predictor;
    if (!predictor_.empty())
      predictor = load_predictor_for(predictor_, config.step.supernet.space, any_device_, config.step.device);
    const SearchOutcome outcome =
        run_search(config, images.train, predictor_.empty() ? nullptr : &predictor, out_);
    if (!outcome.finished) throw Interrupted(continue_hint(out_));
    const SearchSpace& space = config.step.supernet.space;
    return {{"folder", out_},
            {"space", space.name},
            {"genotype", Json::parse(to_json(outcome.genotype))},
            {"text", to_text(outcome.genotype, space)},
            {"reaches_output", reaches_output(outcome.genotype, space)},
            {"epochs", outcome.epochs}};
  }

  std::string text(const Json& r) const override {
    std::vector<std::vector<std::string>> rows;
    auto number = [](const Json& v) { return v.is_number() ? fmt::format("{:.3f}", v.get<double>()) : "-"; };
    for (const Json& e : r["epochs"])
      rows.push_back({fmt::format("{}", e["epoch"].get<int>() + 1), number(e["train_loss"]),
                      percent(e["train_accuracy"].get<double>()), number(e["validation_loss"]),
                      percent(e["validation_accuracy"].get<double>()), number(e["relaxed_cost"]),
                      number(e["drawn_cost"]), number(e["derived_cost"])});
    return table({"epoch", "loss", "accuracy", "val. loss", "val. accuracy", "relaxed cost", "drawn cost",
                  "derived cost"},
                 rows) +
           "\n" + text_of(r["text"]) + "\n" +
           (r["reaches_output"] ? ""
                                : "warning: nothing reaches the output of this cell, so the network is of no "
                                  "use; give a smaller --lambda, or --protocol pc-darts\n") +
           "\nwritten to " + text_of(r["folder"]) + "/genotype.json\n";
  }

 private:
  SearchConfig read_config(const CommonOptions& common, const LabelledImages& images) const {
    SearchConfig config = search_protocol(protocol_);
    config.step.supernet.space = network_.load_space();
    config.step.supernet.shape = network_.shape();
    config.step.supernet.shape.classes = images.classes;
    config.step.supernet.shape.image = images.image;
    Json settings = settings_.read(
        {"space", "classes", "image", "stem", "seed", "device", "kernels", "predictor", "image_set"});
    if (lambda_ >= 0) settings["lambda"] = lambda_;
    if (!relaxation_.empty()) settings["relaxation"] = relaxation_;
    if (draws_ > 0) settings["draws"] = draws_;
    if (temperature_ > 0) settings["temperature"] = temperature_;
    if (certainty_ >= 0) settings["certainty"] = certainty_;
    JsonFields fields(settings, settings_.origin());
    config = read_search_config(fields, config);
    fields.finish();
    config.seed = config.step.seed = common.seed;
    config.step.device = Device::parse(common.device);
    require(config.step.lambda == 0 || !predictor_.empty(),
            "[search] lambda {} needs a --predictor; ladarts measure and ladarts fit make one",
            config.step.lambda);
    return config;
  }

  std::string data_, out_, predictor_, protocol_ = "pc-darts";
  std::string relaxation_;
  int draws_ = 0;
  double lambda_ = -1, certainty_ = -1, temperature_ = 0;
  bool any_device_ = false;
  NetworkOptions network_;
  SettingsOptions settings_;
};

}  // namespace

std::unique_ptr<Command> make_search_command() {
  return std::make_unique<SearchCommand>();
}

}  // namespace ladarts
