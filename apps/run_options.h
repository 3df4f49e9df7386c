// Options of commands that learn: the images, the folder of the run, and the settings of its protocol.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "apps/options.h"
#include "core/json_file.h"
#include "nas/data/image_source.h"

namespace ladarts {

// The settings of a protocol: those of a JSON file, single ones on top, --epochs and --batch above all.
class SettingsOptions {
 public:
  // `what` has epochs: "the search"; `example` of a setting: "lr=0.05".
  void declare(CLI::App& app, const std::string& what, const std::string& example);
  // One JSON object. Of the file, the fields `not_settings` are left out: what the config.json of a run holds
  // besides its settings. Throws Error for a file that cannot be read and a setting without a name.
  Json read(std::initializer_list<const char*> not_settings) const;
  // Where read()'s fields come from, for messages: "search.json" or "--set".
  std::string origin() const;

 private:
  std::string file_;
  std::vector<std::string> assignments_;
  int epochs_ = 0, batch_ = 0;  // 0: not given
};

struct LabelledImages {
  ImageSource train, test;
  int classes = 0;
  int image = 0;  // side in pixels
};

void add_data_option(CLI::App& app, std::string& folder);
LabelledImages load_images(const std::string& folder);  // throws Error, see read_cifar()

void add_out_option(CLI::App& app, std::string& folder);

// Message of an interrupted run.
std::string continue_hint(const std::string& folder);

}  // namespace ladarts
