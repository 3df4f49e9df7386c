#include "apps/run_options.h"

#include "nas/data/cifar.h"

namespace ladarts {

void SettingsOptions::declare(CLI::App& app, const std::string& what, const std::string& example) {
  app.add_option("--epochs", epochs_, "epochs of " + what)
      ->check(CLI::PositiveNumber)
      ->option_text("N")
      ->group("Settings");
  app.add_option("--batch", batch_, "images in a step")
      ->check(CLI::PositiveNumber)
      ->option_text("N")
      ->group("Settings");
  app.add_option("--config", file_, "settings from a JSON file, such as the config.json of another run")
      ->option_text("FILE")
      ->group("Settings");
  app.add_option("--set", assignments_, "one setting, on top of the file: --set " + example)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->option_text("NAME=VALUE ...")
      ->group("Settings");
}

Json SettingsOptions::read(std::initializer_list<const char*> not_settings) const {
  Json settings = file_.empty() ? Json::object() : read_json_file(file_);
  require(settings.is_object(), "{}: [json] the settings should be an object, they are {}", file_,
          json_kind(settings));
  for (const char* field : not_settings) settings.erase(field);
  for (const std::string& assignment : assignments_) {
    const size_t equals = assignment.find('=');
    require(equals != std::string::npos && equals > 0, "[settings] '{}' should look like NAME=VALUE",
            assignment);
    const std::string value = assignment.substr(equals + 1);
    // What is no JSON is a text: --set protocol=darts.
    Json parsed = Json::parse(value, nullptr, /*allow_exceptions=*/false);
    settings[assignment.substr(0, equals)] = parsed.is_discarded() ? Json(value) : std::move(parsed);
  }
  if (epochs_ > 0) settings["epochs"] = epochs_;
  if (batch_ > 0) settings["batch"] = batch_;
  return settings;
}

std::string SettingsOptions::origin() const {
  return file_.empty() ? "settings" : file_;
}

void add_data_option(CLI::App& app, std::string& folder) {
  app.add_option("--data", folder, "folder of images, in the binary format of CIFAR-10 or CIFAR-100")
      ->required()
      ->option_text("FOLDER");
}

LabelledImages load_images(const std::string& folder) {
  ImageSets sets = read_cifar(folder);
  LabelledImages images;
  images.classes = int(sets.train.classes.size());
  images.image = sets.train.size;
  images.train = {std::make_shared<const ImageSet>(std::move(sets.train)), sets.normalisation};
  images.test = {std::make_shared<const ImageSet>(std::move(sets.test)), sets.normalisation};
  return images;
}

void add_out_option(CLI::App& app, std::string& folder) {
  app.add_option("--out", folder, "folder of this run; a run that was stopped goes on there")
      ->required()
      ->option_text("FOLDER");
}

std::string continue_hint(const std::string& folder) {
  return "interrupted; the state is in '" + folder + "', the same command goes on from there";
}

}  // namespace ladarts
