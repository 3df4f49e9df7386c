#include "apps/db_actions.h"
#include "core/error.h"

namespace ladarts {
namespace {

class DbCommand : public Command {
 public:
  DbCommand() {
    for (auto make : {make_db_list, make_db_export, make_db_import, make_db_merge, make_db_dedupe,
                      make_db_delete, make_db_check, make_db_compare})
      actions_.push_back(make());
  }
  std::string name() const override { return "db"; }
  std::string summary() const override {
    return "list, export, import, merge, clean, check and compare files of measurements";
  }
  std::string example() const override {
    return "ladarts db list latency.db\n  ladarts db merge all.db machine1.db machine2.db";
  }

  void declare(CLI::App& app) override {
    app.require_subcommand(1);
    for (const auto& action : actions_) {
      CLI::App* sub = app.add_subcommand(action->name(), action->summary());
      sub->footer("Options of every command, such as --json, work here too.\nExample:\n  " +
                  action->example());
      sub->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
      sub->fallthrough();
      action->declare(*sub);
      parsers_.push_back(sub);
    }
  }

  Json run(const CommonOptions& common) override { return chosen().run(common); }
  std::string text(const Json& result) const override { return chosen().text(result); }

 private:
  Command& chosen() const {
    for (size_t i = 0; i < parsers_.size(); ++i)
      if (parsers_[i]->parsed()) return *actions_[i];
    fail("[db] no action chosen");
  }

  std::vector<std::unique_ptr<Command>> actions_;
  std::vector<CLI::App*> parsers_;
};

}  // namespace

std::unique_ptr<Command> make_db_command() {
  return std::make_unique<DbCommand>();
}

}  // namespace ladarts
