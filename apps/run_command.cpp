#include "apps/command.h"
#include "apps/run_options.h"
#include "nas/experiment.h"

namespace ladarts {
namespace {

class RunCommand : public Command {
 public:
  std::string name() const override { return "run"; }
  std::string summary() const override { return "the whole job of an experiment file, stage by stage"; }
  std::string example() const override {
    return "ladarts run experiments/quickstart.json --out runs/quickstart";
  }

  void declare(CLI::App& app) override {
    app.add_option("experiment", experiment_, "JSON file; see docs/experiments.md")->required();
    add_out_option(app, out_);
    app.add_option("--cifar", cifar_, "use the images of this folder instead of those that the file names")
        ->option_text("FOLDER");
  }

  Json run(const CommonOptions& common) override {
    ExperimentOverrides overrides{.cifar = cifar_, .device = Device::parse(common.device)};
    if (common.seed_given) overrides.seed = common.seed;
    const Experiment experiment = read_experiment(experiment_, overrides);
    const ExperimentOutcome outcome = run_experiment(experiment, out_);
    if (!outcome.finished) throw Interrupted(continue_hint(out_));
    return outcome.result;
  }

  std::string text(const Json& result) const override { return experiment_table(result); }

 private:
  std::string experiment_, out_, cifar_;
};

}  // namespace

std::unique_ptr<Command> make_run_command() {
  return std::make_unique<RunCommand>();
}

}  // namespace ladarts
